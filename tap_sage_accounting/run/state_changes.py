"""Changes of a state by people: lists are forgotten or set back, so that the next run reads them again.

What the state knows of deletions is kept, or set back as well: otherwise they would go unnoticed.
"""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.printable import printable
from tap_sage_accounting.run.state import State
from tap_sage_accounting.run.state_parts import (
    ALL_READ_AT,
    BOOKMARK,
    CLOSINGS,
    EMPTY_SINCE,
    INTERRUPTED,
    INVENTORY_AT,
    LISTS_READ,
    OLDER_CHANGED,
    PARTITIONS,
    READ_AT,
    REPLICATION_KEY,
    REPORTED_UNTIL,
    REREAD_AT,
    TRIAL_BALANCE,
    UNPOSTED_READ,
)
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tap_sage_accounting.declaration import StreamDeclaration

    Partition = dict[str, Any]

END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
"""Counts as now: only a run knows by Sage's clock what lies in the future."""
MONTHS = (READ_AT, CLOSINGS, EMPTY_SINCE, ALL_READ_AT)
"""Of the trial balance: what lets a run leave out months."""


@dataclass(frozen=True, slots=True)
class Change:
    """A list that was chosen.

    Attributes:
        stream: its stream.
        business_id: its business; None where the list belongs to the user.
        before: up to when it was read; None where its read is not complete, or always brings everything.
        after: up to when it counts as read now; None for a read from the beginning.
    """

    stream: str
    business_id: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class StateChange:
    """What to change, and how.

    Attributes:
        streams: names of the streams concerned; none for all.
        businesses: ids of the businesses concerned; none for all.
        moment: what to set lists back to; None to forget them.
        entirely: forget what is known of deletions, too, as the target has no rows of these lists.
    """

    streams: frozenset[str]
    businesses: frozenset[str]
    moment: datetime | None
    entirely: bool

    def apply(self, bookmarks: dict[str, Any], declared: Mapping[str, type[StreamDeclaration]]) -> list[Change]:
        """Change bookmarks in place; return the lists that were chosen."""
        changes: list[Change] = []
        for name, found in bookmarks.items():
            stream = declared.get(name)
            if stream is None or not isinstance(found, dict) or (self.streams and name not in self.streams):
                continue
            if stream.collected and not self.entirely:
                continue
            if stream.per_business:
                changes += self._of_businesses(stream, found)
            elif not self.businesses:
                changes.append(Change(name, None, None, None))
        business_ids = {change.business_id for change in changes}
        for partition in partitions_of(bookmarks.get("transactions")):
            if business_of(partition) in business_ids:
                for key in (LISTS_READ, UNPOSTED_READ):  # else the business or its deletions might wait
                    partition.pop(key, None)
        return changes

    def _of_businesses(self, stream: type[StreamDeclaration], found: dict[str, Any]) -> Iterator[Change]:
        chosen: defaultdict[str, list[Partition]] = defaultdict(list)
        for partition in partitions_of(found):
            business_id = business_of(partition)
            if business_id is not None and (not self.businesses or business_id in self.businesses):
                chosen[business_id].append(partition)
        dropped: set[int] = set()
        for business_id, (first, *others) in chosen.items():
            partition = _checked(stream, business_id, [first, *others])
            before = read_until(stream, partition)
            self._change(stream, partition)
            yield Change(stream.name, business_id, before, read_until(stream, partition))
            first.clear()
            first.update(partition)
            dropped.update(map(id, [first, *others] if self.entirely else others))
        if dropped:
            found[PARTITIONS] = [each for each in found[PARTITIONS] if id(each) not in dropped]

    def _change(self, stream: type[StreamDeclaration], partition: Partition) -> None:
        moment = "" if self.moment is None else instant(self.moment)
        if stream.name == TRIAL_BALANCE:
            _forget_months(partition, moment)
            return
        partition.pop(INTERRUPTED, None)
        if not moment:
            for key in (REPLICATION_KEY, BOOKMARK):
                partition.pop(key, None)
        for key in {BOOKMARK, REPORTED_UNTIL} & partition.keys() if moment else ():
            partition[key] = min(partition[key], moment)
        for key in (INVENTORY_AT, REREAD_AT):
            if partition.get(key, "") > moment:
                del partition[key]


def _forget_months(partition: Partition, moment: str) -> None:
    """Let all months be read again that were read after a moment: no filter shows which of them changed since.

    The accounts that were ever listed stay known, as their rows are there.
    """
    if partition.get(READ_AT, moment) > moment:
        for key in MONTHS:
            partition.pop(key, None)
        partition[OLDER_CHANGED] = True


def partitions_of(found: Any) -> list[Any]:
    """Return the partitions of a stream; none where there are none, or something else is in their place."""
    partitions = found.get(PARTITIONS) if isinstance(found, dict) else None
    return partitions if isinstance(partitions, list) else []


def business_of(partition: Any) -> str | None:
    """Return the business of a partition; None where it names none."""
    match partition:
        case {"context": {"business_id": str(business_id), **others}} if business_id and not others:
            return business_id
    return None


def read_until(stream: type[StreamDeclaration], partition: Mapping[str, Any]) -> str | None:
    """Return up to when a list was read."""
    found: str | None = partition.get(READ_AT if stream.name == TRIAL_BALANCE else BOOKMARK)
    return found


def _checked(stream: type[StreamDeclaration], business_id: str, partitions: Sequence[Partition]) -> Partition:
    """Return the one partition that a run would make of those of a business; log their damaged parts."""
    state = State({stream.name: {PARTITIONS: deepcopy([*partitions])}})
    state.check_partitions([stream], {business_id}, END_OF_TIME)
    state.report(printable)
    [partition] = state.bookmarks[stream.name][PARTITIONS]
    return dict(partition)
