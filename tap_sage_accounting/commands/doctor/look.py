"""A look at the businesses of a login: all experiments, and the survey of what a load will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tap_sage_accounting.api.access import BusinessAccess
from tap_sage_accounting.assumptions import assumptions
from tap_sage_accounting.commands.doctor.experiments.businesses import business_list
from tap_sage_accounting.commands.doctor.findings import Finding, Verdict, experiments, undecided
from tap_sage_accounting.commands.doctor.looker import SPENT, SpentError
from tap_sage_accounting.commands.doctor.subject import NoResponseError, Subject
from tap_sage_accounting.commands.doctor.survey import PACES, Survey, minutes, survey
from tap_sage_accounting.commands.doctor.verdict import problem_of
from tap_sage_accounting.exceptions import MalformedResponseError, RefusedRunError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tap_sage_accounting.commands.doctor.findings import Experiment
    from tap_sage_accounting.commands.doctor.looker import Looker

UNEXPECTED = (AttributeError, KeyError, TypeError, ValueError, ArithmeticError)
"""Exceptions of a body that holds something else than the API description says."""
MOST_LACKING = 3
"""Lists that a reason names, so that it stays short."""


@dataclass(frozen=True, slots=True)
class Login:
    """What is known of a login before a look.

    Attributes:
        lifetimes: seconds that an access token and a refresh token live, as Sage stated; None where that is not known.
        start_date: of the settings; None where they have none.
        businesses: how many a run reads.
        fetches_files: whether runs fetch the files of attachments.
    """

    lifetimes: tuple[float, float] | None = None
    start_date: datetime | None = None
    businesses: int = 1
    fetches_files: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What was found out about one business.

    Attributes:
        subject: the business, with all responses.
        name: of the business, as Sage shows it.
        findings: by the id of the assumption, in the order of these.
        survey: what a load will take.
        problem: why nothing can be loaded, or why that is not known, and what to do; "" where all is well.
        businesses: how many a run reads.
    """

    subject: Subject
    name: str
    findings: dict[str, Finding]
    survey: Survey
    problem: str
    businesses: int

    def having(self, verdict: Verdict) -> list[str]:
        """Return the ids of the assumptions with a verdict."""
        return [each for each, finding in self.findings.items() if finding.verdict is verdict]

    def facts(self) -> dict[str, Any]:
        """Return everything for programs, as JSON."""
        return {
            "business_id": self.subject.id,
            "name": self.name,
            "businesses": self.businesses,
            "ready": not self.problem,
            "problem": self.problem,
            "access": self._access(),
            "rows": self.survey.rows,
            "refused": self.survey.refused,
            "unanswered": self.survey.unanswered,
            "will_refuse": self.survey.foreseen,
            "requests": {
                "first_load": self.survey.first_load,
                "quiet_run": self.survey.quiet_run,
                "at_least": self.survey.is_partial,
            },
            "minutes": {
                "first_load": _minutes_by_pace(self.survey.first_load),
                "quiet_run": _minutes_by_pace(self.survey.quiet_run),
            },
            "assumptions": {
                each: {"verdict": finding.verdict, "evidence": finding.evidence.exact}
                for each, finding in self.findings.items()
            },
        }

    def _access(self) -> dict[str, Any] | None:
        access = self.subject.access
        if access is None:
            return None
        return {"country": access.country, "subscription": access.subscription, "rights": dict(access.roles)}


def _minutes_by_pace(requests: int) -> dict[str, int]:
    """Return the minutes of so many requests by the requests a minute that Sage allows."""
    return {str(pace): minutes(requests, pace) for pace in PACES}


def require_login(looker: Looker) -> None:
    """Request something that every user may read.

    Raises:
        RefusedRunError: Sage does not return it.
    """
    response = looker.user()
    if not response.ok:
        is_other = isinstance(response.error, MalformedResponseError)  # whose words say what to do
        step = "Then look again." if is_other else "See status.sage.com, and look again later."
        raise RefusedRunError(f"{response.error} Nothing else was requested. {step}")


def choose(looker: Looker, wanted: Sequence[str]) -> tuple[list[tuple[str, str]], int]:
    """Return the businesses to look at, with their names, and how many the user has.

    They are those that are wanted, else the first that Sage lists.

    Raises:
        RefusedRunError: Sage does not list businesses.
        SettingsError: a wanted business is not among them, or there is none.
    """
    response = business_list(looker)
    if not response.ok:
        raise RefusedRunError(f"Sage does not list the user's businesses. {response.error}")
    names = {
        str(row["id"]): str(row.get("displayed_as") or row.get("name") or "") for row in response.rows if "id" in row
    }
    if strangers := [each for each in wanted if each not in names]:
        raise SettingsError(f"This user has no access to: {', '.join(strangers)}. Available: {', '.join(names)}.")
    if not names:
        raise SettingsError("Sage lists no business for this user. Give them access to one, or log in as another user.")
    return [(each, names[each]) for each in wanted or [next(iter(names))]], max(len(names), response.at_least)


def _access(looker: Looker, business_id: str) -> BusinessAccess | None:
    try:
        detail = looker.get(f"/businesses/{quote(business_id, safe='')}")
        return BusinessAccess.parse(detail.fields) if detail.ok and detail.fields["id"] == business_id else None
    except (SpentError, *UNEXPECTED):
        return None


def look_at(looker: Looker, business: tuple[str, str], login: Login, *, deep: bool) -> Look:
    """Run all experiments on a business, then count its rows."""
    business_id, name = business
    access = _access(looker, business_id)
    subject = Subject(
        looker,
        business_id,
        access,
        login.lifetimes,
        login.start_date,
        deep=deep,
        fetches_files=login.fetches_files,
    )
    found = {each: _outcome(experiment, subject) for each, experiment in experiments().items()}
    findings = {each: found.get(each, undecided(fact.undecidable)) for each, fact in assumptions().items()}
    surveyed = survey(subject)
    return Look(subject, name, findings, surveyed, problem_of(subject, surveyed), login.businesses)


def _outcome(experiment: Experiment, subject: Subject) -> Finding:
    """Run an experiment; without a response of Sage's, or with a refusal, it is undecided."""
    subject.lacking.clear()
    try:
        found = experiment(subject)
    except SpentError:
        return undecided(subject.looker.cut_short or SPENT)
    except NoResponseError:
        return undecided(_lacking(subject))
    except UNEXPECTED:
        return undecided("A response has a form that nothing describes.")
    return found.but(_lacking(subject)) if subject.lacking and found.verdict is Verdict.UNDECIDED else found


def _lacking(subject: Subject) -> str:
    named = [f"{name} ({failure})" for name, failure in subject.lacking.items()]
    others = f" and {len(named) - MOST_LACKING} others" if len(named) > MOST_LACKING else ""
    return f"Not answered, or refused: {', '.join(named[:MOST_LACKING])}{others}."
