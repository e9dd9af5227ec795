"""Parts of rows: a key and a few columns for a target to set; the row's other columns stay.

A target sets every column that the stream's schema has. So the schema of a part names its own columns only, and the
whole schema follows in any case. The user's stream maps apply where the columns of a part suffice. These are other
names, other keys, and expressions that read nothing else. A filter that reads other columns lets a part pass, because
the row may be in the table.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import (
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    PluginMapper,
    RemoveRecordTransform,
)
from singer_sdk.singerlib import RecordMessage, SchemaMessage

from tap_sage_accounting.stream_maps.mapping import Expression, is_about

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from singer_sdk import Stream
    from singer_sdk.helpers.types import Record
    from singer_sdk.mapper import StreamMap

    Definition = dict[str, Any]


class PartialRows:
    """Makes the messages that carry parts of a stream's rows, which have some of its columns."""

    def __init__(self, stream: Stream, columns: AbstractSet[str], definitions: Mapping[str, Any]) -> None:
        self._stream = stream
        whole = stream.stream_maps[0].raw_schema
        self._whole = whole["properties"].keys()
        self._columns = columns
        self._keys = list(stream.primary_keys)
        schema = {key: value for key, value in whole.items() if key != "required"}
        schema["properties"] = {name: part for name, part in whole["properties"].items() if name in columns}
        self._maps = self._stream_maps(schema, definitions)

    def messages(self, records: Sequence[Record], version: int | None) -> Iterator[SchemaMessage | RecordMessage]:
        """Yield the schema of the parts, and the parts, for each table that the stream fills."""
        for stream_map in self._maps:
            keys = list(stream_map.transformed_key_properties or ())
            schema = stream_map.transformed_schema
            parts = [part for record in records if (part := stream_map.transform(record))]
            if parts and schema["properties"].keys() - {*keys}:
                yield SchemaMessage(stream_map.stream_alias, schema, keys)
                now = datetime.now(UTC)
                for part in parts:
                    yield RecordMessage(stream_map.stream_alias, part, version, now)

    def _stream_maps(self, schema: Record, definitions: Mapping[str, Any]) -> list[StreamMap]:
        """Make the stream maps of parts."""
        maps = {}
        for name, definition in definitions.items():
            if name == MAPPER_ELSE_OPTION or not isinstance(definition, dict):
                maps[name] = definition
            elif not is_about(self._stream.name, name, definition):
                continue
            elif (part := self._part_of(definition)) is not None:
                maps[name] = part
            else:
                self._stream.logger.warning(
                    "Deletions that Sage reports by id cannot be marked where the stream map '%s' leads: its key "
                    "needs other columns. The stream 'deletions' lists them.",
                    name,
                )
                if MAPPER_SOURCE_OPTION not in definition:
                    maps[name] = None
        mapper = PluginMapper({**self._stream.config, "stream_maps": maps}, self._stream.logger)
        mapper.register_raw_stream_schema(self._stream.name, schema, self._keys)
        return [each for each in mapper.stream_maps[self._stream.name] if not isinstance(each, RemoveRecordTransform)]

    def _part_of(self, definition: Definition) -> Definition | None:
        """Reduce a stream map to what a part has the columns for; None where its key needs others."""
        keys = definition.get(MAPPER_KEY_PROPERTIES_OPTION, self._keys) or []
        part: Definition = {}
        for name, value in definition.items():
            if name == MAPPER_FILTER_OPTION:
                if self._suffices_for(value, None):
                    part[name] = value
            elif (
                name.startswith("__")
                or value in (None, NULL_STRING)
                or self._suffices_for(value, name, is_key=name in keys)
            ):
                part[name] = value
            elif name in self._columns:
                part[name] = None
        sent = set() if MAPPER_ELSE_OPTION in part else {*self._columns} - part.keys()
        sent |= {name for name, value in part.items() if value not in (None, NULL_STRING)}
        return part if sent.issuperset(keys) else None

    def _suffices_for(self, text: str, name: str | None, *, is_key: bool = True) -> bool:
        """Return whether an expression reads columns of a part and no others; a key's may read none at all."""
        expression = Expression.parse(text)
        reads = expression.reads(name) & self._whole
        return not expression.reads_all and reads <= self._columns and (is_key or bool(reads))
