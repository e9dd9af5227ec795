"""What a reader of the first pages types, in the Meltano project, at a path with a space and an umlaut.

The simulated Sage is started as the page says, the browser allows, and each command is run once, in the pages' order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

from sage_workbench.small_sage import free_port
from support.pages import ROOT, block_with
from support.shell_lines import commands_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.meltano, pytest.mark.slow]

SANDBOX = ("docs/start/first-hour.md", "sage-sandbox --size tiny")
ENV = ("docs/start/first-hour.md", "TAP_SAGE_ACCOUNTING_API_URL")
WALK = (
    ("docs/start/sage.md", "tap-sage-accounting:login"),
    ("docs/start/sage.md", "tap-sage-accounting:status"),
    ("docs/start/first-hour.md", "tap-sage-accounting:login"),
    ("docs/start/first-hour.md", "tap-sage-accounting:doctor\n"),
    ("docs/start/first-hour.md", "tap-sage-accounting:doctor --report ."),
    ("docs/development/reports.md", "scripts/compare_schemas.py"),
    ("docs/recipes/selecting.md", "meltano select --list"),
    ("docs/platforms/meltano.md", "tap-sage-accounting:logout"),
)
"""The blocks that are run, by their pages and a part of each."""
BROWSER = """\
#!/bin/sh
exec python -c '
import sys, requests
address, _, query = sys.argv[1].partition("?")
form = {"Content-Type": "application/x-www-form-urlencoded"}
requests.post(address, f"{query}&decision=allow", headers=form, timeout=60).raise_for_status()
' "$1"
"""
"""A browser whose user allows what Sage asks for."""
COPIED = ("meltano.yml", "logging.yaml", ".env.example", "scripts", "tap_sage_accounting/schemas")


class Reader:
    """A user with a clone of the project, who types what the pages say."""

    def __init__(self, directory: Path, port: int) -> None:
        self.project = directory / "Müller & Söhne" / "sage"
        self.home = directory / "home"
        self.home.mkdir()
        for name in COPIED:
            (copy := self.project / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, copy)
        (self.project / ".venv").symlink_to(sys.prefix, target_is_directory=True)
        (browser := directory / "browser").write_text(BROWSER)
        browser.chmod(0o755)
        self._port = port
        self._environment = {
            "BROWSER": str(browser),
            "HOME": str(self.home),
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            "NO_COLOR": "1",
            "PATH": f"{self.project}/.venv/bin:{os.environ['PATH']}",
            "VIRTUAL_ENV": f"{self.project}/.venv",
        }
        self._typed: set[str] = set()
        self.seen: dict[str, str] = {}

    def fill_in(self, lines: str) -> None:
        """Copy `.env.example`, and enter what a page shows, and a port that is free."""
        text = (self.project / ".env.example").read_text()
        entered = [
            *self.at_port(lines).splitlines(),
            f"TAP_SAGE_ACCOUNTING_REDIRECT_URI=http://localhost:{free_port()}/callback",
        ]
        for line in entered:
            name = line.partition("=")[0]
            text, count = re.subn(rf"^(?:# )?{name}=.*$", line, text, flags=re.MULTILINE)
            assert count == 1, name
        (self.project / ".env").write_text(text)

    def at_port(self, text: str) -> str:
        return text.replace("8000", str(self._port))

    def start(self, line: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", self.at_port(line)],
            cwd=self.project,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def type(self, block: str) -> None:
        """Run the lines of a block whose command was not run before."""
        for line in block.replace("\\\n", " ").splitlines():
            [name] = {str(command) for command in commands_in(line)}
            if name not in self._typed:
                self._typed.add(name)
                self.seen[name] = self._run(line)

    def _run(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.project,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path, free_port())
    sandbox = reader.start(block_with(*SANDBOX).text)
    try:
        reader.fill_in(block_with(*ENV).text)
        wait_for(reader.at_port("http://127.0.0.1:8000/_sandbox/stats"), sandbox)
        yield reader
    finally:
        os.killpg(sandbox.pid, signal.SIGTERM)
        sandbox.wait(300)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            requests.get(address, timeout=60)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the simulated Sage ended")


def test_the_commands_of_the_first_pages_run_in_a_clone(reader: Reader) -> None:
    selection = block_with("docs/recipes/selecting.md", "tap-sage-accounting--sales\n    inherit_from").text
    tail = selection.partition("extractors:\n")[2]
    definition = (reader.project / "meltano.yml").read_text()
    (reader.project / "meltano.yml").write_text(definition.replace("  extractors:\n", f"  extractors:\n{tail}\n", 1))
    before = (reader.project / "meltano.yml").read_text()
    for page, part in WALK:
        reader.type(block_with(page, part).text)
    seen = {name.partition("tap-sage-accounting:")[2] or name: output for name, output in reader.seen.items()}
    assert "They reach 1 business" in seen["login"]
    assert "Refresh token: dies at" in seen["status"]
    assert "Ready to load" in seen["doctor"]
    assert json.loads((reader.project / "doctor-report.json").read_text())
    assert "sales_invoices.contact" in seen["meltano select --list tap-sage-accounting--sales"]
    assert "logout" in seen
    assert (reader.project / "meltano.yml").read_text() == before
    assert list(reader.home.rglob("*.sqlite")) == []
