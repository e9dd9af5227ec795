"""Single values: from what Sage sends to what the schema says of a column."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.records.lenient_json import DamagedText
from tap_sage_accounting.timestamps import in_utc

if TYPE_CHECKING:
    from collections.abc import Callable

    Converter = Callable[[Any, "Unmapped"], Any]

Unmapped = list[tuple[str, Any]]
"""What could not be placed: (place, value as sent)."""
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?|[+-]?\.[0-9]+")
_SECONDS = re.compile(r"\.[0-9]{7,}")
_BOOLEANS = {"true": True, "false": False, "": None}
_NO_DATE = frozenset(("0000-00-00", "0000-00-00T00:00:00Z"))
_USUAL_LENGTH = len("2026-06-30T18:00:00Z")
_INT64 = range(-(2**63), 2**63)
_LARGEST_EXPONENT = 308
"""Of ten: a number beyond fits no column of any warehouse, and stops the load of all others."""


class TypeMismatchError(ValueError):
    """A value does not fit its place; `instead` is what goes there, the value itself is kept aside."""

    def __init__(self, instead: object = None) -> None:
        super().__init__("the value does not fit its place")
        self.instead = instead


def _decimal(text: str) -> Decimal | int | None:
    text = text.strip()
    if not text:
        return None
    if (found := _NUMBER.fullmatch(text)) is None:
        raise TypeMismatchError
    return _bounded(Decimal(text)) if found[2] or len(text) > _LARGEST_EXPONENT else Decimal(text)


def _bounded(number: Decimal | int) -> Decimal | int:
    """Refuse a number that is too large, or too small, for any column."""
    if not -_LARGEST_EXPONENT <= Decimal(number).adjusted() <= _LARGEST_EXPONENT:
        raise TypeMismatchError
    return number


def number_of(value: Any, _: Unmapped) -> Decimal | int | None:
    """Sage writes decimals as strings in plain notation; real JSON numbers occur too (records.decimals)."""
    if isinstance(value, str):
        return _decimal(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return _bounded(value)
    raise TypeMismatchError


def _decimal_text(value: Any, _: Unmapped) -> str | None:
    """A decimal in plain notation, for targets that would make a binary fraction of a JSON number."""
    number = number_of(value, _)
    return None if number is None else format(Decimal(number), "f")


def _integer(value: Any, _: Unmapped) -> int | None:
    number = number_of(value, _)
    if number is None:
        return None
    if number != int(number) or int(number) not in _INT64:
        raise TypeMismatchError
    return int(number)


def _boolean(value: Any, _: Unmapped) -> bool | None:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in _BOOLEANS:
        raise TypeMismatchError
    return _BOOLEANS[value]


def string_of(value: Any, _: Unmapped) -> str:
    """Return a text; numbers and booleans as JSON has them."""
    if isinstance(value, str):
        if "\0" in value or isinstance(value, DamagedText):  # no SQL database stores a NUL
            raise TypeMismatchError(str(value).replace("\0", ""))
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    raise TypeMismatchError


def _string_or_nothing(value: Any, unmapped: Unmapped) -> str | None:
    return string_of(value, unmapped) or None


def _moment(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise TypeMismatchError from None


def _date(value: Any, _: Unmapped) -> str | None:
    """A calendar date (records.dates); where Sage adds a time that says something, the whole is kept aside."""
    if not isinstance(value, str):
        raise TypeMismatchError
    if not value or value in _NO_DATE:
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        moment = _moment(value)
    if moment.time() != datetime.min.time():
        raise TypeMismatchError(moment.date().isoformat())
    return moment.date().isoformat()


def _date_time(value: Any, _: Unmapped) -> str | None:
    """A moment in UTC, `2026-06-30T18:00:00Z`; without a zone it is taken for UTC."""
    if not isinstance(value, str):
        raise TypeMismatchError
    if not value or value in _NO_DATE:
        return None
    moment = _moment(value)
    if len(value) == _USUAL_LENGTH and value[10] == "T" and value[19] == "Z":
        return value
    try:
        text = in_utc(moment).isoformat().replace("+00:00", "Z")
    except ValueError:
        raise TypeMismatchError from None
    if _SECONDS.search(value):
        raise TypeMismatchError(text)
    return text


_BY_TYPE: dict[str, Converter] = {"number": number_of, "integer": _integer, "boolean": _boolean, "string": string_of}
NATIVE: dict[Converter, type] = {_boolean: bool, string_of: str, _date: date}
"""Conversions that leave a value of this type alone: a boolean, a string, and a date in its usual notation."""
_BY_FORMAT: dict[str | None, Converter] = {"date": _date, "date-time": _date_time}


def leaf_converter(schema: dict[str, Any]) -> Converter:
    """Choose the conversion of a value that is neither an object nor an array."""
    if schema.get("x-decimal"):
        return _decimal_text
    if schema.get("x-empty-is-null"):
        return _string_or_nothing
    if converter := _BY_FORMAT.get(schema.get("format")):
        return converter
    return next(converter for kind, converter in _BY_TYPE.items() if kind in schema["type"])
