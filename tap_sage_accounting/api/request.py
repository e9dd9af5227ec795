"""A request to Sage, and what its successful response holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.exceptions import FatalAPIError

from tap_sage_accounting.api.outages import Scope
from tap_sage_accounting.exceptions import MalformedResponseError, UnreadableResponseError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.records.lenient_json import NO_JSON, decode_leniently

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from datetime import datetime
    from typing import IO

    import requests

BUSINESS = "X-Business"
"""The header that names the business of a request, and that Sage sends back."""
_anything = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Request:
    """What is requested.

    Attributes:
        path: the path below the API's base, with a slash in front.
        params: query parameters.
        business_id: the business that it is about; None for what belongs to the user.
        label: the request in words, for logs and errors.
        accept: the media type that is wanted; None for JSON.
        file: takes the body of a successful answer, which may be too large for memory; None keeps it in memory.
    """

    path: str
    params: Mapping[str, Any]
    business_id: str | None
    label: str
    accept: str | None = None
    file: IO[bytes] | None = None

    @property
    def is_about_books(self) -> bool:
        """Whether the response names its business: all do but those of `/businesses` and `/user`."""
        return self.business_id is not None and not self.path.startswith("/businesses")

    @property
    def key(self) -> Hashable:
        """What two requests have in common that bring the same response."""
        sent = frozenset((name, value) for name, value in self.params.items() if value is not None)
        return self.path, self.business_id, sent

    @property
    def scope(self) -> Scope:
        """What fails when this request fails."""
        return Scope(self.path.split("/")[1], self.business_id)

    def headers(self) -> dict[str, str]:
        """Return the headers that name the media type and the business; none of it for what belongs to the user.

        Raises:
            FatalAPIError: the id would break the request.
        """
        if self.business_id is None:
            return {}
        if not (self.business_id.isascii() and self.business_id.isprintable()):
            raise FatalAPIError(
                f"{self.label}: the id of the business cannot be sent in a header. Nothing was requested."
            )
        accept = {} if self.accept is None else {"Accept": self.accept}
        return {BUSINESS: self.business_id, **accept}


@dataclass(frozen=True, slots=True)
class Response:
    """A successful response of Sage's.

    Attributes:
        body: as sent, decompressed; of a file, its beginning.
        served_at: a moment that is not after the one when it was served, by Sage's clock or this machine's.
        served_by: a moment that is not before it.
        label: what was requested, in words.
        headers: as sent.
    """

    body: bytes
    served_at: datetime
    served_by: datetime
    label: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Parse the body, as `parse_json`."""
        return parse_json(self.body, self.label)


def parse_json(body: bytes, label: str) -> Any:
    """Parse JSON, numbers with a fraction as exact decimals; texts that are damaged cost no more than themselves.

    Raises:
        MalformedResponseError: the body is a web page.
        UnreadableResponseError: the body is cut off or is no JSON at all.
    """
    try:
        return _anything.decode(body)
    except NO_JSON:
        if body.lstrip().startswith(b"<"):
            raise MalformedResponseError(
                f"{label}: the response is a web page, perhaps of a proxy on the way ({len(body)} bytes). Log in to "
                "this network, or check its proxy."
            ) from None
    try:
        return decode_leniently(body)
    except NO_JSON:
        raise UnreadableResponseError(f"{label}: the response is not complete JSON ({len(body)} bytes).") from None


def require_business(response: requests.Response, business_id: str | None, label: str) -> None:
    """Refuse a response about another business than the request's (requests.echo).

    Raises:
        FatalAPIError: it is.
    """
    answered_for = response.headers.get(BUSINESS)
    if business_id is not None and answered_for is not None and answered_for != business_id:
        raise FatalAPIError(
            f"{label}: Sage answered for another business ({printable(answered_for)}). Nothing of it was used."
        )
