"""The run as rows: one when it begins, the same again when it ended, and one for each read.

The state holds the row of the current run. A run that finds an unended one there writes that it was interrupted: a
process that was killed could not.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tap_sage_accounting.run.report import word_for
from tap_sage_accounting.run.state_parts import BEGINNING, FAR_APART
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_sage_accounting.api.request_gate import RequestGate
    from tap_sage_accounting.run.report import RunReport

    Row = dict[str, Any]

RUNNING, INTERRUPTED = "running", "interrupted"
NO_BUSINESS = "-"
"""In the place of a business, where a read belongs to the user: some targets make null of an empty text in a key."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_VERSION = re.compile(r"\d[0-9A-Za-z.+]{0,79}")
_COUNTS = ("businesses", "businesses_resting", "reads")


@dataclass(kw_only=True)
class RunLog:
    """Writes the rows of one run.

    Attributes:
        add_run: writes a row about a run; None where the stream is not selected.
        add_read: writes a row about a read; None where the stream is not selected.
        state: what earlier runs left; the run changes it.
    """

    add_run: Callable[[Row], None] | None
    add_read: Callable[[Row], None] | None
    state: dict[str, Any] = field(default_factory=dict)
    _row: Row = field(default_factory=dict)
    _began: float = 0.0

    def begin(self, began_at: datetime, *, version: str, businesses: int, resting: int, reads: int) -> bool:
        """Write that a run begins, and whether the one before was interrupted.

        Args:
            began_at: a moment by Sage's clock that is not after the first response of the run.
            version: the tap's.
            businesses: how many are concerned.
            resting: how many of them are not read.
            reads: how many reads there are.

        Returns:
            Whether the state must be written.
        """
        self._began = time.monotonic()
        self._row = {"run_id": uuid4().hex, "status": RUNNING, "started_at": instant(began_at), "version": version}
        self._row |= dict(zip(_COUNTS, (businesses, resting, reads), strict=True))
        if self.add_run is None:
            return False
        if (earlier := _unended(self.state, began_at)) is not None:
            self.add_run({**earlier, "status": INTERRUPTED})
        self.add_run(dict(self._row))
        self.state.clear()
        self.state.update(self._row)
        return True

    def end(self, report: RunReport, gate: RequestGate, *, error: BaseException | None, is_stopped: bool) -> None:
        """Write how the run and its reads ended; nothing where it never began."""
        if not self._row:
            return
        if self.add_read is not None:
            own = {name: self._row[name] for name in ("run_id", "started_at")}
            for read in report.reads:
                row = {"stream": read.stream, "status": read.status, "reason": read.reason, "records": read.rows}
                self.add_read({**own, "business_id": read.business_id or NO_BUSINESS, **row})
        if self.add_run is None:
            return
        seconds = timedelta(seconds=time.monotonic() - self._began)
        self._row |= {
            "status": _status(report, error, is_stopped=is_stopped),
            "reason": None if error is None or is_stopped else word_for(error),
            "ended_at": instant(parse_moment(self._row["started_at"]) + seconds),
            "reads_complete": report.complete,
            "reads_skipped": len(report.skipped),
            "reads_failed": len(report.failed),
            "records": sum(read.rows for read in report.reads),
            "requests": gate.requests,
            "requests_refused": gate.refusals,
            "seconds_waited": round(gate.seconds_held),
        }
        self.add_run(dict(self._row))
        # It stays there, and is changed: what leaves a state may come back where parts of states are merged.
        self.state["status"] = self._row["status"]


def _status(report: RunReport, error: BaseException | None, *, is_stopped: bool) -> str:
    if is_stopped:
        return "stopped"
    if error is not None:
        return "failed"
    if report.failed:
        return "incomplete"
    return "refused" if report.is_refused else "complete"


def _unended(state: dict[str, Any], now: datetime) -> Row | None:
    """Return the valid parts of the row of a run that never ended; None where the state has none."""
    match state:
        case {"run_id": str(run_id), "status": "running", "started_at": str(started_at)} if _RUN_ID.fullmatch(run_id):
            pass
        case _:
            return None
    try:
        moment = parse_moment(started_at)
    except ValueError:
        return None
    if not BEGINNING <= moment <= now + FAR_APART:
        return None
    row: Row = {"run_id": run_id, "started_at": instant(moment)}
    version = state.get("version")
    if isinstance(version, str) and _VERSION.fullmatch(version):
        row["version"] = version
    return row | {name: state[name] for name in _COUNTS if type(state.get(name)) is int and 0 <= state[name] < 1 << 31}
