"""Every deletion that was ever learned, for those who want no flags in their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from tap_sage_accounting.client import SageStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record


class Deletions(SageStream):
    """Records that are gone from Sage, one row each, from whichever stream they were."""

    name = "deletions"
    primary_keys = ("business_id", "stream", "id")

    _is_announced = False

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Yield nothing: what the other streams learn is written when they learn it."""
        yield from ()

    def add(self, deletion: Record) -> None:
        """Write a deletion that another stream has learned of.

        Args:
            deletion: `business_id`, `stream`, `id`, `deleted_at` and `how`.
        """
        if not self._is_announced:
            self._write_schema_message()
            self._is_announced = True
        self.services.report.records[self.name] += 1
        for message in self._generate_record_messages(deletion):
            self._tap.write_message(message)
