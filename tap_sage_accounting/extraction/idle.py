"""Businesses that rest: nothing was posted in them since their lists were read, and that is not long ago.

Whatever changes the books makes a transaction or changes one. So one request shows for a whole business whether
anything was posted since the moment up to which all its lists were read. That moment is in its state of `transactions`,
with a fingerprint of the streams that were selected then. Only a run in which no read of the business failed moves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from zlib import crc32

from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.exceptions import AuthorizationError
from tap_sage_accounting.run.state_parts import LISTS_READ
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
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
        streams: the names of the selected streams.
        rest: how long lists wait where nothing was posted.
        lookback: how late Sage may show a change.
        now: a moment that is not after the beginning of the run.
    """

    WITNESS: ClassVar[str] = "transactions"

    client: HttpClient
    state_of: Callable[[str], State]
    streams: Iterable[str]
    rest: timedelta
    lookback: timedelta
    now: datetime

    def find(self, businesses: Sequence[Business], executor: Executor) -> frozenset[str]:
        """Return the ids of those in which nothing was posted; each that may rest costs one request."""
        since = {business: moment for business in businesses if (moment := self._read_at(business.id)) is not None}
        idle = executor.map(self._is_idle, since, since.values())
        return frozenset(business.id for business, is_idle in zip(since, idle, strict=True) if is_idle)

    def note(self, business_ids: Iterable[str]) -> None:
        """Put into the state that all lists of these businesses were read in this run."""
        for business_id in business_ids:
            self.state_of(business_id)[LISTS_READ] = f"{instant(self.now)} {self._fingerprint}"

    @property
    def _fingerprint(self) -> str:
        return f"{crc32(' '.join(sorted(self.streams)).encode()):08x}"

    def _read_at(self, business_id: str) -> datetime | None:
        """Return when all its lists were read, None where that is due again."""
        noted = self.state_of(business_id).get(LISTS_READ, "")
        moment, _, fingerprint = noted.partition(" ")
        if fingerprint != self._fingerprint:
            return None
        read_at = parse_moment(moment)
        return read_at if timedelta() <= self.now - read_at < self.rest else None

    def _is_idle(self, business: Business, since: datetime) -> bool:
        changed = {"updated_or_created_since": instant(since - self.lookback)}
        label = f"transactions of {business}, to see whether anything was posted"
        witness = Endpoint(
            client=self.client, path=f"/{self.WITNESS}", label=label, business_id=business.id, params=changed
        )
        try:
            page = witness.page(1, 1, max_attempts=1)
        except AuthorizationError:
            raise
        except (SkippableAPIError, FatalAPIError, RetriableAPIError):
            return False  # its reads say what is wrong
        return not page.items and not page.total
