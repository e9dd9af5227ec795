"""ACTIVATE_VERSION: when the target may drop the rows that a full read did not bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class FullTableVersion:
    """Counts the complete reads of a stream, and activates the version of its table when all are.

    A target that hears of a version drops or flags every row of an older one. So it hears of it after the last record,
    and only when every business was read: rows of one that was left out, skipped or failed must stay, and those of one
    that the user no longer sees too.

    Args:
        reads: how many reads must be complete.
        begin: lets the records to come carry the version.
        activate: writes the version; None for a stream whose tables have no versions.
    """

    def __init__(self, reads: int, begin: Callable[[], None], activate: Callable[[], None] | None) -> None:
        self._left = reads
        self._begin = begin
        self._activate = activate

    @property
    def is_wanted(self) -> bool:
        """Whether the target is sent a version of this table."""
        return self._activate is not None

    def begin(self) -> None:
        """Let the records of the coming read carry the version."""
        if self.is_wanted:
            self._begin()

    def complete(self) -> None:
        """Count a complete read; after the last one, activate the version."""
        self._left -= 1
        if self._activate is not None and self._left == 0:
            self._activate()
