"""Requests of a look: each sent once, within a budget and a time, with a line for long waits."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting import timestamps
from tap_sage_accounting.api.exchange import WaitTooLongError
from tap_sage_accounting.api.faults import FAULTS, FaultKind, fault_of
from tap_sage_accounting.api.http_client import LIGHT
from tap_sage_accounting.api.request import Request
from tap_sage_accounting.commands import MAX_RESPONSE_SECONDS
from tap_sage_accounting.commands.doctor.response import TOO_MANY, Response
from tap_sage_accounting.timestamps import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from tap_sage_accounting.api.exchange import Exchange, ExchangeClient
    from tap_sage_accounting.api.outages import Scope

BUDGET = 60
"""Requests of a look in the default depth, for each business: a minute's, under a limit of 60."""
DEEP_BUDGET = 400
"""Requests of a deep look, for each business."""
SAMPLE = 20
"""Rows of a list that are looked at: one small page, which Sage returns fast."""
ATTEMPTS = 3
"""Attempts at a request that meets a passing fault or a refusal for the number of requests."""
PASSING = frozenset((0, TOO_MANY, 500, 502, 503, 504))
"""Statuses of attempts that another one may cure."""
SECONDS_A_REQUEST = 5.0
"""Seconds that a look takes at most for each request of its budget."""
ANNOUNCED_AFTER = 5.0
"""Seconds after which a line says which response the look waits for."""
MOST_SILENT = 3
"""Requests in a row without a response, before something light shows whether Sage responds at all."""
logger = logging.getLogger("tap-sage-accounting.doctor")
SPENT = "All requests of this look were sent before. `--deep` sends more."
SILENT = f"The look was cut short: Sage answered nothing to {MOST_SILENT} requests in a row. Look again later."
LATER = "The look was cut short: Sage asks to wait %s, longer than a look may take. Look again after that."
SLOW = "The look was cut short: it took too long. Look again later."


class SpentError(Exception):
    """No more requests may be sent."""


class Looker:
    """Sends requests for a look, each once and no more than the budget allows.

    Args:
        client: the way to Sage.
        budget: requests at most.

    Attributes:
        cut_short: why the look ended before its budget; "" where it did not.
    """

    def __init__(self, client: ExchangeClient, budget: int) -> None:
        self._client = client
        self._responses: dict[tuple[object, ...], Response] = {}
        self._missing: dict[Scope, Response] = {}
        self._waiting: tuple[str, float] | None = None
        self.refusals = 0
        self.header_names: set[str] = set()
        self.seconds: defaultdict[int, list[float]] = defaultdict(list)
        self.renew(budget)

    def renew(self, budget: int) -> None:
        """Begin another business, with a budget of its own."""
        self.left = budget
        self.cut_short = ""
        self._silent = 0
        self._until = time.monotonic() + budget * SECONDS_A_REQUEST

    def get(self, path: str, params: Mapping[str, str | int] | None = None, business_id: str | None = None) -> Response:
        """Return the response to a request, which is sent unless it was before.

        Raises:
            SpentError: no more may be sent.
        """
        key = (path, business_id, *sorted((params or {}).items()))
        if key not in self._responses:
            self._responses[key] = self._request(Request(path, params or {}, business_id, path.strip("/")))
        return self._responses[key]

    def user(self) -> Response:
        """Return the response to a light request, which every user may send."""
        return self.get(LIGHT.path)

    @property
    def now(self) -> datetime:
        """The present moment by Sage's clock, as a run takes it; by this machine's before the first response."""
        skews = [response.skew for response in self._responses.values() if response.skew is not None]
        return timestamps.now() + (skews[-1] if skews else timedelta())

    @property
    def _seconds_left(self) -> float:
        return self._until - time.monotonic()

    @property
    def responses(self) -> list[Response]:
        """All responses so far."""
        return list(self._responses.values())

    def about(self, business_id: str) -> list[Response]:
        """Return the responses about a business."""
        return [response for key, response in self._responses.items() if key[1] == business_id]

    def _request(self, request: Request) -> Response:
        """Send a request, unless a small one to the same list brought nothing before."""
        if (before := self._missing.get(request.scope)) is not None:
            return before
        response = Response()
        for _ in range(ATTEMPTS):
            response = self._attempt(request)
            if response.is_late or response.status not in PASSING:
                break
        size = int(request.params.get("items_per_page", 1))
        if response.ok and "items_per_page" in request.params:
            self.seconds[size].append(response.seconds)
        if response.is_missing:
            if request.path != LIGHT.path:  # without which the look ends with its words
                logger.warning("%s", response.error)
            if size <= SAMPLE:
                self._missing[request.scope] = response
        self._silent = self._silent + 1 if response.is_missing else 0
        if self._silent >= MOST_SILENT and self.left:
            self._silent = 0
            self.cut_short = SILENT if self._attempt(LIGHT).is_missing else ""
        return response

    def _attempt(self, request: Request) -> Response:
        """Send a request with a valid token: one that Sage accepts nowhere is renewed, as in a run.

        Raises:
            AccessRefusedError: Sage accepts no token.
        """
        while True:
            response, exchange = self._send(request)
            if not response.refuses_token:
                return response
            light, exchange = (response, exchange) if request is LIGHT else self._send(LIGHT)
            if not light.refuses_token or exchange is None:
                return response  # the refusal is about what was requested
            self._client.give_up_token(exchange, str(light.error))

    def _send(self, request: Request) -> tuple[Response, Exchange | None]:
        if self._seconds_left < 0:
            self.cut_short = self.cut_short or SLOW
        if self.cut_short or self.left < 1:
            raise SpentError
        self.left -= 1
        began = time.monotonic()
        self._waiting = request.label, began
        try:
            exchange = self._client.look(request, self._seconds_left)
        except WaitTooLongError as error:
            self.refusals += 1
            self.cut_short = LATER % in_words(timedelta(seconds=error.seconds))
            raise SpentError from None
        except FAULTS as error:
            fault = fault_of(error, request.label, "Sage")
            return Response(error=fault.error, is_late=fault.kind is FaultKind.HEAVY), None
        finally:
            self._waiting = None
        response = Response.of(exchange, request, time.monotonic() - began)
        self.refusals += response.status == TOO_MANY
        self.header_names |= response.headers.keys()
        return response, exchange

    @contextmanager
    def announcing(self) -> Iterator[None]:
        """Log a line, within the block, where a response takes long."""
        ended = threading.Event()
        threading.Thread(target=self._announce, args=(ended,), daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _announce(self, ended: threading.Event) -> None:
        announced = None
        while not ended.wait(ANNOUNCED_AFTER / 4):
            waiting = self._waiting
            if waiting is None or waiting is announced:
                continue
            label, began = waiting
            if time.monotonic() - began > ANNOUNCED_AFTER:
                announced = waiting
                logger.warning("Waiting for Sage: %s. A response may take %.0f s.", label, MAX_RESPONSE_SECONDS)
