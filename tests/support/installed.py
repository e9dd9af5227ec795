"""The installed program, in an environment that holds nothing but what a test gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sage_sandbox.server import SandboxServer

    Done = subprocess.CompletedProcess[str]


class Program:
    """The console script, in an environment that holds nothing but what a test gives it."""

    def __init__(self, server: SandboxServer, home: Path) -> None:
        self.home = home
        self.command = [Path(sys.executable).with_name("tap-sage-accounting")]
        self.settings: dict[str, Any] = server.tap_config(token_store=f"sqlite:///{home / 'tokens.sqlite'}")

    def __call__(self, *arguments: str, **environment: str) -> Done:
        return subprocess.run(
            [*self.command, *arguments],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": os.defpath, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def configured(self, *arguments: str, **changes: Any) -> Done:
        config = {name: value for name, value in {**self.settings, **changes}.items() if value is not None}
        return self(f"--config={self.write('config', config)}", *arguments)

    def write(self, name: str, content: Any) -> Path:
        path = self.home / f"{name}.json"
        path.write_text(json.dumps(content))
        return path


def messages(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def errors(done: Done) -> list[str]:
    """What is logged as an error; a traceback would be lines without a level."""
    assert "Traceback" not in done.stderr
    return [line.split(" | ")[-1] for line in done.stderr.splitlines() if "| ERROR" in line]
