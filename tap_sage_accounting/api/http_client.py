"""One request to Sage, sent until a response comes: a permit, a valid token, retries of passing faults.

Faults are classified by what cures them. Time cures those of the service (429, 503, no connection). The setting
`patience` limits how long all of them together are retried. Smaller requests cure pages that are too heavy. Another
attempt cures a response that broke off. Both have a number of attempts. Before one of them is blamed, something light
is requested; if that fails as well, the service is to blame.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, Unpack

import msgspec
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting.api import outages
from tap_sage_accounting.api.clocks import Clocks
from tap_sage_accounting.api.exchange import ExchangeClient, token_of
from tap_sage_accounting.api.faults import FAULTS, Fault, FaultKind, fault_of
from tap_sage_accounting.api.outages import EVERYTHING, LIMIT_WINDOW, Outages
from tap_sage_accounting.api.patience import Patience
from tap_sage_accounting.api.request import Request, Response, require_business
from tap_sage_accounting.exceptions import (
    RateLimitedError,
    RequestTooLargeError,
    RetriesExhaustedError,
    ServiceUnavailableError,
    TokenRejectedError,
    error_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from tap_sage_accounting.api.exchange import Exchange, Way
    from tap_sage_accounting.api.observations import Observations

Parsed = TypeVar("Parsed")

MAX_ATTEMPTS = 6
"""Attempts at one request that meets passing faults of its own."""
LIGHT = Request("/user", {}, None, "the user")
"""Something that every user may read, and that costs Sage little: it shows whether Sage responds at all."""


@dataclass(slots=True)
class _Trouble:
    """The faults of one request that another attempt may cure.

    Attributes:
        attempts: how many failed.
        is_alone: whether others got a response a moment before the last one was sent.
    """

    attempts: int = 0
    is_alone: bool = False


class HttpClient(ExchangeClient):
    """The way to Sage that all streams and threads of a run share.

    Args:
        observations: counts what contradicts what is assumed of Sage.
        clock: seconds, monotonic.
        way: where and how requests are sent.

    Raises:
        ConfigValidationError: the environment names a proxy or a file of certificates that cannot be used.
    """

    def __init__(
        self,
        *,
        observations: Observations,
        clock: Callable[[], float] = time.monotonic,
        **way: Unpack[Way],
    ) -> None:
        super().__init__(**way)
        self.observations = observations
        self._clock = clock
        self._outages = Outages(way["patience"], clock)
        self._failing_since = float("-inf")
        self._clocks = Clocks(lambda: self.observations.add("requests.clock"))

    def hurry(self, patience: float, longest: float) -> None:
        """Give up soon from now on, whatever fails: a person waits, and nothing is lost.

        Args:
            patience: seconds without a successful response, where the setting `patience` does not have fewer. A limit
                of the minute has another minute.
            longest: seconds of an exchange.
        """
        self.bound(longest)
        self._patience = Patience(min(patience, self._patience.seconds), is_setting=False)

    def get(self, request: Request, parse: Callable[[Response], Parsed], max_attempts: int | None = None) -> Parsed:
        """Send a GET request and parse its response, again and again while the fault is a passing one.

        Args:
            request: what is requested.
            parse: reads a successful response; may raise `MalformedResponseError`, which counts as a passing fault.
            max_attempts: attempts at a request that may be too heavy for Sage. It fails with 500, 502 or 504, or its
                response is late, too large or cut off. None for `MAX_ATTEMPTS`, as other passing faults get.

        Raises:
            FatalAPIError: Sage refused for good, or the fault did not pass.
            RequestTooLargeError: the fault did not pass, and smaller requests may do better.
            SkippableAPIError: rights or edition do not offer this.
            RunOverError: no request can succeed any more.
            GateClosedError: the run ended.
        """
        trouble = _Trouble()
        ahead = self._take_ahead(request)
        while True:
            if put_off := self._outages.wait(request.scope):
                self._gate.pause(put_off * random.uniform(1.0, 1.25))  # noqa: S311 - jitter
            trouble.is_alone = self._outages.is_well()
            try:
                return self._attempt(request, parse, ahead)
            except TokenRejectedError as error:
                self._require_other_token(error)
            except FAULTS as error:
                self._handle(request, fault_of(error, request.label, self._host), trouble, max_attempts)
            ahead = None

    def _require_other_token(self, error: TokenRejectedError) -> None:
        """Let the request be sent again with another token, unless none would help.

        Where the token was renewed a moment ago, a light request shows whether the token or the request is refused.

        Raises:
            FatalAPIError: Sage accepts the token elsewhere.
            AccessRefusedError: Sage accepts no token.
        """
        if error.response is None:
            return
        token = token_of(error.response.request)
        if self._tokens.reject(token):
            return
        try:
            self._attempt(LIGHT, lambda answer: answer.body)
        except TokenRejectedError as again:
            if again.response is not None:
                self._tokens.condemn(token_of(again.response.request), str(error))
            return
        except (*FAULTS, FatalAPIError, SkippableAPIError):
            conclusion = "It was renewed a moment ago."
        else:
            conclusion = "Sage accepts the same token for something else."
        if self._tokens.access_token() == token:  # otherwise another read had it replaced meanwhile
            raise FatalAPIError(f"{error} {conclusion}") from None

    def _handle(self, request: Request, fault: Fault, trouble: _Trouble, max_attempts: int | None) -> None:
        """Wait for what may cure a fault, unless there is no hope."""
        self._require_patience(fault)
        if not self._patience.is_setting:
            self._require_response(fault)
        if fault.kind is FaultKind.UNREACHABLE:
            self._endure(request, fault)
            return
        heavy = fault.kind is FaultKind.HEAVY
        trouble.attempts += 1
        if trouble.attempts < (max_attempts if heavy and max_attempts else MAX_ATTEMPTS):
            self._recover(trouble.attempts, fault)
        elif trouble.is_alone or (not heavy and not self._outages.had_response):
            kind = RequestTooLargeError if heavy else RetriesExhaustedError
            raise kind(f"{fault.error} Tried {trouble.attempts} times.{self._patience.advice}") from None
        elif not self._is_well():
            self._endure(request, fault)
            trouble.attempts = 0

    def _require_response(self, fault: Fault) -> None:
        """End a command in a hurry when no response came for long enough, whatever the fault.

        Raises:
            ServiceUnavailableError: it is so.
        """
        now = self._clock()
        if self._failing_since <= self._outages.answered_at:
            self._failing_since = now
        may_be_limit = isinstance(fault.error, RateLimitedError)
        if (seconds := now - self._failing_since) >= self._patience.seconds + (LIMIT_WINDOW if may_be_limit else 0.0):
            self._end(ServiceUnavailableError(f"{fault.error} {self._patience.exhausted(seconds)}"))

    def _endure(self, request: Request, fault: Fault) -> None:
        """Accept a fault of the service's, unless that is out of order for longer than there is patience.

        Raises:
            ServiceUnavailableError: Sage responded to nothing for so long; the run ends.
            RetriesExhaustedError: only this path or this business got no response for so long.
        """
        scope = request.scope
        delay = fault.error.delay if isinstance(fault.error, RateLimitedError) else None
        if self._outages.fail(scope, fault.wait, is_refusal=delay is not None):
            self._logger.warning("%s Trying again for up to %d s in all.", fault.error, self._patience.seconds)
        if (exhausted := self._outages.exhausted(scope)) is None:
            if delay:
                self._gate.pause(delay)
            return
        widest, seconds = exhausted
        if widest != EVERYTHING:
            raise RetriesExhaustedError(f"{fault.error} It did so for {seconds:.0f} s, longer than 'patience' allows.")
        if self._is_well():
            return  # the next fault is this path's own
        self._end(ServiceUnavailableError(f"{fault.error} {self._patience.exhausted(seconds)}"))

    def _recover(self, failed: int, fault: Fault) -> None:
        """Wait before the next attempt: longer each time, and at least as long as `Retry-After` says."""
        delay = min(outages.LONGEST_DELAY, outages.FIRST_DELAY * 2 ** (failed - 1))
        delay = max(delay * random.uniform(0.75, 1.25), fault.wait or 0.0)  # noqa: S311 - jitter
        self._logger.warning("%s Trying again in %.1f s (attempt %d failed).", fault.error, delay, failed)
        self._gate.pause(delay)

    def _is_well(self) -> bool:
        """Request something light, to find out whether Sage responds at all."""
        try:
            self._attempt(LIGHT, lambda answer: msgspec.json.decode(answer.body))
        except (TokenRejectedError, FatalAPIError, SkippableAPIError):
            return True
        except (*FAULTS, msgspec.DecodeError, UnicodeDecodeError):
            return False
        return True

    def _attempt(
        self, request: Request, parse: Callable[[Response], Parsed], ahead: Future[Exchange] | None = None
    ) -> Parsed:
        exchange = self._fetch(request) if ahead is None else ahead.result()
        response, body, permit = exchange.response, exchange.body, exchange.permit
        error = None if exchange.file_headers is not None else error_of(response, body, request.label)
        if isinstance(error, RateLimitedError):
            error.delay = self._gate.refused(permit, error.retry_after)
            self.observations.add("limits.minute" if error.retry_after is not None else "limits.retry_after")
        if isinstance(error, RetriableAPIError):
            raise error  # which says nothing of limits, unless it is a refusal, and nothing of the service's health
        parsed: Parsed | Exception
        if error is None:
            require_business(response, request.business_id, request.label)
            self.observations.response(response.headers, names_business=request.is_about_books)
            served = self._clocks.served(response.headers.get("Date"), exchange.sent_at, exchange.received_at)
            parsed = parse(Response(body, *served, request.label, exchange.file_headers or response.headers))
        else:
            parsed = error
        self._gate.accepted(permit)
        self._outages.succeed(request.scope)
        if isinstance(parsed, Exception):
            raise parsed
        return parsed
