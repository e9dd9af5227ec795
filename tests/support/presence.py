"""What must be there for a test to go on."""

from __future__ import annotations

from typing import TypeVar

Value = TypeVar("Value")


def present(value: Value | None) -> Value:
    """Return what is there; fail where nothing is."""
    assert value is not None
    return value
