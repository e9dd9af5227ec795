"""One exchange with Sage: a permit, a valid token, a request, and its response."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypedDict, Unpack
from urllib.parse import urlsplit

import requests
from singer_sdk.exceptions import RetriableAPIError

from tap_sage_accounting import timestamps
from tap_sage_accounting.api import faults
from tap_sage_accounting.api.faults import FAULTS, Fault, FaultKind, fault_of
from tap_sage_accounting.api.file_hosts import MOST_REDIRECTS, TOO_MANY, FileHosts
from tap_sage_accounting.api.patience import Patience
from tap_sage_accounting.api.request import require_business
from tap_sage_accounting.api.responses import ACCEPTED, read_body, read_file
from tap_sage_accounting.exceptions import (
    NoWayToSageError,
    RateLimitedError,
    RetryAfterTooLongError,
    RunOverError,
    UnreadableResponseError,
    error_of,
)
from tap_sage_accounting.transport.adapter import BoundedAdapter
from tap_sage_accounting.transport.session import open_session

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor, Future
    from datetime import datetime

    from tap_sage_accounting.api.permit import Permit
    from tap_sage_accounting.api.request import Request
    from tap_sage_accounting.api.request_gate import RequestGate
    from tap_sage_accounting.auth.manager import TokenManager


class Exchange(NamedTuple):
    """What one request brought: any status, and its body as sent, decompressed; of a file, its beginning.

    `file_headers` are those of another host that had the file: the response is then Sage's redirect to it.
    """

    response: requests.Response
    body: bytes
    sent_at: datetime
    received_at: datetime
    permit: Permit
    file_headers: Mapping[str, str] | None = None


class WaitTooLongError(Exception):
    """The `Retry-After` of a response is longer than the caller allows.

    Attributes:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


class Way(TypedDict):
    """The way to Sage.

    Attributes:
        tokens: gives access tokens that are valid.
        gate: says when a request may be sent.
        api_url: base of the API, without a slash at the end.
        user_agent: how requests introduce themselves.
        connections: TCP connections kept open at most.
        patience: seconds that Sage may refuse everything, be unreachable or demand to wait, before the run ends.
    """

    tokens: TokenManager
    gate: RequestGate
    api_url: str
    user_agent: str
    connections: int
    patience: int


class ExchangeClient:
    """Sends requests one by one, as many at a time as the gate lets through.

    Raises:
        ConfigValidationError: the environment names a proxy or a file of certificates that cannot be used.
    """

    def __init__(self, **way: Unpack[Way]) -> None:
        self.api_url = way["api_url"]
        self._patience = Patience(way["patience"])
        self._host = urlsplit(self.api_url).hostname or ""
        self._tokens = way["tokens"]
        self._gate = way["gate"]
        self._logger = logging.getLogger("tap-sage-accounting.requests")
        self._session = open_session(self.api_url, way["user_agent"])
        self._session.headers.update({"Accept-Encoding": ACCEPTED, "Cache-Control": "no-cache"})
        adapter = BoundedAdapter(pool_connections=1, pool_maxsize=way["connections"], pool_block=True)
        self._session.mount(self.api_url, adapter)
        self._file_hosts = FileHosts(self.api_url, way["user_agent"], way["connections"])
        self._ahead: dict[Hashable, tuple[str | None, Future[Exchange]]] = {}

    def request_ahead(self, request: Request, executor: Executor) -> None:
        """Send a GET request before it is certain that its response is wanted.

        `get` takes the response of the same request, or its fault, as if it came then. What is not taken changes
        nothing: it is no failure, and says nothing of the token or of limits.
        """
        self._ahead[request.key] = request.business_id, executor.submit(self._send, request)

    def drop_ahead(self, business_ids: AbstractSet[str]) -> None:
        """Drop what was requested ahead about other businesses than these."""
        for key, (business_id, _) in list(self._ahead.items()):
            if business_id is not None and business_id not in business_ids:
                del self._ahead[key]

    def _take_ahead(self, request: Request) -> Future[Exchange] | None:
        return self._ahead.pop(request.key, (None, None))[1] if self._ahead else None

    def bound(self, seconds: float) -> None:
        """Limit the seconds of each exchange from now on, from connecting to the last byte."""
        self._session.mount(self.api_url, BoundedAdapter(longest=seconds, pool_connections=1, pool_maxsize=1))

    def look(self, request: Request, longest_wait: float) -> Exchange:
        """Send a GET request once, and return what comes; a refusal slows the next requests down.

        No token is given up for what comes back: a 401 may say something of the request.

        Args:
            request: what is requested.
            longest_wait: seconds for which a refusal may be waited for, whatever `patience` allows.

        Raises:
            WaitTooLongError: `Retry-After` is longer.
            requests.RequestException: nothing came, or not all of it.
            NoWayToSageError: certificates or a proxy are in the way.
            GateClosedError: the run ended.
        """
        try:
            exchange = self._send(request)
        except FAULTS as failure:
            self._require_patience(fault_of(failure, request.label, self._host))
            raise
        error = error_of(exchange.response, exchange.body, request.label)
        if isinstance(error, RateLimitedError):
            delay = max(self._gate.refused(exchange.permit, error.retry_after), error.retry_after or 0.0)
            if delay > longest_wait:
                raise WaitTooLongError(delay)
            self._logger.warning("%s Waiting.", error)
            self._gate.pause(delay)
        elif not isinstance(error, RetriableAPIError):
            self._gate.accepted(exchange.permit)
        return exchange

    def give_up_token(self, exchange: Exchange, refusal: str) -> None:
        """Renew the token of a request before the next one: Sage accepts it nowhere, as `look` showed.

        Raises:
            AccessRefusedError: another renewal would not help.
        """
        token = token_of(exchange.response.request)
        if not self._tokens.reject(token):
            self._tokens.condemn(token, refusal)

    def _fetch(self, request: Request) -> Exchange:
        """Send a request; for a file, follow redirects, with a token only within Sage's host (records.file_place).

        Raises:
            UnreadableResponseError: they lead nowhere, or the file did not come from there.
        """
        exchange = self._send(request)
        for _ in range(MOST_REDIRECTS):
            if request.file is None or not exchange.response.is_redirect:
                return exchange
            require_business(exchange.response, request.business_id, request.label)
            url = self._file_hosts.target(exchange.response, request.label)
            if not self._file_hosts.is_sages(url):
                headers, beginning = self._file_hosts.fetch(url, request.file, request.label)
                return exchange._replace(body=beginning, file_headers=headers)
            exchange = self._send(request, url)
        if exchange.response.is_redirect:
            raise UnreadableResponseError(f"{request.label}: Sage {TOO_MANY}")
        return exchange

    def _send(self, request: Request, url: str | None = None) -> Exchange:
        """Send a request; `url`: to another address of Sage's host than its own."""
        address = url or f"{self.api_url}{request.path}"
        unsigned = requests.Request("GET", address, request.headers(), params=request.params, auth=self._tokens.sign)
        self._tokens.access_token()  # renewed, if need be, before a permit is taken
        with self._gate.acquire(request.business_id) as permit:
            sent_at = timestamps.now()
            response = self._session.send(
                self._session.prepare_request(unsigned),  # signed now: the permit may have been long in coming
                timeout=(faults.CONNECT_TIMEOUT, faults.READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
            )
            if request.file is None or response.status_code != requests.codes.ok:
                body = read_body(response)
            else:
                body = read_file(response, request.file)
            if response.status_code == requests.codes.ok and not body.lstrip().startswith(b"<"):
                self._tokens.accept(token_of(response.request))  # before a request that follows can find it dead
        return Exchange(response, body, sent_at, timestamps.now(), permit)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()
        self._file_hosts.close()

    def _require_patience(self, fault: Fault) -> None:
        """End the run over what nothing cures in time.

        Raises:
            RetryAfterTooLongError: `Retry-After` is longer than the patience that is left.
            NoWayToSageError: certificates or a proxy are in the way.
        """
        if fault.kind is FaultKind.SETUP:
            self._end(NoWayToSageError(f"{fault.error} Check the certificates and proxies of this machine."))
        if fault.wait is not None and fault.wait > self._patience.seconds:
            self._end(RetryAfterTooLongError(f"{fault.error} {self._patience.too_short(fault.wait)}"))

    def _end(self, reason: RunOverError) -> NoReturn:
        """End the run, so that no other request waits or is tried."""
        self._gate.close(reason)
        raise reason from None


def token_of(request: requests.PreparedRequest) -> str:
    """Return the access token that a request was sent with."""
    return str(request.headers.get("Authorization", "")).removeprefix("Bearer ")
