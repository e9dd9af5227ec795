"""The books of the simulated Sage add up, look like Sage's, and change so that change tracking can follow."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import advance, balance_details, build_world, disagreements, trial_balance
from sage_sandbox.books.company import Company
from sage_sandbox.books.editions import LISTS, offered
from sage_sandbox.books.posting import post
from sage_sandbox.books.transactions import Leg, Posting
from sage_sandbox.store import timestamp

if TYPE_CHECKING:
    from sage_sandbox.store import World

NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)
ALWAYS, TODAY = date(1900, 1, 1), date(2100, 1, 1)
SINGLE_OBJECTS = {
    "business_settings",
    "cis_settings",
    "datev_settings",
    "email_settings",
    "financial_settings",
    "invoice_settings",
    "migrations",
}
POSTED = {
    "sales_invoices": "invoice_lines",
    "sales_credit_notes": "credit_note_lines",
    "purchase_invoices": "invoice_lines",
    "purchase_credit_notes": "credit_note_lines",
}
BIG_DECIMAL = re.compile(r"-?\d+\.(\d*[1-9]|0)")
Body = dict[str, Any]


@pytest.fixture(scope="module")
def demo() -> World:
    return build_world(size="demo", frozen=True)


@pytest.fixture
def world() -> World:
    return build_world(size="tiny", frozen=True)


def bodies(business: Company, name: str) -> list[Body]:
    return [row.render() for row in business.books[name].rows.values()]


def companies(world: World) -> list[Company]:
    return [business for business in world.businesses.values() if isinstance(business, Company)]


def everything(world: World) -> str:
    """All that a world says, as one text."""
    return json.dumps(
        [
            (
                business.id,
                business.body,
                business.objects,
                {
                    name: [[row.render() for row in rows.values()] for rows in (collection.rows, collection.tombstones)]
                    for name, collection in business.collections.items()
                },
            )
            for business in world.businesses.values()
        ]
    )


def british(world: World) -> Company:
    return companies(world)[0]


def total(rows: list[Body], name: str) -> Decimal:
    return sum((Decimal(row[name]) for row in rows), Decimal(0))


def test_same_seed_makes_the_same_books_and_lives_the_same_days() -> None:
    worlds = [build_world(size="tiny", seed=7, frozen=True) for _ in range(2)]
    for each in worlds:
        advance(each, days=3, seed=5)
    assert everything(worlds[0]) == everything(worlds[1])


def test_another_seed_makes_other_books() -> None:
    one, two = (build_world(size="tiny", seed=seed, frozen=True) for seed in (1, 2))
    assert one.businesses.keys().isdisjoint(two.businesses)
    assert british(one).books["ledger_entries"].rows.keys().isdisjoint(british(two).books["ledger_entries"].rows)


def test_businesses_come_from_three_countries_in_three_editions(demo: World) -> None:
    found = [
        (each.country, each.edition, each.objects["financial_settings"]["base_currency"]["id"])
        for each in demo.businesses.values()
    ]
    assert found == [("GB", "Plus", "GBP"), ("IE", "Standard", "EUR"), ("CA", "Start", "CAD")]
    assert all(set(each.permissions.values()) == {"full_access"} for each in demo.businesses.values())


def test_every_list_and_single_object_has_records_in_some_business() -> None:
    world = build_world(size="tiny", businesses=6, frozen=True)
    filled = {
        name for each in world.businesses.values() for name, collection in each.collections.items() if collection.rows
    }
    assert filled == set(LISTS)
    assert {name for each in world.businesses.values() for name in each.objects} == SINGLE_OBJECTS


def test_a_business_lacks_what_its_country_or_edition_does_not_have(demo: World) -> None:
    gb, ie, ca = companies(demo)
    assert {"stock_items", "analysis_types", "draft_tax_returns"} <= gb.collections.keys()
    assert "cis_settings" in gb.objects
    assert not {"stock_items", "draft_tax_returns"} & ie.collections.keys()
    assert not {"analysis_types", "tax_schemes"} & ca.collections.keys()
    assert not {"journal_codes", "tax_offices", "sales_corrective_invoices"} & gb.collections.keys()
    for company in (gb, ie, ca):
        assert company.collections.keys() == {name for name in LISTS if offered(name, company.country, company.edition)}


@pytest.mark.parametrize("days", [0, 1, 12])
def test_the_books_agree_with_themselves(days: int) -> None:
    world = build_world(size="tiny", businesses=6, frozen=True)
    advance(world, days=days)
    assert [disagreements(company) for company in companies(world)] == [[]] * 6


def test_disagreements_name_what_does_not_add_up(world: World) -> None:
    company = british(world)
    entry = next(row for row in company.books["ledger_entries"].rows.values() if not row.render()["deleted"])
    company.book("ledger_entries").change(entry.id, {"deleted": True}, NOW)
    assert entry.render()["transaction"]["id"] in disagreements(company)[0]


def test_debits_equal_credits_in_every_live_transaction(demo: World) -> None:
    for company in companies(demo):
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for entry in bodies(company, "ledger_entries"):
            if not entry["deleted"]:
                sums[entry["transaction"]["id"]] += Decimal(entry["debit"]) - Decimal(entry["credit"])
        live = {row["id"] for row in bodies(company, "transactions") if not row["deleted"]}
        assert sums.keys() == live
        assert not any(sums.values())


def test_an_unbalanced_posting_is_refused(world: World) -> None:
    company = british(world)
    before = len(company.books["ledger_entries"].rows)
    legs = [Leg(company.accounts[1200], Decimal(5)), Leg(company.accounts[7100], Decimal("-4.99"))]
    with pytest.raises(ValueError, match="does not balance"):
        post(company, Posting("JOURNAL", NOW.date(), NOW, legs, "", None))
    assert len(company.books["ledger_entries"].rows) == before


@pytest.mark.parametrize(("collection", "lines"), POSTED.items())
def test_document_totals_are_the_sums_of_their_lines(demo: World, collection: str, lines: str) -> None:
    for company in companies(demo):
        for document in bodies(company, collection):
            for amount in ("net_amount", "tax_amount", "total_amount"):
                assert Decimal(document[amount]) == total(document[lines], amount)


@pytest.mark.parametrize("collection", POSTED)
def test_what_is_outstanding_follows_from_payments_and_allocations(demo: World, collection: str) -> None:
    for company in companies(demo):
        for document in bodies(company, collection):
            settled = document["payments_allocations"]
            paid, discount = total(settled, "amount"), total(settled, "discount")
            assert Decimal(document["payments_allocations_total_amount"]) == paid
            status, outstanding = document["status"]["id"], Decimal(document["outstanding_amount"])
            if status == "VOID":
                assert not outstanding
                assert document["void_reason"] == "Raised in error"
                continue
            assert outstanding == Decimal(document["total_amount"]) - paid - discount
            if status != "DRAFT":
                assert status == ("PAID" if not outstanding else "PART_PAID" if settled else "UNPAID")


def test_all_amounts_of_an_allocation_sum_to_zero(demo: World) -> None:
    allocations = [row for company in companies(demo) for row in bodies(company, "contact_allocations")]
    assert allocations
    assert not any(total(row["allocated_artefacts"], "amount") for row in allocations)


def test_contact_balances_are_what_their_open_items_come_to(demo: World) -> None:
    for company in companies(demo):
        open_by_contact: defaultdict[str, Decimal] = defaultdict(Decimal)
        for artefact in company.artefacts.values():
            open_by_contact[artefact.party.id] += artefact.sign * artefact.base_outstanding
        for contact in bodies(company, "contacts"):
            assert Decimal(contact["balance"]) == open_by_contact[contact["id"]]


def test_unallocated_artefacts_are_the_open_ones_under_their_own_path(demo: World) -> None:
    company = british(demo)
    listed = company.collections["unallocated_artefacts"].rows
    assert listed.keys() == {each.id for each in company.artefacts.values() if each.outstanding}
    for row in listed.values():
        _, collection, identity = row.render()["$path"].split("/")
        assert identity in company.collections[collection].rows


def test_trial_balance_adds_up_and_each_account_moves_from_opening_to_closing(demo: World) -> None:
    for company in companies(demo):
        report = trial_balance(company, date(2025, 7, 1), date(2025, 12, 31))
        lines = report["ledger_accounts"]
        assert (report["from_date"], report["to_date"]) == ("2025-07-01", "2025-12-31")
        for columns in (lines, *([line[name] for line in lines] for name in ("opening_balance", "closing_balance"))):
            assert total(columns, "debit") == total(columns, "credit") > 0
        for line in lines:
            opening, closing, moved = (
                Decimal(part["debit"]) - Decimal(part["credit"])
                for part in (line["opening_balance"], line["closing_balance"], line)
            )
            assert opening + moved == closing
            assert opening or moved
            assert "0" in (line["debit"], line["credit"])


def test_trial_balance_leaves_deleted_entries_out_and_writes_whole_amounts_plainly(world: World) -> None:
    company = british(world)
    expected: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in bodies(company, "ledger_entries"):
        if not entry["deleted"]:
            expected[entry["ledger_account"]["id"]] += Decimal(entry["debit"]) - Decimal(entry["credit"])
    lines = trial_balance(company, ALWAYS, TODAY)["ledger_accounts"]
    found = {line["id"]: Decimal(line["debit"]) - Decimal(line["credit"]) for line in lines}
    assert found == {identity: amount for identity, amount in expected.items() if amount}
    assert not [line for line in lines if line["debit"].endswith(".0")]
    assert any(line["displayed_as"].endswith("(10)") for line in lines)


def test_balance_details_can_leave_deleted_entries_out(world: World) -> None:
    company = british(world)
    every, live = (
        balance_details(company, ALWAYS, TODAY, exclude_deleted=exclude)[company.accounts[1100].id]
        for exclude in (False, True)
    )
    assert Decimal(every["debits"]) > Decimal(live["debits"])
    assert Decimal(live["balance"]) == abs(Decimal(live["debits"]) - Decimal(live["credits"]))
    assert live["credit_or_debit"] == "debit"


def test_foreign_invoices_carry_a_ten_place_rate_and_rounded_base_amounts(demo: World) -> None:
    invoices = [row for row in bodies(british(demo), "sales_invoices") if row["currency"]["id"] != "GBP"]
    assert {row["currency"]["id"] for row in invoices} <= {"EUR", "USD"}
    assert len(invoices) > 5
    for row in invoices:
        rate = Decimal(row["exchange_rate"])
        assert rate.as_tuple().exponent == -10
        for name in ("net_amount", "tax_amount", "total_amount"):
            assert Decimal(row[f"base_currency_{name}"]) == round(Decimal(row[name]) * rate + Decimal("1E-9"), 2)


def test_bodies_spell_values_as_sage_does(demo: World) -> None:
    gb = british(demo)
    invoices, movements = bodies(gb, "sales_invoices"), bodies(gb, "stock_movements")
    assert all(BIG_DECIMAL.fullmatch(row["total_amount"]) for row in invoices)
    paid = {row["last_paid"] for row in invoices}
    assert "" in paid
    assert all(re.fullmatch(r"(\d\d/\d\d/\d{4})?", text) for text in paid)
    assert gb.objects["financial_settings"]["mtd_authenticated_date"] == ""
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", row["date"]) for row in movements)
    assert {(row["movement_number"].__class__, row["stock_item"]["weight"]) for row in movements} == {(int, 0)}
    assert isinstance(bodies(gb, "analysis_types")[0]["analysis_type_level"], dict)
    assert {row["description"] for row in bodies(gb, "journals")} == {"null"}
    assert all(row["pas_payment_submission"] is None for row in invoices)


def test_ids_are_as_varied_as_sages(demo: World) -> None:
    gb = british(demo)
    assert all(re.fullmatch(r"[0-9a-f]{32}", identity) for identity in gb.collections["sales_invoices"].rows)
    dashed = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert all(re.fullmatch(dashed, identity) for identity in gb.collections["attachments"].rows)
    assert "GB_STANDARD" in gb.collections["tax_rates"].rows
    for name in ("exchange_rates", "live_exchange_rates", "business_exchange_rates"):
        for code, row in gb.collections[name].rows.items():
            assert "id" not in row.render()
            assert row.render()["$path"] == f"/{name}/{code}"


def test_opening_balances_and_stock_share_ids_with_other_lists(demo: World) -> None:
    gb = british(demo)
    opening = gb.collections["contact_opening_balances"].rows
    quick = gb.collections["sales_quick_entries"].rows.keys() | gb.collections["purchase_quick_entries"].rows.keys()
    assert opening.keys() <= quick
    assert gb.collections["stock_items"].rows.keys() < gb.collections["products"].rows.keys()
    kinds = {row["catalog_item_type"]["id"] for row in bodies(gb, "products")}
    assert kinds == {"PRODUCT", "STOCK_ITEM"}


def test_the_books_hold_values_that_break_careless_software(demo: World) -> None:
    text = everything(demo)
    gb = british(demo)
    assert "12345678901234567.1234" in text
    assert any(len(row["notes"]) > 10_000 for row in bodies(gb, "sales_invoices"))
    assert any("\n" in line["description"] for row in bodies(gb, "sales_invoices") for line in row["invoice_lines"])
    assert any(Decimal(line["net_amount"]) < 0 for row in bodies(gb, "sales_invoices") for line in row["invoice_lines"])
    assert any("🚀" in row["name"] for row in bodies(gb, "contacts"))
    assert any(row["updated_at"] is None for row in bodies(gb, "ledger_entries"))
    assert any(row["transaction"] is None for row in bodies(gb, "sales_invoices") + bodies(gb, "purchase_invoices"))
    assert any(row["origin"] is None for row in bodies(gb, "transactions"))
    assert any(row["displayed_as"] is None for row in bodies(gb, "contact_payments"))


def test_references_lead_to_records(demo: World) -> None:
    for company in companies(demo):
        for name, reference in (("contact", "contacts"), ("transaction", "transactions"), ("currency", "currencies")):
            for invoice in bodies(company, "sales_invoices"):
                assert invoice[name] is None or invoice[name]["id"] in company.collections[reference].rows
        accounts = company.collections["ledger_accounts"].rows
        assert all(entry["ledger_account"]["id"] in accounts for entry in bodies(company, "ledger_entries"))


def test_timestamps_are_whole_seconds_of_the_past_and_the_chart_shares_one(demo: World) -> None:
    for company in companies(demo):
        for collection in company.collections.values():
            for row in collection.rows.values():
                for moment in (row.created_at, row.updated_at):
                    assert moment is None or (moment <= NOW and not moment.microsecond)
        assert len({row.created_at for row in company.collections["ledger_accounts"].rows.values()}) == 1


def test_bulk_history_fills_the_ledger_and_still_balances() -> None:
    company = british(build_world(size="tiny", businesses=1, ledger_entries=5_000, frozen=True))
    assert len(company.collections["ledger_entries"].rows) == 5_000
    assert disagreements(company) == []
    journals = bodies(company, "journals")
    assert len(journals) > 90
    for journal in journals:
        lines = journal["journal_lines"]
        assert total(lines, "debit") == total(lines, "credit") == Decimal(journal["total"])
    moments = [row.created_at for row in company.collections["transactions"].rows.values() if row.created_at]
    assert moments == sorted(moments)
    assert moments[-1] - moments[0] > timedelta(days=600)


def test_a_day_brings_every_kind_of_change(world: World) -> None:
    gb = british(world)
    before = {name: set(collection.rows) for name, collection in gb.collections.items()}
    active = {row["id"] for row in bodies(gb, "contacts") if row["is_active"]}
    voided = {row["id"] for row in bodies(gb, "transactions") if row["deleted"]}
    advance(world)
    assert world.clock.now() == NOW + timedelta(days=1)
    for name in ("sales_invoices", "purchase_invoices", "contact_payments", "contacts", "products", "journals"):
        assert gb.collections[name].rows.keys() - before[name], name
    for name in ("contact_payments", "purchase_invoices", "contacts", "addresses", "contact_persons", "journals"):
        assert gb.collections[name].tombstones, name
    assert gb.collections["products"].tombstones or gb.collections["services"].tombstones
    assert {row["id"] for row in bodies(gb, "transactions") if row["deleted"]} > voided
    assert active - {row["id"] for row in bodies(gb, "contacts") if row["is_active"]}
    items = bodies(gb, "products") + bodies(gb, "services")
    assert any(row["active"] is False for row in items)
    assert any(row["notes"].startswith("Reminder sent") for row in bodies(gb, "sales_invoices"))


def test_whatever_changes_moves_its_time_of_change(world: World) -> None:
    advance(world)
    start = world.clock.now()
    before = {
        (business.id, name, row_id): row.render()
        for business in world.businesses.values()
        for name, collection in business.collections.items()
        for row_id, row in collection.rows.items()
    }
    advance(world)
    changed = 0
    for business in world.businesses.values():
        for name, collection in business.collections.items():
            for row_id, row in collection.rows.items():
                old, new = before.get((business.id, name, row_id)), row.render()
                if old is None or old != new:
                    changed += 1
                    assert row.updated_at is None or start < row.updated_at < world.clock.now(), (name, old, new)
                    assert name == "unallocated_artefacts" or row.updated_at is not None
    assert changed > 100


def test_what_is_deleted_leaves_a_dated_tombstone_and_a_flagged_transaction(world: World) -> None:
    start = world.clock.now()
    advance(world, days=2)
    gb = british(world)
    assert gb.collections["contact_payments"].tombstones
    for row in gb.collections["contact_payments"].tombstones.values():
        body = row.render()
        assert body["deleted_at"] > timestamp(start)
        transaction = gb.collections["transactions"].rows[body["transaction"]["id"]].render()
        assert transaction["deleted"] is True
        assert transaction["updated_at"] == body["deleted_at"]
        entries = [row for row in bodies(gb, "ledger_entries") if row["transaction"]["id"] == transaction["id"]]
        assert {(entry["deleted"], entry["updated_at"]) for entry in entries} == {(True, body["deleted_at"])}


def test_a_reissued_journal_has_a_new_id_and_leaves_the_old_one_deleted(world: World) -> None:
    gb = british(world)
    known = set(gb.collections["journals"].rows)
    advance(world)
    gone = [row.render()["reference"] for row in gb.collections["journals"].tombstones.values()]
    new = [row["reference"] for row in bodies(gb, "journals") if row["id"] not in known]
    assert set(gone) & set(new)


def test_more_businesses_than_plans_get_names_and_ids_of_their_own() -> None:
    world = build_world(size="tiny", businesses=14, frozen=True)
    assert len(world.businesses) == len({each.name for each in world.businesses.values()}) == 14
    assert [each.country for each in world.businesses.values()][3:6] == ["FR", "ES", "DE"]


def test_the_clock_flows_unless_frozen() -> None:
    assert build_world(size="tiny", businesses=1, frozen=True).clock.now() == NOW
    assert build_world(size="tiny", businesses=1).clock.now() > NOW
