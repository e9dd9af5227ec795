"""Settings that are wrong are refused before anything is sent, with what is wrong and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError
from small_sage import business, world_of

from tap_sage_accounting.sandbox.server import SandboxServer
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA, parse_start_date
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Configure = Callable[..., TapSageAccounting]

ABSENT = object()
