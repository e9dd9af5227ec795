"""A state is found in every form in which it may come, or refused in one line; never silently ignored."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.pipeline import catalog_of
from sage_workbench.plain_books import List, plain_world
from support.installed import Program, errors
from tap_sage_accounting.exceptions import SettingsError
from tap_sage_accounting.run.state_forms import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAMS = ("contacts", "products")
State = dict[str, Any]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world()) as running:
        owner = next(iter(running.world.businesses.values()))
        for stream in STREAMS:
            List(running.world, owner, stream).fill(5)
        yield running


@pytest.fixture
def program(server: SandboxServer, tmp_path: Path) -> Program:
    program = Program(server, tmp_path)
    program.write("catalog", catalog_of(program.settings, STREAMS))
    return program


@pytest.fixture
def state(server: SandboxServer, run_tap: RunTap) -> State:
    """What a first run left, some days ago."""
    found = run_tap(*STREAMS).state
    with server.paused():
        server.world.clock.advance(timedelta(days=3))
    found = run_tap(*STREAMS, state=found).state
    server.requests.clear()
    return found


def as_airbyte(state: State) -> list[State]:
    return [
        {"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": each}}
        for name, each in state["bookmarks"].items()
    ]


def as_lines(*messages: Any) -> str:
    return "\n".join(json.dumps(message) for message in messages) + "\n"


FORMS: dict[str, Callable[[State], str | bytes]] = {
    "as it is": json.dumps,
    "as meltano state get prints it": lambda state: json.dumps({"singer_state": state}),
    "as Meltano stores it": lambda state: json.dumps({"completed": {"singer_state": state}, "partial": {}}),
    "as Meltano stores it after a run that was stopped": lambda state: json.dumps(
        {
            "completed": {"singer_state": {"bookmarks": {"contacts": state["bookmarks"]["contacts"], "products": {}}}},
            "partial": {"singer_state": {"bookmarks": {"products": state["bookmarks"]["products"]}}},
        }
    ),
    "as Meltano's database has it": lambda state: json.dumps(
        {"completed_state": json.dumps({"singer_state": state}), "partial_state": None}
    ),
    "as a STATE message": lambda state: json.dumps({"type": "STATE", "value": state}),
    "as several STATE messages": lambda state: as_lines(
        {"type": "STATE", "value": {"bookmarks": {}}}, {"type": "STATE", "value": state}
    ),
    "as a target prints them": lambda state: as_lines({"bookmarks": {"contacts": {}}}, state),
    "among other messages": lambda state: as_lines(
        {"type": "SCHEMA", "stream": "x"}, {"type": "STATE", "value": state}, {"type": "RECORD", "record": {}}
    ),
    "as Airbyte keeps it": lambda state: json.dumps(as_airbyte(state)),
    "as Airbyte's global state": lambda state: json.dumps(
        [{"type": "GLOBAL", "global": {"stream_states": [each["stream"] for each in as_airbyte(state)]}}]
    ),
    "as Airbyte's log has it": lambda state: as_lines(
        *({"type": "STATE", "state": each} for each in as_airbyte(state))
    ),
    "without the bookmarks around it": lambda state: json.dumps(state["bookmarks"]),
    "with other keys beside it": lambda state: json.dumps({**state, "currently_syncing": "contacts"}),
    "as PowerShell writes it": lambda state: json.dumps(state).encode("utf-16"),
    "with a byte order mark": lambda state: b"\xef\xbb\xbf" + json.dumps(state).encode(),
}


def content(form: str | bytes) -> bytes:
    return form if isinstance(form, bytes) else form.encode()


@pytest.mark.parametrize("form", FORMS)
def test_a_state_is_found_in_what_it_is_wrapped_in(
    server: SandboxServer, run_tap: RunTap, state: State, form: str
) -> None:
    run = run_tap(*STREAMS, state={"state": read_state(content(FORMS[form](state)))})
    assert run.error is None
    assert run.records == {}
    assert all(
        "updated_or_created_since" in request.params or "deleted_since" in request.params
        for stream in STREAMS
        for request in server.requests.of(stream)
    )


@pytest.mark.parametrize(
    "form",
    ["as meltano state get prints it", "as several STATE messages", "as Airbyte keeps it", "as PowerShell writes it"],
)
def test_the_program_finds_it_there_too(server: SandboxServer, program: Program, state: State, form: str) -> None:
    (program.home / "state.json").write_bytes(content(FORMS[form](state)))
    done = program.configured("--catalog=catalog.json", "--state=state.json")
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stdout.splitlines() if '"RECORD"' in line]
    assert len(server.requests.of("contacts")) == 2


REFUSED: dict[str, str | bytes] = {
    "The state is empty.": "",
    "The state is empty. ": " \n",
    "The state cannot be read as JSON.": "{",
    "The state cannot be read as JSON. ": b"\xff\x00\x80",
    "The state cannot be read as JSON.  ": "[" * 100_000,
    "The state is in no form that this tap knows: no object.": "5",
    "The state is in no form that this tap knows: no object. ": "true",
    "The state is in no form that this tap knows: an object with id, name.": '{"id": 1, "name": "x"}',
    "The state names none of this tap's streams (deals, leads): it is another tap's.": json.dumps(
        {"bookmarks": {"deals": {"partitions": []}, "leads": {}}}
    ),
    "The state holds messages, and no STATE is among them.": as_lines({"type": "RECORD"}, {"type": "SCHEMA"}),
    r"The state names none of this tap's streams (\x1b]0;x\x07\n): it is another tap's.": json.dumps(
        {"bookmarks": {"\x1b]0;x\x07\n": {}}}
    ),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_is_no_state_of_this_tap_is_refused_in_one_line(run_tap: RunTap, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        run_tap(*STREAMS, state={"state": read_state(content(REFUSED[says]))})
    assert str(refused.value).startswith(says.strip())
    assert "no state at all to read everything from the beginning" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("says", list(REFUSED)[:9:4])
def test_the_program_refuses_it_before_any_request(server: SandboxServer, program: Program, says: str) -> None:
    (program.home / "state.json").write_bytes(content(REFUSED[says]))
    done = program.configured("--catalog=catalog.json", "--state=state.json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(errors(done)) == 1
    assert says.strip() in errors(done)[0]
    assert len(server.requests) == 0


@pytest.mark.parametrize("nothing", ["{}", "null", "[]", '{"bookmarks": {}}', '{"singer_state": {}}'])
def test_a_state_without_anything_in_it_begins_at_the_beginning(run_tap: RunTap, nothing: str) -> None:
    run = run_tap(*STREAMS, state={"state": read_state(nothing.encode())})
    assert run.error is None
    assert {name: len(rows) for name, rows in run.records.items()} == dict.fromkeys(STREAMS, 5)


def test_parts_that_nobody_knows_are_named(program: Program, state: State) -> None:
    program.write("state", {**state, "cursor": 5, "currently_syncing": None})
    done = program.configured("--catalog=catalog.json", "--state=state.json")
    assert done.returncode == 0
    assert "The state has parts that this tap does not know, and leaves out: cursor." in done.stderr


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        (("none",), "No stream is selected, so nothing is read."),
        (
            ("deletions",),
            "Only 'deletions' is selected, so nothing is read",
        ),
    ],
)
def test_a_selection_that_reads_nothing_is_said(run_tap: RunTap, streams: tuple[str, ...], says: str) -> None:
    run = run_tap(*streams)
    assert run.error is None
    assert any(line.startswith(says) for line in run.log)
