"""Messages leave whole, even when the run is told to stop in the middle of one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.singerlib import RecordMessage
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.singerlib import Message

    from tap_sage_accounting.batches import Batches

FULL = 1 << 16
"""Bytes of records that are worth a system call of their own."""


class WholeMessageWriter(MsgSpecWriter):
    """Writes messages to standard output; an interruption waits until the message at hand is out.

    Records wait for company. Any other message goes out at once, with the records before it.

    Attributes:
        batches: takes the records into files, where the setting `batch_config` wants that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()
        self._writing = False
        self._interruption: BaseException | None = None
        self.batches: Batches | None = None

    @override
    def write_message(self, message: Message) -> None:
        self._writing = True
        try:
            if self.batches is not None:
                self._write_batched(self.batches, message)
            else:
                encoder.encode_into(message.to_dict(), self._waiting, -1)
                self._waiting += b"\n"
                if len(self._waiting) >= FULL or not isinstance(message, RecordMessage):
                    self._send()
        finally:
            self._writing = False
        self._raise_interruption()

    def end_files(self) -> None:
        """Complete the files that records were put into, where there are any, and announce them."""
        if self.batches is None or self.batches.is_broken:
            return
        self._writing = True
        try:
            self._announce(self.batches.close())
        finally:
            self._writing = False
        self._raise_interruption()

    def _write_batched(self, batches: Batches, message: Message) -> None:
        """Put a record into a file; announce all files before any other message.

        Once a file could not be written, nothing more leaves: a state would speak of its rows.
        """
        if batches.is_broken:
            return
        if isinstance(message, RecordMessage):
            self._announce(batches.add(message))
        else:
            self._announce([*batches.close(), message])

    def _announce(self, messages: Sequence[Message]) -> None:
        for message in messages:
            encoder.encode_into(message.to_dict(), self._waiting, -1)
            self._waiting += b"\n"
        if messages:
            self._send()

    def _raise_interruption(self) -> None:
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
