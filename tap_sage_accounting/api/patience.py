"""How long Sage is waited for, and what a message says when that was in vain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Patience:
    """How long Sage is waited for.

    Attributes:
        seconds: that Sage may send no successful response; also the longest `Retry-After` that is obeyed.
        is_setting: whether the setting `patience` says so, as it does for a run; a command has its own.
    """

    seconds: float
    is_setting: bool = True

    @property
    def advice(self) -> str:
        """What to do behind a fault, with a blank before it; "" in a run, whose last line says it."""
        return "" if self.is_setting else " Check this machine's network and status.sage.com, and look again later."

    def exhausted(self, seconds: float) -> str:
        """Say, behind the last fault, that no successful response came for so many seconds, and what to do."""
        if not self.is_setting:
            return f"It stayed so for {seconds:.0f} s.{self.advice}"
        return (
            f"Sage answered nothing for {seconds:.0f} s, longer than the setting 'patience' allows "
            f"({self.seconds} s). What was complete is kept; run again later."
        )

    def too_short(self, wait: float) -> str:
        """Say that Sage asks to wait for more seconds than there is patience, and what to do."""
        back = f"{datetime.now(UTC) + timedelta(seconds=wait):%Y-%m-%d %H:%M:%S} UTC"
        if not self.is_setting:
            return f"It asks to wait {wait:.0f} s: look again after {back}."
        return (
            f"It asks to wait {wait:.0f} s, longer than the setting 'patience' allows ({self.seconds} s). What was "
            f"complete is kept; run again after {back}."
        )
