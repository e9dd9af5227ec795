"""What Sage's lists show of a record."""

from __future__ import annotations

from typing import Any

NEVER_LISTED = {"balance_details", "detailed_tax_analysis"}
"""Attributes that Sage's lists do not show: the first needs a period, for the second no way is known."""

WITHOUT_ANALYSIS = {"sales_estimates": "estimate_lines", "sales_quotes": "quote_lines"}
"""Documents for which Sage has no way to request the analysis types of their lines."""


def key_of(row: dict[str, Any]) -> str:
    """Return what identifies a row within its list and business."""
    return str(row.get("id") or row.get("path", row.get("$path", "")).rpartition("/")[2])


def listable(stream: str, body: dict[str, Any]) -> dict[str, Any]:
    """Leave out what no list of Sage shows."""
    listed = {key: value for key, value in body.items() if key not in NEVER_LISTED}
    if lines := WITHOUT_ANALYSIS.get(stream):
        listed[lines] = [{k: v for k, v in line.items() if k != "analysis_type_categories"} for line in listed[lines]]
    return listed
