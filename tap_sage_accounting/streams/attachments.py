"""Files attached to documents."""

from __future__ import annotations

from tap_sage_accounting.client import ReferenceDataStream, ReportingStream
from tap_sage_accounting.declaration import Area


class AttachmentContextTypes(ReferenceDataStream):
    """Kinds of record that a file can be attached to."""

    name = "attachment_context_types"


class Attachments(ReportingStream):
    """Name, size and owner of each attached file; the file itself is not fetched."""

    name = "attachments"
    unposted = True
    areas = (Area.SALES, Area.PURCHASES)
