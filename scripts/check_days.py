#!/usr/bin/env python
"""Let ten days pass in simulated books; load, build and reconcile after each; print the verdicts.

Six businesses keep their books in as many ways. Voids flag, reverse or do both. Returns are settled by a journal, by a
transaction or not at all. There are cash accounting, flat rate, and reverse charge with and without entries.
Corrections come with and without origin. There are journals on control accounts, and financial years that end on
5 April. It fails when a check that is certain differs, in Postgres or in DuckDB.

    python scripts/check_days.py --days 10
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from sage_workbench.finance_days import Verdict, verdicts

Counts = defaultdict[tuple[str, str, str], dict[int, Verdict]]


def main() -> None:
    """Check as many days as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=10, help="days that pass (default: %(default)s)")
    parser.add_argument("--postgres-only", action="store_true", help="leave DuckDB out")
    options = parser.parse_args()
    found: Counts = defaultdict(dict)
    last = -1
    with tempfile.TemporaryDirectory() as scratch:
        for each in verdicts(Path(scratch), options.days, with_duckdb=not options.postgres_only):
            found[each.warehouse, each.check, each.verdict][each.day] = each
            if each.day > last:
                last = each.day
                print(f"day {last}", file=sys.stderr, flush=True)
            if each.verdict == "differs":
                print(each, file=sys.stderr, flush=True)
    print_table(found, options.days)
    wrong = [
        each
        for (_, _, verdict), days in found.items()
        for each in days.values()
        if verdict == "differs" and each.severity == "error"
    ]
    if wrong:
        sys.exit(f"{len(wrong)} checks that are certain differ: {wrong[:5]}")


def print_table(found: Counts, days: int) -> None:
    """Print how many months of all businesses got each verdict, day by day."""
    print("| Warehouse | Check | Verdict |", " | ".join(f"Day {day}" for day in range(days + 1)), "|")
    print("|---|---|---|", "|".join("---" for _ in range(days + 1)), "|", sep="")
    for (warehouse, check, verdict), by_day in sorted(found.items()):
        counts = [str(by_day[day].count) if day in by_day else "0" for day in range(days + 1)]
        print(f"| {warehouse} | `{check}` | {verdict} |", " | ".join(counts), "|")


if __name__ == "__main__":
    main()
