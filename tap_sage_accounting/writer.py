"""Messages leave whole, even when the run is told to stop in the middle of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import MsgSpecWriter
from typing_extensions import override

if TYPE_CHECKING:
    from singer_sdk.singerlib import Message


class WholeMessageWriter(MsgSpecWriter):
    """Writes messages to standard output; an interruption waits until the message at hand is out."""

    def __init__(self) -> None:
        super().__init__()
        self._writing = False
        self._interruption: BaseException | None = None

    @override
    def write_message(self, message: Message) -> None:
        self._writing = True
        try:
            super().write_message(message)
        finally:
            self._writing = False
        if self._interruption is not None:
            raise self._interruption

    def interrupt(self, interruption: BaseException) -> None:
        """Raise an interruption, now or after the message at hand. To be called from a signal handler."""
        if not self._writing:
            raise interruption
        self._interruption = interruption
