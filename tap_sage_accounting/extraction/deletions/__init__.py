"""What is gone: reported by Sage, flagged in the record, or found missing. One strategy for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.extraction.deletions.base import Deletions, FlaggedDeletions
from tap_sage_accounting.extraction.deletions.missing import MissingDeletions
from tap_sage_accounting.extraction.deletions.reported import ReportedDeletions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_sage_accounting.extraction.consistency import SeenRows
    from tap_sage_accounting.extraction.plan import ReadPlan

__all__ = ["Deletions", "deletions_of"]


def deletions_of(plan: ReadPlan, seen: Sequence[SeenRows]) -> Deletions:
    """Choose how deletions from a list are found, beside reads of its parts that see its rows."""
    if plan.stream.deleted_since:
        return ReportedDeletions(plan, seen)
    if plan.stream.deletion_flag is not None:
        return FlaggedDeletions(plan, seen)
    return MissingDeletions(plan, seen) if plan.stream.deletable else Deletions(plan, seen)
