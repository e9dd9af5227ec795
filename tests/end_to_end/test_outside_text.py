"""Names, messages, pages, headers and files from outside reach no terminal and no log raw, whatever shows them."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.pipeline import catalog_of
from sage_workbench.plain_books import List, plain_world
from support.terminals import PROGRAMS, Terminal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

FORGED = "2026-06-30 18:00:00,000 | INFO     | tap-sage-accounting            | Run finished: 999 records"
HOSTILE = f"Acme\r\n{FORGED}\n\x1b]0;title\x07\x1b[2J\x9b1A\u202e\u2028\x85\ud83d\x00"
"""Line breaks, a forged line, a terminal's title, sequences, reversed writing, separators, half a pair, a NUL."""
SHOWN = f"Acme\\r\\n{FORGED}\\n\\x1b]0;title\\x07\\x1b[2J\\x9b1A\\u202e\\u2028\\x85"
"""How the beginning of it is shown; the rest depends on what the text went through."""
SHORT = "Acme\n\x1b[2J\x9b\u202eforged\x00"
TAP, SOURCE = "tap-sage-accounting", "source-sage-accounting"


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    """A Sage in which every name is hostile."""
    world = plain_world(businesses=2)
    for number, business in enumerate(world.businesses.values()):
        business.body |= {"displayed_as": "@raw@", "name": "@raw@", "country": {"id": "@raw@"}}
        business.body["subscriptions"][0] |= {"displayed_as": "@raw@", "status": "@raw@"}
        contacts = List(world, business, "contacts")
        contacts.fill(3)
        contacts.collection.change(contacts.keys[number], {"name": "@raw@", HOSTILE[:20]: 1}, world.clock.now())
    world.user |= {"displayed_as": "@raw@", "email": "@raw@"}
    with SandboxServer(world) as server:
        server.faults.raw = {"@raw@": json.dumps(HOSTILE)}
        yield server


@pytest.fixture
def terminal(sage: SandboxServer, tmp_path: Path) -> Terminal:
    terminal = Terminal(sage, tmp_path)
    terminal.settings["patience"] = 1
    return terminal


class Screen:
    """What a program showed, none of which may be raw."""

    def __init__(self, done: subprocess.CompletedProcess[str], *, has_messages: bool = False) -> None:
        self.code = done.returncode
        self.lines = done.stderr.split("\n") if has_messages else (done.stdout + done.stderr).split("\n")
        self.text = "\n".join(self.lines)
        for line in self.lines:
            assert line.isprintable(), ascii(line)
            assert not line.startswith(FORGED)


def read(terminal: Terminal, *options: str, **environment: Any) -> Screen:
    done = terminal.start(PROGRAMS / TAP, terminal.write(), *options, **environment)
    return Screen(done, has_messages=True)


def choose(terminal: Terminal, *streams: str) -> str:
    return f"--catalog={file(terminal, catalog_of(terminal.settings, streams))}"


_numbers = count()


def file(terminal: Terminal, content: Any) -> Path:
    path = terminal.home / f"file-{next(_numbers)}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# Names


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
@pytest.mark.parametrize("options", [(), ("--test",)], ids=["run", "test"])
def test_names_reach_no_log_of_a_run(terminal: Terminal, options: tuple[str, ...], level: str) -> None:
    terminal.sage.faults.add(Fault("products", 400, times=None))
    terminal.sage.faults.add(Fault("services", 403, times=None))
    options += () if options else (choose(terminal, "contacts", "products", "services"),)
    screen = read(terminal, *options, LOGLEVEL=level)
    assert screen.code == 1
    for place in ("Extracting ", "Skipped of ", "Failed: 'products' of "):
        assert any(f"{place}{SHOWN}" in line for line in screen.lines), place


def test_names_of_damaged_records_reach_no_log(terminal: Terminal) -> None:
    screen = read(terminal, choose(terminal, "contacts"))
    assert screen.code == 0
    assert any("that Sage sent damaged" in line and SHOWN in line for line in screen.lines)
    assert any("that this version does not know" in line and "Acme\\r\\n" in line for line in screen.lines)


def test_names_reach_no_terminal_of_status_and_logout(terminal: Terminal) -> None:
    screen = Screen(terminal.start(PROGRAMS / f"{TAP}-status", terminal.write()))
    assert screen.code == 0
    whole = "".join(screen.text.split())  # lines may be wrapped in the middle of a name
    for place in ("User: ", "Business "):
        assert "".join(f"{place}{SHOWN}".split()) in whole, place
    assert Screen(terminal.start(PROGRAMS / f"{TAP}-logout", terminal.write())).code == 0


def test_names_reach_no_terminal_of_a_login(terminal: Terminal) -> None:
    screen = log_in(terminal)
    assert screen.code == 0
    whole = "".join(screen.text.split())  # lines may be wrapped in the middle of a name
    assert "".join(SHOWN.split()) in whole


def log_in(terminal: Terminal, answer: dict[str, str] | None = None) -> Screen:
    """Log in on the terminal: allow on the consent page, or return from there with something else."""
    process = terminal.begin(PROGRAMS / f"{TAP}-login", terminal.write(), "--no-browser")
    assert process.stdout
    shown = ""
    while "&state=" not in shown:
        shown += process.stdout.readline().decode()
    page = urlsplit(shown.split()[-1])
    query = {name: values[0] for name, values in parse_qs(page.query).items()}
    if answer is None:
        given = {**query, "decision": "allow"}
        address = page._replace(query="").geturl()
        landing = requests.post(address, given, timeout=60, allow_redirects=False).headers["Location"]
    else:
        answer = {name: text.encode(errors="replace").decode() for name, text in answer.items()}
        landing = f"{query['redirect_uri']}?{urlencode({'state': query['state'], **answer})}"
    done = terminal.end(process, f"{landing}\n")
    done.stdout = shown + done.stdout
    return Screen(done)


# What others respond


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "by"),
    [
        (400, "sage"),
        (401, "gateway"),
        (403, "sage"),
        (403, "firewall"),
        (407, "firewall"),
        (429, "gateway"),
        (500, "sage"),
        (500, "nobody"),
    ],
)
def test_messages_and_headers_of_refusals_reach_no_log(terminal: Terminal, status: int, by: Any) -> None:
    fault = terminal.sage.faults.add(Fault("contacts", status, by=by, says=SHORT, times=2))
    read(terminal, choose(terminal, "contacts"), LOGLEVEL="DEBUG")
    assert fault.times == 0


@pytest.mark.parametrize(
    ("path", "status", "by"),
    [("token", 400, "sage"), ("token", 403, "firewall"), ("businesses", 400, "sage"), ("businesses", 403, "gateway")],
)
def test_refusals_before_the_first_read_reach_no_terminal(terminal: Terminal, path: str, status: int, by: Any) -> None:
    fault = terminal.sage.faults.add(Fault(path, status, by=by, says=SHORT, times=1))
    read(terminal, choose(terminal, "user"), LOGLEVEL="DEBUG")
    assert fault.times == 0
    fault.times = 1
    Screen(terminal.start(PROGRAMS / f"{TAP}-status", terminal.write(), LOGLEVEL="DEBUG"))
    assert fault.times == 0


@pytest.mark.parametrize(("status", "by"), [(400, "sage"), (500, "gateway")])
def test_refusals_of_a_logout_reach_no_terminal(terminal: Terminal, status: int, by: Any) -> None:
    assert Screen(terminal.start(PROGRAMS / f"{TAP}-status", terminal.write())).code == 0
    terminal.sage.faults.add(Fault("revoke", status, by=by, says=SHORT, times=None))
    Screen(terminal.start(PROGRAMS / f"{TAP}-logout", terminal.write(), LOGLEVEL="DEBUG"))


@pytest.mark.parametrize(
    "answer",
    [
        {"error": HOSTILE},
        {"error": "access_denied", "error_description": HOSTILE},
        {"error": "server_error", "reason": HOSTILE},
    ],
    ids=["error", "description", "reason"],
)
def test_errors_that_the_browser_brings_reach_no_terminal(terminal: Terminal, answer: dict[str, str]) -> None:
    screen = log_in(terminal, answer)
    assert screen.code == 1


# Files


@pytest.mark.slow
@pytest.mark.parametrize("option", ["config", "catalog", "state"])
@pytest.mark.parametrize(
    "content",
    [
        {HOSTILE: 1},
        {"page_size": HOSTILE, "start_date": HOSTILE, "business_ids": [HOSTILE], "decimals": HOSTILE},
        {"stream_maps": {HOSTILE: {HOSTILE: HOSTILE}, "contacts": {"x": f"'{SHORT}"}}},
        {"bookmarks": {HOSTILE: {}, "contacts": {"partitions": [{"context": {"business_id": HOSTILE}}]}}},
        {
            "streams": [
                {"tap_stream_id": HOSTILE, "stream": HOSTILE, "schema": {"properties": {HOSTILE: {"type": HOSTILE}}}}
            ]
        },
        {"api_url": f"https://example.invalid/{SHORT}", "redirect_uri": SHORT, "token_store": f"sqlite:///{SHORT}"},
        f'{{"{SHORT}',
    ],
    ids=["name", "values", "maps", "bookmarks", "streams", "addresses", "broken"],
)
def test_what_stands_in_files_reaches_no_log(terminal: Terminal, option: str, content: Any) -> None:
    if option == "config" and isinstance(content, dict):
        content = {**terminal.settings, **content}
    options = [f"--{option}={file(terminal, content)}"]
    if option != "config":
        options.append(terminal.write())
    Screen(terminal.start(PROGRAMS / TAP, *options, LOGLEVEL="DEBUG"), has_messages=True)
    if option == "config":
        for name in ("login", "logout"):
            arguments = ["--no-browser"] if name == "login" else []
            Screen(terminal.start(PROGRAMS / f"{TAP}-{name}", *options, *arguments, LOGLEVEL="DEBUG"))


# Airbyte


def texts_of(message: dict[str, Any]) -> Iterator[str]:
    """Find what a message shows to a person: logs, errors, the outcome of a check."""
    if message["type"] == "LOG":
        yield from message["log"].values()
    if message["type"] == "CONNECTION_STATUS":
        yield message["connectionStatus"].get("message", "")
    if error := message.get("trace", {}).get("error"):
        yield from (error.get(name, "") for name in ("message", "internal_message"))


def source(terminal: Terminal, command: str, **files: Any) -> list[str]:
    """Run the source; return what it shows, none of which may be raw."""
    options = [f"--{name}={file(terminal, content)}" for name, content in files.items()]
    done = terminal.start(PROGRAMS / SOURCE, command, *options)
    assert done.stderr == ""
    shown = [text for line in done.stdout.split("\n")[:-1] for text in texts_of(json.loads(line))]
    for text in shown:
        assert text.isprintable(), ascii(text)
        assert not text.startswith(FORGED)
    return shown


def configured(*streams: str) -> dict[str, Any]:
    return {
        "streams": [
            {
                "stream": {"name": name, "json_schema": {}, "supported_sync_modes": ["full_refresh"]},
                "sync_mode": "full_refresh",
                "destination_sync_mode": "overwrite",
            }
            for name in streams
        ]
    }


def test_names_reach_no_log_of_airbyte(terminal: Terminal) -> None:
    terminal.sage.faults.add(Fault("products", 400, says=SHORT, times=None))
    checked = source(terminal, "check", config=terminal.settings)
    assert any(f"The login reaches {SHOWN}" in text for text in checked)
    done = source(terminal, "read", config=terminal.settings, catalog=configured("contacts", "products"))
    assert any(text.startswith(f"Extracting {SHOWN}") for text in done)
    assert sum(f"'products' of {SHOWN}" in text for text in done) >= 2  # in the log and as an error
    source(terminal, "discover", config=terminal.settings)
    source(terminal, "spec")


@pytest.mark.parametrize(("path", "by"), [("token", "sage"), ("token", "gateway"), ("businesses", "firewall")])
def test_refusals_reach_no_status_of_airbyte(terminal: Terminal, path: str, by: Any) -> None:
    terminal.sage.faults.add(Fault(path, 403, by=by, says=SHORT, times=2))
    source(terminal, "check", config=terminal.settings)
    source(terminal, "read", config=terminal.settings, catalog=configured("contacts"))


@pytest.mark.parametrize(
    "files",
    [
        {"config": {HOSTILE: HOSTILE}},
        {"config": {"page_size": HOSTILE}},
        {"catalog": configured(HOSTILE)},
        {"catalog": {HOSTILE: 1}},
        {"state": [{"type": HOSTILE, HOSTILE: {}}]},
        {"state": {"bookmarks": {HOSTILE: HOSTILE}}},
    ],
)
def test_what_airbyte_hands_over_reaches_no_log(terminal: Terminal, files: dict[str, Any]) -> None:
    given: dict[str, Any] = {"config": terminal.settings, "catalog": configured("contacts"), **files}
    if "config" in files:
        given["config"] = {**terminal.settings, **files["config"]}
        source(terminal, "check", config=given["config"])
    source(terminal, "read", **given)
