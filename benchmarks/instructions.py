"""Compare the instructions that two revisions of the tap take for the same lists: seconds depend on the machine.

uv run python -m benchmarks.instructions HEAD~1
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from benchmarks.bench import Bench, Field, RunFailedError
from benchmarks.contenders import Command, Ours
from benchmarks.environments import PROJECT, clean_environment, environment
from benchmarks.lists import BULK
from benchmarks.sage import Books, Sage

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 1.05
"""Instructions of this revision in those of the other from which on it counts as slower."""
RUNS = 3
"""Runs of each; the one with the fewest instructions counts, because threads take turns by chance."""
INSTRUCTIONS = re.compile(r"I\s+refs:\s+([\d,]+)")


class Counted(Ours):
    """The tap of a directory, whose instructions are counted.

    Args:
        scratch: where its environment stays.
        directory: a checkout.
    """

    def __init__(self, scratch: Path, directory: Path) -> None:
        super().__init__(scratch)
        self.python = environment(scratch, "counted", ("-e", str(directory)))
        # What was never imported before would be compiled first, in each run.
        compiled = [str(self.python), "-m", "compileall", "-q", str(directory / "tap_sage_accounting")]
        subprocess.run(compiled, check=True)  # noqa: S603
        self._log = scratch / "instructions.txt"

    @property
    @override
    def tap(self) -> Command:
        counter = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        tap = [str(self.python), str(self.python.with_name("tap-sage-accounting"))]
        # The order of what has no order would be another one in each run.
        return Command([*counter, f"--log-file={self._log}", *tap], clean_environment(PYTHONHASHSEED="0"))

    def count(self, field: Field) -> int:
        """Return the instructions of a run.

        Raises:
            RunFailedError: it ended with an error, or nothing was counted.
        """
        field.check(field.run(self, concurrency=1))
        return counted(self._log.read_text())


def counted(log: str) -> int:
    """Return the instructions that the counter's log names.

    Raises:
        RunFailedError: it names none.
    """
    found = INSTRUCTIONS.search(log)
    if found is None:
        raise RunFailedError(log)
    return int(found[1].replace(",", ""))


def compare(counts: Sequence[tuple[int, int]]) -> tuple[str, bool]:
    """Compare the instructions of the runs of two revisions, the earlier one's first.

    Returns:
        The comparison in words, and whether the later one counts as slower.
    """
    before, now = map(min, zip(*counts, strict=True))
    ratio = now / before
    return f"{now:,} instructions, {ratio:.4f} times the {before:,} before", ratio > MOST


def main() -> int:
    """Compare this directory with a revision."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("revision", help="what to compare with, as git names it")
    revision = parser.parse_args().revision
    with tempfile.TemporaryDirectory() as scratch, Sage(Books(size="demo", ledger_entries=30_000)) as sage:
        other = Path(scratch) / "other"
        git = [str(shutil.which("git")), "worktree"]
        subprocess.run([*git, "add", "--detach", str(other), revision], cwd=PROJECT, check=True)  # noqa: S603
        try:
            field = Field(Bench(Path(scratch), 1, quick=True, names=()), sage, BULK)
            before, now = (Counted(Path(scratch), each) for each in (other, PROJECT))
            words, is_slower = compare([(before.count(field), now.count(field)) for _ in range(RUNS)])
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], cwd=PROJECT, check=True)  # noqa: S603
    sys.stdout.write(f"{field.expected:,} records: {words}\n")
    return int(is_slower)


if __name__ == "__main__":
    sys.exit(main())
