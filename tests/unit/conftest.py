"""Unit tests: no process and no server, so that they run in a moment."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from sage_sandbox.server import SandboxServer


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("A test that starts a server belongs to tests/integration, a process to tests/end_to_end.")

    monkeypatch.setattr(SandboxServer, "__enter__", refuse)
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
