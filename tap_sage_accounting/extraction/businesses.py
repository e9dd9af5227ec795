"""Whose books there are to read: the businesses that Sage lists for the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from singer_sdk.exceptions import RetriableAPIError, SkippableAPIError

from tap_sage_accounting import timestamps
from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.exceptions import (
    RefusedRunError,
    RequestTooLargeError,
    RetriesExhaustedError,
)
from tap_sage_accounting.extraction.list_reader import ListReader
from tap_sage_accounting.records.identity import key_of

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from datetime import datetime

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.records.row_decoder import Item

LARGEST_PAGE = 500
"""Businesses that Sage puts on a page at most; before mid-2025 it put all of them on one."""
SMALLEST_PAGE = 25
"""Businesses that Sage puts on a page at least: smaller pages would not begin where they should."""


@dataclass(frozen=True, slots=True)
class Business:
    """A business that the user may see."""

    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id})" if self.name else self.id


@dataclass(frozen=True, slots=True)
class _BusinessList:
    """The list of the user's businesses, which shows no more than ids and names anyway."""

    endpoint: Endpoint

    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:
        """Return a page."""
        if size < SMALLEST_PAGE:
            raise RequestTooLargeError(f"{self.endpoint.label}, page {number}: no page is that small ({size})")
        return self.endpoint.page(number, size, bare=bare, max_attempts=max_attempts)

    def record(self, item: Item) -> Item:
        """Return one business."""
        return self.endpoint.record(item)


def visible_businesses(client: HttpClient, executor: Executor) -> tuple[list[Business], datetime]:
    """List the businesses that the user may see, in Sage's order.

    Returns:
        The businesses, with an empty id where Sage sends none, and a moment that is not after the one of the answer.

    Raises:
        FatalAPIError: Sage does not tell them, or not all of them.
        RefusedRunError: Sage refuses the list.
    """
    endpoint = Endpoint(client=client, path="/businesses", label="list of businesses", page_size=LARGEST_PAGE)
    reading = ListReader(
        _BusinessList(endpoint), executor, label=endpoint.label, max_prefetch=lambda: 1, size=LARGEST_PAGE
    )
    try:
        items = [item for page in reading.pages() for item in page.items]
        items += reading.recover_missed_rows(lambda: False)
    except SkippableAPIError as error:
        raise RefusedRunError(
            f"Sage does not let this user list businesses, so nothing was read. {error} Give the user access to a "
            "business in Sage, or log in as another user."
        ) from None
    except RetriableAPIError as error:
        raise RetriesExhaustedError(f"Sage's list of businesses cannot be read. {error}") from None
    if reading.undeliverable:
        raise RetriesExhaustedError(f"Sage does not tell all businesses ({', '.join(reading.undeliverable)}).")
    found = [Business(key_of(item), str(item.get("displayed_as") or item.get("name") or "")) for item in items]
    return found, reading.watch.started or timestamps.now()
