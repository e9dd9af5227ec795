"""Experiments with what a business's edition, its country or the user's role do not offer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.findings import Finding, decided, experiment, undecided
from tap_sage_accounting.commands.doctor.subject import LISTS, current_lists
from tap_sage_accounting.exceptions import EditionError

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.response import Response
    from tap_sage_accounting.commands.doctor.subject import Subject

ELSEWHERE = {"journal_codes": "FR", "tax_offices": "DE"}
"""Lists that one country has, or had."""
PURCHASES = ("purchase_invoices", "purchase_credit_notes", "purchase_quick_entries")
ALL_ROLES_READ = ("contacts", "ledger_accounts", "sales_invoices")
"""Lists of which most roles may read at least one."""
REFUSALS = frozenset((401, 403, 404))
UNKNOWN = "Sage does not say which edition and country it is, or the user may not read such a list."


def _not_offered(subject: Subject) -> Response | None:
    """Return the response for a list that other editions or countries have, and the user's role would let them read.

    None where none is known here.

    Raises:
        NoResponseError: Sage does not respond, or refuses lists that it should have, too.
    """
    access = subject.access
    if access is None or not access.country or not access.edition:
        return None
    anywhere = replace(access, country="", edition="")
    lacking = [stream.name for stream in current_lists() if access.lacks(stream)]
    elsewhere = [name for name, only in ELSEWHERE.items() if only != access.country]
    name = next((each for each in (*lacking, *elsewhere) if not anywhere.refusal(LISTS[each])), None)
    if name is None:
        return None
    response = subject.get(name, REFUSALS, items_per_page=1)
    subject.responses_of(*ALL_ROLES_READ)
    return response


@experiment("rights.edition")
def edition(subject: Subject) -> Finding:
    """Request a list that only another edition or country has."""
    response = _not_offered(subject)
    if response is None or response.ok:
        return undecided("Sage answers a list that it should not have." if response else UNKNOWN)
    speaks = isinstance(response.error, EditionError)
    evidence = f"Sage answers {response.status}, and {'speaks' if speaks else 'does not speak'} of a subscription."
    return decided(holds=speaks, evidence=evidence)


@experiment("rights.lists")
def lists(subject: Subject) -> Finding:
    """See whether such a list is refused, or returned as empty."""
    response = _not_offered(subject)
    if response is None:
        return undecided(UNKNOWN)
    if response.ok and response.rows:
        return undecided("The list has rows.")
    return decided(holds=not response.ok, evidence=f"Sage answers {response.status}.")


@experiment("rights.start_purchases")
def start_purchases(subject: Subject) -> Finding:
    """Request purchases where the edition is Start."""
    if subject.access is None or subject.access.edition != "Start":
        return undecided("The business has another edition.")
    anywhere = replace(subject.access, edition="")
    names = [name for name in PURCHASES if not anywhere.refusal(LISTS[name])]
    responses = [response for name in names if (response := subject.sample(name, REFUSALS)) is not None]
    if not responses:
        return undecided("Sage does not answer, or the user's role has no right to purchases.")
    answered = sum(response.ok for response in responses)
    return decided(holds=not answered, evidence=f"{answered} of {len(responses)} lists are answered.")
