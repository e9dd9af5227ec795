"""The command `tap-sage-accounting`."""

from __future__ import annotations

import atexit
import ctypes
import gc
from contextlib import suppress

OBJECTS_UNWATCHED = 200_000
"""Objects made, and not yet freed, between two searches for garbage."""
M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` that bounds how many heaps there are (malloc.h)."""


def save_time_and_memory() -> None:
    """Set this process up for what it does; to be called before modules are loaded and threads started.

    Python searches for garbage less often than by itself, and not at all at the end: modules and pages are many
    objects without garbage among them, and looking for it would be a sixth of a run's time. All threads take their
    memory from one heap, where the C library is glibc: it would give each of them one of its own, which keeps what the
    largest pages took that ever passed through it.
    """
    gc.set_threshold(OBJECTS_UNWATCHED)
    atexit.register(gc.freeze)
    with suppress(OSError, AttributeError, TypeError):  # as Windows, macOS and musl complain
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def main() -> None:
    """Run the tap's command line."""
    save_time_and_memory()
    from tap_sage_accounting.tap import TapSageAccounting  # noqa: PLC0415 - most objects come with the modules

    TapSageAccounting.cli()
