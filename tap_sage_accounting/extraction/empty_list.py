"""Why a list may only seem empty, by Sage's own word on the business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.exceptions import SkippableAPIError

from tap_sage_accounting.api.access import request_access

if TYPE_CHECKING:
    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.extraction.plan import ReadPlan


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
