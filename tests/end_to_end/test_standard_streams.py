"""Programs whose input, output or error output is closed, full, or in another encoding, or that are stopped at once."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.pipeline import catalog_of
from sage_workbench.small_sage import small_world, store_at
from support.terminals import PROGRAMS, Terminal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

NEEDS_FULL_DEVICE = pytest.mark.skipif(sys.platform != "linux", reason="no other system has a device that is full")
TAP, SOURCE = "tap-sage-accounting", "source-sage-accounting"
COMMANDS = {
    "run": f"{TAP} --config=config.json --catalog=catalog.json",
    "test": f"{TAP} --config=config.json --test",
    "discover": f"{TAP} --discover",
    "about": f"{TAP} --about",
    "version": f"{TAP} --version",
    "help": f"{TAP} --help",
    "login": f"{TAP}-login --config=config.json --no-browser",
    "status": f"{TAP}-status --config=config.json",
    "logout": f"{TAP}-logout --config=config.json",
    "state": f"{TAP}-state state.json",
    "spec": f"{SOURCE} spec",
    "check": f"{SOURCE} check --config=config.json",
    "source discover": f"{SOURCE} discover --config=config.json",
    "read": f"{SOURCE} read --config=config.json --catalog=configured.json",
    "source help": f"{SOURCE} --help",
}
ONE_OF_EACH_KIND = ("run", "about", "login", "read")
"""Of messages, of text, of questions to a person, and of Airbyte's messages."""
STOPPED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "tap_sage_accounting.run.signals":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from tap_sage_accounting.cli import {program}
{program}()
"""
"""A program to which Ctrl-C comes before it has a handler for it."""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with SandboxServer(small_world()) as sage:
        terminal = Terminal(sage, tmp_path)
        terminal.write()
        (tmp_path / "catalog.json").write_text(json.dumps(catalog_of(terminal.settings, ["user", "businesses"])))
        (tmp_path / "state.json").write_text('{"bookmarks": {"user": {}}}')
        stream = {"name": "user", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
        chosen = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
        (tmp_path / "configured.json").write_text(json.dumps({"streams": [chosen]}))
        yield terminal


def shell(terminal: Terminal, line: str, **environment: Any) -> subprocess.CompletedProcess[str]:
    done = terminal.start("sh", "-c", f'PATH={shlex.quote(str(PROGRAMS))}:"$PATH"; {line}', **environment)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "redirection", "cause"),
    [
        *((command, ">&-", "Bad file descriptor") for command in COMMANDS),
        *(
            pytest.param(command, ">/dev/full", "No space left on device", marks=NEEDS_FULL_DEVICE)
            for command in ONE_OF_EACH_KIND
        ),
    ],
)
def test_output_that_cannot_be_written_is_said_in_one_line(
    terminal: Terminal, command: str, redirection: str, cause: str
) -> None:
    done = shell(terminal, f"exec {COMMANDS[command]} {redirection}")
    assert done.returncode == 1
    assert f"The output cannot be written: {cause}. Run again when that is solved." in done.stderr.splitlines()[-1]
    assert done.stderr.count("cannot be written") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "redirection"),
    [
        *((command, "<&- 2>&-") for command in COMMANDS),
        *(pytest.param(command, "2>/dev/full", marks=NEEDS_FULL_DEVICE) for command in ONE_OF_EACH_KIND),
    ],
)
def test_a_log_that_cannot_be_written_changes_nothing(terminal: Terminal, command: str, redirection: str) -> None:
    done = shell(terminal, f"exec {COMMANDS[command]} {redirection}")
    assert done.returncode == (command == "login")  # which nobody completes
    assert done.stdout


@NEEDS_FULL_DEVICE
def test_output_that_is_not_buffered_is_no_different(terminal: Terminal) -> None:
    done = shell(terminal, f"exec {COMMANDS['status']} >/dev/full", PYTHONUNBUFFERED="1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("The output cannot be written: No space left on device.")


def test_no_file_of_the_tap_takes_the_place_of_a_closed_output(terminal: Terminal) -> None:
    shell(terminal, f"exec {COMMANDS['run']} <&- >&- 2>&-")
    assert shell(terminal, f"exec {COMMANDS['status']}").returncode == 0


@pytest.mark.parametrize("redirection", [">&-", pytest.param(">/dev/full", marks=NEEDS_FULL_DEVICE)])
def test_a_logout_that_cannot_be_shown_forgets_what_it_revoked(terminal: Terminal, redirection: str) -> None:
    assert shell(terminal, f"exec {COMMANDS['status']}").returncode == 0
    shell(terminal, f"exec {COMMANDS['logout']} {redirection}")
    settings = terminal.settings
    assert store_at(terminal.home).read(settings["client_id"], settings["refresh_token"]) is None


@pytest.mark.parametrize("command", ["run", "status", "check", "read"])
def test_names_come_to_a_terminal_of_another_encoding(terminal: Terminal, command: str) -> None:
    for business in terminal.sage.world.businesses.values():
        business.body |= {"displayed_as": "株式会社 Café", "name": "株式会社 Café"}
    done = shell(terminal, f"exec {COMMANDS[command]}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "caf" in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("program", ["main", "login", "status", "state", "logout", "source"])
def test_ctrl_c_before_there_is_a_handler_ends_a_program_silently(terminal: Terminal, program: str) -> None:
    done = terminal.start(sys.executable, "-c", STOPPED.format(program=program), "--help")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("content", [b"A=\xfc\n", b"\xff\xfe=\x00\n", b"TAP_SAGE_ACCOUNTING_CLIENT_ID=a\x00b\n"])
def test_an_env_file_that_cannot_be_used_is_named(terminal: Terminal, content: bytes) -> None:
    (terminal.home / ".env").write_bytes(content)
    for command in (f"{TAP} --config=ENV", f"{TAP}-login --no-browser", f"{TAP}-status", f"{TAP}-logout --config=ENV"):
        done = shell(terminal, f"exec {command}")
        assert done.returncode == 1
        assert "The file .env in the working directory cannot be used" in done.stderr
    assert len(terminal.sage.requests) == 0


def test_a_working_directory_that_is_gone_changes_nothing(terminal: Terminal) -> None:
    options = f"--config={terminal.home}/config.json --catalog={terminal.home}/catalog.json"
    for command in (f"{TAP} {options}", f"{TAP}-status --config={terminal.home}/config.json"):
        done = shell(terminal, f"mkdir gone; cd gone; rmdir ../gone; exec {command}")
        assert done.returncode == 0
