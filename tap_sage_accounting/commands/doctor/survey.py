"""What a load of a business will take: refused lists, rows of the others, and requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.history import first_months
from tap_sage_accounting.commands.doctor.looker import SpentError
from tap_sage_accounting.commands.doctor.subject import current_streams
from tap_sage_accounting.exceptions import EditionError, NotFoundError, RightsError
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.streams.trial_balance import TrialBalance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_sage_accounting.client import SageStream
    from tap_sage_accounting.commands.doctor.response import Response
    from tap_sage_accounting.commands.doctor.subject import Subject

COUNTED_FIRST = (
    "ledger_entries",
    "transactions",
    "sales_invoices",
    "purchase_invoices",
    "contacts",
    "contact_payments",
    "other_payments",
    "journals",
    "ledger_accounts",
    "products",
    "contact_allocations",
    "sales_quick_entries",
    "purchase_quick_entries",
    "sales_credit_notes",
    "purchase_credit_notes",
    "bank_accounts",
    "bank_transfers",
    "bank_deposits",
    "addresses",
    "contact_persons",
    "stock_movements",
    "stock_items",
    "services",
    "attachments",
    "tax_rates",
    "sales_quotes",
    "sales_estimates",
    "unallocated_artefacts",
)
"""Lists in the order in which their rows are counted, as long as there are requests left: the longest first."""
QUIET_MONTHS = 2
"""Months of the trial balance that are read where nothing changed, with a request each.

Some accounts have no balance in them any more, so that the list of accounts is requested beside.
"""
OF_LOGIN = 2
"""Requests of a run for the user and the list of businesses, which has one page for up to 500."""
LONG_CODES = {"coa_accounts": 2 * HIGHEST_PAGE_SIZE, "countries": 2 * HIGHEST_PAGE_SIZE}
"""Rows of lists that are the same for all businesses and longer than a page, where they are not counted."""
PACES = (60, 100, 900)
"""Requests a minute for which a load's time is shown: the limits that are in circulation."""
REFUSALS = (
    (EditionError, "not in this edition, country or subscription"),
    (RightsError, "not in the user's role"),
    (NotFoundError, "not offered here"),
)
"""The reason for which Sage refuses a list, by the error."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found out about the lists of a business.

    Attributes:
        rows: rows by list, of those that were counted.
        refused: lists that Sage refused now, by the reason.
        unanswered: lists of which Sage said nothing, by what came instead.
        foreseen: lists that Sage will refuse, by the reason, as it says beforehand.
        answered: lists that Sage returned.
        is_empty: whether none of these has rows.
        first_load: requests of a first load, about.
        quiet_run: requests of a run when nothing changed, about.
        is_partial: whether lists were not returned, or not counted, so that both take more than that.
    """

    rows: dict[str, int]
    refused: dict[str, list[str]]
    unanswered: dict[str, list[str]]
    foreseen: dict[str, list[str]]
    answered: list[str]
    is_empty: bool
    first_load: int
    quiet_run: int
    is_partial: bool

    @property
    def is_uncounted(self) -> bool:
        """Whether Sage returns lists, and says of none how many rows it has."""
        return bool(self.answered) and not self.rows


def survey(subject: Subject) -> Survey:
    """Count rows with the requests that are left."""
    foreseen = subject.access.refused(STREAMS) if subject.access else {}
    left_out = {name for names in foreseen.values() for name in names}
    streams = {each.name: each for each in current_streams()}
    responses = _samples(subject, {name: each for name, each in streams.items() if name not in left_out})
    refused: dict[str, list[str]] = {}
    unanswered: dict[str, list[str]] = {}
    for name, response in responses.items():
        if (reason := _refusal(response)) is not None:
            refused.setdefault(reason, []).append(name)
        elif not response.ok:
            unanswered.setdefault(response.failure, []).append(name)
    withheld = left_out.union(*refused.values())
    answered = [name for name, response in responses.items() if response.ok]
    rows = {name: total for name in answered if (total := responses[name].total) is not None}
    pages = {
        name: len(stream.parts) * -(-(LONG_CODES | rows).get(name, 0) // HIGHEST_PAGE_SIZE)
        for name, stream in streams.items()
        if name not in withheld
    }
    files = rows.get("attachments", 0) if subject.fetches_files else 0
    return Survey(
        rows=rows,
        refused=refused,
        unanswered=unanswered,
        foreseen=foreseen,
        answered=answered,
        is_empty=not any(responses[name].at_least for name in answered),
        first_load=OF_LOGIN + files + sum(_first(each, pages, subject) for each in streams.values()),
        quiet_run=OF_LOGIN + sum(_quiet(each, pages, subject) for each in streams.values()),
        is_partial=bool(subject.looker.cut_short or unanswered or (answered and not rows)),
    )


def _refusal(response: Response) -> str | None:
    return next((reason for kind, reason in REFUSALS if isinstance(response.error, kind)), None)


def _samples(subject: Subject, streams: dict[str, type[SageStream]]) -> dict[str, Response]:
    """Return the samples of as many lists as the budget allows."""
    responses: dict[str, Response] = {}
    others = [name for name in streams if name not in COUNTED_FIRST] if subject.deep else []
    for name in (*COUNTED_FIRST, *others):
        if name in streams and name != TrialBalance.name:
            try:
                responses[name] = subject.look_at(name)
            except SpentError:
                break
    return responses


def _first(stream: type[SageStream], pages: Mapping[str, int], subject: Subject) -> int:
    """Count the requests of a first read; a list that is swept is read for all ids, too.

    A list that Sage refuses, which has no pages, is requested all the same: what Sage refuses may change.
    """
    if stream.name not in pages:
        return len(stream.parts)
    if stream is TrialBalance:
        return first_months(subject, is_dated="transactions" in pages)
    reads = 2 if subject.start_date is not None and _is_swept(stream) else 1
    return reads * max(len(stream.parts), pages[stream.name])


def _is_swept(stream: type[SageStream]) -> bool:
    is_reported = stream.deleted_since or stream.deletion_flag is not None
    return stream.changed_since and stream.deletable and not (is_reported or stream.master_data)


def _quiet(stream: type[SageStream], pages: Mapping[str, int], subject: Subject) -> int:
    """Count the requests of a read that finds nothing new; a list without a filter for changes is read whole."""
    if stream is TrialBalance and stream.name in pages:
        entries = subject.samples.get("ledger_entries")
        has_idle = entries is None or entries.at_least > 0
        if "transactions" not in pages:  # what changed is unknown
            return has_idle + first_months(subject, is_dated=False)
        return has_idle + QUIET_MONTHS + (subject.start_date is None)
    if stream.changed_since:
        return len(stream.parts) * (2 if stream.deleted_since else 1)
    return max(len(stream.parts), pages.get(stream.name, 0))


def total(requests: Sequence[int], businesses: int) -> int:
    """Return the requests of a run of many businesses, from those of a few that the others are like."""
    return OF_LOGIN + round(sum(each - OF_LOGIN for each in requests) * businesses / len(requests))


def minutes(requests: int, pace: int) -> int:
    """Return the minutes that so many requests take, rounded up."""
    return -(-requests // pace)
