"""What a failed request says: its cause, without what was transported, and the header `Retry-After`."""

from __future__ import annotations

import re
import ssl
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from tap_sage_accounting.printable import printable
from tap_sage_accounting.timestamps import in_utc, now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

LONGEST_CAUSE = 160
"""Characters; a proxy's message can be long."""
LONGEST_WAIT = 366 * 86400.0
"""Seconds; a longer wait counts as this one, so that dates can be computed with it. No run waits that long."""
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def root_cause(error: BaseException) -> str:
    """Return the system's or TLS's message of the deepest cause: `Connection refused`; "" where there is none."""
    message = ""
    for each in causes(error):
        message = _message_of(each) or message
    return printable(message[:LONGEST_CAUSE])


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, down to the deepest one."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        yield following
        seen.add(id(following))
        inner = (getattr(following, "reason", None), *following.args, following.__cause__, following.__context__)
        following = next((each for each in inner if isinstance(each, BaseException)), None)


def _message_of(error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate not accepted: {error.verify_message}"
        case ssl.SSLError(reason=str() as reason):
            return reason.replace("_", " ").lower()
        case OSError(strerror=str() as message):
            return message
        case OSError(args=(str() as message,)):
            return message
        case _:
            return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait by `Retry-After`; None where that header is absent or makes no sense.

    Sage was seen to send it and not (limits.retry_after). A date counts from the response's own `Date`, where there is
    one: no two clocks agree.
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
