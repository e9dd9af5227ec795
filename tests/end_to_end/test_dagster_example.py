"""The example for Dagster, in an environment that has Dagster, dbt and a simulated Sage with two businesses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.books import build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.dagster_process import Dagster, install
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.pipeline import Books
from sage_workbench.tables import Warehouse
from support.surroundings import OUTSIDE
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_workbench.dagster_process import Run

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

LISTS = ("contacts", "deletions", "ledger_entries", "run_reads", "runs")
"""Some of those of the job `sage_transactional`; scripts/check_dagster.py takes all, and builds all models."""
ASSETS = [["sage", name] for name in LISTS]
MODELS = [["stg_sage__run_reads"], ["sage__freshness"]]


class Code:
    """The code location, its warehouse, and the simulated Sage."""

    def __init__(self, sage: SandboxServer, database: str, directory: Path, python: Path) -> None:
        self.sage = sage
        self.directory = directory / "dagster"
        self._database = database.replace("+psycopg", "")
        self.dagster = Dagster(self.directory, python, sage, database)

    def wrong(self, business: str) -> list[str]:
        """Compare the rows of a business with its books."""
        books = Books.of(self.sage)
        assert {name for name, owner, _ in books.alive if owner == business} > {"contacts", "ledger_entries"}
        return Warehouse(self._database, books, {}).wrong(LISTS, [business])


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    directory = tmp_path_factory.mktemp("dagster")
    python = install(directory / "venv", Path(sys.executable).with_name("uv"), OUTSIDE)
    world = build_world(size="tiny", businesses=2, frozen=True)
    with SandboxServer(world) as sage, postgres_server() as database:
        code = Code(sage, database, directory, python)
        with code.dagster:
            yield code


@pytest.fixture(scope="module")
def partitioned(code: Code) -> Code:
    """With tables, and a partition for each business."""
    [account] = code.dagster.run("sage_account")
    assert account.success, code.dagster.output[-6000:]
    return code


@pytest.fixture(scope="module")
def failed(partitioned: Code) -> tuple[Code, Run, Run]:
    """After a first run of both businesses at once, in which Sage refused a list of the first one."""
    first, second = partitioned.sage.world.businesses
    fault = partitioned.sage.faults.add(Fault("contacts", 400, business=first, times=None))
    broken, whole = partitioned.dagster.run("sage_transactional", first, second, assets=ASSETS)
    partitioned.sage.faults.script.remove(fault)
    return partitioned, broken, whole


def test_each_list_leads_to_the_models_that_read_it(code: Code) -> None:
    parents = code.dagster.look()["parents"]
    assert "sage/sales_invoices" in parents["stg_sage__documents"]
    assert "stg_sage__ledger_entries" in parents["sage__general_ledger"]
    assert parents["sage/ledger_entries"] == ["sage/user"]
    lists = {asset.removeprefix("sage/") for asset in parents if asset.startswith("sage/")}
    assert lists == {stream.name for stream in STREAMS if not stream.retired}


def test_models_are_grouped_by_their_layer(code: Code) -> None:
    groups = code.dagster.look()["groups"]
    assert groups["stg_sage__documents"] == "sage_accounting_staging"
    assert groups["sage__profit_and_loss"] == "sage_accounting_marts"
    assert "default" not in groups.values()


def test_a_list_of_the_daily_job_does_not_warn_before_its_next_run_is_over(code: Code) -> None:
    hours = code.dagster.look()["hours_until_warning"]
    assert hours.keys() == {f"sage/{stream.name}" for stream in STREAMS if not stream.retired and stream.name != "user"}
    assert set(hours.values()) == {48}


def test_each_business_gets_a_partition_and_a_run_of_its_own(partitioned: Code) -> None:
    seen = partitioned.dagster.look()
    businesses = sorted(partitioned.sage.world.businesses)
    assert sorted(seen["partitions"]) == businesses
    requested = {name.removesuffix("_schedule"): sorted(runs, key=str) for name, runs in seen["requested"].items()}
    assert requested == {
        "sage_account": [None],
        "sage_transactional": businesses,
        "sage_reference": businesses,
        "sage_models": [None],
    }


def test_a_partition_that_fails_names_the_cause_and_stops_no_other(failed: tuple[Code, Run, Run]) -> None:
    code, broken, whole = failed
    assert (broken.success, whole.success) == (False, True)
    [cause] = broken.failures
    business = next(iter(code.sage.world.businesses.values()))
    assert cause.startswith(f"Failed: 'contacts' of {business.name} ({business.id}): page 1: Sage answered 400")
    assert cause.endswith("what failed is read again from its last bookmark on the next run.")
    assert "\n" not in cause
    assert broken.materialized.keys() == {"sage/ledger_entries", "sage/run_reads", "sage/runs"}
    assert whole.materialized.keys() == {f"sage/{name}" for name in LISTS}
    assert whole.materialized["sage/ledger_entries"]["records"] > 0
    assert whole.materialized["sage/ledger_entries"]["summary"].startswith("Run finished: ")
    assert code.wrong([*code.sage.world.businesses][1]) == []


def test_a_failed_partition_that_runs_again_catches_up_from_its_own_bookmarks(failed: tuple[Code, Run, Run]) -> None:
    code, _, _ = failed
    first, second = code.sage.world.businesses
    own, others = (code.directory / "states" / f"{business}.json" for business in (first, second))
    kept = others.read_bytes()
    entries = len(code.sage.world.businesses[first].collections["ledger_entries"].rows)
    code.sage.advance(2)
    [healed] = code.dagster.run("sage_transactional", first, assets=ASSETS)
    assert healed.success, code.dagster.output[-6000:]
    assert code.wrong(first) == []
    assert 0 < healed.materialized["sage/ledger_entries"]["records"] < entries / 2
    assert others.read_bytes() == kept
    assert [first in own.read_text(), second in own.read_text()] == [True, False]
    assert not code.sage.grants.refusals  # one login for all


def test_models_are_built_behind_the_lists(failed: tuple[Code, Run, Run]) -> None:
    code, _, _ = failed
    [built] = code.dagster.run("sage_models", assets=MODELS)
    assert built.success, code.dagster.output[-6000:]
    assert built.materialized.keys() == {"stg_sage__run_reads", "sage__freshness"}
    assert set(built.checks.values()) == {True}
