"""Stream maps that are made when a stream is first looked up: those of all streams would be a tenth of the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from singer_sdk.mapper import StreamMap


class OnDemandStreamMaps(dict[str, "list[StreamMap]"]):
    """The stream maps of each stream.

    Args:
        make: adds the stream maps of a stream by its name.
    """

    def __init__(self, make: Callable[[str], None]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> list[StreamMap]:
        self._make(name)
        return self[name]
