"""How files are held back after many in a row were in vain, as when a disk is full or the user may read none.

Each would cost a request and end like those before it. Now and then one is tried all the same, after twice as many
files each time. So a few that Sage damaged do not stop all others, and a place that works again is noticed.
"""

from __future__ import annotations

import threading

MAX_IN_VAIN = 10
"""Files in a row after which others are held back."""


class Restraint:
    """Says which files are tried; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_vain = 0
        self._pause = 0
        self._held_back = 0
        self._is_probing = False

    def holds_back(self) -> bool:
        """Return whether the next file is not tried; count it if so."""
        with self._lock:
            if not self._pause:
                return False
            if self._held_back >= self._pause and not self._is_probing:
                self._is_probing = True
                return False
            self._held_back += 1
            return True

    def note(self, *, is_in_vain: bool) -> None:
        """Learn how a file ended that was tried."""
        with self._lock:
            self._in_vain = self._in_vain + 1 if is_in_vain else 0
            if self._in_vain < MAX_IN_VAIN:
                self._pause = 0
            elif not self._pause or self._is_probing:
                self._pause, self._held_back = max(MAX_IN_VAIN, 2 * self._pause), 0
            self._is_probing = False
