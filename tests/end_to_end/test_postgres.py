"""Everything that Sage holds lands in a real Postgres through the real target, to the last digit, and stays right."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from sage_demo.postgres import USER, Postgres, make_scratch
from sage_demo.supervision import supervised
from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.equality import differences
from sage_workbench.pipeline import ALL, PROGRAMS, Books, catalog_of, pipe
from sage_workbench.tables import SCHEMA, Warehouse
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    Record = dict[str, Any]

pytestmark = pytest.mark.postgres

LONG = "12345678901234567890.1234567891"
TOLD = {stream.name for stream in STREAMS if stream.deleted_since}
TOLD_BY_ID = {"contact_payments", "contacts", "journals", "purchase_invoices"}
DELETABLE = {stream.name for stream in STREAMS if stream.deletable}


class Laboratory:
    """A simulated Sage, a Postgres, and the two programs between them, run as Meltano runs them."""

    def __init__(self, server: SandboxServer, postgres: Postgres, directory: Path) -> None:
        self.server = server
        self._postgres = postgres
        self._directory = directory

    def load(self, name: str, streams: Collection[str], after: Warehouse | None = None) -> Warehouse:
        """Run the pipeline into a new database; after an earlier run, into a copy of its database."""
        template = after.conninfo.rpartition("dbname=")[2] if after else "template0"
        with psycopg.connect(self._postgres.conninfo, autocommit=True) as connection:
            connection.execute(f"create database {name} template {template}")
        host = self._postgres.socket_directory
        url = f"postgresql+psycopg://{USER}@/{name}?host={host}"
        target = self._write(f"{name}.target", {"sqlalchemy_url": url, "default_target_schema": SCHEMA})
        config = self._settings()
        tap: list[str | Path] = [
            PROGRAMS / "tap-sage-accounting",
            f"--config={self._write(f'{name}.tap', config)}",
            f"--catalog={self._write(f'{name}.catalog', catalog_of(config, streams))}",
        ]
        if after:
            tap.append(f"--state={self._write(f'{name}.state', after.state)}")
        states = pipe(tap, [PROGRAMS / "target-postgres", f"--config={target}"], self._directory)
        conninfo = f"host={host} user={USER} dbname={name}"
        return Warehouse(conninfo, Books.of(self.server), json.loads(states.splitlines()[-1]))

    def _settings(self) -> Record:
        tokens = f"sqlite:///{self._directory / 'tokens.sqlite'}"
        return self.server.tap_config(token_store=tokens, deletion_sweep_days=0)

    def _write(self, name: str, content: Record) -> Path:
        path = self._directory / f"{name}.json"
        path.write_text(json.dumps(content))
        return path


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    # Not below pytest's directories, which are closed to the user that a database of root's runs as.
    place = make_scratch()
    world = build_world(size="tiny", businesses=6, frozen=True)
    first = next(iter(world.businesses.values()))
    product = next(iter(first.collections["products"].rows.values()))
    prices = [{**price, "price": LONG} for price in product.render()["sales_prices"]]
    first.collections["products"].change(product.id, {"cost_price": LONG, "sales_prices": prices}, product.updated_at)
    with (
        SandboxServer(world) as server,
        supervised(scratch := make_scratch(), follow_parent=False) as environment,
        Postgres(place, {**os.environ, **environment}).running(scratch) as postgres,
    ):
        server.faults.detail_flags_on_lists = True
        yield Laboratory(server, postgres, tmp_path_factory.mktemp("pipeline"))
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def first_run(laboratory: Laboratory) -> Warehouse:
    """Everything, into an empty database."""
    return laboratory.load("first", ALL)


@pytest.fixture(scope="module")
def second_run(laboratory: Laboratory, first_run: Warehouse) -> Warehouse:
    """What three days of business changed, on top of the first run."""
    laboratory.server.advance(3)
    return laboratory.load("second", ALL, first_run)


@pytest.fixture(scope="module")
def third_run(laboratory: Laboratory, second_run: Warehouse) -> Warehouse:
    """What two more days changed, from a Sage that shows no more of deleted records than their ids."""
    laboratory.server.faults.tombstones = "id_only"
    laboratory.server.advance(2)
    return laboratory.load("third", {*TOLD_BY_ID, "deletions"}, second_run)


# Everything lands


def test_every_value_of_every_record_lands(first_run: Warehouse) -> None:
    rows = first_run.rows()
    assert len(rows) > 3000
    assert set(rows) == set(first_run.books.alive)
    assert {place: found for place in rows if (found := differences(first_run.books.alive[place], rows[place]))} == {}


def test_every_single_object_lands(first_run: Warehouse, laboratory: Laboratory) -> None:
    for (name, business_id), body in first_run.books.objects.items():
        [row] = first_run.ask(f"select * from {name or 'businesses'} where business_id = '{business_id}'")
        assert differences(body, row) == [], name
    [user] = first_run.ask('select * from "user"')
    assert differences(laboratory.server.world.user, user) == []


def test_every_stream_has_a_table_with_rows(first_run: Warehouse) -> None:
    assert [name for name in sorted(ALL) if not first_run.ask(f'select from "{name}" limit 1')] == []


def test_decimals_of_twenty_digits_stay_exact_in_columns_and_inside_json(first_run: Warehouse) -> None:
    [product] = first_run.ask(f"select cost_price, sales_prices from products where cost_price = {LONG}")
    assert product["cost_price"] == Decimal(LONG)
    assert [price["price"] for price in product["sales_prices"]] == [Decimal(LONG)] * len(product["sales_prices"])


def test_columns_have_the_types_that_their_values_deserve(first_run: Warehouse) -> None:
    found = first_run.ask(
        "select table_name, column_name, data_type, is_nullable from information_schema.columns"
        f" where table_schema = '{SCHEMA}'"
    )
    types = {(row["table_name"], row["column_name"]): row["data_type"] for row in found}
    expected = {
        "total_amount": "numeric",
        "exchange_rate": "numeric",
        "date": "date",
        "due_date": "date",
        "updated_at": "timestamp without time zone",
        "deleted_at": "timestamp without time zone",
        "contact": "jsonb",
        "currency": "jsonb",
        "invoice_lines": "ARRAY",
        "sent": "boolean",
        "id": "text",
        "business_id": "text",
        "additional_attributes": "text",
    }
    assert {name: types["sales_invoices", name] for name in expected} == expected
    for name in ("debit", "credit"):
        assert types["ledger_entries", name] == "numeric"
        assert types["trial_balance", name] == "numeric"
    assert "double precision" not in types.values()
    assert "character varying" not in types.values()
    assert types["businesses", "additional_attributes"] == "text"


def test_keys_are_primary_keys(first_run: Warehouse) -> None:
    found = first_run.ask(
        "select table_name, array_agg(column_name::text order by ordinal_position) as columns"
        f" from information_schema.key_column_usage where table_schema = '{SCHEMA}' group by table_name"
    )
    keys = {row["table_name"]: set(row["columns"]) for row in found}
    assert keys == {stream.name: set(stream.primary_keys) for stream in STREAMS}


# An accountant's checks


def test_debits_equal_credits_in_every_transaction_and_in_total(first_run: Warehouse) -> None:
    unbalanced = """
        select business_id, transaction ->> 'id' from ledger_entries where deleted is not true
        group by 1, 2 having sum(debit) <> sum(credit)
    """
    assert first_run.ask(unbalanced) == []
    totals = first_run.ask("select sum(debit) as debit, sum(credit) as credit from ledger_entries group by business_id")
    assert len(totals) == 3
    assert all(row["debit"] == row["credit"] > 0 for row in totals)


TRIAL_BALANCE_DISAGREEMENTS = """
    with closing as (
        select business_id, ledger_account_id, to_date, sum(closing_balance_debit - closing_balance_credit) as balance
        from trial_balance group by 1, 2, 3
    ), months as (
        select distinct business_id, to_date from trial_balance
    ), ledger as (
        select business_id, ledger_account ->> 'id' as ledger_account_id, to_date, sum(debit - credit) as balance
        from months join ledger_entries using (business_id)
        where deleted is not true and date <= to_date group by 1, 2, 3
    )
    select * from closing full join ledger using (business_id, ledger_account_id, to_date)
    where coalesce(closing.balance, 0) <> coalesce(ledger.balance, 0)
"""


def test_the_ledger_adds_up_to_the_trial_balance_of_every_month(first_run: Warehouse) -> None:
    [months] = first_run.ask("select count(distinct (business_id, to_date)) as count from trial_balance")
    assert months["count"] == 3 * 25
    assert first_run.ask(TRIAL_BALANCE_DISAGREEMENTS) == []


def test_invoices_are_the_sum_of_their_lines_less_what_was_paid(first_run: Warehouse) -> None:
    wrong = """
        select id from sales_invoices,
        lateral (select sum((line ->> 'total_amount')::numeric) as lines from unnest(invoice_lines) as line)
        where total_amount <> lines + coalesce(shipping_total_amount, 0) or total_amount <> net_amount + tax_amount
        or (status ->> 'id' not in ('VOID', 'DRAFT') and outstanding_amount <> total_amount - total_paid)
    """
    assert first_run.ask(wrong) == []
    [count] = first_run.ask("select count(*) from sales_invoices where total_amount > 0 and total_paid > 0")
    assert count["count"] >= 3


# The second run


def test_after_an_incremental_run_the_tables_equal_the_books_again(first_run: Warehouse, second_run: Warehouse) -> None:
    rows, books = second_run.rows(), second_run.books
    changed = sum(first_run.books.alive.get(place) != body for place, body in books.alive.items())
    assert changed > 50
    for place, body in books.alive.items():
        assert differences(body, rows[place]) == [], place
        assert rows[place].get("deleted_at") is None, place
    unknown = set(rows) - set(books.alive) - set(books.deleted)
    assert {name for name, _, _ in unknown} <= {"unallocated_artefacts"}


def test_deleted_records_are_flagged_and_keep_their_columns(first_run: Warehouse, second_run: Warehouse) -> None:
    rows, books = second_run.rows(), second_run.books
    meanwhile = {
        place: body
        for place, body in books.deleted.items()
        if datetime.fromisoformat(body["deleted_at"]) >= first_run.books.moment
    }
    reported = {place: body for place, body in meanwhile.items() if place[0] in TOLD}
    found_missing = [place for place in meanwhile if place[0] not in TOLD and place in first_run.books.alive]
    assert len({name for name, _, _ in reported}) > 5
    assert found_missing
    for place, body in reported.items():
        assert differences(body, rows[place]) == [], place
    for place in found_missing:
        assert rows[place]["deleted_at"] is not None, place
        assert differences(first_run.books.alive[place], rows[place]) == [], place


def test_deletions_are_listed_in_a_stream_of_their_own(second_run: Warehouse) -> None:
    listed = {(row["stream"], row["business_id"], row["id"]) for row in second_run.ask("select * from deletions")}
    flagged = {place for place, row in second_run.rows().items() if row.get("deleted_at") or row.get("deleted")}
    assert flagged <= listed
    assert {place for place in listed if place[0] in DELETABLE} <= set(second_run.books.deleted)


def test_the_trial_balance_follows_the_ledger(second_run: Warehouse) -> None:
    rows = {
        (row["business_id"], row["from_date"].isoformat(), row["ledger_account_id"]): row
        for row in second_run.ask("select * from trial_balance")
    }
    for place, line in second_run.books.trial_balance.items():
        row = rows.pop(place)
        for balance in ("opening_balance", "closing_balance"):
            assert Decimal(line[balance]["debit"]) == row[f"{balance}_debit"], place
            assert Decimal(line[balance]["credit"]) == row[f"{balance}_credit"], place
        assert (Decimal(line["debit"]), Decimal(line["credit"])) == (row["debit"], row["credit"]), place
        assert line["to_date"] == row["to_date"].isoformat()
    assert all(row["closing_balance_debit"] == row["closing_balance_credit"] == 0 for row in rows.values())
    assert second_run.ask(TRIAL_BALANCE_DISAGREEMENTS) == []


def test_a_deletion_reported_by_id_only_leaves_the_other_columns_as_they_were(
    second_run: Warehouse, third_run: Warehouse
) -> None:
    before, rows = second_run.rows(), third_run.rows()
    deleted = [place for place in third_run.books.deleted if place[0] in TOLD_BY_ID and place in second_run.books.alive]
    assert {name for name, _, _ in deleted} == TOLD_BY_ID
    for place in deleted:
        kept = {name: value for name, value in rows[place].items() if not name.startswith("_sdc")}
        # Nobody said when, so it is the moment at which it was learned.
        assert kept.pop("deleted_at") == third_run.books.moment.replace(tzinfo=None), place
        assert kept == {name: before[place][name] for name in kept}, place
