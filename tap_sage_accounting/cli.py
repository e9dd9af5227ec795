"""The command `tap-sage-accounting`."""

from __future__ import annotations

import gc

OBJECTS_UNWATCHED = 100_000
"""Objects made, and not yet freed, between two searches for garbage."""


def main() -> None:
    """Run the tap's command line.

    Modules and pages are many objects without garbage among them: looking for it so often as Python does by itself is a
    sixth of a run's time.
    """
    gc.set_threshold(OBJECTS_UNWATCHED)
    from tap_sage_accounting.tap import TapSageAccounting  # noqa: PLC0415 - most objects come with the modules

    TapSageAccounting.cli()
