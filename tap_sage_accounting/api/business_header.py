"""The header that names the business of a request, and that Sage sends back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.exceptions import FatalAPIError

from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    from requests import Response

BUSINESS = "X-Business"


def business_header(business_id: str | None, label: str) -> dict[str, str]:
    """Return the header for a business; none for what belongs to the user.

    Raises:
        FatalAPIError: the id would break the request.
    """
    if business_id is None:
        return {}
    if not (business_id.isascii() and business_id.isprintable()):
        raise FatalAPIError(f"{label}: the id of the business cannot be sent in a header. Nothing was asked.")
    return {BUSINESS: business_id}


def require_business(response: Response, business_id: str | None, label: str) -> None:
    """Refuse a response about another business than was asked for.

    Raises:
        FatalAPIError: it is.
    """
    answered_for = response.headers.get(BUSINESS)
    if business_id is not None and answered_for is not None and answered_for != business_id:
        raise FatalAPIError(
            f"{label}: Sage answered for another business ({printable(answered_for)}). Nothing of it was used."
        )
