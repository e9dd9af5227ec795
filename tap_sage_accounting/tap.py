"""The tap: its streams, its catalog, and what a run is composed of."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from datetime import timedelta
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_sage_accounting import timestamps
from tap_sage_accounting.client import CollectedStream
from tap_sage_accounting.extraction.businesses import (
    Business,
    choose,
    expected_businesses,
    known_businesses,
    log_changes,
    request_businesses,
    visible_businesses,
)
from tap_sage_accounting.extraction.idle import IdleBusinesses
from tap_sage_accounting.extraction.plan import Services
from tap_sage_accounting.extraction.scheduler import ReadScheduler
from tap_sage_accounting.mapped_tap import MappedTap
from tap_sage_accounting.run.run_log import RunLog
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.state import State
from tap_sage_accounting.run.state_forms import bookmarks_of
from tap_sage_accounting.run.state_parts import TRIAL_BALANCE
from tap_sage_accounting.run.writer import WholeMessageWriter
from tap_sage_accounting.stream_maps.mapping import StreamMapError
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.streams.deletions import Deletions
from tap_sage_accounting.streams.runs import RunReads, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from singer_sdk.helpers.types import Context

    from tap_sage_accounting.api.request import Request
    from tap_sage_accounting.client import SageStream
    from tap_sage_accounting.extraction.list_reader import ListReader


class TapSageAccounting(MappedTap):
    """Extracts everything that Sage Business Cloud Accounting lets one read."""

    began_at: datetime
    """A moment that is not after the beginning of the run."""

    lost_businesses: frozenset[str] = frozenset()
    """Businesses that earlier runs read and the user no longer sees."""

    _requested_ahead_at: float | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.read_at: defaultdict[str | None, dict[str, datetime]] = defaultdict(dict)
        self.metrics_logger.setLevel(logging.INFO if self.config.get("log_metrics") else logging.WARNING)
        if (setting := self.config.get("batch_config")) and isinstance(self.message_writer, WholeMessageWriter):
            from tap_sage_accounting.run.batches import Batches  # noqa: PLC0415

            self.message_writer.batches = Batches(setting, self.name)

    @override
    def discover_streams(self) -> list[SageStream]:
        return [stream(tap=self) for stream in STREAMS]

    # The state of earlier runs

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the state of earlier runs.

        Raises:
            SettingsError: it is not a state of this tap.
        """
        self._earlier = State(bookmarks_of(state, self.streams.keys()) if state else {})
        if self._earlier.bookmarks:
            self.state["bookmarks"] = self._earlier.bookmarks

    def _check_state(self) -> None:
        names = {business.id: str(business) for business in self.businesses}
        self._earlier.check_partitions([*self.selected.values()], names.keys(), self.began_at)
        if self._earlier.bookmarks:
            self.state["bookmarks"] = self._earlier.bookmarks
        self._earlier.report(lambda business_id: names.get(business_id, business_id))

    def _check_selection(self) -> None:
        if not self.selected:
            self.logger.warning("No stream is selected, so nothing is read.")
        elif not self.reads and not self.resting:
            self.logger.warning(
                "Only '%s' is selected, so nothing is read: it collects what the reads of other streams find. Select "
                "those, too.",
                "', '".join(self.selected),
            )
        if self.config.get("attachments_url") and "attachments" not in self.selected:
            self.logger.warning("'attachments_url' has no effect: the stream 'attachments' is not selected.")

    # What a run consists of

    @cached_property
    def reads(self) -> list[tuple[SageStream, Context | None]]:
        """What the run reads, in order: each stream of each business."""
        businesses = [{"business_id": each.id} for each in self.businesses if each.id not in self.resting]
        return [
            (stream, context)
            for stream in self.selected.values()
            if not stream.collected
            for context in (businesses if stream.per_business else (None,))
        ]

    @cached_property
    def idle(self) -> IdleBusinesses | None:
        """What knows which businesses are idle; None where none may rest."""
        hours, transactions = self.config["idle_business_hours"], self.selected.get(IdleBusinesses.INDICATOR)
        if not hours or self.report.replaced:
            return None
        if transactions is None:
            self.logger.warning(
                "No business rests (idle_business_hours): select '%s', which show whether anything was posted.",
                IdleBusinesses.INDICATOR,
            )
            return None
        return IdleBusinesses(
            client=self.connection,
            state_of=lambda business_id: transactions.get_context_state({"business_id": business_id}),
            choice=[*self.selected, *filter(None, map(self.config.get, ("start_date", "attachments_url")))],
            rest=timedelta(hours=hours),
            lookback=timedelta(seconds=self.config["lookback_window"]),
            now=self.began_at,
        )

    @cached_property
    def resting(self) -> frozenset[str]:
        """Ids of the businesses whose lists wait, because nothing was posted in them."""
        return self.idle.find(self.businesses, self.executor) if self.idle else frozenset()

    @cached_property
    def unposted_wait(self) -> frozenset[str]:
        """Ids of the businesses in which what is not posted was read not long ago."""
        return self.idle.unposted_wait(self.businesses) if self.idle else frozenset()

    @cached_property
    def scheduler(self) -> ReadScheduler:
        """What starts reads before their turn."""
        return ReadScheduler(self.reads, self.config["concurrency"], self.gate.is_throttled)

    @cached_property
    def businesses(self) -> tuple[Business, ...]:
        """The businesses to extract, in the order in which Sage lists them.

        Raises:
            SettingsError: `business_ids` names one that the user cannot see, or there is none at all.
        """
        listed, self.began_at = visible_businesses(self._business_list)
        if self._requested_ahead_at is not None:  # responses may be as much older than the list
            self.began_at -= timedelta(seconds=time.monotonic() - self._requested_ahead_at)
        visible = {business.id: business for business in listed}
        if (nameless := visible.pop("", None)) is not None:
            self.report.fail(
                "businesses",
                nameless.name or "a business without a name",
                "Sage lists it without an id, so nothing of it can be read. Report it to Sage.",
            )
        known = known_businesses(self.state)
        self.lost_businesses = frozenset(known - visible.keys())
        log_changes(known, visible, self.logger)
        chosen = choose(visible, self.config.get("business_ids"))
        self.connection.drop_ahead({business.id for business in chosen})
        return chosen

    @cached_property
    def _business_list(self) -> ListReader:
        return request_businesses(self.connection, self.executor)

    # The run

    @override
    def request_ahead(self) -> None:
        """Request the businesses, and beside them the first pages of those that are known.

        Nothing of these leaves before Sage's list shows that the user still sees their business.
        """
        began = time.monotonic()
        _ = self._business_list
        for request in islice(self._first_requests(), self.config["concurrency"] - 1):
            self._requested_ahead_at = began
            self.connection.request_ahead(request, self.executor)
        self.selected_stream_maps()  # while the responses are on their way

    def _first_requests(self) -> Iterator[Request]:
        """Yield requests with which reads of known businesses will begin, in the order of the run."""
        known = expected_businesses(self.state, self.config.get("business_ids") or None)
        if self.config["idle_business_hours"] or not known:
            return  # which of them rest is found out first
        now = timestamps.now()
        for stream in self.selected.values():
            for business_id in known if stream.per_business else (None,):
                if not stream.collected:
                    state = self._earlier.beginning(stream, business_id, now)
                    yield from stream.first_requests(self.connection, business_id, state)

    @override
    def prepare_run(self) -> None:
        # Requested here, so that no stream is blamed when there is no token or no such business.
        self.logger.info("Extracting %s.", "; ".join(map(str, self.businesses)))
        self._check_state()
        self._check_selection()
        services = self._services()
        for stream in self.sage_streams.values():
            stream.services = services
        self.report.resting = len(self.resting)
        self.selected_stream_maps()  # made before any other thread looks them up

    def _adding(self, name: str) -> Callable[[dict[str, Any]], None] | None:
        """Return what writes a row of a stream of what the tap finds; None where that is not selected."""
        stream = self.selected.get(name)
        return stream.add if isinstance(stream, CollectedStream) else None

    @cached_property
    def run_log(self) -> RunLog:
        """What writes rows about this run."""
        add_run, add_read = self._adding(Runs.name), self._adding(RunReads.name)
        state = {} if add_run is None else self.sage_streams[Runs.name].get_context_state(None)
        return RunLog(add_run=add_run, add_read=add_read, state=state)

    def _services(self) -> Services:
        return Services(
            http_client=self.connection,
            executor=self.executor,
            scheduler=self.scheduler,
            checkpoints=self.checkpoints,
            report=self.report,
            businesses={business.id: business for business in self.businesses},
            resting=self.resting,
            unposted_wait=self.unposted_wait,
            lost_businesses=self.lost_businesses,
            began_at=self.began_at,
            stream_maps=self.stream_map_definitions,
            end_files=self._end_files,
            add_deletion=self._adding(Deletions.name) or (lambda _row: None),
            changed_transactions={} if TRIAL_BALANCE in self.selected else None,
            read_at=self.read_at if self.idle else None,
            file_store=self.file_store,
        )

    @override
    def track_first_reads(self) -> None:
        """Write into the state of lists that are read for the first time that their deletions matter from now on.

        A run that is killed has delivered some of their rows. The next one learns this only from the state.
        """
        first = [stream.begin_first_read(context) for stream, context in self.reads]
        is_logged = self.run_log.begin(
            self.began_at,
            version=self.plugin_version,
            businesses=len(self.businesses),
            resting=len(self.resting),
            reads=len(self.reads),
        )
        if any(first) or is_logged:
            self.checkpoints.write()

    @override
    def log_end(self, error: BaseException | None) -> None:
        if "run_log" in vars(self):  # else nothing began
            is_stopped = stop_signals.received is not None
            try:
                self.run_log.end(self.report, self.gate, error=error, is_stopped=is_stopped)
            except StreamMapError as failure:  # what was read counts all the same: a state follows
                self.report.fail(Runs.name, "this run", str(failure))

    @override
    def record_whole_reads(self) -> None:
        if self.idle:
            self.checkpoints.when_delivered(partial(self._record_whole_reads, self.idle))

    def _record_whole_reads(self, idle: IdleBusinesses) -> None:
        failed = {outcome.business for outcome in self.report.failed}
        read = {each.id for each in self.businesses if str(each) not in failed}
        idle.record_reads(read - self.resting, self.read_at, self.unposted_wait)

    def _end_files(self) -> None:
        """Complete the files of a read, where records go into files."""
        if isinstance(self.message_writer, WholeMessageWriter):
            self.message_writer.end_files()

    @override
    def count_planned(self) -> int:
        return self.scheduler.planned if "scheduler" in vars(self) else 0
