"""Everything that login, tap, target, status and logout print at debug level, searched for every secret there is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.small_sage import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres

VISIT = """
import sys
from urllib.parse import parse_qsl, urlsplit
import requests
address = urlsplit(sys.argv[1])
answers = {**dict(parse_qsl(address.query)), "decision": "allow"}
requests.post(address._replace(query="").geturl(), data=answers, timeout=60)
"""
"""A user who opens the consent page and allows."""


@pytest.fixture
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


def payment_links(sage: SandboxServer) -> set[str]:
    found: set[str] = set()
    for business in sage.world.businesses.values():
        for row in business.collection("sales_invoices").rows.values():
            found |= {link["href"] for link in row.render().get("links", ()) if link["rel"] == "bookmark"}
    return found


class Terminal:
    """Runs commands at debug level and keeps everything that they print."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.printed = ""
        self._directory = directory
        self._environment = {
            **os.environ,
            "LOGLEVEL": "DEBUG",
            "TAP_SAGE_ACCOUNTING_LOGLEVEL": "DEBUG",
            "TARGET_POSTGRES_LOGLEVEL": "DEBUG",
            **environment,
        }

    def run(self, code: str, *options: str, standard_input: str | None = None, shown: bool = True) -> str:
        finished = subprocess.run(
            [sys.executable, "-c", code, *options],
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            cwd=self._directory,
            env=self._environment,
        )
        self.printed += finished.stderr + (finished.stdout if shown else "")
        assert finished.returncode == 0, finished.stderr[-3000:]
        return finished.stdout


def test_a_debug_level_run_of_everything_prints_no_secret(postgres: str, tmp_path: Path) -> None:
    (tmp_path / "visit.py").write_text(VISIT)
    terminal = Terminal(tmp_path, BROWSER=f"{shlex.join([sys.executable, str(tmp_path / 'visit.py')])} %s")
    with SandboxServer(build_world(size="tiny", businesses=1, frozen=True)) as sage:
        sage.faults.access_token_lifetime = 2
        sage.faults.add(Fault(path="contacts", what=401))
        sage.faults.add(Fault(path="products", what=500))
        config: dict[str, Any] = sage.tap_config(
            token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}",
            redirect_uri=f"http://127.0.0.1:{free_port()}/callback",
        )
        del config["refresh_token"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "target.json").write_text(json.dumps({"sqlalchemy_url": postgres, "default_target_schema": "sage"}))
        tap = ("--config", "config.json")
        terminal.run("from tap_sage_accounting.commands.login import login; login()", *tap)
        records = terminal.run(
            "from tap_sage_accounting.tap import TapSageAccounting; TapSageAccounting.cli()", *tap, shown=False
        )
        terminal.run("from tap_sage_accounting.commands.status import status; status()", *tap)
        terminal.run("from tap_sage_accounting.commands.logout import logout; logout()", *tap)
        secrets = {*sage.issued_secrets, sage.client_secret}
        links = payment_links(sage)
    # The target prints the records that it loads, and so the data in them, but nothing that opens an account.
    assert not [link for link in links if link in terminal.printed]
    few = [line for line in records.splitlines(keepends=True) if '"stream":"contacts"' in line.replace(": ", ":")]
    terminal.run(
        "from target_postgres.target import TargetPostgres; TargetPostgres.cli()",
        "--config",
        "target.json",
        standard_input="".join(few),
    )

    assert sage.grants.refreshes >= 1
    assert links
    assert any(link in records for link in links)
    assert "DEBUG" in terminal.printed
    assert len(secrets) >= 6
    assert few
    assert not [secret for secret in secrets if secret in terminal.printed]
