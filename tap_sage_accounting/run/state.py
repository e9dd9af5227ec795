"""The state of earlier runs, checked part by part before anything relies on it.

It holds one partition for each stream and business. A part that is damaged is dropped, and what it was needed for is
read anew. What is known of deletions is kept where possible: without it, they would go unnoticed.
"""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import encoder

from tap_sage_accounting.printable import printable
from tap_sage_accounting.run import packed_ids
from tap_sage_accounting.run.state_parts import (
    BEGINNING,
    BOOKMARK,
    CHECKSUMS,
    CONTEXT,
    INTERRUPTED,
    INVENTORY,
    INVENTORY_AT,
    KEYS,
    LISTS_READ,
    OF_THE_SDK,
    OLDER_CHANGED,
    PARTITIONS,
    READ_AT,
    REPLICATION_KEY,
    REPORTED_UNTIL,
    REREAD_AT,
    TRIAL_BALANCE,
    UNPOSTED_READ,
    DamagedError,
)
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from tap_sage_accounting.declaration import StreamDeclaration

    DeclaredStream = StreamDeclaration | type[StreamDeclaration]

BEFORE_BOOKMARK = timedelta(days=1)
"""How far before the bookmark deletions are requested where no part of the state says until when they were."""
MOST_LINES = 20
LONGEST_SHOWN = 40
"""Characters of a damaged value in a message."""
logger = logging.getLogger("tap-sage-accounting.state")


CONSEQUENCES = {
    INVENTORY: "The list is read anew; records deleted since the last run cannot be noticed.",
    REPORTED_UNTIL: "Deletions are requested from further back.",
    INVENTORY_AT: "It is looked through in this run.",
    LISTS_READ: "Everything is requested of it, as if something had been posted.",
    UNPOSTED_READ: "Deletions of what is not posted are requested in this run.",
    REREAD_AT: "Recent documents are read again, and not compared with what they held.",
    CHECKSUMS: "Recent documents are read again, and not compared with what they held.",
}
"""What follows where a part of the state cannot be used; elsewhere, the list is read anew."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A part of the state that cannot be used.

    Attributes:
        stream: the stream; "" for all of them.
        business_id: the business; None for all of them.
        part: the key in the state.
        reason: what is wrong with it.
    """

    stream: str
    business_id: str | None
    part: str
    reason: str

    def place(self, name_of: Callable[[str], str]) -> str:
        """Name the list concerned."""
        stream = f" of '{printable(self.stream)}'" if self.stream else ""
        return stream + (f" of {name_of(self.business_id)}" if self.business_id else "")

    @property
    def consequence(self) -> str:
        """Say what follows from it."""
        if not self.stream:
            return "Everything is read anew."
        return CONSEQUENCES.get(self.part, "The list is read anew.")


class State:
    """The bookmarks of earlier runs.

    Args:
        bookmarks: partitions by stream, as the SDK keeps them; anything else is dropped.

    Attributes:
        bookmarks: the same, changed in place.
        damages: what was dropped.
    """

    def __init__(self, bookmarks: Any) -> None:
        self.damages: list[Damage] = []
        self.bookmarks: dict[str, Any] = {}
        if isinstance(bookmarks, dict):
            self.bookmarks = bookmarks
            if not _is_writable(bookmarks):
                self._drop_unwritable()
            self._check_form()
        else:
            self._drop("", None, "bookmarks", f"is {_shown(bookmarks)}")

    def report(self, name_of: Callable[[str], str]) -> None:
        """Log what was dropped, a line for each part."""
        for damage in self.damages[:MOST_LINES]:
            logger.warning(
                "The state%s is damaged: '%s' %s. %s",
                damage.place(name_of),
                printable(damage.part),
                damage.reason,
                damage.consequence,
            )
        if len(self.damages) > MOST_LINES:
            logger.warning("So are %d more parts of the state.", len(self.damages) - MOST_LINES)

    def _drop_unwritable(self) -> None:
        """Drop what no message can hold, with the partition that it is in, or else with what is beside partitions."""
        for name, found in list(self.bookmarks.items()):
            if _is_writable({name: found}):
                continue
            partitions = found.get(PARTITIONS) if isinstance(found, dict) else None
            sound = [each for each in partitions if _is_writable(each)] if isinstance(partitions, list) else []
            self._drop(name, None, PARTITIONS, "holds half of a character")
            if sound and _is_writable(name):
                self.bookmarks[name] = {PARTITIONS: sound}
            else:
                del self.bookmarks[name]

    def _check_form(self) -> None:
        """Drop what is not made of partitions of businesses, in all streams: the SDK looks into each."""
        for name, found in list(self.bookmarks.items()):
            if not isinstance(found, dict):
                self._drop(name, None, "bookmarks", f"is {_shown(found)}")
                del self.bookmarks[name]
                continue
            partitions = found.get(PARTITIONS, [])
            if not isinstance(partitions, list):
                self._drop(name, None, PARTITIONS, f"is {_shown(partitions)}")
                del found[PARTITIONS]
                continue
            sound = [each for each in partitions if self._is_partition(name, each)]
            if PARTITIONS in found:
                found[PARTITIONS] = sound
            for each in (found, *sound):
                for key in OF_THE_SDK:
                    each.pop(key, None)

    def _is_partition(self, stream: str, found: Any) -> bool:
        match found:
            case {"context": {"business_id": str(business_id), **others}} if business_id and not others:
                return True
        context = found.get(CONTEXT) if isinstance(found, dict) else found
        self._drop(stream, None, CONTEXT, f"names no business: {_shown(context)}")
        return False

    def check_partitions(
        self, streams: Iterable[DeclaredStream], business_ids: AbstractSet[str], now: datetime
    ) -> None:
        """Drop what cannot be used of the partitions that a run goes on from, and bring moments into one form."""
        for stream in streams:
            if not stream.per_business:
                continue
            found = self.bookmarks.get(stream.name, {})
            for key in found.keys() - {PARTITIONS}:
                self._drop(stream.name, None, key, "belongs to no business")
                del found[key]
            partitions: dict[str, dict[str, Any]] = {}
            for partition in found.get(PARTITIONS, []):
                business_id = partition[CONTEXT]["business_id"]
                if business_id in business_ids:
                    self._check(stream, business_id, partition, now)
                known = partitions.setdefault(business_id, partition)
                if known is not partition and known != partition:
                    self._drop(stream.name, business_id, CONTEXT, "is there twice")
                    partitions[business_id] = _restored(stream, _merged(known, partition))
            if any(damage.stream in ("", stream.name) and damage.business_id is None for damage in self.damages):
                for business_id in business_ids - partitions.keys():
                    partitions[business_id] = _restored(stream, {CONTEXT: {"business_id": business_id}})
            if partitions:
                self.bookmarks[stream.name] = {PARTITIONS: list(partitions.values())}

    def beginning(self, stream: DeclaredStream, business_id: str | None, now: datetime) -> dict[str, Any]:
        """Return what a read will begin with, as `check_partitions` will leave it; copied."""
        parts = (CONTEXT, REPLICATION_KEY, BOOKMARK, INTERRUPTED)
        found = [
            {key: deepcopy(each[key]) for key in parts if key in each}
            for each in self.bookmarks.get(stream.name, {}).get(PARTITIONS, [])
            if each[CONTEXT]["business_id"] == business_id
        ]
        copied = State({stream.name: {PARTITIONS: found}})
        copied.check_partitions([stream], {business_id} if business_id else set(), now)
        partitions: list[dict[str, Any]] = copied.bookmarks[stream.name][PARTITIONS]
        return partitions[0] if partitions else {}

    def _check(self, stream: DeclaredStream, business_id: str, partition: dict[str, Any], now: datetime) -> None:
        is_damaged = False
        for key in [key for key in partition if key in KEYS]:
            if key not in partition:
                continue  # it went with another
            parse, *needed_for = KEYS[key]
            try:
                partition[key] = parse(partition[key], now)
            except DamagedError as error:
                is_damaged = True
                self._drop(stream.name, business_id, key, f"{error}: {_shown(partition[key])}")
                for each in (key, *needed_for):
                    partition.pop(each, None)
        if is_damaged or BOOKMARK in partition:
            _restored(stream, partition)

    def _drop(self, stream: str, business_id: str | None, part: str, reason: str) -> None:
        self.damages.append(Damage(stream, business_id, part, reason))


def _is_writable(found: Any) -> bool:
    """Check whether a message can hold what was read from JSON."""
    try:
        encoder.encode(found)
    except UnicodeEncodeError:
        return False
    return True


def _restored(stream: DeclaredStream, partition: dict[str, Any]) -> dict[str, Any]:
    """Put into a partition that an earlier run knew what a first read would not look for.

    Deletions are requested from some time before the bookmark on. Accounts may have been in months of the trial balance
    that they are in no longer.
    """
    if stream.deleted_since and REPORTED_UNTIL not in partition:
        bookmark = partition.get(BOOKMARK)
        partition[REPORTED_UNTIL] = instant(parse_moment(bookmark) - BEFORE_BOOKMARK if bookmark else BEGINNING)
    if stream.name == TRIAL_BALANCE and READ_AT not in partition:
        partition[OLDER_CHANGED] = True
    return partition


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of two partitions of one business what is known of deletions."""
    merged: dict[str, Any] = {CONTEXT: one[CONTEXT]}
    if moments := [each[REPORTED_UNTIL] for each in (one, other) if REPORTED_UNTIL in each]:
        merged[REPORTED_UNTIL] = min(moments)
    if packed := [each[INVENTORY] for each in (one, other) if INVENTORY in each]:
        merged[INVENTORY] = packed_ids.pack(set().union(*map(packed_ids.unpack, packed)))
    return merged


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
