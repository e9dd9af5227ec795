"""Versions of records are kept as docs/recipes/history.md says: with a snapshot of dbt, deletions among them."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import yaml

from sage_workbench.dbt_process import TRANSFORM
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.pipeline import PROGRAMS, Command, catalog_of, pipe
from support.pages import block_with

if TYPE_CHECKING:
    from pathlib import Path

    from sage_sandbox.server import SandboxServer

PAGE = "docs/recipes/history.md"
SNAPSHOT = block_with(PAGE, "snapshots:").text
QUERY = block_with(PAGE, "dbt_valid_from").text
COMMAND = block_with(PAGE, "dbt snapshot").text


class Warehouse:
    """A Postgres that one stream is loaded into, and a dbt project that has the finance models."""

    def __init__(self, server: SandboxServer, url: str, directory: Path) -> None:
        self._directory = directory
        self._conninfo = url.replace("+psycopg", "")
        config = server.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}")
        files = {
            "config.json": config,
            "catalog.json": catalog_of(config, {"sales_invoices"}),
            "target.json": {"sqlalchemy_url": url, "default_target_schema": "sage"},
            "state.json": {},
            "dbt/packages.yml": {"packages": [{"local": str(TRANSFORM)}]},
            "dbt/dbt_project.yml": {"name": "own", "version": "1.0.0", "profile": "sage"},
            "dbt/snapshots/history.yml": yaml.safe_load(SNAPSHOT),
        }
        for name, content in files.items():
            (path := directory / name).parent.mkdir(exist_ok=True, parents=True)
            path.write_text(json.dumps(content))
        parts = urlsplit(self._conninfo)
        self._environment = {
            "HOME": str(directory),
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
            "DBT_PROFILES_DIR": str(TRANSFORM),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_POSTGRES_HOST": parse_qs(parts.query)["host"][0],
            "DBT_POSTGRES_USER": parts.netloc.removesuffix("@"),
            "DBT_POSTGRES_DATABASE": parts.path[1:],
        }
        self.dbt("dbt deps")

    def dbt(self, command: str) -> None:
        done = subprocess.run(
            command.split(),
            cwd=self._directory / "dbt",
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]

    def load(self) -> None:
        options = (f"--{name}={self._directory / name}.json" for name in ("config", "catalog", "state"))
        target: Command = [PROGRAMS / "target-postgres", f"--config={self._directory / 'target.json'}"]
        tap: Command = [PROGRAMS / "tap-sage-accounting", *options]
        states = pipe(tap, target, self._directory)
        (self._directory / "state.json").write_text(states.splitlines()[-1])

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._conninfo) as connection:
            return connection.execute(query).fetchall()


@pytest.mark.postgres
@pytest.mark.slow
def test_a_snapshot_keeps_what_changed_and_what_was_deleted(server: SandboxServer, tmp_path: Path) -> None:
    invoices = next(iter(server.world.businesses.values())).collections["sales_invoices"]
    total = sum(len(each.collections["sales_invoices"].rows) for each in server.world.businesses.values())
    changed, deleted = list(invoices.rows)[:2]
    with postgres_server() as url:
        warehouse = Warehouse(server, url, tmp_path)
        warehouse.load()
        warehouse.dbt(COMMAND)
        [(first,)] = warehouse.ask("select now() at time zone 'utc'")
        with server.paused() as world:
            world.clock.advance(timedelta(days=1))
            invoices.change(changed, {"total_amount": "7.77"}, world.clock.now())
            invoices.delete(deleted, world.clock.now())
        warehouse.load()
        warehouse.dbt(COMMAND)
        then = warehouse.ask(QUERY.replace("2026-06-30", str(first)))
        today = warehouse.ask(QUERY.replace("timestamp '2026-06-30'", "(now() at time zone 'utc')"))
    before, after = ({row[0]: row for row in rows} for rows in (then, today))
    assert len(then) == len(today) == total
    assert {key for key in after if before[key][:3] != after[key][:3]} == {changed, deleted}
    assert str(after[changed][1]) == "7.77" != str(before[changed][1])
    assert before[deleted][2] is None
    assert after[deleted][2] is not None
