"""BATCH messages: records go into files of JSON lines, and a message names each file when it is complete.

A file is announced before any other message that follows its records: no state covers rows that no file delivered.
Files hold rows exactly as RECORD messages would.
"""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from singer_sdk.contrib.msgspec import encoder
from singer_sdk.helpers._batch import BaseBatchFileEncoding, SDKBatchMessage, StorageTarget

from tap_sage_accounting.exceptions import BatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_sdk.singerlib import RecordMessage

ROWS = 10_000
"""Rows of a file, unless the setting says otherwise."""
_PARTS = {"encoding": {"format", "compression"}, "storage": {"root", "prefix", "params"}, "batch_size": set[str]()}


def problems(config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong in the setting `batch_config`."""
    batch = config.get("batch_config")
    if not isinstance(batch, dict):
        return []
    found = []
    for name, value in batch.items():
        unknown = value.keys() - _PARTS[name] if name in _PARTS and isinstance(value, dict) else set()
        found += [f"Setting 'batch_config' has no {each!r}." for each in ({name} - _PARTS.keys()) | unknown]
    encoding, storage, size = batch.get("encoding") or {}, batch.get("storage") or {}, batch.get("batch_size", ROWS)
    if not storage.get("root"):
        found.append(
            "Setting 'batch_config' needs 'storage.root', where its files go: write it like file:///data/sage."
        )
    if encoding.get("format", "jsonl") != "jsonl":
        found.append("Setting 'batch_config' writes files of the format 'jsonl' only.")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        found.append("Setting 'batch_config' needs a 'batch_size' of one or more.")
    if config.get("emit_activate_version_messages"):
        found.append(
            "Settings 'batch_config' and 'emit_activate_version_messages' exclude each other. Rows in files carry no "
            "version, so that a target would drop all of them."
        )
    return found


class Batches:
    """Collects rows into files, one for each stream.

    Attributes:
        is_broken: whether a file could not be written.
        written: bytes of rows so far, before they are compressed.
    """

    def __init__(self, setting: Mapping[str, Any], tap: str) -> None:
        storage = setting["storage"]
        self._storage = StorageTarget(storage["root"], storage.get("prefix"), storage.get("params") or {})
        compression = (setting.get("encoding") or {}).get("compression") or "gzip"
        self._encoding = BaseBatchFileEncoding("jsonl", compression)
        self._largest = setting.get("batch_size", ROWS)
        self._tap = tap
        self._open: dict[str, tuple[io.BytesIO, gzip.GzipFile | io.BytesIO]] = {}
        self._rows: dict[str, int] = {}
        self.is_broken = False
        self.written = 0

    def add(self, message: RecordMessage) -> list[SDKBatchMessage]:
        """Put a row into the file of its stream; return the message that announces the file when that is full."""
        stream = message.stream
        if stream not in self._open:
            content = io.BytesIO()
            is_gzip = self._encoding.compression == "gzip"
            self._open[stream] = content, gzip.GzipFile(fileobj=content, mode="wb") if is_gzip else content
            self._rows[stream] = 0
        row = encoder.encode(message.record) + b"\n"
        self._open[stream][1].write(row)
        self.written += len(row)
        self._rows[stream] += 1
        return [self._close(stream)] if self._rows[stream] >= self._largest else []

    def close(self) -> list[SDKBatchMessage]:
        """Complete all files; return the messages that announce them."""
        return [self._close(stream) for stream in list(self._open)]

    def _close(self, stream: str) -> SDKBatchMessage:
        """Write a file.

        Raises:
            BatchError: it could not be written.
        """
        content, rows = self._open.pop(stream)
        if rows is not content:
            rows.close()
        ending = ".gz" if self._encoding.compression == "gzip" else ""
        name = f"{self._storage.prefix or ''}{self._tap}--{stream}-{uuid4()}.jsonl{ending}"
        try:
            with self._storage.open(name, "wb") as file:
                file.write(content.getvalue())
            return SDKBatchMessage(stream, self._encoding, [self._storage.get_url(name)])
        except Exception as error:
            self.is_broken = True
            raise BatchError(
                f"A batch file of '{stream}' could not be written to {self._storage.root!r} ({type(error).__name__}). "
                "The run ends without another state, so that the next one delivers its rows again."
            ) from error
