"""Rows that wait for a state which names them: in memory, or in a temporary file without a name."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import datetime  # noqa: TC003 - msgspec looks it up
from tempfile import SpooledTemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.contrib.msgspec import decoder, encoder
from singer_sdk.singerlib import RecordMessage

from tap_sage_accounting.exceptions import NoRoomError

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MEMORY = 1 << 20
"""Bytes of rows that are kept in memory."""


class _Line(msgspec.Struct):
    """A RECORD message, whose record is not looked into."""

    stream: str
    record: msgspec.Raw
    version: int | None = None
    time_extracted: datetime | None = None


_lines = msgspec.json.Decoder(_Line)


class HeldRows:
    """Messages in the order in which they came.

    Attributes:
        size: bytes that they take.
        counts: how many there are, by stream.
    """

    def __init__(self) -> None:
        self.size = 0
        self.counts: Counter[str] = Counter()
        self._file: Any = None

    def add(self, message: RecordMessage) -> bool:
        """Keep a message.

        Returns:
            Whether there is room for more; there is little where no temporary file can be made.

        Raises:
            NoRoomError: the disk is full, and what was kept cannot be read any more.
        """
        line = encoder.encode(message.to_dict()) + b"\n"
        self.size += len(line)
        self.counts[message.stream] += 1
        if self._file is None:
            self._file = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed with the rest
        try:
            self._file.write(line)
        except OSError as error:
            if self._file._rolled:  # noqa: SLF001 - no public attribute has it
                raise _no_room(error) from error
            return False
        return True

    def messages(self, *, as_sent: bool) -> Iterator[RecordMessage]:
        """Yield the messages, the oldest first; `as_sent` leaves their records JSON, for writers that take it.

        Raises:
            NoRoomError: the disk is full.
        """
        try:
            self._file.seek(0)
        except OSError as error:
            raise _no_room(error) from error
        for line in self._file:
            found = _lines.decode(line)
            record: Any = found.record if as_sent else decoder.decode(found.record)
            yield RecordMessage(found.stream, record, found.version, found.time_extracted)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with suppress(OSError):  # what is left in a buffer finds no room either
                self._file.close()


def _no_room(error: OSError) -> NoRoomError:
    return NoRoomError(
        f"Rows that wait for the next state found no room in {gettempdir()} ({error.strerror}). Free some, or set "
        "TMPDIR to another directory; the next run reads them again."
    )
