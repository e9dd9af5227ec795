"""End runs at random moments, half of them around the refresh, and count what became of their grants.

Every run is a process that asks a simulated Sage with short-lived tokens again and again until it is killed
(`SIGKILL`), or stopped by two or more signals that come together, as in Ctrl-C under Meltano. Afterwards the newest
refresh token of the server is compared with the one in the store:

- equal: nothing happened, the next run goes on from there;
- different, and the process was killed between asking for tokens and storing them: nobody can survive that; it is
  counted apart, and a new login is made;
- different otherwise: a lost grant. There must be none. Nor may the server ever see a token that is dead.

Then many processes share one store for a while: one refresh per lifetime, and all must finish.

    python scripts/kill_runs.py --runs 1000 --store sqlite
    python scripts/kill_runs.py --runs 1000 --store postgresql
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from tap_sage_accounting.auth import SageAuthenticator, TokenManager
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.token_endpoint import TokenEndpoint
from tap_sage_accounting.token_store import HeldLineage, TokenStore

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from embedded_postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from tap_sage_accounting.sandbox.server import SandboxServer
    from tap_sage_accounting.token_request import Answer
    from tap_sage_accounting.token_store import UnsavedTokens

AROUND_REFRESH = 0.06
"""Seconds after the token request was begun within which half of the kills come."""
SETTLING = 0.03
"""Seconds for the server to finish what a killed process had asked for."""

ENDS = (
    (signal.SIGKILL,),
    (signal.SIGINT, signal.SIGTERM),
    (signal.SIGKILL,),
    (signal.SIGINT, signal.SIGINT, signal.SIGINT),
    (signal.SIGKILL,),
    (signal.SIGHUP, signal.SIGTERM),
    (signal.SIGKILL,),
    (signal.SIGTERM,) * 20,
)
"""How runs end, in turns: what is sent to each."""
BETWEEN_SIGNALS = 0.05
"""Seconds that may pass between two signals to a run, at most."""

PRELOADED = [
    "psycopg",
    "tap_sage_accounting.auth",
    "tap_sage_accounting.token_store",
]
"""Imported once, so that a run is a fork and starts in milliseconds."""

processes = multiprocessing.get_context("forkserver")


@dataclass
class Tally:
    """What became of the runs."""

    runs: int = 0
    killed_before_refresh: int = 0
    killed_in_request: int = 0
    killed_after_storing: int = 0
    unsurvivable: int = 0
    stopped: int = 0
    wrong_exit_codes: int = 0
    lost: int = 0
    windows: list[float] = field(default_factory=list)


# In the processes that are killed


def run(settings: dict[str, Any], seconds: float, tell: Connection | None) -> None:
    """Ask Sage for as long as is told, and tell when tokens are asked for and when they are stored."""
    logging.disable(logging.INFO)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this script may itself run under nohup
    stop_signals.install()
    if tell is not None:
        _watch(tell)
    store = TokenStore(settings.pop("store_url"))
    api_url = settings.pop("api_url")
    tokens = TokenManager(store=store, user_agent="kill-runs", **settings)
    with stop_signals.orderly(tokens.settle), stop_signals.interruptible():
        _ask(tokens, api_url, time.monotonic() + seconds)


def _ask(tokens: TokenManager, api_url: str, end: float) -> None:
    with requests.Session() as session:
        while time.monotonic() < end:
            answer = session.get(f"{api_url}/user", auth=SageAuthenticator(tokens), timeout=10)
            if answer.status_code == requests.codes.unauthorized:
                tokens.reject(str(answer.request.headers["Authorization"]).removeprefix("Bearer "))
            else:
                answer.raise_for_status()
            time.sleep(0.01)


def _watch(tell: Connection) -> None:
    """Time the way from the answer's last byte to the end of the commit."""
    genuine_attempt, genuine_save = TokenEndpoint._attempt, HeldLineage.renew  # noqa: SLF001 - measured from inside
    answered = 0.0

    def attempt(self: TokenEndpoint, *arguments: Any) -> Answer:
        nonlocal answered
        tell.send(("asking", 0.0))
        response = genuine_attempt(self, *arguments)
        answered = time.perf_counter()
        return response

    def save(self: HeldLineage, *arguments: Any) -> UnsavedTokens | None:
        unsaved = genuine_save(self, *arguments)
        tell.send(("stored", time.perf_counter() - answered))
        return unsaved

    TokenEndpoint._attempt, HeldLineage.renew = attempt, save  # type: ignore[method-assign] # noqa: SLF001
    tell.send(("ready", 0.0))


# In the process that kills


class Lane:
    """One application and its user, whose runs are killed one after the other."""

    def __init__(self, sage: SandboxServer, store_url: str, number: int, seed: int) -> None:
        from tap_sage_accounting.sandbox.grants import Client  # noqa: PLC0415 - not for the killed processes

        self.client = Client(f"killed/{number}", f"secret-of-{number}")
        self.random = random.Random(seed * 1000 + number)  # noqa: S311 - chance, not a secret
        self.tally = Tally()
        self._sage = sage
        self._store = TokenStore(store_url)
        self._store.check()
        sage.grants.clients[self.client.client_id] = self.client
        self.settings = {
            "store_url": store_url,
            "api_url": sage.api_url,
            "token_url": sage.token_url,
            "client_id": self.client.client_id,
            "client_secret": self.client.secret,
            "refresh_token": None,
        }
        self.log_in()

    def log_in(self) -> None:
        """Consent, as a user would."""
        from tap_sage_accounting.sandbox.grants import Code  # noqa: PLC0415 - not for the killed processes

        address = "http://localhost:8765/callback"
        code = Code(self.client.client_id, address, "readonly", "", "plain", time.monotonic())
        endpoint = TokenEndpoint(
            client_id=self.client.client_id,
            client_secret=self.client.secret,
            token_url=self._sage.token_url,
            user_agent="kill-runs",
        )
        tokens = endpoint.exchange(self._sage.grants.issue_code(code), address, "")
        self._store.keep_login(self.client.client_id, None, tokens)

    def end_one(self, signals: Sequence[signal.Signals], *, around_refresh: bool, lifetime: float) -> None:
        """Start a run, end it, and look what became of the grant."""
        heard, tell = processes.Pipe(duplex=False)
        process = processes.Process(target=run, args=(dict(self.settings), 60, tell))
        process.start()
        tell.close()
        heard.recv()  # it is ready
        events = self._wait(heard, lifetime, around_refresh=around_refresh)
        for number in signals:
            with suppress(ProcessLookupError):  # an earlier one was enough
                os.kill(process.pid or 0, number)
            time.sleep(self.random.uniform(0, BETWEEN_SIGNALS) / len(signals))
        process.join()
        with heard:
            events += _rest(heard)
        is_killed = signals[0] == signal.SIGKILL
        self.tally.wrong_exit_codes += process.exitcode != (-signals[0] if is_killed else 128 + signals[0])
        process.close()
        self._count(events, is_killed=is_killed)

    def _wait(self, heard: Connection, lifetime: float, *, around_refresh: bool) -> list[tuple[str, float]]:
        events = []
        if not around_refresh:
            end = time.monotonic() + self.random.uniform(0, lifetime * 1.1)
            while heard.poll(max(0.0, end - time.monotonic())):
                events.append(heard.recv())
        elif heard.poll(10 * lifetime + 10):
            events.append(heard.recv())
            time.sleep(self.random.uniform(0, AROUND_REFRESH))
        return events

    def _count(self, events: list[tuple[str, float]], *, is_killed: bool) -> None:
        time.sleep(SETTLING)
        tally = self.tally
        tally.runs += 1
        tally.windows += [window for event, window in events if event == "stored"]
        in_request = bool(events) and events[-1][0] == "asking"
        lineage = self._store.read(self.client.client_id, None)
        if lineage is None or lineage.refresh_token != self._sage.grants.newest_refresh_token(self.client.client_id):
            if in_request and is_killed:
                tally.unsurvivable += 1
            else:
                tally.lost += 1
            self.log_in()
        elif not is_killed:
            tally.stopped += 1
        elif in_request:
            tally.killed_in_request += 1
        elif events:
            tally.killed_after_storing += 1
        else:
            tally.killed_before_refresh += 1


def _rest(heard: Connection) -> list[tuple[str, float]]:
    """Read what the process still said before it died."""
    events = []
    try:
        while heard.poll():
            events.append(heard.recv())
    except (EOFError, OSError):
        pass
    return events


def kill(sage: SandboxServer, store_url: str, options: argparse.Namespace) -> dict[str, Any]:
    """End all the runs, several lanes at a time."""
    lanes = [Lane(sage, store_url, number, options.seed) for number in range(options.lanes)]
    turns = iter(range(options.runs))
    lock = threading.Lock()

    def go_on(lane: Lane) -> None:
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            signals = ENDS[turn // 2 % len(ENDS)]
            lane.end_one(signals, around_refresh=turn % 2 == 0, lifetime=options.lifetime)

    with ThreadPoolExecutor(options.lanes) as threads:
        list(threads.map(go_on, lanes))
    tallies = [lane.tally for lane in lanes]
    windows = sorted(window for tally in tallies for window in tally.windows)
    counts = [each.name for each in fields(Tally) if each.type == "int"]
    return {
        **{name: sum(getattr(tally, name) for tally in tallies) for name in counts},
        "dead_tokens_sent": sum(sage.grants.refusals.values()),
        "refreshes_stored": len(windows),
        "window_median_ms": round(statistics.median(windows) * 1000, 2) if windows else None,
        "window_p95_ms": round(windows[int(len(windows) * 0.95)] * 1000, 2) if windows else None,
        "window_max_ms": round(windows[-1] * 1000, 2) if windows else None,
    }


def share(sage: SandboxServer, store_url: str, options: argparse.Namespace) -> dict[str, Any]:
    """Let many processes use one lineage at once."""
    lane = Lane(sage, store_url, options.lanes, options.seed)
    sage.requests.clear()
    refusals = sum(sage.grants.refusals.values())
    workers = [
        processes.Process(target=run, args=(dict(lane.settings), options.seconds, None))
        for _ in range(options.processes)
    ]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.monotonic() - began
    asked = sorted(request.start for request in sage.requests if request.path == "/token")
    rejected = sum(request.status == requests.codes.unauthorized for request in sage.requests)
    return {
        "processes": options.processes,
        "finished": sum(worker.exitcode == 0 for worker in workers),
        "seconds": round(took, 1),
        "api_requests": len(sage.requests.of("user")),
        "api_requests_with_a_dead_token": rejected,
        "refreshes": len(asked),
        "shortest_time_between_refreshes": round(min((b - a for a, b in pairwise(asked)), default=0), 2),
        "dead_tokens_sent": sum(sage.grants.refusals.values()) - refusals,
    }


@contextmanager
def stored_in(kind: str) -> Iterator[str]:
    """Give the URL of an empty store."""
    if kind == "postgresql":
        with postgres_server() as url:
            yield url.replace("postgresql+psycopg://", "postgresql://")
        return
    with tempfile.TemporaryDirectory(prefix="kill-runs-", ignore_cleanup_errors=True) as directory:
        yield f"sqlite:///{directory}/tokens.sqlite"


def main() -> int:
    """End runs, share, print the figures as JSON, and fail if a grant was lost or a dead token sent."""
    parser = argparse.ArgumentParser(description="End runs at random moments and count what became of their grants.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=4, help="applications whose runs are killed at the same time")
    parser.add_argument("--lifetime", type=float, default=2.0, help="of an access token, in seconds")
    parser.add_argument("--processes", type=int, default=10, help="processes that share a lineage afterwards")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long they do")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    from tap_sage_accounting.sandbox.faults import Faults  # noqa: PLC0415 - not for the killed processes
    from tap_sage_accounting.sandbox.server import SandboxServer  # noqa: PLC0415
    from tap_sage_accounting.sandbox.store import Clock, World  # noqa: PLC0415

    processes.set_forkserver_preload(PRELOADED)
    world = World(Clock(datetime(2026, 6, 30, tzinfo=UTC)), {"id": "b" * 32, "displayed_as": "Jane Example"})
    with (
        stored_in(options.store) as store_url,
        SandboxServer(world, faults=Faults(access_token_lifetime=options.lifetime)) as sage,
    ):
        killed = kill(sage, store_url, options)
        shared = share(sage, store_url, options)
    sys.stdout.write(json.dumps({"store": options.store, "killed": killed, "shared": shared}, indent=2) + "\n")
    good = not any(killed[name] for name in ("lost", "dead_tokens_sent", "wrong_exit_codes"))
    good = good and not shared["dead_tokens_sent"]
    return 0 if good and shared["finished"] == shared["processes"] else 1


if __name__ == "__main__":
    sys.exit(main())
