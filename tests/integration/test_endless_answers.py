"""Responses that drip, flood or never end take bounded time and memory, and are reported as what they are."""

from __future__ import annotations

import gzip
import socket
import threading
import tracemalloc
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.plain_books import List, plain_world
from tap_sage_accounting.api.faults import FAULTS, FaultKind, fault_of
from tap_sage_accounting.api.responses import read_body
from tap_sage_accounting.exceptions import IncompleteRunError
from tap_sage_accounting.transport import adapter as http_adapter
from tap_sage_accounting.transport.adapter import BoundedAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

MEGABYTE = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS = ("drip", "drip_head", "interim", "endless", "bomb")


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are soon reached."""
    monkeypatch.setattr(http_adapter, "LONGEST_EXCHANGE", 0.4)
    monkeypatch.setattr(http_adapter, "LARGEST_RESPONSE", MEGABYTE)


@contextmanager
def scripted(*parts: bytes, forever: bytes = b"", pause: float = 0.0) -> Iterator[str]:
    """A server that sends the same bytes to every client, the last of them again and again."""
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536) and not over.is_set():
                    for part in parts:
                        connection.sendall(part)
                        over.wait(pause)
                    if forever:
                        break
                while forever and not over.is_set():
                    connection.sendall(forever)
                    over.wait(pause)
            except OSError:
                return

    def serve() -> None:
        try:
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as found:
        found.mount("http://", BoundedAdapter(pool_maxsize=2, pool_block=True))
        found.headers["Accept-Encoding"] = "gzip"
        yield found


def body_from(session: requests.Session, url: str) -> bytes:
    return read_body(session.get(url, timeout=5, stream=True))


def fault_from(session: requests.Session, url: str) -> tuple[FaultKind, str]:
    with pytest.raises(FAULTS) as caught:
        body_from(session, url)
    fault = fault_of(caught.value, "it", "127.0.0.1")
    return fault.kind, str(fault.error).removeprefix("it: ")


# One response


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"X-Long: ", b"x"),
        (HEAD, b"X: y\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n"),
        (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x")[:-8], b"\0"),
    ],
    ids=["body", "chunks", "chunk size", "no length", "header", "headers", "status", "interim", "gzip"],
)
def test_a_response_that_drips_is_given_up_in_time(session: requests.Session, parts: tuple[bytes, bytes]) -> None:
    with scripted(parts[0], forever=parts[1], pause=0.02) as url:
        kind, words = fault_from(session, url)
    assert (kind, words) == (FaultKind.HEAVY, "the response was not complete within 0 s.")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + b" " * 65535 + b"\r\n"), "larger than 1 MB"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65536), "failed or broke off"),
        ((HEAD + b"\r\n", b" " * 65536), "larger than 1 MB"),
        ((HEAD + b"Content-Length: 99999999999\r\n\r\n", b" " * 65536), "larger than 1 MB"),
        ((HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b" " * MEGABYTE)), "larger than 1 MB"),
        ((HEAD + b"Content-Encoding: x-gzip\r\n\r\n", gzip.compress(b"")), "larger than 1 MB"),
        ((b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), "failed or broke off"),
        ((b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 1000), "failed or broke off"),
        ((HEAD, b"X: y\r\n" * 1000), "failed or broke off"),
        ((HEAD + b"X: ", b"y" * 65536), "failed or broke off"),
    ],
    ids=["chunks", "size", "no length", "length", "gzip", "members", "interim", "hints", "headers", "header"],
)
def test_a_response_that_floods_is_cut_off(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, bytes], words: str
) -> None:
    monkeypatch.setattr(http_adapter, "LARGEST_RESPONSE", MEGABYTE)
    with scripted(parts[0], forever=parts[1]) as url:
        tracemalloc.start()
        try:
            found = fault_from(session, url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert words in found[1]
    assert peak < 8 * MEGABYTE


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_interim_responses_are_passed_over_and_leave_the_connection_in_order(
    session: requests.Session, interim: bytes
) -> None:
    answer = HEAD + b"Content-Length: 2\r\n\r\n"
    with scripted(b"HTTP/1.1 " + interim + b"\r\nLink: </a.css>\r\n\r\n", answer + b"[1"[:1], b"]", pause=0.02) as url:
        assert body_from(session, url) == b"[]"
        assert body_from(session, url) == b"[]"


def test_a_connection_is_kept_after_a_complete_response(session: requests.Session) -> None:
    with SandboxServer(plain_world()) as server:
        for _ in range(3):
            assert body_from(session, f"{server.api_url}/user").startswith(b"[{")
    pools = session.get_adapter(server.api_url).poolmanager.pools  # type: ignore[attr-defined]
    [pool] = (pools[key] for key in pools.keys())  # noqa: SIM118 - not a dictionary
    assert (pool.num_connections, pool.num_requests) == (1, 3)


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (gzip.compress(b"[]"), b"[]"),
        (gzip.compress(b"[") + gzip.compress(b"]"), b"[]"),
        (gzip.compress(b"[]") + b"\0" * 512, b"[]"),
        (gzip.compress(b""), b""),
    ],
    ids=["one", "two members", "padding", "nothing"],
)
def test_compressed_bodies_arrive_whole(session: requests.Session, sent: bytes, body: bytes) -> None:
    with scripted(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent) as url:
        assert body_from(session, url) == body


@pytest.mark.parametrize(
    ("encoding", "sent"),
    [
        (b"gzip", gzip.compress(b"[]" * 1000)[:-10]),
        (b"gzip", gzip.compress(b"[1, 2]") + gzip.compress(bytes(range(256)) * 9)[:-40]),
        (b"gzip", gzip.compress(b"") * 2000),
        (b"gzip", b"[]"),
        (b"gzip", b""),
        (b"br", b"[]"),
        (b"deflate", zlib.compress(b"[]")),
        (b"gzip, gzip", gzip.compress(gzip.compress(b"[]"))),
    ],
    ids=["cut", "second cut", "members", "plain", "empty", "br", "deflate", "twice"],
)
def test_a_body_that_cannot_be_decompressed_is_no_shorter_body(
    session: requests.Session, encoding: bytes, sent: bytes
) -> None:
    head = HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(sent))
    with scripted(head + sent) as url:
        assert fault_from(session, url) == (FaultKind.BROKEN, "the response could not be decompressed.")


# A run


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    world = plain_world(businesses=2)
    for business in world.businesses.values():
        for stream in ("contacts", "sales_quotes"):
            List(world, business, stream).fill(7)
        business.objects["invoice_settings"] = {"$path": "/invoice_settings", "next_invoice_number": 7}
    with SandboxServer(world) as running:
        yield running


@pytest.mark.slow
@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("path", ["contacts", "invoice_settings", "businesses"])
def test_an_endless_response_is_requested_again(server: SandboxServer, run_tap: RunTap, path: str, what: str) -> None:
    server.faults.add(Fault(path, what, seconds=0.05, megabytes=3))
    run = run_tap("contacts", "invoice_settings", "sales_quotes")
    assert run.error is None
    assert {name: len(rows) for name, rows in run.records.items()} == {
        "contacts": 14,
        "invoice_settings": 2,
        "sales_quotes": 14,
    }


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("what", ["drip", "bomb", "endless"])
def test_responses_that_stay_endless_fail_their_read_only(server: SandboxServer, run_tap: RunTap, what: str) -> None:
    broken, _ = server.world.businesses.values()
    server.faults.add(Fault("invoice_settings", what, business=broken.id, seconds=0.05, megabytes=3, times=None))
    run = run_tap("contacts", "invoice_settings", "sales_quotes", concurrency=2)
    assert isinstance(run.error, IncompleteRunError)
    [failed] = run.tap.report.failed
    assert (failed.stream, failed.business) == ("invoice_settings", f"{broken.name} ({broken.id})")
    assert "the response was not complete within" in failed.reason or "the response is larger than" in failed.reason
    assert len(run.records["contacts"]) == len(run.records["sales_quotes"]) == 14


@pytest.mark.usefixtures("bounds")
def test_pages_that_are_too_large_are_read_in_smaller_ones(
    server: SandboxServer, run_tap: RunTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_adapter, "LARGEST_RESPONSE", 3000)
    rows = List(server.world, next(iter(server.world.businesses.values())), "services")
    rows.fill(40)
    run = run_tap("services")
    assert run.error is None
    assert {row["id"] for row in run.records["services"]} == set(rows.keys)
    assert any("larger than" in line and "Reading the same range in smaller pages." in line for line in run.log)


def test_many_threads_have_their_own_deadlines(server: SandboxServer, run_tap: RunTap, monkeypatch: Any) -> None:
    monkeypatch.setattr(http_adapter, "LONGEST_EXCHANGE", 1.0)
    for path in ("contacts", "sales_quotes", "invoice_settings"):
        for business in server.world.businesses:
            server.faults.add(Fault(path, "drip", business=business, seconds=0.05))
    run = run_tap("contacts", "invoice_settings", "sales_quotes", concurrency=8)
    assert run.error is None
    assert len(run.records["contacts"]) == len(run.records["sales_quotes"]) == 14
