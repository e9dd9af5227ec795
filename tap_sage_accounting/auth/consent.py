"""The consent of a Sage user: the address to open, the callback after it, and the final page."""

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
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from singer_sdk.exceptions import FatalSyncError
from typing_extensions import override

from tap_sage_accounting.exceptions import AuthorizationError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.transport.urls import is_loopback, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOGIN_AGAIN = "then run the login again."
_DENIALS = {
    "access_denied": f"Consent was denied in the browser. If that was not meant, choose Allow: {LOGIN_AGAIN}",
    "invalid_scope": f"Sage does not grant this scope to the application. Choose another with --scope, {LOGIN_AGAIN}",
    "server_error": f"Sage has trouble with logins at the moment. Wait ten minutes, {LOGIN_AGAIN}",
    "temporarily_unavailable": f"Sage takes no logins at the moment. Wait ten minutes, {LOGIN_AGAIN}",
    "unauthorized_client": (
        "Sage does not know the application, or does not let it request consent. Check the setting 'client_id' against "
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
_PAGE = Template(Path(__file__).with_name("consent.html").read_text(encoding="utf-8"))


class ConsentError(AuthorizationError):
    """The consent led to no tokens; the message says what to do."""


class StrayCallbackError(ConsentError):
    """A callback of another login, or of another program on this machine."""


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """A request for consent, and the secrets that prove that a callback belongs to it.

    Attributes:
        url: the consent page to open.
        redirect_uri: where Sage sends the browser afterwards.
        state: comes back with the callback; a callback without it belongs to another request.
        verifier: the PKCE secret whose hash is sent to the consent page; the code is useless without it.
    """

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)

    @classmethod
    def new(
        cls, *, auth_url: str, client_id: str, redirect_uri: str, scope: str, country: str | None = None
    ) -> ConsentRequest:
        """Create a request with a new state and verifier.

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

    def owns(self, parameters: Mapping[str, str]) -> bool:
        """Check whether the callback's parameters belong to this request, before anything else in them is used."""
        is_ours = hmac.compare_digest(parameters.get("state", "").encode(errors="replace"), self.state.encode())
        return is_ours and bool(parameters.get("code") or parameters.get("error"))

    def code_of(self, parameters: Mapping[str, str]) -> str:
        """Return the code of the callback's parameters.

        Raises:
            StrayCallbackError: they do not belong to this request.
            ConsentError: consent was not given.
        """
        if not self.owns(parameters):
            raise StrayCallbackError(
                "This is not the answer to this login: the address was cut off, or belongs to another login."
            )
        if error := parameters.get("error"):
            raise ConsentError(_denial(error, parameters.get("reason") or parameters.get("error_description") or ""))
        return parameters["code"]


def callback_parameters(address: str) -> dict[str, str]:
    """Return the parameters of an address, decoded once; none where it is no address."""
    try:
        return dict(parse_qsl(urlsplit(address.strip()).query, keep_blank_values=True))
    except ValueError:
        return {}


def _denial(error: str, reason: str) -> str:
    if "already in use" in reason.lower():
        return _WRONG_COUNTRY
    shown = printable(f"{error[:80]}: {reason[:200]}" if reason else error[:80])
    return _DENIALS.get(error) or f"Sage refused the login ({shown}). Correct that, {LOGIN_AGAIN}"


class CallbackServer(ThreadingHTTPServer):
    """Waits on a loopback port for the browser's callback.

    Any page or program may send requests to the port. Other requests are refused, and the login goes on waiting. Each
    connection has a thread, because browsers open some that they do not use.

    Args:
        request: the request for consent; the host of its redirect URI must be this machine.
        complete: completes the login with the callback's parameters, and returns a text for the page.

    Raises:
        ConsentError: the redirect URI is invalid or not on this machine, or its port is taken.
    """

    daemon_threads = True
    # On Windows the option would let two programs listen at once.
    allow_reuse_address = os.name == "posix"

    def __init__(self, request: ConsentRequest, complete: Callable[[Mapping[str, str]], str]) -> None:
        address = _loopback_address(request.redirect_uri)
        host, port = address.hostname or "", address.port or HTTP_PORT
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.path_awaited = address.path or "/"
        try:
            super().__init__(("127.0.0.1" if host == "localhost" else host, port), _CallbackHandler)
        except OSError as error:
            raise ConsentError(_unbindable(error, port)) from None
        endings = (f":{port}", "") if port == HTTP_PORT else (f":{port}",)
        self._hosts = {name + ending for name in ("localhost", "127.0.0.1", "[::1]") for ending in endings}
        self._request = request
        self._complete = complete
        self._outcome: Future[None] = Future()
        self._strays = 0
        self._once = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @override
    def __enter__(self) -> Self:
        self._thread.start()
        return self

    @override
    def __exit__(self, *_: object) -> None:
        with self._once:  # a signal does not interrupt the completion of a login
            self.shutdown()
        self.server_close()
        self._thread.join()

    def wait(self, seconds: float) -> None:
        """Wait until the login is complete.

        Raises:
            ConsentError: no callback came in time, or it led to no tokens.
            FatalSyncError: the completion failed.
        """
        try:
            self._outcome.result(seconds)
        except TimeoutError:
            with self._once:  # a completion that has begun counts
                if self._outcome.done():
                    return self._outcome.result()
            ignored = f" {self._strays} answers that do not belong to this login were ignored." if self._strays else ""
            raise ConsentError(
                f"No answer came from the browser within {seconds:.0f} s.{ignored} Sage's page may have complained "
                "about the redirect URI: then register exactly the one of the setting 'redirect_uri' in Sage's "
                f"developer portal, {LOGIN_AGAIN}"
            ) from None

    def is_callback(self, host: str, parameters: Mapping[str, str]) -> bool:
        """Check whether a request is the callback; count it where it is not.

        A `Host` that is not this machine's may be the name of an attacker who made it lead here.
        """
        if host.lower() in self._hosts and self._request.owns(parameters):
            return True
        self._strays += 1
        return False

    def complete(self, parameters: Mapping[str, str], show: Callable[[str], None]) -> None:
        """Complete the login once, show the page, and only then end `wait`."""
        with self._once:
            if self._outcome.done():
                show(page("Nothing more to do", "This login is over.", good=True))
                return
            try:
                text = self._complete(parameters)
            except Exception as error:  # noqa: BLE001 - the waiting side raises it
                unexpected = "Something unexpected happened: see the terminal."
                problem = str(error) if isinstance(error, FatalSyncError) else unexpected
                show(page("The login did not work", problem, good=False))
                self._outcome.set_exception(error)
            else:
                show(page("You are logged in", text, good=True))
                self._outcome.set_result(None)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that closes its connection."""


class _CallbackHandler(BaseHTTPRequestHandler):
    """Handles the callback; refuses other requests."""

    server: CallbackServer
    timeout = 30
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain;charset=utf-8"

    def do_GET(self) -> None:
        """Handle a request of the browser."""
        if urlsplit(self.path).path != self.server.path_awaited:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        parameters = callback_parameters(self.path)
        if self.server.is_callback(self.headers.get("Host", ""), parameters):
            self.server.complete(parameters, self._show)
        else:
            self._show(page("Not the answer to this login", _STRAY, good=False), HTTPStatus.BAD_REQUEST)

    def _show(self, content: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = content.encode()
        with suppress(OSError):  # a browser need not wait for the page
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
        """Log nothing: the request line contains the code."""


def page(title: str, text: str, *, good: bool) -> str:
    """Render the final page; it loads nothing from other addresses."""
    farewell = "You can close this tab." if good else "You can close this tab and go back to the terminal."
    colour = "#0a7a45" if good else "#c0392b"
    return _PAGE.substitute(title=html.escape(title), text=html.escape(text), farewell=farewell, colour=colour)


def _loopback_address(redirect_uri: str) -> SplitResult:
    """Parse a redirect URI, or raise a `ConsentError`: it is invalid, or does not lead to this machine."""
    address = parse_address(redirect_uri)
    if address is None:
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
