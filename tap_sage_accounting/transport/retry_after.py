"""How long a server asks to wait: the header `Retry-After`, seconds or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_WAIT = 366 * 86400.0
"""Seconds; a longer wait counts as this one, so that dates can be computed with it. No run waits that long."""
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait; None where the header is absent or makes no sense.

    A date counts from the response's own `Date`, where there is one: no two clocks agree.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_WAIT)
    until = parse_http_date(text)
    if until is None:
        return None
    answered = parse_http_date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max(0.0, (until - answered).total_seconds()), LONGEST_WAIT)


def parse_http_date(text: str) -> datetime | None:
    """Return the moment that an HTTP date names, in UTC; None where it is no date, or one outside of the calendar."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (IndexError, OverflowError, TypeError, ValueError):
        return None
