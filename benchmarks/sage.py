"""The simulated Sage in a process of its own, so that its work is not counted as anybody's."""

from __future__ import annotations

import itertools
import multiprocessing
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PREFIX = "/v3.1/"
LONG = 86_400.0
"""Life of access tokens in seconds: renewing them is not what is compared."""
DECIMAL = re.compile(r"(-?)(?!0*\.0+$)\d+\.\d+")
"""Decimals as Sage sends them, other than zero."""
COUNTRIES = ("GB", "IE", "CA")
"""Where every list that the benchmark reads exists."""


@dataclass(frozen=True)
class Books:
    """How much the simulated Sage holds: arguments of `build_world`. No two amounts are equal, but for zeros."""

    size: str = "tiny"
    businesses: int = 1
    ledger_entries: int | None = None


@dataclass(frozen=True)
class Address:
    """Where a run finds Sage, and what lets it in."""

    api_url: str
    auth_url: str
    token_url: str
    client_id: str
    client_secret: str
    refresh_token: str
    access_token: str


@dataclass(frozen=True)
class Request:
    """One answered API request; times in seconds of one clock. `name` is the path below the API's base."""

    name: str
    business: str | None
    params: dict[str, str]
    status: int
    start: float
    end: float


@dataclass
class Sage:
    """A running simulated Sage, as a context manager.

    Attributes:
        rows: how many records each list of each business has, by business and list.
    """

    books: Books
    rows: dict[str, dict[str, int]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self.books), daemon=True)
        self._process.start()
        self.rows = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)
        self._process.kill()

    def open(self, faults: dict[str, Any] | None = None) -> Address:
        """Begin anew: no requests so far, no minute begun, these switches, a valid pair of tokens."""
        self._pipe.send(("open", {"access_token_lifetime": LONG, **(faults or {})}))
        return Address(**self._pipe.recv())

    def requests(self) -> list[Request]:
        """List the API requests since `open`, in the order of their answers."""
        self._pipe.send(("requests", {}))
        return [Request(*each) for each in self._pipe.recv()]


def _serve(pipe: Connection, books: Books) -> None:
    """Build the books once, and serve them anew for every run."""
    from sage_sandbox.books import build_world  # noqa: PLC0415 - the harness itself stays small
    from sage_sandbox.server import SandboxServer  # noqa: PLC0415

    world = build_world(size=books.size, businesses=books.businesses, ledger_entries=books.ledger_entries, frozen=True)
    for business in [each for each in world.businesses.values() if each.country not in COUNTRIES]:
        del world.businesses[business.id]
    for business in world.businesses.values():
        business.edition = "Plus"  # which refuses no list; others end a client that does not expect that
    _make_amounts_differ(world)
    pipe.send(
        {
            business.id: {name: len(collection.rows) for name, collection in business.collections.items()}
            for business in world.businesses.values()
        }
    )
    server: SandboxServer | None = None
    while (order := pipe.recv()) is not None:
        what, switches = order
        if what == "open":
            if server is not None:
                server.stop()
            server = SandboxServer(world, faults=_faults(switches))
            server.__enter__()
            pipe.send(_let_in(server))
        elif server is not None:
            pipe.send(
                [
                    (each.path.removeprefix(PREFIX), each.business, each.params, each.status, each.start, each.end)
                    for each in server.requests
                    if each.path.startswith(PREFIX)
                ]
            )


def _faults(switches: dict[str, Any]) -> Any:
    from sage_sandbox.faults import Fault, Faults  # noqa: PLC0415

    script = [Fault(times=None, **each) for each in switches.get("script", ())]
    return Faults(**switches | {"script": script})


def _make_amounts_differ(world: Any) -> None:
    """Give each amount a value that no other has: a cache of converted amounts helps nobody."""
    # A prime step goes through all amounts below a million, in hundredths, before it repeats one.
    amounts = (f"{number * 7_368_787 % 100_000_000 / 100:.2f}" for number in itertools.count(1))

    def changed(value: Any) -> Any:
        """Copy what holds an amount; all else stays shared among rows."""
        if isinstance(value, dict):
            found = {key: other for key, each in value.items() if (other := changed(each)) is not each}
            return {**value, **found} if found else value
        if isinstance(value, list):
            copies = [changed(each) for each in value]
            return copies if any(copy is not each for copy, each in zip(copies, value, strict=True)) else value
        if isinstance(value, str) and (decimal := DECIMAL.fullmatch(value)):
            return decimal[1] + next(amounts)
        return value

    for business in world.businesses.values():
        for collection in business.collections.values():
            for row in collection.rows.values():
                body = row.render()
                row.change({name: other for name, each in body.items() if (other := changed(each)) is not each}, None)


def _let_in(server: Any) -> dict[str, str]:
    """Renew the tokens: each client is given a refresh token that works, and the bare loop an access token."""
    client = server.grants.clients[server.client_id]
    tokens = server.grants.refresh(client, server.grants.newest_refresh_token())
    return {
        "api_url": server.api_url,
        "auth_url": server.auth_url,
        "token_url": server.token_url,
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "refresh_token": tokens["refresh_token"],
        "access_token": tokens["access_token"],
    }
