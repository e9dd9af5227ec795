"""Commands that a person waits for: they answer soon when Sage is away, and say what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.small_sage import free_port, manager, small_world, store_at
from support.browsers import Browser, command
from tap_sage_accounting import commands
from tap_sage_accounting.commands.login import login
from tap_sage_accounting.commands.status import status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

STEP = "Check this machine's network and status.sage.com, and look again later."
AWAY = [
    Fault(what=503, times=None),
    Fault(what=500, times=None),
    Fault(what=429, times=None),
    Fault(what="slow", seconds=3, times=None),
    Fault(what="drop", times=None),
    Fault(path="businesses", what=503, times=None),
    Fault(path="businesses/*", what=503, times=None),
]


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a minute be short, and half a minute as well."""
    monkeypatch.setattr(commands, "PATIENCE", 0.5)
    monkeypatch.setattr(commands, "MAX_RESPONSE_SECONDS", 0.2)
    monkeypatch.setattr("tap_sage_accounting.api.http_client.LIMIT_WINDOW", 0.5)


def status_of(sage: SandboxServer, directory: Path, fault: Fault | None = None, **settings: str) -> Result:
    """Look at a login that has tokens when the fault begins."""
    manager(sage, store_at(directory)).access_token()
    if fault is not None:
        sage.faults.add(fault)
    return command(status, sage, directory, refresh_token=sage.refresh_token, **settings)


def require_advice(result: Result, advice: str) -> None:
    assert result.exit_code == 1
    last = result.output.splitlines()[-1]
    assert re.search(advice, last), result.output
    assert "patience" not in result.output  # which a command does not go by
    assert "run again" not in result.output


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("fault", AWAY, ids=lambda fault: f"{fault.path} {fault.what}")
def test_status_does_not_wait_for_a_sage_that_is_away(sage: SandboxServer, tmp_path: Path, fault: Fault) -> None:
    require_advice(status_of(sage, tmp_path, fault), re.escape(STEP))


@pytest.mark.usefixtures("short")
def test_status_says_so_where_no_connection_can_be_made(sage: SandboxServer, tmp_path: Path) -> None:
    result = status_of(sage, tmp_path, api_url=f"http://127.0.0.1:{free_port()}/v3.1")
    require_advice(result, f"no connection to 127.0.0.1: .*{re.escape(STEP)}")


def test_status_says_when_to_look_again_where_sage_asks_to_wait(sage: SandboxServer, tmp_path: Path) -> None:
    shown = status_of(sage, tmp_path, Fault(what=429, times=None, retry_after=600))
    require_advice(shown, r"It asks to wait 600 s: look again after \d{4}-\d\d-\d\d .* UTC\.$")


def test_status_waits_for_a_minute_where_a_run_waits_for_a_quarter_of_an_hour(
    sage: SandboxServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = status_of(sage, tmp_path, Fault(path="user", what=503, times=3))
    assert result.exit_code == 0, result.output
    assert "Trying again for up to 60 s in all." in caplog.text


@pytest.mark.usefixtures("short")
def test_a_login_is_kept_where_sage_does_not_list_businesses(
    sage: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sage.faults.add(Fault(path="businesses", what=503, times=None))
    browser = Browser(monkeypatch)
    result = command(login, sage, tmp_path, redirect_uri=f"http://127.0.0.1:{free_port()}/callback")
    browser.close()
    assert "Logged in. The tokens are in" in result.output
    require_advice(result, re.escape(STEP))
    sage.faults.script.clear()
    assert command(status, sage, tmp_path).exit_code == 0
