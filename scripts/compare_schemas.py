#!/usr/bin/env python
"""Compare the schemas with a copy of Sage's published description of its API, or with what an account showed.

Prints differences by stream. ``new``: only the description has it. ``gone``: only the schemas have it. ``type``: both
have it, with different types. Differences that ``known_differences.json`` explains are left out (``--explained``
lists them too). Exit code 1 when something remains.

Reads Swagger 2.0, OpenAPI 3 and a compact form: ``{"paths": {"/journals": {"kind": "list", "definition": "Journal"}},
"definitions": {"Journal": {"date": "string:date", "journal_lines": ["@JournalLine"]}}}``. And the report of
`tap-sage-accounting-doctor`, `doctor-report.json`: of that, only what was seen counts. Lists and attributes that no row
had are no difference. A text may be a number or a date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tap_sage_accounting import schemas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KNOWN_DIFFERENCES = Path(__file__).with_name("known_differences.json")

Form: TypeAlias = "str | list[Form] | dict[str, Form]"
"""A described type: `string:date`, `@Definition`, `[item]` for arrays, `{name: type}` for objects."""

REFERENCE = frozenset(("id", "displayed_as", "path", "links"))
"""The attributes that the schemas keep of a record which another stream delivers in full."""


ANY = "any"
"""The type of what was seen without a value."""
TYPES = {"boolean": "boolean", "integer": "integer|number", "number": "number", "object": "object", "array": "array"}
"""What a type that was seen may be in a schema."""
TEXTS = (
    (frozenset[str](), ANY),
    (frozenset(("date",)), "string|string:date"),
    (frozenset(("moment", "moment of another form")), "string|string:date-time"),
    (frozenset(("whole number",)), "string|number|integer"),
    (frozenset(("decimal", "whole number")), "string|number"),
)
"""What texts of some formats may be in a schema; of others, texts."""


@dataclass(frozen=True, order=True)
class Difference:
    """One attribute (or, with no attribute, a whole stream) on which description and schemas do not agree.

    Attributes:
        stream: the stream's name.
        attribute: the attribute's place in the record, such as `invoice_lines[].quantity`; empty for the stream itself.
        described: the type in the description; None when it is not there.
        schema: the type in the schema; None when it is not there.
    """

    stream: str
    attribute: str
    described: str | None
    schema: str | None

    def __str__(self) -> str:
        """Return the difference in one line."""
        what = self.attribute or "the whole stream"
        if self.schema is None:
            return f"new   {what} ({self.described})"
        if self.described is None:
            return f"gone  {what} ({self.schema})"
        return f"type  {what}: described as {self.described}, {self.schema} in the schema"


@dataclass
class Description:
    """What a description of Sage's API says about the records that can be read.

    Attributes:
        records: the type of each list's records, or of the single object, by path segment (`sales_invoices`).
        definitions: the named types that the records are made of.
        is_partial: it is what some rows showed; what it lacks may be there.
    """

    records: dict[str, Form]
    definitions: dict[str, Form]
    is_partial: bool = False

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Description:
        """Read a description in any of the four formats.

        Raises:
            ValueError: The document is in none of them.
        """
        if "swagger" in document or "openapi" in document:
            named = document.get("definitions") or document.get("components", {}).get("schemas", {})
            definitions = {name: _form(schema) for name, schema in named.items()}
            records = {
                path.strip("/"): _form(schema)
                for path, operations in document["paths"].items()
                if "{" not in path and (schema := _answer(operations.get("get", {})))
            }
            return cls(records, definitions)
        if "paths" in document and "definitions" in document:
            records = {
                path.strip("/"): f"@{entry['definition']}"
                for path, entry in document["paths"].items()
                if entry["kind"] != "detail"
            }
            return cls(records, document["definitions"])
        if "assumptions" in str(document.get("businesses"))[:500]:
            return cls(_seen(document["businesses"]), {}, is_partial=True)
        raise ValueError("neither Swagger 2.0 nor OpenAPI 3 nor {paths, definitions} nor a report of the doctor")

    def resolve(self, form: Form) -> Form:
        """Follow the names of definitions to what they stand for."""
        while isinstance(form, str) and form.startswith("@"):
            form = self.definitions.get(form[1:], "object")
        return form

    def record(self, stream: str) -> Form:
        """Give the type of one record: the item where the description has an array or of Sage's envelope."""
        form = self.resolve(self.records[stream])
        while isinstance(form, list) or (isinstance(form, dict) and "$items" in form):
            form = self.resolve(form[0] if isinstance(form, list) else form["$items"])
        return form

    def is_record(self, form: Form) -> bool:
        """Return whether a nested type is one that a list delivers as records of its own."""
        return any(self.record(stream) is self.resolve(form) for stream in self.records)


def _answer(operation: dict[str, Any]) -> dict[str, Any] | None:
    """Find the schema of what a GET answers; None when it answers no JSON (files, nothing)."""
    answer = operation.get("responses", {}).get("200", {})
    if "content" in answer:
        answer = next((body for media, body in answer["content"].items() if "json" in media), {})
    schema: dict[str, Any] | None = answer.get("schema")
    return None if schema is None or schema.get("type") == "file" else schema


def _form(schema: dict[str, Any]) -> Form:
    """Reduce a JSON schema to its form."""
    if "$ref" in schema:
        return f"@{schema['$ref'].rpartition('/')[2]}"
    for keyword in ("oneOf", "anyOf", "allOf"):
        variants = [variant for variant in schema.get(keyword, []) if variant.get("type") != "null"]
        if len(variants) == 1:
            return _form(variants[0])
    kind = schema.get("type", "object" if "properties" in schema else "any")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "any")
    if kind == "array":
        return [_form(schema.get("items", {}))]
    if kind == "object" and "properties" in schema:
        return {name: _form(part) for name, part in schema["properties"].items()}
    dated = kind == "string" and schema.get("format") in {"date", "date-time"}
    return f"string:{schema['format']}" if dated else str(kind)


def _seen(businesses: list[dict[str, Any]]) -> dict[str, Form]:
    """Put together what the lists of some businesses showed."""
    records: dict[str, Form] = {}
    for business in businesses:
        for name, seen in business["lists"].items():
            records[name] = _merged(records.get(name, ANY), _form_of_shapes(seen.get("attributes", {})))
    return records


def _form_of_shapes(shapes: dict[str, Any]) -> dict[str, Form]:
    return {name: _form_of_shape(shape) for name, shape in shapes.items() if name}


def _form_of_shape(shape: dict[str, Any]) -> Form:
    """Reduce what was seen of an attribute to the types that it may have, with `|` between them."""
    if "attributes" in shape:
        return _form_of_shapes(shape["attributes"])
    if "items" in shape:
        return [_form_of_shape(shape["items"])]
    seen = [TYPES[kind] for kind in shape["types"] if kind in TYPES]
    formats = frozenset(shape.get("formats", ())) - {"empty"}
    if "string" in shape["types"]:
        seen.append(next((types for names, types in TEXTS if formats <= names), "string"))
    return "|".join(dict.fromkeys("|".join(seen).split("|"))) if seen else ANY


def _merged(one: Form, other: Form) -> Form:
    """Put together what two businesses showed of the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _merged(one.get(name, ANY), other.get(name, ANY)) for name in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0])]
    return other if one == ANY else one


def compare(description: Description) -> Iterator[Difference]:
    """Find all differences between a description and the schemas, explained or not."""
    ours = set(schemas.names())
    for stream in sorted(description.records if description.is_partial else ours | description.records.keys()):
        if stream not in ours:
            yield Difference(stream, "", "stream", None)
        elif stream not in description.records:
            yield Difference(stream, "", None, "stream")
        else:
            properties = schemas.load(stream, ())["properties"]
            del properties["business_id"], properties["additional_attributes"]
            yield from _compare_objects(description, stream, "", description.record(stream), properties)


def _compare_objects(
    description: Description, stream: str, prefix: str, described: Form, properties: dict[str, Any]
) -> Iterator[Difference]:
    attributes = {
        name.replace("$", "").lower(): form for name, form in (described.items() if isinstance(described, dict) else ())
    }
    for name in [*attributes, *(name for name in properties if name not in attributes)]:
        place = f"{prefix}{name}"
        if name not in properties:
            yield Difference(stream, place, _label(description, attributes[name]), None)
        elif name not in attributes:
            if description.is_partial:
                continue
            yield Difference(stream, place, None, _schema_label(properties[name]))
        else:
            yield from _compare(description, stream, place, attributes[name], properties[name])


def _compare(
    description: Description, stream: str, place: str, form: Form, schema: dict[str, Any]
) -> Iterator[Difference]:
    described, here = _label(description, form), _schema_label(schema)
    resolved = description.resolve(form)
    if here not in described.split("|") and ANY not in described.split("|"):
        yield Difference(stream, place, described, here)
    elif isinstance(resolved, list):
        yield from _compare(description, stream, f"{place}[]", resolved[0], schema["items"])
    elif here == "object":
        is_reference = schema["properties"].keys() <= REFERENCE
        is_cut = is_reference and (description.is_partial or description.is_record(form))
        if not is_cut:
            yield from _compare_objects(description, stream, f"{place}.", resolved, schema["properties"])


def _label(description: Description, form: Form) -> str:
    resolved = description.resolve(form)
    if isinstance(resolved, str):
        return resolved
    return "array" if isinstance(resolved, list) else "object"


def _schema_label(schema: dict[str, Any]) -> str:
    kind: str = next(name for name in schema["type"] if name != "null")
    return f"{kind}:{schema['format']}" if "format" in schema else kind


class KnownDifferences:
    """The differences that were looked into, each with its reason."""

    def __init__(self, path: Path = KNOWN_DIFFERENCES) -> None:
        self._reasons: dict[tuple[str, str, str | None, str | None], str] = {}
        for entry in json.loads(path.read_text(encoding="utf-8")):
            for stream in entry["streams"]:
                for attribute in entry["attributes"]:
                    key = (stream, attribute, entry["described"], entry["schema"])
                    self._reasons[key] = entry["reason"]

    def reason(self, difference: Difference) -> str | None:
        """Give the reason for a difference; None when it is not explained, or no longer what was explained."""
        types = (difference.described, difference.schema)
        return self._reasons.get((difference.stream, difference.attribute, *types)) or self._reasons.get(
            ("*", difference.attribute, *types)
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print; return the exit code."""
    parser = argparse.ArgumentParser(description="Compare the schemas with Sage's published description of its API.")
    parser.add_argument("description", type=Path, help="Swagger 2.0 or OpenAPI 3 document, as JSON")
    parser.add_argument("--explained", action="store_true", help="list the explained differences as well")
    options = parser.parse_args(arguments)
    try:
        description = Description.parse(json.loads(options.description.read_text(encoding="utf-8")))
    except OSError as error:
        sys.exit(f"{options.description} cannot be read: {error.strerror}.")
    except ValueError as error:
        sys.exit(f"{options.description} is not a description of an API: {error}.")

    known = KnownDifferences()
    tally: Counter[bool] = Counter()
    for stream, differences in groupby(compare(description), key=lambda difference: difference.stream):
        lines = []
        for difference in differences:
            reason = known.reason(difference)
            tally[reason is not None] += 1
            if reason is None:
                lines.append(f"  {difference}")
            elif options.explained:
                lines.append(f"  {difference} [{reason}]")
        if lines:
            print(stream, *lines, sep="\n")
    print(f"{tally[False]} unexplained differences, {tally[True]} explained.")
    return 1 if tally[False] else 0


if __name__ == "__main__":
    sys.exit(main())
