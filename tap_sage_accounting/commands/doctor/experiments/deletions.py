"""Experiments with the filter for deletions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.experiments.changes import moment_of
from tap_sage_accounting.commands.doctor.findings import (
    Finding,
    contradicted,
    counted,
    decided,
    experiment,
    undecided,
)
from tap_sage_accounting.commands.doctor.looker import SAMPLE
from tap_sage_accounting.commands.doctor.shapes import properties_of
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from datetime import datetime

    from tap_sage_accounting.commands.doctor.response import Response, Row
    from tap_sage_accounting.commands.doctor.subject import Subject

EVER = "2000-01-01T00:00:00Z"
DELETING = ("contact_payments", "sales_invoices", "journals", "contacts", "purchase_invoices", "other_payments")
"""Lists whose deletions Sage reports, the likeliest first."""
FEW = 4
"""Lists that are looked through for a deleted record, unless the look is deep."""
SUMMARY = frozenset(("id", "displayed_as", "$path"))
TIMES = frozenset(("created_at", "updated_at", "deleted_at"))
NONE = "No list shows a deleted record."


def ignores(subject: Subject) -> tuple[int, int] | None:
    """Return how many rows a list has that were deleted since tomorrow, and how many it has; None without rows."""
    if (found := subject.first_with_rows(*DELETING)) is None:
        return None
    tomorrow = instant(subject.looker.now + timedelta(days=1))
    response = subject.get(found[0], items_per_page=1, deleted_since=tomorrow)
    return response.at_least, found[1].at_least


def with_tombstones(subject: Subject) -> tuple[str, Response] | None:
    """Return the first list that shows deleted records, and what it shows of them."""
    if (counts := ignores(subject)) is not None and counts[0]:
        return None  # what comes are records that are there
    for name in DELETING if subject.deep else DELETING[:FEW]:
        response = subject.find(name, items_per_page=SAMPLE, attributes="all", deleted_since=EVER)
        if response is not None and response.rows:
            return name, response
    return None


@experiment("deletions.content")
def content(subject: Subject) -> Finding:
    """See what a deleted record shows of itself."""
    if (found := with_tombstones(subject)) is None:
        return undecided(NONE)
    rows = found[1].rows
    own = _own_attributes(subject, found[0])
    dated = sum(bool(row.get("deleted_at")) for row in rows)
    whole = sum(2 * len(row.keys() & own) >= len(own) for row in rows)
    evidence = counted(
        "Of {} deleted records, {} come with their attributes and {} with `deleted_at`.", len(rows), whole, dated
    )
    return decided(holds=whole == dated == len(rows), evidence=evidence)


def _own_attributes(subject: Subject, name: str) -> set[str]:
    """Return the attributes that all rows of a list have, without those of a summary."""
    sample = subject.sample(name)
    rows: list[Row] = sample.rows if sample else []
    known = set(properties_of(name))
    return known.intersection(*rows) - SUMMARY - TIMES - {"deleted"}


@experiment("deletions.exclusive")
def exclusive(subject: Subject) -> Finding:
    """Request deletions since tomorrow, and since the second of one."""
    if (counts := ignores(subject)) is not None and counts[0]:
        every = "all" if counts[0] == counts[1] else "some"
        return contradicted(f"Of a list, {every} rows are said to be deleted since tomorrow. It is ignored.")
    if (found := with_tombstones(subject)) is None:
        return undecided(NONE)
    name, response = found
    latest = max((moment for row in response.rows if (moment := deleted_at(row))), default=None)
    if latest is None:
        return undecided("Deleted records do not say when they were deleted.")
    there = {str(row.get("id")) for row in response.rows if deleted_at(row) == latest}
    since = subject.get(name, items_per_page=HIGHEST_PAGE_SIZE, deleted_since=instant(latest))
    if not since.is_whole:
        return undecided("Too many were deleted since.")
    found_again = len(there & {*since.ids})
    evidence = counted(
        "Of {} deletions of one second, {} come when the filter names that second.", len(there), found_again
    )
    return decided(holds=not found_again, evidence=evidence)


def deleted_at(row: dict[str, object]) -> datetime | None:
    """Return when a row was deleted; None where it does not say."""
    return moment_of(row.get("deleted_at"))
