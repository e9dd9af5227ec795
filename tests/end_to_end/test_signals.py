"""Any number of signals, at any moment, is one orderly stop: no login, line or row is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.faults import Fault
from sage_workbench.merge import Warehouse, disagreements
from sage_workbench.plain_books import List
from sage_workbench.processes import TapProcess
from support.signalled import (
    HUP,
    INT,
    PROGRAMS,
    TERM,
    Start,
    processes_in,
    read_slowly,
    read_until,
    several,
    two,
    until,
)
from tap_sage_accounting.auth.renewal import LONGEST_REFRESH_WAIT
from tap_sage_accounting.run.signals import LONGEST_STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sage_sandbox.server import SandboxServer
    from sage_workbench.runs import Run

STREAMS = ("contacts", "journals", "sales_quotes")
SHORT_STOP = """
import sys
from tap_sage_accounting.run import signals
signals.LONGEST_STOP = float(sys.argv.pop(1))
from tap_sage_accounting.cli import main
main()
"""
"""The tap, with another bound for a stop."""

SIGNAL_AT_IMPORT = """
import os, sys


class Signaller:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            sys.meta_path.remove(self)
            for number in os.environ["SIGNALS"].split(","):
                os.kill(os.getpid(), int(number))


sys.meta_path.insert(0, Signaller())
"""
"""Sends the process its signals when it begins to import a module."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with processes_in(tmp_path) as begin:
        yield begin


@pytest.fixture
def tap(server: SandboxServer, tmp_path: Path) -> TapProcess:
    server.faults.detail_flags_on_lists = True
    return TapProcess(server, tmp_path, STREAMS, page_size=2, concurrency=4, decimals="text")


def check_next_run(tap: TapProcess, server: SandboxServer, output: bytes) -> None:
    """Everything came out in whole lines, the state last; the next run needs no login and completes the tables."""
    assert output.endswith(b"\n") or not output
    messages = tap.take(output)
    assert not messages or messages[-1]["type"] == "STATE"
    server.faults.script.clear()
    warehouse = Warehouse()
    warehouse.load(messages)
    warehouse.load(tap.run())
    assert not server.grants.refusals
    assert disagreements(server.world, warehouse, STREAMS) == []


def write_long_notes(server: SandboxServer, length: int) -> None:
    """Give a contact of the first business notes that no pipe holds."""
    business = next(iter(server.world.businesses.values()))
    contacts = business.collection("contacts")
    contacts.change(next(iter(contacts.rows)), {"notes": "long " * (length // 5)}, server.world.clock.now())


# The tap


@pytest.mark.slow
@several
def test_a_token_request_under_way_is_waited_for_and_its_tokens_are_kept(
    tap: TapProcess, server: SandboxServer, start: Start, signals: Sequence[int]
) -> None:
    slow = server.faults.add(Fault("token", "slow", seconds=1))
    process = start(tap.command())
    until(lambda: slow.times == 0)
    process.send(signals)
    assert process.code() == 128 + signals[0], process.log
    assert "Traceback" not in process.log
    assert server.grants.refreshes == 1
    check_next_run(tap, server, process.output)


@pytest.mark.slow
@two
def test_a_run_that_waits_for_a_response_ends_with_a_state(
    tap: TapProcess, server: SandboxServer, start: Start, signals: Sequence[int]
) -> None:
    slow = server.faults.add(Fault("sales_quotes", "slow", page=2, seconds=60))
    process = start(tap.command())
    until(lambda: slow.times == 0)
    process.send(signals)
    assert process.code() == 128 + signals[0], process.log
    assert "Traceback" not in process.log
    assert process.log.count(f"({signal.Signals(signals[0]).name})") == 1
    output = process.output
    assert b'"contacts"' in output
    check_next_run(tap, server, output)


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@two
def test_a_long_line_that_a_slow_target_reads_is_finished(
    tap: TapProcess, server: SandboxServer, start: Start, signals: Sequence[int], unbuffered: str
) -> None:
    write_long_notes(server, 2_000_000)
    process = start(tap.command(), piped=True, PYTHONUNBUFFERED=unbuffered)
    output = read_until(process, b"long long long")
    process.send(signals)
    output += read_slowly(process)
    assert process.code() == 128 + signals[0], process.log
    assert "Traceback" not in process.log
    assert len(output) > 2_000_000
    check_next_run(tap, server, output)


def test_the_last_state_is_written_whole_whatever_arrives_meanwhile(
    tap: TapProcess, server: SandboxServer, start: Start
) -> None:
    slow = server.faults.add(Fault("sales_quotes", "slow", page=2, seconds=60))
    tap.state = {"bookmarks": {"sales_quotes": {"left": "long " * 100_000}}}
    process = start(tap.command(), piped=True)
    output = read_until(process, b'"SCHEMA","stream":"sales_quotes"')
    until(lambda: slow.times == 0)
    process.send([TERM])
    output += read_until(process, b'"STATE"')
    process.send([INT, HUP, TERM, INT])
    output += read_slowly(process)
    assert process.code() == 128 + TERM, process.log
    assert "Traceback" not in process.log
    check_next_run(tap, server, output)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_catalog_that_is_being_printed_is_finished(tap: TapProcess, start: Start, unbuffered: str) -> None:
    process = start([tap.command()[0], "--discover"], piped=True, PYTHONUNBUFFERED=unbuffered)
    output = read_until(process, b'"streams"')
    process.send([INT, TERM])
    output += read_slowly(process)
    assert process.code() == 128 + INT
    assert "Traceback" not in process.log
    assert len(json.loads(output)["streams"]) > 80


def test_a_hangup_that_nohup_ignores_stops_nothing(tap: TapProcess, server: SandboxServer, start: Start) -> None:
    slow = server.faults.add(Fault("sales_quotes", "slow", page=2, seconds=1))
    process = start(["nohup", *tap.command()])
    until(lambda: slow.times == 0)
    process.send([HUP])
    assert process.code() == 0, process.log
    check_next_run(tap, server, process.output)


# A target that does not read


def test_a_stop_may_last_as_long_as_a_token_request_and_the_saving_of_what_it_brings() -> None:
    assert LONGEST_STOP > LONGEST_REFRESH_WAIT


def test_a_stop_ends_although_nobody_reads(tap: TapProcess, server: SandboxServer, start: Start) -> None:
    write_long_notes(server, 2_000_000)
    process = start([sys.executable, "-c", SHORT_STOP, "1", *tap.command()[1:]], piped=True)
    read_until(process, b"long long long")
    process.send([INT, TERM])
    assert process.code() == 128 + INT
    assert not server.grants.refusals


@pytest.mark.slow
def test_a_stop_lasts_as_long_as_somebody_reads(tap: TapProcess, server: SandboxServer, start: Start) -> None:
    write_long_notes(server, 2_000_000)
    process = start([sys.executable, "-c", SHORT_STOP, "10", *tap.command()[1:]], piped=True)
    output = read_until(process, b"long long long")
    process.send([INT, TERM])
    output += read_slowly(process, pause=0.4, size=1 << 16)  # 12 s in all
    assert process.code() == 128 + INT
    check_next_run(tap, server, output)


def test_a_target_that_is_gone_is_said_in_a_line(tap: TapProcess, server: SandboxServer, start: Start) -> None:
    write_long_notes(server, 2_000_000)
    process = start(tap.command(), piped=True)
    read_until(process, b"long long long")
    assert process.pipe
    process.pipe.close()
    assert process.code() == 1
    assert "Traceback" not in process.log
    assert "Nobody reads the output any more" in process.log.splitlines()[-1]
    check_next_run(tap, server, b"")


def test_a_target_that_goes_during_a_stop_changes_nothing(tap: TapProcess, server: SandboxServer, start: Start) -> None:
    slow = server.faults.add(Fault("token", "slow", seconds=1))
    process = start(tap.command(), piped=True)
    until(lambda: slow.times == 0)
    assert process.pipe
    process.pipe.close()
    process.send([INT, TERM])
    assert process.code() == 128 + INT
    assert "Traceback" not in process.log
    check_next_run(tap, server, b"")


# Before there is anything to lose


@pytest.mark.parametrize(
    ("program", "module", "signals"),
    [
        (("tap-sage-accounting",), "singer_sdk", (INT,)),
        (("tap-sage-accounting",), "tap_sage_accounting.streams.sales", (INT, TERM)),
        ((sys.executable, "-m", "tap_sage_accounting"), "requests", (HUP, INT)),
        (("tap-sage-accounting-login",), "click", (INT, INT)),
        (("tap-sage-accounting-status",), "msgspec", (TERM,)),
        (("tap-sage-accounting-logout",), "tap_sage_accounting.commands", (HUP,)),
        (("source-sage-accounting", "spec"), "tap_sage_accounting.airbyte.spec", (INT, TERM)),
        (("source-sage-accounting", "spec"), "singer_sdk", (TERM,)),
    ],
)
def test_a_stop_while_modules_are_loaded_leaves_no_traceback(
    start: Start, tmp_path: Path, program: tuple[str, ...], module: str, signals: Sequence[int]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SIGNAL_AT_IMPORT)
    command = [PROGRAMS / program[0], *program[1:]]
    process = start(command, PYTHONPATH=str(tmp_path), AT=module, SIGNALS=",".join(str(int(each)) for each in signals))
    by_itself = -signals[0] if program[0].startswith("source") else 128 + signals[0]
    assert process.code() == by_itself, process.log
    assert process.log == ""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_stopped_leaves_whole_lines_and_a_true_state(
    server: SandboxServer, run_tap: Callable[..., Run], tmp_path: Path, sign: signal.Signals
) -> None:
    for business in server.world.businesses.values():
        for stream in ("contacts", "sales_quotes"):
            List(server.world, business, stream).fill(7)
    slow = server.faults.add(Fault("sales_quotes", "slow", page=2, seconds=600))
    config = tmp_path / "config.json"
    settings = server.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}", page_size=4, concurrency=1)
    config.write_text(json.dumps(settings))
    catalog = tmp_path / "catalog.json"
    chosen = run_tap("user").tap.catalog_dict
    for entry in chosen["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] in {"contacts", "sales_quotes"}
    catalog.write_text(json.dumps(chosen))
    program = Path(sys.executable).with_name("tap-sage-accounting")
    command: list[str | Path] = [program, "--config", config, "--catalog", catalog]
    output = tmp_path / "output.jsonl"
    with output.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True) as process:
        while slow.times and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(sign)
        try:
            _, log = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 128 + sign, log
    assert f"Stopping ({sign.name})" in log
    assert "Traceback" not in log
    assert "The run ended early: " in log
    assert "of 4 reads done" in log
    messages = [json.loads(line, parse_float=Decimal) for line in output.read_text().splitlines()]
    assert messages[-1]["type"] == "STATE"
    state = messages[-1]["value"]
    assert len(state["bookmarks"]["contacts"]["partitions"]) == 2
    for partition in state["bookmarks"].get("sales_quotes", {}).get("partitions", []):
        assert "replication_key_value" not in partition
    server.faults.script.clear()
    warehouse = Warehouse()
    warehouse.load(messages)
    warehouse.load(run_tap("contacts", "sales_quotes", state=state).messages)
    assert disagreements(server.world, warehouse, ["contacts", "sales_quotes"]) == []
