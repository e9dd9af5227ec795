"""Experiments with the list of businesses, which is requested anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.findings import Finding, decided, experiment, undecided
from tap_sage_accounting.commands.doctor.response import whole
from tap_sage_accounting.commands.doctor.subject import BAD_REQUESTS
from tap_sage_accounting.extraction.businesses import LARGEST_PAGE

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.looker import Looker
    from tap_sage_accounting.commands.doctor.response import Response
    from tap_sage_accounting.commands.doctor.subject import Subject

SIZE_KEYS = ("$items_per_page", "$itemsPerPage")
SUMMARY = frozenset(("id", "displayed_as", "name", "$path"))


def business_list(looker: Looker) -> Response:
    """Request the first page of businesses."""
    page = {"page": 1, "items_per_page": LARGEST_PAGE}
    response = looker.get("/businesses", {**page, "attributes": "all"})
    return looker.get("/businesses", page) if response.status in BAD_REQUESTS else response


@experiment("businesses.paged")
def pages(subject: Subject) -> Finding:
    """See which page size the list states: beyond any page where everything comes at once."""
    response = business_list(subject.looker)
    size = next((size for key in SIZE_KEYS if (size := whole(response.fields.get(key))) is not None), None)
    if size is None:
        return undecided("The list does not state the size of its pages.")
    holds = size <= LARGEST_PAGE
    return decided(holds=holds, evidence=f"It states pages of {'up to' if holds else 'more than'} 500 businesses.")


@experiment("businesses.size_key")
def size_key(subject: Subject) -> Finding:
    """See which of two keys has the page size."""
    found = [key for key in SIZE_KEYS if key in business_list(subject.looker).fields]
    if len(found) != 1:
        return undecided(f"The list has {len(found)} of the two keys.")
    return decided(holds=found[0] == SIZE_KEYS[0], evidence=f"The list has {found[0]}.")


@experiment("businesses.attributes")
def attributes(subject: Subject) -> Finding:
    """See whether rows have more than a name where all attributes are requested."""
    response = business_list(subject.looker)
    rows = response.rows
    if not rows:
        return undecided("The list has no rows.")
    more = len({name for row in rows for name in row} - SUMMARY)
    return decided(holds=not more, evidence=f"With attributes=all, rows have {more} attributes besides their name.")
