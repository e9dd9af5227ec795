"""What identifies a row of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.records.row_decoder import Row

if TYPE_CHECKING:
    from tap_sage_accounting.records.row_decoder import Item


def identity(item: Item) -> str:
    """Return the id of a row, its path where rows have no id (exchange rates), or "" for a row with neither."""
    if isinstance(item, Row):
        return item.id
    own, path = item.get("id"), item.get("$path")
    if isinstance(own, str | int) and (name := str(own)).strip():
        return name
    return path if isinstance(path, str) else ""


def key_of(item: Item) -> str:
    """Return what a row is requested by: its id, or the end of its path."""
    return identity(item).rpartition("/")[2]
