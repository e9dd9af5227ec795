"""One business that is looked at: only Sage's responses count as evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from tap_sage_accounting.client import SingleObjectStream
from tap_sage_accounting.commands.doctor.looker import SAMPLE
from tap_sage_accounting.exceptions import ForeignResponseError, MalformedResponseError
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.streams.trial_balance import TrialBalance

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from tap_sage_accounting.api.access import BusinessAccess
    from tap_sage_accounting.client import SageStream
    from tap_sage_accounting.commands.doctor.looker import Looker
    from tap_sage_accounting.commands.doctor.response import Response, Row

BAD_REQUESTS = frozenset((400, 422))
"""Statuses with which Sage refuses a parameter."""
LISTS: Mapping[str, type[SageStream]] = {stream.name: stream for stream in STREAMS}


class NoResponseError(Exception):
    """Sage did not return what an experiment needs, or refused it: nothing follows from that."""


@dataclass
class Subject:
    """A business that is looked at.

    Attributes:
        looker: sends the requests.
        id: of the business.
        access: what subscription and role let one read, as Sage says beforehand; None where it does not.
        lifetimes: seconds that an access token and a refresh token live, as Sage stated; None where that is not known.
        start_date: of the settings, nothing before it is read; None where they have none.
        deep: whether many requests may be sent.
        fetches_files: whether runs fetch the files of attachments.
        samples: what came for the first rows of each list that was looked at, by its name.
        lacking: why the current experiment got no response for lists, by their names.
    """

    looker: Looker
    id: str
    access: BusinessAccess | None = None
    lifetimes: tuple[float, float] | None = None
    start_date: datetime | None = None
    deep: bool = False
    fetches_files: bool = False
    samples: dict[str, Response] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)

    # What experiments get

    def find(self, path: str, may_refuse: Collection[int] = (), /, **params: str | int) -> Response | None:
        """Return Sage's response about this business, and None where there is nothing to conclude from.

        Args:
            path: below the API's base.
            may_refuse: statuses that count as a response here, if they are Sage's own.
            params: query parameters.
        """
        return self._usable(path, self._fetch(path, **params), may_refuse)

    def get(self, path: str, may_refuse: Collection[int] = (), /, **params: str | int) -> Response:
        """Return Sage's response, as `find` does.

        Raises:
            NoResponseError: that is nothing to conclude from.
        """
        if (found := self.find(path, may_refuse, **params)) is None:
            raise NoResponseError
        return found

    def sample(self, name: str, may_refuse: Collection[int] = (), /) -> Response | None:
        """Return the first rows of a list, or a single object, as `find` does."""
        return self._usable(name, self.look_at(name), may_refuse)

    def responses_of(self, *names: str) -> dict[str, Response]:
        """Return the samples of those of some lists that Sage returned.

        Raises:
            NoResponseError: it returned none.
        """
        found = {name: response for name in names if (response := self.sample(name)) is not None}
        if not found:
            raise NoResponseError
        return found

    def rows_of(self, *names: str) -> list[Row]:
        """Return the rows of some lists' samples, as `responses_of` does."""
        return [row for response in self.responses_of(*names).values() for row in response.rows]

    def first_with_rows(self, *names: str, least: int = 1) -> tuple[str, Response] | None:
        """Return the first of some lists that has so many rows, with its sample."""
        for name in names:
            response = self.sample(name)
            if response is not None and response.rows and response.at_least >= least:
                return name, response
        return None

    def _usable(self, path: str, response: Response, may_refuse: Collection[int] = ()) -> Response | None:
        if response.ok or (response.status in may_refuse and not isinstance(response.error, ForeignResponseError)):
            return response
        self.lacking[path.partition("/")[0]] = response.failure
        return None

    # What the survey gets

    def look_at(self, name: str) -> Response:
        """Return what came for the first rows of a list, or a single object, requested as the tap does."""
        if name not in self.samples:
            if name == TrialBalance.name:
                first, last = self.closed_month
                self.samples[name] = self._fetch(name, from_date=first, to_date=last)
            elif issubclass(LISTS[name], SingleObjectStream):
                self.samples[name] = self._fetch(name)
            else:
                flags = dict.fromkeys(LISTS[name].flags, "true")
                self.samples[name] = self._fetch(name, page=1, items_per_page=SAMPLE, attributes="all", **flags)
        return self.samples[name]

    @cached_property
    def closed_month(self) -> tuple[str, str]:
        """The last month that is over, by its first and its last day."""
        last = self.looker.now.date().replace(day=1) - timedelta(days=1)
        return last.replace(day=1).isoformat(), last.isoformat()

    def _fetch(self, path: str, **params: str | int) -> Response:
        response = self.looker.get(f"/{path}", params, self.id)
        if response.ok and not _has_form(path, response):
            return response.but(MalformedResponseError(f"{path}: the response is something else."))
        return response


def _has_form(path: str, response: Response) -> bool:
    """Return whether a list has `$items`, and anything else has attributes."""
    stream = LISTS.get(path)
    if stream is None or issubclass(stream, (SingleObjectStream, TrialBalance)):
        return bool(response.fields)
    return isinstance(response.fields.get("$items"), list)


def current_streams() -> Iterator[type[SageStream]]:
    """Yield the streams of a business that Sage still has."""
    return (each for each in STREAMS if each.per_business and not each.retired and not each.collected)


def current_lists() -> Iterator[type[SageStream]]:
    """Yield those of them that are lists."""
    return (each for each in current_streams() if not issubclass(each, (SingleObjectStream, TrialBalance)))


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
