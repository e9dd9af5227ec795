"""A request that may be sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Permit:
    """A request that was let through: for which business, and when."""

    business_id: str | None
    sent_at: float
