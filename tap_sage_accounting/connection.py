"""One question to Sage, asked until it is answered: a turn at the gate, a valid token, patience with passing faults."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError

from tap_sage_accounting.auth import SageAuthenticator
from tap_sage_accounting.errors import RefusedForNowError, TokenRejectedError, error_of, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_sage_accounting.auth import TokenManager
    from tap_sage_accounting.limits import RequestGate

Parsed = TypeVar("Parsed")

TRIES = 6
"""Attempts at one question that meets passing faults."""
TRIES_WHEN_REFUSED = 20
"""Attempts at one question that meets refusals (429): the gate slows down between them."""
FIRST_DELAY = 1.0
"""Seconds before the second attempt; doubled for each further one."""
LONGEST_DELAY = 60.0
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 120.0

_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ContentDecodingError)


class Connection:
    """The way to Sage that all streams and threads of a run share.

    Args:
        tokens: gives access tokens that are valid.
        gate: says when a request may be sent.
        api_url: base of the API, without a slash at the end.
        user_agent: how requests introduce themselves.
        connections: TCP connections kept open at most.
    """

    def __init__(
        self, *, tokens: TokenManager, gate: RequestGate, api_url: str, user_agent: str, connections: int
    ) -> None:
        self.api_url = api_url
        self._tokens = tokens
        self._authenticate = SageAuthenticator(tokens)
        self._gate = gate
        self._logger = logging.getLogger("tap-sage-accounting.requests")
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": user_agent, "Accept": "application/json"})
        self._session.mount(api_url, HTTPAdapter(pool_connections=1, pool_maxsize=connections, pool_block=True))

    def ask(
        self,
        path: str,
        params: Mapping[str, Any],
        *,
        business_id: str | None,
        what: str,
        parse: Callable[[requests.Response], Parsed],
    ) -> Parsed:
        """Send a GET request and parse its answer, again and again while the fault is a passing one.

        Args:
            path: the path below the API's base, with a slash in front.
            params: query parameters.
            business_id: the business to ask about; None for what belongs to the user.
            what: the question in words, for logs and errors.
            parse: reads a successful answer; may raise `MalformedAnswerError`, which counts as a passing fault.

        Raises:
            FatalAPIError: Sage refused for good, or the fault did not pass.
            SkippableAPIError: rights or edition do not offer this.
            GateClosedError: the run ended.
        """
        faults = refusals = rejected = 0
        while True:
            try:
                return self._attempt(path, params, business_id, what, parse)
            except TokenRejectedError as error:
                rejected += 1
                if rejected > 1:
                    raise FatalAPIError(f"{error} A renewed token was not accepted either.") from None
            except RefusedForNowError as error:
                refusals += 1
                if refusals >= TRIES_WHEN_REFUSED:
                    raise FatalAPIError(f"{error} It did so {refusals} times in a row.") from None
                self._logger.warning("%s Waiting, then trying again.", error)
            except RetriableAPIError as error:
                faults += 1
                self._recover(faults, error, retry_after(error.response) if error.response is not None else None)
            except _PASSING as error:
                faults += 1
                self._recover(faults, RetriableAPIError(f"{what}: {_kind(error)}."), None)

    def _attempt(
        self,
        path: str,
        params: Mapping[str, Any],
        business_id: str | None,
        what: str,
        parse: Callable[[requests.Response], Parsed],
    ) -> Parsed:
        headers = {} if business_id is None else {"X-Business": business_id}
        self._tokens.access_token()  # renewed, if need be, before a turn is taken
        with self._gate.turn():
            response = self._session.get(
                f"{self.api_url}{path}",
                params=params,
                headers=headers,
                auth=self._authenticate,
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
            )
        error = error_of(response, what)
        if isinstance(error, RefusedForNowError):
            self._gate.refused(error.retry_after)
        else:
            self._gate.accepted()
        if isinstance(error, TokenRejectedError):
            self._tokens.reject(_token_of(response.request))
        if error is not None:
            raise error
        answered_for = response.headers.get("X-Business")
        if business_id is not None and answered_for not in (None, business_id):
            raise FatalAPIError(f"{what}: Sage answered for another business ({answered_for}). Nothing of it was used.")
        return parse(response)

    def _recover(self, faults: int, error: RetriableAPIError, asked_to_wait: float | None) -> None:
        """Wait before the next attempt, or give up."""
        if faults >= TRIES:
            raise FatalAPIError(f"{error} Tried {faults} times.") from None
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (faults - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        if asked_to_wait is not None:
            delay = max(delay, asked_to_wait)
        self._logger.warning("%s Trying again in %.1f s (attempt %d of %d failed).", error, delay, faults, TRIES)
        self._gate.pause(delay)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()


def served_at(response: requests.Response) -> datetime:
    """Tell when an answer was served: by Sage's clock, or, without a `Date` header, when it was asked for by ours."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC) - response.elapsed


def _token_of(request: requests.PreparedRequest) -> str:
    return str(request.headers.get("Authorization", "")).removeprefix("Bearer ")


def _kind(error: requests.RequestException) -> str:
    """Describe a transport fault without what was transported."""
    match error:
        case requests.ConnectTimeout():
            return f"no connection within {CONNECT_TIMEOUT:.0f} s"
        case requests.Timeout():
            return f"no answer within {READ_TIMEOUT:.0f} s"
        case requests.exceptions.SSLError():
            return "the TLS connection could not be made"
        case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            return "the answer broke off or could not be decoded"
        case _:
            return "the connection failed or broke off"
