"""Schedules of `meltano.yml` as a flow of Prefect's: `python sage.py` serves it every hour."""
# ruff: noqa: INP001, S603, T201 - this file is copied, and Meltano is on the path

from __future__ import annotations

import os
import subprocess

from prefect import flow, task

PROJECT = os.environ.get("SAGE_PROJECT", "/opt/sage")
"""Directory of `meltano.yml`."""


# A repeated run goes on from the last state. After a machine died, Meltano takes its run for alive for five minutes.
@task(retries=3, retry_delay_seconds=[120, 240, 480])
def run_schedule(name: str) -> None:
    """Run a schedule of the project.

    Raises:
        RuntimeError: it failed; with the last error that the tap or the target logged.
    """
    command = ["meltano", "--cwd", PROJECT, "--environment", "prod", "schedule", "run", name]
    errors = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or ():
            print(line, end="")
            # Meltano's own lines say that a plugin failed; the plugin's say why.
            errors += [line.strip()] if "[error" in line and (" tap-" in line or " target-" in line) else []
    if run.returncode:
        raise RuntimeError(errors[-1] if errors else f"Meltano ended with exit code {run.returncode}.")


@flow(name="sage", log_prints=True)
def sage(schedule: str = "hourly") -> None:
    """Load what a schedule names."""
    run_schedule(schedule)


if __name__ == "__main__":
    # Meltano refuses a second run of the same bookmarks; with a limit of one, Prefect does not even start it.
    sage.serve(name="hourly", cron="5 * * * *", limit=1)
