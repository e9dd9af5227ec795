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

from typing_extensions import override

from benchmarks.bench import Bench, Field, RunFailedError
from benchmarks.contenders import Command, Ours
from benchmarks.environments import PROJECT, clean_environment, environment
from benchmarks.lists import BULK
from benchmarks.sage import Books, Sage

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
        found = INSTRUCTIONS.search(self._log.read_text())
        if found is None:
            raise RunFailedError(self._log.read_text())
        return int(found[1].replace(",", ""))


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
            both = [Counted(Path(scratch), each) for each in (other, PROJECT)]
            counts = [[each.count(field) for each in both] for _ in range(RUNS)]
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], cwd=PROJECT, check=True)  # noqa: S603
    before, now = map(min, zip(*counts, strict=True))
    ratio = now / before
    sys.stdout.write(f"{field.expected:,} records: {now:,} instructions, {ratio:.4f} times the {before:,} before\n")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
