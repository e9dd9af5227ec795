"""Which parts of a record are shown, and in which form: the switches that shape single records."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sage_sandbox.behaviour import Behaviour
    from sage_sandbox.store import Body

REFERENCE = frozenset({"id", "displayed_as", "$path"})
"""The attributes that point to a record."""
_DECIMAL = re.compile(r"-?\d+\.\d+")
_LOCAL_DAY = re.compile(r"(\d\d)/(\d\d)/(\d{4})")
_RATES = ("exchange_rate", "inverse_exchange_rate")
_MONTH_FIRST = frozenset({"CA", "US"})


def project(body: Body, attributes: frozenset[str] | None, hidden: frozenset[str]) -> Body:
    """Return the requested attributes of a record; None requests all."""
    if attributes is None:
        return {name: value for name, value in body.items() if name not in hidden}
    return {name: value for name, value in body.items() if name in attributes and name not in hidden}


def strip_lines(body: Body) -> None:
    """Take the analysis types from the lines of a record."""
    for name, value in body.items():
        if isinstance(value, list) and value and isinstance(value[0], dict) and "analysis_type_categories" in value[0]:
            body[name] = [{k: v for k, v in line.items() if k != "analysis_type_categories"} for line in value]


def stump(body: Body, tombstones: str) -> Body:
    """Cut a tombstone down to what points to the record."""
    kept = REFERENCE | {"deleted_at"} if tombstones == "dated_id" else REFERENCE
    flag = {"deleted": True} if tombstones == "flagged_id" else {}
    return {name: value for name, value in body.items() if name in kept} | flag


def shape(body: Body, behaviour: Behaviour, *, country: str, is_entry: bool, single: bool) -> Body:
    """Give a record the form that the switches say."""
    if not (behaviour.lists_in_full or single):
        body = {name: value for name, value in body.items() if not name.endswith("_lines")}
    if behaviour.exchange_rates == "inverse" and body.keys() >= set(_RATES):
        body = {**body, _RATES[0]: body[_RATES[1]], _RATES[1]: body[_RATES[0]]}
    if behaviour.last_paid == "iso" and (day := _LOCAL_DAY.fullmatch(str(body.get("last_paid")))):
        first, second, year = day.groups()
        month, day_of_it = (first, second) if country in _MONTH_FIRST else (second, first)
        body = {**body, "last_paid": f"{year}-{month}-{day_of_it}"}
    if is_entry and str(body.get("date", "")) < behaviour.undated_before:
        body = {**body, **{name: None for name in ("created_at", "updated_at") if name in body}}
    return as_numbers(body) if behaviour.decimals == "numbers" else body


def as_numbers(value: Any) -> Any:
    """Make JSON numbers of all texts in a value that are decimals."""
    if isinstance(value, dict):
        return {name: as_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_numbers(each) for each in value]
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value
