"""What is known of a file before it is fetched, and what it is called where it is stored.

No text from Sage chooses a place: ids become names that every file system takes, and endings are short and plain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from singer_sdk.exceptions import FatalAPIError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDINGS = {
    "application/pdf": ".pdf",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
}
"""The types that Sage takes, and the endings of their names."""
_PLAIN_NAME = re.compile(r"[0-9a-f-]{1,64}")
"""Ids as Sage makes them. No name of a device and no other name on a file system looks like that."""
_PLAIN_ENDING = re.compile(r"\.[a-z0-9]{1,8}")
_REQUESTABLE = re.compile(r"[0-9A-Za-z_-]{1,128}")
_NO_DIGIT = re.compile(r"[^0-9]")
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as its record describes it.

    Attributes:
        key: the id of the record.
        directory: where its files are, relative to the place for all.
        version: digits of the time of its last change; "0" where there is none.
        ending: of its name, with a dot; "" where none is plain.
        mime_type: as Sage has it, in lower case.
        size: bytes; None where Sage does not say.
        is_deleted: whether it is gone in Sage.
    """

    key: str
    directory: str
    version: str
    ending: str
    mime_type: str
    size: int | None
    is_deleted: bool

    @classmethod
    def of(cls, record: Mapping[str, Any], business_id: str) -> Self:
        """Read a record, as declared."""
        key, mime_type = str(record["id"]), (record.get("mime_type") or "").strip().lower()
        changed_at = record.get("updated_at") or record.get("created_at") or ""
        size = record.get("file_size")
        return cls(
            key=key,
            directory=f"{_plain(business_id)}/{_plain(key)}",
            version=_NO_DIGIT.sub("", changed_at)[:_DIGITS] or "0",
            ending=ENDINGS.get(mime_type) or _ending(record.get("file_extension"), record.get("file_name")),
            mime_type=mime_type,
            size=int(size) if size is not None and size >= 0 else None,
            is_deleted=bool(record.get("deleted_at")),
        )

    def name(self, digest: str) -> str:
        """Return the name under which content with a SHA-256 is stored."""
        return f"{self.version}-{digest}{self.ending}"


def digest_in(name: str, version: str | None = None) -> str | None:
    """Return the SHA-256 in the name of a stored file; None where it is none, or none of that version."""
    found = re.fullmatch(r"([0-9]{1,20})-([0-9a-f]{64})(?:\.[a-z0-9]{1,8})?", name)
    return found[2] if found and version in (None, found[1]) else None


def require_requestable(key: str) -> None:
    """Refuse an id that would make another path of the one that it is a part of.

    Raises:
        FatalAPIError: it would.
    """
    if not _REQUESTABLE.fullmatch(key):
        raise FatalAPIError("its id cannot be a part of an address")


def _plain(text: str) -> str:
    """Make a name for a directory of an id: the same name for the same id, and never one name for two."""
    return text if _PLAIN_NAME.fullmatch(text) else f"x{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _ending(*names: str | None) -> str:
    """Return the ending of the first name that has a plain one; "" for none."""
    endings = (f".{name.rpartition('.')[2].lower()}" for name in names if name)
    return next((ending for ending in endings if _PLAIN_ENDING.fullmatch(ending)), "")
