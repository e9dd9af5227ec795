"""One simulated Sage loaded into one Postgres, run after run, as an orchestrator does it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from sage_workbench import ready_programs
from sage_workbench.pipeline import PROGRAMS, TIMEOUT, catalog_of, pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from sage_sandbox.server import SandboxServer

    Record = dict[str, Any]


class Loading:
    """Runs of the tap into a schema of a database, each from the state that the target confirmed last.

    Args:
        server: the simulated Sage.
        url: the database.
        directory: where configurations, catalogs and logs are written.
        schema: the schema of the database that holds the tables.

    Attributes:
        state: what the target confirmed last.
    """

    def __init__(self, server: SandboxServer, url: str, directory: Path, schema: str) -> None:
        self.state: Record = {}
        self._server = server
        self._url = url
        self._directory = directory
        self._schema = schema

    def run(self, streams: Collection[str], change: Callable[[Record], None] = lambda _: None, **settings: Any) -> None:
        """Load some streams; both programs must end well.

        Args:
            streams: what to select.
            change: changes the catalog before it is used.
            settings: the tap's settings, besides those that lead it to the simulated Sage.
        """
        tap = self.command(streams, change, **settings)
        target = {"sqlalchemy_url": self._url, "default_target_schema": self._schema}
        states = pipe(tap, [PROGRAMS / "target-postgres", f"--config={self._write('target', target)}"], self._directory)
        self.state = json.loads(states.splitlines()[-1])

    def command(
        self, streams: Collection[str], change: Callable[[Record], None] = lambda _: None, **settings: Any
    ) -> list[str | Path]:
        """Write down what the tap needs, and give the command line that runs it."""
        tokens = f"sqlite:///{self._directory / 'tokens.sqlite'}"
        config = self._server.tap_config(token_store=tokens, deletion_sweep_days=0)
        catalog = catalog_of(config, streams)
        change(catalog)
        files = {"config": config | settings, "catalog": catalog} | ({"state": self.state} if self.state else {})
        options = [f"--{name}={self._write(name, content)}" for name, content in files.items()]
        return [PROGRAMS / "tap-sage-accounting", *options]

    def refused(
        self, streams: Collection[str], change: Callable[[Record], None] = lambda _: None, **settings: Any
    ) -> str:
        """Run the tap alone, see that it fails without a request or a message, and give what it says."""
        command = self.command(streams, change, **settings)
        self._server.requests.clear()
        done = ready_programs.run(command, TIMEOUT)
        assert done.returncode == 1, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr, done.stderr
        assert list(self._server.requests) == []
        return done.stderr

    @property
    def log(self) -> str:
        """What the tap logged in its last run."""
        return (self._directory / "tap.log").read_text()

    def ask(self, query: str) -> list[Record]:
        with psycopg.connect(self._url.replace("+psycopg", ""), row_factory=dict_row) as connection:
            connection.execute(f"set search_path to {self._schema}")
            return connection.execute(query).fetchall()

    def rows(self, table: str) -> dict[tuple[str, str], Record]:
        """The rows of a table, by their business and id."""
        return {(row["business_id"], row["id"]): row for row in self.ask(f'select * from "{table}"')}

    def _write(self, name: str, content: Record) -> Path:
        path = self._directory / f"{name}.json"
        path.write_text(json.dumps(content))
        return path
