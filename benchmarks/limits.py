"""Simulate runs under limits: how long they take, and how much is refused. Hours of waiting take seconds.

uv run python -m benchmarks.limits
uv run python -m benchmarks.limits --write
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import NamedTuple

from benchmarks import report
from benchmarks.environments import PROJECT
from sage_workbench.limits import Greedy, Kind, Others, Run, Sage, meet

PAGE = PROJECT / "docs" / "operations" / "speed.md"
BEGIN, END = "<!-- limits:begin -->", "<!-- limits:end -->"
BUSINESSES = 5
"""Businesses that each run reads."""
SETTLED = 0.5
"""Part of the time of a run after which a limit should be known."""
KINDS: tuple[Kind, ...] = ("sliding", "fixed", "bucket")


class Scenario(NamedTuple):
    """A server, what is requested of it, and by how many runs at once."""

    title: str
    sage: Sage
    requests: int
    runs: int = 1


class Figures(NamedTuple):
    """The seconds until the last run ended, the refused requests, and their part once a limit was known."""

    seconds: float
    refused: int
    settled: float


def _limit(title: str, limit: int, length: float, requests: int) -> list[Scenario]:
    return [
        Scenario(f"{title}, {kind}, {'with' if retry_after else 'without'} Retry-After", sage, requests)
        for kind in KINDS
        for retry_after in (True, False)
        for sage in (Sage(limit, kind, length, retry_after=retry_after),)
    ]


def _shared(runs: int) -> list[Scenario]:
    return [
        each._replace(title=f"{each.title}, shared by {runs} runs", runs=runs)
        for each in _limit("100 a minute", 100, 60.0, 1200)
    ]


SCENARIOS = [
    Scenario("no limit", Sage(None), 10_000),
    Scenario("no limit, 2 % refused at random", Sage(None, strays=0.02), 10_000),
    Scenario("no limit, everything refused from second 5 to 35", Sage(None, outages=[(5.0, 35.0)]), 1500),
    *_limit("60 a minute", 60, 60.0, 720),
    *_limit("100 a minute", 100, 60.0, 1200),
    *_limit("900 a minute", 900, 60.0, 10_800),
    *_limit("60 in 6 seconds", 60, 6.0, 4000),
    *_limit("10 a second", 10, 1.0, 4000),
    Scenario("60 in 6 seconds, 2 % refused at random", Sage(60, length=6.0, strays=0.02), 4000),
    Scenario("60 a minute for each business", Sage(60, per_business=True), 3600),
    Scenario("100 a minute, used up by others for 5 minutes", Sage(100, others=[Others(0, 300, 100 / 6)]), 1200),
    Scenario("60 a minute, 900 after 5 minutes", Sage(60, changes=[(300.0, 900)]), 9000),
    Scenario("900 a minute, 60 after 3 minutes", Sage(900, changes=[(180.0, 60)]), 4000),
    *_shared(2),
    *_shared(3),
]


def figures(scenario: Scenario, *, greedily: bool = False) -> Figures:
    """Let the runs of a scenario happen."""
    runs = [
        Run(scenario.requests, BUSINESSES, limiter=Greedy() if greedily else None, starts_at=90.0 * number)
        for number in range(scenario.runs)
    ]
    meet(replace(scenario.sage), *runs, is_shared=not greedily)
    seconds = max(run.seconds for run in runs)
    settled = max(run.refused_since(SETTLED * seconds) for run in runs)
    return Figures(seconds, sum(len(run.refused) for run in runs), settled)


def table(scenarios: list[Scenario]) -> str:
    """Compare the tap with a client that holds nothing back."""
    lines = [
        "| | requests | this tap | refused | refused once settled | a client that holds nothing back | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for scenario in scenarios:
        ours, greedy = figures(scenario), figures(scenario, greedily=True)
        lines.append(
            f"| {scenario.title} | {scenario.requests * scenario.runs:,} | {ours.seconds:,.0f} s | {ours.refused:,} | "
            f"{ours.settled:.1%} | {greedy.seconds:,.0f} s | {greedy.refused:,} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print, and perhaps write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(PROJECT)}")
    options = parser.parse_args()
    text = table(SCENARIOS)
    if options.write:
        report.write(PAGE, text, BEGIN, END)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
