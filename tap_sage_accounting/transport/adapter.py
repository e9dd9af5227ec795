"""Connections that bound the time and the size of a response, whatever the server sends.

`requests` bounds the time between two bytes only. Here every read from the socket is counted, and its timeout is the
time that is left. That holds in any thread, through any proxy and for TLS. The deadline covers the whole exchange:
connecting, a proxy's response, the status line, the headers and the body.
"""

from __future__ import annotations

import http.client
import io
import time
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from typing_extensions import override

if TYPE_CHECKING:
    import socket

    from urllib3 import HTTPConnectionPool, PoolManager

LONGEST_EXCHANGE = 240.0
"""Seconds from connecting to the last byte. Gateways give up after one or two minutes; slow connections need more."""
LARGEST_RESPONSE = 64 << 20
"""Bytes on the wire, and again when inflated: 200 documents of 100 lines each take a third of this."""
MOST_INTERIM = 10
"""Interim responses (100, 102, 103) before the final one."""


class DeadlineError(TimeoutError):
    """A response was not complete in time: the seconds that it had."""


class ResponseTooLargeError(OSError):
    """A response has more bytes than any page of records."""


class BoundedAdapter(HTTPAdapter):
    """Sends requests over bounded connections.

    Args:
        longest: seconds from connecting to the last byte; None for `LONGEST_EXCHANGE`.
        options: those of the base class.
    """

    def __init__(self, *, longest: float | None = None, **options: Any) -> None:
        self._longest = longest
        super().__init__(**options)

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._bound(self.poolmanager)

    @override
    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return self._bound(super().proxy_manager_for(*args, **kwargs))

    def _bound(self, manager: PoolManager) -> PoolManager:
        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: _bounded(pool, self._longest) for scheme, pool in pools.items()}
        return manager


@lru_cache
def _bounded(pool: type[HTTPConnectionPool], longest: float | None) -> type[HTTPConnectionPool]:
    """Derive a pool whose connections are bounded; plain, TLS and SOCKS pools each have their own class."""
    if issubclass(pool.ConnectionCls, _Bounds):
        return pool
    connection = type("BoundedConnection", (_Bounds, pool.ConnectionCls), {"longest": longest})
    return type("BoundedPool", (pool,), {"ConnectionCls": connection})


class _Bounds:
    """Mixed into a connection class of urllib3."""

    if TYPE_CHECKING:
        sock: socket.socket | None
        timeout: float | None

    longest: float | None = None
    deadline = float("inf")

    @property
    def seconds(self) -> float:
        """Seconds from connecting to the last byte."""
        return LONGEST_EXCHANGE if self.longest is None else self.longest

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        """Create the object that reads a response."""
        return _Response(self, sock, *args, **kwargs)

    def connect(self) -> None:
        self.deadline = time.monotonic() + self.seconds
        super().connect()  # type: ignore[misc] # of the connection class

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # kept open: its timeout is the rest of the last response's
            self.deadline = time.monotonic() + self.seconds
            self.sock.settimeout(self.timeout)
        super().request(*args, **kwargs)  # type: ignore[misc]


class _Response(http.client.HTTPResponse):
    """A response that is read within bounds; interim responses are skipped."""

    def __init__(self, connection: _Bounds, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Reader(connection, sock), *args, **kwargs)  # type: ignore[arg-type] # all it needs
        self._interim = 0

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc] # there is no public hook
            if not HTTPStatus.CONTINUE <= status < HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise http.client.HTTPException("too many interim responses")
            http.client.parse_headers(self.fp)


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline, and no more than `LARGEST_RESPONSE`."""

    def __init__(self, connection: _Bounds, sock: socket.socket) -> None:
        self._connection = connection
        self._sock = sock
        self._socket_io = sock.makefile("rb", buffering=0)
        self._pause = sock.gettimeout()
        self._left = LARGEST_RESPONSE

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what a response reads from; it uses nothing else of a socket."""
        return io.BufferedReader(self)

    @override
    def readable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._socket_io.fileno()

    @override
    def readinto(self, buffer: Any, /) -> int | None:
        seconds = self._connection.deadline - time.monotonic()
        if seconds <= 0:
            raise DeadlineError(self._connection.seconds)
        self._sock.settimeout(seconds if self._pause is None else min(seconds, self._pause))
        try:
            count = self._socket_io.readinto(buffer)
        except TimeoutError:
            if time.monotonic() >= self._connection.deadline:
                raise DeadlineError(self._connection.seconds) from None
            raise
        self._left -= count or 0
        if self._left < 0:
            raise ResponseTooLargeError
        return count

    @override
    def close(self) -> None:
        self._socket_io.close()
        super().close()
