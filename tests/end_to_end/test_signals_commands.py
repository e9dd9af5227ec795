"""What holds for a run holds for the commands around a login, and for Airbyte's source."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.small_sage import manager, small_world, store_at, token_requests
from support.browsers import consent
from support.signalled import HUP, INT, PROGRAMS, TERM, Process, Start, processes_in, two, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

VISIT = """
import sys
from urllib.parse import parse_qsl, urlsplit
import requests
address = urlsplit(sys.argv[1])
answers = {**dict(parse_qsl(address.query)), "decision": "allow"}
requests.post(address._replace(query="").geturl(), data=answers, timeout=60)
"""
"""A user who opens the consent page and allows."""


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with processes_in(tmp_path) as begin:
        yield begin


def command(name: str, sage: SandboxServer, directory: Path, *options: str, **changes: Any) -> list[str | Path]:
    """Name a command with its settings file; what `login` stored is used."""
    settings = sage.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}", **changes)
    del settings["refresh_token"]
    config = directory / "config.json"
    config.write_text(json.dumps(settings))
    return [PROGRAMS / f"tap-sage-accounting-{name}", "--config", config, *options]


def log_in(sage: SandboxServer, directory: Path) -> None:
    """Store a login whose access token is good no longer."""
    store = store_at(directory)
    tokens = manager(sage, store)
    tokens.access_token()
    held = tokens.family().tokens
    assert held
    store.keep_login(sage.client_id, None, held)


def is_logged_in(sage: SandboxServer, directory: Path) -> bool:
    """Check that the stored tokens are the newest that Sage issued."""
    family = store_at(directory).read(sage.client_id, None)
    return family is not None and family.refresh_token == sage.grants.newest_refresh_token()


def check_end(process: Process, signals: Sequence[int]) -> None:
    assert process.code() == 128 + signals[0], process.log
    assert "Traceback" not in process.log


# Commands around a login


@pytest.mark.slow
@two
def test_status_keeps_the_tokens_that_it_requested(
    sage: SandboxServer, start: Start, tmp_path: Path, signals: Sequence[int]
) -> None:
    sage.faults.access_token_lifetime = 0.1
    log_in(sage, tmp_path)
    sage.faults.access_token_lifetime = 300
    slow = sage.faults.add(Fault("token", "slow", seconds=1))
    process = start(command("status", sage, tmp_path))
    until(lambda: slow.times == 0)
    process.send(signals)
    check_end(process, signals)
    assert is_logged_in(sage, tmp_path)
    assert start(command("status", sage, tmp_path)).code() == 0
    assert not sage.grants.refusals


def test_status_that_waits_for_sage_ends_at_once(sage: SandboxServer, start: Start, tmp_path: Path) -> None:
    log_in(sage, tmp_path)
    slow = sage.faults.add(Fault("businesses", "slow", seconds=60))
    process = start(command("status", sage, tmp_path))
    until(lambda: slow.times == 0)
    process.send([INT, TERM])
    check_end(process, [INT])


@pytest.mark.slow
@two
def test_a_pasted_code_that_was_sent_becomes_a_login(
    sage: SandboxServer, start: Start, tmp_path: Path, signals: Sequence[int]
) -> None:
    slow = sage.faults.add(Fault("token", "slow", seconds=1))
    process = start(command("login", sage, tmp_path, "--no-browser"))
    until(lambda: b"Address:" in process.output)
    [url] = re.findall(rf"{re.escape(sage.auth_url)}\S*", process.output.decode())
    process.type(consent(url))
    until(lambda: slow.times == 0)
    process.send(signals)
    check_end(process, signals)
    assert is_logged_in(sage, tmp_path)
    assert start(command("status", sage, tmp_path)).code() == 0


@two
def test_a_code_that_the_browser_brought_becomes_a_login(
    sage: SandboxServer, start: Start, tmp_path: Path, signals: Sequence[int]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        redirect_uri = f"http://127.0.0.1:{free.getsockname()[1]}/callback"
    (tmp_path / "visit.py").write_text(VISIT)
    browser = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'visit.py'))} %s &"
    slow = sage.faults.add(Fault("token", "slow", seconds=1))
    process = start(command("login", sage, tmp_path, redirect_uri=redirect_uri), BROWSER=browser)
    until(lambda: slow.times == 0)
    process.send(signals)
    check_end(process, signals)
    assert is_logged_in(sage, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("signals", [(INT, INT), (HUP, TERM), (TERM,)])
def test_a_login_that_waits_for_the_user_ends_at_once(
    sage: SandboxServer, start: Start, tmp_path: Path, signals: Sequence[int]
) -> None:
    process = start(command("login", sage, tmp_path, "--no-browser"))
    until(lambda: b"Address:" in process.output)
    process.send(signals)
    check_end(process, signals)
    assert token_requests(sage) == 0


@two
def test_a_logout_that_has_begun_is_finished(
    sage: SandboxServer, start: Start, tmp_path: Path, signals: Sequence[int]
) -> None:
    log_in(sage, tmp_path)
    slow = sage.faults.add(Fault("revoke", "slow", seconds=1))
    process = start(command("logout", sage, tmp_path))
    until(lambda: slow.times == 0)
    process.send(signals)
    check_end(process, signals)
    assert store_at(tmp_path).read(sage.client_id, None) is None
    assert b"The tokens are removed from" in process.output


# Airbyte's source


@pytest.fixture
def source(tmp_path: Path) -> Iterator[tuple[SandboxServer, list[str | Path]]]:
    """A simulated Sage, and the command that reads a few streams of it."""
    with SandboxServer(build_world(size="tiny", businesses=2, frozen=True)) as sage:
        streams = [
            {
                "stream": {"name": name, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]},
                "sync_mode": "incremental",
                "destination_sync_mode": "append_dedup",
            }
            for name in ("contacts", "journals")
        ]
        (tmp_path / "config.json").write_text(json.dumps(sage.tap_config()))
        (tmp_path / "catalog.json").write_text(json.dumps({"streams": streams}))
        files = [f"--{name}={tmp_path / name}.json" for name in ("config", "catalog")]
        yield sage, [PROGRAMS / "source-sage-accounting", "read", *files]


def messages(process: Process) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.output.splitlines()]


@two
def test_the_source_hands_back_the_tokens_that_it_requested(
    source: tuple[SandboxServer, list[str | Path]], start: Start, signals: Sequence[int]
) -> None:
    sage, read = source
    slow = sage.faults.add(Fault("token", "slow", seconds=1))
    process = start(read)
    until(lambda: slow.times == 0)
    process.send(signals)
    assert process.code() == -signals[0]
    assert process.log == ""
    [control] = [each["control"] for each in messages(process) if each["type"] == "CONTROL"]
    assert control["connectorConfig"]["config"]["refresh_token"] == sage.grants.newest_refresh_token()


@two
def test_the_source_ends_with_whole_messages_and_each_stream_as_it_is(
    source: tuple[SandboxServer, list[str | Path]], start: Start, signals: Sequence[int]
) -> None:
    sage, read = source
    slow = sage.faults.add(Fault("journals", "slow", seconds=60, times=2))
    process = start(read)
    until(lambda: slow.times == 0 and b'"journals"' in process.output)
    process.send(signals)
    assert process.code() == -signals[0]
    assert process.log == ""
    statuses = [
        (status["stream_descriptor"]["name"], status["status"])
        for each in messages(process)
        if each["type"] == "TRACE" and (status := each["trace"].get("stream_status"))
    ]
    assert statuses[-1] == ("journals", "INCOMPLETE")
    assert ("contacts", "COMPLETE") in statuses
    logged = [each["log"]["message"] for each in messages(process) if each["type"] == "LOG"]
    assert sum(f"({signal.Signals(signals[0]).name})" in line for line in logged) == 1


def test_a_check_that_waits_for_sage_ends_at_once(source: tuple[SandboxServer, list[str | Path]], start: Start) -> None:
    sage, read = source
    slow = sage.faults.add(Fault("businesses", "slow", seconds=60))
    process = start([read[0], "check", read[2]])
    until(lambda: slow.times == 0)
    process.send([INT, TERM])
    assert process.code() == -INT
    assert process.log == ""
