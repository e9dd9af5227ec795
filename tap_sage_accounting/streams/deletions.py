"""Every deletion that was ever learned, for those who want no flags in their tables."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from tap_sage_accounting.client import CollectedStream
from tap_sage_accounting.declaration import DELETED_AT


class Deletions(CollectedStream):
    """Records that are gone from Sage, one row each, from whichever stream they were."""

    name = "deletions"
    primary_keys = ("business_id", "stream", "id")
    moment = DELETED_AT

    @override
    def add(self, row: dict[str, Any]) -> None:
        """Write a deletion: `business_id`, `stream`, `id`, `deleted_at` and `how`."""
        self.services.report.records[self.name] += 1
        super().add(row)
