"""Moments: this machine's clock, and how moments are read (records.timestamps) and written (changes.fractions)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return the present moment by this machine's clock, in UTC."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """Render a moment in UTC, in whole seconds, rounded down: `2026-06-30T18:00:00Z`."""
    return f"{moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def readable(moment: datetime) -> str:
    """Render a moment for messages: `2026-06-30 18:00:00 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def in_words(span: timedelta) -> str:
    """Render a span for messages, in the largest unit of which it has two or more: `151 days`, `90 minutes`."""
    seconds = round(span.total_seconds())
    units = (("days", 86_400), ("hours", 3_600), ("minutes", 60))
    return next((f"{seconds // size} {unit}" for unit, size in units if seconds >= 2 * size), f"{seconds} s")


def in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC, which is also the zone of a moment without one.

    Raises:
        ValueError: no calendar has it in UTC, so that it cannot be compared with others.
    """
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(str(moment)) from None


def parse_moment(text: str) -> datetime:
    """Read a moment in any form of ISO 8601, as `in_utc`.

    Raises:
        ValueError: the text is none, or none that can be compared with others.
    """
    return in_utc(datetime.fromisoformat(text))
