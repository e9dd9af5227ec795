"""The catalog that a run is given: checked before any request, and corrected where a correction loses nothing.

It may be of an older version, written by hand, or changed by Meltano's `select`, `metadata` and `schema`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.singerlib.catalog import (
    REPLICATION_FULL_TABLE,
    REPLICATION_INCREMENTAL,
    Catalog,
    CatalogEntry,
    Metadata,
    MetadataMapping,
    StreamMetadata,
)
from singer_sdk.singerlib.schema import Schema

from tap_sage_accounting import schemas
from tap_sage_accounting.declaration import UPDATED_AT
from tap_sage_accounting.printable import did_you_mean
from tap_sage_accounting.records.conformance import SchemaError
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from tap_sage_accounting.client import SageStream

    Entry = dict[str, Any]

SHOWN = 5
"""Columns of a stream that a message names."""
PAIR = 2
"""Steps of the path to a column: `properties`, and its name."""
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False, "none": None, "": None}
_BY_NAME = {stream.name: stream for stream in STREAMS}


class CatalogCheck:
    """Reads a catalog.

    Attributes:
        catalog: the catalog as the tap uses it.
        problems: why it cannot be used, a sentence each.
        corrections: what was corrected, and in which streams.
    """

    def __init__(self, given: Any) -> None:
        self.catalog = Catalog()
        self.problems: list[str] = []
        self.corrections: defaultdict[str, list[str]] = defaultdict(list)
        self._is_selected = True
        entries = given.get("streams") if isinstance(given, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self.problems.append("The catalog is none: it must be an object with a list of 'streams'.")
            return
        seen: dict[str, Entry] = {}
        for entry in entries:
            name = entry.get("tap_stream_id") or entry.get("stream")
            if not isinstance(name, str):
                self.problems.append("The catalog has a stream without a 'tap_stream_id'.")
            elif name in seen and seen[name] != entry:
                self.problems.append(f"The catalog has two different entries for the stream {name!r}: leave one out.")
            elif name not in seen:
                seen[name] = entry
                self._add(name, entry)

    def report(self, logger: logging.Logger) -> None:
        """Log what was corrected.

        Raises:
            ConfigValidationError: the catalog cannot be used.
        """
        if self.problems:
            raise ConfigValidationError("The catalog is not right", errors=self.problems)
        for correction, streams in self.corrections.items():
            logger.warning("The catalog's %s: %s", ", ".join(map(repr, streams)), correction)

    def _correct(self, text: str, name: str) -> None:
        if self._is_selected and name not in self.corrections[text]:
            self.corrections[text].append(name)

    def _add(self, name: str, entry: Entry) -> None:
        self._is_selected = True
        metadata = self._metadata(name, entry.get("metadata"))
        stream = _BY_NAME.get(name)
        if stream is None or metadata is None:
            if stream is None and (metadata is None or metadata.resolve_selection().get((), True)):
                self._correct(f"there is no such stream{did_you_mean(name, _BY_NAME)}", name)
            return
        try:
            schema = Schema.from_dict(entry.get("schema") or {})  # one that is missing has no properties
        except (AttributeError, TypeError, ValueError):
            place = _damage(entry["schema"], "")
            self.problems.append(f"The catalog's schema of {name!r} is damaged{place}. Discover again.")
            return
        self._is_selected = metadata.resolve_selection()[()]
        if self._is_selected:
            self._check_columns(stream, metadata, schema)
        root = metadata.root
        root.table_key_properties = self._keys(stream, entry, root.table_key_properties)
        method = self._method(stream, entry, root)
        root.forced_replication_method = method
        root.replication_key = replication_key_of(stream)
        if entry.get("stream") not in (None, name):
            self._correct("another name needs '__alias__' in a stream map.", name)
        self.catalog[name] = CatalogEntry(
            tap_stream_id=name,
            stream=name,
            metadata=metadata,
            schema=schema,
            key_properties=list(stream.primary_keys),
            replication_key=root.replication_key,
            replication_method=method,
        )

    # Metadata

    def _metadata(self, name: str, given: Any) -> MetadataMapping | None:
        """Read the metadata of a stream; None where they are damaged."""
        if not isinstance(given or [], list):
            self.problems.append(f"The catalog's {name!r} has damaged metadata: they must be a list.")
            return None
        mapping = MetadataMapping()
        for each in given or []:
            breadcrumb = each.get("breadcrumb") if isinstance(each, dict) else None
            values = (each.get("metadata") or {}) if isinstance(each, dict) else {}
            if not isinstance(breadcrumb, list) or not all(isinstance(step, str) for step in breadcrumb):
                self.problems.append(
                    f"The catalog's {name!r} has damaged metadata: a 'breadcrumb' must be a list of names."
                )
                return None
            if not isinstance(values, dict):
                self.problems.append(f"The catalog's {name!r} has damaged metadata: 'metadata' must be an object.")
                return None
            found = StreamMetadata.from_dict(values) if not breadcrumb else Metadata(values.get("inclusion"))
            found.selected = self._truth(name, "selected", values)
            found.selected_by_default = self._truth(name, "selected-by-default", values)
            if isinstance(found, StreamMetadata):
                found.forced_replication_method = values.get("replication-method") or found.forced_replication_method
            mapping[tuple(breadcrumb)] = found
        if () not in mapping:
            mapping.root.selected = True
        return mapping

    def _truth(self, name: str, key: str, values: Entry) -> bool | None:
        value = values.get(key)
        if value is None or isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word not in _WORDS or isinstance(value, list | dict):
            self.problems.append(f"The catalog's {name!r} has {key!r} that is neither true nor false.")
            return None
        self._correct(f"{key!r} is read as true or false, although it is something else.", name)
        return _WORDS[word]

    def _check_columns(self, stream: type[SageStream], metadata: MetadataMapping, schema: Schema) -> None:
        """Keep the columns that cannot be left out, and see that what is left out is there."""
        for column in {*stream.primary_keys, replication_key_of(stream)} - {None}:
            each = metadata[("properties", str(column))]
            if (each.selected is False and each.inclusion != "automatic") or each.inclusion == "unsupported":
                self._correct("columns of the key and of the bookmark are always selected.", stream.name)
            each.inclusion = each.InclusionType.AUTOMATIC
        for breadcrumb, each in metadata.items():
            if not breadcrumb or each.selected is not False or _has(schema, breadcrumb):
                continue
            own = schemas.load(stream.name, stream.primary_keys)["properties"]
            if breadcrumb[1:] and (
                breadcrumb[0] != "properties" or len(breadcrumb) != PAIR or breadcrumb[1] not in own
            ):
                hint = did_you_mean(breadcrumb[1], own) if breadcrumb[1] not in own else "."
                place = ".".join(breadcrumb[1:])
                self.problems.append(
                    f"The catalog's {stream.name!r} deselects {place!r}, which is no column of it{hint}"
                )

    # Keys and replication

    def _keys(self, stream: type[SageStream], entry: Entry, given_key: Any) -> list[str]:
        own = list(stream.primary_keys)
        for given in (entry.get("key_properties"), given_key):
            if given is not None and (not isinstance(given, list | tuple) or sorted(map(str, given)) != sorted(own)):
                key = ", ".join(own)
                text = f"the key is {key} whatever the catalog says; '__key_properties__' of a stream map changes it."
                self._correct(text, stream.name)
        return own

    def _method(self, stream: type[SageStream], entry: Entry, root: StreamMetadata) -> str:
        """Choose how a stream is replicated: as the catalog says, where that differs and is possible."""
        own_key = replication_key_of(stream)
        own = REPLICATION_INCREMENTAL if own_key else REPLICATION_FULL_TABLE
        chosen = own
        for given in (entry.get("replication_method"), root.forced_replication_method):
            if given in (None, own):
                continue
            method = str(given).strip().upper().replace("-", "_")
            if method == REPLICATION_FULL_TABLE:
                chosen = method
            elif method == own:
                self._correct(f"the replication method is written {own}.", stream.name)
            elif method == REPLICATION_INCREMENTAL:
                self._correct("Sage cannot list it by change, so it is read in full each time.", stream.name)
                break
            else:
                self._correct(f"there is no such replication method; it is read by {own}.", stream.name)
        keys = (entry.get("replication_key"), root.replication_key)
        if own_key and any(key not in (None, own_key) for key in keys):
            self._correct(f"the replication key is {own_key}, and cannot be another.", stream.name)
        return chosen


def replication_key_of(stream: type[SageStream]) -> str | None:
    """Name the column by which a stream is read, where it is read by change."""
    return UPDATED_AT if stream.changed_since else None


def _damage(part: Any, place: str) -> str:
    """Name the column in which a schema is none."""
    properties = part.get("properties") if isinstance(part, dict) else None
    if isinstance(properties, dict):
        for name, inner in properties.items():
            try:
                Schema.from_dict(inner)
            except (AttributeError, TypeError, ValueError):
                return _damage(inner, f" at {name!r}")
    return place


def _has(schema: Schema, breadcrumb: tuple[str, ...]) -> bool:
    """Return whether a schema has the column, or the part of a column, that metadata are about."""
    part: Any = schema
    for step, name in zip(breadcrumb[::2], breadcrumb[1::2], strict=False):
        if step != "properties" or name not in (part.properties or {}):
            return False
        part = part.properties[name]
    return len(breadcrumb) % 2 == 0


def follow(entries: Iterable[tuple[SageStream, CatalogEntry]], logger: logging.Logger) -> None:
    """Let the records of streams follow the schemas of the catalog, and log where it differs from the tap's.

    Raises:
        ConfigValidationError: no record can follow one of them.
    """
    different, problems = [], []
    for stream, entry in entries:
        try:
            columns = stream.follow(entry)
        except SchemaError as error:
            problems.append(
                f"The catalog's schema of {stream.name!r} has {error}, which no record can follow. Discover again."
            )
        else:
            if columns:
                more = ", ..." if len(columns) > SHOWN else ""
                different.append(f"{stream.name!r} ({', '.join(columns[:SHOWN])}{more})")
    if problems:
        raise ConfigValidationError("The catalog is not right", errors=problems)
    if different:
        logger.warning(
            "The catalog has other columns or types than this version with these settings: %s. Records follow the "
            "catalog, and what has no place there goes to additional_attributes. Discover again, unless that is "
            "intended.",
            ", ".join(different),
        )
