"""From the declaration of a stream to the reads of its businesses.

What a stream *is* stands in its class in `tap_sage_accounting.streams`, as the attributes of `StreamDeclaration`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_sage_accounting import schemas
from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.declaration import UPDATED_AT, StreamDeclaration
from tap_sage_accounting.extraction.outcome import fail_in, report_outcome
from tap_sage_accounting.extraction.plan import ReadPlan
from tap_sage_accounting.extraction.read import BusinessRead, SingleRead
from tap_sage_accounting.extraction.resume import IN_ORDER
from tap_sage_accounting.extraction.scheduler import StartedRead
from tap_sage_accounting.records.converter import RowConversion, with_text_decimals
from tap_sage_accounting.records.reference_ids import reference_ids, with_reference_ids
from tap_sage_accounting.records.row_decoder import RowDecoder
from tap_sage_accounting.run.state_parts import BOOKMARK, REPORTED_UNTIL
from tap_sage_accounting.settings import parse_start_date
from tap_sage_accounting.singer_stream import SingerStream
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.request import Request
    from tap_sage_accounting.extraction.monthly_read import MonthlyRead

DECIMALS: dict[str, dict[str, Any]] = {
    "number": {},
    "string": {"type": ["string", "null"], "format": "x-singer.decimal"},
    "text": {"type": ["string", "null"]},
}
"""The setting `decimals`: what stands in a schema in the place of a number, if not a number."""
ALWAYS_SENT = frozenset(("id", "displayed_as", "path"))
"""Attributes that Sage sends whatever is requested."""


class SageStream(SingerStream):
    """A list in Sage, read business by business.

    Attributes:
        read_class: how it is read; the first requests are sent when a read is made.
    """

    read_class: ClassVar[type[BusinessRead | SingleRead | MonthlyRead]] = BusinessRead

    @override
    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.replication_key = UPDATED_AT if cls.changed_since else None  # type: ignore[assignment]
        cls.selected_by_default = not (cls.retired or cls.opt_in)

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self._first_reads: set[str | None] = set()

    @cached_property
    @override
    def schema(self) -> dict[str, Any]:  # read only when it is needed: a selection needs few
        schema = schemas.load(self.name, type(self).primary_keys)
        if "business_id" not in self.primary_keys:
            del schema["properties"]["business_id"]
        if text := DECIMALS[self.config.get("decimals", "number")]:
            schema = with_text_decimals(schema, text)
        return with_reference_ids(schema, self._reference_ids) if self._reference_ids else schema

    @cached_property
    def _reference_ids(self) -> dict[str, str]:
        """The references beside which a column has their id, by the names of those columns."""
        if not self.config.get("reference_ids"):
            return {}
        return reference_ids(schemas.load(self.name, type(self).primary_keys)["properties"])

    @cached_property
    @override
    def filled_in(self) -> frozenset[str]:
        return self.added_properties | self._reference_ids.keys()

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        if not self.per_business:
            return None
        return self.services.partitions

    @override
    def get_records(self, context: Context | None) -> Iterator[Any]:
        """Yield all records of one business, and those of others while a limit throttles that one.

        Rows that nobody looks into are yielded as they were decoded.
        """
        if self.per_business and context is None:
            return  # all businesses rest, which the SDK takes for a stream without any
        count, name = self.services.report.records, self.name
        for batch in self.services.scheduler.records(self, context):
            for record in batch:
                count[name] += 1
                yield record
                if self.map_failure is not None:
                    failure, self.map_failure = self.map_failure, None
                    fail_in(batch, failure)
                    break

    def start(self, context: Context | None) -> StartedRead:
        """Send the first requests of the read of one business, whose records are for later."""
        plan = self._plan(context)
        read = self.read_class(plan)
        return StartedRead(report_outcome(read.batches(), plan, self.version), lambda: read.awaited)

    def first_requests(self, client: HttpClient, business_id: str | None, state: dict[str, Any]) -> list[Request]:
        """List requests with which the read of a business begins, from what its state will be then."""
        endpoint = self._endpoint(client, business_id, self._since(state, self._start_date), str(business_id))
        return self.read_class.first_requests(endpoint, type(self), state)

    def begin_first_read(self, context: Context | None) -> bool:
        """Note in the state when a first read begins whose deletions Sage will report; return whether this is one."""
        state = self.get_context_state(context)
        if not self.deleted_since or REPORTED_UNTIL in state:
            return False
        state[REPORTED_UNTIL] = instant(self.services.began_at)
        self._first_reads.add(context["business_id"] if context else None)
        return True

    def _report_deletion(self, business_id: str | None, key: str, deleted_at: str | None, how: str) -> None:
        row = {"business_id": business_id, "stream": self.name, "id": key, "deleted_at": deleted_at, "how": how}
        self.services.add_deletion(row)

    # What is requested

    def _plan(self, context: Context | None) -> ReadPlan:
        business_id = context["business_id"] if context else None
        state = self.get_context_state(context)
        since = self._since(state, self._start_date)
        name = self.services.name_of(business_id)
        return ReadPlan(
            stream=type(self),
            endpoint=self._endpoint(self.services.http_client, business_id, since, name),
            state=state,
            rows=self._conversion(business_id),
            write_tombstones=self.write_tombstones,
            report_deletion=partial(self._report_deletion, business_id),
            services=self.services,
            attributes=self.requested_attributes,
            columns=self.schema["properties"].keys() - self._reference_ids.keys(),
            start_date=self._start_date,
            since=since,
            lookback=self._lookback,
            is_incremental=self.replication_method == REPLICATION_INCREMENTAL,
            is_resumable=self._is_resumable,
            is_first=business_id in self._first_reads,
            sweep_every=timedelta(days=self.config["deletion_sweep_days"]),
            reread_days=int(self.config["reread_documents_days"]),
            logger=self.logger,
        )

    def _endpoint(self, client: HttpClient, business_id: str | None, since: datetime | None, name: str) -> Endpoint:
        shown = {"attributes": self.requested_attributes, **dict.fromkeys(self.flags, "true")}
        return Endpoint(
            client=client,
            path=self.path_of(business_id),
            label=f"'{self.name}' of {name}",
            business_id=business_id,
            params=self._params(shown, since),
            page_size=int(self.config["page_size"]),
            record_params={**self.detail_params, **shown},
            bare_record_params=self.detail_params,
            decoder=lambda: self._decoder,
        )

    def _params(self, shown: dict[str, Any], since: datetime | None) -> dict[str, Any]:
        """Return the query parameters of a read: what Sage shows of a row, its order, and the change filter."""
        params = dict(shown)
        if self._is_resumable:
            params["sort"] = IN_ORDER
        if since is not None:
            params["updated_or_created_since"] = instant(since)
        return params

    def path_of(self, business_id: str | None) -> str:  # noqa: ARG002 - of `businesses`, each has its own
        """Return the path below the API's base."""
        return f"/{self.name}"

    @cached_property
    def requested_attributes(self) -> str | None:
        """Everything, unless the catalog deselects columns: then those that are selected, the bookmark always.

        With everything, lists show all that single records do (records.complete). None requests no more than what Sage
        always sends: `id`, `displayed_as` and `$path`.
        """
        own = [name for name in self.schema["properties"] if name not in self.filled_in | ALWAYS_SENT]
        needed = {UPDATED_AT, *self._wanted_ids.values(), *self.always_requested}
        chosen = [name for name in own if self.mask["properties", name] or name in needed]
        return "all" if len(chosen) == len(own) else ",".join(chosen) or None

    @property
    def always_requested(self) -> frozenset[str]:
        """Attributes that a read needs, whether they are selected or not."""
        return frozenset()

    @cached_property
    def _wanted_ids(self) -> dict[str, str]:
        """Those of the columns with ids of references that the catalog has and selects."""
        lacking = self.conformer.missing if self.conformer else ()
        return {
            column: reference
            for column, reference in self._reference_ids.items()
            if self.mask["properties", column] and column not in lacking
        }

    def _since(self, state: dict[str, Any], start_date: datetime | None) -> datetime | None:
        """Return the change filter: the bookmark less the look-back, else the start date, else none.

        The filter lets its own second through (changes.inclusive). Master data is read whole, because what changed
        since the start date refers to all of it.
        """
        if self.replication_method != REPLICATION_INCREMENTAL:
            return None
        if bookmark := state.get(BOOKMARK):
            return parse_moment(bookmark) - self._lookback
        return None if self.master_data else start_date

    @property
    def _start_date(self) -> datetime | None:
        return parse_start_date(self.config["start_date"]) if self.config.get("start_date") else None

    @property
    def _lookback(self) -> timedelta:
        return timedelta(seconds=self.config["lookback_window"])

    @property
    def _is_resumable(self) -> bool:
        """Whether a read of many pages that is cut short can go on where it was."""
        return (
            self.sortable
            and self.deleted_since
            and len(self.parts) == 1
            and self.replication_method == REPLICATION_INCREMENTAL
        )

    # From rows to records

    def _conversion(self, business_id: str | None) -> RowConversion:
        key = self.primary_keys[-1]
        report, business = self.services.report, self.services.name_of(business_id)
        return RowConversion(
            compile=lambda: self.converter,
            key=key,
            key_reference=self.key_reference,
            business_id=business_id,
            reference_ids=self._wanted_ids,
            passthrough=self.passthrough,
            report_damage=lambda record, places: report.add_damage(self.name, record, business, places),
        )

    @cached_property
    def _decoder(self) -> RowDecoder | None:
        """The fast way from pages to records as declared; None where rows are not identified by their id."""
        own = {name: part for name, part in self.schema["properties"].items() if name not in self.filled_in}
        return RowDecoder(own, for_json=self.passthrough) if {"id", "path"} <= own.keys() else None


class ReportingStream(SageStream):
    """A list of which Sage reports changes and deletions."""

    changed_since = True
    deleted_since = True
    deletable = True


class DocumentStream(ReportingStream):
    """A list of dated documents, which Sage sorts, and of which it reports changes and deletions."""

    sortable = True
    dated = True


class ReferenceDataStream(SageStream):
    """A list of reference data, which hardly ever changes."""

    static = True


class SingleObjectStream(ReferenceDataStream):
    """A single object, such as a business's settings: one row per business, without pages (records.object_ids)."""

    primary_keys: ClassVar[tuple[str, ...]] = ("business_id",)
    read_class = SingleRead

    @override
    def _params(self, shown: dict[str, Any], since: datetime | None) -> dict[str, Any]:
        return {} if self.requested_attributes == "all" else {"attributes": self.requested_attributes}


class CollectedStream(SageStream):
    """Rows that the tap writes while it reads other streams; nothing is requested for them.

    Attributes:
        moment: the column with the time of a row.
    """

    collected = True
    moment: ClassVar[str]

    _is_announced = False

    @override
    def get_records(self, context: Context | None) -> Iterator[Any]:
        """Yield nothing: rows are written when they are known."""
        yield from ()

    def add(self, row: dict[str, Any]) -> None:
        """Write a row."""
        if not self._is_announced:
            self._write_schema_message()
            self._is_announced = True
        for message in self._generate_record_messages(row):
            self._tap.write_message(message)


class CurrencyKeyedStream(ReferenceDataStream):
    """A list of exchange rates, whose records have no id: the currency is their key."""

    primary_keys = ("business_id", "currency_id")
    added_properties = StreamDeclaration.added_properties | {"currency_id"}
    key_reference = "currency"
