"""From what Sage sends to what the schema says, in one pass, without losing anything.

A converter is compiled once from a stream's schema. Whatever has no place in the schema, or does not fit its place,
stays as Sage sent it. The column `additional_attributes` has it as JSON text, by its place
(`invoice_lines[2].colour`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from tap_sage_accounting.declaration import ADDITIONAL
from tap_sage_accounting.exceptions import KeylessRecordError
from tap_sage_accounting.records.lenient_json import DamagedText, is_damaged
from tap_sage_accounting.records.reference_ids import add_reference_ids
from tap_sage_accounting.records.row_decoder import Row
from tap_sage_accounting.records.values import TypeMismatchError, leaf_converter, string_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_sage_accounting.records.row_decoder import Item
    from tap_sage_accounting.records.values import Converter, Unmapped

Record = dict[str, Any]

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""In JSON text, an escaped NUL; it is valid JSON that PostgreSQL does not take for it."""


def api_name(name: str) -> str:
    """Turn Sage's name of an attribute into ours: `$path` -> `path`, `box_T1` -> `box_t1`."""
    return name.lstrip("$").lower()


def prefix_places(unmapped: Unmapped, before: int, place: str) -> None:
    """Put the place of something composed before the places of what it left over."""
    for index in range(before, len(unmapped)):
        inner, left = unmapped[index]
        unmapped[index] = (f"{place}{'' if inner[0] == '[' else '.'}{inner}", left)


def _inside(converter: Converter, place: str) -> Converter:
    """Let a converter of something composed report the full place of what it leaves over."""

    def convert(value: Any, unmapped: Unmapped) -> Any:
        before = len(unmapped)
        converted = converter(value, unmapped)
        if len(unmapped) > before:
            prefix_places(unmapped, before, place)
        return converted

    return convert


class _Places(dict[str, tuple[str, "Converter | None", bool]]):
    """Where the attributes of an object go, by Sage's name: our name, the conversion, and whether it is plain text."""

    def __init__(self, parts: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self._converters = {name: compile_converter(part) for name, part in parts.items()}
        self._composed = {name for name, part in parts.items() if "properties" in part or "items" in part}

    def __missing__(self, key: str) -> tuple[str, Converter | None, bool]:
        name = api_name(key)
        converter = self._converters.get(name)
        if any(other == name for other, _, _ in self.values()):
            converter = None  # two attributes of one name: the first has the place
        elif converter is not None and name in self._composed:
            converter = _inside(converter, key)
        self[key] = place = (name, converter, converter is string_of)
        return place


def _compile_object(schema: dict[str, Any]) -> Converter:
    places = _Places(schema["properties"])

    def convert(value: Any, unmapped: Unmapped) -> Record | None:
        if not isinstance(value, dict):
            if value == "":
                return None
            raise TypeMismatchError
        record: Record = {}
        for key, part in value.items():
            name, converter, is_text = places[key]
            if converter is None:
                unmapped.append((key, part))
            elif part is None or (is_text and type(part) is str and "\0" not in part):
                record[name] = part
            else:
                try:
                    record[name] = converter(part, unmapped)
                except TypeMismatchError as mismatch:
                    record[name] = mismatch.instead
                    unmapped.append((key, part))
        return record

    return convert


def _compile_array(schema: dict[str, Any]) -> Callable[[Any, Unmapped], list[Any] | None]:
    converter = compile_converter(schema["items"])
    of_objects = "properties" in schema["items"]

    def convert(value: Any, unmapped: Unmapped) -> list[Any] | None:
        if isinstance(value, dict) and of_objects:
            value = [value]  # Sage describes some lists as a single object
        if not isinstance(value, list):
            if value == "":
                return None
            raise TypeMismatchError
        items: list[Any] = []
        for position, part in enumerate(value):
            before = len(unmapped)
            try:
                items.append(None if part is None else converter(part, unmapped))
            except TypeMismatchError as mismatch:
                items.append(mismatch.instead)
                unmapped.append((f"[{position}]", part))
            else:
                prefix_places(unmapped, before, f"[{position}]")
        return items

    return convert


def compile_converter(schema: dict[str, Any]) -> Converter:
    """Compile a schema part to a function from (value as sent, not null; unmapped) to the value as declared.

    The function raises `TypeMismatchError` where the value does not fit, and appends to `unmapped` what fits nowhere
    inside it.
    """
    declared = schema["type"]
    kind = declared if isinstance(declared, str) else next(name for name in declared if name != "null")
    if kind == "object":
        return _compile_object(schema)
    if kind == "array":
        return _compile_array(schema)
    return leaf_converter(schema)


def with_text_decimals(schema: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    """Copy a schema, or a part of one, with `text` in the place of its number types; descriptions stay."""
    if schema.get("type") == ["number", "null"]:
        return {**schema, **text, "x-decimal": True}
    copy = dict(schema)
    if "properties" in schema:
        copy["properties"] = {name: with_text_decimals(part, text) for name, part in schema["properties"].items()}
    if "items" in schema:
        copy["items"] = with_text_decimals(schema["items"], text)
    return copy


@dataclass(slots=True)
class SchemaDrift:
    """What Sage sent in one stream that the schema does not know, counted by place, positions in lists left out.

    (records.attributes)
    """

    unknown: Counter[str] = field(default_factory=Counter)
    mismatches: Counter[str] = field(default_factory=Counter)


class RecordConverter:
    """Turns one stream's records from Sage's form into the declared one.

    Args:
        schema: the stream's resolved JSON schema.
        added: properties that the stream itself fills in, not Sage.

    Attributes:
        drift: what did not fit.
        damaged: the places of damaged texts in the record cleaned last; to be emptied by the caller.
    """

    def __init__(self, schema: dict[str, Any], added: frozenset[str]) -> None:
        properties = {name: part for name, part in schema["properties"].items() if name not in added}
        self._known = _places(properties, "")
        self._convert = _compile_object({"properties": properties})
        self._json = msgspec.json.Encoder(decimal_format="number", order="sorted", enc_hook=self._original)
        self.drift = SchemaDrift()
        self.damaged: list[str] = []

    def clean(self, raw: Record) -> Record:
        """Convert one record; what does not fit goes to `additional_attributes` as JSON text."""
        unmapped: Unmapped = []
        record: Record = self._convert(raw, unmapped)
        if unmapped:
            record[ADDITIONAL] = _NUL.sub(r"\1\\\\u0000", self._json.encode(dict(unmapped)).decode())
            if self.damaged:
                self.damaged = [place for place, left in unmapped if is_damaged(left)]
            for place, left in unmapped:
                if not isinstance(left, DamagedText):
                    self._count(re.sub(r"\[\d+\]", "[]", place))
        return record

    def _original(self, left: Any) -> str:
        """Give a damaged text as it was sent."""
        if not isinstance(left, DamagedText):
            raise TypeError(type(left).__name__)
        self.damaged.append(left.original)
        return left.original

    def _count(self, place: str) -> None:
        known = ".".join(api_name(part) for part in place.split(".")) in self._known
        (self.drift.mismatches if known else self.drift.unknown)[place] += 1


def _places(properties: dict[str, Any], prefix: str) -> set[str]:
    """Every place that a schema knows: `invoice_lines`, `invoice_lines[]`, `invoice_lines[].quantity`, ..."""
    places: set[str] = set()
    for name, part in properties.items():
        place = f"{prefix}{name}"
        places.add(place)
        inner = part
        while "items" in inner:
            inner, place = inner["items"], f"{place}[]"
            places.add(place)
        places |= _places(inner.get("properties", {}), f"{place}.")
    return places


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConversion:
    """Makes records of rows.

    Attributes:
        compile: returns the converter of the stream, which is compiled when it is first needed.
        key: the column that identifies a record within its business.
        key_reference: the reference whose id is the key of records that have none of their own.
        business_id: the business; None for what belongs to the user.
        reference_ids: the references whose ids go into columns of their own, by the names of those columns.
        passthrough: nobody looks into rows that were decoded by their schema, so that they stay as they are.
        report_damage: takes the key of a record and the places of its damaged texts.
    """

    compile: Callable[[], RecordConverter]
    key: str
    key_reference: str | None
    business_id: str | None
    reference_ids: Mapping[str, str]
    passthrough: bool
    report_damage: Callable[[str, Sequence[str]], None]

    def convert(self, row: Item) -> Record:
        """Return the record as the schema says, with its business.

        Raises:
            KeylessRecordError: Sage sent neither its id nor a path that ends in one.
        """
        if isinstance(row, Row):
            record = row.to_record()
        else:
            converter = self.compile()
            record = converter.clean(row)
            self._complete_key(record)
            if converter.damaged:
                places, converter.damaged = converter.damaged, []
                self.report_damage(str(record.get(self.key)), places)
        if self.reference_ids:
            add_reference_ids(record, self.reference_ids)
        if self.business_id is not None:
            record["business_id"] = self.business_id
        return record

    def _complete_key(self, record: Record) -> None:
        """Take the key of a record from its path where Sage does not send it."""
        if self.key_reference is not None:
            record[self.key] = (record.get(self.key_reference) or {}).get("id")
        if self.key == "business_id" or (record.get(self.key) or "").strip():
            return
        record[self.key] = (record.get("path") or "").rpartition("/")[2].strip()
        if not record[self.key]:
            raise KeylessRecordError("Sage sent a record without an id; no target could find its row.")
