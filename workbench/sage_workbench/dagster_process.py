"""Dagster as a process of its own, with the example's definitions, that materializes assets when it is asked to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from sage_workbench.dbt_process import TRANSFORM
from sage_workbench.pipeline import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sage_sandbox.server import SandboxServer

    Order = dict[str, Any]

EXAMPLE = Path(__file__).parents[2] / "examples" / "dagster"
REQUIREMENTS = ("dagster>=1.13,<2", "dagster-dbt>=0.29", "dbt-core>=1.11,<1.12", "dbt-postgres>=1.10,<2")
_SERVE = """
import json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import dagster as dg
import definitions

def materialize(instance, job, partition=None, assets=None):
    definition = definitions.defs.resolve_job_def(job)
    result = definition.execute_in_process(
        instance=instance,
        partition_key=partition,
        asset_selection=[dg.AssetKey(path) for path in assets] if assets else None,
        raise_on_error=False,
    )
    failures = [event.step_failure_data for event in result.filter_events(lambda each: each.is_step_failure)]
    return {
        "success": result.success,
        "materialized": {
            "/".join(event.asset_key.path): {
                name: value.value
                for name, value in event.materialization.metadata.items()
                if isinstance(value.value, (int, str, dict))
            }
            for event in result.get_asset_materialization_events()
        },
        "failures": [each.user_failure_data.description if each.user_failure_data else "" for each in failures],
        "checks": {each.check_name: each.passed for each in result.get_asset_check_evaluations()},
    }

def look(instance):
    repository = definitions.defs.get_repository_def()
    context = dg.build_schedule_context(instance=instance, repository_def=repository)
    graph = definitions.defs.resolve_asset_graph()
    return {
        "partitions": instance.get_dynamic_partitions(definitions.PARTITIONS.name),
        "parents": {
            "/".join(key.path): ["/".join(parent.path) for parent in graph.get(key).parent_keys]
            for key in graph.get_all_asset_keys()
        },
        "groups": {"/".join(key.path): graph.get(key).group_name for key in graph.get_all_asset_keys()},
        "hours_until_warning": {
            "/".join(key.path): policy.warn_window.to_timedelta().total_seconds() / 3600
            for key in graph.get_all_asset_keys()
            if (policy := graph.get(key).freshness_policy)
        },
        "requested": {
            schedule.name: [request.partition_key for request in schedule.evaluate_tick(context).run_requests]
            for schedule in map(definitions.defs.resolve_schedule_def, (each.name for each in definitions.SCHEDULES))
        },
    }

def answer(order):
    with dg.DagsterInstance.get() as instance:
        return materialize(instance, **order) if order else look(instance)

for line in sys.stdin:
    children = []
    for order in json.loads(line):
        source, sink = os.pipe()
        if not os.fork():
            try:
                with os.fdopen(sink, "w") as out:
                    out.write(json.dumps(answer(order)))
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(0)
        os.close(sink)
        children.append(source)
    answers.write("[" + ",".join([os.fdopen(source).read() or "null" for source in children]) + "]" + chr(10))
    answers.flush()
    while children and os.wait() and children.pop():
        pass
"""


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        success: whether all its steps succeeded.
        materialized: the metadata of what was materialized, by asset.
        failures: what the steps that failed said.
        checks: whether each check passed.
    """

    success: bool
    materialized: dict[str, dict[str, Any]]
    failures: list[str]
    checks: dict[str, bool]


def install(environment: Path, uv: Path | str, variables: Mapping[str, str]) -> Path:
    """Install Dagster and dbt, which uv does from its cache when it has been done before; return their Python."""
    python = environment / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, environment], env=variables, check=True)
    pip = [uv, "pip", "install", "-q", "--python", python]
    subprocess.run([*pip, *REQUIREMENTS], env=variables, check=True)
    if sys.version_info >= (3, 14):  # for which dbt asks for one that is too old
        subprocess.run([*pip, "mashumaro==3.17"], env=variables, check=True)
    return python


class Dagster:
    """A running Dagster with the example's definitions.

    Args:
        directory: where it keeps what it knows, and its log.
        python: an interpreter that has Dagster and dbt.
        sage: the simulated Sage.
        database: the PostgreSQL database that has tokens and rows.
    """

    def __init__(self, directory: Path, python: Path, sage: SandboxServer, database: str) -> None:
        directory.mkdir()
        # Deletions that Sage does not report are to be looked for after every run.
        settings = sage.tap_config(token_store=database, deletion_sweep_days=0)
        parts = urlsplit(database.replace("+psycopg", ""))
        models = directory / "transform"
        shutil.copytree(TRANSFORM, models, ignore=shutil.ignore_patterns("target", "logs"))
        shutil.copy(EXAMPLE / "dagster.yaml", directory)
        self._output = directory / "output.txt"
        environment = {
            "HOME": str(directory),
            "PATH": os.pathsep.join((str(python.parent), str(PROGRAMS), os.defpath)),
            "PYTHONPATH": str(EXAMPLE),
            "PYTHONPYCACHEPREFIX": str(directory / "pycache"),  # uv leaves it to the first process to compile
            "DAGSTER_HOME": str(directory),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "TARGET_POSTGRES_LOGLEVEL": "WARNING",
            "SAGE_MODELS": str(models),
            "SAGE_STATES": str(directory / "states"),
            **{f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in settings.items()},
            "TARGET_POSTGRES_SQLALCHEMY_URL": database,
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": "sage",
            "DBT_POSTGRES_HOST": parse_qs(parts.query)["host"][0],
            "DBT_POSTGRES_USER": parts.netloc.removesuffix("@"),
            "DBT_POSTGRES_DATABASE": parts.path[1:],
        }
        with self._output.open("w") as output:
            subprocess.run(
                [python.with_name("dbt"), "--quiet", "parse", "--project-dir", models, "--profiles-dir", models],
                env=environment,
                stdout=output,
                stderr=output,
                cwd=directory,
                check=True,
            )
            self._process = subprocess.Popen(
                [python, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=environment,
                cwd=directory,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, job: str, *partitions: str, assets: list[list[str]] | None = None) -> list[Run]:
        """Run a job, or some assets of it: for some partitions at once, or without any."""
        orders = [{"job": job, "partition": each, "assets": assets} for each in partitions or (None,)]
        return [Run(**answer) for answer in self._ask(orders)]

    def look(self) -> dict[str, Any]:
        """Return the partitions, each asset's parents, group and freshness, and what each schedule requests."""
        [answer] = self._ask([{}])
        return answer

    @property
    def output(self) -> str:
        """What Dagster, the tap and dbt have written so far."""
        return self._output.read_text()

    def _ask(self, orders: list[Order]) -> list[dict[str, Any]]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.output[-6000:]
        decoded: list[dict[str, Any]] = json.loads(answer)
        assert all(decoded), self.output[-6000:]
        return decoded
