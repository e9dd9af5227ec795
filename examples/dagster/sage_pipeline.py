"""One run of tap and target for any scheduler: a pipe between two programs, a state for each business, and the outcome.

Nothing here knows of an orchestrator. Settings of both programs come from the environment.
"""
# ruff: noqa: INP001, S603 - these files are copied, not installed, and the programs are on the path

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from upath import UPath

TAP = "tap-sage-accounting"
LOADER = os.environ.get("SAGE_LOADER", "target-postgres")
RUN_LOG = frozenset(("runs", "run_reads"))
"""The streams by which the tap reports how a run and its reads ended."""
COLLECTED = RUN_LOG | {"deletions"}
"""Streams that are no lists: their rows are found while lists are read."""


class RunFailedError(Exception):
    """A program failed; the message is its own."""


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        exit_codes: those of the programs, by name.
        summary: the last line of the tap's log, which says how it went. After a failure, what the tap says about that,
            or the loader's last line where it failed first.
        run: the row of the stream `runs`.
        reads: the rows of the stream `run_reads`, by stream.
        businesses: names of the businesses that were listed, by id.
        loader_left: whether the loader ended before it had read everything.
    """

    exit_codes: dict[str, int] = field(default_factory=dict)
    summary: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, dict[str, Any]] = field(default_factory=dict)
    businesses: dict[str, str] = field(default_factory=dict)
    loader_left: bool = False

    @property
    def failed(self) -> str | None:
        """The program that failed, where both did, first; None if everything arrived that the user may read."""
        order = (LOADER, TAP) if self.loader_left else (TAP, LOADER)
        return next((name for name in order if self.exit_codes.get(name)), None)

    @property
    def loaded(self) -> dict[str, dict[str, Any]]:
        """What a run brought into the tables, by stream: whole lists, also where other lists failed; and its own log.

        A list that the user may not read is as complete as it can be: its status is `skipped`.
        """
        if self.exit_codes.get(LOADER):
            return {}
        whole = {
            stream: {name: row[name] for name in ("status", "reason", "records") if row[name] is not None}
            for stream, row in self.reads.items()
            if row["status"] != "failed"
        }
        collected = RUN_LOG if self.failed else COLLECTED
        return whole | {stream: {"status": "complete"} for stream in collected if self.run}

    def note(self, line: bytes) -> None:
        """Keep what a message says of the run; the later row of a key counts."""
        message = json.loads(line)
        if message["type"] != "RECORD":
            return
        row = message["record"]
        match message["stream"]:
            case "runs":
                self.run = row
            case "run_reads":
                self.reads[row["stream"]] = row
            case "businesses":
                self.businesses[row["business_id"]] = row.get("name") or row["business_id"]


class Reader(threading.Thread):
    """Reads what a program writes, keeps its last lines, and passes them on to this process's log where asked."""

    def __init__(self, stream: IO[bytes], *, shown: bool) -> None:
        super().__init__(daemon=True)
        self.lines: deque[str] = deque(maxlen=20)
        self._stream = stream
        self._shown = shown
        self.start()

    def run(self) -> None:
        """Read to the end."""
        with self._stream:
            for line in self._stream:
                text = line.decode(errors="replace")
                if text.endswith("\n"):  # a program that was killed leaves half a line
                    self.lines.append(text.rstrip())
                if self._shown:
                    sys.stderr.write(text)

    def last(self) -> str:
        """Wait for the end; return the last line."""
        self.join()
        return self.lines[-1] if self.lines else ""

    def problems(self) -> list[str]:
        """Wait for the end; return what the tap says about its failure: what failed, why, and what to do."""
        self.join()
        error = f" | {'ERROR':8} | {TAP:30} | "  # behind the time
        return [line.partition(error)[2] for line in self.lines if error in line]


def run(streams: Collection[str], state: Path | UPath | None = None, *options: str, **settings: str) -> Outcome:
    """Load some streams.

    Args:
        streams: What to select, besides the run's own log.
        state: Where the bookmarks are kept; None begins without any and keeps none.
        options: More options of the tap.
        settings: More settings of the tap, by their name.
    """
    environment = os.environ | {f"TAP_SAGE_ACCOUNTING_{name.upper()}": value for name, value in settings.items()}
    with tempfile.TemporaryDirectory() as scratch:
        files = {"catalog": json.dumps(catalog_of({*streams, *RUN_LOG}))}
        if state is not None and state.exists():
            files["state"] = state.read_text()
        for name, content in files.items():
            (path := Path(scratch, f"{name}.json")).write_text(content)
            options += (f"--{name}={path}",)
        return _pipe([TAP, "--config=ENV", *options], environment, state)


def catalog_of(streams: Collection[str]) -> dict[str, Any]:
    """Return the tap's catalog with some streams selected, and no others.

    Raises:
        RunFailedError: the tap gave none.
    """
    found = subprocess.run([TAP, "--config=ENV", "--discover"], check=False, capture_output=True, text=True)
    sys.stderr.write(found.stderr)
    if found.returncode:
        raise RunFailedError(message_of(found.stderr.rstrip().rpartition("\n")[2]))
    catalog: dict[str, Any] = json.loads(found.stdout)
    for stream in catalog["streams"]:
        [own] = [entry["metadata"] for entry in stream["metadata"] if not entry["breadcrumb"]]
        own["selected"] = stream["tap_stream_id"] in streams
    return catalog


def message_of(line: str) -> str:
    """Return a line of a log without time, level and logger."""
    return line.split(" | ", 3)[-1]


def _pipe(command: list[str], environment: Mapping[str, str], state: Path | UPath | None) -> Outcome:
    """Let the loader read what the tap writes, and keep the last state that it confirms, however the run ends."""
    outcome = Outcome()
    loader = subprocess.Popen(
        [LOADER, "--config=ENV"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    tap = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert tap.stdout and tap.stderr and loader.stdin and loader.stdout and loader.stderr  # noqa: S101, PT018 - for types
    logs = {TAP: Reader(tap.stderr, shown=True), LOADER: Reader(loader.stderr, shown=True)}
    states = Reader(loader.stdout, shown=False)
    # In a thread of its own, which no interrupt can stop between taking a line and passing it on.
    copying = threading.Thread(target=_copy, args=(tap.stdout, loader.stdin, outcome), daemon=True)
    copying.start()
    try:
        copying.join()
    except BaseException:
        tap.terminate()  # in an orderly way: it still writes its state
        copying.join()
        raise
    finally:
        outcome.exit_codes = {TAP: tap.wait(), LOADER: loader.wait()}
        if state is not None and (confirmed := states.last()):
            keep(state, confirmed)
    last = logs[outcome.failed or TAP].last()
    problems = logs[TAP].problems() if outcome.failed == TAP else []
    outcome.summary = " ".join(problems) or message_of(last)
    return outcome


def _copy(source: IO[bytes], sink: IO[bytes], outcome: Outcome) -> None:
    """Copy messages to their end, and note those that are about the run and whether the loader ended before."""
    try:
        with source, sink:
            for line in source:
                if b'"run' in line or b'"businesses"' in line:
                    outcome.note(line)
                sink.write(line)
    except BrokenPipeError:
        outcome.loader_left = True


def keep(state: Path | UPath, content: str) -> None:
    """Replace a state at once: a file by renaming, an object of a bucket by writing it."""
    state.parent.mkdir(parents=True, exist_ok=True)
    if getattr(state, "protocol", "") in ("", "file"):
        new = state.with_name(f"{state.name}.new")
        new.write_text(content)
        new.replace(state)
    else:
        state.write_text(content)
