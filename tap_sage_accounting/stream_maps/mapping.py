"""The users' stream maps: what they read of records, and which of their expressions fails on one."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalAPIError
from singer_sdk.mapper import MAPPER_FILTER_OPTION, MAPPER_SOURCE_OPTION, CustomStreamMap

from tap_sage_accounting.stream_maps.expressions import Expression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_sdk.helpers.types import Record
    from singer_sdk.mapper import StreamMap

    Definitions = Mapping[str, Any]
    """The setting `stream_maps`, as the user wrote it."""


class StreamMapError(FatalAPIError):
    """An expression of a stream map fails on a record."""


class OnDemandStreamMaps(dict[str, "list[StreamMap]"]):
    """The stream maps of each stream, made at the first look-up: making all takes a tenth of the start."""

    def __init__(self, make: Callable[[str], None]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> list[StreamMap]:
        self._make(name)
        return self[name]


def source_of(name: str, definition: Any) -> Any:
    """Return the stream that an entry of `stream_maps` is about, or the pattern of its name."""
    return definition.get(MAPPER_SOURCE_OPTION, name) if isinstance(definition, dict) else name


def is_about(stream: str, name: str, definition: Any) -> bool:
    """Return whether an entry of `stream_maps` is about a stream."""
    return fnmatch(stream, source_of(name, definition))


def expressions(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a stream map, with the column or the option that each is for."""
    for name, text in definition.items():
        if isinstance(text, str) and (name == MAPPER_FILTER_OPTION or not name.startswith("__")):
            yield name, text


def columns_read(stream: str, definitions: Definitions) -> set[str]:
    """Name what the expressions of a stream's maps read, functions among them."""
    return {
        column
        for name, definition in definitions.items()
        if isinstance(definition, dict) and is_about(stream, name, definition)
        for own_name, text in expressions(definition)
        for column in Expression.parse(text).reads(own_name)
    }


def map_failure(
    stream: str, definitions: Definitions, stream_maps: Sequence[StreamMap], record: Record, error: Exception
) -> StreamMapError:
    """Describe what failed on a record, without a word of the record."""
    custom = [each for each in stream_maps if isinstance(each, CustomStreamMap)]
    for name, definition in definitions.items():
        if not isinstance(definition, dict) or not is_about(stream, name, definition):
            continue
        for column, text in expressions(definition):
            try:
                custom[0]._eval(text, ast.parse(text).body[0], record, column)  # type: ignore[arg-type] # noqa: SLF001
            except Exception as reason:  # noqa: BLE001 - any may come out of an expression
                cause = type(reason.__cause__ or reason).__name__
                return StreamMapError(
                    f"the stream map '{name}' fails on a record: the expression for '{column}' ends in {cause}. "
                    "Correct it, such as with 'if column else None' where a column may be empty, and run again."
                )
    return StreamMapError(f"a stream map fails on a record ({type(error).__name__}).")


def require_key(stream_map: StreamMap, record: Record) -> None:
    """See that a record has a key when it leaves a stream map.

    Raises:
        StreamMapError: naming what is empty.
    """
    for name in stream_map.transformed_key_properties or ():
        if record.get(name) is None:
            raise StreamMapError(
                f"a stream map leaves '{name}' empty in a record of '{stream_map.stream_alias}', and it is in the key."
            )
