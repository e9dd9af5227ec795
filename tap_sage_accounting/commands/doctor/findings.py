"""What looking at an account says of an assumption, and the experiments that find out."""

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


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and what it rests on: statuses, what was counted here, and this program's own names.

    No text and no number of a body is in it: not even a total, which may be anything.
    """

    verdict: Verdict
    evidence: str


def confirmed(evidence: str) -> Finding:
    """Say that Sage behaves as assumed."""
    return Finding(Verdict.CONFIRMED, evidence)


def contradicted(evidence: str) -> Finding:
    """Say that Sage behaves otherwise."""
    return Finding(Verdict.CONTRADICTED, evidence)


def undecided(reason: str) -> Finding:
    """Say why this account does not show it."""
    return Finding(Verdict.UNDECIDED, reason)


def decided(*, holds: bool, evidence: str) -> Finding:
    """Say what an account shows, whichever it is."""
    return confirmed(evidence) if holds else contradicted(evidence)


ORDER = ("businesses", "tokens", "records", "pages", "ledger", "changes", "deletions", "rights", "requests", "limits")
"""Topics in the order in which they are looked into; last what looks at the answers that came for all others."""
_experiments: dict[str, Experiment] = {}


def experiment(assumption: str) -> Callable[[Experiment], Experiment]:
    """Declare what finds out whether an assumption holds.

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
