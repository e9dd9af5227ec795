"""The consent of a Sage user: the address to open, the answer that comes back, and the page that the user ends on."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import html
import os
import secrets
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from singer_sdk.exceptions import FatalSyncError
from typing_extensions import override

from tap_sage_accounting.exceptions import AuthorizationError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.transport.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOGIN_AGAIN = "then run the login again."
_DENIALS = {
    "access_denied": f"Consent was denied in the browser. If that was not meant, choose Allow: {LOGIN_AGAIN}",
    "invalid_scope": f"Sage does not grant this scope to the application. Choose another with --scope, {LOGIN_AGAIN}",
    "server_error": f"Sage has trouble with logins at the moment. Wait ten minutes, {LOGIN_AGAIN}",
    "temporarily_unavailable": f"Sage takes no logins at the moment. Wait ten minutes, {LOGIN_AGAIN}",
    "unauthorized_client": (
        "Sage does not know the application, or does not let it ask for consent. Check the setting 'client_id' against "
        f"Sage's developer portal, {LOGIN_AGAIN}"
    ),
}
_WRONG_COUNTRY = (
    "The country does not fit this Sage account. Choose its country with --country (gb, ie or ca), or leave the option "
    f"out, {LOGIN_AGAIN}"
)
_STRAY = (
    "The login in the terminal goes on waiting. Did you come here from Sage? Then stop that login with Ctrl-C, close "
    "old tabs of the consent page, and log in again."
)
HTTP_PORT = 80
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 1.1rem/1.6 system-ui, sans-serif; margin: 0; background: #f3f5f4; color: #16211b; }}
main {{ max-width: 34rem; margin: 14vh auto 0; padding: 2rem 2.5rem; background: #fff; border-radius: .8rem;
  border-top: .4rem solid {colour}; box-shadow: 0 .2rem 1.2rem #0002; }}
h1 {{ font-size: 1.5rem; margin: 0 0 .6rem; color: {colour}; }}
p {{ margin: .4rem 0; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #10161a; color: #e6ece9; }} main {{ background: #1b2429; }} }}
</style></head><body><main><h1>{title}</h1><p>{text}</p><p>{farewell}</p></main></body></html>
"""


class ConsentError(AuthorizationError):
    """The consent led to no tokens; the message says in one sentence or two what to do."""


class StrayCallbackError(ConsentError):
    """An answer that is not the one to this login: anybody can send such a one."""


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """What is asked of the user, and what proves that an answer belongs to it.

    Attributes:
        url: the consent page to open.
        redirect_uri: where Sage sends the browser afterwards.
        state: comes back with the answer; an answer without it is somebody else's.
        verifier: the PKCE secret, whose hash the consent page gets; whoever catches the code cannot use it without.
    """

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)

    @classmethod
    def new(
        cls, *, auth_url: str, client_id: str, redirect_uri: str, scope: str, country: str | None = None
    ) -> ConsentRequest:
        """Make a request with a fresh state and verifier.

        Args:
            auth_url: Sage's consent page.
            client_id: the application.
            redirect_uri: one that is registered for it, to the letter.
            scope: `readonly` or `full_access`.
            country: `gb`, `ie` or `ca`; None lets the user choose.
        """
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "filter": "apiv3.1",
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"country": country} if country else {}),
        }
        separator = "&" if urlsplit(auth_url).query else "?"
        return cls(f"{auth_url}{separator}{urlencode(query)}", redirect_uri, state, verifier)

    def owns(self, answer: Mapping[str, str]) -> bool:
        """Check whether the callback's parameters answer this request; anything else in them is believed after that."""
        is_ours = hmac.compare_digest(answer.get("state", "").encode(errors="replace"), self.state.encode())
        return is_ours and bool(answer.get("code") or answer.get("error"))

    def code_of(self, answer: Mapping[str, str]) -> str:
        """Take the code out of the callback's parameters.

        Raises:
            StrayCallbackError: they do not answer this request.
            ConsentError: consent was not given.
        """
        if not self.owns(answer):
            raise StrayCallbackError(
                "This is not the answer to this login: the address was cut off, or belongs to another login."
            )
        if error := answer.get("error"):
            raise ConsentError(_denial(error, answer.get("reason") or answer.get("error_description") or ""))
        return answer["code"]


def answer_of(address: str) -> dict[str, str]:
    """Read the parameters of an address that a browser was sent to, decoding them once; none where it is no address."""
    try:
        return dict(parse_qsl(urlsplit(address.strip()).query, keep_blank_values=True))
    except ValueError:
        return {}


def _denial(error: str, reason: str) -> str:
    if "already in use" in reason.lower():
        return _WRONG_COUNTRY
    told = printable(f"{error[:80]}: {reason[:200]}" if reason else error[:80])
    return _DENIALS.get(error) or f"Sage refused the login ({told}). Correct that, {LOGIN_AGAIN}"


class CallbackServer:
    """Waits on a loopback port for the browser to bring the answer.

    Any page or program may ask for the port. What is not the answer is refused, and the login goes on waiting.

    Args:
        request: what was asked of the user; the host of its redirect URI must be this machine.
        complete: takes the callback's parameters, does what the login takes, and returns a text for the page.

    Raises:
        ConsentError: the address is none, is not on this machine, or its port is taken.
    """

    def __init__(self, request: ConsentRequest, complete: Callable[[Mapping[str, str]], str]) -> None:
        address = _loopback_address(request.redirect_uri)
        handler = type("Handler", (_CallbackHandler,), {"path_awaited": address.path or "/", "server_logic": self})
        host, port = address.hostname or "", address.port or 80
        server = _Ipv6Server if ":" in host else _LoopbackServer
        try:
            self._server = server(("127.0.0.1" if host == "localhost" else host, port), handler)
        except OSError as error:
            raise ConsentError(_unbindable(error, port)) from None
        self._hosts = {f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]")}
        if port == HTTP_PORT:
            self._hosts |= {"localhost", "127.0.0.1", "[::1]"}
        self._request = request
        self._complete = complete
        self._outcome: Future[None] = Future()
        self._strays = 0
        self._once = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._once:  # a login that is being completed when a signal comes is completed
            self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, seconds: float) -> None:
        """Wait until the login is complete.

        Raises:
            ConsentError: nothing came in time, or the answer led to no tokens.
            FatalSyncError: what the completion raised.
        """
        try:
            self._outcome.result(seconds)
        except TimeoutError:
            with self._once:  # an answer that is being worked on counts
                if self._outcome.done():
                    return self._outcome.result()
            ignored = f" {self._strays} answers that do not belong to this login were ignored." if self._strays else ""
            raise ConsentError(
                f"No answer came from the browser within {seconds:.0f} s.{ignored} If Sage's page complained about the "
                "redirect URI, register exactly the one of the setting 'redirect_uri' for your application in Sage's "
                f"developer portal, {LOGIN_AGAIN}"
            ) from None

    def is_answer(self, host: str, answer: Mapping[str, str]) -> bool:
        """Check whether a request brings the answer; count it where it does not.

        Args:
            host: the name that the browser knows this server by; others than this machine's are somebody's who lets
                them lead here.
            answer: the request's parameters.
        """
        if host.lower() in self._hosts and self._request.owns(answer):
            return True
        self._strays += 1
        return False

    def answered(self, answer: Mapping[str, str], show: Callable[[str], None]) -> None:
        """Complete the login, show the page, and only then let the waiting side go on; once."""
        with self._once:
            if self._outcome.done():
                show(page("Nothing more to do", "This login is over.", good=True))
                return
            try:
                text = self._complete(answer)
            except FatalSyncError as error:
                show(page("The login did not work", str(error), good=False))
                self._outcome.set_exception(error)
            except Exception as error:  # noqa: BLE001 - the waiting side raises it
                show(page("The login did not work", "Something unexpected happened: see the terminal.", good=False))
                self._outcome.set_exception(error)
            else:
                show(page("You are logged in", text, good=True))
                self._outcome.set_result(None)


class _LoopbackServer(ThreadingHTTPServer):
    """Threads, because browsers open connections that they do not use."""

    daemon_threads = True
    # Elsewhere the option would let two programs listen at once.
    allow_reuse_address = os.name == "posix"

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that goes away is no fault of the login's."""


class _Ipv6Server(_LoopbackServer):
    address_family = socket.AF_INET6


class _CallbackHandler(BaseHTTPRequestHandler):
    """Answers the one request that matters; anything else is refused."""

    path_awaited: str
    server_logic: CallbackServer
    timeout = 30
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain;charset=utf-8"

    def do_GET(self) -> None:
        """Take the browser's answer."""
        if urlsplit(self.path).path != self.path_awaited:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        answer = answer_of(self.path)
        if self.server_logic.is_answer(self.headers.get("Host", ""), answer):
            self.server_logic.answered(answer, self._show)
        else:
            self._show(page("Not the answer to this login", _STRAY, good=False), HTTPStatus.BAD_REQUEST)

    def _show(self, content: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = content.encode()
        with suppress(OSError):  # a browser that does not wait for the page is no fault of the login's
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the request line holds the code."""


def page(title: str, text: str, *, good: bool) -> str:
    """Build the page that the user ends on; it loads nothing from anywhere."""
    farewell = "You can close this tab." if good else "You can close this tab and go back to the terminal."
    return _PAGE.format(
        title=html.escape(title), text=html.escape(text), farewell=farewell, colour="#0a7a45" if good else "#c0392b"
    )


def _loopback_address(redirect_uri: str) -> SplitResult:
    """Read a redirect URI that leads to this machine.

    Raises:
        ConsentError: it does not, or is no address.
    """
    try:
        address = urlsplit(redirect_uri)
        is_address = bool(address.scheme and address.hostname) and address.port != 0 and redirect_uri.isprintable()
    except ValueError:
        is_address = False
    if not is_address:
        raise ConsentError(
            "Setting 'redirect_uri' is no address. Write it like http://localhost:8765/callback, exactly as it is "
            "registered for your application."
        )
    if address.scheme != "http" or not is_loopback(address.hostname or ""):
        raise ConsentError(
            f"The redirect URI {redirect_uri} does not lead to this machine. Run the login with --no-browser and "
            "paste the address that the browser ends on, or register http://localhost:8765/callback for your "
            "application."
        )
    return address


def _unbindable(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is taken by another program, perhaps by another login that still waits. End that, or "
            f"register a redirect URI with another port and set 'redirect_uri' to it, {LOGIN_AGAIN}"
        )
    if error.errno == errno.EACCES:
        return (
            f"This user may not listen on port {port}. Register a redirect URI with a port above 1023 and set "
            f"'redirect_uri' to it, {LOGIN_AGAIN}"
        )
    return f"The callback cannot be received on port {port} ({error.strerror}). Run the login with --no-browser."
