"""One business that is looked at: requests within a budget, each sent once, and answers that experiments share."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_sage_accounting import timestamps
from tap_sage_accounting.api.faults import FAULTS, fault_of
from tap_sage_accounting.api.request import Request, parse_json
from tap_sage_accounting.client import SingleObjectStream
from tap_sage_accounting.exceptions import MalformedResponseError, SageError
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.streams.deletions import Deletions
from tap_sage_accounting.streams.trial_balance import TrialBalance
from tap_sage_accounting.transport.faults import parse_http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_sage_accounting.api.access import BusinessAccess
    from tap_sage_accounting.api.http_client import Exchange, HttpClient
    from tap_sage_accounting.client import SageStream

Row = dict[str, Any]
BUDGET = 60
"""Requests of a look in the default depth."""
DEEP_BUDGET = 400
"""Requests of a deep look, for each business."""
SAMPLE = 20
"""Rows of a list that are looked at."""
ATTEMPTS = 3
"""Attempts at a request that meets a passing fault or a refusal for the number of requests."""
LONGEST_NUMBER = 15
"""Digits of a number in an envelope."""
OK, TOO_MANY = 200, 429
BAD_REQUESTS = frozenset((400, 422))
"""Statuses with which Sage refuses a parameter."""
PASSING = frozenset((0, TOO_MANY, 503))
"""Statuses of attempts that another one may cure."""
LISTS: Mapping[str, type[SageStream]] = {stream.name: stream for stream in STREAMS}


class SpentError(Exception):
    """All requests that a look may take were sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for one request.

    Attributes:
        status: 0 where nothing came.
        headers: by their names in lower case.
        body: parsed; None where it is no JSON.
        error: Sage's error, where it is one.
        size: bytes of the body, decompressed.
        seconds: from the request to the last byte.
        skew: Sage's clock less this machine's; None without a `Date` that makes sense.
        trouble: why nothing came, in words.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    error: SageError = field(default_factory=SageError)
    size: int = 0
    seconds: float = 0.0
    skew: timedelta | None = None
    trouble: str = ""

    @classmethod
    def of(cls, exchange: Exchange, seconds: float) -> Answer:
        """Take an answer apart."""
        response = exchange.response
        headers = {name.lower(): value for name, value in response.headers.items()}
        try:
            body = parse_json(exchange.body, "")
        except MalformedResponseError:
            body = None
        date = parse_http_date(headers.get("date", ""))
        return cls(
            status=response.status_code,
            headers=headers,
            body=body,
            error=SageError() if response.status_code == OK else SageError.parse(exchange.body),
            size=len(exchange.body),
            seconds=seconds,
            skew=None if date is None else min(date - exchange.sent_at, date - timestamps.now(), key=abs),
        )

    @property
    def ok(self) -> bool:
        """Whether the request was answered as it was meant."""
        return self.status == OK and self.body is not None

    @property
    def fields(self) -> Row:
        """The body where it is an object; an empty one for anything else."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def rows(self) -> list[Row]:
        """The rows of a page."""
        items = self.fields.get("$items")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    @property
    def total(self) -> int | None:
        """How many rows the list has, by the page."""
        return whole(self.fields.get("$total"))

    @property
    def ids(self) -> list[str]:
        """The ids of a page's rows."""
        return [str(row["id"]) for row in self.rows if isinstance(row.get("id"), str)]


class Looker:
    """Sends requests for a look, each once and no more than the budget allows.

    Args:
        client: the way to Sage.
        budget: requests at most.
        log: reports a request that failed.
    """

    def __init__(self, client: HttpClient, budget: int, log: Callable[[str], None] = lambda _line: None) -> None:
        self._client = client
        self._log = log
        self._answers: dict[tuple[object, ...], Answer] = {}
        self.left = budget
        self.refusals = 0
        self.header_names: set[str] = set()
        self.seconds: defaultdict[int, list[float]] = defaultdict(list)

    def get(self, path: str, params: Mapping[str, str | int] | None = None, business_id: str | None = None) -> Answer:
        """Return the answer to a request, which is sent unless it was before.

        Raises:
            SpentError: the budget is spent.
        """
        key = (path, business_id, *sorted((params or {}).items()))
        if key not in self._answers:
            self._answers[key] = self._request(Request(path, params or {}, business_id, path.strip("/")))
        return self._answers[key]

    @property
    def answers(self) -> list[Answer]:
        """All answers so far."""
        return list(self._answers.values())

    def about(self, business_id: str) -> list[Answer]:
        """Return the answers about a business."""
        return [answer for key, answer in self._answers.items() if key[1] == business_id]

    def _request(self, request: Request) -> Answer:
        answer = Answer()
        for _ in range(ATTEMPTS):
            answer = self._attempt(request)
            if answer.status not in PASSING:
                break
        self.header_names |= answer.headers.keys()
        if answer.ok and (size := request.params.get("items_per_page")):
            self.seconds[int(size)].append(answer.seconds)
        return answer

    def _attempt(self, request: Request) -> Answer:
        if self.left < 1:
            raise SpentError
        self.left -= 1
        began = time.monotonic()
        try:
            exchange = self._client.look(request)
        except FAULTS as error:
            trouble = str(fault_of(error, request.label, "Sage").error)
            self._log(trouble)
            return Answer(trouble=trouble)
        answer = Answer.of(exchange, time.monotonic() - began)
        self.refusals += answer.status == TOO_MANY
        return answer


@dataclass
class Subject:
    """A business that is looked at.

    Attributes:
        looker: sends the requests.
        id: of the business.
        access: what subscription and role let one read, as Sage says beforehand; None where it does not.
        lifetimes: seconds that an access token and a refresh token live, as Sage stated; None where that is not known.
        deep: whether many requests are fine.
        samples: the first rows of each list that was looked at, by its name.
    """

    looker: Looker
    id: str
    access: BusinessAccess | None = None
    lifetimes: tuple[float, float] | None = None
    deep: bool = False
    samples: dict[str, Answer] = field(default_factory=dict)

    def get(self, path: str, **params: str | int) -> Answer:
        """Return the answer to a request about this business."""
        return self.looker.get(f"/{path}", params, self.id)

    def sample(self, name: str) -> Answer:
        """Return the first rows of a list, or a single object, as the tap asks for it."""
        if name not in self.samples:
            if name == TrialBalance.name:
                self.samples[name] = self.month
            elif issubclass(LISTS[name], SingleObjectStream):
                self.samples[name] = self.get(name)
            else:
                flags = dict.fromkeys(LISTS[name].flags, "true")
                self.samples[name] = self.get(name, page=1, items_per_page=SAMPLE, attributes="all", **flags)
        return self.samples[name]

    @cached_property
    def closed_month(self) -> tuple[str, str]:
        """The last month that is over, by its first and its last day."""
        last = timestamps.now().date().replace(day=1) - timedelta(days=1)
        return last.replace(day=1).isoformat(), last.isoformat()

    @property
    def month(self) -> Answer:
        """The trial balance of the last month that is over."""
        first, last = self.closed_month
        return self.get("trial_balance", from_date=first, to_date=last)

    def first_with_rows(self, *names: str, least: int = 1) -> tuple[str, Answer] | None:
        """Return the first of some lists that has so many rows, with its sample."""
        for name in names:
            answer = self.sample(name)
            if answer.ok and (answer.total or len(answer.rows)) >= least and answer.rows:
                return name, answer
        return None


def current_streams() -> Iterator[type[SageStream]]:
    """Yield the streams of a business that Sage still has."""
    return (each for each in STREAMS if each.per_business and not each.retired and each is not Deletions)


def current_lists() -> Iterator[type[SageStream]]:
    """Yield those of them that are lists."""
    return (each for each in current_streams() if not issubclass(each, (SingleObjectStream, TrialBalance)))


def whole(value: object) -> int | None:
    """Return a number of an envelope; None for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= LONGEST_NUMBER:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def amount(value: object) -> Decimal | None:
    """Return an amount, however it is written; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        found = Decimal(value)
    except ArithmeticError:
        return None
    return found if found.is_finite() else None


def reference(value: object) -> str:
    """Return the id of a reference; "" where there is none."""
    return str(value.get("id") or "") if isinstance(value, dict) else ""
