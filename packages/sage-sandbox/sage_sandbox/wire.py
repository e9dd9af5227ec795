"""Responses that no well-behaved server sends: written to the connection by hand, byte by byte or without end."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.responses import Response

    from sage_sandbox.faults import Fault

_FRAMED = frozenset({"cut_chunks", "cut_gzip", "cut_unframed", "chunked", "unframed"})
BY_HAND = _FRAMED | {"drip", "drip_head", "interim", "early_hints", "endless", "bomb"}
_SLOW = frozenset({"drip", "drip_head"})
_MEGABYTE = 1 << 20
_UNSENT = _MEGABYTE
"""Bytes that may wait for the client."""


async def send_by_hand(transport: asyncio.Transport, response: Response, fault: Fault, closing: asyncio.Event) -> None:
    """Write a response as the fault says, until it is sent, the client disconnects or the server stops."""
    for part in _parts(response, fault):
        transport.write(part)
        while not transport.is_closing() and transport.get_write_buffer_size() > _UNSENT:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)
        if fault.what in _SLOW:
            await _sleep(fault.seconds, closing)
        if transport.is_closing() or closing.is_set():
            break
        await asyncio.sleep(0)
    transport.close()


async def _sleep(seconds: float, closing: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(closing.wait(), seconds)
    except TimeoutError:
        return


def _parts(response: Response, fault: Fault) -> Iterator[bytes]:
    body = bytes(response.body)
    if fault.what in _FRAMED:
        yield from _framed(response, body, fault.what)
        return
    match fault.what:
        case "drip":
            yield _head(response)
            yield from (body[place : place + 1] for place in range(len(body)))
        case "drip_head":
            head = _head(response)
            yield from (head[place : place + 1] for place in range(len(head)))
            yield body
        case "interim":
            while True:
                yield b"HTTP/1.1 100 Continue\r\n\r\n" * 1000
        case "early_hints":
            yield b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
            yield _head(response) + body
        case "endless":
            yield _head(response, "Transfer-Encoding: chunked")
            yield _chunk(b'{"$items": [')
            while True:
                yield _chunk(b" " * _MEGABYTE)
        case int():
            says = " ".join((fault.says or "").splitlines())
            yield _head(response, f"x_request_id: {says}", reason=says) + body
        case _:
            inflated = gzip.compress(b" " * _MEGABYTE)
            size = fault.megabytes * len(inflated) + len(body := gzip.compress(body))
            yield _head(response, "Content-Encoding: gzip", f"Content-Length: {size}")
            yield from (inflated for _ in range(fault.megabytes))
            yield body


def _framed(response: Response, body: bytes, what: object) -> Iterator[bytes]:
    """Write a body in another frame; half of one, in a way that does not look broken before its end."""
    half = body[: len(body) // 2]
    match what:
        case "chunked":
            yield _head(response, "Transfer-Encoding: chunked")
            yield _chunk(body) + _chunk(b"")
        case "cut_chunks":
            yield _head(response, "Transfer-Encoding: chunked")
            yield _chunk(half)
        case "cut_gzip":
            small = gzip.compress(body)
            half = small[: len(small) // 2]
            yield _head(response, "Content-Encoding: gzip", f"Content-Length: {len(half)}")
            yield half
        case _:
            yield _head(response, "Cache-Control: private")
            yield body if what == "unframed" else half


def _head(response: Response, *instead: str, reason: str = "OK") -> bytes:
    """Write status and headers; a body of another form has other headers than the response's own."""
    lines = [f"HTTP/1.1 {response.status_code} {reason}", "Connection: close", *instead]
    kept = (
        f"{name.decode('latin-1')}: {value.decode('latin-1')}"
        for name, value in response.raw_headers
        if not instead or name != b"content-length"
    )
    return "\r\n".join((*lines, *kept, "", "")).encode("latin-1", "replace")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
