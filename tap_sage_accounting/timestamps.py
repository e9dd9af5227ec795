"""Moments: our clock, and how Sage's filters, bookmarks and the state write them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present moment by this machine's clock, in UTC."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """Render a moment in UTC, in whole seconds, rounded down: `2026-06-30T18:00:00Z`."""
    return f"{moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def parse_moment(text: str) -> datetime:
    """Read a moment in any form of ISO 8601; UTC where it names no zone.

    Raises:
        ValueError: the text is none, or none that can be compared with others.
    """
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None
