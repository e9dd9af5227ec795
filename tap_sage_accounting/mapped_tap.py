"""What a user chose of the streams: a catalog, and stream maps."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import Tap
from singer_sdk.exceptions import (
    ConfigValidationError,
    MapExpressionError,
    StreamMapConfigError,
)
from singer_sdk.helpers._catalog import get_selected_schema
from singer_sdk.singerlib import Catalog
from typing_extensions import override

from tap_sage_accounting.configured_tap import ConfiguredTap
from tap_sage_accounting.stream_maps.mapping import OnDemandStreamMaps

if TYPE_CHECKING:
    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import CatalogEntry

    from tap_sage_accounting.client import SageStream
    from tap_sage_accounting.stream_maps.check import StreamMapCheck


class MappedTap(ConfiguredTap):
    """A tap whose catalog and stream maps are checked before any request, and made as late as possible."""

    def __init__(self, *, catalog: Any = None, **options: Any) -> None:
        if catalog is not None and not isinstance(catalog, Catalog):
            from tap_sage_accounting.catalog import CatalogCheck  # noqa: PLC0415

            check = CatalogCheck(catalog)
            check.report(self.logger)
            catalog = check.catalog
        super().__init__(catalog=catalog, **options)

    @override
    def setup_mapper(self) -> None:
        """Check the catalog and the stream maps; where there is nothing to check, `prepare_run` makes the maps.

        Raises:
            ConfigValidationError: the catalog or a stream map cannot work.
        """
        self.stream_map_definitions = deepcopy(self.config.get("stream_maps") or {})  # the SDK takes things out of it
        if self.input_catalog is not None:
            from tap_sage_accounting.catalog import follow  # noqa: PLC0415

            follow([(stream, self._entry(name)) for name, stream in self.selected.items()], self.logger)
        check = self._check_stream_maps() if self.stream_map_definitions else None
        try:
            super(Tap, self).setup_mapper()
            self.mapper.stream_maps = OnDemandStreamMaps(self._make_stream_maps)
            if check is not None or self.config.get("flattening_enabled"):
                self.selected_stream_maps()
        except (StreamMapConfigError, MapExpressionError, ValueError, AttributeError, TypeError) as error:
            raise ConfigValidationError("The stream maps are not right", errors=[str(error)]) from error
        if check is not None:
            check.require_own_tables(self.selected_stream_maps())

    @property
    def sage_streams(self) -> dict[str, SageStream]:
        """All streams, by name."""
        return cast("dict[str, SageStream]", self.streams)  # as `discover_streams` made them

    @property
    def selected(self) -> dict[str, SageStream]:
        """The streams that are selected, by name."""
        return {name: stream for name, stream in self.sage_streams.items() if stream.selected}

    def selected_stream_maps(self) -> dict[str, list[StreamMap]]:
        """Make, or return, the stream maps of the selected streams."""
        return {name: self.mapper.stream_maps[name] for name in self.selected}

    def _check_stream_maps(self) -> StreamMapCheck:
        from tap_sage_accounting.stream_maps.check import StreamMapCheck  # noqa: PLC0415

        streams = self.sage_streams
        conformers = {name: stream.conformer for name, stream in streams.items() if stream.conformer is not None}
        values = self.config.get("stream_map_config") or {}
        check = StreamMapCheck(self.stream_map_definitions, values, streams, conformers)
        check.require()
        return check

    def _make_stream_maps(self, name: str) -> None:
        """Make a stream's maps from what is selected of its schema, or of the catalog's."""
        stream = cast("SageStream", self.streams[name])
        given = self.input_catalog.get(name) if self.input_catalog else None
        schema = given.schema.to_dict() if given else stream.schema
        if stream.deselected:
            schema = get_selected_schema(name, schema, stream.mask)
        self.mapper.register_raw_stream_schema(name, schema, given.key_properties if given else [*stream.primary_keys])

    def _entry(self, name: str) -> CatalogEntry:
        """Find a stream's entry in the catalog; the discovered one where the catalog has none."""
        given = self.input_catalog.get(name) if self.input_catalog else None
        return given or self.streams[name]._singer_catalog_entry  # noqa: SLF001 - the SDK makes those of all streams
