"""The command `tap-sage-accounting`."""

from __future__ import annotations

import atexit
import gc

OBJECTS_UNWATCHED = 200_000
"""Objects made, and not yet freed, between two searches for garbage."""


def spare_garbage_search() -> None:
    """Search for garbage less often than Python does by itself, and not at all at the end.

    Modules and pages are many objects without garbage among them; looking for it would be a sixth of a run's time.
    """
    gc.set_threshold(OBJECTS_UNWATCHED)
    atexit.register(gc.freeze)


def main() -> None:
    """Run the tap's command line."""
    spare_garbage_search()
    from tap_sage_accounting.tap import TapSageAccounting  # noqa: PLC0415 - most objects come with the modules

    TapSageAccounting.cli()
