"""ACTIVATE_VERSION for full-table streams: told only after a read that saw everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE

if TYPE_CHECKING:
    from tap_sage_accounting.client import SageStream


class FullTableVersion:
    """Counts the complete reads of a stream, and tells the target to let go of older rows when all are.

    A target that hears of a version drops or flags every row of an older one. So it is told after the last record, and
    only when every business was read: rows of one that was left out, skipped or failed must stay, and those of one that
    the user no longer sees too.

    Attributes:
        is_wanted: whether the target is told a version of this stream.
    """

    def __init__(self, stream: SageStream) -> None:
        config = stream.config
        self._stream = stream
        self.is_wanted = (
            bool(config.get("emit_activate_version_messages"))
            and stream.replication_method == REPLICATION_FULL_TABLE
            and stream.whole
            and not config.get("business_ids")
        )
        self._left = len(stream.partitions or [{}]) + len(stream.lost_businesses)

    def begin(self) -> None:
        """Let the records of the coming read carry the version."""
        if self.is_wanted:
            self._stream.begin_version()

    def complete(self) -> None:
        """Note a complete read; after the last one, tell the version."""
        self._left -= 1
        if self.is_wanted and self._left == 0:
            self._stream.tell_version()
