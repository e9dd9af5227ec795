"""The finance models tie to Sage's trial balance, and show it when what was loaded does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from sage_sandbox.books import build_world
from sage_workbench.finance_warehouse import MODELS, SCHEMA, Warehouse, copy_to_duckdb, duckdb_dbt, loaded
from sage_workbench.mart_examples import examples
from sage_workbench.marts import joins, marts
from support.finance_answers import QUESTIONS
from support.finance_books import main_figures
from support.finance_page import Page
from tap_sage_accounting.schemas import load
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = Path(__file__).parents[2] / "scripts"
PURCHASES = ("purchase_invoices", "purchase_credit_notes", "purchase_quick_entries")
RETIRED = {stream.name for stream in STREAMS if stream.retired}
"""Streams that the models know nothing of."""
UNCHECKED = {"reconciliation", "freshness", "dim_businesses", "dim_products", "dim_dates"}
"""Models whose pages say that no check holds them, or that they hold the checks."""
CHECKS = ("run", "--select", "+sage__reconciliation")
CHECKS_AGAIN = (*CHECKS, "--exclude", "path:models/staging,config.materialized:view")
"""With the views on the tap's tables as they are."""

NOT_SELECTED: list[tuple[tuple[str, ...], set[str], set[str]]] = [
    (("contact_allocations",), {"outstanding_amounts"}, set()),
    (
        ("sales_invoices", "transactions"),
        set(),
        {"receivables", "payables", "tax_on_sales", "tax_on_purchases", "cash_flow"},
    ),
    (("ledger_accounts",), {"known_accounts"}, set()),
]
"""Lists that were not selected, the checks that fail without them, and those that must say that nothing was checked."""


@dataclass
class Shared:
    """The warehouse of this module, and the result of a full build while that holds for the loaded rows.

    Attributes:
        statuses: of each model and test; empty where a test has changed the models.
    """

    warehouse: Warehouse
    statuses: dict[str, str]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    world = build_world(size="tiny", businesses=3, frozen=True)
    with loaded(world, tmp_path_factory.mktemp("finance")) as warehouse:
        yield Shared(warehouse, {})


@pytest.fixture
def statuses(shared: Shared) -> dict[str, str]:
    """Build the models; a build of an earlier test will do, if none has changed them since."""
    if not shared.statuses:
        shared.statuses = shared.warehouse.dbt.run("build")
    return shared.statuses


@pytest.fixture
def built(shared: Shared, statuses: dict[str, str]) -> Warehouse:
    """What was loaded with its models, for tests that change neither."""
    assert statuses
    return shared.warehouse


@pytest.fixture
def changing(shared: Shared, built: Warehouse) -> Iterator[Warehouse]:
    """What was loaded with its models, for tests that change the models."""
    yield built
    shared.statuses = {}


@pytest.fixture
def warehouse(shared: Shared) -> Warehouse:
    """What was loaded, for tests that build other models of it."""
    shared.statuses = {}
    return shared.warehouse


@pytest.mark.parametrize("script", ["build_sources.py", "draw_models.py"])
def test_what_is_made_from_schemas_and_descriptions_is_up_to_date(script: str) -> None:
    subprocess.run([sys.executable, SCRIPTS / script], check=True)


def test_everything_builds_and_ties(built: Warehouse, statuses: dict[str, str]) -> None:
    assert {status for status in statuses.values() if status not in ("success", "pass")} == set(), statuses
    verdicts = built.ask("select distinct check_id, verdict from sage__reconciliation")
    assert {check for check, _ in verdicts} == {
        "balance_sheet",
        "bank_balances",
        "cash_flow",
        "contact_balances",
        "document_lines",
        "document_taxes",
        "document_totals",
        "double_entry",
        "earnings",
        "known_accounts",
        "oracle_months",
        "outstanding_amounts",
        "payables",
        "payments",
        "receivables",
        "stock_quantities",
        "stock_values",
        "tax_on_purchases",
        "tax_on_sales",
        "trial_balance",
    }
    assert {verdict for _, verdict in verdicts} <= {"ties", "explained", "not checked"}
    assert {check for check, verdict in verdicts if verdict == "explained"} <= {
        "payables",
        "receivables",
        "tax_on_purchases",
        "tax_on_sales",
    }
    unchecked = "select distinct business_id, check_id from sage__reconciliation where verdict = 'not checked'"
    start = list(built.server.world.businesses)[2]
    assert set(built.ask(unchecked)) == {
        (start, "payables"),
        (start, "tax_on_purchases"),
        (start, "contact_balances"),
    }
    assert built.ask("select count(*) from sage__general_ledger where debit > 0") > [(100,)]


@dataclass(frozen=True)
class Corruption:
    """A fault of what was loaded, and the checks that show it."""

    table: str
    statement: str
    caught_by: frozenset[str]


def corruption(statement: str, *caught_by: str) -> Corruption:
    table = statement.split()[1 if statement.startswith("update") else 2]
    return Corruption(table, statement, frozenset(caught_by))


INVOICE = "(select min(id) from sales_invoices where status ->> 'id' = 'UNPAID' and exchange_rate = 1)"
FOREIGN = "(select min(id) from sales_invoices where status ->> 'id' <> 'VOID' and exchange_rate <> 1)"
TRANSACTION = """(select min(transaction ->> 'id') from ledger_entries
    where not deleted and date between '2025-02-01' and '2025-10-31')"""
SISTERS = """(select a.ledger_account from ledger_entries a where a.business_id = ledger_entries.business_id
    and a.id <> ledger_entries.id and not a.deleted and a.debit > 0
    and a.ledger_account ->> 'displayed_as' <> ledger_entries.ledger_account ->> 'displayed_as'
    and a.ledger_account ->> 'displayed_as' ~ '[(]7[0-9]+[)]' order by a.id limit 1)"""
CORRUPTIONS = {
    "an entry is lost": corruption(
        "delete from ledger_entries where id = (select min(id) from ledger_entries where not deleted)",
        "double_entry",
        "trial_balance",
    ),
    "deleted entries count": corruption("update ledger_entries set deleted = false where deleted", "trial_balance"),
    "an entry is in a sister account": corruption(
        f"""update ledger_entries set ledger_account = {SISTERS} where id = (select min(id) from ledger_entries
        where not deleted and debit > 0 and ledger_account ->> 'displayed_as' ~ '[(]7[2-7][0-9]+[)]')""",
        "trial_balance",
    ),
    "a transaction is in another month": corruption(
        f"update ledger_entries set date = date + 31 where transaction ->> 'id' = {TRANSACTION}", "trial_balance"
    ),
    "entries arrive with other amounts": corruption(
        f"update ledger_entries set debit = debit * 2, credit = credit * 2 where transaction ->> 'id' = {TRANSACTION}",
        "trial_balance",
    ),
    "a month of Sage's trial balance is missing": corruption(
        "delete from trial_balance where from_date = '2025-10-01'", "oracle_months"
    ),
    "a payment is lost": corruption(
        """delete from contact_payments where id = (select min(id) from contact_payments
        where transaction_type ->> 'id' = 'CUSTOMER_RECEIPT' and cardinality(allocated_artefacts) > 0)""",
        "receivables",
        "outstanding_amounts",
    ),
    "a payment has another amount": corruption(
        """update contact_payments set total_amount = total_amount + 1
        where id = (select min(id) from contact_payments)""",
        "payments",
    ),
    "an allocation is lost": corruption(
        """delete from contact_allocations where id = (select min(id) from contact_allocations
        where cardinality(allocated_artefacts) > 0)""",
        "outstanding_amounts",
    ),
    "an outstanding amount is stale": corruption(
        f"update sales_invoices set outstanding_amount = outstanding_amount - 10 where id = {INVOICE}",
        "outstanding_amounts",
    ),
    "a void invoice is open": corruption(
        """update sales_invoices set status = '{"id": "UNPAID"}' where status ->> 'id' = 'VOID'""",
        "document_totals",
        "receivables",
    ),
    "an invoice is lost": corruption(f"delete from sales_invoices where id = {INVOICE}", "receivables"),
    "an invoice is another customer's": corruption(
        f"""update sales_invoices set contact = jsonb_set(contact, '{{id}}', '"x"') where id = {INVOICE}""",
        "receivables",
    ),
    "an invoice is in another currency": corruption(
        f"update sales_invoices set base_currency_total_amount = total_amount where id = {FOREIGN}", "document_totals"
    ),
    "an invoice has other tax": corruption(
        f"update sales_invoices set base_currency_tax_amount = base_currency_tax_amount + 5 where id = {INVOICE}",
        "document_taxes",
    ),
    "an invoice lacks a line": corruption(
        f"update sales_invoices set invoice_lines = invoice_lines[2:] where id = {INVOICE}", "document_lines"
    ),
    "a credit note counts as an invoice": corruption(
        """update sales_quick_entries set transaction_type = '{"id": "SALES_QUICK_CREDIT_NOTE"}'
        where id = (select min(id) from sales_quick_entries where transaction_type ->> 'id' = 'SALES_QUICK_INVOICE')""",
        "document_totals",
    ),
    "a bank account's balance is stale": corruption(
        "update bank_accounts set balance = balance + 5 where currency ->> 'id' = 'GBP'", "bank_balances"
    ),
    "a movement of stock is lost": corruption(
        "delete from stock_movements where id = (select min(id) from stock_movements)", "stock_quantities"
    ),
    "a stock item has another quantity": corruption(
        """update stock_items set quantity_in_stock = quantity_in_stock + 1
        where id = (select min(id) from stock_items where average_cost_price > 1)""",
        "stock_quantities",
        "stock_values",
    ),
    "a stock item's value is stale": corruption(
        """update stock_items set average_cost_price_stock_value = average_cost_price_stock_value - 5
        where id = (select min(id) from stock_items where quantity_in_stock > 0)""",
        "stock_values",
    ),
    "a taxed payment is lost": corruption(
        "delete from other_payments where tax_amount > 0 and transaction_type ->> 'id' = 'OTHER_PAYMENT'",
        "tax_on_purchases",
    ),
}
"""Most are of the kinds that the mistakes of others with the same data were of."""


def queries(*pages: Path) -> dict[str, str]:
    """The queries of pages of the documentation, by title."""
    texts = [page.read_text() for page in pages or (DOCS / "questions.md",)]
    return dict(re.findall(r'```sql title="([^"]+)"\n(.*?)\n```', "\n".join(texts), re.DOTALL))


def test_twelve_questions_in_five_lines_have_the_answers_of_the_books(
    built: Warehouse, subtests: pytest.Subtests
) -> None:
    businesses = list(built.server.world.businesses.values())
    today = built.server.world.clock.now().date()
    assert list(queries()) == list(QUESTIONS)
    assert len(QUESTIONS) == 12
    for title, query in queries().items():
        with subtests.test(title):
            assert len(query.splitlines()) <= 5
            expected = QUESTIONS[title].of_books(businesses, today)
            assert expected
            assert QUESTIONS[title].of_rows(built.records(query)) == expected
    # This business accounts for tax on invoices, and its edition lists purchases: what is due is what was returned.
    periods = [row for row in built.records(queries()["vat-by-quarter"]) if row["business_id"] == businesses[0].id]
    returned = [row for row in periods if row["returned"] is not None]
    assert len(returned) > 2
    assert all(row["due"] == row["returned"] for row in returned)


def test_models_that_pages_of_uses_name_exist_and_their_queries_have_answers(built: Warehouse) -> None:
    pages = sorted((DOCS / "uses").glob("*.md"))
    relations = {
        str(name)
        for (name,) in built.ask(f"select relname from pg_class where relnamespace = '{MODELS}'::regnamespace")
    }
    for page in pages:
        named = set(re.findall(r"`((?:stg_)?sage__\w+)`", page.read_text()))
        assert len(named) >= 3
        assert named <= relations
    assert len(queries(*pages)) == len(pages) == 5
    for query in queries(*pages).values():
        assert len(query.splitlines()) <= 5
        assert built.ask(query)


def test_the_models_join_as_the_diagrams_show(built: Warehouse, subtests: pytest.Subtests) -> None:
    described = marts()
    # What was deleted in Sage is in no other model.
    there = {"changes_after_close": "what <> 'deleted'"}
    for mart in described.values():
        for other in joins(mart, described):
            with subtests.test(f"{mart.name} joins {other.name}"):
                column = other.key[-1]
                unmatched = f"""select distinct {column} from sage__{mart.name}
                    where {column} is not null and {there.get(mart.name, "true")}
                    and ({", ".join(other.key)}) not in (select {", ".join(other.key)} from sage__{other.name})"""
                assert built.ask(unmatched) == []


def test_every_model_has_a_page_that_says_how_it_ties(built: Warehouse) -> None:
    checks = {check for (check,) in built.ask("select distinct check_id from sage__reconciliation")}
    pages = {page.stem: page.read_text() for page in (DOCS / "models").glob("*.md") if page.stem != "joins"}
    assert pages.keys() == marts().keys()
    ties = {name: re.findall(r"## How it ties\n(.*?)\n## ", page, re.DOTALL)[0] for name, page in pages.items()}
    named = {name: checks.intersection(re.findall(r"`(\w+)`", text)) for name, text in ties.items()}
    assert {name for name, found in named.items() if not found} == UNCHECKED
    assert set().union(*named.values()) == checks
    assert {example.page.stem for example in examples()} == pages.keys()
    assert [example.title for example in examples() if len(example.query.splitlines()) > 5] == []


def test_every_list_that_was_read_is_as_fresh_as_the_run(built: Warehouse) -> None:
    [(started_at, reads)] = built.ask(f"select started_at, reads from {SCHEMA}.runs")
    lists = built.ask("select business_id, stream, fresh_until, last_status, last_reason from sage__freshness")
    assert len(lists) == reads
    assert len(lists) > 200
    assert {fresh for *_, fresh, status, _ in lists if status == "complete"} == {started_at}
    assert {(fresh, reason) for *_, fresh, status, reason in lists if status == "skipped"} <= {
        (None, "rights"),
        (None, "edition"),
        (None, "not_found"),
    }
    assert {stream for business_id, stream, *_ in lists if business_id is None} == {"user"}


def test_source_freshness_speaks_up_when_no_run_was_complete_for_days(built: Warehouse) -> None:
    with built.changed("runs", "update runs set ended_at = now() at time zone 'utc' - interval '4 days'"):
        assert not built.dbt.attempt("source", "freshness")["success"]
    with built.changed("runs", "update runs set ended_at = now() at time zone 'utc'"):
        assert built.dbt.attempt("source", "freshness")["success"]
    with built.changed("runs", "update runs set ended_at = now() at time zone 'utc', status = 'incomplete'"):
        assert not built.dbt.attempt("source", "freshness")["success"]


def test_descriptions_reach_the_database(built: Warehouse) -> None:
    built.dbt.run("run-operation", "sage_comment_sources")
    undescribed = """select nspname, relname, attname
        from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
        where nspname in ('{}', '{}') and relkind in ('r', 'v') and attnum > 0 and not attisdropped
        and attname not like '\\_sdc\\_%'
        and (obj_description(attrelid, 'pg_class') is null or col_description(attrelid, attnum) is null)"""
    assert [each for each in built.ask(undescribed.format(MODELS, SCHEMA)) if each[1] not in RETIRED] == []
    [(said,)] = built.ask(
        f"select col_description('{SCHEMA}.ledger_entries'::regclass, attnum) from pg_attribute"
        f" where attrelid = '{SCHEMA}.ledger_entries'::regclass and attname = 'debit'"
    )
    assert said == load("ledger_entries", ())["properties"]["debit"]["description"]


def test_dbt_documents_all_models_in_one_page(built: Warehouse) -> None:
    built.dbt.run("--write-json", "docs", "generate", "--static")
    page = (built.dbt.directory / "target" / "static_index.html").read_text()
    assert [mart.name for mart in marts().values() if json.dumps(mart.description) not in page] == []
    assert json.dumps(load("ledger_entries", ())["description"]) in page
    assert '"send_anonymous_usage_stats": false' in page or '"send_anonymous_usage_stats":false' in page


def test_the_report_shows_the_books(built: Warehouse) -> None:
    page = Page(built.dbt.report())
    assert page.is_whole_and_needs_nothing_else
    assert "Everything ties." in page.text
    today = built.server.world.clock.now().date()
    for business in built.server.world.businesses.values():
        expected = main_figures(business, today)
        assert expected["profit_and_loss"] != 0
        assert page.figures[business.id] | expected == page.figures[business.id]


@pytest.mark.slow
def test_duckdb_finds_and_reports_the_same(built: Warehouse, tmp_path: Path) -> None:
    copy_to_duckdb(built, path := tmp_path / "warehouse.duckdb")
    with duckdb_dbt(path, "build") as dbt:
        dbt.run("build")
        assert Page(dbt.report()).undated == Page(built.dbt.report()).undated
        dbt.run("run-operation", "sage_comment_sources")
    figures = """select business_id, check_id, month, expected, found, explained, verdict
        from sage_finance.sage__reconciliation order by 1, 2, 3"""
    undescribed = f"""select table_name, column_name from duckdb_columns() where comment is null
        and schema_name in ('{MODELS}', '{SCHEMA}') and column_name not like '_sdc_%'"""
    with duckdb.connect(path) as connection:
        assert connection.execute(figures).fetchall() == built.ask(figures)
        assert [each for each in connection.execute(undescribed).fetchall() if each[0] not in RETIRED] == []
        connection.execute("set search_path = 'sage_finance'")
        for query in (queries() | queries(*(DOCS / "uses").glob("*.md"))).values():
            assert len(connection.execute(query).fetchall()) == len(built.ask(query)) > 0
        for example in examples():
            assert len(connection.execute(example.query).fetchall()) == len(built.ask(example.query)), example.title


def test_a_check_that_differs_fails_the_build_with_its_figures_and_printable_names(changing: Warehouse) -> None:
    with changing.changed("sales_invoices", CORRUPTIONS["an outstanding amount is stale"].statement):
        changing.dbt.run(*CHECKS_AGAIN)
        changing.ask("update sage__dim_businesses set business_name = E'Red\\x1b[2J\\u202e Ltd' returning 1")
        outcome = changing.dbt.attempt("test", "--select", "sage_reconciliation_errors")
        page = changing.dbt.report()
    assert not outcome["success"]
    assert "It does not tie." in page
    assert re.search(r"What Sage says is open with totals less settlements</th>.{,200}>10\.00</td>", page, re.DOTALL)
    assert "outstanding_amounts differs by 10.0000 (expected" in changing.dbt.output
    assert "Reconciliation, Red?[2J? Ltd, " in changing.dbt.output
    assert "\x1b" not in changing.dbt.output.partition("<!doctype html>")[0]


def test_texts_from_outside_are_no_part_of_the_reports_page(changing: Warehouse) -> None:
    hostile = "</table><script src=https://example.com>alert(1)</script>\"onclick='x' & "
    texts = changing.ask(
        f"""select table_name, column_name from information_schema.columns
        where table_schema = '{MODELS}' and table_name like 'sage\\_\\_%'
        and (column_name like '%name' or column_name in ('section', 'currency_id', 'base_currency_id',
        'tax_return_number'))"""
    )
    assert len(texts) > 20
    for table, column in texts:
        changing.connection.execute(f"update {MODELS}.{table} set {column} = %s || {column}", [hostile])
    page = changing.dbt.report()
    assert "<script" not in page
    assert "onclick='" not in page
    assert page.count("&lt;/table&gt;&lt;script") > 50


@pytest.mark.slow
def test_what_is_wrong_with_the_data_is_seen(warehouse: Warehouse, subtests: pytest.Subtests) -> None:
    """Each copy of a business has one fault, except one that has none."""
    businesses = list(warehouse.server.world.businesses)
    with warehouse.copies() as add:
        for name, each in CORRUPTIONS.items():
            assert any(add(business, name, each.statement) for business in businesses), name
        add(businesses[0], "nothing", "update businesses set id = id")
        # Sage's trial balance is read from the first posting on, where it opens with nothing.
        begin_earlier = "update financial_settings set accounts_start_date = accounts_start_date - 1000"
        add(businesses[0], "accounts that begin long before the first posting", begin_earlier)
        warehouse.dbt.run(*CHECKS)
        assert warehouse.ask("select distinct ledger_source from int_sage__coverage") == [("entries",)]
        differing = defaultdict(set)
        for business, check in warehouse.ask(
            "select distinct business_id, check_id from sage__reconciliation where verdict = 'differs'"
        ):
            differing[business].add(check)
    assert set(differing) == set(CORRUPTIONS)
    for name, each in CORRUPTIONS.items():
        with subtests.test(name):
            assert each.caught_by <= differing[name]


@pytest.mark.slow
def test_a_list_that_was_not_selected_is_named_and_nothing_ties_falsely(
    changing: Warehouse, subtests: pytest.Subtests
) -> None:
    verdicts = "select distinct check_id from sage__reconciliation where verdict = '{}'"
    for tables, differing, unchecked in NOT_SELECTED:
        names = ", ".join(tables)
        with subtests.test(names), changing.without(*tables):
            changing.dbt.run(*CHECKS)
            assert differing <= {check for (check,) in changing.ask(verdicts.format("differs"))}
            ties = {check for verdict in ("ties", "explained") for (check,) in changing.ask(verdicts.format(verdict))}
            assert ties & unchecked == set()
            before = len(changing.dbt.output)
            outcome = changing.dbt.attempt("test", "--select", "sage_reconciliation_errors")
            said = changing.dbt.output[before:]
            assert outcome["success"] == (not differing)
            assert f"Reconciliation: its checks need lists that were not loaded: {names}." in said
            assert bool(differing) == (f"; not loaded: {names})" in said)


def test_what_an_edition_or_a_right_leaves_out_is_no_error(warehouse: Warehouse, subtests: pytest.Subtests) -> None:
    verdicts = "select distinct verdict from sage__reconciliation"
    missing = {
        "no stock, no purchases, no returns": ("stock_items", "tax_returns", *PURCHASES),
        "no right to the ledger": ("ledger_entries", "transactions"),
        "no trial balance": ("trial_balance",),
        "nothing about the businesses themselves": ("businesses", "financial_settings"),
    }
    for name, tables in missing.items():
        with subtests.test(name), warehouse.without(*tables):
            warehouse.dbt.run("run")
            assert set(warehouse.ask(verdicts)) <= {("ties",), ("explained",), ("not checked",)}
            if name == "no trial balance":
                checks = "select business_id, check_id from sage__reconciliation where verdict = 'not checked'"
                for business in warehouse.server.world.businesses:
                    assert {(business, "trial_balance"), (business, "oracle_months")} <= set(warehouse.ask(checks))
            if name == "no right to the ledger":
                assert warehouse.ask("select distinct ledger_source from sage__dim_businesses") == [("trial balance",)]
                assert warehouse.ask("select count(*) from sage__balance_sheet where balance <> 0") > [(100,)]
            if name == "nothing about the businesses themselves":
                checks = "select business_id, check_id from sage__reconciliation where verdict = 'ties'"
                for business in warehouse.server.world.businesses:
                    assert (business, "trial_balance") in warehouse.ask(checks)
            page = Page(warehouse.dbt.report())
            assert page.is_whole_and_needs_nothing_else
            assert set(page.figures) == set(warehouse.server.world.businesses)
