"""The command: run the scenarios, print the table, keep the figures.

uv run python -m benchmarks --quick
uv run python -m benchmarks --write
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from benchmarks import goals, report
from benchmarks.bench import Bench
from benchmarks.contenders import CONTENDERS
from benchmarks.environments import PROJECT
from benchmarks.scenarios import SCENARIOS

RESULTS = PROJECT / "benchmarks" / "results.json"


def main() -> int:
    """Run what the command line names."""
    names = tuple(kind.name for kind in CONTENDERS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, separated by commas (all: %(default)s)")
    parser.add_argument("--contenders", default=",".join(names), help="who takes part (all: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; medians are reported (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small books: to see that everything works")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where figures are kept (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path(tempfile.gettempdir()) / "tap-sage-accounting-benchmark",
        help="where the environments stay between runs (default: %(default)s)",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    page = PROJECT / "docs" / "operations" / "speed.md"
    if options.write and not report.has_marks(page):
        parser.error(f"{page} has no {report.BEGIN} and {report.END} to put the table between")
    options.scratch.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.scratch, options.runs, options.quick, tuple(options.contenders.split(",")))
    for name in wanted:
        SCENARIOS[name](bench)
        kept = report.keep(options.results, bench.results)
    table = report.table(kept)
    if options.write:
        report.write(page, table)
    sys.stdout.write("\n".join((table, *goals.verdicts(kept), "")))
    return 1 if any(result.failures for result in bench.results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
