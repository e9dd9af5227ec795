"""The header `Retry-After`: seconds, or a date, until the next attempt."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from tap_sage_accounting.timestamps import in_utc, now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

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
    answered = parse_http_date(headers.get("Date", "")) or now()
    return min(max(0.0, (until - answered).total_seconds()), LONGEST_WAIT)


def parse_http_date(text: str) -> datetime | None:
    """Return the moment of an HTTP date, in UTC; None where it is no date, or one outside of the calendar."""
    try:
        return in_utc(parsedate_to_datetime(text))
    except (IndexError, OverflowError, TypeError, ValueError):
        return None
