"""The laboratory: a simulated Sage over real HTTP, and the tap run against it."""

from __future__ import annotations

import json
import logging
import pickle
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from presence import present
from singer_sdk.contrib.msgspec import encoder
from singer_sdk.singerlib.catalog import SelectionMask
from surroundings import a_place_of_its_own, leave_the_developers_environment, pass_no_ignored_signal_on
from typing_extensions import override

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from tap_sage_accounting import timestamps
from tap_sage_accounting.api import outages, rate_limiter
from tap_sage_accounting.redaction import SecretFilter
from tap_sage_accounting.run.writer import WholeMessageWriter
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from singer_sdk.singerlib import Message

Record = dict[str, Any]


class Recorder(WholeMessageWriter):
    """Keeps the messages that a tap writes, as a target reads them: through JSON, with exact decimals."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Record] = []

    @override
    def write_message(self, message: Message) -> None:
        line = encoder.encode(message.to_dict())
        self.sent += len(line) + 1
        self.messages.append(_target.decode(line))


NOTHING = SelectionMask({(): False})
_target = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class TapOfSome(TapSageAccounting):
    """A tap whose streams are chosen before their stream maps are made, as by a catalog: those of all take long."""

    def __init__(self, *, chosen: Collection[str], **options: Any) -> None:
        self._chosen = chosen
        super().__init__(**options)

    @override
    def setup_mapper(self) -> None:
        if self._chosen:
            for name, stream in self.streams.items():
                if name in self._chosen:
                    stream.selected = True
                else:
                    stream._mask = NOTHING  # what setting `selected` comes to, after all columns were looked at
        super().setup_mapper()


@dataclass
class Run:
    """What one run of the tap put out."""

    messages: list[Record]
    error: Exception | None
    tap: TapSageAccounting
    log: list[str] = field(default_factory=list)

    @property
    def records(self) -> dict[str, list[Record]]:
        """Records by stream, in the order in which they came."""
        found: dict[str, list[Record]] = defaultdict(list)
        for message in self.messages:
            if message["type"] == "RECORD":
                found[message["stream"]].append(message["record"])
        return found

    @property
    def schemas(self) -> list[Record]:
        """The schema messages."""
        return [message for message in self.messages if message["type"] == "SCHEMA"]

    @property
    def state(self) -> dict[str, Any]:
        """The last state, as an orchestrator would keep it."""
        states = [message["value"] for message in self.messages if message["type"] == "STATE"]
        return json.loads(json.dumps(states[-1])) if states else {}

    def bookmark(self, stream: str, business_id: str) -> str | None:
        for partition in self.state["bookmarks"].get(stream, {}).get("partitions", []):
            if partition["context"] == {"business_id": business_id}:
                return partition.get("replication_key_value")
        return None


def pytest_configure(config: pytest.Config) -> None:
    """Leave it before test modules are loaded, which make taps, but not where workers get their environment from."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses"):
        leave_the_developers_environment()
        pass_no_ignored_signal_on()


@pytest.fixture(scope="session", autouse=True)
def own_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with a_place_of_its_own(tmp_path_factory.mktemp("own")):
        yield


@pytest.fixture(scope="session")
def tiny_world() -> bytes:
    """A small world: each test takes a copy, which is quicker than to make another."""
    return pickle.dumps(build_world(size="tiny", businesses=2, frozen=True))


@pytest.fixture
def server(tiny_world: bytes) -> Iterator[SandboxServer]:
    """A small simulated Sage whose time stands still."""
    with SandboxServer(pickle.loads(tiny_world)) as running:
        yield running


@pytest.fixture(autouse=True)
def one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine's clock show what that of the simulated Sage shows that was started last."""
    real, start, worlds = timestamps.now, SandboxServer.__enter__, []

    def enter(server: SandboxServer) -> SandboxServer:
        worlds.append(server.world)
        return start(server)

    monkeypatch.setattr(SandboxServer, "__enter__", enter)
    monkeypatch.setattr(timestamps, "now", lambda: worlds[-1].clock.now() if worlds else real())


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passing faults pass quickly here."""
    monkeypatch.setattr(outages, "FIRST_DELAY", 0.001)


@pytest.fixture(autouse=True)
def no_secret_of_other_tests() -> Iterator[None]:
    """Let the log of each test be searched for its own secrets only: thousands of taps are made in one process."""
    yield
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        for found in [each for each in handler.filters if isinstance(each, SecretFilter)] if handler else ():
            present(handler).removeFilter(found)


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold no request back: without pauses, more of them fail in a minute than the first limit allows."""
    monkeypatch.setattr(rate_limiter, "STANDARD_LIMIT", 10_000)


@pytest.fixture
def run_tap(server: SandboxServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., Run]:
    """Run the tap on some streams of the simulated Sage."""

    def run(
        *streams: str, state: dict[str, Any] | None = None, catalog: dict[str, Any] | None = None, **config: Any
    ) -> Run:
        recorder = Recorder()
        # An outage that never ends is soon over.
        config = {"token_store": f"sqlite:///{tmp_path / 'tokens.sqlite'}", "patience": 2, **config}
        settings = server.tap_config(**config)
        tap = TapOfSome(chosen=streams, config=settings, state=state, catalog=catalog, message_writer=recorder)
        caplog.clear()
        error: Exception | None = None
        # The SDK logs a line for every column that a catalog does not mention.
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.INFO, "singer_sdk.singerlib.catalog"):
            try:
                tap.sync_all()
            except Exception as caught:  # noqa: BLE001 - tests look at it
                error = caught
        return Run(recorder.messages, error, tap, [record.getMessage() for record in caplog.records])

    return run
