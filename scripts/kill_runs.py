"""End runs at random moments, half of them around the refresh, and count the outcomes of their grants.

Every run is a process that sends requests to a simulated Sage with short-lived tokens. It is killed (`SIGKILL`), or
stopped by two or more signals that come together, as in Ctrl-C under Meltano. In half of the runs that end around the
refresh, the store fails between Sage's response and the commit. It works again within a second and a half. A disk is
full, with and without room for the rescue file. Or a server restarts, cuts its connections and takes no new ones, or
responds no more. Afterwards the newest refresh token of the server is compared with the one that the next run would
use:

- Equal: nothing happened, the next run goes on from there.
- Different, and the process was killed when no token could be saved. Such are the time in which Sage's response is on
  its way, and a second after it for the tap to save it. Such is also the time in which nothing at all can be written.
  These are counted apart, and a new login is made.
- Different otherwise: a lost grant. There must be none. Nor may the server ever see a token that is dead.

Then many processes share one store for a while, which fails now and then: all must finish. Where it never fails, there
is one refresh per lifetime.

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
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from tap_sage_accounting.auth import database as token_database
from tap_sage_accounting.auth import endpoint as token_endpoint
from tap_sage_accounting.auth import held_family as token_family
from tap_sage_accounting.auth import renewal as token_renewal
from tap_sage_accounting.auth.endpoint import TokenEndpoint
from tap_sage_accounting.auth.held_family import HeldTokenFamily
from tap_sage_accounting.auth.manager import TokenManager
from tap_sage_accounting.auth.request import post_form
from tap_sage_accounting.auth.store import TokenStore, retry_unavailable
from tap_sage_accounting.run.signals import stop_signals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from store_faults import Store

    from sage_sandbox.server import SandboxServer
    from tap_sage_accounting.auth.held_family import UnsavedTokens
    from tap_sage_accounting.auth.request import Response

AROUND_REFRESH = 0.06
"""Seconds after the token request was begun within which half of the ends come."""
LONGEST_FAULT = 1.5
"""Seconds for which a store fails."""
LATENCY = 0.02
"""Seconds that Sage takes for an answer, so that something can come between."""
LONGEST_UNKEPT = 1.0
"""Seconds for which new tokens may be in memory alone, where a file can be written."""
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
    "tap_sage_accounting.auth.manager",
    "tap_sage_accounting.auth.store",
]
"""Imported once, so that a run is a fork and starts in milliseconds."""

processes = multiprocessing.get_context("forkserver")
_housekeeping = threading.Lock()
"""Starting a process polls all others, too: it may take an exit code that another thread is about to read."""


@dataclass
class Tally:
    """The outcomes of the runs."""

    runs: int = 0
    killed_before_refresh: int = 0
    killed_in_request: int = 0
    killed_after_storing: int = 0
    unsurvivable: int = 0
    unsurvivable_with_answer: int = 0
    stopped: int = 0
    wrong_exit_codes: int = 0
    store_failed: int = 0
    kept_in_file: int = 0
    kept_in_memory: int = 0
    lost: int = 0
    windows: list[float] = field(default_factory=list)
    unkept: list[float] = field(default_factory=list)


# In the processes that are killed


def run(settings: dict[str, Any], seconds: float, report: Connection | None) -> None:
    """Ask Sage for as long as given, and report when tokens are asked for and when they are stored."""
    logging.disable(logging.WARNING)  # which are about the failing store
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this script may itself run under nohup
    stop_signals.install()
    # Nobody else has these token families, and all that is waited for takes milliseconds.
    token_renewal.RESPONSE_WAIT, token_renewal.SAVING_WAIT = timedelta(seconds=3), 2.5
    token_family.SAVE_AGAIN_AFTER, token_database.CALL_LIMIT = 0.2, timedelta(seconds=2)
    token_database.LOST_HOLDER = timedelta(seconds=3)
    if report is not None:
        _watch(report)
    store = TokenStore(settings.pop("store_url"))
    api_url = settings.pop("api_url")
    tokens = TokenManager(store=store, user_agent="kill-runs", **settings)
    with stop_signals.orderly(tokens.wait_for_refresh), stop_signals.interruptible():
        _ask(tokens, api_url, time.monotonic() + seconds)


def _ask(tokens: TokenManager, api_url: str, end: float) -> None:
    with requests.Session() as session:
        while time.monotonic() < end:
            answer = session.get(f"{api_url}/user", auth=tokens.sign, timeout=10)
            if answer.status_code == requests.codes.unauthorized:
                tokens.reject(str(answer.request.headers["Authorization"]).removeprefix("Bearer "))
            else:
                answer.raise_for_status()
            time.sleep(0.01)


def _watch(report: Connection) -> None:
    """Time the way from the answer's last byte to the end of the commit."""
    genuine_save = HeldTokenFamily.renew
    answered = 0.0

    def post(*arguments: Any) -> Response:
        nonlocal answered
        report.send(("asking", 0.0))
        response = post_form(*arguments)
        if response.status == requests.codes.ok:
            answered = time.perf_counter()
            report.send(("answered", time.monotonic()))
        return response

    def save(self: HeldTokenFamily, *arguments: Any) -> UnsavedTokens | None:
        unsaved = genuine_save(self, *arguments)
        outcome = "stored" if unsaved is None else "in memory" if unsaved.kept_in is None else "in file"
        report.send((outcome, time.perf_counter() - answered))
        return unsaved

    token_endpoint.post_form = post  # type: ignore[assignment, attr-defined]
    HeldTokenFamily.renew = save  # type: ignore[assignment, method-assign]
    report.send(("ready", 0.0))


# In the process that kills


class Lane:
    """One application and its user, whose runs are killed one after the other."""

    def __init__(self, sage: SandboxServer, place: Store, number: int, seed: int) -> None:
        from sage_sandbox.grants import Client  # noqa: PLC0415 - not for the killed processes

        self.client = Client(f"killed/{number}", f"secret-of-{number}")
        self.random = random.Random(seed * 1000 + number)  # noqa: S311 - chance, not a secret
        self.tally = Tally()
        self.place = place
        self._sage = sage
        self._store = TokenStore(place.url)
        self._store.check()
        sage.grants.clients[self.client.client_id] = self.client
        self.settings = {
            "store_url": place.url,
            "api_url": sage.api_url,
            "token_url": sage.token_url,
            "client_id": self.client.client_id,
            "client_secret": self.client.secret,
            "refresh_token": None,
        }
        self.log_in()

    def log_in(self) -> None:
        """Consent, as a user would."""
        from sage_sandbox.grants import Code  # noqa: PLC0415 - not for the killed processes

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

    def end_one(self, signals: Sequence[signal.Signals], *, around_refresh: bool, fails: bool, lifetime: float) -> None:
        """Start a run, end it, and look at the outcome of its grant."""
        heard, report = processes.Pipe(duplex=False)
        process = processes.Process(target=run, args=(dict(self.settings), 60, report))
        with _housekeeping:
            process.start()
        report.close()
        heard.recv()  # it is ready
        pid = process.pid or 0
        with ExitStack() as stack:
            events = self._wait(heard, lifetime, around_refresh=around_refresh)
            if fails and events:
                self._fail(pid, stack)
            if around_refresh:
                time.sleep(self.random.uniform(0, LONGEST_FAULT if fails else AROUND_REFRESH))
            for number in signals:
                with suppress(ProcessLookupError):  # an earlier one was enough
                    os.kill(pid, number)
                time.sleep(self.random.uniform(0, BETWEEN_SIGNALS) / len(signals))
            ended_at = time.monotonic()
            wait([process.sentinel])
            with _housekeeping:
                process.join()
        with heard:
            events += _rest(heard)
        is_killed = signals[0] == signal.SIGKILL
        # Two signals that are sent at once may reach two threads, in any order.
        if process.exitcode not in {-number if is_killed else 128 + number for number in signals}:
            self.tally.wrong_exit_codes += 1
            sys.stderr.write(f"A run that got {signals} ended with {process.exitcode}.\n")
        process.close()
        self._count(events, ended_at, is_killed=is_killed)

    def _wait(self, heard: Connection, lifetime: float, *, around_refresh: bool) -> list[tuple[str, float]]:
        events = []
        if not around_refresh:
            end = time.monotonic() + self.random.uniform(0, lifetime * 1.1)
            while heard.poll(max(0.0, end - time.monotonic())):
                events.append(heard.recv())
        elif heard.poll(10 * lifetime + 10):
            events.append(heard.recv())
        return events

    def _fail(self, pid: int, stack: ExitStack) -> None:
        """Let the store fail for a while, which may be longer than the run lasts."""
        self.tally.store_failed += 1
        work = self.place.fail(pid, self.random)
        back = threading.Timer(self.random.uniform(0, LONGEST_FAULT), work)
        stack.callback(back.join)
        back.start()

    def _count(self, events: list[tuple[str, float]], ended_at: float, *, is_killed: bool) -> None:
        time.sleep(SETTLING)
        tally = self.tally
        tally.runs += 1
        tally.windows += [window for event, window in events if event == "stored"]
        tally.kept_in_file += any(event == "in file" for event, _ in events)
        tally.kept_in_memory += any(event == "in memory" for event, _ in events)
        last, when = events[-1] if events else ("", 0.0)
        family = retry_unavailable(
            lambda: self._store.read(self.client.client_id, None)
        )  # a server may still be starting
        if family is None or family.refresh_token != self._sage.grants.newest_refresh_token(self.client.client_id):
            if last == "answered":
                tally.unkept.append(ended_at - when)
            survivable = not is_killed or (last == "answered" and ended_at - when > LONGEST_UNKEPT)
            if not survivable and last in ("asking", "answered", "in memory"):
                tally.unsurvivable += 1
                tally.unsurvivable_with_answer += last != "asking"
            else:
                tally.lost += 1
            self.log_in()
        elif not is_killed:
            tally.stopped += 1
        elif last in ("asking", "answered"):
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


def kill(sage: SandboxServer, places: Sequence[Store], options: argparse.Namespace) -> dict[str, Any]:
    """End all the runs, several lanes at a time."""
    lanes = [Lane(sage, place, number, options.seed) for number, place in enumerate(places)]
    turns = iter(range(options.runs))
    lock = threading.Lock()

    def go_on(lane: Lane) -> None:
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            signals, around_refresh = ENDS[turn // 4 % len(ENDS)], turn % 2 == 0
            fails = options.faults and turn % 4 == 0
            lane.end_one(signals, around_refresh=around_refresh, fails=fails, lifetime=options.lifetime)

    with ThreadPoolExecutor(len(lanes)) as threads:
        list(threads.map(go_on, lanes))
    tallies = [lane.tally for lane in lanes]
    windows = sorted(window for tally in tallies for window in tally.windows)
    counts = [each.name for each in fields(Tally) if each.type == "int"]
    return {
        **{name: sum(getattr(tally, name) for tally in tallies) for name in counts},
        "dead_tokens_sent": sum(sage.grants.refusals.values()),
        "longest_unkept_ms": round(max((each for tally in tallies for each in tally.unkept), default=0) * 1000, 2),
        "refreshes_stored": len(windows),
        "window_median_ms": round(statistics.median(windows) * 1000, 2) if windows else None,
        "window_p95_ms": round(windows[int(len(windows) * 0.95)] * 1000, 2) if windows else None,
        "window_max_ms": round(windows[-1] * 1000, 2) if windows else None,
    }


def share(sage: SandboxServer, place: Store, options: argparse.Namespace) -> dict[str, Any]:
    """Let many processes use one token family at once, whose store fails now and then."""
    lane = Lane(sage, place, options.lanes, options.seed)
    sage.requests.clear()
    refusals = sum(sage.grants.refusals.values())
    workers = [
        processes.Process(target=run, args=(dict(lane.settings), options.seconds, None))
        for _ in range(options.processes)
    ]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    failed = _disturb(lane, [worker.pid or 0 for worker in workers], options) if options.faults else 0
    for worker in workers:
        worker.join()
    took = time.monotonic() - began
    asked = sorted(request.start for request in sage.requests if request.path == "/token")
    rejected = sum(request.status == requests.codes.unauthorized for request in sage.requests)
    return {
        "processes": options.processes,
        "finished": sum(worker.exitcode == 0 for worker in workers),
        "seconds": round(took, 1),
        "store_failed": failed,
        "api_requests": len(sage.requests.of("user")),
        "api_requests_with_a_dead_token": rejected,
        "refreshes": len(asked),
        "shortest_time_between_refreshes": round(min((b - a for a, b in pairwise(asked)), default=0), 2),
        "dead_tokens_sent": sum(sage.grants.refusals.values()) - refusals,
    }


def _disturb(lane: Lane, pids: list[int], options: argparse.Namespace) -> int:
    """Let the store fail for one of the processes, or for all, every now and then; return how often."""
    end, failed = time.monotonic() + options.seconds - LONGEST_FAULT, 0
    while time.monotonic() < end:
        work = lane.place.fail(lane.random.choice(pids), lane.random)
        time.sleep(lane.random.uniform(0, LONGEST_FAULT / 2))
        work()
        failed += 1
        time.sleep(lane.random.uniform(0, LONGEST_FAULT))
    return failed


def main() -> int:
    """End runs, share, print the figures as JSON, and fail if a grant was lost or a dead token sent."""
    parser = argparse.ArgumentParser(description="End runs at random moments and count the outcomes of their grants.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=4, help="applications whose runs are killed at the same time")
    parser.add_argument("--lifetime", type=float, default=2.0, help="of an access token, in seconds")
    parser.add_argument("--processes", type=int, default=10, help="processes that share a token family afterwards")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long they do")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-faults", dest="faults", action="store_false", help="let the store work all the time")
    options = parser.parse_args()

    from store_faults import stores  # noqa: PLC0415 - not for the killed processes

    from sage_sandbox.faults import Faults  # noqa: PLC0415
    from sage_sandbox.server import SandboxServer  # noqa: PLC0415
    from sage_sandbox.store import Clock, World  # noqa: PLC0415

    logging.disable(logging.WARNING)  # of what is expected here
    world = World(Clock(datetime(2026, 6, 30, tzinfo=UTC)), {"id": "b" * 32, "displayed_as": "Jane Example"})
    faults = Faults(access_token_lifetime=options.lifetime, latency=LATENCY)
    with tempfile.TemporaryDirectory(prefix="kill-runs-", ignore_cleanup_errors=True) as directory:
        os.environ["MELTANO_SYS_DIR_ROOT"] = directory  # where rescue files of PostgreSQL stores are
        processes.set_forkserver_preload(PRELOADED)
        with (
            stores(options.store, Path(directory), options.lanes + 1) as places,
            SandboxServer(world, faults=faults) as sage,
        ):
            killed = kill(sage, places[:-1], options)
            shared = share(sage, places[-1], options)
    sys.stdout.write(json.dumps({"store": options.store, "killed": killed, "shared": shared}, indent=2) + "\n")
    good = not any(killed[name] for name in ("lost", "dead_tokens_sent", "wrong_exit_codes"))
    good = good and not shared["dead_tokens_sent"]
    return 0 if good and shared["finished"] == shared["processes"] else 1


if __name__ == "__main__":
    sys.exit(main())
