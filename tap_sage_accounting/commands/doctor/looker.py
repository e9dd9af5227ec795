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
from tap_sage_accounting.commands.doctor.answer import TOO_MANY, Answer
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
"""Rows of a list that are looked at: one small page, which Sage answers fast."""
ATTEMPTS = 3
"""Attempts at a request that meets a passing fault or a refusal for the number of requests."""
PASSING = frozenset((0, TOO_MANY, 500, 502, 503, 504))
"""Statuses of attempts that another one may cure."""
LONGEST_ANSWER = 30.0
"""Seconds until a response is complete: a small page takes one."""
SECONDS_A_REQUEST = 5.0
"""Seconds that a look takes at most for each request of its budget."""
ANNOUNCED_AFTER = 5.0
"""Seconds after which a line says which response the look waits for."""
MOST_SILENT = 3
"""Requests in a row without an answer, before something light shows whether Sage answers anything."""
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
        self._answers: dict[tuple[object, ...], Answer] = {}
        self._missing: dict[Scope, Answer] = {}
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

    def get(self, path: str, params: Mapping[str, str | int] | None = None, business_id: str | None = None) -> Answer:
        """Return the answer to a request, which is sent unless it was before.

        Raises:
            SpentError: no more may be sent.
        """
        key = (path, business_id, *sorted((params or {}).items()))
        if key not in self._answers:
            self._answers[key] = self._request(Request(path, params or {}, business_id, path.strip("/")))
        return self._answers[key]

    def user(self) -> Answer:
        """Return the answer to a light request, which every user may send."""
        return self.get(LIGHT.path)

    @property
    def now(self) -> datetime:
        """The present moment by Sage's clock, as a run takes it; by this machine's while nothing was answered."""
        skews = [answer.skew for answer in self._answers.values() if answer.skew is not None]
        return timestamps.now() + (skews[-1] if skews else timedelta())

    @property
    def _seconds_left(self) -> float:
        return self._until - time.monotonic()

    @property
    def answers(self) -> list[Answer]:
        """All answers so far."""
        return list(self._answers.values())

    def about(self, business_id: str) -> list[Answer]:
        """Return the answers about a business."""
        return [answer for key, answer in self._answers.items() if key[1] == business_id]

    def _request(self, request: Request) -> Answer:
        """Send a request, unless a small one to the same list brought nothing before."""
        if (before := self._missing.get(request.scope)) is not None:
            return before
        answer = Answer()
        for _ in range(ATTEMPTS):
            answer = self._attempt(request)
            if answer.is_late or answer.status not in PASSING:
                break
        size = int(request.params.get("items_per_page", 1))
        if answer.ok and "items_per_page" in request.params:
            self.seconds[size].append(answer.seconds)
        if answer.is_missing:
            if request.path != LIGHT.path:  # without which the look ends with its words
                logger.warning("%s", answer.error)
            if size <= SAMPLE:
                self._missing[request.scope] = answer
        self._silent = self._silent + 1 if answer.is_missing else 0
        if self._silent >= MOST_SILENT and self.left:
            self._silent = 0
            self.cut_short = SILENT if self._attempt(LIGHT).is_missing else ""
        return answer

    def _attempt(self, request: Request) -> Answer:
        """Send a request with a valid token: one that Sage accepts nowhere is renewed, as in a run.

        Raises:
            AccessRefusedError: Sage accepts no token.
        """
        while True:
            answer, exchange = self._send(request)
            if not answer.refuses_token:
                return answer
            light, exchange = (answer, exchange) if request is LIGHT else self._send(LIGHT)
            if not light.refuses_token or exchange is None:
                return answer  # the refusal is about what was requested
            self._client.give_up_token(exchange, str(light.error))

    def _send(self, request: Request) -> tuple[Answer, Exchange | None]:
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
            return Answer(error=fault.error, is_late=fault.kind is FaultKind.HEAVY), None
        finally:
            self._waiting = None
        answer = Answer.of(exchange, request, time.monotonic() - began)
        self.refusals += answer.status == TOO_MANY
        self.header_names |= answer.headers.keys()
        return answer, exchange

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
                logger.warning("Waiting for Sage: %s. An answer may take %.0f s.", label, LONGEST_ANSWER)
