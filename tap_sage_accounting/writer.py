"""Messages leave whole, even when the run is told to stop in the middle of one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.singerlib import RecordMessage
from typing_extensions import override

if TYPE_CHECKING:
    from singer_sdk.singerlib import Message

FULL = 1 << 16
"""Bytes of records that are worth a system call of their own."""


class WholeMessageWriter(MsgSpecWriter):
    """Writes messages to standard output; an interruption waits until the message at hand is out.

    Records wait for company. Any other message goes out at once, with the records before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()
        self._writing = False
        self._interruption: BaseException | None = None

    @override
    def write_message(self, message: Message) -> None:
        self._writing = True
        try:
            encoder.encode_into(message.to_dict(), self._waiting, -1)
            self._waiting += b"\n"
            if len(self._waiting) >= FULL or not isinstance(message, RecordMessage):
                self._send()
        finally:
            self._writing = False
        if (interruption := self._interruption) is not None:
            self._interruption = None  # what is told afterwards, such as the state, is not interrupted again
            raise interruption

    def flush(self) -> None:
        """Send the records that wait."""
        self._writing = True
        try:
            self._send()
        finally:
            self._writing = False

    def _send(self) -> None:
        """Write out what waits. Without a buffer of Python's own, a write may take less than it was given."""
        while self._waiting:
            with memoryview(self._waiting) as waiting:
                taken = sys.stdout.buffer.write(waiting)
            del self._waiting[:taken]
        sys.stdout.flush()

    def interrupt(self, interruption: BaseException) -> None:
        """Raise an interruption, now or after the message at hand. To be called from a signal handler."""
        if not self._writing:
            raise interruption
        self._interruption = interruption
