"""One request to the token endpoint: sent at most once, within a total time."""

from __future__ import annotations

import io
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import requests
from typing_extensions import override

from tap_sage_accounting.transport.faults import root_cause
from tap_sage_accounting.transport.session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT = 10.0
"""Seconds to connect to each of the server's addresses."""
TOTAL_TIMEOUT = 60.0
"""Seconds for a request, from the DNS lookup to the last byte of its response."""
LARGEST_RESPONSE = 1 << 20
"""Bytes; Sage's tokens take 4,096."""
CHUNK_BYTES = 4096
"""Bytes, compressed, that are read at once: a thousand times as many may come out."""


class NotSentError(Exception):
    """No byte of the form left this machine: the server cannot have acted on it."""


class NoResponseError(Exception):
    """The form may have reached the server, but no complete response came."""


class _TooLargeError(requests.RequestException):
    """A response that is larger than any tokens."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class _WatchedBody(io.BytesIO):
    """A request body that records whether its sending has begun: until then the server cannot have acted."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._lock = threading.Lock()
        self._is_withdrawn = False
        self._is_touched = False

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        with self._lock:
            if self._is_withdrawn:
                raise requests.ConnectionError
            self._is_touched = True
        return super().read(size)

    def withdraw(self) -> bool:
        """Prevent the sending; return whether that was in time."""
        with self._lock:
            self._is_withdrawn = True
            return not self._is_touched


def post_form(url: str, form: Mapping[str, str], user_agent: str) -> Response:
    """Send a form, and wait for the complete response.

    The request runs in a thread of its own, which is abandoned after `TOTAL_TIMEOUT`. The timeouts of `requests` begin
    anew with every byte.

    Raises:
        NotSentError: the form did not leave this machine, and will not.
        NoResponseError: the server may have acted on it.
        ConfigValidationError: the environment names a proxy or certificates that cannot be used.
    """
    # A session of its own: no pooled connection that the server may have closed, no adapter that repeats.
    session = open_session(url, user_agent)
    session.headers["Content-Type"] = "application/x-www-form-urlencoded"
    body = _WatchedBody(urlencode(form).encode())
    outcome: Future[Response] = Future()
    send = threading.Thread(target=_send, args=(session, url, body, outcome), name="token-request", daemon=True)
    send.start()
    try:
        return outcome.result(TOTAL_TIMEOUT)
    except (requests.RequestException, TimeoutError) as error:
        # The chain is cut because the error carries the request, and with it the secrets.
        raise (NotSentError if body.withdraw() else NoResponseError)(_fault(error)) from None


def _send(session: requests.Session, url: str, body: _WatchedBody, outcome: Future[Response]) -> None:
    timeouts = (CONNECT_TIMEOUT, TOTAL_TIMEOUT)
    try:
        with session, session.post(url, data=body, timeout=timeouts, allow_redirects=False, stream=True) as response:
            outcome.set_result(_complete(response))
    except Exception as error:  # noqa: BLE001 - the waiting side raises it
        outcome.set_exception(error)


def _complete(response: requests.Response) -> Response:
    """Read a response to its end, or raise a `RequestException`: it broke off, or is larger than any tokens."""
    body = bytearray()
    for chunk in response.iter_content(CHUNK_BYTES):
        body += chunk
        if len(body) > LARGEST_RESPONSE:
            raise _TooLargeError
    return Response(response.status_code, response.reason or "", response.headers, bytes(body))


def _fault(error: Exception) -> str:
    """Describe a transport fault, without what was transported."""
    cause = root_cause(error) or "no reason given"
    match error:
        case requests.ConnectTimeout():
            fault = f"no connection within {CONNECT_TIMEOUT:.0f} s"
        case requests.Timeout() | TimeoutError():
            fault = f"no complete response within {TOTAL_TIMEOUT:.0f} s"
        case requests.exceptions.SSLError():
            fault = f"the TLS connection could not be made: {cause}"
        case requests.exceptions.ProxyError():
            fault = f"the proxy did not connect: {cause}"
        case requests.exceptions.ContentDecodingError() | requests.exceptions.ChunkedEncodingError():
            fault = "the response broke off or could not be decoded"
        case _TooLargeError():
            fault = f"the response is larger than {LARGEST_RESPONSE >> 20} MB"
        case requests.ConnectionError():
            fault = f"the connection was refused or broke off: {cause}"
        case _:
            fault = type(error).__name__
    return fault
