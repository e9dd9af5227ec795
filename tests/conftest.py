"""The laboratory: a simulated Sage over real HTTP, and the tap run against it."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import re
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.runs import Recorder, Run, TapOfSome
from support.presence import present
from support.surroundings import a_place_of_its_own, leave_the_developers_environment, pass_no_ignored_signal_on
from tap_sage_accounting import timestamps
from tap_sage_accounting.api import outages, rate_limiter, rate_window
from tap_sage_accounting.auth.address import user_directory
from tap_sage_accounting.redaction import SecretFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SHARED = re.compile(r"""scope=["'](?:module|class)["']|pytest\.mark\.waits\b""")


def pytest_xdist_auto_num_workers() -> int:
    """Return two workers for each processor: many tests wait, for a process, a server or a moment."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 * processors


class SharedModules(LoadScopeScheduling):  # type: ignore[misc] # untyped
    """Lets one worker run the tests of a module that share what it makes, or that wait."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, _ = nodeid.partition("::")
        return path if _shares(path) else nodeid


@cache
def _shares(path: str) -> bool:
    return bool(SHARED.search((Path(__file__).parents[1] / path).read_text("utf-8")))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedModules:
    """Distribute tests one by one, but for those that share something, or wait beside others that compute."""
    return SharedModules(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs root's rights, where they are missing: CI runs it by its marker."""
    if item.get_closest_marker("root") and not (hasattr(os, "geteuid") and os.geteuid() == 0):
        pytest.skip("only root gives files away")


def pytest_configure(config: pytest.Config) -> None:
    """Leave it before test modules are loaded, which make taps, but not where workers get their environment from."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses"):
        gc.set_threshold(100_000)  # a sixth of the time went into looking for cycles
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
    """Search the log of each test for its own secrets only: one process makes thousands of taps."""
    yield
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        for found in [each for each in handler.filters if isinstance(each, SecretFilter)] if handler else ():
            present(handler).removeFilter(found)


@pytest.fixture(autouse=True)
def no_login_of_other_tests() -> Iterator[None]:
    """Forget the tokens and the list of logins in this home: they would stop the next test's logins."""
    yield
    if (directory := user_directory()).exists():
        shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def quick_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once after a refusal that does not say when."""
    monkeypatch.setattr(rate_limiter, "LONE_DELAY", 0.001)
    monkeypatch.setattr(rate_window, "LONGEST_DELAY", 0.001)


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
