"""Experiments with what a business's edition, its country or the user's role do not offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.findings import Finding, decided, experiment, undecided
from tap_sage_accounting.commands.doctor.subject import OK, current_lists

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.subject import Answer, Subject

ELSEWHERE = {"journal_codes": "FR", "tax_offices": "DE"}
"""Lists that one country has, or had."""
PURCHASES = ("purchase_invoices", "purchase_credit_notes", "purchase_quick_entries")
UNAUTHORIZED = 401
UNKNOWN = "Sage does not say which edition and country it is."


def _not_offered(subject: Subject) -> Answer | None:
    """Return the answer for a list that other editions or countries have; None where neither is known here."""
    access = subject.access
    if access is None or not access.country or not access.edition:
        return None
    lacking = [stream for stream in current_lists() if access.lacks(stream)]
    elsewhere = [name for name, only in ELSEWHERE.items() if only != access.country]
    return subject.get(next(iter((*(stream.name for stream in lacking), *elsewhere))), items_per_page=1)


@experiment("rights.edition")
def edition(subject: Subject) -> Finding:
    """Ask for a list that only another edition or country has."""
    answer = _not_offered(subject)
    if answer is None or answer.status == OK:
        return undecided("Sage answers a list that it should not have." if answer else UNKNOWN)
    speaks = "subscription" in answer.error.message.lower()
    evidence = f"Sage answers {answer.status}, and {'speaks' if speaks else 'does not speak'} of a subscription."
    return decided(holds=answer.status == UNAUTHORIZED and speaks, evidence=evidence)


@experiment("rights.lists")
def lists(subject: Subject) -> Finding:
    """See whether such a list is refused, or answered as empty."""
    answer = _not_offered(subject)
    if answer is None:
        return undecided(UNKNOWN)
    if answer.ok and answer.rows:
        return undecided("The list has rows.")
    return decided(holds=not answer.ok, evidence=f"Sage answers {answer.status}.")


@experiment("rights.start_purchases")
def start_purchases(subject: Subject) -> Finding:
    """Ask for purchases where the edition is Start."""
    if subject.access is None or subject.access.edition != "Start":
        return undecided("The business has another edition.")
    answered = sum(subject.sample(name).ok for name in PURCHASES)
    return decided(holds=not answered, evidence=f"{answered} of {len(PURCHASES)} lists are answered.")
