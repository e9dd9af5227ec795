"""Tests leave alone what is the developer's: settings, tokens, home, proxy, database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sage_workbench.embedded_postgres import place_for_postgres
from support.surroundings import OUTSIDE
from tap_sage_accounting.auth.address import default_store_url

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REPRESENTATIVES = [
    "end_to_end/test_catalog.py::test_a_discovered_catalog_is_accepted_back",
    "end_to_end/test_cli.py::test_settings_may_come_from_the_environment",
    "end_to_end/test_demo.py::test_only_its_own_socket_leads_to_the_server",
    "end_to_end/test_demo.py::test_nothing_outlives_a_run_however_it_ends[starter-1]",
    "end_to_end/test_demo.py::test_nothing_outlives_a_run_however_it_ends[starter-2]",
    "integration/test_extraction.py::test_page_size_and_concurrency_change_nothing_but_speed",
    "end_to_end/test_front_door.py::test_another_project_adds_the_tap_without_a_hub",
    "end_to_end/test_login.py::test_a_login_stores_tokens_that_a_run_then_uses",
    "end_to_end/test_login.py::test_settings_come_from_the_environment_as_meltano_gives_them",
    "end_to_end/test_login.py::test_status_says_who_what_and_until_when_without_a_secret",
    "end_to_end/test_sandbox_cli.py",
    "integration/test_tokens.py",
]
"""One of each kind: in this process and in others, the tap, its commands, Meltano, PostgreSQL, the simulated Sage."""


class Developer:
    """Somebody whose clone has a `.env`, and whose shell and home are full of settings."""

    def __init__(self, directory: Path) -> None:
        self.clone = directory / "clone"
        self.home = directory / "home"
        self.store = self.home / "tokens.sqlite"
        for each in (self.clone, self.home, self.home / "data", self.home / "meltano"):
            each.mkdir()
        # The packages are below the clone, as they are when uv installs them.
        (self.clone / ".venv").symlink_to(sys.prefix, target_is_directory=True)
        self.store.write_text("the developer's tokens")
        (self.home / ".netrc").write_text("default login the-developer password secret\n")
        (self.home / ".netrc").chmod(0o600)
        (self.home / ".pg_service.conf").write_text("[own]\nhost=127.0.0.1\nport=1\n")
        tap = {
            "TAP_SAGE_ACCOUNTING_TOKEN_STORE": f"sqlite:///{self.store}",
            "TAP_SAGE_ACCOUNTING_CLIENT_ID": "the-developers",
            "TAP_SAGE_ACCOUNTING_CLIENT_SECRET": "the-developers-secret",
            "TAP_SAGE_ACCOUNTING_PAGE_SIZE": "7",
        }
        (self.clone / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in tap.items()))
        self.variables = {
            **tap,
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "LOGLEVEL": "LOUD",
            "TAP_SAGE_ACCOUNTING_LOGLEVEL": "LOUD",
            "SINGER_SDK_LOG_CONFIG": str(self.home / "no-such-file.yaml"),
            "TARGET_POSTGRES_SQLALCHEMY_URL": "postgresql+psycopg://127.0.0.1:1/none",
            "MELTANO_PROJECT_ROOT": str(self.clone),
            "MELTANO_SYS_DIR_ROOT": str(self.home / "meltano"),
            "MELTANO_ENVIRONMENT": "no-such-environment",
            "PGSERVICE": "own",
            "PGHOST": "127.0.0.1",
            "PGPORT": "1",
            "HTTP_PROXY": "http://127.0.0.1:1",
            "https_proxy": "http://127.0.0.1:1",
            "ALL_PROXY": "http://127.0.0.1:1",
            "BROWSER": "no-such-browser",
        }

    def files(self) -> dict[Path, bytes]:
        places = (self.clone, self.home)
        return {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def developer() -> Iterator[Developer]:
    with place_for_postgres() as directory:
        directory.chmod(0o711)  # root's PostgreSQL, which runs as somebody else, is started from below it
        yield Developer(directory)


@pytest.mark.slow
def test_a_developers_settings_do_not_reach_the_tests_nor_the_tests_what_is_theirs(
    developer: Developer, tmp_path: Path
) -> None:
    before = developer.files()
    options = ["-q", "-n=0", "-pno:cacheprovider", f"--rootdir={ROOT}", f"--config-file={ROOT / 'pyproject.toml'}"]
    options += [f"--basetemp={tmp_path / 'their-tests'}", *(str(ROOT / "tests" / each) for each in REPRESENTATIVES)]
    # In the background, and to go on when the terminal is closed.
    ignoring_signals = ["sh", "-c", "trap '' INT HUP QUIT; exec \"$@\"", "sh"]
    done = subprocess.run(
        [*ignoring_signals, developer.clone / ".venv" / "bin" / "python", "-m", "pytest", *options],
        cwd=developer.clone,
        env={**OUTSIDE, **developer.variables, "PYTEST_ADDOPTS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert developer.files() == before


def test_there_is_nothing_where_the_tests_live() -> None:
    assert [*Path.cwd().iterdir()] == []
    assert Path.home() != Path(OUTSIDE.get("HOME", "/"))
    assert default_store_url().startswith(f"sqlite:///{Path.home()}")
    foreign = ("TAP_", "TARGET_", "MELTANO_", "SINGER_", "XDG_", "PG")
    assert [name for name in os.environ if name.startswith(foreign) or name.lower().endswith("_proxy")] == []
