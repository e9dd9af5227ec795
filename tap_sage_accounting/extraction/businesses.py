"""Whose books there are to read: the businesses that Sage lists for the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from singer_sdk.exceptions import RetriableAPIError, SkippableAPIError

from tap_sage_accounting import timestamps
from tap_sage_accounting.api.pages import Page, parse_json
from tap_sage_accounting.exceptions import (
    MalformedResponseError,
    RefusedRunError,
    RequestTooLargeError,
    RetriesExhaustedError,
)
from tap_sage_accounting.extraction.consistency import key_of
from tap_sage_accounting.extraction.list_reader import ListReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor
    from datetime import datetime

    from tap_sage_accounting.api.http_client import HttpClient, Response
    from tap_sage_accounting.records.row_decoder import Item

    Parsed = TypeVar("Parsed")

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
    """The list of the user's businesses, as `ListReader` asks for it; it tells no more than ids and names anyway."""

    connection: HttpClient

    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:  # noqa: ARG002
        """Ask for a page."""
        label = f"list of businesses, page {number}"
        if size < SMALLEST_PAGE:
            raise RequestTooLargeError(f"{label}: no page is that small ({size})")

        def parse(answer: Response) -> Page:
            return Page.parse(answer.body, asked=number, size=size, served_at=answer.served_at, label=label)

        return self._ask("", {"page": number, "items_per_page": size}, label, parse, max_attempts)

    def record(self, item: Item) -> Item:
        """Ask for one business."""
        label = f"business {item.get('id')}"

        def parse(answer: Response) -> dict[str, Any]:
            found = parse_json(answer.body, label)
            if not isinstance(found, dict):
                raise MalformedResponseError(f"{label}: the answer is no record.")
            return found

        return self._ask(f"/{item.get('id')}", {}, label, parse, None)

    def _ask(
        self,
        path: str,
        params: Mapping[str, Any],
        label: str,
        parse: Callable[[Response], Parsed],
        max_attempts: int | None,
    ) -> Parsed:
        return self.connection.ask(
            f"/businesses{path}", params, business_id=None, label=label, parse=parse, max_attempts=max_attempts
        )


def visible_businesses(connection: HttpClient, executor: Executor) -> tuple[list[Business], datetime]:
    """List the businesses that the user may see, in Sage's order.

    Returns:
        The businesses, with an empty id where Sage sends none, and a moment that is not after the one of the answer.

    Raises:
        FatalAPIError: Sage does not tell them, or not all of them.
        RefusedRunError: Sage refuses the list.
    """
    reading = ListReader(
        _BusinessList(connection), executor, label="list of businesses", width=lambda: 1, size=LARGEST_PAGE
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
