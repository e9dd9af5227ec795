"""Singer's messages on their way out, as Airbyte's: records, states and statuses by stream, logs, errors, settings."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from singer_sdk.contrib.msgspec import enc_hook
from singer_sdk.singerlib import Message, RecordMessage, SchemaMessage, StateMessage
from typing_extensions import override

from tap_sage_accounting.printable import printable
from tap_sage_accounting.run.signals import Mode, stop_signals
from tap_sage_accounting.run.writer import FULL, OutputClosedError, WholeMessageWriter
from tap_sage_accounting.streams.deletions import Deletions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    FailureType = Literal["config_error", "transient_error", "system_error"]
    Status = Literal["STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"]

_encode = msgspec.json.Encoder(enc_hook=enc_hook, decimal_format="number").encode
_DEFERRED = Mode.DEFERRED
_LEVELS = ((logging.CRITICAL, "FATAL"), (logging.ERROR, "ERROR"), (logging.WARNING, "WARN"), (logging.INFO, "INFO"))


@dataclass
class _OpenStream:
    """A stream between its STARTED and its COMPLETE or INCOMPLETE.

    Attributes:
        columns: those of its records.
        in_part: whether what comes now are parts of records.
        running: whether a record came.
        untold: records since the last state.
        state: the last state, encoded.
    """

    columns: frozenset[str]
    in_part: bool = False
    running: bool = False
    untold: int = 0
    state: bytes = b""


@dataclass(slots=True)
class _Notice(Message):
    """A message of Airbyte's own that goes out like one of Singer's."""

    body: Mapping[str, Any] = field(default_factory=dict)


class AirbyteWriter(WholeMessageWriter):
    """Writes Singer messages to standard output in Airbyte's protocol, and what only Airbyte has besides.

    A stream begins with its schema and ends when the schema of the next one comes: the tap reads one after the other.
    Only the stream of deletions is open as long as any other may tell one.

    Airbyte has no record that leaves columns alone: a destination that merges replaces the whole row, so a part of one
    would empty the rest of it. Parts are left out, and counted; the stream of deletions tells the same.

    Messages leave whole, from whichever thread they come. Only the main thread is ever interrupted.

    Attributes:
        has_failed: whether a failure was told.
        failed: streams that did not deliver all their data.
        left_out: parts of records that were left out, by stream.
        mask: returns a text as it may be shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_failed = False
        self.failed: set[str] = set()
        self.left_out: Counter[str] = Counter()
        self.mask: Callable[[str], str] = printable
        self._lock = threading.Lock()
        self._logs: deque[bytes] = deque()
        self._open: dict[str, _OpenStream] = {}
        self._current: str | None = None
        self._bookmarks: Mapping[str, Any] = {}

    # What the tap writes

    @override
    def write_message(self, message: Message) -> None:
        signals = stop_signals
        mode, signals.mode = signals.mode, _DEFERRED  # before the lock is taken: no signal must leave it locked
        try:
            with self._lock:
                self._translate(message, self._waiting)
                if len(self._waiting) >= FULL or not isinstance(message, RecordMessage):
                    self._send()
        finally:
            signals.mode = mode
        if signals.received is not None:
            signals.act()

    def _translate(self, message: Message, lines: bytearray) -> None:
        """Add what a message of Singer's means in Airbyte; an ACTIVATE_VERSION means nothing there."""
        match message:
            case RecordMessage():
                self._record(message, lines)
            case SchemaMessage():
                self._schema(message, lines)
            case StateMessage():
                self._bookmarks = message.value.get("bookmarks", {})
                for name in self._open:
                    self._state(name, lines)
            case _Notice():
                _add(lines, message.body)

    def _record(self, message: RecordMessage, lines: bytearray) -> None:
        stream = self._open[message.stream]
        if stream.in_part:
            self.left_out[message.stream] += 1
            return
        if not stream.running:
            stream.running = True
            _add(lines, _status(message.stream, "RUNNING"))
        stream.untold += 1
        record = {"stream": message.stream, "data": message.record, "emitted_at": now()}
        _add(lines, {"type": "RECORD", "record": record})

    def _schema(self, message: SchemaMessage, lines: bytearray) -> None:
        """Begin a stream; a later schema with fewer columns announces parts of records."""
        name, columns = message.stream, frozenset(message.schema["properties"])
        if name in self._open:
            self._open[name].in_part = columns < self._open[name].columns
            return
        if name != Deletions.name:
            if self._current is not None:
                self._end(self._current, lines)
            self._current = name
        self._open[name] = _OpenStream(columns)
        _add(lines, _status(name, "STARTED"))
        self._state(name, lines)

    def _state(self, name: str, lines: bytearray, *, last: bool = False) -> None:
        """Tell a stream's state where it changed, and after its last record anyway, to account for all of them."""
        stream = self._open[name]
        value = self._bookmarks.get(name) or {}
        state = _encode(value)
        if not last and (not value or state == stream.state):
            return
        told = {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": name}, "stream_state": msgspec.Raw(state)},
            "sourceStats": {"recordCount": float(stream.untold)},
        }
        _add(lines, {"type": "STATE", "state": told})
        stream.state, stream.untold = state, 0

    def _end(self, name: str, lines: bytearray, *, aborted: bool = False) -> None:
        self._state(name, lines, last=True)
        _add(lines, _status(name, "INCOMPLETE" if aborted or name in self.failed else "COMPLETE"))
        del self._open[name]

    def has_begun(self, stream: str) -> bool:
        """Tell whether a stream is open."""
        return stream in self._open

    # What only Airbyte has; from the main thread

    def tell(self, body: Mapping[str, Any]) -> None:
        """Write a message of Airbyte's own."""
        self.write_message(_Notice(body))

    def fail(
        self, stream: str | None, message: str, failure_type: FailureType, error: BaseException | None = None
    ) -> None:
        """Tell of something that should have been delivered and was not.

        Args:
            stream: the stream concerned; None for all that is to come.
            message: what happened and what to do, for the user.
            failure_type: `config_error` for what the user must mend, `transient_error` for what passes, `system_error`.
            error: what was raised, where its traceback tells more.
        """
        message = self.mask(message)
        told: dict[str, Any] = {"message": message, "failure_type": failure_type}
        self.has_failed = True
        if stream is not None:
            self.failed.add(stream)
            told["stream_descriptor"] = {"name": stream}
        if error is not None:
            told["internal_message"] = f"{type(error).__name__}: {message}"
            if failure_type == "system_error":
                told["stack_trace"] = "".join(traceback.format_tb(error.__traceback__))
        self.tell({"type": "TRACE", "trace": {"type": "ERROR", "emitted_at": float(now()), "error": told}})

    def finish(self, *, aborted: bool) -> None:
        """End the streams that are open; as incomplete where the run ends before its end."""
        with stop_signals.deferred(), self._lock:
            for name in list(self._open):
                self._end(name, self._waiting, aborted=aborted)
            self._current = None
            self._send()

    # From any thread

    def tell_at_once(self, body: Mapping[str, Any]) -> None:
        """Write a message from another thread than the main one; it is out when this returns."""
        with self._lock:
            _add(self._waiting, body)
            self._send()

    def log(self, body: Mapping[str, Any]) -> None:
        """Write a log message, at once or after what is being written: whoever logs must not wait for it.

        Warnings come while the main thread writes, and others log while they hold locks of their own.
        """
        self._logs.append(_encode(body) + b"\n")
        if threading.current_thread() is not threading.main_thread():
            self._send_logs()
        else:
            with stop_signals.deferred():
                self._send_logs()

    def _send_logs(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                with suppress(OutputClosedError):  # the next message raises it where it is expected
                    self._send()
            finally:
                self._lock.release()

    # How it goes out

    @override
    def flush(self) -> None:
        with stop_signals.deferred(), self._lock:
            self._send()

    @override
    def _send(self) -> None:
        while self._logs:
            self._waiting += self._logs.popleft()
        super()._send()


class AirbyteLogHandler(logging.Handler):
    """Turns log records into LOG messages."""

    def __init__(self, writer: AirbyteWriter) -> None:
        super().__init__()
        self._writer = writer

    @override
    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for least, name in _LEVELS if record.levelno >= least), "DEBUG")
        told = {"level": level, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            told["stack_trace"] = "".join(traceback.format_exception(record.exc_info[1]))
        self._writer.log({"type": "LOG", "log": told})


def _add(lines: bytearray, body: Mapping[str, Any]) -> None:
    lines += _encode(body)
    lines += b"\n"


def _status(stream: str, status: Status) -> dict[str, Any]:
    told = {"stream_descriptor": {"name": stream}, "status": status}
    return {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": float(now()), "stream_status": told}}


def now() -> int:
    """Give the present moment in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
