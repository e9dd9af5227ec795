"""Experiments with the filter for changes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.findings import (
    Finding,
    contradicted,
    counted,
    decided,
    experiment,
    undecided,
)
from tap_sage_accounting.commands.doctor.looker import SAMPLE
from tap_sage_accounting.commands.doctor.subject import BAD_REQUESTS, LISTS
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from datetime import datetime

    from tap_sage_accounting.commands.doctor.response import Response
    from tap_sage_accounting.commands.doctor.subject import Subject

CHANGING = ("sales_invoices", "purchase_invoices", "contacts", "contact_payments", "ledger_accounts", "products")
"""Lists with a filter for changes, and not too many rows that changed lately."""


def moment_of(value: object) -> datetime | None:
    """Return a moment as Sage writes it; None for what is none."""
    try:
        return parse_moment(str(value))
    except ValueError:
        return None


def changed_at(row: dict[str, object]) -> datetime | None:
    """Return when a row changed; None where it does not say."""
    return moment_of(row.get("updated_at"))


def latest_changes(subject: Subject, name: str) -> Response | None:
    """Return the rows of a list that changed last, if Sage sorts it; else its first rows; None without a response."""
    if not LISTS[name].sortable:
        return subject.sample(name)
    return subject.find(name, items_per_page=SAMPLE, attributes="updated_at", sort="updated_at:desc")


def newest(response: Response) -> datetime | None:
    """Return the latest change among the rows of a response."""
    return max((moment for row in response.rows if (moment := changed_at(row))), default=None)


@experiment("changes.inclusive")
def inclusive(subject: Subject) -> Finding:
    """Request what changed since the second of a row, and since a second later."""
    for name in CHANGING:
        sample = latest_changes(subject, name)
        if sample is None or (moment := newest(sample)) is None:
            continue
        there = {str(row.get("id")) for row in sample.rows if changed_at(row) == moment}
        since, after = (_changed(subject, name, moment + timedelta(seconds=late)) for late in (0, 1))
        if since is None or after is None or not since.is_whole:
            continue
        if early := there & {*after.ids}:
            return contradicted(counted("Rows came that had not changed since: {}. It is ignored.", len(early)))
        found = len(there & {*since.ids})
        evidence = counted("Of {} rows of one second, {} come when the filter names that second.", len(there), found)
        return decided(holds=found == len(there), evidence=evidence)
    return undecided("No list has few rows that changed lately.")


def _changed(subject: Subject, name: str, moment: datetime) -> Response | None:
    return subject.find(name, items_per_page=HIGHEST_PAGE_SIZE, updated_or_created_since=instant(moment))


@experiment("changes.fractions")
def fractions(subject: Subject) -> Finding:
    """Send the filter with a fraction of a second."""
    sample = subject.first_with_rows(*CHANGING)
    if sample is None:
        return undecided("No list with such a filter has rows.")
    moment = "2000-01-01T00:00:00.500Z"
    response = subject.get(sample[0], BAD_REQUESTS, items_per_page=1, updated_or_created_since=moment)
    return decided(holds=response.ok, evidence=f"Sage answers {response.status}.")


@experiment("changes.with_deletions")
def with_deletions(subject: Subject) -> Finding:
    """Send both filters at once, and compare the number of rows with that of each."""
    from tap_sage_accounting.commands.doctor.experiments.deletions import EVER, with_tombstones  # noqa: PLC0415

    if (found := with_tombstones(subject)) is None:
        return undecided("No list shows a deleted record.")
    name, dead = found
    both = subject.get(name, items_per_page=SAMPLE, updated_or_created_since=EVER, deleted_since=EVER)
    if (sample := subject.sample(name)) is None or not sample.rows:
        return undecided("All records of that list are deleted.")
    if both.total is None or dead.total is None:
        return undecided("Sage does not count the rows of its lists.")
    holds = both.total == dead.total
    evidence = f"Both give {'as many' if holds else 'other'} rows {'as' if holds else 'than'} the one for deletions."
    return decided(holds=holds, evidence=evidence)
