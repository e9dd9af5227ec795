"""Where files are stored: a directory or a bucket, which fsspec reaches.

Each file has a directory of its own. Its name holds the version of the record and the SHA-256 of the content. So a look
at the directory shows whether it is there, and no name ever stands for something else. It gets its name when all of it
is there: on a disk it is written in another directory and moved; object stores show none before its end.

fsspec and what reaches a bucket are imported when a run stores files.
"""

from __future__ import annotations

import logging
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from shutil import copyfileobj
from tempfile import mkstemp
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tap_sage_accounting.exceptions import FileStoreError
from tap_sage_accounting.files.attachment import digest_in
from tap_sage_accounting.printable import printable
from tap_sage_accounting.transport.faults import root_cause

Done = TypeVar("Done")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_sage_accounting.files.attachment import Attachment

PACKAGES = {
    "file": "fsspec",
    "memory": "fsspec",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
"""Protocols of addresses, and the package that each needs."""
LOGGERS = ("adlfs", "aiobotocore", "azure", "botocore", "fsspec", "gcsfs", "google", "s3fs")
"""Loggers of these packages, which log requests with their credentials where they log details."""
PARTS_LIVE = 3600.0
"""Seconds after which a part of a file is what a run left that was killed."""
PARTS = ".parts"
"""The directory, on a disk, for files that are being written."""
_PART = re.compile(r"[0-9a-f]{16}")
_CHUNK = 1 << 20


def problems(url: str) -> list[str]:
    """Return what is wrong with the setting `attachments_url`."""
    example = "Write it like file:///data/files or s3://bucket/files."
    try:
        address = urlsplit(url)
        has_login = "@" in address.netloc and PACKAGES.get(address.scheme) != "adlfs"
    except ValueError:
        return [f"Setting 'attachments_url' is no address. {example}"]
    if not url.isprintable() or "::" in url or address.scheme not in PACKAGES:
        return [f"Setting 'attachments_url' must begin with {', '.join(f'{each}://' for each in PACKAGES)}. {example}"]
    if has_login or ":" in address.netloc or address.query or address.fragment:
        return ["Setting 'attachments_url' must hold no login and no options: those come from the environment."]
    is_bucket = PACKAGES[address.scheme] != "fsspec"
    if bool(address.netloc) != is_bucket or not (is_bucket or address.path.strip("/")):
        return [f"Setting 'attachments_url' names no place. {example}"]
    return _missing_package(address.scheme)


def _missing_package(protocol: str) -> list[str]:
    import fsspec  # type: ignore[import-untyped] # noqa: PLC0415

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        package = PACKAGES[protocol]
        return [f"Setting 'attachments_url' needs the package '{package}' for {protocol}://: pip install {package}."]
    return []


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that is stored.

    Attributes:
        url: its address.
        sha256: of its content, in hexadecimal digits.
        size: bytes.
    """

    url: str
    sha256: str
    size: int


class FileStore:
    """The place for the files of all businesses; safe to use from any thread.

    Args:
        url: its address, without problems.

    Attributes:
        fingerprint: eight digits that stand for the place.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.fingerprint = sha256(url.rstrip("/").encode()).hexdigest()[:8]

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system and the directory in it; made by the first thread that needs it."""
        import fsspec  # noqa: PLC0415

        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        file_system, root = fsspec.core.url_to_fs(self._url)
        if _is_disk(file_system):
            _remove_old(Path(root, PARTS))
        return file_system, str(root).rstrip("/")

    def find(self, attachment: Attachment) -> StoredFile | None:
        """Return a file that is stored in this version; of a deleted record, the last one that was.

        Raises:
            FileStoreError: nobody can look there.
        """
        return self._try("be looked for", lambda: self._find(attachment))

    def save(self, attachment: Attachment, file: IO[bytes], digest: str) -> StoredFile:
        """Store a file, whole or not at all.

        Raises:
            FileStoreError: it could not be stored.
        """
        return self._try("be stored", lambda: self._save(attachment, file, digest))

    @staticmethod
    def _try(what: str, work: Callable[[], Done]) -> Done:
        try:
            return work()
        except Exception as error:  # each of the packages has errors of its own
            # Its own reason first: what it follows may be a look for the directory that cannot be made.
            cause = printable(error.strerror or root_cause(error)) if isinstance(error, OSError) else ""
            raise FileStoreError(f"it cannot {what} ({cause or printable(type(error).__name__)})") from error

    def _find(self, attachment: Attachment) -> StoredFile | None:
        version = None if attachment.is_deleted else attachment.version
        found = [
            (name, StoredFile(url, digest, size))
            for name, url, size in self._listed(attachment)
            if (digest := digest_in(name, version)) and attachment.size in (None, size)
        ]
        return max(found, key=lambda each: each[0])[1] if found else None

    def _listed(self, attachment: Attachment) -> Iterator[tuple[str, str, int]]:
        """Yield the names, addresses and sizes of the files in the directory of an attachment."""
        file_system, root = self._place
        directory = f"{root}/{attachment.directory}"
        file_system.invalidate_cache(directory)
        try:
            entries = file_system.ls(directory, detail=True)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry["type"] == "file":
                name = str(entry["name"]).replace("\\", "/").rpartition("/")[2]
                yield name, file_system.unstrip_protocol(entry["name"]), int(entry["size"])

    def _save(self, attachment: Attachment, file: IO[bytes], digest: str) -> StoredFile:
        file_system, root = self._place
        path = f"{root}/{attachment.directory}/{attachment.name(digest)}"
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if _is_disk(file_system):
            _write(file, Path(root, PARTS, token_hex(8)), Path(path))
        else:
            _upload(file, file_system, path)
        file_system.invalidate_cache(path)
        if (stored := file_system.info(path)["size"]) != size:
            raise OSError(f"{stored} of {size} bytes arrived")
        return StoredFile(file_system.unstrip_protocol(path), digest, size)


def _is_disk(file_system: Any) -> bool:
    return "file" in file_system.protocol


def _remove_old(parts: Path) -> None:
    """Remove what killed runs left; leave alone what another run may be writing, and what is none of the tap's."""
    found = [] if parts.is_symlink() or not parts.is_dir() else parts.iterdir()
    for part in found:
        with suppress(OSError):
            if _PART.fullmatch(part.name) and part.lstat().st_mtime < time.time() - PARTS_LIVE:
                part.unlink()


def _write(file: IO[bytes], part: Path, path: Path) -> None:
    """Write a file of this machine, and give it its name when the disk has all of it."""
    for each in (part, path):
        each.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("xb") as target:
            copyfileobj(file, target, _CHUNK)
            target.flush()
            os.fsync(target.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _upload(file: IO[bytes], file_system: Any, path: str) -> None:
    """Put a file into an object store, which shows it when all of it is there."""
    number, name = mkstemp(prefix="tap-sage-accounting-")
    try:
        with open(number, "wb") as source:  # noqa: PTH123 - it is open already
            copyfileobj(file, source, _CHUNK)
        try:
            file_system.put_file(name, path)
        except FileExistsError:  # of another size, or it would have been found
            file_system.rm_file(path)
            file_system.put_file(name, path)
    finally:
        Path(name).unlink()
