"""Plain columns with the ids of references, for joins and indexes: `contact_id` beside `contact`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Record = dict[str, Any]


def reference_ids(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the columns for ids, and of the references among a stream's columns that each stands beside.

    Lists of references have none, and neither has a reference whose column's name is an attribute of Sage's.
    """
    return {
        f"{name}_id": name
        for name, part in properties.items()
        if "id" in part.get("properties", ()) and f"{name}_id" not in properties
    }


def with_reference_ids(schema: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Copy a schema with columns for ids, each behind its reference."""
    beside = {reference: column for column, reference in columns.items()}
    properties: dict[str, Any] = {}
    for name, part in schema["properties"].items():
        properties[name] = part
        if name in beside:
            properties[beside[name]] = {"type": ["string", "null"], "description": f"Identifier inside `{name}`."}
    return {**schema, "properties": properties}


def add_reference_ids(record: Record, columns: Mapping[str, str]) -> None:
    """Fill in the ids of the references that a record has, as text; few of Sage's ids are numbers."""
    for column, reference in columns.items():
        if reference in record:
            found = (record[reference] or {}).get("id")
            record[column] = found if found is None or isinstance(found, str) else str(found)
