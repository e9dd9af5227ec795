#!/usr/bin/env python
"""Run the Dagster example for real: all lists of all businesses, all models, and compare the tables with the books.

Dagster and dbt get an environment of their own, made by uv. A simulated Sage has access tokens that live for seconds
only: partitions renew the one login all the time. Then:

1. all partitions are loaded, several at once, and the models are built and reconciled;
2. days pass, a list of one business fails, the other partitions are loaded, and then it again;
3. a row of an invoice is changed, so that the models no longer tie.

    python scripts/check_dagster.py --environments DIRECTORY
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from sage_sandbox.books import build_world
from sage_sandbox.faults import Fault, Faults
from sage_sandbox.server import SandboxServer
from sage_workbench.dagster_process import Dagster, Run, install
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.pipeline import Books
from sage_workbench.tables import Warehouse
from tap_sage_accounting.streams import STREAMS

TOKEN_LIFETIME = 10.0
"""Seconds that an access token lives; the tap renews it when a fifth of them is left."""
STALE = """update sage.sales_invoices set outstanding_amount = outstanding_amount + 10
    where id = (select id from sage.sales_invoices where status ->> 'id' = 'UNPAID' order by updated_at limit 1)"""
"""Falsifies the invoice that changed longest ago: the next run does not read it again."""
LISTS = {stream.name for stream in STREAMS if not stream.retired}
JOBS = ("sage_transactional", "sage_reference")


def require(holds: object, message: str) -> None:
    """End with an error unless something holds.

    Raises:
        SystemExit: it does not.
    """
    if not holds:
        raise SystemExit(f"NOT AS IT SHOULD BE: {message}")


def load(dagster: Dagster, businesses: list[str], slots: int) -> list[Run]:
    """Run both jobs for some businesses, some at once; return the runs, and print how long that took."""
    began, runs = time.monotonic(), []
    for job in JOBS:
        for first in range(0, len(businesses), slots):
            runs += dagster.run(job, *businesses[first : first + slots])
    records = sum(metadata.get("records", 0) for run in runs for metadata in run.materialized.values())
    failed = [failure for run in runs for failure in run.failures]
    print(
        f"{len(runs)} runs, {records:,} records, {time.monotonic() - began:.0f} s; failed: {failed or 'none'}",
        flush=True,
    )
    return runs


def compare(sage: SandboxServer, database: str) -> None:
    """Compare everything with the books."""
    books = Books.of(sage)
    wrong = Warehouse(database.replace("+psycopg", ""), books, {}).wrong(LISTS, sage.world.businesses)
    print(f"{len(books.alive):,} rows of {len(sage.world.businesses)} businesses, {len(wrong)} differences", flush=True)
    require(not wrong, "\n".join(wrong[:20]))


def build(dagster: Dagster) -> Run:
    """Build the models; print how they tie."""
    began = time.monotonic()
    [run] = dagster.run("sage_models")
    passed = sum(run.checks.values())
    seconds = time.monotonic() - began
    print(
        f"models: {len(run.materialized)} built, {passed} of {len(run.checks)} checks passed, {seconds:.0f} s",
        flush=True,
    )
    return run


def run_all(dagster: Dagster, sage: SandboxServer, database: str, slots: int) -> None:
    """Run every step and print what it found."""
    businesses = list(sage.world.businesses)
    [account] = dagster.run("sage_account")
    require(account.success, dagster.output[-6000:])
    require(all(run.success for run in load(dagster, businesses, slots)), dagster.output[-6000:])
    compare(sage, database)
    require(build(dagster).success, dagster.output[-6000:])

    sage.advance(2)
    fault = sage.faults.add(Fault("sales_invoices", 400, business=businesses[0], times=None))
    runs = load(dagster, businesses, slots)
    require(sum(not run.success for run in runs) == 1, "one run, and no other, should have failed")
    sage.faults.script.remove(fault)
    load(dagster, businesses[:1], slots)
    compare(sage, database)
    require(build(dagster).success, dagster.output[-6000:])

    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        connection.execute(STALE)
    failed = build(dagster)
    print(
        f"a row was changed: {failed.failures}; failed checks: {[name for name, ok in failed.checks.items() if not ok]}"
    )
    has_figures = "outstanding_amounts differs by 10.0000" in "".join(failed.failures)
    require(not failed.success and has_figures, "the models should have failed with the figures")
    print(f"tokens: {sage.grants.refreshes} renewals, refused: {dict(sage.grants.refusals) or 'none'}")
    require(not sage.grants.refusals, "a grant was lost or nearly so")


def main() -> None:
    """Check the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, help="directory to keep Dagster's environment in")
    parser.add_argument("--businesses", type=int, default=4)
    parser.add_argument("--slots", type=int, default=4, help="businesses that are read at once")
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="dagster-", ignore_cleanup_errors=True)
        directory = Path(stack.enter_context(scratch))
        python = install((options.environments or directory) / "dagster", "uv", os.environ)
        world = build_world(size="tiny", businesses=options.businesses, frozen=True)
        faults = Faults(access_token_lifetime=TOKEN_LIFETIME, detail_flags_on_lists=True)
        database = stack.enter_context(postgres_server())
        sage = stack.enter_context(SandboxServer(world, faults=faults))
        dagster = stack.enter_context(Dagster(directory / "home", python, sage, database))
        run_all(dagster, sage, database, options.slots)


if __name__ == "__main__":
    main()
