"""A real PostgreSQL server for the tests that need one."""

from __future__ import annotations

import atexit
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from sage_demo.postgres import Postgres, make_scratch
from sage_demo.supervision import supervised

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextmanager
def postgres_server(options: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start a server of the test's own, with settings that differ from those of the demonstration; give its URL."""
    with place_for_postgres() as directory:
        put_new_database(directory)
        with running(directory, options) as server:
            yield server.sqlalchemy_url


@contextmanager
def running(directory: Path, options: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """Start a server whose data are in a directory."""
    with (
        supervised(scratch := make_scratch(), follow_parent=False) as environment,
        Postgres(directory, environment, options).running(scratch) as server,
    ):
        yield server


@contextmanager
def place_for_postgres() -> Iterator[Path]:
    """Give a directory that root's server, which runs as somebody else, may pass to.

    Below `tmp_path` it may not: pytest closes its directories to other users whenever a session begins.
    """
    directory = make_scratch()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def put_new_database(directory: Path) -> None:
    """Put a database into a directory that no server has run in; a copy takes a sixth of `initdb`'s time."""
    subprocess.run(["cp", "-a", _new_database() / "pgdata", directory], check=True)  # owners included


@cache
def _new_database() -> Path:
    directory = make_scratch()
    atexit.register(shutil.rmtree, directory)
    with running(directory):
        pass
    return directory
