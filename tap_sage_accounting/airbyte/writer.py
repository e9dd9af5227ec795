"""Singer's messages on their way out, as Airbyte's: records, states and statuses by stream, logs, errors, settings."""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections import Counter, deque
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from singer_sdk.contrib.msgspec import enc_hook
from singer_sdk.singerlib import RecordMessage, SchemaMessage, StateMessage
from typing_extensions import override

from tap_sage_accounting.printable import printable
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.writer import FULL, OutputClosedError, WholeMessageWriter
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from singer_sdk.singerlib import Message

    FailureType = Literal["config_error", "transient_error", "system_error"]
    Status = Literal["STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"]

COLLECTED = frozenset(stream.name for stream in STREAMS if stream.collected)
_encode = msgspec.json.Encoder(enc_hook=enc_hook, decimal_format="number").encode
_LEVELS = ((logging.CRITICAL, "FATAL"), (logging.ERROR, "ERROR"), (logging.WARNING, "WARN"), (logging.INFO, "INFO"))


@dataclass
class _OpenStream:
    """A stream between its STARTED and its COMPLETE or INCOMPLETE.

    Attributes:
        columns: those of its records.
        in_part: whether what comes now are parts of records.
        running: whether a record came.
        uncounted: records since the last state.
        state: the last state, encoded.
    """

    columns: frozenset[str]
    in_part: bool = False
    running: bool = False
    uncounted: int = 0
    state: bytes = b""


class AirbyteWriter(WholeMessageWriter):
    """Writes Singer messages to standard output in Airbyte's protocol, and what only Airbyte has besides.

    The tap reads one stream after the other: each ends when the schema of the next one comes. Only collected
    streams, such as deletions, stay open as long as any other stream may add rows to them.

    Airbyte has no record that leaves columns alone: a destination that merges replaces the whole row. Parts of rows
    would empty the rest, so they are left out and counted. The stream of deletions lists the same rows.

    Messages of all threads leave whole. Only the main thread is ever interrupted.

    Attributes:
        has_failed: whether a failure was reported.
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
        self._is_limited = False

    # What the tap writes

    @override
    def _take(self, message: Message) -> None:
        with self._lock:
            match message:
                case RecordMessage():
                    self._write_record(message)
                case SchemaMessage():
                    self._begin(message)
                case StateMessage():
                    self._bookmarks = message.value.get("bookmarks", {})
                    for name in self._open:
                        self._write_state(name)
            if len(self._waiting) >= FULL or not isinstance(message, RecordMessage):
                self._send()

    def _write_record(self, message: RecordMessage) -> None:
        stream = self._open[message.stream]
        if stream.in_part:
            self.left_out[message.stream] += 1
            return
        if not stream.running:
            stream.running = True
            self._add(_status(message.stream, "RUNNING"))
        stream.uncounted += 1
        record = {"stream": message.stream, "data": message.record, "emitted_at": now()}
        self._add({"type": "RECORD", "record": record})

    def _begin(self, message: SchemaMessage) -> None:
        """Begin a stream; a later schema with fewer columns announces parts of records."""
        name, columns = message.stream, frozenset(message.schema["properties"])
        if name in self._open:
            self._open[name].in_part = columns < self._open[name].columns
            return
        if name not in COLLECTED:
            if self._current is not None:
                self._end(self._current)
            self._current, self._is_limited = name, False
        self._open[name] = _OpenStream(columns)
        self._add(_status(name, "STARTED"))
        self._write_state(name)

    def _write_state(self, name: str, *, last: bool = False) -> None:
        """Write a stream's state where it changed, and after its last record anyway, to account for all of them."""
        stream = self._open[name]
        value = self._bookmarks.get(name) or {}
        state = _encode(value)
        if not last and (not value or state == stream.state):
            return
        body = {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": name}, "stream_state": msgspec.Raw(state)},
            "sourceStats": {"recordCount": float(stream.uncounted)},
        }
        self._add({"type": "STATE", "state": body})
        stream.state, stream.uncounted = state, 0

    def _end(self, name: str, *, aborted: bool = False) -> None:
        self._write_state(name, last=True)
        self._add(_status(name, "INCOMPLETE" if aborted or name in self.failed else "COMPLETE"))
        del self._open[name]

    def has_begun(self, stream: str) -> bool:
        """Return whether a stream is open."""
        return stream in self._open

    # What only Airbyte has

    def write(self, body: Mapping[str, Any]) -> None:
        """Write a message of Airbyte's own; it is out when this returns."""
        with self._locked():
            self._add(body)
            self._send()

    def fail(
        self, stream: str | None, message: str, failure_type: FailureType, error: BaseException | None = None
    ) -> None:
        """Report something that should have been delivered and was not.

        `stream` is None for all that is to come. The user reads `message`; support reads the traceback of `error`.
        """
        message = self.mask(message)
        body: dict[str, Any] = {"message": message, "failure_type": failure_type}
        self.has_failed = True
        if stream is not None:
            self.failed.add(stream)
            body["stream_descriptor"] = {"name": stream}
        if error is not None:
            body["internal_message"] = f"{type(error).__name__}: {message}"
            if failure_type == "system_error":
                body["stack_trace"] = "".join(traceback.format_tb(error.__traceback__))
        self.write({"type": "TRACE", "trace": {"type": "ERROR", "emitted_at": float(now()), "error": body}})

    def report_limit(self, seconds: float | None) -> None:
        """Report for how long a limit of Sage's delays the current stream; None: it does no longer."""
        with suppress(OutputClosedError), self._locked():  # the next message raises it where it is expected
            name = self._current
            if name is None or (seconds is None and not self._is_limited):
                return
            self._is_limited = seconds is not None
            self._open[name].running = True
            reasons: list[dict[str, Any]] = []
            if seconds is not None:
                reset = {} if seconds == math.inf else {"rate_limited": {"quota_reset": now() + round(seconds * 1000)}}
                reasons.append({"type": "RATE_LIMITED", **reset})
            self._add(_status(name, "RUNNING", *reasons))
            self._send()

    def estimate(self, stream: str, rows: int) -> None:
        """Say how many records a stream will have, as far as is known; a later estimate replaces an earlier one."""
        body = {"name": stream, "type": "STREAM", "row_estimate": rows}
        self.write({"type": "TRACE", "trace": {"type": "ESTIMATE", "emitted_at": float(now()), "estimate": body}})

    def finish(self, *, aborted: bool) -> None:
        """End the streams that are open; as incomplete where the run ends before its end."""
        with self._locked():
            for name in list(self._open):
                self._end(name, aborted=aborted)
            self._current = None
            self._send()

    def log(self, body: Mapping[str, Any]) -> None:
        """Write a log message, at once or after what is being written; logging never waits for it.

        Warnings come while the main thread writes, and others log while they hold locks of their own.
        """
        self._logs.append(_encode(body) + b"\n")
        with _deferring_signals():
            if self._lock.acquire(blocking=False):
                try:
                    with suppress(OutputClosedError):  # the next message raises it where it is expected
                        self._send()
                finally:
                    self._lock.release()

    # How it goes out

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _deferring_signals(), self._lock:
            yield

    @override
    def flush(self) -> None:
        with self._locked():
            self._send()

    def _add(self, body: Mapping[str, Any]) -> None:
        self._waiting += _encode(body)
        self._waiting += b"\n"

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
        body = {"level": level, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            body["stack_trace"] = "".join(traceback.format_exception(record.exc_info[1]))
        self._writer.log({"type": "LOG", "log": body})


def _deferring_signals() -> AbstractContextManager[None]:
    """Let signals wait, so that none leaves the lock taken; they only ever interrupt the main thread."""
    is_main = threading.current_thread() is threading.main_thread()
    return stop_signals.deferred() if is_main else nullcontext()


def _status(stream: str, status: Status, *reasons: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"stream_descriptor": {"name": stream}, "status": status}
    if reasons:
        body["reasons"] = reasons
    return {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": float(now()), "stream_status": body}}


def now() -> int:
    """Return the present moment in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
