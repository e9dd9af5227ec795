"""Attempts of one sync by the Airbyte source: each is a process of its own, and begins with what Airbyte has kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sage_workbench.listings import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sage_sandbox.api import Call
    from sage_sandbox.server import SandboxServer

Record = dict[str, Any]
Place = tuple[str, str, str]


class Attempt:
    """What came out whole of one process, and how that ended.

    Attributes:
        code: the exit code; negative for a signal.
        output: the messages, a line each.
        messages: the same, decoded.
        records: the data of the records, by stream.
    """

    def __init__(self, code: int, output: bytes) -> None:
        lines = [line for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
        self.code = code
        self.output = b"".join(lines).decode()
        self.messages: list[Record] = [json.loads(line, parse_float=Decimal) for line in lines]
        self.records: dict[str, list[Record]] = {}
        for message in self.messages:
            if message["type"] == "RECORD":
                self.records.setdefault(message["record"]["stream"], []).append(message["record"]["data"])

    @property
    def rows(self) -> dict[Place, Record]:
        """The rows that a destination makes of the records, by stream, business and key: the later of a key counts."""
        return {
            (stream, row.get("business_id") or "", key_of(row)): row
            for stream, rows in self.records.items()
            for row in rows
        }

    @property
    def states(self) -> dict[str, Record]:
        """The last state of each stream, as Airbyte keeps it."""
        states = [message["state"] for message in self.messages if message["type"] == "STATE"]
        return {state["stream"]["stream_descriptor"]["name"]: state for state in states}

    @property
    def statuses(self) -> dict[str, list[Record]]:
        """The statuses of each stream, in their order."""
        found: dict[str, list[Record]] = {}
        for trace in (message["trace"] for message in self.messages if message["type"] == "TRACE"):
            if status := trace.get("stream_status"):
                named = found.setdefault(status["stream_descriptor"]["name"], [])
                named.append({**status, "emitted_at": trace["emitted_at"]})
        return found

    @property
    def incomplete(self) -> set[str]:
        """The streams that began and did not come to their end."""
        return {name for name, statuses in self.statuses.items() if statuses[-1]["status"] != "COMPLETE"}


class Sync:
    """A sync: its catalog, and what Airbyte has kept of earlier attempts.

    Attributes:
        config: the settings, or what the source handed back for them.
        states: the last state of each stream.

    Args:
        program: the source. What it writes to its disk is gone when it ends.
        directory: where the files that are handed over are written.
        config: the settings of the first attempt.
        streams: those of the source's catalog that are read.
        mode: which of the modes that a stream supports is chosen: 0 for the first one, -1 for the last one. Most can be
            read whole and by change, in this order; the others one way only.
    """

    def __init__(
        self,
        server: SandboxServer,
        program: Path,
        directory: Path,
        config: Record,
        streams: Sequence[Record],
        *,
        mode: int,
    ) -> None:
        self.config = config
        self.states: dict[str, Record] = {}
        self._server = server
        self._program = program
        self._directory = directory
        modes = {"full_refresh": "overwrite", "incremental": "append_dedup"}
        chosen = [(stream, stream["supported_sync_modes"][mode]) for stream in streams]
        self._catalog = [
            {"stream": stream, "sync_mode": mode, "destination_sync_mode": modes[mode]} for stream, mode in chosen
        ]

    def repeated(self, attempt: Attempt) -> set[str]:
        """Return the streams that were to be read whole, and of which a row came twice."""
        keys = {
            each["stream"]["name"]: [name for [name] in each["stream"]["source_defined_primary_key"]]
            for each in self._catalog
            if each["sync_mode"] == "full_refresh"
        }
        return {
            stream
            for stream, rows in attempt.records.items()
            if stream in keys and len({tuple(row.get(name) for name in keys[stream]) for row in rows}) < len(rows)
        }

    def attempt(self, kill_at: int | None = None) -> Attempt:
        """Read, and kill the process for that request of its, before the response is sent; None lets it live."""
        files = {"config": self.config, "catalog": {"streams": self._catalog}, "state": [*self.states.values()]}
        arguments = [part for name, content in files.items() for part in (f"--{name}", self._write(name, content))]
        output = self._directory / "output.jsonl"
        with (
            output.open("wb") as out,
            self._killing(kill_at) as chosen,
            subprocess.Popen([self._program, "read", *arguments], stdout=out) as process,
        ):
            chosen(process.pid)
            code = process.wait()
        done = Attempt(code, output.read_bytes())
        self.states |= done.states
        for message in done.messages:
            if message["type"] == "CONTROL":
                self.config = message["control"]["connectorConfig"]["config"]
        return done

    def _write(self, name: str, content: Any) -> str:
        path = self._directory / f"{name}.json"
        path.write_text(json.dumps(content, default=float))
        return f"{path}"

    @contextmanager
    def _killing(self, kill_at: int | None) -> Iterator[Any]:
        """Have a process killed for one of its requests; it is named by calling what this gives."""
        known, seen, pid = threading.Event(), 0, 0

        def name(number: int) -> None:
            nonlocal pid
            pid = number
            known.set()

        def on_request(_: Call) -> None:
            nonlocal seen
            seen += 1
            if seen == kill_at:
                known.wait()
                os.kill(pid, signal.SIGKILL)

        self._server.on_request = on_request
        try:
            yield name
        finally:
            self._server.on_request = None
