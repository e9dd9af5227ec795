"""What came for one request of a look: a response, a refusal of Sage's, or nothing to conclude from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from singer_sdk.exceptions import FatalAPIError, SkippableAPIError

from tap_sage_accounting import timestamps
from tap_sage_accounting.api.request import parse_json, require_business
from tap_sage_accounting.exceptions import MalformedResponseError, TokenRejectedError, error_of
from tap_sage_accounting.transport.faults import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from tap_sage_accounting.api.exchange import Exchange
    from tap_sage_accounting.api.request import Request

Row = dict[str, Any]
OK, TOO_MANY = 200, 429
LONGEST_NUMBER = 15
"""Digits of a number in an envelope: a longer one is a mistake."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came for one request.

    Attributes:
        status: 0 where nothing came.
        headers: by their names in lower case.
        body: parsed; None where it is no JSON.
        error: why it is not what was requested, in words; None where it is.
        size: bytes of the body, decompressed.
        seconds: from the request to the last byte.
        skew: Sage's clock less this machine's; None without a `Date` that makes sense.
        is_late: whether nothing, or not all of it, came in time.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    error: Exception | None = None
    size: int = 0
    seconds: float = 0.0
    skew: timedelta | None = None
    is_late: bool = False

    @classmethod
    def of(cls, exchange: Exchange, request: Request, seconds: float) -> Self:
        """Parse a response; one about another business than requested counts as none."""
        received = exchange.response
        error, body = error_of(received, exchange.body, request.label), None
        try:
            body = parse_json(exchange.body, request.label)
            require_business(received, request.business_id, request.label)
        except (MalformedResponseError, FatalAPIError) as other:
            error = error or other
        headers = {name.lower(): value for name, value in received.headers.items()}
        date = parse_http_date(headers.get("date", ""))
        return cls(
            status=received.status_code,
            headers=headers,
            body=body,
            error=error,
            size=len(exchange.body),
            seconds=seconds,
            skew=None if date is None else min(date - exchange.sent_at, date - timestamps.now(), key=abs),
        )

    @property
    def ok(self) -> bool:
        """Whether Sage delivered what was requested."""
        return self.status == OK and self.error is None

    @property
    def is_refusal(self) -> bool:
        """Whether Sage itself says that rights, edition or country do not offer this."""
        return isinstance(self.error, SkippableAPIError)

    @property
    def is_missing(self) -> bool:
        """Whether Sage neither delivered nor refused what was requested."""
        says_no = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR and self.status != TOO_MANY
        return not (self.ok or says_no)

    @property
    def refuses_token(self) -> bool:
        """Whether the access token was refused."""
        return isinstance(self.error, TokenRejectedError)

    @property
    def failure(self) -> str:
        """Why it is no usable response, in this program's own words."""
        if self.status == 0:
            return "not in time" if self.is_late else "no response"
        return "another response" if self.status == OK else str(self.status)

    def but(self, error: Exception) -> Response:
        """Return a copy that counts as no response, with the error that says why."""
        return replace(self, error=error)

    @property
    def fields(self) -> Row:
        """The body where it is an object; an empty one for anything else."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def rows(self) -> list[Row]:
        """The rows of a page."""
        items = self.fields.get("$items")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    @property
    def total(self) -> int | None:
        """How many rows the list has, by the page; None where Sage does not count them."""
        return whole(self.fields.get("$total"))

    @property
    def at_least(self) -> int:
        """How many rows the list has, or has at least where Sage does not count them."""
        return len(self.rows) + bool(self.fields.get("$next")) if self.total is None else self.total

    @property
    def is_whole(self) -> bool:
        """Whether the page shows all rows of the list."""
        return self.at_least == len(self.rows)

    @property
    def ids(self) -> list[str]:
        """The ids of a page's rows."""
        return [str(row["id"]) for row in self.rows if isinstance(row.get("id"), str)]


def whole(value: object) -> int | None:
    """Return a number of an envelope; None for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= LONGEST_NUMBER:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
