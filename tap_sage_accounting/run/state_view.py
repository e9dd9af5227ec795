"""What a state holds of each list, as the next run reads it: damaged parts are logged and left out."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.printable import printable
from tap_sage_accounting.run.packed_ids import unpack
from tap_sage_accounting.run.state import State
from tap_sage_accounting.run.state_changes import END_OF_TIME, business_of, partitions_of, read_until
from tap_sage_accounting.run.state_parts import (
    INTERRUPTED,
    INVENTORY,
    INVENTORY_AT,
    LISTS_READ,
    REPORTED_UNTIL,
    REREAD_AT,
    TRIAL_BALANCE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_sage_accounting.declaration import StreamDeclaration


@dataclass(frozen=True, slots=True)
class ListState:
    """What the state says of one list.

    Attributes:
        stream: its stream.
        business_id: its business; None where the list belongs to the user.
        read: how the next run reads it: `changes`, `months`, `whole`, or `all` where no read was complete.
        read_until: up to when it was read.
        deletions_until: up to when reported deletions were requested.
        known_ids: how many ids are known, for lists whose deletions Sage does not report.
        compared_at: when the list was compared with them last.
        rows_before_cut: rows delivered of a read that was cut short, where the next run goes on after them.
        reread_at: when recent documents were read again last.
        all_lists_read_at: of `transactions`, since when the business may rest.
    """

    stream: str
    business_id: str | None
    read: str
    read_until: str | None = None
    deletions_until: str | None = None
    known_ids: int | None = None
    compared_at: str | None = None
    rows_before_cut: int | None = None
    reread_at: str | None = None
    all_lists_read_at: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the known values by their names."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def list_states(bookmarks: Mapping[str, Any], declared: Mapping[str, type[StreamDeclaration]]) -> list[ListState]:
    """Return what a state says of the lists of this tap's streams, by business and stream."""
    business_ids = {
        business_id for each in bookmarks.values() for part in partitions_of(each) if (business_id := business_of(part))
    }
    state = State(deepcopy({name: found for name, found in bookmarks.items() if name in declared}))
    state.check_partitions(declared.values(), business_ids, END_OF_TIME)
    state.report(printable)
    found = [
        _list_state(declared[name], business_of(partition), partition)
        for name, each in state.bookmarks.items()
        if not declared[name].collected
        for partition in (partitions_of(each) if declared[name].per_business else ({},))
    ]
    return sorted(found, key=lambda each: (each.business_id or "", each.stream))


def _list_state(stream: type[StreamDeclaration], business_id: str | None, partition: Mapping[str, Any]) -> ListState:
    until = read_until(stream, partition)
    how = "months" if stream.name == TRIAL_BALANCE else "changes"
    return ListState(
        stream=stream.name,
        business_id=business_id,
        read=how if until else "all" if stream.changed_since or how == "months" else "whole",
        read_until=until,
        deletions_until=partition.get(REPORTED_UNTIL),
        known_ids=_count(partition[INVENTORY]) if INVENTORY in partition else None,
        compared_at=partition.get(INVENTORY_AT),
        rows_before_cut=partition[INTERRUPTED]["rows"] if INTERRUPTED in partition else None,
        reread_at=partition.get(REREAD_AT),
        all_lists_read_at=partition.get(LISTS_READ, "").partition(" ")[0] or None,
    )


def _count(packed: str) -> int | None:
    try:
        return len(unpack(packed))
    except ValueError:
        return None  # made by hand: its check is right, and what it checks is not
