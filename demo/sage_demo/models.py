"""The finance models of the demonstration: how dbt finds the database, and the report that it prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sage_demo.postgres import DATABASE, USER, tail
from sage_demo.report import MODELS, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sage_demo.postgres import Postgres

TASK = "dbt-postgres:build"
"""The command of meltano.yml that builds the models and reconciles them."""


class ReportError(Exception):
    """The report could not be written; the message has the end of dbt's output."""


def dbt_settings(project: Path, directory: Path, postgres: Postgres) -> dict[str, str]:
    """Point dbt at the models and at the running database, by variables for dbt, for its profiles and for Meltano.

    Args:
        project: The checkout, which holds `transform/`.
        directory: Where dbt keeps what it has parsed, and its log.
        postgres: The running server.
    """
    models = str(project / "transform")
    settings = {
        "PROJECT_DIR": models,
        "PROFILES_DIR": models,
        "TARGET": "postgres",
        "SAGE_SCHEMA": SCHEMA,
        "SCHEMA": MODELS,
        "SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    return {
        **{f"DBT_{name}": value for name, value in settings.items()},
        **{f"DBT_POSTGRES_{name}": value for name, value in settings.items()},
        "DBT_POSTGRES_HOST": postgres.socket_directory,
        "DBT_POSTGRES_USER": USER,
        "DBT_POSTGRES_DATABASE": DATABASE,
        "DBT_TARGET_PATH": str(directory / "dbt"),
        "DBT_LOG_PATH": str(directory / "dbt"),
        "DBT_USE_COLORS": "false",
    }


def write_report(file: Path, environment: Mapping[str, str]) -> None:
    """Write the page that dbt prints about what was built; replace an earlier one only by a whole page.

    Args:
        file: Where the page goes.
        environment: Environment of dbt, with its settings.

    Raises:
        ReportError: dbt failed.
    """
    unfinished, log = file.with_suffix(".unfinished"), file.with_suffix(".log")
    command = [str(Path(sys.executable).with_name("dbt")), "--quiet", "run-operation", "sage_report"]
    command += ["--vars", f"sage_schema: {SCHEMA}"]
    with unfinished.open("wb") as page, log.open("wb") as errors:
        done = subprocess.run(  # noqa: S603 - a fixed program
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=page, stderr=errors, check=False
        )
    if done.returncode:
        raise ReportError(
            f"dbt could not write the report (exit code {done.returncode}):\n{tail(unfinished)}{tail(log)}"
        )
    unfinished.replace(file)
