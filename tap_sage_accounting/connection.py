"""One question to Sage, asked until it is answered: a turn at the gate, a valid token, patience with passing faults."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting import timestamps
from tap_sage_accounting.api.clocks import Clocks
from tap_sage_accounting.api.retry_after import retry_after
from tap_sage_accounting.auth import SageAuthenticator
from tap_sage_accounting.errors import (
    HeavyRequestError,
    LimitReachedError,
    RefusedForNowError,
    StubbornFaultError,
    TokenRejectedError,
    error_of,
)

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
AT_ONCE = 1 << 20
"""Bytes of an answer that are taken at once."""
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 120.0

LIGHT = "/user"
"""A path that every user may ask for, and that costs Sage little."""

_HEAVY = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
_PASSING = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer of Sage's.

    Attributes:
        body: as sent, decompressed.
        served_at: a moment that is not after the one when it was served, by Sage's clock or this machine's.
        served_by: a moment that is not before it.
    """

    body: bytes
    served_at: datetime
    served_by: datetime


class Connection:
    """The way to Sage that all streams and threads of a run share.

    Args:
        tokens: gives access tokens that are valid.
        gate: says when a request may be sent.
        api_url: base of the API, without a slash at the end.
        user_agent: how requests introduce themselves.
        connections: TCP connections kept open at most.
        patience: seconds that Sage may ask to wait before the run gives up.
    """

    def __init__(
        self,
        *,
        tokens: TokenManager,
        gate: RequestGate,
        api_url: str,
        user_agent: str,
        connections: int,
        patience: int,
    ) -> None:
        self._patience = patience
        self.api_url = api_url
        self._tokens = tokens
        self._authenticate = SageAuthenticator(tokens)
        self._gate = gate
        self._clocks = Clocks()
        self._logger = logging.getLogger("tap-sage-accounting.requests")
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": user_agent, "Accept": "application/json"})
        # Proxies and certificates, as the environment has them: looked up once, not for each request.
        self._surroundings = self._session.merge_environment_settings(
            api_url, proxies={}, stream=True, verify=None, cert=None
        )
        self._session.mount(api_url, HTTPAdapter(pool_connections=1, pool_maxsize=connections, pool_block=True))

    def ask(
        self,
        path: str,
        params: Mapping[str, Any],
        *,
        business_id: str | None,
        what: str,
        parse: Callable[[Answer], Parsed],
        tries: int | None = None,
    ) -> Parsed:
        """Send a GET request and parse its answer, again and again while the fault is a passing one.

        Args:
            path: the path below the API's base, with a slash in front.
            params: query parameters.
            business_id: the business to ask about; None for what belongs to the user.
            what: the question in words, for logs and errors.
            parse: reads a successful answer; may raise `MalformedAnswerError`, which counts as a passing fault.
            tries: attempts at a question that may be too heavy for Sage (500, 502, 504, no answer in time); None for
                `TRIES`, as other passing faults get.

        Raises:
            FatalAPIError: Sage refused for good, or the fault did not pass.
            HeavyRequestError: the fault did not pass, and smaller questions may do better.
            SkippableAPIError: rights or edition do not offer this.
            LimitReachedError: Sage wants no more requests for a long time.
            GateClosedError: the run ended.
        """
        faults = refusals = 0
        while True:
            try:
                return self._attempt(path, params, business_id, what, parse)
            except TokenRejectedError as error:
                self._require_other_token(error)
            except RefusedForNowError as error:
                refusals += 1
                self._endure(refusals, error)
            except (RetriableAPIError, *_PASSING) as error:
                faults += 1
                fault = error if isinstance(error, RetriableAPIError) else RetriableAPIError(f"{what}: {_kind(error)}.")
                heavy = _may_be_heavy(error)
                if faults >= (tries if heavy and tries else TRIES):
                    kind = HeavyRequestError if heavy else StubbornFaultError
                    raise kind(f"{fault} Tried {faults} times.") from None
                self._recover(faults, fault)

    def _require_other_token(self, error: TokenRejectedError) -> None:
        """Let the question be asked again with another token, unless none would help.

        A token that was renewed a moment ago may be refused for what it was sent with: something light tells.

        Raises:
            FatalAPIError: Sage accepts the token elsewhere.
            AccessRefusedError: Sage accepts no token.
        """
        if error.response is None or self._tokens.reject(_token_of(error.response.request)):
            return
        try:
            self._attempt(LIGHT, {}, None, "the user", lambda answer: answer.body)
        except TokenRejectedError as again:
            if again.response is not None:
                self._tokens.condemn(_token_of(again.response.request), str(error))
        except (RetriableAPIError, FatalAPIError, SkippableAPIError, *_PASSING):
            raise FatalAPIError(f"{error} It was renewed a moment ago.") from None
        else:
            raise FatalAPIError(f"{error} Sage accepts the same token for something else.") from None

    def _endure(self, refusals: int, error: RefusedForNowError) -> None:
        """Accept a refusal, unless it is one of many or asks for more patience than there is."""
        if error.retry_after is not None and error.retry_after > self._patience:
            back = datetime.now(UTC) + timedelta(seconds=error.retry_after)
            limit = LimitReachedError(
                f"{error} It asks to wait {error.retry_after:.0f} s, longer than the setting 'patience' allows "
                f"({self._patience} s). What was complete is kept; run again after {back:%Y-%m-%d %H:%M:%S} UTC."
            )
            self._gate.close(limit)  # nobody else need wait for hours at the gate
            raise limit from None
        if refusals >= TRIES_WHEN_REFUSED:
            raise StubbornFaultError(f"{error} It did so {refusals} times in a row.") from None
        self._logger.warning("%s Waiting, then trying again.", error)

    def _attempt(
        self,
        path: str,
        params: Mapping[str, Any],
        business_id: str | None,
        what: str,
        parse: Callable[[Answer], Parsed],
    ) -> Parsed:
        headers = {} if business_id is None else {"X-Business": business_id}
        self._tokens.access_token()  # renewed, if need be, before a turn is taken
        request = requests.Request("GET", f"{self.api_url}{path}", headers, params=params, auth=self._authenticate)
        with self._gate.turn(business_id) as ticket:
            sent_at = timestamps.now()
            response = self._session.send(
                self._session.prepare_request(request),  # signed now: the turn may have been long in coming
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                **self._surroundings,
            )
            body = b"".join(response.iter_content(AT_ONCE))
        error = error_of(response, body, what)
        if isinstance(error, RefusedForNowError):
            self._gate.refused(ticket, error.retry_after)
        else:
            self._gate.accepted(ticket)
        if error is not None:
            raise error
        self._tokens.accept(_token_of(response.request))
        answered_for = response.headers.get("X-Business")
        if business_id is not None and answered_for not in (None, business_id):
            raise FatalAPIError(f"{what}: Sage answered for another business ({answered_for}). Nothing of it was used.")
        served_at, served_by = self._clocks.served(response.headers.get("Date"), sent_at, timestamps.now())
        return parse(Answer(body, served_at, served_by))

    def _recover(self, faults: int, error: RetriableAPIError) -> None:
        """Wait before the next attempt: longer each time, and as long as Sage asks."""
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (faults - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        asked_to_wait = retry_after(error.response.headers) if error.response is not None else None
        delay = max(delay, min(asked_to_wait or 0.0, self._patience))
        self._logger.warning("%s Trying again in %.1f s (attempt %d failed).", error, delay, faults)
        self._gate.pause(delay)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()


def _may_be_heavy(error: Exception) -> bool:
    """Tell whether a fault may come from the size of the answer: 500, 502, 504, or no answer in time."""
    if isinstance(error, RetriableAPIError):
        return error.response is not None and error.response.status_code in _HEAVY
    return isinstance(error, requests.ReadTimeout)


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
