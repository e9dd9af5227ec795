"""Records in the form that the catalog announces, where that differs from the form that the tap would announce.

A catalog may have been discovered by an older version, with other settings, or with types that a user chose. The
target is prepared for its schema, so records follow it. Whatever has no place there goes to `additional_attributes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.contrib.msgspec import encoder
from singer_sdk.singerlib.schema import Schema as CatalogSchema
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_sage_accounting.declaration import ADDITIONAL, DELETED_AT, UPDATED_AT
from tap_sage_accounting.records.converter import prefix_places
from tap_sage_accounting.records.values import TypeMismatchError, leaf_converter

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tap_sage_accounting.records.values import Unmapped

    Schema = Mapping[str, Any]
    Record = dict[str, Any]
    Converter = Callable[[Any, Unmapped], Any]

TYPES = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))
_WORDLESS = frozenset(("title", "description", "default", "deprecated", "additionalProperties", "required"))
"""Keywords that say nothing of a value that a record may have."""
_STRUCTURE = frozenset(("type", "format", "properties", "items", "anyOf", "oneOf"))
"""Keywords that conversions follow; all others are checked."""
_json = msgspec.json.Decoder(float_hook=Decimal)


class SchemaError(ValueError):
    """A part of a schema that no record can follow."""


def differs(own: Schema, given: Schema) -> bool:
    """Return whether a schema declares other values than the tap's own, apart from what the tap keeps for itself."""
    if own == given:
        return False
    for keyword in (own.keys() | given.keys()) - _WORDLESS - {"type", "properties", "items"}:
        if not keyword.startswith("x-") and own.get(keyword) != given.get(keyword):
            return True
    if _types(own) != _types(given):
        return True
    inner, inner_given = own.get("properties") or {}, given.get("properties") or {}
    if inner.keys() != inner_given.keys() or any(differs(part, inner_given[name]) for name, part in inner.items()):
        return True
    return differs(own.get("items") or {}, given.get("items") or {})


def _types(schema: Schema) -> list[str]:
    declared = schema.get("type")
    return sorted(map(str, declared)) if isinstance(declared, list) else [str(declared)]


def takes_text(schema: Schema) -> bool:
    """Return whether a column takes any text."""
    return "string" in _types(schema) and not schema.keys() - _WORDLESS - {"type"}


@dataclass
class Conformer:
    """Turns records as declared by the tap into records as announced by the catalog.

    Attributes:
        missing: columns that the announced schema lacks.
        changed: columns that it has with another type.
        added: columns that it has besides.
    """

    missing: list[str] = field(default_factory=list)
    changed: dict[str, Converter] = field(default_factory=dict)
    added: dict[str, Converter] = field(default_factory=dict)

    @classmethod
    def between(cls, own: Schema, given: Schema) -> Conformer | None:
        """Compare the tap's own properties with those that a catalog announces; None where records need no change.

        Raises:
            SchemaError: no record can follow a part of it.
        """
        missing = [name for name in own if name not in given]
        changed = {
            name: _of_column(name, given[name]) for name in own if name in given and differs(own[name], given[name])
        }
        added = {name: _of_column(name, given[name]) for name in given if name not in own}
        return cls(missing, changed, added) if missing or changed or added else None

    def conform(self, record: Record, mismatches: Counter[str], *, keep: bool = True) -> None:
        """Change a record in place, count its mismatches by column, and `keep` them in `additional_attributes`."""
        kept: Record = _json.decode(record.get(ADDITIONAL) or "{}") if self.added else {}
        for name in self.added.keys() & kept.keys():
            record[name] = kept.pop(name)
        left: Unmapped = [(name, value) for name in self.missing if (value := record.pop(name, None)) is not None]
        for name, convert in (self.changed | self.added).items():
            if name in record:
                before = len(left)
                _convert_part(record, name, record[name], convert, left)
                mismatches.update([name] * (len(left) > before))
        if self.added or left:
            kept = kept or _json.decode(record.get(ADDITIONAL) or "{}")
            kept |= dict(left)
            if keep:
                record[ADDITIONAL] = encoder.encode(dict(sorted(kept.items()))).decode() if kept else None


def _convert_part(whole: Record, name: str, value: Any, convert: Converter, left: Unmapped) -> None:
    """Put a part in its place; add what does not fit, or has parts that do not fit, to `left`."""
    before = len(left)
    try:
        whole[name] = convert(value, left)
    except TypeMismatchError:
        whole.pop(name, None)
        del left[before:]
        if value is not None:
            left.append((name, value))
    else:
        prefix_places(left, before, name)


def _of_column(name: str, schema: Schema) -> Converter:
    try:
        return converter(schema)
    except SchemaError as error:
        raise SchemaError(f"{error} in {name!r}") from None


def converter(schema: Schema) -> Converter:
    """Compile a part of a schema to a function that converts a declared value to one that fits it.

    The function raises `TypeMismatchError` where there is none.

    Raises:
        SchemaError: no value fits.
    """
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        choices = [converter({**each}) for each in _objects(branches)]
    elif "type" not in schema:
        choices = [_any]
    else:
        declared = schema["type"]
        kinds = [declared] if isinstance(declared, str) else declared
        if not isinstance(kinds, list) or not kinds or not TYPES.issuperset(map(str, kinds)):
            raise SchemaError(f"the type {declared!r}")
        choices = [_by_type(str(kind), schema) for kind in sorted(kinds, key=lambda kind: kind == "string")]
    checked = {keyword: value for keyword, value in schema.items() if keyword not in _STRUCTURE | _WORDLESS}
    validator = DEFAULT_JSONSCHEMA_VALIDATOR(checked) if checked else None

    def convert(value: Any, left: Unmapped) -> Any:
        before = len(left)
        for choice in choices:
            try:
                found = choice(value, left)
            except TypeMismatchError:
                found = ...
            if found is not ... and (validator is None or found is None or validator.is_valid(found)):
                return found
            del left[before:]
        raise TypeMismatchError

    return convert


def _objects(branches: Any) -> Iterable[Schema]:
    if not isinstance(branches, list) or not all(isinstance(each, dict) for each in branches):
        raise SchemaError("a choice of types that is none")
    return branches


def _by_type(kind: str, schema: Schema) -> Converter:
    match kind:
        case "null":
            return _null
        case "object":
            return _object(schema)
        case "array":
            return _array(schema)
        case "string":
            return _text(schema.get("format"))
        case _:
            leaf = leaf_converter({"type": [kind]})
            return lambda value, left: _not_null(leaf(value, left))


def _any(value: Any, _: Unmapped) -> Any:
    return value


def _null(value: Any, _: Unmapped) -> None:
    if value is not None:
        raise TypeMismatchError


def _not_null(value: Any) -> Any:
    if value is None:
        raise TypeMismatchError
    return value


def _object(schema: Schema) -> Converter:
    parts = {name: converter(part) for name, part in (schema.get("properties") or {}).items()}

    def convert(value: Any, left: Unmapped) -> Any:
        if not isinstance(value, dict):
            raise TypeMismatchError
        if not parts:
            return value
        found: Record = {}
        for name, part in value.items():
            if name in parts:
                _convert_part(found, name, part, parts[name], left)
            elif part is not None:
                left.append((name, part))
        return found

    return convert


def _array(schema: Schema) -> Converter:
    item = converter(schema.get("items") or {})

    def convert(value: Any, left: Unmapped) -> Any:
        if not isinstance(value, list):
            raise TypeMismatchError
        found: list[Any] = []
        for position, part in enumerate(value):
            before = len(left)
            found.append(item(part, left))
            prefix_places(left, before, f"[{position}]")
        return found

    return convert


def _text(form: Any) -> Converter:
    if form in ("date", "date-time"):
        leaf = leaf_converter({"type": ["string"], "format": form})
        return lambda value, left: _not_null(leaf(value, left))

    def convert(value: Any, _: Unmapped) -> Any:
        match value:
            case str():
                return value
            case bool():
                return "true" if value else "false"
            case int() | Decimal():
                return format(Decimal(value), "f")
            case dict() | list():
                return encoder.encode(value).decode()
            case _:
                raise TypeMismatchError

    return convert


def follow(schema: CatalogSchema, own: Mapping[str, Any], keys: Sequence[str]) -> tuple[Conformer | None, list[str]]:
    """Compare a given catalog's schema of a stream with the stream's own, and prepare records to follow it.

    Columns that the tap cannot do without are put into the given schema.

    Args:
        schema: as given, changed in place.
        own: the stream's own columns.
        keys: its primary keys.

    Returns:
        What makes records follow it, None where there is nothing to do; and the columns that differ.

    Raises:
        SchemaError: no record can follow it.
    """
    given = schema.to_dict().get("properties") or {}
    needed = {*keys, ADDITIONAL, DELETED_AT, UPDATED_AT} & own.keys() if given else own.keys()
    restored = {
        name
        for name in needed
        if name not in given
        or (name in (*keys, ADDITIONAL) and not takes_text(given[name]) and differs(own[name], given[name]))
    }
    if restored:
        given |= {name: own[name] for name in restored}
        schema.properties = {name: CatalogSchema.from_dict(part) for name, part in given.items()}
    schema.type, schema.required = "object", None
    conformer = Conformer.between(own, given)
    changed = [*conformer.missing, *conformer.changed] if conformer else []
    return conformer, sorted({*restored, *changed}) if given.keys() != restored else []
