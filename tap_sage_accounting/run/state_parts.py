"""The parts of a partition of the state: their keys, and what each may hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.declaration import UPDATED_AT
from tap_sage_accounting.run import packed_ids
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIAL_BALANCE = "trial_balance"
PARTITIONS = "partitions"
CONTEXT = "context"
REPLICATION_KEY = "replication_key"
BOOKMARK = "replication_key_value"
REPORTED_UNTIL = "deletions_told_until"
"""The moment up to which deletions were requested."""
INVENTORY = "inventory"
"""The packed ids of a list whose deletions Sage does not report."""
INVENTORY_AT = "inventory_at"
"""When the list was compared with them last."""
INTERRUPTED = "interrupted"
"""How far a read came that is not complete."""
READ_AT = "read_at"
"""Of the trial balance: when the last complete read began."""
LISTED = "accounts"
"""Of the trial balance: the accounts that were ever listed, packed."""
CLOSINGS = "closings"
"""Of the trial balance: what each month closed with, the first month, and eight digits for each one from there."""
EMPTY_SINCE = "empty_since"
"""Of the trial balance: the first of the months before those, which were never read, because nothing was posted yet."""
ALL_READ_AT = "all_read_at"
"""Of the trial balance: when all months were read last."""
OLDER_CHANGED = "older_changed"
"""Of the trial balance: whether transactions changed since then that may have been in another month before."""
LISTS_READ = "lists_read"
"""Of transactions: up to when all lists of the business were read, and which those were."""
UNPOSTED_READ = "unposted_read"
"""Of transactions: when deletions of what is not posted, and the settings, were read last; and of which lists."""
REREAD_AT = "reread_at"
"""When recent documents were read again last."""
CHECKSUMS = "checksums"
"""What they held then, packed."""
FILES_PLACE = "files_place"
"""Of attachments: eight digits that stand for the place where all their files are, but those that are missing."""
FILES_MISSING = "files_missing"
"""Of attachments: the packed ids of those whose files are not there."""
OF_THE_SDK = ("progress_markers", "replication_key_signpost", "starting_replication_value")
"""What the SDK keeps there during a run, and nothing needs after it."""

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""No moment of Sage's is earlier."""
TOLERANCE = timedelta(minutes=5)
"""How far a moment may lie ahead of the clock: servers differ, and clocks are set."""
FAR_APART = timedelta(days=1)
"""How far the later of two clocks may be ahead of the earlier one where the later one counts."""
MOST_ROWS = 1_000_000_000
_CLOSINGS = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2])-01):(?:[0-9a-f]{8}|-{8}){1,1300}")
_FINGERPRINT = re.compile(r"[0-9a-f]{8}")


class DamagedError(Exception):
    """A part cannot be used; the message says what is wrong with it."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DamagedError("is no text")
    return value


def _moment(value: Any, now: datetime) -> str:  # noqa: ARG001 - one form for all
    try:
        moment = parse_moment(_text(value))
    except ValueError:
        raise DamagedError("is no moment") from None
    if moment < BEGINNING:
        raise DamagedError("lies before 1970")
    return instant(moment)


def _past(value: Any, now: datetime) -> str:
    moment = _moment(value, now)
    if moment > instant(now + TOLERANCE):
        raise DamagedError("lies in the future")
    return moment


def _replication_key(value: Any, now: datetime) -> Any:  # noqa: ARG001
    if value != UPDATED_AT:
        raise DamagedError(f"is not '{UPDATED_AT}'")
    return value


def _interrupted(value: Any, now: datetime) -> dict[str, Any]:
    names = ("since", "began", "part_began", "seen_at", "until")
    if not isinstance(value, dict) or value.keys() != {*names, "rows"}:
        raise DamagedError("does not say how far a read came")
    rows = value["rows"]
    if not isinstance(rows, int) or isinstance(rows, bool) or not 0 < rows < MOST_ROWS:
        raise DamagedError("counts no rows")
    since = None if value["since"] is None else _past(value["since"], now)
    moments = {name: _past(value[name], now) for name in ("began", "part_began")}
    moments |= {name: _past(value[name], now + FAR_APART) for name in ("seen_at", "until")}
    if max(moments.values()) > instant(parse_moment(moments["seen_at"]) + TOLERANCE):
        raise DamagedError("contradicts itself")
    return {"since": since, **moments, "rows": rows}


def _packed(value: Any, now: datetime) -> str:  # noqa: ARG001
    try:
        packed_ids.check(_text(value))
    except ValueError:
        raise DamagedError("cannot be unpacked") from None
    return str(value)


def _closings(value: Any, now: datetime) -> str:
    found = _CLOSINGS.fullmatch(value) if isinstance(value, str) else None
    if found is None or not BEGINNING.date().isoformat() <= found[1] <= instant(now + TOLERANCE):
        raise DamagedError("is no list of months")
    return str(value)


def _lists_read(value: Any, now: datetime) -> str:
    moment, _, fingerprint = _text(value).partition(" ")
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise DamagedError("names no lists")
    return f"{_past(moment, now)} {fingerprint}"


def _files_place(value: Any, now: datetime) -> str:  # noqa: ARG001
    if not _FINGERPRINT.fullmatch(_text(value)):
        raise DamagedError("stands for no place")
    return str(value)


def _older_changed(value: Any, now: datetime) -> bool:  # noqa: ARG001
    if value is not True:
        raise DamagedError("is not true")
    return True


_TRIAL_BALANCE = (READ_AT, CLOSINGS, EMPTY_SINCE, ALL_READ_AT, OLDER_CHANGED)
KEYS: Mapping[str, tuple[Any, ...]] = {
    REPLICATION_KEY: (_replication_key, BOOKMARK, INTERRUPTED),
    BOOKMARK: (_past, REPLICATION_KEY, INTERRUPTED),
    REPORTED_UNTIL: (_past,),
    INVENTORY: (_packed, INVENTORY_AT, REPLICATION_KEY, BOOKMARK, INTERRUPTED),
    INVENTORY_AT: (_past,),
    INTERRUPTED: (_interrupted,),
    REREAD_AT: (_past, CHECKSUMS),
    CHECKSUMS: (_packed, REREAD_AT),
    READ_AT: (_past, *_TRIAL_BALANCE),
    LISTED: (_packed, *_TRIAL_BALANCE),
    CLOSINGS: (_closings, *_TRIAL_BALANCE),
    EMPTY_SINCE: (_past, *_TRIAL_BALANCE),
    ALL_READ_AT: (_past, *_TRIAL_BALANCE),
    OLDER_CHANGED: (_older_changed, *_TRIAL_BALANCE),
    LISTS_READ: (_lists_read,),
    UNPOSTED_READ: (_lists_read,),
    FILES_PLACE: (_files_place, FILES_MISSING),
    FILES_MISSING: (_packed, FILES_PLACE),
}
"""Every part of a partition: how it is read, and what goes with it when it is damaged."""


def is_due(last: str | None, every: timedelta, now: datetime) -> bool:
    """Return whether something is due again, by when it was last done; a moment in the future counts as none."""
    return last is None or not timedelta() <= now - parse_moment(last) < every
