"""Businesses that rest: nothing was posted in them since their lists were read, and that is not long ago.

Each change of the books makes a transaction or changes one. So one request shows whether anything was posted since all
lists of a business were read. That moment is in its state of `transactions`, with a fingerprint of what was selected
then. Only a run in which no read of the business failed moves it.

Deletions of records that are not posted, and the settings, may be as late in an active business. So they are requested
again only when the same time has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from zlib import crc32

from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.exceptions import AuthorizationError
from tap_sage_accounting.run.state_parts import LISTS_READ, UNPOSTED_READ
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor
    from datetime import datetime

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.extraction.businesses import Business

    State = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleBusinesses:
    """Finds the businesses that rest in this run, and notes those of which everything was read.

    Attributes:
        client: sends the requests.
        state_of: returns the state of `transactions` of a business.
        choice: what the user chose to read: the names of streams, and from when.
        rest: how long lists wait where nothing was posted.
        lookback: how late Sage may show a change.
        now: a moment that is not after the beginning of the run.
    """

    INDICATOR: ClassVar[str] = "transactions"

    client: HttpClient
    state_of: Callable[[str], State]
    choice: Iterable[str]
    rest: timedelta
    lookback: timedelta
    now: datetime

    def find(self, businesses: Sequence[Business], executor: Executor) -> frozenset[str]:
        """Return the ids of those in which nothing was posted; each that may rest costs one request."""
        since = {each: moment for each in businesses if (moment := self._read_at(each.id, LISTS_READ)) is not None}
        idle = executor.map(self._is_idle, since, since.values())
        return frozenset(business.id for business, is_idle in zip(since, idle, strict=True) if is_idle)

    def unposted_wait(self, businesses: Sequence[Business]) -> frozenset[str]:
        """Return the ids of those in which what is not posted was read not long ago; this costs no request."""
        return frozenset(each.id for each in businesses if self._read_at(each.id, UNPOSTED_READ) is not None)

    def record_reads(
        self,
        business_ids: Iterable[str],
        read_at: Mapping[str | None, Mapping[str, datetime]],
        unposted_wait: AbstractSet[str],
    ) -> None:
        """Put into the state that all lists of some businesses were read in this run.

        Args:
            business_ids: those of which no read failed.
            read_at: when complete reads began; responses of caches may be older than the run.
            unposted_wait: ids of those in which what is not posted was not read.
        """
        for business_id in business_ids:
            moments = read_at.get(business_id, {})
            if self.INDICATOR not in moments:
                continue
            read_before = f"{instant(min(self.now, *moments.values()))} {self._fingerprint}"
            self.state_of(business_id)[LISTS_READ] = read_before
            if business_id not in unposted_wait:
                self.state_of(business_id)[UNPOSTED_READ] = read_before

    @property
    def _fingerprint(self) -> str:
        return f"{crc32(' '.join(sorted(self.choice)).encode()):08x}"

    def _read_at(self, business_id: str, what: str) -> datetime | None:
        """Return when a part of a business was read, None where it is due again; `what`: the part's state key."""
        read_before = self.state_of(business_id).get(what, "")
        moment, _, fingerprint = read_before.partition(" ")
        if fingerprint != self._fingerprint:
            return None
        read_at = parse_moment(moment)
        return read_at if timedelta() <= self.now - read_at < self.rest else None

    def _is_idle(self, business: Business, since: datetime) -> bool:
        changed = {"updated_or_created_since": instant(since - self.lookback)}
        label = f"transactions of {business}, to see whether anything was posted"
        indicator = Endpoint(
            client=self.client, path=f"/{self.INDICATOR}", label=label, business_id=business.id, params=changed
        )
        try:
            page = indicator.page(1, 1, max_attempts=1)
        except AuthorizationError:
            raise
        except (SkippableAPIError, FatalAPIError, RetriableAPIError):
            return False  # its reads report the fault
        is_old = page.served_at < self.now - self.lookback  # a cache on the way keeps it
        return not (page.items or page.total or is_old)
