"""Meltano builds the finance models: in this project, and in another one that installed the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import yaml

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from support.pages import block_with

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.meltano, pytest.mark.postgres]

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
JOB, REPORT = block_with("docs/platforms/meltano.md", "dbt-postgres:build").text.splitlines()
STALE = """update sage.sales_invoices set outstanding_amount = outstanding_amount + {}
    where id = (select min(id) from sage.sales_invoices where status ->> 'id' = 'UNPAID')"""


class Project:
    """A copy of the project, with a simulated Sage and a database.

    Attributes:
        directory: the copy.
    """

    def __init__(self, server: SandboxServer, database: str, directory: Path) -> None:
        self.directory = directory / "project"
        self.directory.mkdir()
        for name in ("meltano.yml", "logging.yaml"):
            shutil.copy(ROOT / name, self.directory)
        copy_models(self.directory / "transform")
        parts = urlsplit(database.replace("+psycopg", ""))
        self._database = database.replace("+psycopg", "")
        settings = server.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}")
        self._environment = {
            **os.environ,
            **{f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in settings.items()},
            "TARGET_POSTGRES_SQLALCHEMY_URL": database,
            "DBT_POSTGRES_HOST": parse_qs(parts.query)["host"][0],
            "DBT_POSTGRES_USER": parts.netloc.removesuffix("@"),
            "DBT_POSTGRES_DATABASE": parts.path[1:],
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            "NO_COLOR": "1",
        }

    def shell(self, line: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line],
            cwd=directory or self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._database) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


def copy_models(directory: Path) -> None:
    shutil.copytree(ROOT / "transform", directory, ignore=shutil.ignore_patterns("target", "logs", "dbt_packages"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with SandboxServer(build_world(size="tiny", businesses=1, frozen=True)) as server, postgres_server() as database:
        yield Project(server, database, tmp_path_factory.mktemp("finance-meltano"))


@pytest.fixture(scope="module")
def job(project: Project) -> subprocess.CompletedProcess[str]:
    """The one command that loads, builds and reconciles."""
    return project.shell(JOB)


@pytest.fixture
def built(project: Project, job: subprocess.CompletedProcess[str]) -> Project:
    assert job.returncode == 0, job.stderr[-4000:]
    return project


@pytest.mark.slow
def test_one_command_loads_builds_and_reconciles(built: Project) -> None:
    assert built.ask("select count(*) from sage_finance.sage__general_ledger where debit > 0") > [(100,)]
    assert built.ask("select distinct verdict from sage_finance.sage__reconciliation where verdict = 'differs'") == []


@pytest.mark.slow
def test_a_check_that_differs_fails_the_job_with_its_figures(built: Project) -> None:
    built.ask(STALE.format(-10))
    failed = built.shell("meltano --environment=prod run dbt-postgres:build")
    built.ask(STALE.format(10))
    assert failed.returncode != 0
    assert "outstanding_amounts differs by 10.0000 (expected" in failed.stderr


def test_the_report_is_printed_alone(built: Project) -> None:
    with_dbt, with_meltano = block_with("docs/report.md", "sage_report").text.splitlines()
    assert with_meltano.startswith(REPORT.partition("#")[0].rstrip())
    pages = []
    for line, directory in ((with_meltano, built.directory), (with_dbt, built.directory / "transform")):
        done = built.shell(line, directory)
        assert done.returncode == 0, done.stderr[-4000:]
        pages.append((directory / "report.html").read_text())
        assert pages[-1].startswith("<!doctype html>")
        assert pages[-1].rstrip().endswith("</html>")


@pytest.mark.slow
def test_another_project_installs_the_package_by_git(built: Project, tmp_path: Path) -> None:
    repository, own = tmp_path / "repository", tmp_path / "own"
    copy_models(repository / "transform")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=Models"]):
        subprocess.run([*git, *command], cwd=repository, check=True)
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.strip()
    (dbt := own / "dbt").mkdir(parents=True)
    package = {"git": repository.as_uri(), "subdirectory": "transform", "revision": revision}
    (dbt / "packages.yml").write_text(yaml.safe_dump({"packages": [package]}))
    (dbt / "dbt_project.yml").write_text(yaml.safe_dump({"name": "own", "version": "1.0.0", "profile": "sage"}))
    (dbt / "models").mkdir()
    (dbt / "models" / "sales.sql").write_text(
        "select business_id, sum(amount) as sales from {{ ref('sage__profit_and_loss') }} group by 1"
    )
    definitions = yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]["utilities"]
    [definition] = [each for each in definitions if each["name"] == "dbt-postgres"]
    definition["config"] = {
        "project_dir": "$MELTANO_PROJECT_ROOT/dbt",
        "profiles_dir": "$MELTANO_PROJECT_ROOT/dbt/dbt_packages/sage_accounting",
        "schema": "own_finance",
    }
    (own / "meltano.yml").write_text(
        yaml.safe_dump({"environments": [{"name": "prod"}], "plugins": {"utilities": [definition]}})
    )
    done = built.shell("meltano --environment=prod run dbt-postgres:deps dbt-postgres:build", own)
    assert done.returncode == 0, done.stderr[-4000:]
    assert built.ask("select count(*) from own_finance.sales") == [(1,)]
    report = built.shell("meltano --environment=prod invoke dbt-postgres:report", own)
    assert "<h2>Does it tie?</h2>" in report.stdout, report.stderr[-4000:]
