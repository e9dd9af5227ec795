"""What the reads of one run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor
    from datetime import datetime

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.extraction.businesses import Business
    from tap_sage_accounting.extraction.scheduler import ReadScheduler
    from tap_sage_accounting.run.checkpoints import Checkpoints
    from tap_sage_accounting.run.report import RunReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the reads of one run share.

    Attributes:
        http_client: the one way to Sage.
        executor: the threads that send requests. The client lets no more through than are allowed.
        scheduler: starts reads before their turn.
        checkpoints: writes states, and the rows that wait for them.
        report: the outcome of every read.
        businesses: those that are read, by id, in Sage's order.
        lost_businesses: ids of those that earlier runs read and the user no longer sees.
        began_at: a moment that is not after the beginning of the run.
        stream_maps: the setting, as the user wrote it.
        end_files: completes the files of a read, where records go into files.
        add_deletion: writes a row of the stream `deletions`, if that is selected.
    """

    http_client: HttpClient
    executor: Executor
    scheduler: ReadScheduler
    checkpoints: Checkpoints
    report: RunReport
    businesses: Mapping[str, Business]
    lost_businesses: frozenset[str]
    began_at: datetime
    stream_maps: Mapping[str, Any]
    end_files: Callable[[], None]
    add_deletion: Callable[[dict[str, Any]], None]

    def name_of(self, business_id: str | None) -> str:
        """Return the name of a business for a person; None stands for the user."""
        return "the user" if business_id is None else str(self.businesses.get(business_id, business_id))
