"""The example that people copy: its loaders, jobs and schedules, run from a disk that does not last."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from sage_sandbox.books import build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from support.pages import block_with

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
PROJECT: dict[str, Any] = yaml.safe_load((ROOT / "meltano.yml").read_text())
PLUGINS = {plugin["name"]: plugin for kind in PROJECT["plugins"].values() for plugin in kind}
LOADERS = PROJECT["plugins"]["loaders"]
PAGE = "docs/platforms/meltano.md"
UPGRADING = "docs/operations/upgrading.md"
HOSTILE = "12345678901234567.1234"
MOST_LINES = 20
"""Lines of the tap in the log of a run, at most."""


# Definitions


def test_the_example_loads_the_usual_warehouses_and_files() -> None:
    assert {"target-postgres", "target-bigquery", "target-snowflake", "target-duckdb", "parquet"} <= set(PLUGINS)


@pytest.mark.parametrize("plugin", [*LOADERS, PLUGINS["parquet"]], ids=lambda plugin: plugin["name"])
def test_every_setting_of_a_loader_is_explained_and_no_secret_stands_in_the_file(plugin: dict[str, Any]) -> None:
    for setting in plugin["settings"]:
        assert {"label", "kind", "description"} <= setting.keys(), setting["name"]
        if re.search(r"password|json|url|phrase|private_key$", setting["name"]):
            assert setting["sensitive"], setting["name"]
            assert "value" not in setting, setting["name"]


def test_what_is_installed_is_pinned() -> None:
    installed = [plugin["pip_url"] for plugin in PLUGINS.values() if "pip_url" in plugin]
    assert installed
    assert all(re.match(r"[\w-]+==[\d.]+\b", requirement) for requirement in installed)


def test_the_page_of_targets_names_the_releases_that_are_installed() -> None:
    page = (ROOT / "docs" / "platforms" / "targets.md").read_text()
    for loader in LOADERS:
        requirement = loader.get("pip_url", f"target-postgres=={version('meltanolabs-target-postgres')}").split()[0]
        assert f"\n| {loader['name']} {requirement.partition('==')[2]} |" in page, loader["name"]


def test_the_demonstration_installs_nothing() -> None:
    used = {"demo", "dbt-postgres"} | {
        name
        for job in PROJECT["jobs"]
        if job["name"] in ("transactional", "reference")
        for task in job["tasks"]
        for name in task.split()
    }
    assert "target-postgres" in used
    assert not [name for name in used if "pip_url" in PLUGINS[name]]


def test_development_and_production_do_not_write_to_the_same_tables() -> None:
    environments = {each["name"]: each.get("config", {}).get("plugins", {}) for each in PROJECT["environments"]}
    own = {
        loader["name"]: loader["config"] for loader in environments[PROJECT["default_environment"]].get("loaders", [])
    }
    assert "prod" in environments
    for loader in LOADERS:
        places = {setting["name"]: setting["value"] for setting in loader["settings"] if "value" in setting}
        for name in {"default_target_schema", "dataset"} & places.keys():
            assert own[loader["name"]][name] != places[name]


def test_every_example_of_the_environment_file_is_a_setting() -> None:
    variables = {
        f"{plugin['name'].upper().replace('-', '_')}_{setting['name'].upper()}"
        for plugin in PLUGINS.values()
        for setting in plugin.get("settings", [])
    }
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert "TARGET_POSTGRES_SQLALCHEMY_URL" in named
    assert named <= variables


# Runs


class Containers:
    """Runs of the project of which nothing outlives a run but what is in one database."""

    def __init__(self, server: SandboxServer, database: str, directory: Path) -> None:
        self.server = server
        self.database = database
        self._directory = directory
        self._numbers = count(1)
        self._environment = {
            **os.environ,
            **{
                f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value)
                for name, value in server.tap_config(token_store=database).items()
            },
            "TARGET_POSTGRES_SQLALCHEMY_URL": database,
            "MELTANO_DATABASE_URI": database,
            # Enough of each job, for the test's sake.
            "TAP_SAGE_ACCOUNTING__TRANSACTIONAL__SELECT_FILTER": '["contacts", "sales_quotes"]',
            "TAP_SAGE_ACCOUNTING__REFERENCE__SELECT_FILTER": '["countries"]',
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
        }

    def run(self, lines: str, code: int = 0) -> str:
        """Run lines with Meltano in a new copy of the project, with an empty home; give their log."""
        project = self._directory / f"container-{next(self._numbers)}" / "project"
        (home := project.parent / "home").mkdir(parents=True)
        project.mkdir()
        for name in ("meltano.yml", "logging.yaml"):
            shutil.copy(ROOT / name, project)
        self.server.requests.clear()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines],
            cwd=project,
            env={**self._environment, "HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        shutil.rmtree(project.parent)
        assert done.returncode == code, done.stdout[-3000:]
        return done.stdout

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database.replace("+psycopg", "")) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    with (
        SandboxServer(build_world(size="tiny", businesses=1, frozen=True)) as server,
        postgres_server() as database,
    ):
        yield Containers(server, database, tmp_path)


@pytest.mark.meltano
@pytest.mark.postgres
@pytest.mark.slow
def test_runs_without_a_disk_go_on_where_the_last_one_ended_and_only_the_weekly_one_sweeps(
    containers: Containers,
) -> None:
    [business] = containers.server.world.businesses.values()
    quotes, contacts = business.collections["sales_quotes"], business.collections["contacts"]

    log = containers.run(block_with(PAGE, "run transactional").text)
    assert "METRIC" not in log
    assert "Inserting with SQL" not in log
    own = [line for line in log.splitlines() if "] tap-sage-accounting" in line]
    assert "Run finished: " in own[-1]
    assert len(own) < MOST_LINES
    assert containers.ask("select count(*) from sage.contacts") == [(len(contacts.rows),)]
    assert containers.ask("select count(*) from sage.sales_quotes where deleted_at is null") == [(len(quotes.rows),)]

    # No digit was lost: some of the simulated quotes are for more than a binary fraction can hold.
    hostile = [row.id for row in quotes.rows.values() if row.render()["total_quantity"] == HOSTILE]
    assert hostile
    assert containers.ask(f"select id from sage.sales_quotes where total_quantity = {HOSTILE}") == [(hostile[0],)]

    gone = next(row for row in quotes.rows if row not in hostile)
    quotes.delete(gone, containers.server.world.clock.now())
    contacts.change(next(iter(contacts.rows)), {"name": "Renamed Ltd"}, containers.server.world.clock.now())

    containers.run("\n".join(block_with(UPGRADING, part).text for part in ("state-before.json", "--refresh-catalog")))
    assert containers.server.requests.of("contacts")
    assert all(
        {"updated_or_created_since", "deleted_since"} & r.params.keys()
        for r in containers.server.requests.of("contacts")
    )
    assert containers.ask("select count(*) from sage.contacts where name = 'Renamed Ltd'") == [(1,)]
    assert containers.ask("select id from sage.sales_quotes where deleted_at is not null") == []

    containers.run(block_with(PAGE, "schedule run weekly").text)
    assert containers.ask("select id from sage.sales_quotes where deleted_at is not null") == [(gone,)]
    assert containers.ask("select state_id from state order by 1") == [
        ("prod:tap-sage-accounting--reference-to-target-postgres",),
        ("prod:tap-sage-accounting--transactional-to-target-postgres",),
    ]

    assert '"contacts"' in containers.run(block_with(PAGE, "state list").text)

    containers.server.faults.add(Fault("contacts", 400))
    log = containers.run(block_with(PAGE, "run transactional").text, code=1)
    assert any("1 read failed (contacts)" in line for line in log.splitlines()[-5:]), log
