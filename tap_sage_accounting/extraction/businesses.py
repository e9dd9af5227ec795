"""Whose books there are to read: the businesses that Sage lists for the user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import RetriableAPIError, SkippableAPIError
from typing_extensions import override

from tap_sage_accounting import timestamps
from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.exceptions import RefusedRunError, RequestTooLargeError, RetriesExhaustedError, SettingsError
from tap_sage_accounting.extraction.list_reader import ListReader
from tap_sage_accounting.extraction.prefetch import PagesAhead
from tap_sage_accounting.records.row_decoder import key_of
from tap_sage_accounting.run.state_parts import BOOKMARK
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor
    from datetime import datetime

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.pages import Page

LARGEST_PAGE = 500
"""Businesses that Sage puts on a page at most (businesses.paged); before mid-2025 it put all of them on one."""
ACTIVE = timedelta(days=7)
"""How far a business's newest change may be behind the newest of all, where its first pages are requested ahead."""
SMALLEST_PAGE = 25
"""Businesses that Sage puts on a page at least: smaller pages would not begin where they should."""


@dataclass(frozen=True, slots=True)
class Business:
    """A business that the user may see."""

    id: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id})" if self.name else self.id


class _BusinessList(Endpoint):
    """The list of the user's businesses, which shows no more than ids and names anyway."""

    @override
    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:
        if size < SMALLEST_PAGE:
            raise RequestTooLargeError(f"{self.label}, page {number}: no page is that small ({size})")
        return super().page(number, size, bare=bare, max_attempts=max_attempts)


def request_businesses(client: HttpClient, executor: Executor) -> ListReader:
    """Request the list of the user's businesses, to have it when it is needed."""
    source = _BusinessList(client=client, path="/businesses", label="list of businesses", page_size=LARGEST_PAGE)
    reading = ListReader(source, executor, label=source.label, pages_ahead=lambda: PagesAhead(1, 1), size=LARGEST_PAGE)
    return reading.start()


def visible_businesses(reading: ListReader) -> tuple[list[Business], datetime]:
    """List the businesses that the user may see, in Sage's order.

    Returns:
        The businesses, with an empty id where Sage sends none; and a moment that is not after the response.

    Raises:
        FatalAPIError: Sage does not list them, or not all of them.
        RefusedRunError: Sage refuses the list.
    """
    try:
        items = list(reading.rows())
    except SkippableAPIError as error:
        raise RefusedRunError(
            f"Sage does not let this user list businesses, so nothing was read. {error} Give the user access to a "
            "business in Sage, or log in as another user."
        ) from None
    except RetriableAPIError as error:
        raise RetriesExhaustedError(f"Sage's list of businesses cannot be read. {error}") from None
    if reading.undeliverable:
        raise RetriesExhaustedError(f"Sage does not list all businesses ({', '.join(reading.undeliverable)}).")
    found = [Business(key_of(item), str(item.get("displayed_as") or item.get("name") or "")) for item in items]
    return found, reading.seen.started or timestamps.now()


def known_businesses(state: Mapping[str, Any]) -> set[str]:
    """Return the ids of the businesses that earlier runs read."""
    return {partition["context"]["business_id"] for partition in _partitions(state)}


def _partitions(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for stream in state.get("bookmarks", {}).values() for each in stream.get("partitions", ())]


def expected_businesses(state: Mapping[str, Any], wanted: Collection[str] | None) -> list[str]:
    """Return the ids of the businesses that a run will probably read, those with changes first.

    Args:
        state: that of earlier runs.
        wanted: those that the settings name; None for all.
    """
    active = _active_businesses(state)
    return active if wanted is None else [*dict.fromkeys([*filter(wanted.__contains__, active), *wanted])]


def _active_businesses(state: Mapping[str, Any]) -> list[str]:
    """Return the ids of the businesses in which something changed not long before earlier runs, in their order.

    One that the user no longer sees is soon none of them.
    """
    newest: dict[str, str] = {}
    for partition in _partitions(state):
        business_id = partition["context"]["business_id"]
        newest[business_id] = max(newest.get(business_id, ""), str(partition.get(BOOKMARK, "")))
    try:
        since = instant(parse_moment(max(newest.values(), default="")) - ACTIVE)
    except ValueError:
        return []
    return [business_id for business_id, moment in newest.items() if moment >= since]


def log_changes(known: AbstractSet[str], visible: Mapping[str, Business], logger: logging.Logger) -> None:
    """Log which businesses earlier runs read and the user no longer sees, and which no earlier run read."""
    for business_id in sorted(known - visible.keys()):
        logger.warning(
            "Business %s, which earlier runs read, is no longer among those that this user sees. Its rows stay as "
            "they are.",
            business_id,
        )
    for business_id, business in visible.items():
        if known and business_id not in known:
            logger.info("No earlier run read %s.", business)


def choose(visible: Mapping[str, Business], wanted: Sequence[str] | None) -> tuple[Business, ...]:
    """Return the businesses to read, in Sage's order: of those that the user sees, by id, the `wanted` ones, or all.

    Raises:
        SettingsError: it names one that the user cannot see, or there is none at all.
    """
    if strangers := [business_id for business_id in wanted or () if business_id not in visible]:
        raise SettingsError(
            f"business_ids contains businesses this user has no access to: {', '.join(strangers)}. Available: "
            f"{'; '.join(map(str, visible.values())) or 'none'}."
        )
    if not visible:
        raise SettingsError("Sage lists no business for this user. Give them access to one, or log in as another user.")
    return tuple(business for business in visible.values() if not wanted or business.id in wanted)
