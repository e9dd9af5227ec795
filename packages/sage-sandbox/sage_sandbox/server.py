"""A simulated Sage that runs in a thread of this process, for tests and for the command line."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from sage_sandbox.api import PREFIX, Api, Call
from sage_sandbox.app import SandboxApp
from sage_sandbox.books import advance, build_world
from sage_sandbox.faults import Faults
from sage_sandbox.grants import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Grants
from sage_sandbox.oauth import AUTHORIZE_PATH, REVOKE_PATH, TOKEN_PATH
from sage_sandbox.storage import Storage
from sage_sandbox.traffic import RequestLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_sandbox.store import World

_START_PATIENCE = 10.0
_STOP_PATIENCE = 1.0


class _Protocol(H11Protocol):
    """HTTP/1.1 whose connections can be broken by the application."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """A web server that stops at once, not at its next tick: tests start and stop many."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._closing = closing
        self._running: asyncio.AbstractEventLoop | None = None

    @override
    async def main_loop(self) -> None:
        self._running = asyncio.get_running_loop()
        self.ready.set()
        await self._closing.wait()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        patience = time.monotonic() + _STOP_PATIENCE
        while (state.connections or state.tasks) and time.monotonic() < patience:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.001)

    @override
    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        self.close()

    def close(self) -> None:
        """Stop, from any thread."""
        if self._running is not None:
            self._running.call_soon_threadsafe(self._closing.set)


class SandboxServer:
    """A simulated Sage on a loopback port, as a context manager.

    Attributes:
        world: The businesses and the time. Change them under `paused()`.
        faults: The switches.
        requests: The log of served requests.
        grants: Applications and tokens; `issued_secrets`, `refusals` and `refreshes` say what happened.
        storage: The host that has attached files, on a port of its own.
    """

    client_id = CLIENT_ID
    client_secret = CLIENT_SECRET
    refresh_token = REFRESH_TOKEN

    def __init__(
        self,
        world: World | None = None,
        *,
        faults: Faults | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        data_dir: Path | None = None,
    ) -> None:
        self.world = world if world is not None else build_world(size="tiny")
        self.faults = faults if faults is not None else Faults()
        self.requests = RequestLog()
        lead = next(iter(self.world.businesses.values()), None)
        self.grants = Grants(
            faults=self.faults,
            subject=str(self.world.user.get("id", "")),
            country=lead.country if lead is not None else "GB",
            path=_grants_file(data_dir),
        )
        self.storage = Storage(self.world, self.faults)
        self._api = Api(self.world, self.faults, self.storage)
        self._app = SandboxApp(
            world=self.world,
            faults=self.faults,
            grants=self.grants,
            api=self._api,
            storage=self.storage,
            requests=self.requests,
            advance=self.advance,
        )
        self._host, self._port = host, port
        self._days = 0
        self._sockets: list[socket.socket] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._bind()
        server = self._make_server()
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": self._sockets}, name="sandbox", daemon=True
        )
        self._thread.start()
        if not server.ready.wait(_START_PATIENCE):
            raise RuntimeError("The simulated Sage did not start.")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def serve_forever(self, announce: Callable[[], None]) -> None:
        """Run in this thread until interrupted; `announce` is called when the address is known.

        Raises:
            OSError: The port is taken.
        """
        self._bind()
        announce()
        with contextlib.suppress(KeyboardInterrupt):
            self._make_server().run(sockets=self._sockets)

    def stop(self) -> None:
        """Stop serving; requests that wait for a slow response get it at once."""
        if self._server is None or self._thread is None:
            return
        self._server.close()
        self._thread.join()
        self._thread = None

    @property
    def on_request(self) -> Callable[[Call], None] | None:
        """Called with each API request right before its response, so that the world can move between two pages."""
        return self._api.on_request

    @on_request.setter
    def on_request(self, hook: Callable[[Call], None] | None) -> None:
        self._api.on_request = hook

    @contextlib.contextmanager
    def paused(self) -> Iterator[World]:
        """Hold the world still: no request is served meanwhile."""
        with self._app.lock:
            yield self.world

    def advance(self, days: int = 1) -> None:
        """Let days of business pass: documents are made, edited, paid, voided, deleted."""
        with self._app.lock:
            advance(self.world, days=days, seed=self._days)
            self._days += days

    def edit_lines(self, business: str, name: str, key: str, changes: dict[str, Any]) -> None:
        """Change the lines of a document, and what follows from them, as somebody does in Sage's pages."""
        with self._app.lock:
            at = self.world.clock.now() if self.faults.line_changes_move_time else None
            self.world.businesses[business].collection(name).change(key, changes, at)

    @property
    def base_url(self) -> str:
        """The address without a path, also of a server that has stopped.

        Raises:
            RuntimeError: It never ran.
        """
        if not self._sockets:
            raise RuntimeError("The simulated Sage is not running.")
        return self._address_of(self._port)

    @property
    def api_url(self) -> str:
        """The API's base, version included."""
        return self.base_url + PREFIX.rstrip("/")

    @property
    def auth_url(self) -> str:
        """The consent page."""
        return self.base_url + AUTHORIZE_PATH

    @property
    def token_url(self) -> str:
        """Where codes and refresh tokens are exchanged."""
        return self.base_url + TOKEN_PATH

    @property
    def revoke_url(self) -> str:
        """Where refresh tokens are ended."""
        return self.base_url + REVOKE_PATH

    @property
    def in_flight_max(self) -> int:
        """The most API requests that were in flight at one time."""
        return self._app.in_flight_max

    @property
    def issued_secrets(self) -> set[str]:
        """Every token and code ever issued."""
        return self.grants.issued_secrets

    def tap_config(self, **overrides: Any) -> dict[str, Any]:
        """Give the settings that point a client to this sandbox."""
        return {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token,
            "api_url": self.api_url,
            "auth_url": self.auth_url,
            "token_url": self.token_url,
            **overrides,
        }

    def _address_of(self, port: int) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{port}"

    def _bind(self) -> None:
        self._sockets = [_listen(self._host, self._port)]
        self._host, self._port = self._sockets[0].getsockname()[:2]
        self._sockets.append(_listen(self._host, 0))
        self.storage.url = self._address_of(self._sockets[1].getsockname()[1])

    def _make_server(self) -> _Server:
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=60,
        )
        self._server = _Server(config, self._app.closing)
        return self._server


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # who comes before the server runs waits, and is not refused
    except OSError:
        listener.close()
        raise
    return listener


def _grants_file(data_dir: Path | None) -> Path | None:
    if data_dir is None:
        return None
    data_dir.mkdir(parents=True, exist_ok=True)
    return data_dir / "grants.json"
