"""Files attached to documents."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_sage_accounting import schemas
from tap_sage_accounting.client import ReferenceDataStream, ReportingStream
from tap_sage_accounting.declaration import Area
from tap_sage_accounting.extraction.files_read import FilesRead
from tap_sage_accounting.run.state_parts import FILES_PLACE

if TYPE_CHECKING:
    from datetime import datetime

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.request import Request


class AttachmentContextTypes(ReferenceDataStream):
    """Kinds of record that a file can be attached to."""

    name = "attachment_context_types"


class Attachments(ReportingStream):
    """Name, size and owner of each attached file; the files themselves only with the setting `attachments_url`."""

    name = "attachments"
    unposted = True
    areas = (Area.SALES, Area.PURCHASES)
    read_class = FilesRead

    @cached_property
    def _file_columns(self) -> dict[str, dict[str, Any]]:
        return schemas.file_columns() if self.config.get("attachments_url") else {}

    @cached_property
    @override
    def schema(self) -> dict[str, Any]:
        schema = super().schema
        return {**schema, "properties": schema["properties"] | self._file_columns}

    @cached_property
    @override
    def filled_in(self) -> frozenset[str]:
        return super().filled_in | self._file_columns.keys()

    @property
    @override
    def always_requested(self) -> frozenset[str]:
        described = ("file_size", "file_name", "file_extension", "mime_type")
        return frozenset(described) if self._file_columns else frozenset()

    @override
    def first_requests(self, client: HttpClient, business_id: str | None, state: dict[str, Any]) -> list[Request]:
        """List none where files are stored: where they are decides on what is requested."""
        return [] if self._file_columns else super().first_requests(client, business_id, state)

    @override
    def _since(self, state: dict[str, Any], start_date: datetime | None) -> datetime | None:
        """Read the list from its beginning where files are stored in another place than before, or for the first time.

        Otherwise those of records that do not change would never come.
        """
        store = self.services.file_store if self._file_columns else None  # first pages may precede the services
        if store is not None and state.get(FILES_PLACE) != store.fingerprint:
            state = {}
        return super()._since(state, start_date)
