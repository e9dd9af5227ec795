"""The JSON schemas of the streams: one file per stream, shared parts once in `shared.json`.

The files hold what one reads in review: every attribute, in Sage's order, nullable and described. Each has our name
(`path` for Sage's `$path`). `load` makes standalone schemas of them, as a Singer catalog needs. Their keys are never
null, and they have the columns that every stream has.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

_DIRECTORY = resources.files(__package__)
_SHARED = "shared.json"
_SHARED_PREFIX = f"{_SHARED}#/$defs/"


def names() -> list[str]:
    """List the names of all streams that have a schema, in alphabetical order."""
    files = (file.name for file in _DIRECTORY.iterdir())
    return sorted(name.removesuffix(".json") for name in files if name.endswith(".json") and name != _SHARED)


def load(name: str, keys: Collection[str]) -> dict[str, Any]:
    """Build the standalone schema of a stream.

    Args:
        name: The stream, which is also the name of its file.
        keys: The key properties of the stream, the only ones that are never null.

    Returns:
        A schema of new objects without any `$ref`: `business_id` first, then the stream's own properties, then
        `additional_attributes`. It keeps `x-empty-is-null`, which marks strings where Sage's `""` means null.

    Raises:
        FileNotFoundError: No such stream.
        KeyError: A key is not a property of the stream.
    """
    stream, added = _read(f"{name}.json"), _shared()["added"]
    columns = {
        "business_id": added["business_id"],
        **stream["properties"],
        "additional_attributes": added["additional_attributes"],
    }
    properties = {column: _resolve(schema) for column, schema in columns.items()}
    for key in keys:
        properties[key]["type"] = "string"
    return {"description": stream["description"], "type": "object", "properties": properties}


def file_columns() -> dict[str, Any]:
    """Return the columns that attachments get where their files are stored."""
    return {column: _resolve(schema) for column, schema in _shared()["files"].items()}


def _read(file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_DIRECTORY.joinpath(file).read_text(encoding="utf-8"))
    return content


@cache
def _shared() -> dict[str, Any]:
    return _read(_SHARED)


def _resolve(node: Any) -> Any:
    """Copy a schema with the shared parts put in; what stands beside a `$ref` wins over the part's own."""
    if isinstance(node, list):
        return list(node)
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        part = _shared()["$defs"][node["$ref"].removeprefix(_SHARED_PREFIX)]
        node = {**part, **{keyword: value for keyword, value in node.items() if keyword != "$ref"}}
    return {keyword: _resolve(value) for keyword, value in node.items()}
