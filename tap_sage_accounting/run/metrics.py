"""METRIC lines in the log, for programs that collect them: the records of a business, the seconds of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.metrics import Counter, Tag, Timer
from typing_extensions import override

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context


class BusinessCounter(Counter):
    """Counts the records of each business; the SDK's counter names the last business beside the sum of all."""

    @override
    def with_context(self, value: Context | None) -> None:
        if Tag.CONTEXT in self.tags:
            self._pop()
        self.tags = {**self.tags}  # what was logged keeps its own
        super().with_context(value)


class NoCounter(Counter):
    """Counts nothing: the SDK's counter looks at the clock for every record."""

    @override
    def increment(self, value: int = 1) -> None:
        """Do nothing."""


class StreamTimer(Timer):
    """Times a stream, all its businesses together; the SDK's timer names the last business."""

    @override
    def with_context(self, value: Context | None) -> None:
        """Name no business."""
