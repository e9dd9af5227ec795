"""Whether a business is ready to load, by Sage's responses alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.response import TOO_MANY
from tap_sage_accounting.commands.doctor.subject import current_lists
from tap_sage_accounting.exceptions import EditionError

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.subject import Subject
    from tap_sage_accounting.commands.doctor.survey import Survey

MOST_NAMED = 6
"""Lists that a problem names, so that it stays short."""
NEEDED = frozenset(("ledger_entries", "ledger_accounts", "transactions"))
"""Lists that a load cannot do without: the ledger, and what the trial balance is read by."""


def problem_of(subject: Subject, found: Survey) -> str:
    """Say why a business cannot be loaded, or why that is unknown, and what to do.

    It is ready ("") where Sage returned businesses, rights and lists. What it refuses for want of rights or edition is
    no problem, as long as it returns something else.
    """
    access = subject.access
    if access is not None and all(map(access.lacks, current_lists())):
        return "Sage serves this API for businesses in Canada, Ireland and the United Kingdom. This one is elsewhere."
    is_cut_short = bool(subject.looker.cut_short)
    if str(TOO_MANY) in found.unanswered or (is_cut_short and subject.looker.refusals):
        refused = "Sage refuses requests for their number (429). Wait, and look again: others may use the application."
        return " ".join(filter(None, (subject.looker.cut_short, refused)))
    if not found.answered and not is_cut_short:
        return _nothing(subject, found)
    return " ".join(filter(None, (subject.looker.cut_short, _unanswered(subject, found))))


def _unanswered(subject: Subject, found: Survey) -> str:
    """Name what Sage did not return, where a load cannot do without."""
    if subject.access is None:
        return "Sage does not say what the user may read. See status.sage.com, and look again later."
    missing = {name for names in found.unanswered.values() for name in names}
    if missing.isdisjoint(NEEDED) and len(missing) < len(found.answered):
        return ""
    return f"Sage did not answer {unanswered_of(found)}. See status.sage.com, and look again later."


def unanswered_of(found: Survey) -> str:
    """Name the lists that Sage did not return, with what came instead; "" where there are none."""
    return "; ".join(f"{_named(names)} ({reason})" for reason, names in found.unanswered.items())


def _nothing(subject: Subject, found: Survey) -> str:
    """Say why Sage returned no list at all."""
    if found.refused and not found.unanswered:
        if any(isinstance(response.error, EditionError) for response in subject.samples.values()):
            return "Sage refuses its lists (401), as it does after a trial. Renew the subscription, then look again."
        return "The user's role lets them read nothing. Give the user rights in Sage's user management."
    return "Sage answers nothing. See status.sage.com, and look again later."


def _named(names: list[str]) -> str:
    others = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {others} others" if others > 0 else "")
