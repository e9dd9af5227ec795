"""A stream as the Singer SDK runs it: its catalog entry, its messages, its metrics.

What overrides private members of the SDK stands here, each with the hook that the SDK lacks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from logging import INFO
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.metrics import DEFAULT_LOG_INTERVAL, Counter, Metric, Tag, Timer
from singer_sdk.singerlib import RecordMessage
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE
from typing_extensions import override

from tap_sage_accounting.declaration import ADDITIONAL, StreamDeclaration
from tap_sage_accounting.extraction.outcome import FullTableVersion
from tap_sage_accounting.records.converter import RecordConverter
from tap_sage_accounting.records.row_decoder import Item, Row
from tap_sage_accounting.run.writer import WholeMessageWriter
from tap_sage_accounting.stream_maps.mapping import StreamMapError, columns_read, map_failure, require_key
from tap_sage_accounting.stream_maps.partial_rows import PartialRows

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog, CatalogEntry

    from tap_sage_accounting.extraction.plan import Services
    from tap_sage_accounting.records.conformance import Conformer


class SingerStream(StreamDeclaration, Stream):
    """Writes what a stream reads.

    Attributes:
        services: what the reads of a run share; set when the run begins.
        conformer: makes records follow the schema of a given catalog; None where that is the stream's own.
        map_failure: why a stream map failed on the last record.
    """

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE  # records are conformed when they are converted, without a loss
    primary_keys: ClassVar[tuple[str, ...]] = StreamDeclaration.primary_keys
    services: Services

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap=tap)
        self.conformer: Conformer | None = None
        self.map_failure: StreamMapError | None = None
        self._partial_rows: PartialRows | None = None

    # What the catalog says

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Follow a catalog's selection and its choice of how to read; keys are the stream's own (see `catalog.py`)."""
        self._tap_input_catalog = catalog
        if (entry := catalog.get_stream(self.name)) and entry.replication_method:
            self.forced_replication_method = entry.replication_method

    def follow(self, entry: CatalogEntry) -> list[str]:
        """Let records follow the schema of a given catalog; return what differs from the stream's own, in words.

        Raises:
            SchemaError: no record can follow it.
        """
        from tap_sage_accounting.records.conformance import follow  # noqa: PLC0415 - few runs need it

        self.conformer, different = follow(entry.schema, self.schema["properties"], self.primary_keys)
        return different

    @cached_property
    def deselected(self) -> list[tuple[str, ...]]:
        """The paths of the properties that the catalog deselects, outermost ones only."""
        return [
            breadcrumb[1::2]
            for breadcrumb, selected in self.mask.items()
            if not selected and set(breadcrumb[::2]) == {"properties"} and self.mask[breadcrumb[:-2]]
        ]

    @cached_property
    def filled_in(self) -> frozenset[str]:
        """The columns that do not come from Sage's record."""
        return self.added_properties

    @cached_property
    def converter(self) -> RecordConverter:
        """The conversion of this stream's records, compiled from its schema."""
        converter = RecordConverter(self.schema, self.filled_in)
        self.services.report.drift[self.name] = converter.drift
        return converter

    @cached_property
    def passthrough(self) -> bool:
        """Whether nobody looks into records on their way: no selection, stream map, flattening, hook, other writer."""
        return (
            isinstance(self._tap.message_writer, WholeMessageWriter)
            and self.conformer is None
            and not self.deselected
            and self.filled_in == self.added_properties
            and all(type(each) is SameRecordTransform and not each.flattening_enabled for each in self.stream_maps)
            and type(self).post_process is Stream.post_process
        )

    # What programs collect from the log

    @override
    def get_record_counter(self, *, endpoint: str | None = None, log_interval: float = DEFAULT_LOG_INTERVAL) -> Counter:
        counter = BusinessCounter if self.metrics_logger.isEnabledFor(INFO) else NoCounter
        return counter(Metric.RECORD_COUNT, {Tag.STREAM: self.name}, log_interval)

    @override
    def get_sync_timer(self) -> StreamTimer:
        return StreamTimer(Metric.SYNC_DURATION, {Tag.STREAM: self.name})

    # The SDK has no hook for bookmarks that move when a read is complete.

    @override
    def compare_start_date(self, value: str, start_date_value: str) -> str:
        """Let the bookmark win: a start date moved forward must not skip what was not read yet."""
        return value

    @override
    def _increment_stream_state(self, latest_record: Record, *, context: Context | None = None) -> None:
        """Leave the bookmark alone: it moves when the read is complete, not record by record."""

    @override
    def _write_state_message(self) -> None:
        """Write the state at the end of a stream where one is due."""
        self.services.checkpoints.checkpoint()

    # The SDK has no hook for files that are complete before their state, nor for versions that follow their records.

    @override
    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Let records go their usual way: the writer puts them into files, so that states wait for these."""

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        """Keep the SDK from writing a version before its records: a read that fails would empty the table."""
        return False

    @cached_property
    def version(self) -> FullTableVersion:
        """The version of the stream's table."""
        is_wanted = (
            bool(self.config.get("emit_activate_version_messages"))
            and self.replication_method == REPLICATION_FULL_TABLE
            and self.whole
            and not self.config.get("business_ids")
        )
        left_out = self.services.lost_businesses | self.services.resting if self.per_business else ()
        reads = len([{}] if self.partitions is None else self.partitions) + len(left_out)
        return FullTableVersion(reads, self._begin_version, self._activate_version if is_wanted else None)

    def _begin_version(self) -> None:
        self._stream_version = self._initialized_at  # milliseconds: two runs may follow within a second

    def _activate_version(self) -> None:
        if self._stream_version is not None:
            self.services.checkpoints.deliver()
            self._write_activate_version_message(self._stream_version)

    # The SDK has no hook for records that are conformed already, nor for one way to write them.

    @override
    def _process_record(self, record: Record, child_context: Any = None, partition_context: Any = None) -> None:
        """Do nothing: records have their business already, and no stream has children."""

    @override
    def _generate_record_messages(self, record: Item) -> Generator[RecordMessage, None, None]:
        """Make the messages of a record: the few deselected properties go, and stream maps do their work."""
        if isinstance(record, Row):
            as_json: Any = record.to_json()
            for stream_map in self.stream_maps:
                yield RecordMessage(stream_map.stream_alias, as_json, self._stream_version, datetime.now(UTC))
            return
        for *parents, name in self.deselected:
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
                raise map_failure(self.name, self.services.stream_maps, self.stream_maps, record, error) from error
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
            self.map_failure = error
        self.state_manager.is_flushed = False

    def _conform(self, record: Record) -> None:
        if self.conformer is not None:
            self.conformer.conform(record, self.converter.drift.mismatches, keep=self.mask["properties", ADDITIONAL])

    @cached_property
    def _columns_read(self) -> set[str]:
        """The columns that stream maps read: they are there, and empty, where Sage does not send them."""
        columns = self.stream_maps[0].raw_schema["properties"].keys()
        return columns_read(self.name, self.services.stream_maps).intersection(columns)

    def write_tombstones(self, tombstones: Sequence[Record]) -> None:
        """Write the same few columns of some records, for a target to leave their others alone.

        The messages are made before the first one is written, and the whole schema follows in any case.
        """
        for tombstone in tombstones:
            self._conform(tombstone)
        if self._partial_rows is None:
            self._partial_rows = PartialRows(self, tombstones[0].keys(), self.services.stream_maps)
        messages = list(self._partial_rows.messages(tombstones, self._stream_version))
        if not messages:
            return
        try:
            for message in messages:
                self._tap.write_message(message)
        finally:
            self._write_schema_message()


class BusinessCounter(Counter):
    """Counts the records of each business; the SDK's counter names the last business beside the sum of all."""

    @override
    def with_context(self, value: Context | None) -> None:
        if Tag.CONTEXT in self.tags:
            self._pop()
        self.tags = {**self.tags}  # what was logged keeps its own
        super().with_context(value)


class NoCounter(Counter):
    """Counts nothing: the SDK's counter looks at the clock for every record."""

    @override
    def increment(self, value: int = 1) -> None:
        """Do nothing."""


class StreamTimer(Timer):
    """Times a stream, all its businesses together; the SDK's timer names the last business."""

    @override
    def with_context(self, value: Context | None) -> None:
        """Name no business."""
