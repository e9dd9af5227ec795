"""One file from Sage, in a temporary file without a name: complete, of the right size, and nothing but a file."""

from __future__ import annotations

import binascii
import os
from contextlib import contextmanager
from hashlib import sha256
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO, TYPE_CHECKING

from tap_sage_accounting.exceptions import FileStoreError, UnreadableResponseError
from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.api.request import Response
    from tap_sage_accounting.files.attachment import Attachment

IN_MEMORY = 256 << 10
"""Bytes of a file that are kept in memory."""
MAX_ATTEMPTS = 3
"""Attempts at a file that is cut off, late, too large or not what it should be."""
_CHUNK = 3 << 18
"""Bytes; a multiple of four, as base64 needs."""
_PAGES = ("application/json", "text/html", "application/xhtml+xml", "application/xml", "text/xml")
"""Media types of errors and of web pages."""
_BEGINNINGS = (b"%PDF", b"GIF8", b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
"""How files of the types begin that Sage takes."""
_BLANKS = b' \t\r\n"'


@contextmanager
def downloaded(endpoint: Endpoint, attachment: Attachment) -> Iterator[tuple[IO[bytes], str]]:
    """Fetch a file from Sage; give it, at its beginning, and its SHA-256.

    Raises:
        FatalAPIError: Sage refused for good, or sent no such file in any attempt.
        SkippableAPIError: rights or edition do not offer it, or there is no file.
        FileStoreError: the temporary directory has no room.
    """
    with SpooledTemporaryFile(IN_MEMORY) as sent, SpooledTemporaryFile(IN_MEMORY) as decoded:
        try:
            is_text = endpoint.file_of(
                attachment.key, sent, lambda response: _is_base64(response, sent, attachment), MAX_ATTEMPTS
            )
            file: IO[bytes] = sent
            if is_text:
                _decode(sent, decoded)
                file = decoded
            digest = _digest(file)
        except OSError as error:
            raise FileStoreError(f"no room in {gettempdir()} ({error.strerror}): free some, or set TMPDIR") from error
        yield file, digest


def _is_base64(response: Response, file: IO[bytes], attachment: Attachment) -> bool:
    """Look at what Sage sent; return whether it is the file as text in base64 (records.file_content).

    Raises:
        UnreadableResponseError: it is no file, or not this one.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    size = file.seek(0, os.SEEK_END)
    if kind in _PAGES and kind != attachment.mime_type and size != attachment.size:  # invoices may be XML, too
        raise UnreadableResponseError(f"{response.label}: the response is no file but {printable(kind)}.")
    if attachment.size is None:
        if not _is_framed(response):
            raise UnreadableResponseError(f"{response.label}: nothing says how large the file is ({size} bytes came).")
        return _begins_in_base64(response.body) and _decoded_size(file) is not None
    if size == attachment.size:  # (records.file_size)
        return False
    if size > attachment.size and _decoded_size(file) == attachment.size:
        return True
    raise UnreadableResponseError(f"{response.label}: {size} bytes came, and the file has {attachment.size}.")


def _is_framed(response: Response) -> bool:
    """Return whether a response that is cut off would have been noticed."""
    headers = response.headers
    return bool({"content-length", "transfer-encoding", "content-encoding"} & {name.lower() for name in headers})


def _begins_in_base64(beginning: bytes) -> bool:
    """Return whether a beginning is that of a known type, in base64."""
    try:
        return binascii.a2b_base64(beginning.translate(None, _BLANKS)[:8]).startswith(_BEGINNINGS)
    except binascii.Error:
        return False


def _decoded_size(file: IO[bytes]) -> int | None:
    """Return the size of what a file holds in base64; None where it holds something else."""
    try:
        return sum(map(len, _from_base64(file)))
    except binascii.Error:
        return None


def _decode(source: IO[bytes], target: IO[bytes]) -> None:
    for piece in _from_base64(source):
        target.write(piece)


def _from_base64(file: IO[bytes]) -> Iterator[bytes]:
    """Decode a file, from its beginning.

    Raises:
        binascii.Error: it is not in base64.
    """
    file.seek(0)
    rest = b""
    while piece := file.read(_CHUNK):
        rest += piece.translate(None, _BLANKS)
        whole = len(rest) - len(rest) % 4
        yield binascii.a2b_base64(rest[:whole], strict_mode=True) if whole else b""
        rest = rest[whole:]
    if rest:
        raise binascii.Error("cut off")


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    found = sha256()
    while piece := file.read(_CHUNK):
        found.update(piece)
    file.seek(0)
    return found.hexdigest()
