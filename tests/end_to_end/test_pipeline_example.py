"""The pipe of the example for Dagster, which any scheduler can use: tap, loader, and a state for each business."""

from __future__ import annotations

import _thread
import importlib.util
import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sage_workbench.merge import Warehouse
from sage_workbench.pipeline import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_sandbox.api import Call
    from sage_sandbox.server import SandboxServer

FILE = Path(__file__).parents[2] / "examples" / "dagster" / "sage_pipeline.py"
LOADER = """\
import json, sys
with open(sys.argv[1], "a") as kept:
    for line in sys.stdin:
        kept.write(line)
        message = json.loads(line)
        if message["type"] == "STATE":
            print(json.dumps(message["value"]), flush=True)
"""


class Pipeline:
    """The module, with a loader that keeps messages, and settings for a simulated Sage."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages = directory / "messages.jsonl"
        self.state = directory / "states" / "business.json"
        self._loader = directory / "loader"
        specification = importlib.util.spec_from_file_location("sage_pipeline", FILE)
        assert specification
        assert specification.loader
        self.module: Any = importlib.util.module_from_spec(specification)
        monkeypatch.setitem(sys.modules, "sage_pipeline", self.module)
        specification.loader.exec_module(self.module)
        monkeypatch.setattr(self.module, "TAP", str(PROGRAMS / "tap-sage-accounting"))
        monkeypatch.setattr(self.module, "LOADER", str(self._loader))
        self.load_with(f"exec {shlex.quote(sys.executable)} -c {shlex.quote(LOADER)} {shlex.quote(str(self.messages))}")

    def load_with(self, command: str) -> None:
        self._loader.write_text(f"#!/bin/sh\n{command}\n")
        self._loader.chmod(0o755)

    def run(self, *streams: str) -> Any:
        return self.module.run(streams, self.state)

    def rows(self, stream: str) -> int:
        """How many rows a target has that merges by key."""
        warehouse = Warehouse()
        warehouse.load([json.loads(line) for line in self.messages.read_text().splitlines()])
        return len(warehouse.tables[stream])


@pytest.fixture
def pipeline(server: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    for name, value in server.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}").items():
        monkeypatch.setenv(f"TAP_SAGE_ACCOUNTING_{name.upper()}", str(value))
    return Pipeline(tmp_path, monkeypatch)


def held(server: SandboxServer, stream: str) -> int:
    return sum(len(business.collections[stream].rows) for business in server.world.businesses.values())


@pytest.mark.parametrize("reads", ["", "head -n 1 >/dev/null; ", "cat >/dev/null; "])
def test_a_loader_that_fails_is_named_and_nothing_counts_as_loaded(pipeline: Pipeline, reads: str) -> None:
    assert not pipeline.run("contacts").failed
    before = pipeline.state.read_bytes()
    pipeline.load_with(f"{reads}echo 'The disk is full.' >&2; exit 3")
    outcome = pipeline.run("contacts", "ledger_entries")
    assert outcome.exit_codes[pipeline.module.LOADER] == 3
    assert outcome.loaded == {}
    assert pipeline.state.read_bytes() == before
    assert (outcome.failed, outcome.summary) == (pipeline.module.LOADER, "The disk is full.")


def test_settings_that_are_not_right_are_named_before_anything_is_loaded(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAP_SAGE_ACCOUNTING_PATIENCE", "long")
    with pytest.raises(pipeline.module.RunFailedError, match="TAP_SAGE_ACCOUNTING_PATIENCE must be a whole number"):
        pipeline.run("contacts")
    assert not pipeline.messages.exists()


@pytest.fixture
def heeded_interrupts() -> Iterator[None]:
    """Let Ctrl-C interrupt this process, also where the tests run behind `&`, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interrupts")
def test_a_run_that_is_cancelled_ends_in_order_and_goes_on_from_there(
    pipeline: Pipeline, server: SandboxServer
) -> None:
    def cancel(call: Call) -> None:
        if call.name == "ledger_entries":
            server.on_request = None
            _thread.interrupt_main()

    server.on_request = cancel
    with pytest.raises(KeyboardInterrupt):
        pipeline.run("contacts", "ledger_entries")
    assert "contacts" in json.loads(pipeline.state.read_text())["bookmarks"]
    outcome = pipeline.run("contacts", "ledger_entries")
    assert (outcome.failed, outcome.summary[:14]) == (None, "Run finished: ")
    assert {name: pipeline.rows(name) for name in ("contacts", "ledger_entries")} == {
        name: held(server, name) for name in ("contacts", "ledger_entries")
    }
    assert not server.grants.refusals
