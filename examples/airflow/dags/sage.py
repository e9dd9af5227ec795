"""Load every business that a Sage login reaches as a task of its own, several at a time, into one database.

Each DAG reads one of the selections in `meltano.yml`, builds the finance models, and reconciles them with Sage's trial
balance. Workers share no disk: Sage's tokens, Meltano's state and the rows are in PostgreSQL. How to set it up:
docs/platforms/airflow.md.
"""
# ruff: noqa: INP001, S603, T201 - a folder of DAGs is no package, and the program that it starts is on the worker's path

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import zlib
from datetime import timedelta

import pendulum
from airflow.exceptions import AirflowFailException
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task

DAGS = {
    "sage_transactional": ("tap-sage-accounting--transactional", "@hourly"),
    "sage_reference": ("tap-sage-accounting--reference", "@daily"),
}
EXTRACTOR = "tap-sage-accounting"
LOADER = os.environ.get("SAGE_LOADER", "target-postgres")
MODELS = os.environ.get("SAGE_MODELS", "dbt-postgres")
"""The utility of `meltano.yml` that builds the finance models; empty for none."""
PROJECT = os.environ.get("SAGE_PROJECT", "/opt/sage")
"""Directory of `meltano.yml` and `transform/` on every worker; nothing is written there."""
SLOTS = int(os.environ.get("SAGE_SLOTS", "4"))
"""Slots of the pool `sage`: how many businesses are read at once, over all DAGs. The pool `sage_tables` has one."""
REQUESTS_PER_MINUTE = int(os.environ.get("SAGE_REQUESTS_PER_MINUTE", "900"))
"""What the application may ask of Sage. Tasks do not know of each other, so each gets its part."""
SHARDS = int(os.environ.get("SAGE_SHARDS", "0"))
"""In how many groups the businesses are read, one task for each; 0 for a task for every business."""

# Airflow takes all that a program writes to its standard error for errors.
QUIET_MELTANO = ("meltano", "--log-level", "warning", "--cwd", PROJECT, "--environment", "prod")
MELTANO = 'MELTANO_SYS_DIR_ROOT="$PWD/.meltano" meltano --cwd "$SAGE_PROJECT" --environment prod'
"""Meltano with its working files in the operator's own directory, which Airflow deletes after the task."""
ENVIRONMENT = {
    "SAGE_PROJECT": PROJECT,
    "TAP_SAGE_ACCOUNTING_REQUESTS_PER_MINUTE": str(max(1, REQUESTS_PER_MINUTE // SLOTS)),
}
FINDING = re.compile(r"Reconciliation, (.+ differs by [^)]+\))")
"""What the models log of a check that differs: business, month, check and figures."""

# Every table is made here, so that of the tasks that follow no two create the same. What no business owns is loaded,
# and what the models must know of each business, whichever DAG runs first.
BEFORE_ALL = '["user.*", "businesses.*", "financial_settings.*"]'
PREPARE = f"""
set -eu
{MELTANO} invoke {EXTRACTOR} --test=schema >messages.jsonl
TAP_SAGE_ACCOUNTING__SELECT='{BEFORE_ALL}' {MELTANO} invoke {EXTRACTOR} >>messages.jsonl
{MELTANO} invoke {LOADER} <messages.jsonl
"""


def visible_businesses() -> dict[str, str]:
    """Ask the tap for the businesses that the login reaches: names by id."""
    with tempfile.TemporaryDirectory() as system_directory:
        listed = subprocess.run(
            [*QUIET_MELTANO, "invoke", EXTRACTOR],
            env={
                **os.environ,
                **ENVIRONMENT,
                "MELTANO_SYS_DIR_ROOT": system_directory,
                "TAP_SAGE_ACCOUNTING__SELECT": '["businesses.*"]',
            },
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    messages = map(json.loads, listed.stdout.splitlines())
    records = [message["record"] for message in messages if message["type"] == "RECORD"]
    return {record["business_id"]: record.get("name") or record["business_id"] for record in records}


def build_models() -> None:
    """Build the finance models and test them; the books must tie.

    Raises:
        AirflowFailException: they do not, which another try would not change; with the figures.
        CalledProcessError: dbt failed otherwise.
    """
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        command = [*QUIET_MELTANO, "invoke", f"{MODELS}:build"]
        written = {"MELTANO_SYS_DIR_ROOT": scratch, "DBT_TARGET_PATH": scratch, "DBT_LOG_PATH": scratch}
        with subprocess.Popen(command, env={**os.environ, **written}, stdout=subprocess.PIPE, text=True) as build:
            for line in build.stdout or ():
                print(line, end="")
                lines.append(line)
    if any("Failure in test sage_reconciliation_errors" in line for line in lines):
        findings = [found[1] for line in lines if (found := FINDING.search(line))]
        raise AirflowFailException("The books do not tie. " + " ".join(findings))
    if build.returncode:
        raise subprocess.CalledProcessError(build.returncode, command)


def shards_of(businesses: dict[str, str], count: int) -> list[dict[str, str]]:
    """Divide the businesses among tasks, each described by the environment that it gets.

    A shard's name is part of the id of its state, so a business must not wander: a group depends on its id alone, and
    on `count`, with which the names change too, so that a changed `count` reads everything anew rather than wrongly.
    """
    if count == 0:
        return [_environment(key, name, [key]) for key, name in businesses.items()]
    groups: dict[int, list[str]] = {}
    for key in businesses:
        groups.setdefault(zlib.crc32(key.encode()) % count, []).append(key)
    return [
        _environment(f"shard-{number}-of-{count}", f"group {number} of {count}", keys)
        for number, keys in sorted(groups.items())
    ]


def _environment(shard: str, name: str, businesses: list[str]) -> dict[str, str]:
    return {
        **ENVIRONMENT,
        "SAGE_SHARD": shard,
        "SAGE_SHARD_NAME": name,
        "TAP_SAGE_ACCOUNTING_BUSINESS_IDS": json.dumps(businesses),
    }


def sage_dag(name: str, extractor: str, schedule: str | None) -> DAG:
    """Make a DAG: tables and businesses first, then a task for each business or group, then the models."""
    with DAG(
        name,
        schedule=schedule,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        catchup=False,
        max_active_runs=1,
        default_args={
            "pool": "sage",
            # A repeated task goes on from the last state. After a worker died, Meltano takes its run for alive for five
            # minutes; three tries, each twice as long after the one before, outlast that.
            "retries": 3,
            "retry_delay": timedelta(seconds=int(os.environ.get("SAGE_RETRY_SECONDS", "120"))),
            "retry_exponential_backoff": True,
        },
        tags=["sage"],
        doc_md=__doc__,
    ) as dag:
        # One at a time over all DAGs, but never behind the businesses that another DAG is reading.
        prepare = BashOperator(
            task_id="prepare", bash_command=PREPARE, env=ENVIRONMENT, append_env=True, pool="sage_tables"
        )

        @task
        def businesses() -> list[dict[str, str]]:
            return shards_of(visible_businesses(), SHARDS)

        load = BashOperator.partial(
            task_id="load",
            bash_command=f'{MELTANO} run --state-id-suffix "$SAGE_SHARD" {extractor} {LOADER}',
            append_env=True,
            map_index_template="{{ task.env['SAGE_SHARD_NAME'] }}",
        )
        # A business that fails has its old rows: the others' models are built all the same, in one DAG at a time.
        models = task(build_models, task_id="models", trigger_rule="all_done", pool="sage_tables")
        # A run in which a business failed is a failed one, whatever the models say.
        done = EmptyOperator(task_id="done")

        found = businesses()
        prepare >> found
        loaded = load.expand(env=found)
        loaded >> done
        if MODELS:
            loaded >> models() >> done
    return dag


for _name, (_extractor, _schedule) in DAGS.items():
    globals()[_name] = sage_dag(_name, _extractor, _schedule)
