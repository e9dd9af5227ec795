"""What a load of a business will take: which lists Sage refuses, how many rows the others have, how many requests."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.experiments.pages import last_page
from tap_sage_accounting.commands.doctor.subject import OK, SpentError, current_streams
from tap_sage_accounting.extraction.months import Month
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.streams.trial_balance import TrialBalance
from tap_sage_accounting.timestamps import now

if TYPE_CHECKING:
    from tap_sage_accounting.client import SageStream
    from tap_sage_accounting.commands.doctor.subject import Answer, Row, Subject

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
DAY = re.compile(r"[12]\d{3}-[01]\d-[0-3]\d")
PACES = (60, 100, 900)
"""Requests a minute for which a load's time is shown."""
REFUSALS = {
    401: "not in this edition, country or subscription",
    403: "not in the user's role",
    404: "not offered here",
}
"""What it means that Sage refuses a list, by the status."""
UNREACHABLE = "not answered"


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found out about the lists of a business.

    Attributes:
        rows: rows by list, of those that were counted.
        refused: lists that Sage refused now, by the reason.
        foreseen: lists that Sage will refuse, by the reason, as it says beforehand.
        first_load: requests of a first load, about.
        quiet_run: requests of a run when nothing changed, about.
    """

    rows: dict[str, int]
    refused: dict[str, list[str]]
    foreseen: dict[str, list[str]]
    first_load: int
    quiet_run: int


def survey(subject: Subject) -> Survey:
    """Count rows with the requests that are left."""
    foreseen = subject.access.refused(STREAMS) if subject.access else {}
    left_out = {name for names in foreseen.values() for name in names}
    streams = {each.name: each for each in current_streams() if each.name not in left_out}
    answers = _samples(subject, streams)
    refused: dict[str, list[str]] = {}
    for name, answer in answers.items():
        if answer.status != OK:
            refused.setdefault(REFUSALS.get(answer.status, UNREACHABLE), []).append(name)
    lacking = {name for names in refused.values() for name in names}
    offered = {name: stream for name, stream in streams.items() if name not in lacking}
    rows = {name: total for name, answer in answers.items() if (total := answer.total) is not None}
    quiet = sum(map(_quiet, offered.values()))
    pages = {name: len(stream.parts) * -(-rows.get(name, 0) // HIGHEST_PAGE_SIZE) for name, stream in offered.items()}
    first = sum(max(len(stream.parts), pages[name]) for name, stream in offered.items())
    return Survey(rows, refused, foreseen, first + _months(subject, offered), quiet)


def _samples(subject: Subject, streams: dict[str, type[SageStream]]) -> dict[str, Answer]:
    """Return the samples of lists, as many as the budget lets one have."""
    answers: dict[str, Answer] = {}
    others = [name for name in streams if name not in COUNTED_FIRST] if subject.deep else []
    for name in (*COUNTED_FIRST, *others):
        if name in streams and name != TrialBalance.name:
            try:
                answers[name] = subject.sample(name)
            except SpentError:
                break
    return answers


def _quiet(stream: type[SageStream]) -> int:
    """Count the requests of a read that finds nothing new."""
    return len(stream.parts) * (2 if stream.deleted_since else 1)


def _months(subject: Subject, offered: dict[str, type[SageStream]]) -> int:
    """Count the months of trial balances, from the first posting to now."""
    if TrialBalance.name not in offered:
        return 0
    last = Month.of(now().date())
    return len(Month.parse(day).until(last)) if (day := first_posting(subject)) else 0


def first_posting(subject: Subject) -> str:
    """Return the day of the oldest entry that was seen; "" where none was."""
    rows: list[Row] = []
    with suppress(SpentError):
        sample = subject.sample("ledger_entries")
        rows += sample.rows
        rows += last_page(subject, "ledger_entries", sample.total).rows if sample.total else []
    days = (str(row.get("date") or "")[:10] for row in rows)
    return min(filter(DAY.fullmatch, days), default="")


def minutes(requests: int, pace: int) -> int:
    """Return the minutes that so many requests take, rounded up."""
    return -(-requests // pace)
