"""What a business and its user may read, by Sage's own word on the business."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from singer_sdk.exceptions import SkippableAPIError

from tap_sage_accounting.api.access import BusinessAccess
from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.api.pages import parse_json
from tap_sage_accounting.exceptions import MalformedResponseError

if TYPE_CHECKING:
    from tap_sage_accounting.api.http_client import HttpClient, Response
    from tap_sage_accounting.extraction.plan import ReadPlan


def request_access(client: HttpClient, business_id: str, label: str) -> BusinessAccess:
    """Request what a business's subscription and the user's role let one read."""

    def parse(response: Response, label: str) -> BusinessAccess:
        found = parse_json(response.body, label)
        if not isinstance(found, dict) or found.get("id") != business_id:
            raise MalformedResponseError(f"{label}: the answer is no record.")
        return BusinessAccess.parse(found)

    return Endpoint(client=client, path=f"/businesses/{quote(business_id, safe='')}", label=label).get(parse)


def missing_offer(plan: ReadPlan) -> str:
    """Return why a list may only seem empty, by what Sage says of the business and the user; "" for no reason."""
    if plan.business_id is None:
        return ""
    access = request_access(plan.endpoint.client, plan.business_id, f"edition and rights for {plan.label}")
    if reason := access.refusal(plan.stream):
        return reason
    return access.subscription if access.has_ended and not _has_accounts(plan.endpoint) else ""


def _has_accounts(endpoint: Endpoint) -> bool:
    """Return whether Sage shows a business's ledger accounts, which no business is without."""
    accounts = endpoint.sibling("/ledger_accounts", f"ledger accounts, to compare with {endpoint.label}")
    try:
        return bool(accounts.page(1, 1).items)
    except SkippableAPIError:
        return False
