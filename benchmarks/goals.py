"""What the figures should be, and whether they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.waiting import LIMITS, WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Medians = dict[str, dict[str, dict[str, float]]]
"""Scenario -> entrant -> figure -> median."""


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


def _in_bare(medians: Medians) -> float:
    return 1 / times("cpu", "cpu_per_100k", "bare")(medians)


def _best_of_others(medians: Medians, scenario: str) -> float:
    """Return the seconds of the quickest of the others that brought everything."""
    figures = [each for name, each in medians[scenario].items() if name in ("template", "dlt", "airbyte")]
    return min(each["wall"] for each in figures if not each.get("records_missing"))


def _ahead(scenario: str) -> Callable[[Medians], float]:
    return lambda medians: medians[scenario]["ours"]["wall"] / _best_of_others(medians, scenario)


def _beyond_bound(scenario: str, entrant: str) -> Callable[[Medians], float]:
    """Measure how many times the least that waiting and start-up take a run takes."""

    def measure(medians: Medians) -> float:
        figures = medians[scenario][entrant]
        return figures["wall"] / (figures["bound"] + medians["startup smallest run"]["ours"]["wall"])

    return measure


def _waiting_goals() -> list[Goal]:
    goals = []
    for waiting in WAITING:
        for seconds in waiting.latencies:
            title = f"latency {seconds * 1000:.0f} ms, {waiting.what}"
            goals.append(Goal(f"{title}, in the best of the others", _ahead(title), 1, is_least=False))
            if seconds:
                goals += [
                    Goal(f"{title}, {entrant}, in the bound", _beyond_bound(title, entrant), 1.15, is_least=False)
                    for entrant in ("ours", "ours x32")
                ]
    return goals


def _limit_goals() -> list[Goal]:
    goals = []
    for limit in LIMITS:
        title = f"limit: {limit.title}"
        goals.append(Goal(f"{title}, in the best of the others", _ahead(title), 1.02, is_least=False))
        if "random" not in title:
            settled = plain(title, "refused_once_settled")
            goals.append(Goal(f"{title}, refused once settled", settled, 0.01, is_least=False))
    return goals


def _growth_of_memory(medians: Medians) -> float:
    return medians["memory 1,000,000"]["ours"]["peak_mb"] / medians["memory 50,000"]["ours"]["peak_mb"]


def _start(argument: str) -> Callable[[Medians], float]:
    return lambda medians: 1 / times(f"startup {argument}", "cpu", "template")(medians)


GOALS = (
    Goal("CPU, SDK template tap in ours", times("cpu", "cpu_per_100k", "template"), 3),
    Goal("CPU, dlt in ours", times("cpu", "cpu_per_100k", "dlt"), 3),
    Goal("CPU, airbyte-cdk in ours", times("cpu", "cpu_per_100k", "airbyte"), 3),
    Goal("CPU beyond start-up, SDK template tap in ours", times("cpu", "cpu_beyond_start_per_100k", "template"), 4),
    Goal("CPU, ours in the bare loop", _in_bare, 2.5, is_least=False),
    Goal("CPU with stream maps and selection", times("cpu_mapped", "cpu_per_100k", "template"), 2),
    *_waiting_goals(),
    *_limit_goals(),
    Goal("memory, a million entries in fifty thousand", _growth_of_memory, 1.1, is_least=False),
    Goal("memory at a million entries, MB", plain("memory 1,000,000", "peak_mb"), 110, is_least=False),
    Goal("memory with 32 pages of invoices in flight, MB", plain("memory of invoices", "peak_mb"), 110, is_least=False),
    Goal("records that differ between concurrency 1 and 8", plain("equality", "different"), 0, is_least=False),
    Goal("start-up (--version), ours in template", _start("--version"), 1.15, is_least=False),
    Goal("discovery, ours in template", _start("--discover"), 1.15, is_least=False),
    Goal("smallest run, ours in template", _start("smallest run"), 1.15, is_least=False),
)


def verdicts(kept: Mapping[str, Any]) -> list[str]:
    """Print of every goal whether the kept figures reach it."""
    medians = {title: scenario["medians"] for title, scenario in kept["scenarios"].items()}
    return [goal.verdict(medians) for goal in GOALS]
