"""ACTIVATE_VERSION for full-table streams: told only after a read that saw everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context

    from tap_sage_accounting.client import SageStream


class FullTableVersion:
    """Counts the complete reads of a stream, and tells the target to let go of older rows when all are.

    A target that hears of a version drops or flags every row of an older one. So it is told after the last record, and
    only when every business was read: rows of one that was left out, skipped or failed must stay, and those of one that
    the user no longer sees too.
    """

    def __init__(self, stream: SageStream) -> None:
        config = stream.config
        self._stream = stream
        self._wanted = (
            bool(config.get("emit_activate_version_messages"))
            and stream.replication_method == REPLICATION_FULL_TABLE
            and stream.whole
            and not config.get("business_ids")
        )
        self._left = len(stream.partitions or [{}]) + len(stream.lost_businesses)

    def begin(self) -> None:
        """Let the records of the coming read carry the version."""
        if self._wanted:
            self._stream.begin_version()

    def doubts_emptiness(self, context: Context | None) -> bool:
        """Return whether a list that brought nothing may hold rows, so that the table must not be emptied."""
        if not self._wanted or not (reason := self._stream.missing_offer(context)):
            return False
        self._stream.logger.warning(
            "%s: Sage lists nothing, and says of the business: %s. The target keeps older rows of the table.",
            self._stream.describe(context),
            reason,
        )
        return True

    def complete(self) -> None:
        """Note a complete read; after the last one, tell the version."""
        self._left -= 1
        if self._wanted and self._left == 0:
            self._stream.tell_version()
