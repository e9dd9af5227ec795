"""Compares what arrived with what the simulated Sage holds, attribute by attribute, at every level.

This knows Sage's form of values on its own; it shares nothing with the conversion that it checks.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = dict[str, Any]


def differences(sent: Record, arrived: Record) -> list[str]:
    """List every attribute of a record as Sage holds it that did not arrive with the same value."""
    return list(_object(sent, arrived, _set_aside(arrived), ""))


def _set_aside(arrived: Record) -> dict[str, Any]:
    text = arrived.get("additional_attributes")
    return json.loads(text, parse_float=Decimal) if text else {}


def _object(sent: Record, arrived: Record, aside: dict[str, Any], place: str) -> Iterator[str]:
    for key, value in sent.items():
        where = f"{place}.{key}" if place else key
        name = key.replace("$", "").lower()
        if where in aside:
            if aside[where] != value and not _same(value, arrived.get(name)):
                yield f"{where}: kept aside as {aside[where]!r}, sent {value!r}"
        elif name not in arrived and value is not None:
            yield f"{where}: missing, sent {value!r}"
        else:
            yield from _value(value, arrived.get(name), aside, where)


def _value(sent: Any, arrived: Any, aside: dict[str, Any], where: str) -> Iterator[str]:
    if where in aside:
        return
    if isinstance(sent, dict) and isinstance(arrived, list):
        sent = [sent]
    if isinstance(sent, dict) and isinstance(arrived, dict):
        yield from _object(sent, arrived, aside, where)
    elif isinstance(sent, list) and isinstance(arrived, list) and len(sent) == len(arrived):
        for index, (one, other) in enumerate(zip(sent, arrived, strict=True)):
            yield from _value(one, other, aside, f"{where}[{index}]")
    elif not _same(sent, arrived):
        yield f"{where}: arrived as {arrived!r}, sent {sent!r}"


def _same(sent: Any, arrived: Any) -> bool:  # noqa: PLR0911 - one line for each kind of value
    if arrived is None:
        return sent is None or sent == ""
    if isinstance(sent, bool) or isinstance(arrived, bool):
        return sent is arrived
    if isinstance(arrived, int | Decimal) or (isinstance(arrived, str) and isinstance(sent, int | Decimal)):
        try:
            return Decimal(str(sent)) == Decimal(arrived)
        except InvalidOperation:
            return False
    if isinstance(arrived, datetime):
        return _moment(sent) == (arrived if arrived.tzinfo else arrived.replace(tzinfo=UTC))
    if isinstance(arrived, date):
        return bool(sent == arrived.isoformat())
    if isinstance(arrived, str) and isinstance(sent, str):
        return sent == arrived or _moment(sent) == _moment(arrived) is not None
    return bool(sent == arrived)


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
