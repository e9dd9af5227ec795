"""The shape of rows: names, types, formats and lengths as classes. No value of a row, and no part of one, is in it.

A name is shown where any schema has it. Others are shown if several rows have them, and Sage's own names consist of the
same words. Any other word may be a value that somebody used as a key.
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from tap_sage_accounting import schemas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Shape = dict[str, Any]
DEEPEST = 4
"""Levels of nested objects that are described."""
MOST_WORDS = 6
"""Words of a name that is shown though no schema has it: more words may be a sentence."""
LEAST_ROWS = 2
"""Rows that must have such a name: what one row has may be a value."""
FORMATS = {
    "empty": r"",
    "date": r"\d{4}-\d\d-\d\d",
    "moment": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "moment of another form": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*",
    "local date": r"\d\d/\d\d/\d{4}",
    "whole number": r"-?\d+",
    "decimal": r"-?\d+\.\d+",
    "id": r"[0-9a-f]{32}",
    "GUID": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "path": r"/\S*",
    "address": r"https?://(?s:.*)",
    "code": r"[A-Z][A-Z0-9_-]*",
    "text": r"(?s:.*)",
}
"""Formats of texts; the first that fits counts."""
_NAMES = tuple(FORMATS)
_ANY = re.compile("|".join(f"({pattern})" for pattern in FORMATS.values()))
TYPES = {bool: "boolean", int: "integer", Decimal: "number", str: "string", list: "array"}
LENGTHS = (9, 31, 99, 999)
"""Characters at which a class of lengths ends: classes are wide, so that no exact length shows."""


def shape_of(rows: Sequence[Mapping[str, Any]], known: Mapping[str, Any], depth: int = DEEPEST) -> Shape:
    """Describe the attributes of some rows.

    Args:
        rows: objects as sent.
        known: the properties that the schema has for them.
        depth: levels of nested objects that are described.

    Returns:
        Descriptions by name, and under `""` how many names are not shown, where there are any.
    """
    counts = Counter(name for row in rows for name in row)
    described: Shape = {}
    hidden = 0
    for name, count in counts.items():
        own = name.replace("$", "")
        if own in known or own in _vocabulary() or (count >= LEAST_ROWS and _is_plausible(name)):
            values = [row[name] for row in rows if name in row]
            described[own] = _describe(values, known.get(own, {}), depth, is_known=own in known)
            if count < len(rows):
                described[own]["absent"] = True
        else:
            hidden += 1
    shape = dict(sorted(described.items()))
    return {**shape, "": hidden} if hidden else shape


@cache
def properties_of(stream: str) -> Mapping[str, Any]:
    """Return the properties that the schema of a stream has; for reading only."""
    properties: Mapping[str, Any] = schemas.load(stream, ())["properties"]
    return properties


@cache
def _vocabulary() -> frozenset[str]:
    """Collect the names of all attributes that any schema has at its top."""
    return frozenset(name for stream in schemas.names() for name in properties_of(stream))


def _is_plausible(name: str) -> bool:
    """Return whether a name consists of words of Sage's own names."""
    words = name.split("_")
    return len(words) <= MOST_WORDS and _words().issuperset(words)


@cache
def _words() -> frozenset[str]:
    """Collect the words in the names of all attributes, of nested objects too."""
    return frozenset(word for stream in schemas.names() for word in _words_of(schemas.load(stream, ())))


def _words_of(schema: Mapping[str, Any]) -> Iterator[str]:
    for name, each in schema.get("properties", {}).items():
        yield from filter(None, name.split("_"))
        yield from _words_of(each)
    if "items" in schema:
        yield from _words_of(schema["items"])


def _describe(values: Sequence[object], schema: Mapping[str, Any], depth: int, *, is_known: bool) -> Shape:
    texts = [value for value in values if isinstance(value, str)]
    objects = [value for value in values if isinstance(value, dict)]
    items = [item for value in values if isinstance(value, list) for item in value]
    shape: Shape = {"types": sorted({_type(value) for value in values})}
    if not is_known:
        shape["new"] = True
    if texts:
        shape["formats"] = sorted({_format(text) for text in {*texts}})
        shape["lengths"] = sorted({_length(text) for text in texts})
    if depth and objects:
        shape["attributes"] = shape_of(objects, schema.get("properties", {}), depth - 1)
    if depth and items:
        shape["items"] = _describe(items, schema.get("items", {}), depth - 1, is_known=is_known)
    return shape


def _type(value: object) -> str:
    return "null" if value is None else TYPES.get(type(value), "object")


def _format(text: str) -> str:
    found = _ANY.fullmatch(text)
    return _NAMES[(found.lastindex or 0) - 1] if found else "text"


def _length(text: str) -> str:
    """Return the class of a length: `10 to 31`."""
    least = 0
    for most in LENGTHS:
        if len(text) <= most:
            return f"{least} to {most}"
        least = most + 1
    return f"{least} or more"


def new_names(shape: Shape, prefix: str = "") -> Iterable[str]:
    """Yield the places of the attributes that the schemas do not know."""
    for name, each in shape.items():
        if name:
            nested = each.get("attributes") or each.get("items", {}).get("attributes") or {}
            if each.get("new"):
                yield f"{prefix}{name}"
            else:
                yield from new_names(nested, f"{prefix}{name}.")


def hidden_names(shape: Shape) -> int:
    """Count the attributes that are not shown, at any depth."""
    hidden: int = shape.get("", 0)
    for name, each in shape.items():
        if name:
            hidden += hidden_names(each.get("attributes") or each.get("items", {}).get("attributes") or {})
    return hidden
