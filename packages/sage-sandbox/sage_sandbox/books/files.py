"""The content of attached files: what it begins with shows its type, and its size is the one that the record has."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sage_sandbox.store import Body

TYPES = (
    ("receipt.pdf", "application/pdf"),
    ("Größe & Maß.png", "image/png"),
    ("packing list.csv", "text/csv"),
    ("delivery note.jpg", "image/jpeg"),
    ("stamp.gif", "image/gif"),
    ("fax.tiff", "image/tiff"),
)
"""Names and media types of the files that are attached: the five types that Sage takes, and another."""
_BEGINNINGS = {
    "application/pdf": b"%PDF-1.7\n",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/tiff": b"II*\x00",
}


def content_of(body: Body) -> bytes:
    """Make the content of an attachment's file, the same each time until the attachment changes."""
    size = body["file_size"] or 0
    beginning = _BEGINNINGS.get(str(body.get("mime_type")), b"")
    chance = Random(f"{body['id']} {size} {body.get('updated_at')}")  # noqa: S311 - content, not secrecy
    return (beginning + chance.randbytes(size))[:size]
