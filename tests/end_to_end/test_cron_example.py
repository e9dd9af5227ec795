"""The example for cron, its lines run as cron does: with hardly any environment, by /bin/sh, from a home directory."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.small_sage import small_world

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cron"
COPIED = ("meltano.yml", "logging.yaml", "examples/cron/run-schedule")
LINES = [line for line in (EXAMPLE / "crontab").read_text().splitlines() if line and not line.startswith("#")]
VARIABLES = dict(line.split("=", 1) for line in LINES if "=" in line.split(" ")[0])
COMMANDS = [line.split(None, 5)[5] for line in LINES if line[0].isdigit()]
DAY = 86_400
"""Seconds."""

pytestmark = [pytest.mark.meltano, pytest.mark.slow]


class Account:
    """A user whose clone is where crontab says, and what cron runs for them."""

    def __init__(self, sage: SandboxServer, home: Path) -> None:
        self.sage = sage
        self.home = home
        self.project = home / "tap-sage-accounting"
        self.logs = self.project / "output" / "logs"
        for name in COPIED:
            (copy := self.project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
        (self.project / ".venv").symlink_to(sys.prefix, target_is_directory=True)
        self.set(
            TAP_SAGE_ACCOUNTING__TRANSACTIONAL__SELECT_FILTER='["contacts"]',
            MELTANO_HUB_URL="http://127.0.0.1:1",
            **{f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in sage.tap_config().items()},
        )

    def set(self, **variables: str) -> None:
        with (self.project / ".env").open("a") as file:
            file.writelines(f"{name}='{value}'\n" for name, value in variables.items())

    def cron(self, command: str) -> tuple[int, str]:
        """Run a command of crontab; return its exit code and what cron would mail."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.home,
            env={
                "HOME": str(self.home),
                "PATH": "/usr/bin:/bin",
                "SHELL": "/bin/sh",
                **VARIABLES,
                "SAGE_ALERT": f"cat > '{self.home / 'alert'}'",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        return done.returncode, done.stdout


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with SandboxServer(small_world()) as sage:
        yield Account(sage, tmp_path)


def test_crontab_runs_each_schedule_of_the_project() -> None:
    assert [command.split()[-1] for command in COMMANDS[:3]] == ["hourly", "daily", "weekly"]
    assert {"MAILTO", "SAGE_ALERT"} == set(VARIABLES)


@pytest.mark.postgres
def test_a_run_that_succeeds_is_silent_and_leaves_its_log(account: Account) -> None:
    account.logs.mkdir(parents=True)
    (old, recent) = (account.logs / "hourly-2020.log", account.logs / "daily-2020.log")
    for file, days in ((old, 40), (recent, 20)):
        file.touch()
        os.utime(file, (time.time() - days * DAY,) * 2)
    with postgres_server() as url:
        account.set(TARGET_POSTGRES_SQLALCHEMY_URL=url)
        assert account.cron(COMMANDS[0]) == (0, "")
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            [(rows,)] = connection.execute("select count(*) from sage.contacts").fetchall()
    assert rows == sum(len(each.collections["contacts"].rows) for each in account.sage.world.businesses.values())
    assert (account.logs / "hourly.succeeded").exists()
    [log] = [file for file in account.logs.glob("hourly-*.log") if file != old]
    assert "Run finished: " in log.read_text()
    assert (old.exists(), recent.exists()) == (False, True)


def test_a_run_that_fails_says_why_by_mail_and_to_the_alert(account: Account) -> None:
    code, mailed = account.cron(COMMANDS[0])  # nothing says where the database is
    assert code == 1
    assert mailed.startswith("Sage: the schedule hourly failed with code 1 on ")
    assert "target-postgres ended early: AssertionError: Need either the sqlalchemy_url to be set" in mailed
    assert 'File "' not in mailed
    assert (account.home / "alert").read_text() == mailed
    assert not (account.logs / "hourly.succeeded").exists()


def test_a_project_without_its_programs_is_a_failure(account: Account) -> None:
    (account.project / ".venv").unlink()
    code, mailed = account.cron(COMMANDS[0])
    assert code == 1
    assert "meltano: command not found" in mailed


def test_a_run_that_is_still_at_work_is_left_alone(account: Account) -> None:
    account.logs.mkdir(parents=True)
    with (account.logs / "hourly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert account.cron(COMMANDS[0]) == (0, "")
    assert len(account.sage.requests) == 0
    assert list(account.logs.glob("*.log")) == []


def test_a_run_that_did_not_happen_is_noticed(account: Account) -> None:
    account.logs.mkdir(parents=True)
    succeeded = account.logs / "hourly.succeeded"
    assert "no hourly run has succeeded" in account.cron(COMMANDS[-1])[1]
    succeeded.touch()
    assert account.cron(COMMANDS[-1]) == (0, "")
    os.utime(succeeded, (time.time() - DAY,) * 2)
    assert "no hourly run has succeeded" in account.cron(COMMANDS[-1])[1]
