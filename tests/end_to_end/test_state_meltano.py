"""Under Meltano, the line of the documentation lets one table be loaded again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from support.pages import block_with

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.meltano, pytest.mark.postgres, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
BLOCK = block_with("docs/recipes/backfill.md", "meltano state get").text
LINE = BLOCK.splitlines()[-1]
ID = "prod:tap-sage-accounting-to-target-postgres"
STREAMS = ("contacts", "sales_invoices")


class Project:
    """A copy of the project, with a simulated Sage and a database."""

    def __init__(self, server: SandboxServer, database: str, directory: Path) -> None:
        self._directory = directory / "project"
        self._directory.mkdir()
        for name in ("meltano.yml", "logging.yaml"):
            shutil.copy(ROOT / name, self._directory)
        settings = server.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}")
        self._database = database.replace("+psycopg", "")
        self._environment = {
            **os.environ,
            **{f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in settings.items()},
            "TAP_SAGE_ACCOUNTING__SELECT_FILTER": json.dumps(STREAMS),
            "TARGET_POSTGRES_SQLALCHEMY_URL": database,
            "MELTANO_ENVIRONMENT": "prod",
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            "NO_COLOR": "1",
        }

    def shell(self, line: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, done.stderr[-3000:]
        return done

    def load(self) -> None:
        self.shell("meltano run tap-sage-accounting target-postgres")

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.shell(f"meltano state get {ID}").stdout)
        return found

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._database) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with SandboxServer(build_world(size="tiny", businesses=1, frozen=True)) as server, postgres_server() as database:
        project = Project(server, database, tmp_path)
        project.load()
        yield project


def test_one_line_loads_a_table_again_and_a_wrong_name_changes_nothing(project: Project) -> None:
    everything = {name: project.ask(f"select count(*) from sage.{name}") for name in STREAMS}
    for name in STREAMS:
        project.ask(f"delete from sage.{name}")
    before = project.state()

    # Meltano says then that it was handed nothing.
    wrong = project.shell(f"ID={ID}; {LINE.replace('sales_invoices', 'sales_invoice')}", code=1)
    assert "There is no stream 'sales_invoice'; did you mean 'sales_invoices'?" in wrong.stderr
    assert project.state() == before

    done = project.shell(BLOCK)
    assert re.search(r"Forgotten: 'sales_invoices' of \w+, which was read until", done.stderr)
    after = project.state()
    assert after["singer_state"]["bookmarks"]["contacts"] == before["singer_state"]["bookmarks"]["contacts"]
    project.load()
    assert project.ask("select count(*) from sage.sales_invoices") == everything["sales_invoices"]
    assert project.ask("select count(*) from sage.contacts") < everything["contacts"]

    shown = project.shell(f"meltano state get {ID} | meltano invoke tap-sage-accounting:state").stdout
    assert re.search(r"^  sales_invoices +\d{4}-\d\d-\d\dT\S+Z", shown, flags=re.MULTILINE)
