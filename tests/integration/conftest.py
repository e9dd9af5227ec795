"""Integration tests: the tap in this process, against the simulated Sage over HTTP."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("A test that starts a process belongs to tests/end_to_end.")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
