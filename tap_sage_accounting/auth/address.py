"""The address of the token store: its URL, and the default."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs

from tap_sage_accounting.auth.files import is_open_to_all, is_own
from tap_sage_accounting.exceptions import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APPLICATION = "tap-sage-accounting"
STORE = "tokens.sqlite"
_BELOW_HOME = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
_URL = re.compile(r"(\w+)(?:\+(\w+))?://(.*)")
_HINT = "Write it like sqlite:////var/lib/sage/tokens.sqlite or postgresql://user:password@host/database."


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """An SQLite file on this machine, or a PostgreSQL database.

    Attributes:
        place: the address as it may be shown.
        file: the file; None for PostgreSQL.
        options: libpq's connection parameters; empty for SQLite.
    """

    place: str
    file: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> StoreAddress:
        """Read a store URL.

        Raises:
            TokenStoreError: it names no database that can keep tokens, or the driver is not installed.
        """
        parts = _URL.fullmatch(url)
        if parts is None or not url.isprintable():
            raise TokenStoreError(f"Setting 'token_store' is no database URL. {_HINT}")
        backend, driver, rest = parts.groups()
        if backend == "sqlite":
            return cls._of_file(rest)
        if backend not in ("postgresql", "postgres"):
            raise TokenStoreError(f"Setting 'token_store' must name SQLite or PostgreSQL, not {backend!r}. {_HINT}")
        if driver not in (None, "psycopg") or not _is_installed():
            raise TokenStoreError(
                f"Setting 'token_store' needs a database driver that is not installed ({driver or 'psycopg'}): "
                f"install tap-sage-accounting[postgres]. {_HINT}"
            )
        try:
            return cls._of_server(url.removesuffix(rest), rest)
        except ValueError:
            raise TokenStoreError(f"Setting 'token_store' is no database URL. {_HINT}") from None

    @classmethod
    def _of_file(cls, rest: str) -> StoreAddress:
        name = rest.partition("?")[0].removeprefix("/")
        if not rest.startswith("/") or name in ("", ":memory:"):
            raise TokenStoreError(f"Setting 'token_store' names no file, so nothing would outlive the run. {_HINT}")
        try:
            file = Path(name).expanduser().absolute()
        except RuntimeError:
            raise TokenStoreError(f"Setting 'token_store' begins with the home of an unknown user. {_HINT}") from None
        return cls(f"sqlite:///{file}", file)

    @classmethod
    def _of_server(cls, scheme: str, rest: str) -> StoreAddress:
        """Read `user:password@host:port/database?options`; a password may contain anything but `@`.

        Raises:
            ValueError: it has another form.
        """
        head, _, tail = rest.partition(":")
        if "/" not in head and "@" in tail:
            user, (password, _, location) = head, tail.partition("@")
        else:
            user, password = rest.partition("/")[0].rpartition("@")[0], ""
            location = rest.removeprefix(f"{user}@")
        address = urlsplit(f"//{location}", allow_fragments=False)
        if "@" in address.netloc:
            raise ValueError(location)
        host = address.netloc.removesuffix(f":{address.port or ''}").strip("[]")
        given = {"user": user, "password": password, "host": host, "port": address.port, "dbname": address.path[1:]}
        options = {name: unquote(str(value)) for name, value in given.items() if value}
        login = user and f"{user}{':***' if password else ''}@"
        return cls(f"{scheme}{login}{address.netloc}{address.path}", options=options | dict(parse_qsl(address.query)))

    def places_beside(self, kind: str, *family: str) -> list[Path]:
        """Return where a file of a token family can be, the best place first.

        That is beside an SQLite store, and among the tap's own files where this user has a home.
        """
        ending = f"{kind}-{digest(*family)}"
        beside = [] if self.file is None else [self.file.with_name(f"{self.file.name}.{ending}")]
        try:
            own = default_directory().expanduser()
        except RuntimeError:  # this user has no home
            return beside
        if self.file is not None and self.file.parent == own:
            return beside
        return [*beside, own / f"{digest(self.place)}.{ending}"]


def default_store_url() -> str:
    """Return where tokens live unless a setting says otherwise."""
    return f"sqlite:///{default_directory() / STORE}"


def default_directory() -> Path:
    """Return the directory for the tap's own files: with the Meltano project, or else with the user."""
    if system_directory := os.environ.get("MELTANO_SYS_DIR_ROOT"):
        return Path(system_directory) / APPLICATION
    if project := os.environ.get("MELTANO_PROJECT_ROOT"):
        return Path(project) / ".meltano" / APPLICATION
    return user_directory()


def default_directories() -> list[Path]:
    """Return where the tap's own files may be, however it is started; the current directory for them is the first.

    These are Meltano projects around the working directory, and directories of the user.
    """
    projects = [project / ".meltano" / APPLICATION for project in _projects()]
    return [*dict.fromkeys([default_directory(), *projects, *user_directories()])]


def user_directories() -> list[Path]:
    """Return where the tap's own files with the user may be: where the environment says, and in the usual place.

    After `sudo`, the directory of the user who called it is among them.
    """
    places: list[Path] = []
    with suppress(RuntimeError):  # this user has no home
        places += [user_directory().expanduser(), Path.home() / _BELOW_HOME / APPLICATION]
    with suppress(RuntimeError, KeyError):
        places.append(Path(f"~{os.environ['SUDO_USER']}").expanduser() / _BELOW_HOME / APPLICATION)
    return [*dict.fromkeys(places)]


def user_directory() -> Path:
    """Return the directory for the tap's own files with the user."""
    return platformdirs.user_data_path(APPLICATION, appauthor=False)


def project_of(file: Path) -> Path | None:
    """Return the Meltano project whose default token store a file is; None where it is no such store."""
    directory = file.parent
    project = directory.parent.parent
    is_default = (directory.parent.name, directory.name, file.name) == (".meltano", APPLICATION, STORE)
    return project if is_default and _is_project(project) else None


def _projects() -> Iterator[Path]:
    with suppress(OSError):  # the working directory is gone
        here = Path.cwd()
        yield from (each for each in (here, *here.parents) if _is_project(each))


def _is_project(directory: Path) -> bool:
    """Return whether a directory is a Meltano project, and none that anybody may have put there, as into /tmp.

    Meltano runs what a project says, so that no command in such a one may be named.
    """
    file = directory / "meltano.yml"
    return file.is_file() and (is_own(file) or not is_open_to_all(directory))


def login_command() -> str:
    """Return the command that logs in to the token store of this process: Meltano's and the user's are two.

    Settings of the environment may be those of a Meltano project around the working directory, whose runs go through
    Meltano: its store is named then.
    """
    meltano = _own_meltano()
    if not meltano and not config_options():
        meltano = next((meltano_of(project) for project in _projects() if _has_tap(project)), "")
    return f"`{meltano} invoke {APPLICATION}:login`" if meltano else f"`{_with_settings(f'{APPLICATION}-login')}`"


def run_command() -> str:
    """Return the command that loads with the tokens of this process's store."""
    meltano = _own_meltano()
    return f"{meltano} run {APPLICATION} <target>" if meltano else f"{_with_settings(APPLICATION)} | <target>"


def config_options() -> list[str]:
    """Return the options of this command line that name files of settings; none where the environment has them."""
    program, *options = sys.argv
    if not f"{Path(program).stem}-".startswith(f"{APPLICATION}-"):
        return []
    files: list[str] = []
    for option, following in zip_longest(options, options[1:], fillvalue=""):
        if option == "--config" and following:
            files += [option, following]
        elif option.startswith("--config="):
            files.append(option)
    return files if any(each.removeprefix("--config=") not in ("--config", "ENV") for each in files) else []


def _with_settings(program: str) -> str:
    return shlex.join([program, *config_options()])


def _has_tap(project: Path) -> bool:
    with suppress(OSError):
        return APPLICATION.encode() in (project / "meltano.yml").read_bytes()
    return False


def _own_meltano() -> str:
    project = os.environ.get("MELTANO_PROJECT_ROOT")
    return meltano_of(Path(project)) if project else ""


def meltano_of(project: Path) -> str:
    """Return how Meltano is started in a project: a project's own environment may have the only one."""
    return "uv run meltano" if (project / ".venv").is_dir() else "meltano"


def digest(*parts: str) -> str:
    """Return the digest that stands for texts in names of files and in lists."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _is_installed() -> bool:
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra, which few need
    except ImportError:
        return False
    return True
