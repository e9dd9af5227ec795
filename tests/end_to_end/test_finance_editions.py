"""The finance models build and tie whatever a business's edition, the user's rights or `start_date` leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sage_sandbox.books import Plan, Practice, build_world
from sage_workbench.finance_warehouse import ALL, Warehouse, loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_workbench.loading import Loading

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

START_DATE = "2026-01-01"
PLANS = (Plan("CA", "Start"), Plan("GB", "Standard"), Plan("GB", "Plus", Practice(year_end=(4, 5))))
OF_ENTRIES = {"receivables", "payables", "document_totals", "tax_on_sales", "tax_on_purchases"}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Start, without stock and purchases; one without the right to journals; one read from a date on."""
    world = build_world(size="tiny", businesses=len(PLANS), frozen=True, plans=PLANS)
    start, without_journals, since = world.businesses.values()
    without_journals.permissions["journals"] = "no_access"

    def load(loading: Loading) -> None:
        loading.run(ALL, business_ids=[start.id, without_journals.id])
        loading.run(ALL, business_ids=[since.id], start_date=START_DATE)

    with loaded(world, tmp_path_factory.mktemp("editions"), load) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def built(warehouse: Warehouse) -> Warehouse:
    warehouse.dbt.run("build")
    return warehouse


def test_one_database_holds_three_editions(built: Warehouse) -> None:
    start, without_journals, since = built.server.world.businesses
    assert not built.ask("select business_id, check_id from sage__reconciliation where verdict = 'differs'")
    assert set(built.ask("select business_id, ledger_source from sage__dim_businesses")) == {
        (start, "entries"),
        (without_journals, "trial balance"),
        (since, "brought forward"),
    }
    unchecked = set(built.ask("select business_id, check_id from sage__reconciliation where verdict = 'not checked'"))
    assert (start, "payables") in unchecked
    assert (start, "receivables") not in unchecked
    for incomplete in (without_journals, since):
        assert {check for business, check in unchecked if business == incomplete} >= OF_ENTRIES


def test_statements_of_an_incomplete_ledger_are_those_of_sage(built: Warehouse) -> None:
    expected = {"trial_balance", "balance_sheet", "earnings", "cash_flow"}
    start, without_journals, since = built.server.world.businesses
    for business in (start, without_journals, since):
        verdicts = built.ask(f"""select distinct check_id, verdict from sage__reconciliation
            where business_id = '{business}'
            and check_id in ('trial_balance', 'balance_sheet', 'earnings', 'cash_flow')""")
        assert set(verdicts) == {(check, "ties") for check in expected}


def test_what_is_open_is_not_checked_where_no_payment_was_loaded(warehouse: Warehouse) -> None:
    query = "select distinct verdict from sage__reconciliation where check_id = 'outstanding_amounts'"
    with warehouse.without("contact_payments"):
        warehouse.dbt.run("run")
        assert warehouse.ask(query) == [("not checked",)]
        assert not warehouse.ask("select check_id from sage__reconciliation where verdict = 'differs'")
    warehouse.dbt.run("run")
    assert ("ties",) in warehouse.ask(query)
