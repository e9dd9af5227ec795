"""Every command ends in one line, whatever is wrong; a fault of the tap shows its traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.loading import Loading
from sage_workbench.small_sage import small_world
from support.terminals import PROGRAMS, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

BUG = """
from tap_sage_accounting.{module} import {name}
{name}.{method} = lambda *_, **__: {{}}["business\\n2026-06-30 | INFO | Run finished"]
from tap_sage_accounting.cli import {program}
{program}()
"""
"""A program with a fault in it."""
FILES = {
    "missing": (None, "no such file or directory."),
    "empty": (b" \n", "the file is empty."),
    "cut off": (b'{"bookmarks":', "no JSON: expecting value in line 1, column 14."),
    "two lines": (b'{"bookmarks": {}}\n{"bookmarks": {}}\n', "no JSON: extra data in line 2, column 1."),
    "list": (b"[]", "it holds no JSON object"),
    "number": (b"7", "it holds no JSON object"),
    "text": (b'"settings"', "it holds no JSON object"),
    "null": (b"null", "it holds no JSON object"),
    "BOM": (b"\xef\xbb\xbf{}", "begins with a byte order mark. Save it as UTF-8 without one."),
    "UTF-16": ('{"bookmarks": {}}'.encode("utf-16"), "begins with a byte order mark. Save it as UTF-8 without one."),
    "Latin-1": ('{"bookmarks": "é"}'.encode("latin-1"), "is not encoded in UTF-8."),
    "nested": (b'{"a":' * 100_000, "nested too deeply"),
    "half a pair": (b'{"bookmarks": {"\\uD83D": 1}}', "it holds half of a surrogate pair."),
    "digits": (b'{"bookmarks": ' + b"9" * 5000 + b"}", "a number has too many digits."),
}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with SandboxServer(small_world()) as sage:
        yield Terminal(sage, tmp_path)


# Files


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("program", "option"), [("", "--catalog"), ("", "--config"), ("-login", "--config"), ("-status", "--config")]
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(
    terminal: Terminal, program: str, option: str, kind: str
) -> None:
    content, complaint = FILES[kind]
    file = terminal.home / "my \x1b[2Jfile.json"
    if content is not None:
        file.write_bytes(content)
    code, shown = terminal.run(f"tap-sage-accounting{program}", terminal.write(), f"{option}={file}")
    assert code == 2
    assert f"'{option}'" in shown[-1]
    assert "my \\x1b[2Jfile.json: " in shown[-1]
    assert complaint in shown[-1]
    assert len(terminal.sage.requests) == 0


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("x", "no such file or directory."), ("config.json/x", "not a directory."), (".", "is a directory.")],
)
def test_a_path_that_leads_to_no_file_is_named(terminal: Terminal, path: str, complaint: str) -> None:
    settings = terminal.write()
    for option in ("--config", "--state", "--catalog"):
        code, shown = terminal.run("tap-sage-accounting", settings, f"{option}={path}")
        assert code == 2
        assert shown[-1].endswith(f"{path}: {complaint}")


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
def test_a_file_may_be_a_pipe(terminal: Terminal, option: str) -> None:
    content = json.dumps(terminal.settings if option == "--config" else {"bookmarks": {}, "streams": []})
    settings = [] if option == "--config" else [terminal.write()]
    finished = terminal.start(
        PROGRAMS / "tap-sage-accounting", *settings, option, "/dev/stdin", "--discover", standard_input=content
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("name", ["config", "catalog", "state"])
@pytest.mark.parametrize("kind", ["missing", "cut off", "nested", "UTF-16"])
def test_the_source_reports_a_file_that_cannot_be_used_as_a_setting_to_correct(
    terminal: Terminal, name: str, kind: str
) -> None:
    content, complaint = FILES[kind]
    files = {each: terminal.home / f"{each}.json" for each in ("config", "catalog", "state")}
    for file in files.values():
        file.write_text(json.dumps({**terminal.settings, "streams": []} if file.stem == "config" else {"streams": []}))
    files[name].unlink()
    if content is not None:
        files[name].write_bytes(content)
    code, shown = terminal.run("source-sage-accounting", "read", *(f"--{each}={file}" for each, file in files.items()))
    assert code == 1
    [error] = [found["trace"]["error"] for line in shown if (found := json.loads(line)).get("trace", {}).get("error")]
    assert error["failure_type"] == "config_error"
    assert files[name].name in error["message"]
    assert complaint in error["message"]


# Variables


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("EMIT_ACTIVATE_VERSION_MESSAGES", "perhaps", "must be true or false"),
        ("EMIT_ACTIVATE_VERSION_MESSAGES", "", "must be true or false"),
        ("STREAM_MAPS", "{", "must be a JSON object"),
        ("STREAM_MAPS", "[]", "must be a JSON object"),
        ("PAGE_SIZE", "", "must be a whole number"),
        ("PAGE_SIZE", "9" * 5000, "must be a whole number"),
        ("LOOKBACK_WINDOW", "1e3", "must be a whole number"),
        ("CONCURRENCY", "1.5", "must be a whole number"),
        ("REQUESTS_PER_MINUTE", "many", "must be a whole number"),
    ],
)
def test_a_variable_that_is_nothing_of_its_kind_is_named(
    terminal: Terminal, variable: str, text: str, complaint: str
) -> None:
    variables = {f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in terminal.settings.items()}
    name = f"TAP_SAGE_ACCOUNTING_{variable}"
    for program, options in (("tap-sage-accounting", ("--config=ENV",)), ("tap-sage-accounting-status", ())):
        code, shown = terminal.run(program, *options, **{**variables, name: text})
        assert code == 1, program
        assert any(f"{name} {complaint}" in line for line in shown[-2:])
    assert len(terminal.sage.requests) == 0


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["LOGLEVEL", "TAP_SAGE_ACCOUNTING_LOGLEVEL"])
@pytest.mark.parametrize("level", ["LOUD", "10", "\x1b[2J"])
def test_a_log_level_that_there_is_not_is_named(terminal: Terminal, level: str, variable: str) -> None:
    settings = terminal.write()
    for program, options, expected in (
        ("tap-sage-accounting", (settings,), 2),
        ("tap-sage-accounting", ("--discover",), 2),
        ("tap-sage-accounting-login", (settings,), 2),
        ("tap-sage-accounting-status", (settings,), 2),
        ("source-sage-accounting", ("check", settings), 1),
    ):
        code, shown = terminal.run(program, *options, **{variable: level})
        assert code == expected, program
        assert f"{variable} is" in shown[-1]
        assert "set it to DEBUG, INFO, WARNING or ERROR." in shown[-1]


@pytest.mark.parametrize("content", [None, "version: [", "handlers: {a: {class: no.such.Handler}}\nversion: 1"])
def test_a_log_configuration_that_cannot_be_used_is_named_and_left_aside(
    terminal: Terminal, content: str | None
) -> None:
    file = terminal.home / "logging.yaml"
    if content is not None:
        file.write_text(content)
    _, shown = terminal.run("tap-sage-accounting", terminal.write(page_size=0), SINGER_SDK_LOG_CONFIG=str(file))
    assert "logging.yaml, which is no configuration of a log" in shown[0]
    assert "'page_size' must be 1 to 200" in shown[-2]


# Settings


@pytest.mark.slow
@pytest.mark.parametrize("name", ["client_id", "client_secret", "refresh_token", "token_store_key"])
@pytest.mark.parametrize("spoilt", ["a-secret-value\n", " a-secret-value", "a-secret\r\nvalue", "a-secret\x00value"])
def test_a_credential_that_was_copied_with_something_around_it_is_refused(
    terminal: Terminal, name: str, spoilt: str
) -> None:
    code, shown = terminal.run("tap-sage-accounting-status", terminal.write(**{name: spoilt}))
    assert code == 1
    assert any(f"Setting '{name}' holds a line break, a control character or a blank" in line for line in shown)
    assert "secret-value" not in " ".join(shown)
    assert len(terminal.sage.requests) == 0


@pytest.mark.parametrize("program", ["tap-sage-accounting", "tap-sage-accounting-login", "tap-sage-accounting-logout"])
@pytest.mark.parametrize("path", ["", "/", "/v3", "/v3.0"])
def test_an_address_without_the_apis_version_is_refused(terminal: Terminal, path: str, program: str) -> None:
    code, shown = terminal.run(program, terminal.write(api_url=f"https://api.accounting.sage.com{path}"))
    assert code == 1
    assert any("Setting 'api_url' must end with the API's version: https://" in line for line in shown)


def test_every_required_setting_that_is_missing_is_named_once_by_every_command(terminal: Terminal) -> None:
    (terminal.home / "config.json").write_text("{}")
    for name in ("", "-login", "-status", "-logout"):
        for options in ((f"--config={terminal.home / 'config.json'}",), ("--config=ENV",), ()):
            code, shown = terminal.run(f"tap-sage-accounting{name}", *options)
            assert code == 1
            for setting in ("client_id", "client_secret"):
                assert sum(f"Setting '{setting}' is missing" in line for line in shown) == 1


@pytest.mark.slow
def test_all_commands_take_settings_from_the_same_places(terminal: Terminal) -> None:
    """Without --config from the environment, with a file from the file alone, with ENV from both."""
    variables = {f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in terminal.settings.items()}
    secret = variables.pop("TAP_SAGE_ACCOUNTING_CLIENT_SECRET")
    (terminal.home / ".env").write_text(f"TAP_SAGE_ACCOUNTING_CLIENT_SECRET={secret}\n")
    file = terminal.write(client_secret=None)
    complaint = "Setting 'client_secret' must be a text"
    for program in ("tap-sage-accounting", "tap-sage-accounting-status", "tap-sage-accounting-doctor"):
        options = ("--test",) if program == "tap-sage-accounting" else ()
        for given in ((), ("--config=ENV",), ("--config=ENV", file), (file, "--config=ENV")):
            code, shown = terminal.run(program, *options, *given, **variables)
            assert code == 0, (program, given, shown)
        terminal.sage.requests.clear()
        code, shown = terminal.run(program, *options, file, **variables)
        assert (code, any(complaint in line for line in shown)) == (1, True), (program, shown)
        assert len(terminal.sage.requests) == 0


# The login


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0", "1e300", "soon"])
def test_a_time_to_wait_that_makes_no_sense_is_refused(terminal: Terminal, seconds: str) -> None:
    options = (terminal.write(), f"--timeout={seconds}")
    code, shown = terminal.run("tap-sage-accounting-login", *options, BROWSER="true")
    assert code == 2
    assert "'--timeout'" in shown[-1]


def test_a_browser_that_does_not_start_leaves_the_address_to_open(terminal: Terminal) -> None:
    options = (terminal.write(), "--timeout=1")
    code, shown = terminal.run("tap-sage-accounting-login", *options, BROWSER="/nowhere/browser")
    assert code == 1
    assert "No answer came from the browser" in shown[-1]


# A fault of the tap


@pytest.mark.parametrize(
    ("module", "name", "method", "program", "options"),
    [
        ("tap", "TapSageAccounting", "prepare_run", "main", ()),
        ("tap", "TapSageAccounting", "discover_streams", "main", ("--discover",)),
        ("auth.manager", "TokenManager", "access_token", "status", ()),
    ],
)
def test_a_fault_is_said_in_a_line_before_its_traceback(
    terminal: Terminal, module: str, name: str, method: str, program: str, options: tuple[str, ...]
) -> None:
    code = BUG.format(module=module, name=name, method=method, program=program)
    finished = terminal.start(sys.executable, "-c", code, terminal.write(), *options)
    assert finished.returncode == 1
    shown = finished.stderr.splitlines()
    [said] = [number for number, line in enumerate(shown) if "KeyError: this is a fault of the tap." in line]
    assert shown[said + 1] == "Traceback (most recent call last):"
    assert "KeyError" in shown[-1]


# Surroundings and stream maps


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, "names certificates that are not there"),
        ({"HTTPS_PROXY": "http://[::1"}, "is no address"),
    ],
)
def test_surroundings_that_cannot_work_are_refused_before_a_request(
    server: SandboxServer, tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    config = tmp_path / "config.json"
    settings = server.tap_config(
        token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}", api_url="https://sage.example/v3.1"
    )
    config.write_text(json.dumps(settings))
    done = subprocess.run(
        [Path(sys.executable).with_name("tap-sage-accounting"), "--config", config],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stdout == "" or all(json.loads(line)["type"] == "STATE" for line in done.stdout.splitlines())
    assert "Traceback" not in done.stderr
    assert any(message in line for line in done.stderr.splitlines()[-5:]), done.stderr


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"stream_maps": {"contact": {"email": None}, "contacts": {"e_mail": None}}}, "did you mean 'email'?"),
        ({"flattening_enabled": True}, "flattening_max_depth is required when flattening is enabled"),
        (
            {"flattening_enabled": True, "flattening_max_depth": 3, "flattening_max_key_length": 5},
            "Duplicate column name produced in schema",
        ),
        ({"stream_maps": {"contacts": {"email": "md5(self"}}}, "is no expression"),
    ],
    ids=["slips", "flattening", "flattened columns of one name", "syntax"],
)
def test_the_program_ends_in_plain_lines_before_any_request(
    server: SandboxServer, tmp_path: Path, settings: dict[str, Any], reported: str
) -> None:
    said = Loading(server, "", tmp_path, "").refused(["contacts"], **settings)
    assert reported in said
    assert "nothing was sent to Sage" in said.splitlines()[-1]
