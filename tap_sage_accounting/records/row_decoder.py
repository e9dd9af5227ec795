"""The rows of a page, decoded in one call by their schema, without Python loops; and the keys of rows.

This is the quick way to the same records that `RecordConverter` makes. `RecordConverter` reads rows that hold anything
unexpected, and loses nothing. Where a page has only such rows, it reads the pages after it, too. This happens after a
change of Sage's.
"""

from __future__ import annotations

import keyword
import operator
import re
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Union, cast

import msgspec
from singer_sdk.contrib.msgspec import encoder

from tap_sage_accounting.records.lenient_json import NO_JSON
from tap_sage_accounting.records.values import NATIVE, TypeMismatchError, leaf_converter, number_of

if TYPE_CHECKING:
    from collections.abc import Callable

Schema = dict[str, Any]
Item = Union[dict[str, Any], "Row"]
"""A row as sent, or as decoded by its schema."""

_PATH_AS_SENT = b'"$path":'
_PATH = b'"path":'
_NUL = b"\\u0000"
_is_plain = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,6}").fullmatch
_decimals_stay = (Decimal,)
_parts = msgspec.json.Decoder(list[msgspec.Raw])
MANY = 20
"""Rows of a page, all of them unexpected, from which on the schema counts as outdated."""
_Id = Annotated[str, msgspec.Meta(min_length=1)]
_id_of = operator.attrgetter("id")


class Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A record as decoded by its schema, with values as declared."""

    if TYPE_CHECKING:
        id: str
        path: str
        business_id: str | msgspec.UnsetType

    def get(self, name: str) -> Any:
        """Give a value, None where Sage did not send it."""
        value = getattr(self, name, None)
        return None if value is msgspec.UNSET else value

    def to_record(self) -> dict[str, Any]:
        """Give the record, without what Sage did not send."""
        record: dict[str, Any] = msgspec.to_builtins(self, builtin_types=_decimals_stay)
        return record

    def to_json(self) -> msgspec.Raw:
        """Give the record as JSON; only for rows of a decoder whose rows are `for_json`."""
        return msgspec.Raw(encoder.encode(self).replace(_PATH_AS_SENT, _PATH))


def identity(item: Item) -> str:
    """Return the id of a row, else its path (exchange rates have no id), else ""."""
    if isinstance(item, Row):
        return item.id
    own, path = item.get("id"), item.get("$path")
    if isinstance(own, str | int) and (name := str(own)).strip():
        return name
    return path if isinstance(path, str) else ""


def key_of(item: Item) -> str:
    """Return what a row is requested by: its id, or the end of its path."""
    return identity(item).rpartition("/")[2]


class _AnyValue(type):
    """The kind of a type that is called with a value as sent and gives the value as declared.

    Whatever it gives counts as its instance: the converter has checked it.
    """

    __instancecheck__ = id  # type: ignore[assignment] # the cheapest call that is always true


class RowDecoder:
    """Decodes rows of one stream.

    Args:
        properties: what the schema says of the attributes that Sage sends.
        for_json: the rows will be turned into JSON, and into nothing else.
    """

    def __init__(self, properties: dict[str, Schema], *, for_json: bool = False) -> None:
        self._for_json = for_json
        self._is_outdated = False
        self._structs: dict[str, type[msgspec.Struct]] = {}
        rows: Any = list[self._struct(properties, Row)]  # type: ignore[misc]
        self._decoder: msgspec.json.Decoder[list[Row]] = msgspec.json.Decoder(
            rows, dec_hook=operator.call, float_hook=Decimal
        )

    def decode(self, raw: bytes, careful: Callable[[bytes], Item]) -> list[Row] | list[Item] | None:
        """Decode a list of rows; None where all of it must be read the careful way.

        Args:
            raw: a JSON list.
            careful: reads a row that holds something unexpected, as sent.
        """
        if self._is_outdated:
            return None
        if (rows := self._quickly(raw)) is not None:
            return rows
        try:
            parts = _parts.decode(raw)
        except NO_JSON:
            return None
        items: list[Item] = []
        for part in parts:
            quick = self._quickly(b"[%b]" % bytes(part))
            items += [careful(bytes(part))] if quick is None else quick
        self._is_outdated = len(items) >= MANY and not any(isinstance(item, Row) for item in items)
        return items

    def _quickly(self, raw: bytes) -> list[Row] | None:
        if raw.rfind(_NUL) >= 0:  # backwards: Python is slow to look for zeros forwards
            return None  # what no SQL database stores
        if not self._for_json:
            if _PATH in raw:
                return None  # the name that `$path` takes
            raw = raw.replace(_PATH_AS_SENT, _PATH)
        try:
            rows = self._decoder.decode(raw)
        except NO_JSON:
            return None
        return None if any(map(str.isspace, map(_id_of, rows))) else rows

    def _struct(self, properties: dict[str, Schema], base: type[msgspec.Struct]) -> type[msgspec.Struct]:
        fields: list[Any] = [
            (_field_name(name), self._type(part) | None | msgspec.UnsetType, msgspec.UNSET)
            for name, part in properties.items()
        ]
        names = {_field_name(name): name for name in properties}
        if self._for_json and "path" in names:
            names["path"] = "$path"
        if base is Row:
            fields.append(("business_id", _leaf(_refuse) | msgspec.UnsetType, msgspec.UNSET))
            fields = [("id", _Id) if name == "id" else (name, *rest) for name, *rest in fields]
        return msgspec.defstruct("Part", fields, bases=(base,), rename=names, kw_only=True)

    def _type(self, schema: Schema) -> Any:
        if "items" in schema:
            return list[self._type(schema["items"]) | None]  # type: ignore[misc]
        if "properties" not in schema:
            return _leaf(leaf_converter(schema), for_json=self._for_json)
        shape = repr(schema)  # references to other objects are everywhere
        if shape not in self._structs:
            self._structs[shape] = self._struct(schema["properties"], _Part)
        return self._structs[shape]


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An object inside a record."""


def _refuse(value: Any, _: list[Any]) -> Any:
    """The conversion of what Sage has no business to send."""
    raise TypeMismatchError(value)


def _field_name(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _as_json(value: Any) -> Any:
    """Convert a number that becomes JSON and nothing else: what Sage writes is JSON already, between quotes."""
    return msgspec.Raw(value) if type(value) is str and _is_plain(value) else number_of(value, [])


@lru_cache
def _leaf(converter: Callable[[Any, list[Any]], Any], *, for_json: bool = False) -> type:
    """Find or make the type of a value that is no composition."""
    if converter in NATIVE:
        return NATIVE[converter]
    convert = _as_json if for_json and converter is number_of else lambda value: converter(value, [])
    of_text = lru_cache(2048)(convert)  # amounts, rates and days come again

    def call(value: Any) -> Any:
        return of_text(value) if type(value) is str else convert(value)  # 1.5 is 1.50, and is not written like it

    kind = type("Kind", (_AnyValue,), {"__call__": staticmethod(call)})
    return cast("type", kind("Value", (), {}))
