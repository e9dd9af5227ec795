"""What all streams do: ask for the pages of a list, clean its records, keep its bookmark.

What a stream *is* stands in its class in `tap_sage_accounting.streams`, as attributes declared here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import chain
from logging import INFO
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from msgspec import UNSET
from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.metrics import DEFAULT_LOG_INTERVAL, Counter, Metric, Tag
from singer_sdk.singerlib import RecordMessage
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from singer_sdk.singerlib.schema import Schema
from singer_sdk.streams import RESTStream
from singer_sdk.streams.rest import HTTPRequest, PageContext
from typing_extensions import override

from tap_sage_accounting import schemas
from tap_sage_accounting.api.access import BusinessAccess
from tap_sage_accounting.api.pages import SMALL, Page, parse_json
from tap_sage_accounting.api.rate_limiter import GateClosedError
from tap_sage_accounting.exceptions import (
    AuthorizationError,
    BatchError,
    EditionError,
    KeylessRecordError,
    MalformedResponseError,
    RunOverError,
    UndeliverableError,
)
from tap_sage_accounting.extraction.consistency import key_of
from tap_sage_accounting.extraction.deletions import DELETED_AT, DeletionLookup
from tap_sage_accounting.extraction.list_reader import ListReader
from tap_sage_accounting.extraction.reread import Reread
from tap_sage_accounting.extraction.resume import CREATED_AT, IN_ORDER, ResumableRead, began_at, forget
from tap_sage_accounting.extraction.scheduler import StartedRead
from tap_sage_accounting.extraction.table_version import FullTableVersion
from tap_sage_accounting.records.converter import ADDITIONAL, RecordConverter, with_text_decimals
from tap_sage_accounting.records.row_decoder import Item, Row, RowDecoder
from tap_sage_accounting.run.metrics import BusinessCounter, NoCounter, StreamTimer
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.state import TOLD_UNTIL
from tap_sage_accounting.run.writer import WholeMessageWriter
from tap_sage_accounting.settings import parse_start_date
from tap_sage_accounting.stream_maps.mapping import StreamMapError, columns_read, map_failure, require_key
from tap_sage_accounting.stream_maps.partial_rows import PartialRows
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import Catalog, CatalogEntry

    from tap_sage_accounting.api.access import Area
    from tap_sage_accounting.api.http_client import Response
    from tap_sage_accounting.extraction.list_reader import Source
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.records.conformance import Conformer
    from tap_sage_accounting.tap import TapSageAccounting

UPDATED_AT = "updated_at"
DECIMALS: dict[str, dict[str, Any]] = {
    "number": {},
    "string": {"type": ["string", "null"], "format": "x-singer.decimal"},
    "text": {"type": ["string", "null"]},
}
"""The setting `decimals`: what stands in a schema in the place of a number, if not a number."""
QUIET_BOOKMARK = timedelta(days=1)
"""How far behind the start of a read the bookmark of a list is kept in which nothing changes.

Nearer, a wrong clock could move it past a change. Farther, rows that share one moment are read again for longer."""
ALWAYS_TOLD = frozenset(("id", "displayed_as", "path"))
"""Attributes that Sage sends whatever is asked for."""
CAREFULLY = frozenset(("deleted_since", "from_date"))
"""Parameters of lists whose rows are looked into, so that they are not decoded the quick way."""
Parsed = TypeVar("Parsed")


class SageStream(RESTStream[int]):
    """A list in Sage, read business by business.

    Attributes:
        changed_since: the list takes `updated_or_created_since`, so it is read incrementally.
        deleted_since: the list tells deletions through `deleted_since`.
        sortable: the list takes `sort`, so that a long read of it may go on where it was cut short.
        deletable: records can be deleted through Sage's API.
        deletion_flag: the attribute that marks deleted records, where they stay in the list.
        flags: query parameters that make the list tell more.
        detail_params: query parameters for a single record, such as those that keep Sage from changing it.
        areas: any one of these rights lets a user read it; none: everybody may.
        full_access: the right must be full access.
        editions: the editions of Sage Accounting that have it.
        countries: the countries whose businesses have it.
        retired: no longer in Sage's description, or for other countries only; not selected by default.
        static: reference data that hardly ever changes.
        per_business: read once per business; otherwise once per user.
        in_books: part of a business's books, and not what Sage says of businesses and users.
        dated: its documents can be read by their date, with `from_date`.
        parts: query parameters of the lists that together hold all records.
        whole: a read that is not by change brings every row.
    """

    name: str
    primary_keys: ClassVar[tuple[str, ...]] = ("business_id", "id")
    changed_since: ClassVar[bool] = False
    deleted_since: ClassVar[bool] = False
    sortable: ClassVar[bool] = False
    deletable: ClassVar[bool] = False
    deletion_flag: ClassVar[str | None] = None
    flags: ClassVar[tuple[str, ...]] = ()
    detail_params: ClassVar[Mapping[str, str]] = {}
    areas: ClassVar[tuple[Area, ...]] = ()
    full_access: ClassVar[bool] = False
    editions: ClassVar[tuple[str, ...]] = ("Start", "Standard", "Plus")
    countries: ClassVar[tuple[str, ...]] = ("CA", "GB", "IE")
    retired: ClassVar[bool] = False
    static: ClassVar[bool] = False
    per_business: ClassVar[bool] = True
    in_books: ClassVar[bool] = True
    dated: ClassVar[bool] = False
    parts: ClassVar[tuple[Mapping[str, str], ...]] = ({},)
    whole: ClassVar[bool] = True

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE  # the cleaner conforms records to the schema, and loses nothing

    added_properties: ClassVar[frozenset[str]] = frozenset(("business_id", ADDITIONAL))
    """Columns that do not come from Sage's record."""

    _tap: TapSageAccounting

    @override
    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.replication_key = UPDATED_AT if cls.changed_since else None  # type: ignore[assignment]
        cls.selected_by_default = not cls.retired

    def __init__(self, tap: TapSageAccounting) -> None:
        super().__init__(tap=tap, path=f"/{self.name}")
        self.first_reads: set[str | None] = set()
        self._partial_rows: PartialRows | None = None
        self._map_failure: StreamMapError | None = None
        self.conformer: Conformer | None = None

    @cached_property
    @override
    def schema(self) -> dict[str, Any]:  # read only when it is needed: a selection needs few
        schema = schemas.load(self.name, type(self).primary_keys)
        if not self.per_business:
            del schema["properties"]["business_id"]
        if text := DECIMALS[self.config.get("decimals", "number")]:
            schema = with_text_decimals(schema, text)
        return schema

    # Where to ask, and what for

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["api_url"]).rstrip("/")

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        if not self.per_business:
            return None
        return [{"business_id": business.id} for business in self._tap.businesses]

    @override
    def compare_start_date(self, value: str, start_date_value: str) -> str:
        """Let the bookmark win: a start date moved forward must not skip what was not read yet."""
        return value

    @override
    def get_http_request(self, *, page: PageContext[int]) -> HTTPRequest:
        params: dict[str, Any] = {
            "page": page.next_page_token or 1,
            "items_per_page": self.page_size,
            "attributes": self.requested_attributes,
            **dict.fromkeys(self.flags, "true"),
        }
        if self.resumable:
            params["sort"] = IN_ORDER
        if since := self.reading_since(page.stream_context):
            params["updated_or_created_since"] = instant(since)
        return HTTPRequest(url=self.get_url(page.stream_context), params=params)

    @cached_property
    def requested_attributes(self) -> str | None:
        """Everything, unless the catalog deselects columns: then those that are selected, the bookmark always.

        None asks for no more than what Sage always tells: `id`, `displayed_as` and `$path`.
        """
        own = [name for name in self.schema["properties"] if name not in self.added_properties | ALWAYS_TOLD]
        chosen = [name for name in own if self.mask["properties", name] or name == UPDATED_AT]
        return "all" if len(chosen) == len(own) else ",".join(chosen) or None

    def reading_since(self, context: Context | None) -> datetime | None:
        """Tell from which change on to read: the bookmark less the look-back, else the start date, else everything."""
        if self.replication_method != REPLICATION_INCREMENTAL:
            return None
        if bookmark := self.get_context_state(context).get("replication_key_value"):
            return parse_moment(bookmark) - self.lookback
        start_date = self.config.get("start_date")
        return parse_start_date(start_date) if start_date else None

    @property
    def lookback(self) -> timedelta:
        """How late Sage may show a change, and how far its clocks may differ."""
        return timedelta(seconds=self.config["lookback_window"])

    @cached_property
    def resumable(self) -> bool:
        """Whether a read of many pages that is cut short can go on where it was."""
        return (
            self.sortable
            and self.deleted_since
            and len(self.parts) == 1
            and self.replication_method == REPLICATION_INCREMENTAL
        )

    def foresee_deletions(self, context: Context | None, now: datetime) -> bool:
        """Note when a first read begins whose deletions Sage will tell; tell whether this is one."""
        state = self.get_context_state(context)
        if not self.deleted_since or TOLD_UNTIL in state:
            return False
        state[TOLD_UNTIL] = instant(now)
        self.first_reads.add(context["business_id"] if context else None)
        return True

    def describe(self, context: Context | None) -> str:
        """Name what is read, for logs and errors."""
        return f"'{self.name}' of {self._whose(context)}"

    def _whose(self, context: Context | None) -> str:
        return self._tap.name_of(context["business_id"]) if context else "the user"

    # From answers to records

    def fetch_page(
        self,
        context: Context | None,
        number: int,
        changes: Mapping[str, Any] | None = None,
        max_attempts: int | None = None,
    ) -> Page:
        """Ask for one page; safe to call from any thread.

        Args:
            context: the business.
            number: the page, from 1.
            changes: query parameters that differ from the usual ones; None leaves one out.
            max_attempts: attempts at a page that may be too heavy for Sage; None for as many as at any request.
        """
        request = self.get_http_request(page=PageContext(stream_context=context, next_page_token=number))
        request.params = {**request.params, **(changes or {})}
        size = int(str(request.params["items_per_page"]))
        label = f"{self.describe(context)}, page {number}" + ("" if size == self.page_size else f" at {size} to a page")

        usual = request.params.get("attributes") == self.requested_attributes and not CAREFULLY & request.params.keys()

        def parse(answer: Response) -> Page:
            decoder = self.decoder if usual and len(answer.body) > SMALL else None
            return Page.parse(
                answer.body,
                asked=number,
                size=size,
                served_at=answer.served_at,
                label=label,
                served_by=answer.served_by,
                decoder=decoder,
            )

        return self.ask(request, context, label, parse, max_attempts)

    def fetch_record(self, context: Context | None, key: str, *, bare: bool = False) -> Record:
        """Ask for one record by its key; safe to call from any thread."""
        label = f"{self.describe(context)}, record {key}"
        params: dict[str, Any] = {**self.detail_params}
        if not bare:
            params |= {"attributes": self.requested_attributes, **dict.fromkeys(self.flags, "true")}
        request = HTTPRequest(url=f"{self.get_url(context)}/{key}", params=params)

        def parse(answer: Response) -> Record:
            found = parse_json(answer.body, label)
            if not isinstance(found, dict) or key_of(found) != key:
                raise MalformedResponseError(f"{label}: the answer is no record.")
            return found

        return self.ask(request, context, label, parse)

    def fetch_access(self, context: Context) -> BusinessAccess:
        """Ask what the business and the user may read; safe to call from any thread."""
        label = f"edition and rights for {self.describe(context)}"
        request = HTTPRequest(url=f"{self.url_base}/businesses/{context['business_id']}")

        def parse(answer: Response) -> BusinessAccess:
            found = parse_json(answer.body, label)
            if not isinstance(found, dict) or found.get("id") != context["business_id"]:
                raise MalformedResponseError(f"{label}: the answer is no record.")
            return BusinessAccess.parse(found)

        return self.ask(request, None, label, parse)

    def missing_offer(self, context: Context | None) -> str:
        """Return why a list may only seem empty, by what Sage says of the business and the user; "" for no reason."""
        if context is None:
            return ""
        access = self.fetch_access(context)
        if reason := access.refusal(type(self)):
            return reason
        return access.subscription if access.has_ended and not self._tap.has_accounts(context) else ""

    def ask(
        self,
        request: HTTPRequest,
        context: Context | None,
        label: str,
        parse: Callable[[Response], Parsed],
        max_attempts: int | None = None,
    ) -> Parsed:
        """Send a request about one business (or the user) and parse its answer; safe to call from any thread."""
        return self._tap.connection.ask(
            request.url.removeprefix(self.url_base),
            request.params,
            business_id=context["business_id"] if context else None,
            label=label,
            parse=parse,
            max_attempts=max_attempts,
        )

    @property
    def page_size(self) -> int:
        """Records a page."""
        return int(self.config["page_size"])

    def width_of(self, context: Context | None) -> Callable[[], int]:
        """Let a list tell how many of its pages may be asked for ahead of their use."""
        return partial(self._tap.lookahead.pages_ahead, context["business_id"] if context else None)

    def begin_read(self, context: Context | None, changes: Mapping[str, Any] | None = None) -> ListReader:
        """Prepare a read of the list, with query parameters that differ from the usual ones."""
        return self._read_of(context, _ListSource(self, context, changes or {}))

    def _read_of(
        self, context: Context | None, source: Source, delivered: Callable[[Page], None] | None = None
    ) -> ListReader:
        width = self.width_of(context)
        label = self.describe(context)
        return ListReader(
            source, self._tap.executor, label=label, width=width, size=self.page_size, delivered=delivered
        )

    def _begin_reads(self, context: Context | None) -> list[ListReader]:
        """Prepare the reads that together bring all records; the first one tells what the bookmark may be."""
        if not self.resumable:
            return [self.begin_read(context, part) for part in self.parts]
        long_read = ResumableRead(self, context, self.reading_since(context))
        if long_read.interrupted is None:
            return [self._read_of(context, _ListSource(self, context, {}), long_read.note)]
        changed_since = instant(began_at(long_read.interrupted) - self.lookback)
        rest = long_read.rest_of(_ListSource(self, context, {}, bare_attributes=CREATED_AT))
        self.logger.info("Going on with %s, which an earlier run did not finish.", self.describe(context))
        return [
            self.begin_read(context, {"updated_or_created_since": changed_since}),
            self._read_of(context, rest, long_read.note),
        ]

    @cached_property
    def cleaner(self) -> RecordConverter:
        """The conversion of this stream's records, compiled from its schema."""
        cleaner = RecordConverter(self.schema, self.added_properties)
        self._tap.report.surprises[self.name] = cleaner.surprises
        return cleaner

    @cached_property
    def decoder(self) -> RowDecoder | None:
        """The quick way from pages to records as declared; None where rows are not told apart by their id."""
        own = {name: part for name, part in self.schema["properties"].items() if name not in self.added_properties}
        return RowDecoder(own, for_json=self.unseen) if {"id", "path"} <= own.keys() else None

    @cached_property
    def unseen(self) -> bool:
        """Whether nobody looks into records on their way: no selection, stream map, flattening, hook, other writer."""
        return (
            isinstance(self._tap.message_writer, WholeMessageWriter)
            and self.conformer is None
            and not self._deselected
            and all(type(each) is SameRecordTransform and not each.flattening_enabled for each in self.stream_maps)
            and type(self).post_process is RESTStream.post_process
        )

    def clean(self, raw: Item, context: Context | None) -> Record:
        """Turn a record as sent, or as decoded by its schema, into the record as declared.

        Raises:
            KeylessRecordError: Sage sent neither its id nor a path that ends in one.
        """
        if isinstance(raw, Row):
            record = raw.to_record()
        else:
            record = self.cleaner.clean(raw)
            self.complete_key(record)
            if self.cleaner.damaged:
                places, self.cleaner.damaged = self.cleaner.damaged, []
                self._tap.report.note_damage(
                    self.name, str(record.get(self.primary_keys[-1])), self._whose(context), places
                )
        if context:
            record["business_id"] = context["business_id"]
        return record

    def _note_damage(self, key: str, context: Context | None) -> None:
        """Report the damaged texts of the record that was cleaned last."""
        places, self.cleaner.damaged = self.cleaner.damaged, []
        self._tap.report.note_damage(self.name, key, self._whose(context), places)

    def complete_key(self, record: Record) -> None:
        """Take the key of a record from its path where Sage does not send it.

        Raises:
            KeylessRecordError: the path does not end in one either.
        """
        name = self.primary_keys[-1]
        if name == "business_id" or (record.get(name) or "").strip():
            return
        record[name] = (record.get("path") or "").rpartition("/")[2].strip()
        if not record[name]:
            raise KeylessRecordError("Sage sent a record without an id; no target could find its row.")

    # The read of one business, from its first page to its bookmark

    @override
    def get_records(self, context: Context | None) -> Iterator[Any]:
        """Yield all records of one business, and what others bring while a limit holds that one.

        Rows that nobody looks into are yielded as they were decoded.
        """
        count, name = self._tap.report.records, self.name
        for batch in self._tap.lookahead.batches(self, context):
            for record in batch:
                count[name] += 1
                yield record
                if self._map_failure is not None:
                    failure, self._map_failure = self._map_failure, None
                    _fail_in(batch, failure)
                    break

    def start(self, context: Context | None) -> StartedRead:
        """Send the first requests of a read, whose records are for later."""
        batches, awaited = self.begin(context)
        return StartedRead(self._reported(context, batches), awaited)

    def _reported(self, context: Context | None, batches: Batches) -> Batches:
        """Pass on a read's records; whatever fails is reported and does not stop the other reads."""
        self._tap.checkpoint()
        report = self._tap.report
        self._versions.begin()
        delivered = is_doubtful = False
        try:
            for batch in _failing_together(batches):
                if self.in_books:
                    report.answered.add(self._whose(context))
                before = report.records[self.name]
                yield batch
                delivered = delivered or report.records[self.name] > before
            is_doubtful = not delivered and self._doubts_emptiness(context)
            self._tap.end_files()
        except SkippableAPIError as error:
            if delivered:
                report.fail(self.name, self._whose(context), f"refused in the middle: {error}")
            else:
                report.skip(self.name, self._whose(context), error)
        except (AuthorizationError, BatchError, RunOverError, GateClosedError):
            raise  # no other read can succeed either
        except (FatalAPIError, RetriableAPIError) as error:
            report.fail(self.name, self._whose(context), str(error))
        except Exception as error:
            self.logger.exception("Reading %s met something unexpected.", self.describe(context))
            report.fail(self.name, self._whose(context), f"unexpected {type(error).__name__}, see the log above")
        else:
            report.complete += 1
            if not is_doubtful:
                self._versions.complete()

    def _doubts_emptiness(self, context: Context | None) -> bool:
        """Return whether a list that brought nothing may hold rows, where the target's table would lose them.

        Raises:
            EditionError: the target replaces the table whatever is written.
        """
        is_replaced = self._tap.report.replaces(self.name)
        if not (is_replaced or self._versions.is_wanted) or not (reason := self.missing_offer(context)):
            return False
        if is_replaced:
            raise EditionError(f"{self.describe(context)}: Sage lists nothing, and says of the business: {reason}.")
        self.logger.warning(
            "%s: Sage lists nothing, and says of the business: %s. The target keeps older rows of the table.",
            self.describe(context),
            reason,
        )
        return True

    def begin(self, context: Context | None) -> tuple[Batches, Callable[[], Future[Any] | None]]:
        """Send the first requests of a read.

        Returns:
            Its records in batches, and what tells which answer the next batch waits for, if any.
        """
        readings = self._begin_reads(context)
        # This makes the business's place in the state, before other threads look for the bookmark there.
        deletions = DeletionLookup(self, context, readings)
        for reading in readings:
            reading.start()
        deletions.start()
        reread = Reread(self, context, self._tap.began_at).start()
        return self.read(context, readings, deletions, reread), partial(_next_of, readings)

    def read(
        self, context: Context | None, readings: list[ListReader], deletions: DeletionLookup, reread: Reread
    ) -> Batches:
        """Yield all records of one business, what was deleted, and what slipped from page to page meanwhile.

        Raises:
            UndeliverableError: Sage lists records that it does not deliver; the bookmark stays where it is.
        """
        newest: str | None = None
        keyless = 0
        unseen = self.unseen
        takes_note = deletions.takes_note
        business_id = context["business_id"] if context else UNSET

        def records(items: Iterable[Item]) -> Iterator[Item]:
            nonlocal newest, keyless
            record: Item
            for raw in items:
                if unseen and isinstance(raw, Row):
                    record = raw
                    record.business_id = business_id
                else:
                    try:
                        record = self.clean(raw, context)
                    except KeylessRecordError:
                        keyless += 1
                        continue
                changed_at = record.get(UPDATED_AT)
                if changed_at is not None and (newest is None or changed_at > newest):
                    newest = changed_at
                if takes_note:
                    deletions.note(raw, record)
                yield record

        delivery = self._tap.checkpoints.delivery(deletions)
        for page in chain.from_iterable(reading.pages() for reading in readings):
            yield delivery.of(page.items, records(page.items))
        for page in reread.pages():
            yield delivery.of(page.items, reread.noted(records(page.items)))
        readings = [*readings, *reread.readings]
        yield deletions.told()
        was_replaced = partial(deletions.was_replaced, newest)
        for raw in chain.from_iterable(reading.recover_missed_rows(was_replaced) for reading in readings):
            yield delivery.of([raw], records([raw]))
        deletions.look_for_missing()
        _require_all(readings, keyless + deletions.keyless)
        delivery.finish(partial(self._finish, context, deletions, reread, readings[0].watch.started, newest))

    def _finish(
        self,
        context: Context | None,
        deletions: DeletionLookup,
        reread: Reread,
        started: datetime | None,
        newest: str | None,
    ) -> None:
        """Put into the state what a read found out that delivered everything."""
        with stop_signals.deferred():  # a state that is half of this read and half of the last one would be wrong
            deletions.remember()
            reread.finish()
            forget(self.get_context_state(context))
            if started is not None:
                self._move_bookmark(context, started, newest)

    def _move_bookmark(self, context: Context | None, started: datetime, newest: str | None) -> None:
        """Set the bookmark to the newest change seen, never past the start of the read.

        What changed after its page was served has a later time than the start, and is read next time. Where nothing
        new came, the bookmark follows a day behind: then clocks that are wrong by less do no harm. Where no row came at
        all, it stays: nothing would be read again for longer, and a list may be said to be empty that is not.
        """
        if self.replication_method != REPLICATION_INCREMENTAL:
            return
        state = self.get_context_state(context)
        bookmark = state.get("replication_key_value")
        if newest is not None and (bookmark is None or newest > bookmark):
            bookmark = max(min(newest, instant(started)), bookmark or "")
        elif bookmark is not None and newest is not None:
            bookmark = max(bookmark, instant(started - QUIET_BOOKMARK))
        if bookmark is not None:
            state["replication_key"] = self.replication_key
            state["replication_key_value"] = bookmark

    # What the catalog announces

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Follow a catalog's selection and its choice of how to read; keys are the stream's own (see `catalog.py`)."""
        self._tap_input_catalog = catalog
        if (entry := catalog.get_stream(self.name)) and entry.replication_method:
            self.forced_replication_method = entry.replication_method

    def announce(self, entry: CatalogEntry) -> list[str]:
        """Compare the catalog's schema with the tap's own, and prepare records to follow it.

        Columns that the tap cannot do without are put into the catalog.

        Returns:
            What differs, in words.

        Raises:
            SchemaError: no record can follow it.
        """
        from tap_sage_accounting.records.conformance import Conformer, differs, takes_text  # noqa: PLC0415

        own, told = self.schema["properties"], entry.schema.to_dict().get("properties") or {}
        needed = {*self.primary_keys, ADDITIONAL, DELETED_AT, UPDATED_AT} & own.keys() if told else own.keys()
        restored = {
            name
            for name in needed
            if name not in told
            or (
                name in (*self.primary_keys, ADDITIONAL)
                and not takes_text(told[name])
                and differs(own[name], told[name])
            )
        }
        if restored:
            told |= {name: own[name] for name in restored}
            entry.schema.properties = {name: Schema.from_dict(part) for name, part in told.items()}
        entry.schema.type, entry.schema.required = "object", None
        self.conformer = conformer = Conformer.between(own, told)
        changed = [*conformer.missing, *conformer.changed] if conformer else []
        return sorted({*restored, *changed}) if told.keys() != restored else []

    def _conform(self, record: Record) -> None:
        if self.conformer is not None:
            keep = self.mask["properties", ADDITIONAL]
            self.conformer.conform(record, self.cleaner.surprises.misfits, keep=keep)

    # What programs collect from the log

    @override
    def get_record_counter(self, *, endpoint: str | None = None, log_interval: float = DEFAULT_LOG_INTERVAL) -> Counter:
        counter = BusinessCounter if self.metrics_logger.isEnabledFor(INFO) else NoCounter
        return counter(Metric.RECORD_COUNT, {Tag.STREAM: self.name}, log_interval)

    @override
    def get_sync_timer(self) -> StreamTimer:
        return StreamTimer(Metric.SYNC_DURATION, {Tag.STREAM: self.name})

    # What the SDK does with each record, less what would be done for nothing

    @property
    @override
    def stream_maps(self) -> list[StreamMap]:
        if not self._stream_maps:
            self._tap.prepare_stream_maps(self.name)  # it may have been selected since the tap was made
        return super().stream_maps

    @override
    def _increment_stream_state(self, latest_record: Record, *, context: Context | None = None) -> None:
        """Leave the bookmark alone: it moves when the read is complete, not record by record."""

    @override
    def _write_state_message(self) -> None:
        """Tell the state at the end of a stream, unless that was done a moment ago."""
        self._tap.checkpoint()

    @override
    def _process_record(self, record: Record, child_context: Any = None, partition_context: Any = None) -> None:
        """Do nothing: records have their business already, and no stream has children."""

    @override
    def _generate_record_messages(self, record: Item) -> Generator[RecordMessage, None, None]:
        """Make a message of a clean record: the few deselected properties go, and stream maps do their work.

        The SDK's own way asks of every property of every record whether it is selected, and conforms it to the schema,
        which the cleaner did.
        """
        if isinstance(record, Row):
            as_json: Any = record.to_json()
            for stream_map in self.stream_maps:
                yield RecordMessage(stream_map.stream_alias, as_json, self._stream_version, datetime.now(UTC))
            return
        for *parents, name in self._deselected:
            inner: Any = record
            for parent in parents:
                inner = inner.get(parent) if isinstance(inner, dict) else None
            if isinstance(inner, dict):
                inner.pop(name, None)
        self._conform(record)
        for name in self._columns_read:
            record.setdefault(name, None)
        for stream_map in self.stream_maps:
            try:
                mapped = stream_map.transform(record)
            except Exception as error:
                definitions = self._tap.stream_map_definitions
                raise map_failure(self.name, definitions, self.stream_maps, record, error) from error
            if mapped is not None:
                require_key(stream_map, mapped)
                yield RecordMessage(stream_map.stream_alias, mapped, self._stream_version, datetime.now(UTC))

    @override
    def _write_record_message(self, record: Item) -> None:
        """Write a record; a stream map that fails on it fails the read that it came from."""
        try:
            for message in self._generate_record_messages(record):
                self._tap.write_message(message)
        except StreamMapError as error:
            self._map_failure = error
        self.state_manager.is_flushed = False

    @cached_property
    def _columns_read(self) -> set[str]:
        """The columns that stream maps read: they are there, and empty, where Sage does not send them."""
        columns = self.stream_maps[0].raw_schema["properties"].keys()
        return columns_read(self.name, self._tap.stream_map_definitions).intersection(columns)

    @cached_property
    def _deselected(self) -> list[tuple[str, ...]]:
        """The paths of the properties that the catalog deselects, outermost ones only."""
        return [
            breadcrumb[1::2]
            for breadcrumb, selected in self.mask.items()
            if not selected and set(breadcrumb[::2]) == {"properties"} and self.mask[breadcrumb[:-2]]
        ]

    # What a target is told besides records

    def write_partial(self, records: Sequence[Record]) -> None:
        """Write the same few columns of some records, for a target to leave their others alone.

        The messages are made before the first one is written, and the whole schema follows in any case.
        """
        for record in records:
            self._conform(record)
        rows = self._partial_rows
        if rows is None:
            rows = self._partial_rows = PartialRows(self, records[0].keys(), self._tap.stream_map_definitions)
        messages = list(rows.messages(records, self._stream_version))
        if not messages:
            return
        try:
            for message in messages:
                self._tap.write_message(message)
        finally:
            self._write_schema_message()

    @override
    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Let records go their usual way: the writer puts them into files, so that states wait for these."""

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        """Keep the SDK from telling a version before its records: a read that fails would empty the table."""
        return False

    @property
    def lost_businesses(self) -> frozenset[str]:
        """Businesses that earlier runs read and the user no longer sees."""
        return self._tap.lost_businesses if self.per_business else frozenset()

    def begin_version(self) -> None:
        """Let the records to come carry this run's version of the table."""
        self._stream_version = self._initialized_at  # milliseconds: two runs may follow within a second

    def tell_version(self) -> None:
        """Tell the target that rows of other versions are gone."""
        if self._stream_version is not None:
            self._tap.checkpoints.deliver()
            self._write_activate_version_message(self._stream_version)

    def checkpoint(self) -> None:
        """Write the state if it is time to."""
        self._tap.checkpoint()

    def announce_deletion(self, context: Context | None, key: str, deleted_at: str | None, how: str) -> None:
        """Pass a deletion on to the stream that collects them."""
        self._tap.announce_deletion(self.name, context, key, deleted_at, how)

    @cached_property
    def _versions(self) -> FullTableVersion:
        return FullTableVersion(self)


class SingleObjectStream(SageStream):
    """A single object, such as a business's settings: one row per business, without pages."""

    primary_keys: ClassVar[tuple[str, ...]] = ("business_id",)

    @override
    def get_http_request(self, *, page: PageContext[int]) -> HTTPRequest:
        params: dict[str, Any] = {} if self.requested_attributes == "all" else {"attributes": self.requested_attributes}
        return HTTPRequest(url=self.get_url(page.stream_context), params=params)

    @override
    def begin(self, context: Context | None) -> tuple[Batches, Callable[[], Future[Any] | None]]:
        answer = self._tap.executor.submit(self.fetch_object, context)
        return ([self.clean(each.result(), context)] for each in [answer]), lambda: answer

    def fetch_object(self, context: Context | None) -> Record:
        """Ask for the object; safe to call from any thread."""
        request = self.get_http_request(page=PageContext(stream_context=context, next_page_token=1))
        label = self.describe(context)
        # Some have neither an id nor a path; what others answer has no attribute of theirs.
        known = self.schema["properties"].keys() - {*self.added_properties, "path"} | {"$path"}

        def parse(answer: Response) -> Record:
            found = parse_json(answer.body, label)
            if not isinstance(found, dict) or "$items" in found or known.isdisjoint(found):
                raise MalformedResponseError(f"{label}: the answer is not a single object.")
            return found

        return self.ask(request, context, label, parse)


class CurrencyKeyedStream(SageStream):
    """A list of exchange rates, whose records have no id: the currency is their key."""

    primary_keys = ("business_id", "currency_id")
    added_properties = SageStream.added_properties | {"currency_id"}

    @override
    def complete_key(self, record: Record) -> None:
        currency = record.get("currency") or {}
        record["currency_id"] = currency.get("id")
        super().complete_key(record)


def _failing_together(batches: Batches) -> Batches:
    """Pass on batches; what fails in the middle of one is raised here, and not to whoever takes its records."""
    failures: list[Exception] = []

    def until_failure(batch: Iterable[Item]) -> Iterator[Item]:
        try:
            yield from batch
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)

    for batch in batches:
        yield until_failure(batch)
        for failure in failures:
            raise failure


def _require_all(readings: list[ListReader], keyless: int) -> None:
    """Fail a read that Sage did not let come to its end.

    Args:
        readings: its parts.
        keyless: records that were left out because they have no key.

    Raises:
        UndeliverableError: what is missing.
    """
    on = "All others arrived; the bookmark stays, so that the next run tries again. If it goes on, report"
    if undeliverable := [name for reading in readings for name in reading.undeliverable]:
        count = "a record" if len(undeliverable) == 1 else f"{len(undeliverable)} records"
        raise UndeliverableError(
            f"Sage lists {count} that it does not deliver ({', '.join(undeliverable)}). {on} the request ids above to "
            "Sage."
        )
    if keyless:
        count = "a record" if keyless == 1 else f"{keyless} records"
        raise UndeliverableError(
            f"Sage sent {count} without an id or a path that ends in one; no target could find the rows. {on} it to "
            "Sage."
        )


def _fail_in(batch: Iterable[Item], error: Exception) -> None:
    """Raise an error in the read that a batch comes from, as if the record at hand had failed there."""
    with suppress(StopIteration):
        cast("Generator[Item, None, None]", batch).throw(error)


def _next_of(readings: list[ListReader]) -> Future[Page] | None:
    return next((answer for reading in readings if (answer := reading.awaited) is not None), None)


@dataclass(frozen=True, slots=True)
class _ListSource:
    """A stream's list of one business, as `ListReader` asks for it."""

    stream: SageStream
    context: Context | None
    changes: Mapping[str, Any]
    bare_attributes: str | None = None

    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:
        """Ask for a page."""
        changes = {**self.changes, "items_per_page": size, **({"attributes": self.bare_attributes} if bare else {})}
        return self.stream.fetch_page(self.context, number, changes, max_attempts)

    def record(self, item: Item) -> Item:
        """Ask for one record; a deleted one is no longer found by its id, so that what its list told must do."""
        if "deleted_since" in self.changes:
            return item
        return self.stream.fetch_record(self.context, key_of(item))
