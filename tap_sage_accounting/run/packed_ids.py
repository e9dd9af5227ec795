"""Ids in the state: packed, with a check of their own, so that damage is noticed without unpacking them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

ID_BYTES = 16
LARGEST = 64 << 20
"""Bytes that packed ids may unpack to; more is no list of ids."""
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_HEX, _TEXT = "x", "t"


def pack(keys: Collection[str]) -> str:
    """Pack ids into text for the state; 32 hexadecimal digits become about 19 characters.

    Returns:
        Eight digits that check the rest, a colon, the kind of the ids, and what is left of them.
    """
    ids = sorted(keys)
    kind, content = (_HEX, _columns(ids)) if all(map(_HEX_ID.fullmatch, ids)) else (_TEXT, json.dumps(ids).encode())
    body = kind + base64.b85encode(zlib.compress(content)).decode()
    return f"{zlib.crc32(body.encode()):08x}:{body}"


def unpack(packed: str) -> set[str]:
    """Unpack what `pack` made, here or in earlier versions.

    Raises:
        ValueError: it is damaged.
    """
    body = check(packed)
    if body is packed:
        text = _inflate(packed).decode()
        return set(text.split("\n")) if text else set()
    content = _inflate(body[1:])
    return set(_rows(content) if body[0] == _HEX else json.loads(content))


def check(packed: str) -> str:
    """Find out whether packed ids are whole; earlier versions had no check, so that theirs are unpacked for it.

    Returns:
        What follows the check.

    Raises:
        ValueError: they are damaged.
    """
    digits, colon, body = packed.partition(":")
    if not colon:
        _inflate(packed).decode()
        return packed
    if not body or f"{zlib.crc32(body.encode()):08x}" != digits:
        raise ValueError("another check")
    return body


def _columns(ids: list[str]) -> bytes:
    """Put the first bytes of all ids first, then the second ones, and so on: sorted ids compress better so."""
    rows = bytes.fromhex("".join(ids))
    return b"".join(rows[column::ID_BYTES] for column in range(ID_BYTES))


def _rows(content: bytes) -> list[str]:
    count = len(content) // ID_BYTES
    rows = bytearray(count * ID_BYTES)
    for column in range(ID_BYTES):
        rows[column::ID_BYTES] = content[column * count : (column + 1) * count]
    return rows.hex(" ", ID_BYTES).split()


def _inflate(text: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(base64.b85decode(text), LARGEST)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(str(error)) from None
    if not inflater.eof:
        raise ValueError("cut off or too long")
    return content
