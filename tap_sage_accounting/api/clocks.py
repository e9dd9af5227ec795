"""When Sage served a response: by two clocks, Sage's and this machine's, of which either may be wrong.

(requests.clock)

A bookmark that is too early costs a few rows that are read again. One that is too late loses rows. So a read takes the
earlier clock for the moment from which changes are to come. It takes the later one for the moment until which they
came.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.transport.faults import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE = timedelta(minutes=1)
"""Difference of the clocks that is not worth a warning."""
FAR_APART = timedelta(days=1)
"""Difference beyond which only this machine's clock can be wrong: Sage dates the records by its own."""
EARLIEST_DATE = datetime(2020, 1, 1, tzinfo=UTC)
"""An earlier `Date` is a server's that has not been set: it counts as missing."""

logger = logging.getLogger("tap-sage-accounting.clocks")


class Clocks:
    """Compares the clocks of responses with this machine's; safe to use from any thread.

    Args:
        on_difference: called for each response whose clock says nothing that makes sense, or another time.
    """

    def __init__(self, on_difference: Callable[[], None] = lambda: None) -> None:
        self._on_difference = on_difference
        self._lock = threading.Lock()
        self._has_warned = False

    def served(self, date: str | None, sent_at: datetime, received_at: datetime) -> tuple[datetime, datetime]:
        """Bound the moment at which a response was served.

        Args:
            date: its `Date` header, None where it has none.
            sent_at: when the request was sent, by this machine's clock.
            received_at: when the response was there, by this machine's clock.

        Returns:
            A moment that is not after it, and one that is not before it, as far as either clock shows.
        """
        moment = parse_http_date(date or "")
        if moment is None or moment < EARLIEST_DATE:
            self._on_difference()
            return sent_at, received_at
        ahead, behind = moment - received_at, sent_at - moment
        if max(ahead, behind) > TOLERANCE:
            self._on_difference()
            self._warn(moment, received_at)
        return min(moment, sent_at), moment if behind > FAR_APART else max(moment, received_at)

    def _warn(self, moment: datetime, own: datetime) -> None:
        with self._lock:
            if self._has_warned:
                return
            self._has_warned = True
        logger.warning(
            "Sage's clock says %s UTC, this machine's %s UTC. The earlier one counts, so that nothing is missed; "
            "correct this machine's clock if it is wrong.",
            f"{moment:%Y-%m-%d %H:%M:%S}",
            f"{own:%Y-%m-%d %H:%M:%S}",
        )
