"""Experiments with the pages of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.experiments.changes import latest_changes
from tap_sage_accounting.commands.doctor.findings import (
    Finding,
    contradicted,
    counted,
    decided,
    experiment,
    undecided,
)
from tap_sage_accounting.commands.doctor.looker import SAMPLE
from tap_sage_accounting.commands.doctor.response import whole
from tap_sage_accounting.commands.doctor.subject import BAD_REQUESTS
from tap_sage_accounting.extraction.resume import IN_ORDER
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.response import Response
    from tap_sage_accounting.commands.doctor.subject import Subject

LONG_LISTS = ("ledger_entries", "transactions", "ledger_accounts", "contacts", "sales_invoices", "purchase_invoices")
"""Lists that most businesses have, the longest first."""
SORTED = ("sales_invoices", "purchase_invoices", "contact_payments", "other_payments")
CHANGING = ("ledger_entries", "contacts", "sales_invoices")
"""Lists with a filter for changes."""
NO_LIST = "No list has more rows than a page."
NOT_FOUND = 404
TOO_HEAVY = frozenset((500, 502, 504))
"""Statuses of a page that is too large for Sage, where it returns smaller ones."""
NO_ROWS = "No list has rows."
NO_TIMES = "No list of documents has rows that were made at different times."
UNCOUNTED = "Sage does not count the rows of its lists."


def long_list(subject: Subject) -> tuple[str, Response] | None:
    """Return a list that has more rows than its sample."""
    return subject.first_with_rows(*LONG_LISTS, least=SAMPLE + 1)


def last_page(subject: Subject, name: str, total: int) -> Response | None:
    """Return the response to a page beyond the last one of a list, which may be a 404."""
    return subject.find(name, (NOT_FOUND,), page=total + 1, items_per_page=1, attributes="all")


@experiment("pages.total")
def total(subject: Subject) -> Finding:
    """Count the lists that do not say how many rows they have."""
    responses = [response for response in subject.responses_of(*LONG_LISTS).values() if response.rows]
    if not responses:
        return undecided(NO_ROWS)
    silent = sum(response.total is None for response in responses)
    evidence = f"{silent} of {len(responses)} lists with rows have no `$total`."
    return decided(holds=not silent, evidence=evidence)


@experiment("pages.beyond_last")
def beyond_last(subject: Subject) -> Finding:
    """Request a page beyond the last one."""
    if (found := subject.first_with_rows(*LONG_LISTS)) is None:
        return undecided(NO_ROWS)
    if (rows := found[1].total) is None:
        return undecided(UNCOUNTED)
    response = last_page(subject, found[0], rows)
    if response is None:
        return undecided("Sage does not return that page.")
    number = whole(response.fields.get("$page"))
    if response.status == NOT_FOUND:
        return contradicted("Sage answers 404.")
    if not response.rows:
        return contradicted("The page has no rows.")
    named = "the last one" if number == rows else "another one" if number else "none"
    evidence = counted("{} rows come, and the page that they are said to be is " + named + ".", len(response.rows))
    return decided(holds=number == rows, evidence=evidence)


@experiment("pages.next")
def next_page(subject: Subject) -> Finding:
    """See whether the first page of a long list names the next one."""
    if (found := long_list(subject)) is None:
        return undecided(NO_LIST)
    present = bool(found[1].fields.get("$next"))
    return decided(holds=present, evidence=f"`$next` is {'filled' if present else 'empty'} on page 1.")


@experiment("pages.next_filters")
def next_filters(subject: Subject) -> Finding:
    """See what `$next` repeats of a filter."""
    found = subject.first_with_rows(*CHANGING, least=2)
    if found is None:
        return undecided(NO_LIST)
    response = subject.get(found[0], items_per_page=1, updated_or_created_since="2000-01-01T00:00:00Z")
    following = response.fields.get("$next")
    if not isinstance(following, str):
        return undecided("The page of a filtered list names no next one.")
    repeats = "updated_or_created_since" in following
    return decided(holds=not repeats, evidence=f"`$next` {'repeats' if repeats else 'leaves out'} the filter.")


@experiment("pages.over_200")
def over_200(subject: Subject) -> Finding:
    """Request a page of 201 rows."""
    if (found := subject.first_with_rows(*LONG_LISTS)) is None:
        return undecided(NO_ROWS)
    response = subject.get(found[0], BAD_REQUESTS, items_per_page=HIGHEST_PAGE_SIZE + 1)
    if not response.ok:
        return contradicted(f"Sage answers {response.status} to 201 rows a page.")
    size = whole(response.fields.get("$itemsPerPage"))
    holds = len(response.rows) <= HIGHEST_PAGE_SIZE and (size is None or size <= HIGHEST_PAGE_SIZE)
    stated = "no size" if size is None else "200 or less" if size <= HIGHEST_PAGE_SIZE else "more than 200"
    evidence = counted("{} rows come, on a page that states " + stated + ".", len(response.rows))
    return decided(holds=holds, evidence=evidence)


@experiment("pages.heavy")
def heavy(subject: Subject) -> Finding:
    """Request a page of 200 whole records, as a load does; where Sage fails, request a small page."""
    sizes = {name: response.at_least for name in SORTED if (response := subject.sample(name)) is not None}
    name = max(sizes, key=sizes.__getitem__, default=None)
    if name is None or sizes[name] <= SAMPLE:
        return undecided("No list of documents has enough rows.")
    response = subject.get(name, TOO_HEAVY, items_per_page=HIGHEST_PAGE_SIZE, attributes="all")
    if not response.ok:
        subject.get(name, items_per_page=2)
    evidence = counted(
        f"Sage answers {response.status} after {response.seconds:.1f} s, to {{}} rows.",
        len(response.rows) or sizes[name],
    )
    return decided(holds=response.ok, evidence=evidence)


@experiment("pages.full")
def full(subject: Subject) -> Finding:
    """Compare how many rows the first page of a long list has with what was requested."""
    if (found := long_list(subject)) is None:
        return undecided(NO_LIST)
    return decided(holds=len(found[1].rows) == SAMPLE, evidence=f"Of {SAMPLE} rows, {len(found[1].rows)} came.")


@experiment("pages.sort")
def in_order(subject: Subject) -> Finding:
    """Request a list in one order and in the other, and compare the times of its rows."""
    for name in SORTED:
        upwards = subject.find(name, items_per_page=SAMPLE, attributes="created_at", sort=IN_ORDER)
        times = [str(row.get("created_at") or "") for row in upwards.rows] if upwards else []
        if len(set(times)) < 2:  # noqa: PLR2004 - two differ
            continue
        if (changes := latest_changes(subject, name)) is None:
            continue
        others = [str(row.get("updated_at") or "") for row in changes.rows]
        holds = times == sorted(times) and others == sorted(others, reverse=True)
        kept = "are" if holds else "are not"
        return decided(holds=holds, evidence=counted("Of {} rows each, both orders " + kept + " kept.", len(times)))
    return undecided(NO_TIMES)
