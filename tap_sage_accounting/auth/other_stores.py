"""Logins in other token stores, which another login of the same user ends.

Which store is used depends on settings, the Meltano project, the working directory and the user. A command that looks
into the wrong one finds no login. So this module looks in the places of stores without a setting. It also looks in
those of a list that `login` keeps among the user's own files.
"""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.auth.address import (
    APPLICATION,
    STORE,
    config_options,
    default_directories,
    digest,
    meltano_of,
    project_of,
    user_directories,
    user_directory,
)
from tap_sage_accounting.auth.database import TABLE
from tap_sage_accounting.auth.files import SIDECARS, make_directory, problem_with
from tap_sage_accounting.timestamps import now, parse_moment, readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_sage_accounting.auth.address import StoreAddress

LIST = "logins.json"
MOST_LISTED = 50
"""Logins in the list; the newest are kept, so that the file stays small."""
LONGEST_LIST = 1 << 16
"""Bytes; a longer file was not written by `login`, which keeps few logins, and is not read."""
MOST_ROWS = 1_000
"""Logins of one application that are looked at in a store."""
LONGEST_LOOK = 2.0
"""Seconds after which a query in another store is given up."""
STEPS_BETWEEN_LOOKS = 10_000
"""Of SQLite's, after each of which the clock is looked at: some tenths of a millisecond."""
LONGEST_ROW = 1 << 20
"""Bytes; those of the tap have a hundredth of it."""
IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY}
"""Errors of a store that another program has locked, or that a writer must repair after one was killed."""
PRIMARY_CODE = 0xFF
"""The part of SQLite's error code that names the kind; the rest says more of it."""
_SCHEME = "sqlite:///"


@dataclass(frozen=True, slots=True)
class OtherLogin:
    """A login in another token store than the one of the settings.

    Attributes:
        place: the store's address as it may be shown.
        renewed_at: when its tokens were last renewed; None where this program cannot read that.
        owner: who may read the store; "" for this user.
    """

    place: str
    renewed_at: datetime | None = None
    owner: str = ""

    def __str__(self) -> str:
        if self.owner:
            return f"A login of this client_id may be in the token store {self.place} of the user {self.owner}."
        if self.renewed_at is None:
            return f"A login of this client_id may be in the token store {self.place}."
        return (
            f"A login of this client_id is in the token store {self.place}, last renewed at "
            f"{readable(self.renewed_at)}."
        )

    def use(self, instead: str = "") -> str:
        """Say how to run this program with this login; `instead`: another program, with the same settings."""
        program, *options = [instead, *config_options()] if instead else sys.argv
        name = Path(program).stem
        if self.owner:
            return f"run this as the user {self.owner}"
        if name != APPLICATION and not name.startswith(f"{APPLICATION}-"):
            return f"set 'token_store' to {self.place}"
        if not self.place.startswith(_SCHEME):
            return "set 'token_store' to the URL of that database"
        if (project := project_of(Path(self.place.removeprefix(_SCHEME)))) is not None:
            return f"run `{_directory(project)}{_by_meltano(project, name, options)}`"
        own = os.environ.get("MELTANO_PROJECT_ROOT")
        command = _by_meltano(Path(own), name, options) if own else shlex.join([name, *_with_variables(options)])
        return f"run `TAP_SAGE_ACCOUNTING_TOKEN_STORE={shlex.quote(self.place)} {command}`"


def other_logins(client_id: str, own: StoreAddress) -> list[OtherLogin]:
    """Return the living logins of an application in other token stores, those that were renewed last first."""
    found = [login for file in _other_files(client_id, own) if (login := _login_in(file, client_id)) is not None]
    found.sort(key=lambda login: (login.renewed_at is not None, login.renewed_at), reverse=True)
    servers = [OtherLogin(place) for place in _listed_of(client_id) if not place.startswith(_SCHEME)]
    return [*found, *(login for login in servers if login.place != own.place)]


def login_begun_with(seed: str, client_id: str, own: StoreAddress) -> OtherLogin | None:
    """Return a living login in another token store that began with a refresh token, by the token's fingerprint."""
    found = (_login_in(file, client_id, seed) for file in _other_files(client_id, own))
    return next((login for login in found if login is not None and login.renewed_at is not None), None)


def _listed_of(client_id: str) -> list[str]:
    return [place for listed_id, place in _listed() if listed_id == digest(client_id)]


def _other_files(client_id: str, own: StoreAddress) -> list[Path]:
    """Return the files that may be other token stores, each once."""
    files = [directory / STORE for directory in default_directories()]
    files += [Path(place.removeprefix(_SCHEME)) for place in _listed_of(client_id) if place.startswith(_SCHEME)]
    resolved = {_resolved(file): file for file in files}
    if own.file is not None:
        resolved.pop(_resolved(own.file), None)
    return list(resolved.values())


def _resolved(file: Path) -> str:
    """Follow links as far as they lead; Python 3.11 and 3.12 raise an error where `Path.resolve` finds a loop."""
    return os.path.realpath(file)


def _login_in(file: Path, client_id: str, seed: str = "") -> OtherLogin | None:
    """Read a store without changing anything; None where it has no living login of the application.

    With a `seed`, only logins count that began with this token and have used it.
    """
    place = f"{_SCHEME}{file}"
    with suppress(OSError, sqlite3.Error, ValueError):
        status = file.stat()
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            return OtherLogin(place, owner=_name_of(status.st_uid))
        if problem_with(file.lstat()) is not None:
            return None
        # A reader makes the files of a write-ahead log, and cannot remove them, unless it knows that nobody writes.
        is_still = not any(file.with_name(file.name + ending).exists() for ending in SIDECARS)
        address = f"{file.absolute().as_uri()}?mode=ro{'&immutable=1' if is_still else ''}"
        try:
            rows = _rows(address, client_id, seed)
        except sqlite3.OperationalError as error:
            return OtherLogin(place) if error.sqlite_errorcode & PRIMARY_CODE in IN_USE else None
        if living := [moment for row in rows if (moment := _renewed_at(*row)) is not None]:
            return OtherLogin(place, max(living))
    return None


def _rows(address: str, client_id: str, seed: str) -> list[tuple[Any, Any]]:
    """Return when the tokens of an application were issued, and how long they live."""
    with closing(sqlite3.connect(address, uri=True, timeout=1)) as connection:
        _set_limits(connection)
        return connection.execute(
            f"SELECT issued_at, refresh_lifetime_seconds FROM {TABLE}"  # noqa: S608 - a constant's name
            " WHERE client_id = ? AND refused_at IS NULL AND issued_at IS NOT NULL"
            f" AND instr(seeds, ?) AND refresh_fingerprint <> ? LIMIT {MOST_ROWS}",
            [client_id, seed, seed],
        ).fetchall()


def _set_limits(connection: sqlite3.Connection) -> None:
    """Let a query end soon: a file that came with somebody's project may hold a view without an end."""
    end = time.monotonic() + LONGEST_LOOK
    connection.set_progress_handler(lambda: time.monotonic() > end, STEPS_BETWEEN_LOOKS)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_ROW)


def _renewed_at(issued_at: Any, lifetime: Any) -> datetime | None:
    """Return when the tokens of a row were renewed; None where they are over, or the row is damaged."""
    with suppress(TypeError, ValueError, OverflowError):
        moment = parse_moment(issued_at)
        if now() - moment < timedelta(seconds=lifetime):
            return moment
    return None


def _name_of(uid: int) -> str:
    import pwd  # noqa: PLC0415 - which Windows lacks

    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _directory(project: Path) -> str:
    """Return `cd` into a project, ready for a command to follow; "" from inside of it."""
    with suppress(OSError):
        if Path.cwd().is_relative_to(project):
            return ""
    return f"cd {shlex.quote(str(project))} && "


def _with_variables(options: list[str]) -> list[str]:
    """Let variables count: beside a file of settings they do not, unless that is said."""
    names_file = any(each.partition("=")[0] == "--config" for each in options)
    return [*options, "--config=ENV"] if names_file and "--config=ENV" not in options else options


def _by_meltano(project: Path, name: str, options: list[str]) -> str:
    """Return the command that does the same through Meltano, whose settings are in no file."""
    meltano = meltano_of(project)
    if name == APPLICATION:
        return f"{meltano} run {APPLICATION} <target>"
    kept = iter(options)
    others = [each for each in kept if not (each == "--config" and next(kept, "")) and not each.startswith("--config=")]
    return shlex.join([*meltano.split(), "invoke", f"{APPLICATION}:{name.removeprefix(f'{APPLICATION}-')}", *others])


# The list


def record_login(client_id: str, own: StoreAddress) -> None:
    """Put a login into the list, if it can be written; stores in their usual places are found without it."""
    entry = (digest(client_id), own.place)
    _write([entry, *(each for each in _listed() if each != entry)])


def forget_login(client_id: str, own: StoreAddress) -> None:
    """Take a login out of the list."""
    entry, listed = (digest(client_id), own.place), list(_listed())
    if entry in listed:
        _write([each for each in listed if each != entry])


def _listed() -> Iterator[tuple[str, str]]:
    """Yield the digest of the client id and the store's address of each login in the list."""
    for directory in user_directories():  # none in a project: it may be somebody else's
        with suppress(OSError, ValueError, RecursionError):
            file = directory / LIST
            if problem_with(file.lstat()) is None and file.stat().st_size < LONGEST_LIST:
                entries = json.loads(file.read_bytes())
                for entry in entries if isinstance(entries, list) else ():
                    match entry:
                        case {"client": str(client), "place": str(place)} if place.isprintable():
                            yield client, place


def _write(entries: list[tuple[str, str]]) -> None:
    content = [{"client": client, "place": place} for client, place in entries[:MOST_LISTED]]
    for directory in _own_directory():
        with suppress(OSError):
            make_directory(directory)
            with tempfile.NamedTemporaryFile("w", dir=directory, delete=False, encoding="utf-8") as file:
                json.dump(content, file, indent=1)
            os.replace(file.name, directory / LIST)  # noqa: PTH105 - in the place of another


def _own_directory() -> list[Path]:
    """Return where this user's list is; nothing where they have no home."""
    with suppress(RuntimeError):
        return [user_directory().expanduser()]
    return []
