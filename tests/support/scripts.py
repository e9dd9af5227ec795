"""The scripts of the repository as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.presence import present

if TYPE_CHECKING:
    from types import ModuleType

SCRIPTS = Path(__file__).parents[2] / "scripts"


def load_script(name: str) -> ModuleType:
    """Load a script without running it; dataclasses look for their module while it is loaded."""
    spec = present(importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)
        present(spec.loader).exec_module(module)
    return module
