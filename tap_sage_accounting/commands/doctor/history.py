"""The months of a business's trial balance that a first load reads, and how it finds the first of them."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.experiments.pages import last_page
from tap_sage_accounting.commands.doctor.looker import SpentError
from tap_sage_accounting.extraction.monthly_read import MONTHS_WITHOUT_SETTINGS, SHORT_HISTORY
from tap_sage_accounting.extraction.months import FIRST_MONTH, MOST_MONTHS, Month, first_month

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.response import Row
    from tap_sage_accounting.commands.doctor.subject import Subject

DAY = re.compile(r"[12]\d{3}-[01]\d-[0-3]\d")
SETTINGS = "financial_settings"


def first_months(subject: Subject, *, is_dated: bool) -> int:
    """Count the requests of a first read of the trial balance: settings, looks for the first posting, and months.

    Args:
        subject: the business.
        is_dated: whether Sage shows its transactions; else the look for the first posting ends with its first request.
    """
    last = Month.of(subject.looker.now.date())
    begins, settings = _opened(subject, last)
    opened = min(last, max(begins, last.plus(-MOST_MONTHS)))
    if last - opened < SHORT_HISTORY:
        return settings + len(opened.until(last))
    if not is_dated:
        return settings + 1 + len(opened.until(last))
    posted, looks = Month.parse(first_posting(subject)), 0
    is_empty = posted == FIRST_MONTH

    def is_empty_until(month: Month) -> bool:
        nonlocal looks
        looks += 1
        return is_empty or month < posted

    found = first_month(opened, last, opened, is_empty_until)
    counts = (1 if is_empty else 2) if found > opened else 0  # compares the entries from then on with all entries
    return settings + looks + counts + len((opened if is_empty else found).until(last))


def _opened(subject: Subject, last: Month) -> tuple[Month, int]:
    """Return the month from which on the tap reads, by its settings or Sage's, and the requests that find it."""
    if subject.start_date is not None:
        return Month.of(subject.start_date.date()), 0
    requests = 1
    with suppress(SpentError):
        settings = subject.look_at(SETTINGS)
        if settings.ok and (opened := settings.fields.get("accounts_start_date")):
            return Month.parse(opened), requests
        requests += settings.is_refusal  # then something else shows what time it is
    return last.plus(-MONTHS_WITHOUT_SETTINGS), requests


def first_posting(subject: Subject) -> str:
    """Return the day of the oldest entry that was seen; "" where none was."""
    rows: list[Row] = []
    with suppress(SpentError):
        sample = subject.sample("ledger_entries")
        rows += sample.rows if sample else []
        last = last_page(subject, "ledger_entries", sample.total) if sample and sample.total else None
        rows += last.rows if last else []
    days = (str(row.get("date") or "")[:10] for row in rows)
    return min(filter(DAY.fullmatch, days), default="")
