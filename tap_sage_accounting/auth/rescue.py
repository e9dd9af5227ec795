"""The rescue file: new tokens that the store did not take, in a file of this user's until it does.

The file stands beside an SQLite store, or, for PostgreSQL, among the tap's own files on this machine. Its room is
reserved before a token is used, so that it can be filled on a full disk. It is encrypted as the store is.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.auth.files import PRIVATE_FILE, UnsafeFileError, make_directory, problem_with
from tap_sage_accounting.auth.rows import family_of, row_of

if TYPE_CHECKING:
    from pathlib import Path

    from tap_sage_accounting.auth.address import StoreAddress
    from tap_sage_accounting.auth.rows import TokenCipher
    from tap_sage_accounting.auth.tokens import TokenFamily

ROOM = 16_384
"""Bytes reserved: twice what the largest tokens take, encrypted."""
LONGEST_CONTENT = 1 << 20
"""Bytes; a larger file is not a rescue file."""
_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewed:
    """A token family after a renewal, and fingerprints of refresh tokens that are known to be spent."""

    spent: frozenset[str]
    family: TokenFamily


class RescueFile:
    """The file that keeps the newest tokens of one family, identified by its key, while the store cannot."""

    def __init__(self, address: StoreAddress, client_id: str, key: str, cipher: TokenCipher) -> None:
        self._client_id = client_id
        self._key = key
        self._cipher = cipher
        self._paths = address.places_beside("rescue", client_id, key)

    def reserve(self) -> None:
        """Reserve the room of the file; where that is impossible, go on: only a store that fails needs it."""
        try:
            self._write(b"")
        except OSError as error:
            logger.debug("No room could be reserved for new tokens: %s", error)

    def keep(self, renewed: Renewed) -> Path:
        """Write the newest tokens, and return the file.

        Raises:
            OSError: that is impossible.
        """
        row = row_of(renewed.family, self._cipher)
        content = json.dumps({"row": row, "spent": sorted(renewed.spent)}, default=datetime.isoformat)
        return self._write(content.encode())

    def successor(self, spent: str) -> TokenFamily | None:
        """Read the successor of the refresh token with a fingerprint; a file of other tokens is ignored.

        Raises:
            TokenStoreError: the successor was encrypted with a key that is not configured.
        """
        return next((found for path in self._paths if (found := self._read(path, spent)) is not None), None)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        for path in self._paths:
            with suppress(OSError):
                path.unlink()

    def _read(self, path: Path, spent: str) -> TokenFamily | None:
        try:
            with _opened(path, os.O_RDONLY) as file:
                content = file.read(LONGEST_CONTENT).strip()
            if not content:
                return None
            found: dict[str, Any] = json.loads(content)
            if spent not in found["spent"]:
                return None
            row = {n: datetime.fromisoformat(v) if v and n.endswith("_at") else v for n, v in found["row"].items()}
            family = family_of(row, self._cipher)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logger.warning("The file %s, which may keep tokens, cannot be used: %s", path, error)
            return None
        return family if (family.client_id, family.key) == (self._client_id, self._key) else None

    def _write(self, content: bytes) -> Path:
        """Write to the first place where that works."""
        problem: OSError = FileNotFoundError("there is no place for it")
        for path in self._paths:
            try:
                make_directory(path.parent)
                with _opened(path, os.O_RDWR | os.O_CREAT) as file:
                    # In place: what is overwritten needs no new room.
                    file.write(content.ljust(ROOM))
                    file.truncate()
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                problem = error
            else:
                return path
        raise problem


def _opened(path: Path, flags: int) -> Any:
    """Open a file that must be this user's own, and make it unreadable for others.

    Raises:
        OSError: it is not this user's, or cannot be opened.
    """
    descriptor = os.open(path, flags | _OPEN_FLAGS, PRIVATE_FILE)
    try:
        found = os.fstat(descriptor)
        if problem := problem_with(found):
            raise UnsafeFileError(f"it {problem}")
        if found.st_mode & 0o077 and hasattr(os, "fchmod"):
            os.fchmod(descriptor, PRIVATE_FILE)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "rb")
