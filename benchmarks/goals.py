"""What the figures should be, and whether they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Medians = dict[str, dict[str, dict[str, float]]]
"""Scenario -> entrant -> figure -> median."""

TWENTY = "latency 300 ms, 20 businesses, 40 lists each"
ONE = "latency 300 ms, 1 business, 1 list of 50 pages"
PER_BUSINESS = "limit 40 a minute per business"


@dataclass(frozen=True)
class Goal:
    """A figure and its bound.

    Attributes:
        what: the figure in words.
        measure: computes it; raises `KeyError` where a scenario did not run or failed.
        bound: the least, or the most, that it may be.
        is_least: which of both.
    """

    what: str
    measure: Callable[[Medians], float]
    bound: float
    is_least: bool = True

    def verdict(self, medians: Medians) -> str:
        """Return whether it is reached, with the figure; or that there is none."""
        try:
            figure = self.measure(medians)
        except KeyError:
            return f"not measured, or failed: {self.what}"
        reached = figure >= self.bound if self.is_least else figure <= self.bound
        sign = "at least" if self.is_least else "at most"
        return f"{'yes' if reached else 'NO'}: {self.what}: {figure:.3g} ({sign} {self.bound:.3g})"


def times(scenario: str, figure: str, other: str, ours: str = "ours") -> Callable[[Medians], float]:
    """Measure how many times our figure another's is."""
    return lambda medians: medians[scenario][other][figure] / medians[scenario][ours][figure]


def plain(scenario: str, figure: str, entrant: str = "ours") -> Callable[[Medians], float]:
    """Measure a figure of ours."""
    return lambda medians: medians[scenario][entrant][figure]


def _limit_goals() -> list[Goal]:
    goals = []
    for rate in (60, 100, 900):
        for way in ("with", "without"):
            name = f"limit {rate} a minute per app, {way} Retry-After"
            goals += [
                Goal(f"{name}, share used", plain(name, "settled_share_of_limit"), 1 / 1.08),
                Goal(f"{name}, refused later", plain(name, "refused_share_after_first_minute"), 0.02, is_least=False),
            ]
    return goals


def _gain_of_businesses(medians: Medians) -> float:
    scenario = medians[PER_BUSINESS]
    return scenario["ours, 20 businesses"]["records_per_second"] / scenario["ours, 1 businesses"]["records_per_second"]


def _growth_of_memory(medians: Medians) -> float:
    return medians["memory 1,000,000"]["ours"]["peak_mb"] / medians["memory 50,000"]["ours"]["peak_mb"]


def _start(argument: str) -> Callable[[Medians], float]:
    return lambda medians: 1 / times(f"startup {argument}", "cpu", "template")(medians)


GOALS = (
    Goal("CPU, SDK template tap in ours", times("cpu", "cpu_per_100k", "template"), 3),
    Goal("CPU, dlt in ours", times("cpu", "cpu_per_100k", "dlt"), 6),
    Goal("CPU, airbyte-cdk in ours", times("cpu", "cpu_per_100k", "airbyte"), 4),
    Goal("CPU with stream maps and selection", times("cpu_mapped", "cpu_per_100k", "template"), 2),
    Goal("300 ms, 20 businesses, 8 in flight, template in ours", times(TWENTY, "wall", "template"), 7),
    Goal("300 ms, 20 businesses, 8 in flight, airbyte-cdk in ours", times(TWENTY, "wall", "airbyte"), 1),
    Goal("300 ms, 20 businesses, 32 in flight", times(TWENTY, "wall", "template", "ours x32"), 20),
    Goal("300 ms, 50 pages of one business, whole run", times(ONE, "wall", "template"), 6),
    Goal("300 ms, 50 pages of one business, reading alone", times(ONE, "reading", "template"), 6),
    *_limit_goals(),
    Goal("limit per business: twenty in one", _gain_of_businesses, 15),
    Goal("memory, a million entries in fifty thousand", _growth_of_memory, 1.1, is_least=False),
    Goal("memory at a million entries, MB", plain("memory 1,000,000", "peak_mb"), 150, is_least=False),
    Goal("records that differ between concurrency 1 and 8", plain("equality", "different"), 0, is_least=False),
    Goal("start-up (--version), ours in template", _start("--version"), 1.15, is_least=False),
    Goal("discovery, ours in template", _start("--discover"), 1.15, is_least=False),
    Goal("smallest run, ours in template", _start("smallest run"), 1.15, is_least=False),
)


def verdicts(kept: Mapping[str, Any]) -> list[str]:
    """Print of every goal whether the kept figures reach it."""
    medians = {title: scenario["medians"] for title, scenario in kept["scenarios"].items()}
    return [goal.verdict(medians) for goal in GOALS]
