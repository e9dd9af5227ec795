"""A real PostgreSQL server for the tests that need one."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sage_demo.postgres import Postgres, make_scratch
from sage_demo.supervision import supervised

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server of the test's own; give its URL."""
    with place_for_postgres() as directory, running(directory) as server:
        yield server.sqlalchemy_url


@contextmanager
def running(directory: Path) -> Iterator[Postgres]:
    """Start a server whose data are in a directory."""
    with (
        supervised(scratch := make_scratch(), follow_parent=False) as environment,
        Postgres(directory, environment).running(scratch) as server,
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
