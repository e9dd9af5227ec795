"""The bench: it lets entrants run in turns on one simulated Sage, and gathers their figures."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import CONTENDERS, Command, Contender, Job
from benchmarks.environments import PROJECT
from benchmarks.figures import Figures, medians

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.sage import Request, Sage

log = logging.getLogger("benchmarks")

PATIENCE = 900.0
"""Seconds after which a run counts as failed."""


@dataclass
class Result:
    """The outcome of one scenario: for each entrant the figures of its runs."""

    what: str
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, Figures]:
        """The medians, by entrant."""
        return {entrant: medians(runs) for entrant, runs in self.runs.items() if runs}


@dataclass
class Bench:
    """The contenders and how thoroughly to compare them.

    Attributes:
        scratch: where environments stay and runs leave what they write.
        runs: how often each entrant runs.
        quick: smaller books and fewer runs, to see that everything works.
        names: the contenders that take part.
    """

    scratch: Path
    runs: int
    quick: bool
    names: tuple[str, ...]
    results: dict[str, Result] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the environments."""
        self.contenders: dict[str, Contender] = {
            kind.name: kind(self.scratch) for kind in CONTENDERS if kind.name in self.names
        }

    def among(self, *names: str) -> list[Contender]:
        """Choose those of these that take part."""
        return [self.contenders[name] for name in names if name in self.contenders]

    def interleave(self, title: str, what: str, entrants: Mapping[str, Callable[[], Figures]], runs: int) -> None:
        """Let each entrant run in turn, again and again, and keep the figures; one that fails is out."""
        result = self.results.setdefault(title, Result(what))
        for turn in range(runs):
            for name, entrant in entrants.items():
                if name in result.failures:
                    continue
                try:
                    figures = entrant()
                except RunFailedError as error:
                    result.failures[name] = str(error)
                    log.warning("%s: %s failed: %s", title, name, error)
                    continue
                result.runs.setdefault(name, []).append(figures)
                shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                log.info("%s, %d of %d: %s: %s", title, turn + 1, runs, name, shown)


class RunFailedError(RuntimeError):
    """A run ended with an error; the message is the end of what it wrote to standard error."""


@dataclass(frozen=True)
class Ran:
    """What a run cost and what it asked."""

    code: int
    seconds: float
    cpu: float
    peak_mb: float
    records: int
    requests: list[Request] = field(default_factory=list)


def start(command: Command, directory: Path, *, keep: bool = False, tolerate: bool = False) -> Ran:
    """Run a command through the small program that measures it.

    Raises:
        RunFailedError: it ended with an error, and that is not tolerated.
    """
    order = {
        "command": command.line,
        "environment": command.environment,
        "directory": str(directory),
        "keep": keep,
        "timeout": PATIENCE,
    }
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-S", "-E", str(PROJECT / "benchmarks" / "measure.py")],
        input=json.dumps(order).encode(),
        check=True,
        stdout=subprocess.PIPE,
    )
    ran = Ran(**json.loads(done.stdout))
    if ran.code != 0 and not tolerate:
        raise RunFailedError((directory / "stderr").read_text(errors="replace")[-600:].strip())
    return ran


@dataclass
class Field:
    """A simulated Sage and the lists of it that are read, the same for every entrant."""

    bench: Bench
    sage: Sage
    streams: tuple[str, ...]
    faults: dict[str, Any] = field(default_factory=dict)

    def run(self, contender: Contender, *, keep: Path | None = None, tolerate: bool = False, **job: Any) -> Ran:
        """Let a contender read everything once, in a directory that is thrown away."""
        address = self.sage.open(self.faults)
        directory = Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=self.bench.scratch))
        try:
            work = Job(directory, address, tuple(self.sage.rows), self.streams, **job)
            ran = start(contender.command(work), directory, keep=keep is not None, tolerate=tolerate)
            if keep is not None:
                shutil.move(directory / "stdout", keep)
            records = ran.records or _rows_loaded(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return Ran(ran.code, ran.seconds, ran.cpu, ran.peak_mb, records, self.sage.requests())

    @property
    def expected(self) -> int:
        """How many records there are to read."""
        return sum(lists.get(name, 0) for lists in self.sage.rows.values() for name in self.streams)

    def check(self, ran: Ran) -> None:
        """Refuse figures of a run that did not bring everything.

        Raises:
            RunFailedError: records are missing, or too many.
        """
        if ran.records != self.expected:
            raise RunFailedError(f"{ran.records} records instead of {self.expected}")


def _rows_loaded(directory: Path) -> int:
    """Count the rows in the JSON-lines files of dlt, without those of tables that it makes of nested lists."""
    import gzip  # noqa: PLC0415

    rows = 0
    for file in directory.glob("rows/sage/*/*.jsonl*"):
        if not file.parent.name.startswith("_") and "__" not in file.parent.name:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
                rows += sum(1 for _ in lines)
    return rows
