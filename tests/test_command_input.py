"""What a user gives a command: what is wrong with it is said in one line, and never in a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_sage import small_world

from tap_sage_accounting.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(sys.executable).parent
COMMANDS = ("tap-sage-accounting", "tap-sage-accounting-login", "tap-sage-accounting-status")


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


def run(directory: Path, command: str, *options: str, **environment: str) -> tuple[int, str]:
    """Run a command in an environment of its own; give its exit code and the last line that it shows."""
    finished = subprocess.run(
        [PROGRAMS / command, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
        cwd=directory,
        env={"HOME": str(directory), "PATH": os.environ["PATH"], **environment},
    )
    shown = finished.stdout + finished.stderr
    assert "Traceback" not in shown, shown
    assert "\x1b" not in shown
    return finished.returncode, shown.strip().splitlines()[-1]


FILES = {
    "missing": (None, "no such file or directory."),
    "empty": (b" \n", "the file is empty."),
    "cut off": (b'{"client_id":', "no JSON: expecting value in line 1, column 14."),
    "two in one": (b"{}\n{}", "no JSON: extra data in line 2, column 1."),
    "list": (b"[]", "it holds no JSON object"),
    "text": (b'"settings"', "it holds no JSON object"),
    "null": (b"null", "it holds no JSON object"),
    "UTF-16": ('{"client_id": "a"}'.encode("utf-16"), "begins with a byte order mark. Save it as UTF-8 without one."),
    "BOM": (b"\xef\xbb\xbf{}", "begins with a byte order mark. Save it as UTF-8 without one."),
    "Latin-1": ('{"client_id": "é"}'.encode("latin-1"), "is not encoded in UTF-8."),
    "nested": (b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_settings_file_that_cannot_be_used_is_named_with_what_is_wrong(kind: str, tmp_path: Path) -> None:
    content, complaint = FILES[kind]
    file = tmp_path / "my \x1b[2Jconfig.json"
    if content is not None:
        file.write_bytes(content)
    for command in COMMANDS:
        code, last = run(tmp_path, command, f"--config={file}")
        assert code == 2, command
        assert "my \\x1b[2Jconfig.json: " in last, command
        assert complaint in last, command


def test_a_directory_is_no_settings_file(tmp_path: Path) -> None:
    code, last = run(tmp_path, "tap-sage-accounting-logout", f"--config={tmp_path}")
    assert (code, last.endswith("is a directory.")) == (2, True)


@pytest.mark.parametrize("variable", ["LOGLEVEL", "TAP_SAGE_ACCOUNTING_LOGLEVEL"])
@pytest.mark.parametrize("level", ["LOUD", "10", "\x1b[2J"])
def test_a_log_level_that_there_is_not_is_named(level: str, variable: str, tmp_path: Path) -> None:
    for command in ("tap-sage-accounting-login", "tap-sage-accounting-status"):
        code, last = run(tmp_path, command, **{variable: level})
        assert code == 2
        assert f"{variable} is" in last
        assert "set it to DEBUG, INFO, WARNING or ERROR" in last


@pytest.mark.parametrize("setting", ["concurrency", "requests_per_minute", "lookback_window"])
@pytest.mark.parametrize("value", ["", "many", "1.5"])
def test_a_number_in_the_environment_that_is_none_is_named(
    sage: SandboxServer, setting: str, value: str, tmp_path: Path
) -> None:
    given = {f"TAP_SAGE_ACCOUNTING_{name.upper()}": text for name, text in sage.tap_config().items()}
    variable = f"TAP_SAGE_ACCOUNTING_{setting.upper()}"
    for command, options in (("tap-sage-accounting", ("--config=ENV", "--test")), ("tap-sage-accounting-status", ())):
        code, last = run(tmp_path, command, *options, **given, **{variable: value})
        assert code == 1, command
        assert f"{variable} must be a whole number" in last or "nothing was sent to Sage" in last
    assert len(list(sage.requests)) == 0


@pytest.mark.parametrize("agent", ["Käse ✓", "line\nbreak", "\x1b[2J"])
def test_a_user_agent_that_no_header_can_hold_is_refused(sage: SandboxServer, agent: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(sage.tap_config(user_agent=agent)))
    code, last = run(tmp_path, "tap-sage-accounting-status", f"--config={file}")
    assert code == 1
    assert last == "The settings are not right; nothing was sent to Sage."
    assert len(list(sage.requests)) == 0


def test_every_required_setting_that_is_missing_is_named_once(tmp_path: Path) -> None:
    finished = subprocess.run(
        [PROGRAMS / "tap-sage-accounting-status"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    assert finished.returncode == 1
    for setting in ("client_id", "client_secret"):
        assert finished.stderr.count(f"Setting '{setting}' is missing") == 1


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e300", "soon"])
def test_a_time_to_wait_that_makes_no_sense_is_refused(sage: SandboxServer, seconds: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(sage.tap_config()))
    options = (f"--config={file}", f"--timeout={seconds}")
    code, last = run(tmp_path, "tap-sage-accounting-login", *options, BROWSER="true")
    assert code == 2
    assert "'--timeout'" in last


def test_a_browser_that_does_not_start_leaves_the_address_to_open(sage: SandboxServer, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(sage.tap_config()))
    options = (f"--config={file}", "--timeout=1")
    code, last = run(tmp_path, "tap-sage-accounting-login", *options, BROWSER="/nowhere/browser")
    assert code == 1
    assert "No answer came from the browser" in last
