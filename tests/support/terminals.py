"""Programs as somebody runs them who looks at what they show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sage_workbench.ready_programs import Program

if TYPE_CHECKING:
    from sage_sandbox.server import SandboxServer

PROGRAMS = Path(sys.executable).parent
TIMEOUT = 120
"""Seconds for a program that takes a few on a machine that is not busy."""


class Terminal:
    """Runs programs, none of which may end in a traceback."""

    def __init__(self, sage: SandboxServer, home: Path) -> None:
        self.sage = sage
        self.home = home
        self.settings: dict[str, Any] = sage.tap_config(token_store=f"sqlite:///{home / 'tokens.sqlite'}")

    def write(self, **changes: Any) -> str:
        path = self.home / "config.json"
        path.write_text(json.dumps({**self.settings, **changes}))
        return f"--config={path}"

    def run(self, program: str, *options: str, **environment: Any) -> tuple[int, list[str]]:
        """Run a program; return its exit code and the lines that it shows."""
        finished = self.start(PROGRAMS / program, *options, **environment)
        shown = finished.stdout + finished.stderr
        assert "Traceback" not in shown, shown
        assert "\x1b" not in shown
        return finished.returncode, shown.splitlines()

    def start(
        self,
        *command: str | Path,
        standard_input: str | None = None,
        output: int = subprocess.PIPE,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        process = self.begin(*command, output=output, **environment)
        return self.end(process, standard_input or "")

    def begin(self, *command: str | Path, output: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program."""
        return Program(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], **environment},
        )

    def end(self, process: subprocess.Popen[bytes], standard_input: str = "") -> subprocess.CompletedProcess[str]:
        """Wait for the end of a program; its output comes with the line ends that it wrote."""
        try:
            output, log = process.communicate(standard_input.encode(), timeout=TIMEOUT)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, (output or b"").decode(), log.decode())
