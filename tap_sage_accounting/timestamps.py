"""Moments as Sage's filters and our bookmarks have them."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(moment: datetime) -> str:
    """Render a moment in UTC, in whole seconds, rounded down: `2026-06-30T18:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
