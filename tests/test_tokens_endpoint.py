from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from tap_sage_accounting.errors import AuthorizationError
from tap_sage_accounting.token_endpoint import AnswerLostError, GrantRefusedError, TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKENS = {"access_token": "next-access", "refresh_token": "next-refresh", "expires_in": 300}


def answer(body: object, status: str = "200 OK", *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class OddServer:
    """A socket that reads one request per connection and then does what the test says."""

    def __init__(self, *acts: Callable[[socket.socket, bytes], None] | bytes) -> None:
        self.acts = list(acts)
        self.requests: list[bytes] = []
        self.listening = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/token"

    def serve(self) -> None:
        for act in self.acts:
            connection, _ = self.listening.accept()
            with connection:
                connection.settimeout(5)
                request = self._read(connection)
                self.requests.append(request)
                if isinstance(act, bytes):
                    connection.sendall(act)
                else:
                    act(connection, request)

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        head, _, body = request.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


@contextmanager
def serving(*acts: Callable[[socket.socket, bytes], None] | bytes) -> Iterator[OddServer]:
    server = OddServer(*acts)
    thread = threading.Thread(target=server.serve)
    thread.start()
    with closing(server.listening):
        yield server
        thread.join(5)
    assert not thread.is_alive(), "fewer requests came than the server was to answer"


def endpoint(url: str, waits: list[float] | None = None) -> TokenEndpoint:
    return TokenEndpoint(
        client_id="app/with slash",
        client_secret="s&cret=1",
        token_url=url,
        user_agent="tests/1",
        sleep=(waits if waits is not None else []).append,
    )


def hang_up(connection: socket.socket, _: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def cut(connection: socket.socket, _: bytes) -> None:
    connection.sendall(answer(TOKENS)[:-5])


def test_the_form_is_what_sage_documents() -> None:
    with serving(answer(TOKENS)) as server:
        endpoint(server.url).refresh("old/refresh+token")
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    assert "accept: application/json" in head.lower()
    assert "content-type: application/x-www-form-urlencoded" in head.lower()
    assert parse_qs(body) == {
        "client_id": ["app/with slash"],
        "client_secret": ["s&cret=1"],
        "grant_type": ["refresh_token"],
        "refresh_token": ["old/refresh+token"],
    }


@pytest.mark.parametrize("act", [hang_up, cut, answer(b"<html>"), answer([]), answer({"access_token": ""})])
def test_what_may_have_been_acted_on_is_sent_once(act: Callable[[socket.socket, bytes], None] | bytes) -> None:
    waits: list[float] = []
    with serving(act) as server, pytest.raises(AnswerLostError, match=r"replaced the tokens"):
        endpoint(server.url, waits).refresh("old")
    assert len(server.requests) == 1
    assert waits == []


def test_a_refused_connection_is_tried_again_until_the_server_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    server = OddServer(answer(TOKENS))
    url = server.url
    port = server.listening.getsockname()[1]
    server.listening.close()
    threads: list[threading.Thread] = []

    def come_up(_: float) -> None:
        if not threads:
            server.listening = socket.create_server(("127.0.0.1", port))
            threads.append(threading.Thread(target=server.serve))
            threads[0].start()

    odd = endpoint(url)
    monkeypatch.setattr(odd, "_sleep", come_up)
    assert odd.refresh("old").access_token == "next-access"
    threads[0].join(5)
    server.listening.close()
    assert len(server.requests) == 1


def test_an_unknown_host_is_told_without_touching_the_tokens() -> None:
    waits: list[float] = []
    with pytest.raises(AuthorizationError, match="stored tokens are untouched") as caught:
        endpoint("http://oauth.invalid/token", waits).refresh("old")
    assert not isinstance(caught.value, AnswerLostError)
    assert waits == [1, 2, 4, 8]


def test_a_failed_tls_handshake_is_known_not_to_have_spent_the_token() -> None:
    def no_tls(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(5):
            connection, _ = listening.accept()
            with connection:
                no_tls(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    waits: list[float] = []
    with closing(listening), pytest.raises(AuthorizationError, match=r"TLS.*untouched"):
        endpoint(f"https://127.0.0.1:{listening.getsockname()[1]}/token", waits).refresh("old")
    thread.join(5)
    assert len(waits) == 4


def test_a_redirect_is_not_followed_with_secrets() -> None:
    elsewhere = answer(b"", "307 Temporary Redirect", "Location: http://127.0.0.1:9/token")
    refusal = pytest.raises(AuthorizationError, match=r"redirects token requests.*'token_url'")
    with serving(elsewhere) as server, refusal:
        endpoint(server.url).refresh("old")
    assert len(server.requests) == 1


def test_a_description_that_quotes_a_secret_does_not_show_it() -> None:
    body = {"error": "invalid_request", "error_description": "no good: old-refresh-token of s&cret=1"}
    refusal = pytest.raises(AuthorizationError, match=r"invalid_request: no good: \[secret\] of \[secret\]")
    with serving(answer(body, "400 Bad Request")) as server, refusal:
        endpoint(server.url).refresh("old-refresh-token")


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized"])
def test_an_invalid_grant_is_told_from_everything_else(status: str) -> None:
    with serving(answer({"error": "invalid_grant"}, status)) as server, pytest.raises(GrantRefusedError):
        endpoint(server.url).refresh("old")


def test_no_credentials_of_a_netrc_file_go_to_the_token_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(answer(TOKENS)) as server:
        endpoint(server.url).refresh("old")
    assert b"authorization" not in server.requests[0].lower()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_token_request_to_this_machine_does_not_go_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, serving(answer(TOKENS)) as server:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        endpoint(server.url).refresh("old")
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_lifetimes_that_make_no_sense_do_not_cost_the_tokens() -> None:
    odd = {**TOKENS, "expires_in": "soon", "refresh_token_expires_in": -1}
    with serving(answer(odd)) as server:
        tokens = endpoint(server.url).refresh("old")
    assert tokens.lifetime == timedelta(seconds=300)
    assert tokens.refresh_lifetime == timedelta(days=31)


def test_a_refresh_token_that_is_not_replaced_stays() -> None:
    with serving(answer({"access_token": "next-access"})) as server:
        assert endpoint(server.url).refresh("old").refresh_token == "old"


def test_waiting_as_long_as_a_date_says_has_a_bound() -> None:
    waits: list[float] = []
    refusal = answer(b"", "429 Too Many Requests", "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT")
    with serving(refusal, answer(TOKENS)) as server:
        tokens = endpoint(server.url, waits).refresh("old")
    assert waits == [15]
    assert datetime.now(UTC) - tokens.issued_at < timedelta(seconds=30)
