"""dbt as a separate process that parses the finance models once and then runs command after command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSFORM = Path(__file__).parents[2] / "transform"
_SERVE = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from dbt.cli.main import dbtRunner
manifest = None
for line in sys.stdin:
    runner = dbtRunner(manifest=manifest)
    if manifest is None:
        manifest = runner.invoke(["parse"]).result
        runner = dbtRunner(manifest=manifest)
    outcome = runner.invoke(json.loads(line))
    results = getattr(outcome.result, "results", [])
    statuses = {each.node.unique_id: str(each.status) for each in results if hasattr(each, "node")}
    exception = outcome.exception and str(outcome.exception)
    answers.write(json.dumps({"success": outcome.success, "exception": exception, "statuses": statuses}) + chr(10))
    answers.flush()
"""


class Dbt:
    """A running dbt with the project's models.

    Args:
        directory: where it writes artifacts and logs.
        variables: the environment variables that the project's profiles read.
        project: the dbt project.

    Attributes:
        directory: where it writes.
    """

    def __init__(self, directory: Path, variables: Mapping[str, str], project: Path = TRANSFORM) -> None:
        directory.mkdir()
        self.directory = directory
        self._output = directory / "output.txt"
        places = {
            "DBT_PROJECT_DIR": project,
            "DBT_PROFILES_DIR": TRANSFORM,
            "DBT_TARGET_PATH": directory / "target",
            "DBT_LOG_PATH": directory / "logs",
        }
        paths = {name: str(value) for name, value in places.items()} | dict(variables)
        unwanted = ("SEND_ANONYMOUS_USAGE_STATS", "USE_COLORS", "VERSION_CHECK", "WRITE_JSON")
        options = {f"DBT_{each}": "false" for each in unwanted} | {"DBT_LOG_LEVEL_FILE": "none"}
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=os.environ | paths | options,
                cwd=directory,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *arguments: str) -> dict[str, str]:
        """Run a command; it must not fail. Returns the status of each model and test by its id."""
        answer = self.attempt(*arguments)
        assert answer["success"], self.output[-6000:]
        statuses: dict[str, str] = answer["statuses"]
        return statuses

    def attempt(self, *arguments: str) -> dict[str, Any]:
        """Run a command that may fail."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.output[-6000:]
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def report(self) -> str:
        """Print the report; give its page."""
        self.run("--quiet", "run-operation", "sage_report")
        return "<!doctype html>" + self.output.rpartition("<!doctype html>")[2]

    @property
    def output(self) -> str:
        """What dbt has printed so far."""
        return self._output.read_text()
