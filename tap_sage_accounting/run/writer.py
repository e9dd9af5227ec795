"""Messages leave whole, even when a signal stops the run in the middle of one."""

from __future__ import annotations

import errno
import select
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import MsgSpecWriter, encoder
from singer_sdk.exceptions import FatalSyncError
from singer_sdk.singerlib import RecordMessage
from typing_extensions import override

from tap_sage_accounting.run.signals import Mode, stop_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.singerlib import Message

    from tap_sage_accounting.run.batches import Batches

FULL = 1 << 16
"""Bytes of records that are worth a system call of their own, and the most that one takes."""
SMALLEST_WRITE = 1 << 12
"""Bytes of a write after a signal: each shows that somebody still reads."""
_DEFERRED = Mode.DEFERRED


class OutputClosedError(FatalSyncError):
    """Nobody takes the messages any more."""


class WholeMessageWriter(MsgSpecWriter):
    """Writes messages to standard output; a signal waits until the message in progress is out.

    Records are buffered; any other message flushes the buffer.

    Attributes:
        batches: takes the records into files, where the setting `batch_config` wants that.
        sent: bytes that the output took.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self._waiting = bytearray()
        self.batches: Batches | None = None
        self._closed_because = ""

    @override
    def write_message(self, message: Message) -> None:
        signals = stop_signals
        mode, signals.mode = signals.mode, _DEFERRED
        try:
            self._take(message)
        finally:
            signals.mode = mode
        if signals.received is not None:
            signals.act()

    def _take(self, message: Message) -> None:
        if self.batches is not None:
            self._write_batched(self.batches, message)
        else:
            encoder.encode_into(fields_of(message), self._waiting, -1)
            self._waiting += b"\n"
            if len(self._waiting) >= FULL or not isinstance(message, RecordMessage):
                self._send()

    def end_files(self) -> None:
        """Complete the files that records were put into, where there are any, and announce them."""
        if self.batches is not None and not self.batches.is_broken:
            with stop_signals.deferred():
                self._announce(self.batches.close())

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
            encoder.encode_into(fields_of(message), self._waiting, -1)
            self._waiting += b"\n"
        if messages:
            self._send()

    def write_line(self, text: str) -> None:
        """Write what is no message; Python's own `print` loses a part when a signal comes and nothing is buffered."""
        with stop_signals.deferred():
            for start in range(0, len(text), FULL):  # a catalog is large: no second copy of it
                self._waiting += text[start : start + FULL].encode()
                self._send()
            self._waiting += b"\n"
            self._send()

    @property
    def written(self) -> int:
        """Bytes that were written so far, those in files among them."""
        return self.sent + len(self._waiting) + (self.batches.written if self.batches is not None else 0)

    def flush(self) -> None:
        """Write the buffered records."""
        with stop_signals.deferred():
            self._send()

    def _send(self) -> None:
        """Write the buffer to standard output, past Python's own buffer, which hides how far a write came.

        Raises:
            OutputClosedError: it cannot be written; the buffer is dropped.
        """
        output = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        try:
            while self._waiting and not self._closed_because:
                size = FULL if stop_signals.received is None else SMALLEST_WRITE
                with memoryview(self._waiting) as waiting:
                    taken = output.write(waiting[:size])
                if taken is None:  # the output was set to take no more than it can at once
                    select.select([], [output], [])
                else:
                    self.sent += taken
                    del self._waiting[:taken]
        except OSError as error:
            self._closed_because = reason_of(error)
        if self._closed_because:
            self._waiting.clear()
            raise OutputClosedError(self._closed_because)


def fields_of(message: Message) -> dict[str, Any]:
    """Return the fields of a message, to be encoded at once; the SDK would copy states and schemas deeply."""
    if isinstance(message, RecordMessage):
        return message.to_dict()
    return {each.name: value for each in fields(message) if (value := getattr(message, each.name)) is not None}


def reason_of(error: OSError) -> str:
    """Say why the output cannot be written."""
    if error.errno in (errno.EPIPE, errno.EINVAL):  # as Windows calls it
        return (
            "Nobody reads the output any more: the target ended, or closed its input. Its own messages say why. Run "
            "again when that is solved."
        )
    return f"The output cannot be written: {error.strerror}. Run again when that is solved."
