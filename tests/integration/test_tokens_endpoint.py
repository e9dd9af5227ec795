from __future__ import annotations

import contextlib
import gzip
import html
import json
import re
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode

import pytest

from tap_sage_accounting.auth import endpoint as token_endpoint
from tap_sage_accounting.auth import request as token_request
from tap_sage_accounting.auth.endpoint import (
    InvalidGrantError,
    NoAccessTokenError,
    RefreshOutcomeUnknownError,
    TokenEndpoint,
)
from tap_sage_accounting.auth.manager import TokenManager
from tap_sage_accounting.auth.store import LOCK_WAIT, TokenStore
from tap_sage_accounting.exceptions import AuthorizationError

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
        self.is_done = False
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
        self.is_done = True

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
    with serving(act) as server, pytest.raises(RefreshOutcomeUnknownError, match=r"replaced the tokens"):
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
    monkeypatch.setattr(odd, "sleep", come_up)
    assert odd.refresh("old").access_token == "next-access"
    threads[0].join(5)
    server.listening.close()
    assert len(server.requests) == 1


def test_an_unknown_host_is_reported_without_touching_the_tokens() -> None:
    waits: list[float] = []
    with pytest.raises(AuthorizationError, match="stored tokens are untouched") as caught:
        endpoint("http://oauth.invalid/token", waits).refresh("old")
    assert not isinstance(caught.value, RefreshOutcomeUnknownError)
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


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/token", "http://[", "//", ""])
def test_a_redirect_is_not_followed_with_secrets(place: str) -> None:
    elsewhere = answer(b"", "307 Temporary Redirect", f"Location: {place}")
    refusal = pytest.raises(AuthorizationError, match=r"redirects token requests.*'token_url'")
    with serving(elsewhere) as server, refusal:
        endpoint(server.url).refresh("old")
    assert len(server.requests) == 1


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as a form": lambda form: form,
    "as a form in lower case": lambda form: re.sub("%..", lambda code: code[0].lower(), form),
    "as a query with percent signs for spaces": lambda form: urlencode(parse_qsl(form), quote_via=quote),
    "in plain": lambda form: " and ".join(f"{name} was {value}" for name, value in parse_qsl(form)),
    "as JSON": lambda form: json.dumps(dict(parse_qsl(form))),
    "as JSON with escaped slashes": lambda form: json.dumps(dict(parse_qsl(form))).replace("/", "\\/"),
    "as JSON with text that is not ASCII": lambda form: json.dumps(dict(parse_qsl(form)), ensure_ascii=False),
    "as a Python dict": lambda form: repr(dict(parse_qsl(form))),
    "as HTML": lambda form: html.escape(str(dict(parse_qsl(form)))),
    "as URL-encoded JSON": lambda form: quote(json.dumps(dict(parse_qsl(form)))),
    "cut off": lambda form: " ".join(f"{name}={value[:32]}..." for name, value in parse_qsl(form)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_response_that_echoes_the_token_request_shows_no_secret(spelling: str) -> None:
    secret = 'Xq7/+"&é' + "Xq7" * 12
    sent = {name: f"{name[:3]}{secret}" for name in ("secret", "refresh", "revoked", "verifier")}
    sent["code"] = f"GB/{secret}"

    def echo(place: str) -> Callable[[socket.socket, bytes], None]:
        def act(connection: socket.socket, request: bytes) -> None:
            reported = SPELLINGS[spelling](request.decode().partition("\r\n\r\n")[2])
            body = {"error": "invalid_request", "error_description": "Bad.", place: reported}
            phrase = re.sub("[^!-~ ]", "?", reported) if place == "phrase" else "Bad Request"
            connection.sendall(answer(body, f"400 {phrase}"))

        return act

    places = ("error", "error_description", "phrase")
    asked = [echo(place) for place in places for _ in range(3)]
    with serving(*asked) as server:
        sage = TokenEndpoint(
            client_id="app/with slash", client_secret=sent["secret"], token_url=server.url, user_agent="tests/1"
        )
        for _ in places:
            for ask in (
                lambda: sage.refresh(sent["refresh"]),
                lambda: sage.exchange(sent["code"], "http://localhost/callback", sent["verifier"]),
                lambda: sage.revoke(sent["revoked"]),
            ):
                with pytest.raises(AuthorizationError, match="refused the token request") as caught:
                    ask()
                assert "xq7" not in str(caught.value).lower()


def test_a_description_that_quotes_nothing_secret_is_shown() -> None:
    body = {"error": "invalid_request", "error_description": "The refresh_token of app/with slash is malformed."}
    refusal = pytest.raises(AuthorizationError, match=r"invalid_request: The refresh_token of app/with slash is malfor")
    with serving(answer(body, "400 Bad Request")) as server, refusal:
        endpoint(server.url).refresh("the-old-refresh-token")


def test_what_a_response_says_reaches_no_terminal_raw() -> None:
    body = {"error": "no\x1b]0;title\x07", "error_description": "line\nRun finished\x1b[2J"}
    with serving(answer(body, "400 Bad\x1b[1m")) as server, pytest.raises(AuthorizationError) as caught:
        endpoint(server.url).refresh("old")
    assert str(caught.value).isprintable()
    assert "line\\nRun finished" in str(caught.value)


# Responses without an end


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_request, "TOTAL_TIMEOUT", 0.5)


class Drip:
    """A response that comes in parts until the test has seen enough, or for a quarter of a minute."""

    def __init__(self, at_once: bytes, *parts: bytes) -> None:
        self.seen_enough = threading.Event()
        self._at_once = at_once
        self._parts = parts

    def __call__(self, connection: socket.socket, _: bytes) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(self._at_once)
            for number in range(300):
                if self.seen_enough.wait(0.05):
                    return
                connection.sendall(self._parts[number % len(self._parts)])


WHOLE = answer({**TOKENS, "scope": " " * 300})
UNENDING = {
    "dripping head": lambda: Drip(WHOLE[:10], b"X"),
    "dripping body": lambda: Drip(WHOLE[:-320], b" "),
    "interim answers": lambda: Drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence": lambda: Drip(b"", b""),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("make", UNENDING.values(), ids=UNENDING)
def test_a_response_that_does_not_come_to_an_end_is_given_up(make: Callable[[], Drip]) -> None:
    drip = make()
    with serving(drip) as server:
        with pytest.raises(RefreshOutcomeUnknownError, match=r"no complete response within .* s.*replaced the tokens"):
            endpoint(server.url).refresh("old")
        assert not server.is_done, "the answer came to its end first"
        drip.seen_enough.set()
    assert len(server.requests) == 1


def endless(connection: socket.socket, _request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{")
    with contextlib.suppress(OSError):
        for _ in range(64):
            connection.sendall(b" " * (1 << 20))


def test_another_run_outlasts_the_one_whose_token_response_drips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_request, "TOTAL_TIMEOUT", 3)
    drip = Drip(WHOLE[:10], b"X")
    with serving(drip, answer(TOKENS)) as server:

        def manager() -> TokenManager:
            store = TokenStore(f"sqlite:///{tmp_path / 'tokens.sqlite'}")
            store.check()
            settings: dict[str, Any] = {
                "client_id": "a",
                "client_secret": "secret",
                "refresh_token": "old",
                "user_agent": "tests/1",
            }
            return TokenManager(**settings, token_url=server.url, store=store)

        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(manager().access_token)
            first.add_done_callback(lambda _: drip.seen_enough.set())
            while not server.requests:
                time.sleep(0.01)
            assert manager().access_token() == "next-access"
            with pytest.raises(RefreshOutcomeUnknownError):
                first.result()
    assert len(server.requests) == 2


def test_a_response_larger_than_any_token_is_not_read_to_its_end() -> None:
    lost = pytest.raises(RefreshOutcomeUnknownError, match=r"larger than .*replaced the tokens")
    with serving(endless) as server, lost:
        endpoint(server.url).refresh("old")


def test_a_small_response_that_inflates_to_a_large_one_is_not_kept_in_memory() -> None:
    bomb = gzip.compress(b'{"access_token": "' + b"a" * (200 << 20))
    with serving(answer(bomb, "200 OK", "Content-Encoding: gzip")) as server:
        tracemalloc.start()
        with pytest.raises(RefreshOutcomeUnknownError, match="larger than"):
            endpoint(server.url).refresh("old")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50 << 20


def test_a_compressed_response_is_read() -> None:
    body = gzip.compress(json.dumps(TOKENS).encode())
    with serving(answer(body, "200 OK", "Content-Encoding: gzip")) as server:
        assert endpoint(server.url).refresh("old").refresh_token == "next-refresh"


@pytest.mark.usefixtures("hasty")
def test_a_request_that_could_not_be_sent_in_time_is_never_sent_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that responds late must not let two requests spend one token."""
    genuine = socket.getaddrinfo
    late = threading.Event()
    asked: list[str] = []

    def look_up(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[0])
        if len(asked) == 1:
            late.wait(10)
        return genuine(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with serving(answer(TOKENS)) as server:
        waits: list[float] = []
        assert endpoint(server.url, waits).refresh("old").refresh_token == "next-refresh"
        assert waits == [1]
        late.set()
        server.listening.settimeout(1)
        connections = 0
        with contextlib.suppress(TimeoutError):
            while True:
                connection, _ = server.listening.accept()
                connection.settimeout(1)
                assert connection.recv(65536).partition(b"\r\n\r\n")[2] == b""
                connection.close()
                connections += 1
        assert len(server.requests) == 1


def test_attempts_end_long_before_others_give_up_waiting_for_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow refusals in a row must not hold the lock for longer than another run waits for it."""
    monkeypatch.setattr(token_endpoint, "LAST_ATTEMPT_AFTER", 0.5)

    def slow_refusal(connection: socket.socket, _: bytes) -> None:
        time.sleep(0.6)
        connection.sendall(answer(b"", "503 Service Unavailable"))

    with serving(slow_refusal) as server, pytest.raises(AuthorizationError, match="stored tokens are untouched"):
        endpoint(server.url).refresh("old")
    assert len(server.requests) == 1
    assert LOCK_WAIT.total_seconds() / 2 > token_endpoint.LAST_ATTEMPT_AFTER + token_request.TOTAL_TIMEOUT


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized"])
def test_an_invalid_grant_is_distinguished_from_everything_else(status: str) -> None:
    with serving(answer({"error": "invalid_grant"}, status)) as server, pytest.raises(InvalidGrantError):
        endpoint(server.url).refresh("old")


def test_a_refusal_whose_body_is_nested_too_deeply_is_a_refusal() -> None:
    refused = pytest.raises(AuthorizationError, match="Sage refused the token request: 400")
    with serving(answer(b"[" * 100_000, "400 Bad Request")) as server, refused:
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


@pytest.mark.parametrize("odd", ["half a pair \ud83d", 7, ["a", "list"]])
def test_a_refresh_token_that_could_never_be_sent_is_none(odd: object) -> None:
    lost = pytest.raises(RefreshOutcomeUnknownError, match="cannot be")
    with serving(answer({**TOKENS, "refresh_token": odd})) as server, lost:
        endpoint(server.url).refresh("old")


ODD_ACCESS_TOKENS = ["two\nlines", "not ASCII: é", ["a", "list"], None, "", "x" * 300_000]


@pytest.mark.parametrize("odd", ODD_ACCESS_TOKENS, ids=lambda odd: str(odd)[:12])
def test_an_access_token_that_could_never_be_sent_does_not_cost_the_refresh_token(odd: object) -> None:
    with serving(answer({**TOKENS, "access_token": odd})) as server, pytest.raises(NoAccessTokenError) as caught:
        endpoint(server.url).refresh("old")
    assert caught.value.tokens.refresh_token == TOKENS["refresh_token"]
    assert caught.value.tokens.renew_at <= datetime.now(UTC)


@pytest.mark.parametrize("odd", ODD_ACCESS_TOKENS, ids=lambda odd: str(odd)[:12])
def test_without_an_access_token_and_another_refresh_token_the_response_counts_as_lost(odd: object) -> None:
    lost = pytest.raises(RefreshOutcomeUnknownError, match="cannot be read")
    with serving(answer({"access_token": odd})) as server, lost:
        endpoint(server.url).refresh("old")


def test_space_around_an_access_token_is_not_part_of_it() -> None:
    with serving(answer({**TOKENS, "access_token": " next-access\r\n"})) as server:
        assert endpoint(server.url).refresh("old").access_token == "next-access"


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
