"""The body of a response, decompressed within bounds."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tap_sage_accounting.transport import adapter
from tap_sage_accounting.transport.adapter import ResponseTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    from requests import Response

ACCEPTED = "gzip"
"""The value of `Accept-Encoding` (requests.compression).

It is decompressed here, so that the size is bounded with any version of urllib3.
"""
CHUNK_BYTES = 1 << 20
"""Bytes that are taken from the connection at once."""
MOST_MEMBERS = 1000
"""Compressed members of one body; one is usual."""
BEGINNING = 64
"""Bytes of a file that show what it is."""
_GZIP = 16 + zlib.MAX_WBITS


class UndecodableResponseError(OSError):
    """A body is compressed in a way that the request did not accept, or is damaged or cut off."""


def read_body(response: Response) -> bytes:
    """Read the body of a streamed response; afterwards, its connection is free for another request, or closed.

    Raises:
        ResponseTooLargeError: it inflates to more than `LARGEST_RESPONSE`.
        UndecodableResponseError: it cannot be decompressed.
        urllib3.exceptions.HTTPError: the connection broke, or the time is up.
    """
    try:
        return b"".join(_pieces(response))
    finally:
        response.close()


def read_file(response: Response, file: IO[bytes]) -> bytes:
    """Read the body of a streamed response into a file, in the place of what that holds; return its beginning.

    Raises:
        OSError: as `read_body`, or the file cannot be written.
        urllib3.exceptions.HTTPError: the connection broke, or the time is up.
    """
    beginning = b""
    file.seek(0)
    file.truncate()
    try:
        for piece in _pieces(response):
            beginning += piece[: BEGINNING - len(beginning)]
            file.write(piece)
    finally:
        response.close()
    return beginning


def _pieces(response: Response) -> Iterable[bytes]:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    pieces: Iterable[bytes] = response.raw.stream(CHUNK_BYTES, decode_content=False)
    if encoding in ("", "identity"):
        return pieces
    if encoding not in ("gzip", "x-gzip"):
        raise UndecodableResponseError
    return _inflate(pieces)


def _inflate(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress a body of one or more members; what follows them is padding."""
    room = adapter.LARGEST_RESPONSE
    members, begun = 0, False
    member = zlib.decompressobj(_GZIP)
    for piece in pieces:
        rest = piece
        while rest:
            try:
                part = member.decompress(rest, room + 1)
            except zlib.error:
                if members and not begun:
                    return
                raise UndecodableResponseError from None
            room -= len(part)
            if room < 0:
                raise ResponseTooLargeError
            yield part
            rest, begun = member.unused_data, not member.eof
            if member.eof:
                members += 1
                if members > MOST_MEMBERS:
                    raise UndecodableResponseError
                member = zlib.decompressobj(_GZIP)
    if begun or not members:
        raise UndecodableResponseError
