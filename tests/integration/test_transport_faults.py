from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
import requests

from tap_sage_accounting.transport.faults import root_cause

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def plain_server() -> Iterator[str]:
    """A server that refuses every request in plain HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 407 Pay\x1b[1m first\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def cause_of(url: str, proxy: str | None = None) -> str:
    session = requests.Session()
    session.trust_env = False
    with session, pytest.raises(requests.RequestException) as caught:
        session.get(url, proxies={"https": proxy} if proxy else {}, timeout=60)
    return root_cause(caught.value)


def test_a_refused_connection_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in cause_of(f"http://127.0.0.1:{port}/")


def test_an_unknown_host_is_named() -> None:
    assert "not known" in cause_of("http://sage.invalid/") or "resolution" in cause_of("http://sage.invalid/")


def test_a_server_without_tls_is_named(plain_server: str) -> None:
    assert cause_of(f"https://{plain_server}/") in {"wrong version number", "record layer failure", "unknown protocol"}


def test_a_proxy_that_refuses_is_named_without_its_control_characters(plain_server: str) -> None:
    cause = cause_of("https://sage.invalid/", f"http://{plain_server}")
    assert "407" in cause
    assert cause.isprintable()


def test_a_certificate_that_is_not_accepted_is_named() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    assert root_cause(requests.exceptions.SSLError(error)) == "certificate not accepted: self-signed certificate"


def test_causes_that_lead_in_a_circle_come_to_an_end() -> None:
    first, second = OSError(5, "Input/output error"), ValueError("no words of the system")
    first.__cause__, second.__cause__ = second, first
    assert root_cause(second) == "Input/output error"
