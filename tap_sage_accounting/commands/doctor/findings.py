"""What an account shows of each assumption, and the registry of experiments that find out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tap_sage_accounting.assumptions import assumptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_sage_accounting.commands.doctor.subject import Subject

    Experiment = Callable[[Subject], "Finding"]


class Verdict(StrEnum):
    """What an experiment says of an assumption."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not decidable here"


COUNTS = (0, 19, 199, 1_999, 19_999, 199_999)
"""Counts at which a class of counts ends: classes are wide, so that a report shows no exact count."""


def class_of(count: int) -> str:
    """Return the class of a count, `20 to 199`, which a report shows in its place."""
    least = 0
    for most in COUNTS:
        if count <= most:
            return f"{least:,}" if least == most else f"{least:,} to {most:,}"
        least = most + 1
    return f"{least:,} or more"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict rests on: statuses, what was counted here, and this program's own names.

    No text and no number of a body is in it: not even a total, which may be anything.

    Attributes:
        exact: with what was counted.
        shared: with classes in the place of counts, for a report.
    """

    exact: str
    shared: str


def counted(text: str, *counts: int | tuple[int, int]) -> Evidence:
    """Put counts into a text in the places of `{}`; a pair counts some of all."""
    exact = (f"{each[0]} of {each[1]}" if isinstance(each, tuple) else str(each) for each in counts)
    shared = (_share(*each) if isinstance(each, tuple) else class_of(each) for each in counts)
    return Evidence(text.format(*exact), text.format(*shared))


def _share(some: int, of: int) -> str:
    share = "none" if not some else "all" if some == of else "some"
    return f"{share} of {class_of(of)}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and what it rests on."""

    verdict: Verdict
    evidence: Evidence

    def but(self, reason: str) -> Finding:
        """Return the finding with another reason."""
        found = self.evidence
        return Finding(self.verdict, Evidence(f"{found.exact} {reason}", f"{found.shared} {reason}"))


def _finding(verdict: Verdict, evidence: str | Evidence) -> Finding:
    return Finding(verdict, Evidence(evidence, evidence) if isinstance(evidence, str) else evidence)


def confirmed(evidence: str | Evidence) -> Finding:
    """Return that Sage behaves as assumed."""
    return _finding(Verdict.CONFIRMED, evidence)


def contradicted(evidence: str | Evidence) -> Finding:
    """Return that Sage behaves otherwise."""
    return _finding(Verdict.CONTRADICTED, evidence)


def undecided(reason: str | Evidence) -> Finding:
    """Return why this account does not show it."""
    return _finding(Verdict.UNDECIDED, reason)


def decided(*, holds: bool, evidence: str | Evidence) -> Finding:
    """Return what an account shows: confirmed if the assumption holds, else contradicted."""
    return confirmed(evidence) if holds else contradicted(evidence)


ORDER = ("businesses", "tokens", "records", "pages", "ledger", "changes", "deletions", "rights", "requests", "limits")
"""Topics in the order of their experiments; the last ones look at responses that came for all others."""
_experiments: dict[str, Experiment] = {}


def experiment(assumption: str) -> Callable[[Experiment], Experiment]:
    """Register the function that finds out whether an assumption holds.

    Raises:
        ValueError: there is no such assumption, or it has an experiment already.
    """
    if assumption not in assumptions() or assumption in _experiments:
        raise ValueError(assumption)

    def declare(look: Experiment) -> Experiment:
        _experiments[assumption] = look
        return look

    return declare


def experiments() -> Mapping[str, Experiment]:
    """Return all experiments by the id of their assumption, in the order in which they are done."""
    import tap_sage_accounting.commands.doctor.experiments  # noqa: F401, PLC0415 - which declares them

    return dict(sorted(_experiments.items(), key=lambda each: ORDER.index(each[0].partition(".")[0])))
