"""Files that only this user may read: the store's database and what stands beside it.

A path may be a link, and a directory may let others put files there. What is not certainly this user's own is refused,
and no other user's file or directory is changed.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIDECARS = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps beside a database; tokens pass through them too."""
PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
_OTHERS = 0o077


class UnsafeFileError(OSError):
    """A file that may not be this user's own; the message says why."""


def prepare_database(file: Path) -> None:
    """Create SQLite's file before SQLite does, so that no other user can ever read it, or check the existing one.

    Raises:
        OSError: it cannot be created or written, or it is not certainly this user's own.
    """
    make_directory(file.parent)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE_FILE))
    make_private(file)
    for ending in SIDECARS:
        with suppress(FileNotFoundError):
            make_private(file.with_name(file.name + ending))
    # SQLite itself would fail at the first write only, which is after the token was used.
    for needed in (file, file.parent):
        if not os.access(needed, os.W_OK):
            raise PermissionError(f"{needed} is not writable")


def make_directory(directory: Path) -> None:
    """Create a directory that only this user may enter, unless it exists."""
    if not directory.exists():
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)


def make_private(file: Path) -> None:
    """Make a file of this user unreadable for others.

    It is not opened for that: closing it would release the lock that this process may have on it.

    Raises:
        UnsafeFileError: it is not certainly this user's own file.
    """
    found = file.lstat()
    if problem := problem_with(found):
        raise UnsafeFileError(f"{file} {problem}")
    if stat.S_IMODE(found.st_mode) & _OTHERS:
        file.chmod(PRIVATE_FILE)


def problem_with(found: os.stat_result) -> str | None:
    """Return why a file is not certainly this user's own; None if it is."""
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link: name the file that it leads to"
    if stat.S_ISDIR(found.st_mode):
        return "is a directory: name a file in it"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        return f"belongs to another user (uid {found.st_uid}): give it to this one, or name another file"
    if found.st_nlink > 1:
        return "has several names (hard links), with which SQLite may lose data: name a file that has one"
    return None


def is_open_to_others(directory: Path) -> bool:
    """Check whether others may add or replace files in a directory.

    A group with the user's own number is the user's alone, where groups are created with users.
    """
    found = directory.stat()
    if not hasattr(os, "geteuid"):
        return False
    by_group = found.st_mode & stat.S_IWGRP and found.st_gid != os.geteuid()
    return bool(found.st_mode & stat.S_IWOTH or by_group)


def is_open_to_all(directory: Path) -> bool:
    """Check whether everybody may add files to a directory."""
    return hasattr(os, "geteuid") and bool(directory.stat().st_mode & stat.S_IWOTH)


def is_own(file: Path) -> bool:
    """Check whether a file belongs to this user, or to the one who called `sudo`."""
    if not hasattr(os, "geteuid"):
        return True
    return str(file.stat().st_uid) in (str(os.geteuid()), os.environ.get("SUDO_UID"))
