"""The tap as a process of its own, which dies at a moment that a test chooses."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage_workbench.pipeline import catalog_of
from sage_workbench.ready_programs import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sage_sandbox.api import Call
    from sage_sandbox.server import SandboxServer

Record = dict[str, Any]
PROGRAM = Path(sys.executable).with_name("tap-sage-accounting")
TIMEOUT = 600


class TapProcess:
    """Runs of the tap that share a token store, a catalog and the state that the target kept last.

    Attributes:
        state: the last state that came out, as a target persists it.
        killed: how many runs were killed.
        failed: whether the last run ended with an error of its own.
    """

    def __init__(self, server: SandboxServer, directory: Path, streams: Collection[str], **config: Any) -> None:
        self.state: Record = {}
        self.killed = 0
        self.failed = False
        self._server = server
        self._directory = directory
        settings = server.tap_config(**{"token_store": f"sqlite:///{directory / 'tokens.sqlite'}", **config})
        self._write("config", settings)
        self._write("catalog", catalog_of(settings, streams))

    def _write(self, name: str, content: Record) -> None:
        (self._directory / f"{name}.json").write_text(json.dumps(content))

    def run(
        self,
        kill_when: Callable[[Call], bool] | None = None,
        meanwhile: Callable[[Call], None] | None = None,
        *,
        may_fail: bool = False,
    ) -> list[Record]:
        """Run until the end, or until a request is killed for; give the messages that came out whole.

        Args:
            kill_when: returns for each API request, before its response is sent, whether to kill the process.
            meanwhile: what happens in the books before each response.
            may_fail: whether the run may end with exit code 1.
        """
        command = self.command()
        started = threading.Event()
        output, log = self._directory / "output.jsonl", self._directory / "tap.log"
        with output.open("wb") as out, log.open("wb") as err:

            def on_request(call: Call) -> None:
                if meanwhile is not None:
                    meanwhile(call)
                started.wait()
                if kill_when is not None and kill_when(call):
                    os.kill(process.pid, signal.SIGKILL)

            self._server.on_request = on_request
            process = Program(command, stdout=out, stderr=err)
            started.set()
            try:
                code = process.wait(timeout=TIMEOUT)
            finally:
                self._server.on_request = None
                process.kill()
        self.failed = code == 1 and may_fail
        assert self.failed or code in {0, -signal.SIGKILL}, log.read_text()[-3000:]
        self.killed += code == -signal.SIGKILL
        return self.take(output.read_bytes())

    def command(self) -> list[str | Path]:
        """Name the program and its files: what a scheduler would start now."""
        names = ["config", "catalog"]
        if self.state:
            self._write("state", self.state)
            names.append("state")
        return [PROGRAM, *(part for name in names for part in (f"--{name}", self._directory / f"{name}.json"))]

    def take(self, output: bytes) -> list[Record]:
        """Read the messages that came out whole, and keep the last state, as a target does."""
        lines = output.splitlines(keepends=True)
        messages = [json.loads(line) for line in lines if line.endswith(b"\n")]
        states = [message["value"] for message in messages if message["type"] == "STATE"]
        self.state = states[-1] if states else self.state
        return messages
