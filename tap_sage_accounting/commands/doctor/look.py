"""A look at the businesses of a login: all experiments, and the survey of what a load will take."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tap_sage_accounting.api.access import BusinessAccess
from tap_sage_accounting.assumptions import assumptions
from tap_sage_accounting.commands.doctor.experiments.businesses import business_list
from tap_sage_accounting.commands.doctor.findings import Finding, Verdict, experiments, undecided
from tap_sage_accounting.commands.doctor.subject import OK, TOO_MANY, SpentError, Subject, current_lists
from tap_sage_accounting.commands.doctor.survey import Survey, survey
from tap_sage_accounting.exceptions import RefusedRunError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_sage_accounting.commands.doctor.subject import Looker

SPENT = "All requests of this look were sent before. `--deep` sends more."
UNEXPECTED = (AttributeError, KeyError, TypeError, ValueError, ArithmeticError)
"""What is raised where a body holds something else than the API description says."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found out about one business.

    Attributes:
        subject: the business, with all answers.
        name: of the business, as Sage shows it.
        findings: by the id of the assumption, in the order of these.
        survey: what a load will take.
    """

    subject: Subject
    name: str
    findings: dict[str, Finding]
    survey: Survey

    def having(self, verdict: Verdict) -> list[str]:
        """Return the ids of the assumptions with a verdict."""
        return [each for each, finding in self.findings.items() if finding.verdict is verdict]

    def facts(self) -> dict[str, Any]:
        """Return everything for programs, as JSON."""
        return {
            "business_id": self.subject.id,
            "name": self.name,
            "ready": not self.problem,
            "problem": self.problem,
            "rows": self.survey.rows,
            "refused": self.survey.refused,
            "will_refuse": self.survey.foreseen,
            "requests": {"first_load": self.survey.first_load, "quiet_run": self.survey.quiet_run},
            "assumptions": {
                each: {"verdict": finding.verdict, "evidence": finding.evidence}
                for each, finding in self.findings.items()
            },
        }

    @property
    def problem(self) -> str:
        """Why nothing can be loaded, and what to do; "" where something can."""
        access = self.subject.access
        if access is not None and all(map(access.lacks, current_lists())):
            return (
                "Sage serves this API for businesses in Canada, Ireland and the United Kingdom. This one is elsewhere."
            )
        statuses = {answer.status for answer in self.subject.samples.values()}
        if OK in statuses and self.survey.rows:
            return ""
        if TOO_MANY in statuses or self.subject.looker.refusals:
            return "Sage refuses requests for their number (429). Wait, and look again: others may use the application."
        if HTTPStatus.UNAUTHORIZED in statuses:
            return "Sage refuses its lists (401), as it does after a trial. Renew the subscription, then look again."
        if HTTPStatus.FORBIDDEN in statuses:
            return "The user's role lets them read nothing. Give the user rights in Sage's user management."
        return "Sage answers nothing. See status.sage.com, and look again later."


def choose(looker: Looker, wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Return the businesses to look at, with their names: the first that Sage lists, unless others are wanted.

    Raises:
        RefusedRunError: Sage does not list businesses.
        SettingsError: a wanted business is not among them, or there is none.
    """
    answer = business_list(looker)
    if not answer.ok:
        words = answer.trouble or f"Sage answered {answer.status} {answer.error}".strip()
        raise RefusedRunError(f"Sage does not list the user's businesses. {words}")
    names = {
        str(row["id"]): str(row.get("displayed_as") or row.get("name") or "") for row in answer.rows if "id" in row
    }
    if strangers := [each for each in wanted if each not in names]:
        raise SettingsError(f"This user has no access to: {', '.join(strangers)}. Available: {', '.join(names)}.")
    if not names:
        raise SettingsError("Sage lists no business for this user. Give them access to one, or log in as another user.")
    return [(each, names[each]) for each in wanted or [next(iter(names))]]


def _access(looker: Looker, business_id: str) -> BusinessAccess | None:
    detail = looker.get(f"/businesses/{quote(business_id, safe='')}")
    try:
        return BusinessAccess.parse(detail.fields) if detail.ok and detail.fields["id"] == business_id else None
    except UNEXPECTED:
        return None


def look_at(looker: Looker, business: tuple[str, str], lifetimes: tuple[float, float] | None, *, deep: bool) -> Look:
    """Do all experiments on a business, then count its rows."""
    business_id, name = business
    subject = Subject(looker, business_id, _access(looker, business_id), lifetimes, deep=deep)
    found: dict[str, Finding] = {}
    for each, experiment in experiments().items():
        try:
            found[each] = experiment(subject)
        except SpentError:
            found[each] = undecided(SPENT)
        except UNEXPECTED:
            found[each] = undecided("An answer has a form that nothing describes.")
    findings = {each: found.get(each, undecided(fact.undecidable)) for each, fact in assumptions().items()}
    return Look(subject, name, findings, survey(subject))
