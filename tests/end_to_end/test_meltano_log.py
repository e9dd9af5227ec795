"""The log of Meltano in this project, in the chosen form, with the cause of a failure at its end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.small_sage import small_world

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
VERSION = ("invoke", "tap-sage-accounting", "--version")
LOAD = ("run", "tap-sage-accounting", "target-postgres")
LAST = 5
"""Lines that one sees of a log at a glance."""

pytestmark = [pytest.mark.meltano, pytest.mark.slow]


class Project:
    """A copy of what people copy of the project."""

    def __init__(self, sage: SandboxServer, directory: Path) -> None:
        self.directory = directory
        for name in ("meltano.yml", "logging.yaml"):
            shutil.copy(ROOT / name, directory)
        settings = sage.tap_config(token_store=f"sqlite:///{directory / 'tokens.sqlite'}")
        self.environment = {
            "HOME": str(directory),
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "MELTANO_HUB_URL": "http://127.0.0.1:1",
            **{f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def log(self, *command: str, code: int = 0) -> list[str]:
        """Run Meltano; return the lines of its log."""
        done = subprocess.run(
            ["meltano", *command],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, done.stderr[-3000:]
        return done.stderr.splitlines()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with SandboxServer(small_world()) as sage:
        yield Project(sage, tmp_path)


def test_the_level_of_the_log_is_the_one_that_was_chosen(project: Project) -> None:
    usual = project.log(*VERSION)
    assert any("Environment 'dev' is active" in line for line in usual)
    assert project.log("--log-level=warning", *VERSION) == []
    assert len(project.log("--log-level=debug", *VERSION)) > len(usual)
    project.environment["MELTANO_CLI_LOG_LEVEL"] = "error"
    assert len(project.log(*VERSION)) <= 1  # the first line is written before Meltano knows of the project


@pytest.mark.parametrize("given", ["option", "variable", "file"])
def test_the_format_of_the_log_is_the_one_that_was_chosen(project: Project, given: str) -> None:
    if given == "file":
        with (project.directory / "meltano.yml").open("a") as file:
            file.write("\ncli:\n  log_format: json\n")
    options = ("--log-format=json",) if given == "option" else ()
    if given == "variable":
        project.environment["MELTANO_CLI_LOG_FORMAT"] = "json"
    # The first line is written before Meltano knows of the project.
    events = [json.loads(line)["event"] for line in project.log(*options, *VERSION)[1:]]
    assert "Environment 'dev' is active" in events


@pytest.mark.parametrize(
    ("options", "address", "cause"),
    [
        ((), None, "Need either the sqlalchemy_url to be set"),
        ((), "postgresql+psycopg://nobody:a-password@127.0.0.1:1/nothing", "Connection refused"),
        ((), "not an address", "Could not parse SQLAlchemy URL"),
        (("--log-level=error", "--log-format=plain"), None, "Need either the sqlalchemy_url to be set"),
        (("--log-format=json",), None, "Need either the sqlalchemy_url to be set"),
    ],
    ids=["forgotten", "wrong", "misspelt", "errors only", "json"],
)
def test_why_the_target_ended_is_said_at_the_end(
    project: Project, options: tuple[str, ...], address: str | None, cause: str
) -> None:
    if address is not None:
        (project.directory / ".env").write_text(f"TARGET_POSTGRES_SQLALCHEMY_URL='{address}'\n")
    log = project.log(*options, *LOAD, code=1)
    assert any("target-postgres ended early: " in line and cause in line for line in log[-LAST:]), log[-LAST:]
    assert not any(words in line for line in log for words in ("BrokenPipeError", "Traceback", 'File "'))
    assert not any("a-password" in line for line in log)


def test_at_the_level_debug_nothing_is_left_out(project: Project) -> None:
    log = project.log("--log-level=debug", *LOAD, code=1)
    assert any("BrokenPipeError" in line for line in log)
    assert any("Traceback" in line for line in log if " target-postgres " in line)
