"""Airbyte's catalogs and states, and the Singer ones that they stand for."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.client import CollectedStream
from tap_sage_accounting.exceptions import SettingsError
from tap_sage_accounting.run.state_forms import airbyte_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_sage_accounting.client import SageStream

FULL_REFRESH, INCREMENTAL = "full_refresh", "incremental"
_KEYWORDS = ("type", "description", "format")


def airbyte_catalog(streams: Iterable[SageStream]) -> dict[str, Any]:
    """Return the `catalog` of a CATALOG message."""
    return {"streams": [_stream(stream) for stream in streams]}


def _stream(stream: SageStream) -> dict[str, Any]:
    """Describe a stream.

    None is resumable: a full refresh that fails starts anew, so that its second attempt holds every row once.
    Otherwise Airbyte would keep the rows of the failed attempt. A business that was read in part would be there twice.
    """
    modes, cursor = [FULL_REFRESH], stream.replication_key
    if isinstance(stream, CollectedStream):
        # Each sync brings what was found since the one before: to replace the table with it would lose the rest.
        modes, cursor = [INCREMENTAL], stream.moment
    elif cursor:
        modes.append(INCREMENTAL)
    return {
        "name": stream.name,
        "json_schema": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            **schema_of(stream.schema),
            "additionalProperties": True,
        },
        "supported_sync_modes": modes,
        "source_defined_primary_key": [[key] for key in stream.primary_keys],
        "is_resumable": False,
        **({"source_defined_cursor": True, "default_cursor_field": [cursor]} if cursor else {}),
    }


def schema_of(part: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a schema, at all its levels, into the types that Airbyte knows."""
    schema = {key: part[key] for key in _KEYWORDS if key in part}
    if schema.get("format") == "date-time":
        schema["airbyte_type"] = "timestamp_with_timezone"
    elif schema.get("format") not in (None, "date"):
        del schema["format"]  # `x-singer.decimal`
    if "properties" in part:
        schema["properties"] = {name: schema_of(each) for name, each in part["properties"].items()}
    if "items" in part:
        schema["items"] = schema_of(part["items"])
    return schema


class Selection:
    """A configured catalog: which streams to read, how, and with which columns.

    Args:
        configured: `{"streams": [{"stream": {"name", "json_schema", ...}, "sync_mode", ...}]}`.

    Raises:
        SettingsError: it is no configured catalog.
    """

    def __init__(self, configured: Any) -> None:
        try:
            self._chosen = {each["stream"]["name"]: each for each in configured["streams"]}
            modes = {each["sync_mode"] for each in self._chosen.values()}
        except (KeyError, TypeError):
            raise SettingsError(
                "The configured catalog is none: it must list streams, each with a sync_mode."
            ) from None
        if unknown := modes - {FULL_REFRESH, INCREMENTAL}:
            raise SettingsError(f"The configured catalog asks for the sync mode {', '.join(map(str, unknown))}.")

    @property
    def replaced(self) -> frozenset[str]:
        """The streams whose tables Airbyte replaces by what this sync brings, once they are complete.

        A full refresh does, in most destinations. So does a refresh that removes old rows, of a stream that is read by
        change: Airbyte then asks for the lowest generation of rows to keep.
        """
        return frozenset(
            name
            for name, chosen in self._chosen.items()
            if chosen["sync_mode"] == FULL_REFRESH or (chosen.get("minimum_generation_id") or 0) > 0
        )

    def catalog(self, discovered: dict[str, Any]) -> dict[str, Any]:
        """Return the Singer catalog, with everything selected that was chosen and nothing else.

        Raises:
            SettingsError: a stream was chosen that there is not.
        """
        catalog = deepcopy(discovered)
        entries = {entry["tap_stream_id"]: entry for entry in catalog["streams"]}
        if unknown := sorted(self._chosen.keys() - entries.keys()):
            raise SettingsError(
                f"There is no stream {', '.join(unknown)}. Refresh the source's schema, or correct the catalog."
            )
        for name, entry in entries.items():
            chosen = self._chosen.get(name)
            if chosen and chosen["sync_mode"] == FULL_REFRESH:
                entry["replication_method"] = "FULL_TABLE"
            columns = (chosen or {}).get("stream", {}).get("json_schema", {}).get("properties")
            for metadata in entry["metadata"]:
                match metadata["breadcrumb"]:
                    case []:
                        metadata["metadata"]["selected"] = chosen is not None
                    case ["properties", column] if columns and column not in columns:
                        metadata["metadata"]["selected"] = False
        return catalog

    def state(self, given: Any) -> dict[str, Any]:
        """Return the Singer state that an Airbyte state stands for; a full refresh begins without one.

        Args:
            given: a list of messages of type STREAM, GLOBAL or LEGACY, an object of the old form, or nothing.
        """
        kept = {
            name: state
            for name, state in airbyte_states(given)
            if state is not None and name in self._chosen and self._chosen[name]["sync_mode"] == INCREMENTAL
        }
        return {"bookmarks": kept} if kept else {}
