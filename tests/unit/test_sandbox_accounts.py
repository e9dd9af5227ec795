"""The books of the simulated Sage tie as an accountant's must, whichever way Sage keeps what nobody knows of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import (
    PLANS,
    Conventions,
    Plan,
    Practice,
    advance,
    build_world,
    disagreements,
)
from sage_sandbox.books.company import Company
from sage_sandbox.books.posting import entries_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_sandbox.store import World

pytestmark = pytest.mark.slow

Body = dict[str, Any]
NOTHING = Decimal(0)
NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)
DEBTORS, CREDITORS, OUTPUT_TAX, INPUT_TAX, LIABILITY, OPENING = 1100, 2100, 2200, 2201, 2202, 9998
CONVENTIONS = {
    "as expected": Conventions(),
    "voids reverse": Conventions(voids="reverse", tax_settlement="transaction"),
    "voids do both": Conventions(voids="both", contact_balance="contact"),
    "tax runs on": Conventions(tax_settlement="none", reverse_charge="none", correction_origin=False),
}


def companies(world: World) -> list[Company]:
    return [business for business in world.businesses.values() if isinstance(business, Company)]


def bodies(company: Company, name: str) -> list[Body]:
    """All records of a list, also where the edition does not let one read it."""
    return [row.render() for row in company.books[name].rows.values()]


def amount(entry: Body) -> Decimal:
    return Decimal(entry["debit"]) - Decimal(entry["credit"])


def ledger(company: Company, *codes: int) -> Iterator[Body]:
    """The live entries of some accounts."""
    ids = {company.accounts[code].id for code in codes}
    return (
        entry
        for entry in bodies(company, "ledger_entries")
        if not entry["deleted"] and entry["ledger_account"]["id"] in ids
    )


def types(company: Company) -> dict[str, str]:
    return {row["id"]: row["transaction_type"]["id"] for row in bodies(company, "transactions")}


def month_ends(company: Company, until: date) -> list[date]:
    ends, day = [], company.opened.date()
    while day <= until:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        ends.append(following - timedelta(days=1))
        day = following
    return ends


def build(days: int, conventions: Conventions, **options: Any) -> World:
    plans = tuple(replace(plan, conventions=conventions) for plan in options.pop("plans", PLANS))
    world = build_world(frozen=True, plans=plans, **options)
    advance(world, days=days)
    return world


@pytest.fixture(scope="module", params=CONVENTIONS)
def small(request: pytest.FixtureRequest) -> World:
    """Twelve small businesses, none like the other, after ten days."""
    return build(10, CONVENTIONS[request.param], size="tiny", businesses=len(PLANS))


@pytest.fixture(scope="module")
def demo() -> World:
    """The businesses of the demonstration."""
    return build(0, Conventions(), size="demo")


@pytest.fixture(scope="module")
def lived() -> World:
    """The businesses of the demonstration, two months on."""
    return build(60, Conventions(), size="demo")


@pytest.fixture(scope="module", params=["small", "demo", "lived"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "small":
        return build(10, Conventions(), size="tiny", businesses=len(PLANS))
    found: World = request.getfixturevalue(request.param)
    return found


def test_nothing_disagrees_whatever_the_conventions(small: World) -> None:
    assert [disagreements(company) for company in companies(small)] == [[]] * len(PLANS)


def test_debits_equal_credits_in_every_transaction(small: World) -> None:
    for company in companies(small):
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for entry in bodies(company, "ledger_entries"):
            if not entry["deleted"]:
                sums[entry["transaction"]["id"]] += amount(entry)
        assert sums
        assert not any(sums.values())


def test_opening_balances_leave_nothing_on_their_account(world: World) -> None:
    for company in companies(world):
        entries = list(ledger(company, OPENING))
        assert len(entries) > 10
        assert sum(map(amount, entries)) == 0
        assert {company.opened.date().isoformat() > entry["date"] for entry in entries} == {True}
        shares, retained = (sum(map(amount, ledger(company, code))) for code in (3000, 3200))
        assert shares == -100
        assert retained < 0


# Open items


def open_at(company: Company, day: date, side: int) -> dict[str, Decimal]:
    """What was open at the end of a day, by contact, in base currency, debits positive."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for item in company.artefacts.values():
        if item.side == side and item.day <= day and not item.gone:
            settled = sum((each.base for each in item.settlements if each.day <= day), NOTHING)
            found[item.party.id] += side * item.sign * (item.base_total - settled)
    return {party: owed for party, owed in found.items() if owed}


def held_at(entries: list[Body], day: date, straight: set[str]) -> dict[str, Decimal]:
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in entries:
        if entry["date"] <= day.isoformat() and entry["transaction"]["id"] not in straight:
            found[entry["contact"]["id"]] += amount(entry)
    return {party: held for party, held in found.items() if held}


@pytest.mark.parametrize(("code", "side"), [(DEBTORS, 1), (CREDITORS, -1)])
def test_control_accounts_are_the_open_items_of_each_contact_at_every_month_end(
    world: World, code: int, side: int
) -> None:
    for company in companies(world):
        entries = list(ledger(company, code))
        for day in month_ends(company, world.clock.now().date()):
            assert held_at(entries, day, set(company.control_journals)) == open_at(company, day, side), day


def test_journals_on_control_accounts_are_few_and_name_no_contact(demo: World) -> None:
    british, irish, canadian = companies(demo)
    kinds = types(irish)
    written = [
        entry
        for entry in ledger(irish, DEBTORS, CREDITORS)
        if kinds[entry["transaction"]["id"]] == "JOURNAL" and entry["contact"] is None
    ]
    assert {entry["transaction"]["id"] for entry in written} == set(irish.control_journals)
    assert len(written) == 4
    assert not british.control_journals + canadian.control_journals


def test_most_of_what_customers_owe_is_not_due_and_a_little_is_very_old(demo: World) -> None:
    today = demo.clock.now().date()
    ages: defaultdict[bool, Decimal] = defaultdict(Decimal)
    for company in companies(demo):
        for item in company.artefacts.values():
            if item.side > 0 and item.sign > 0:
                ages[(today - item.day).days > 90] += item.base_outstanding
    assert 0 < ages[True] < ages[False] / 2


def test_no_bank_account_is_ever_overdrawn(lived: World) -> None:
    for company in companies(lived):
        for bank in company.banks:
            balance = NOTHING
            by_day: defaultdict[str, Decimal] = defaultdict(Decimal)
            for entry in ledger(company, bank.account.nominal.code):
                by_day[entry["date"]] += amount(entry)
            for day in sorted(by_day):
                balance += by_day[day]
                assert balance >= 0, (company.name, bank.account.nominal, day)


def test_payments_are_their_allocations_and_what_is_on_account(world: World) -> None:
    for company in companies(world):
        for payment in bodies(company, "contact_payments"):
            parts = [Decimal(each["amount"]) for each in payment["allocated_artefacts"]]
            on_account = payment["payment_on_account"]
            assert sum(map(abs, parts)) + Decimal(on_account["total_amount"] if on_account else 0) == Decimal(
                payment["total_amount"]
            )


def test_one_payment_can_settle_several_invoices(demo: World) -> None:
    for company in companies(demo):
        counts = [len(row["allocated_artefacts"]) for row in bodies(company, "contact_payments")]
        assert max(counts) > 1
        assert counts.count(1) > len(counts) / 2


@pytest.mark.parametrize("stem", ["sales_invoices", "sales_credit_notes", "purchase_invoices", "purchase_credit_notes"])
def test_total_paid_has_the_discounts_in_it(demo: World, stem: str) -> None:
    documents = [row for company in companies(demo) for row in bodies(company, stem) if row["status"]["id"] != "VOID"]
    for row in documents:
        assert Decimal(row["outstanding_amount"]) == Decimal(row["total_amount"]) - Decimal(row["total_paid"])
        given = Decimal(row["payments_allocations_total_discount"])
        assert Decimal(row["total_paid"]) == Decimal(row["payments_allocations_total_amount"]) + given
    if stem.endswith("invoices"):
        assert any(Decimal(row["payments_allocations_total_discount"]) for row in documents)


# Documents and the ledger


def test_total_and_tax_of_a_document_are_its_entries(world: World) -> None:
    for company in companies(world):
        found: defaultdict[tuple[str, int], Decimal] = defaultdict(Decimal)
        for code in (DEBTORS, CREDITORS, OUTPUT_TAX, INPUT_TAX):
            for entry in ledger(company, code):
                found[entry["transaction"]["id"], code] += amount(entry)
        for item in company.artefacts.values():
            if item.shape != "document" or item.gone:
                continue
            row = company.books[item.collection].rows[item.row_id].render()
            control = DEBTORS if item.side > 0 else CREDITORS
            direction = item.side * item.sign
            assert found[item.transaction_id, control] == direction * Decimal(row["base_currency_total_amount"])
            tax = found[item.transaction_id, OUTPUT_TAX] + found[item.transaction_id, INPUT_TAX]
            assert tax == -direction * Decimal(row["base_currency_tax_amount"])


def test_purchases_from_abroad_are_under_the_reverse_charge_or_postponed(demo: World) -> None:
    british = companies(demo)[0]
    charged = [row for row in bodies(british, "purchase_invoices") if row["vat_reverse_charge"]]
    imported = [row for row in bodies(british, "purchase_invoices") if row["postponed_accounting"]]
    assert charged
    assert imported
    assert british.objects["financial_settings"]["postponed_accounting"] is True
    for row in charged + imported:
        assert row["currency"]["id"] != "GBP"
        assert Decimal(row["tax_amount"]) == 0
        assert row["import"] is row["postponed_accounting"] is not row["vat_reverse_charge"]
        lines = row["invoice_lines"]
        assert {line["tax_rate"]["id"] for line in lines} == {"GB_STANDARD"}
        if row["transaction"] and row["status"]["id"] != "VOID":
            number = row["transaction"]["id"]
            mine = [amount(e) for e in ledger(british, OUTPUT_TAX, INPUT_TAX) if e["transaction"]["id"] == number]
            assert mine == [max(mine), -max(mine)]
            assert max(mine) > 0


# Tax returns


def test_periods_follow_each_other_without_gap_or_overlap(world: World) -> None:
    for company in companies(world):
        rows = bodies(company, "tax_returns")
        assert rows[0]["period_start_date"] == company.opened.date().isoformat()
        for one, two in pairwise(rows):
            ended = date.fromisoformat(one["period_end_date"])
            assert ended + timedelta(days=1) == date.fromisoformat(two["period_start_date"])
        last = date.fromisoformat(rows[-1]["period_end_date"])
        assert last < world.clock.now().date() <= last + timedelta(days=62 + 62)
        months = {"IE": 11}.get(company.country, 7)
        assert len(rows) >= months


def on_tax_accounts(company: Company) -> list[tuple[str, str, Decimal]]:
    """Day, type and amount (credits positive) of what the two tax accounts hold but for settled returns."""
    kinds = types(company)
    return [
        (entry["date"], kinds[entry["transaction"]["id"]], -amount(entry))
        for entry in ledger(company, OUTPUT_TAX, INPUT_TAX)
    ]


SETTLING = {"JOURNAL", "TAX_RETURN_ADJUSTMENT"}


def test_a_return_on_invoices_is_what_the_tax_accounts_moved_by_in_its_period(small: World) -> None:
    for company in companies(small):
        if company.practice.scheme != "STANDARD":
            continue
        moved = on_tax_accounts(company)
        for row in bodies(company, "tax_returns"):
            period = (row["period_start_date"], row["period_end_date"])
            expected = sum(each for day, kind, each in moved if period[0] <= day <= period[1] and kind not in SETTLING)
            assert Decimal(row["total_amount"]) == expected, (company.name, period)


def test_under_cash_accounting_what_is_not_declared_is_the_tax_on_what_is_not_paid(world: World) -> None:
    cash = [each for each in companies(world) if each.practice.scheme == "CASH"]
    assert cash
    for company in cash:
        filed = company.filed_until
        left = sum(
            (each for day, kind, each in on_tax_accounts(company) if kind in SETTLING or day <= filed.isoformat()),
            NOTHING,
        )
        unpaid = NOTHING
        for item in company.artefacts.values():
            row = company.books[item.collection].rows.get(item.row_id)
            if item.day > filed or item.gone or not item.total or row is None or item.shape == "payment_on_account":
                continue
            if item.side < 0 and company.country == "IE":
                continue
            tax = Decimal(row.render().get("base_currency_tax_amount") or 0)
            settled = sum((each.amount + each.discount for each in item.settlements if each.day <= filed), NOTHING)
            unpaid += item.side * item.sign * (tax - round(tax * settled / item.total + Decimal("1E-9"), 2))
        assert abs(left - unpaid) < Decimal("0.05")


def test_under_the_flat_rate_the_tax_is_a_share_of_the_turnover_and_the_rest_is_income() -> None:
    plan = Plan("GB", "Standard", Practice(scheme="FLAT_RATE_INVOICE", flat_rate=Decimal("12.5")))
    [company] = companies(build(0, Conventions(), size="demo", businesses=1, plans=(plan,)))
    settings = company.objects["financial_settings"]
    assert (settings["tax_scheme"]["id"], settings["flat_rate_tax_percentage"]) == ("FLAT_RATE_INVOICE", "12.5")
    for filed in company.returns[:-1]:
        turnover = filed.sales + filed.output
        assert abs(filed.due - turnover * Decimal("0.125")) <= Decimal("0.005")
        assert filed.boxes["box_4"] == 0
    until = company.filed_until.isoformat()
    left = [each for day, kind, each in on_tax_accounts(company) if kind in SETTLING or day <= until]
    assert sum(left) == 0


def test_returns_are_settled_by_a_journal_and_paid_five_weeks_later(demo: World) -> None:
    for company in companies(demo):
        liability = list(ledger(company, LIABILITY))
        kinds = types(company)
        owed = -sum(map(amount, liability))
        unpaid = [row for row in bodies(company, "tax_returns") if not row["paid"]]
        assert owed == sum(Decimal(row["total_amount"]) for row in unpaid)
        paid = [entry for entry in liability if kinds[entry["transaction"]["id"]] in {"TAX_PAYMENT", "TAX_REFUND"}]
        due = {Decimal(row["total_amount"]) for row in bodies(company, "tax_returns") if row["paid"]}
        migrated = bodies(company, "migration_tax_returns")[0]
        assert {amount(entry) for entry in paid} == (due | {Decimal(migrated["total_amount"])}) - {0}
        assert all(company.books["transactions"].rows[e["transaction"]["id"]].render()["origin"] is None for e in paid)


@pytest.mark.parametrize(
    ("way", "kind"), [("journal", "JOURNAL"), ("transaction", "TAX_RETURN_ADJUSTMENT"), ("none", None)]
)
def test_how_the_settlement_shows_is_a_switch(way: Any, kind: str | None) -> None:
    world = build(0, Conventions(tax_settlement=way), size="tiny", businesses=2)
    for company in companies(world):
        titles = {row["displayed_as"] for row in bodies(company, "tax_returns")}
        settling = [row for row in bodies(company, "transactions") if row["reference"] in titles]
        assert {row["transaction_type"]["id"] for row in settling} == ({kind} if kind else set())
        if kind == "TAX_RETURN_ADJUSTMENT":
            assert {row["origin"]["id"] for row in settling} <= company.books["tax_returns"].rows.keys()


def test_documents_show_that_a_return_holds_them(demo: World) -> None:
    british = companies(demo)[0]
    for name in ("sales_invoices", "purchase_invoices", "sales_credit_notes"):
        for row in bodies(british, name):
            if row["transaction"] and row["status"]["id"] != "VOID":
                assert row["tax_reconciled"] is (row["date"] <= british.filed_until.isoformat())


def test_the_draft_of_the_running_period_follows_the_ledger(demo: World) -> None:
    british = companies(demo)[0]
    *filed, draft = bodies(british, "draft_tax_returns")
    assert draft["status"]["id"] == "DRAFT"
    assert draft["tax_return_id"] is None
    moved = sum(
        each for day, _, each in on_tax_accounts(british) if day >= draft["period_start_date"] and _ not in SETTLING
    )
    assert Decimal(draft["total_amount"]) == moved
    assert [row["total_amount"] for row in filed] == [row["total_amount"] for row in bodies(british, "tax_returns")]
    assert all(isinstance(row["tax_return_id"], int) and row["submitted_date"] for row in filed)


# What comes back every month and year


def test_payroll_is_booked_paid_and_handed_on_every_month(demo: World) -> None:
    for company in companies(demo):
        wages = list(ledger(company, 7000))
        assert len({entry["date"][:7] for entry in wages}) == len(wages) >= 23
        assert sum(map(amount, ledger(company, 2220))) == 0
        kinds = set(types(company).values())
        assert {"STAFF_PAYMENT", "REVENUE_PAYMENT", "PENSION_PROVIDER_PAYMENT"} <= kinds
        last = [entry for entry in ledger(company, 2210) if entry["date"] >= "2026-06-28"]
        assert sum(map(amount, ledger(company, 2210))) == sum(map(amount, last)) < 0


def test_the_loan_shrinks_and_costs_interest(demo: World) -> None:
    for company in companies(demo):
        assert -60_000 < sum(map(amount, ledger(company, 2300))) < -30_000
        assert sum(map(amount, ledger(company, 7903))) > 3_000


@pytest.mark.parametrize("year_end", [(4, 5), (12, 31), (3, 31), (2, 28)])
def test_a_year_is_taxed_on_its_last_day_and_paid_nine_months_later(year_end: tuple[int, int]) -> None:
    plan = Plan("GB", "Plus", Practice(year_end=year_end))
    [company] = companies(build(0, Conventions(), size="demo", businesses=1, plans=(plan,)))
    settings = company.objects["financial_settings"]
    assert settings["year_end_date"][5:] == f"{year_end[0]:02d}-{year_end[1]:02d}"
    charges = list(ledger(company, 9001))
    assert {entry["date"][5:] for entry in charges} <= {settings["year_end_date"][5:]}
    paid = [entry for entry in ledger(company, 2320) if amount(entry) > 0]
    assert amount(paid[0]) == Decimal("3450.2")
    for entry in charges:
        made = datetime.fromisoformat(entry["created_at"])
        assert made.date() - date.fromisoformat(entry["date"]) == timedelta(days=60)


def test_a_year_that_ends_on_29_february_ends_on_the_last_of_february() -> None:
    practice = Practice(year_end=(2, 29))
    assert [practice.year_ends(date(year, 3, 1)) for year in (2024, 2027)] == [date(2025, 2, 28), date(2028, 2, 29)]
    assert practice.year_begins(date(2028, 2, 29)) == date(2027, 3, 1)


def test_a_sole_trader_draws_money_and_pays_no_corporation_tax() -> None:
    plan = Plan("GB", "Start", Practice(incorporated=False))
    [company] = companies(build(0, Conventions(), size="demo", businesses=1, plans=(plan,)))
    assert len(list(ledger(company, 3050))) >= 23
    assert not list(ledger(company, 9001, 2320, 3260, 7000))


def test_profits_are_modest(demo: World) -> None:
    for company in companies(demo):
        last_year = sum(
            -entry.amount
            for entry in entries_of(company)
            if not entry.deleted and entry.account.nominal.earning and entry.date.year == 2025
        )
        sales = -sum(amount(entry) for entry in ledger(company, 4000, 4010) if entry["date"][:4] == "2025")
        assert 0 < last_year < sales * Decimal("0.3")


# Banks


def test_every_foreign_bank_account_has_a_ledger_account_and_is_revalued(demo: World) -> None:
    british = companies(demo)[0]
    rows = bodies(british, "bank_accounts")
    ledger_accounts = [row["ledger_account"]["id"] for row in rows]
    assert len(set(ledger_accounts)) == len(ledger_accounts)
    foreign = [bank for bank in british.banks if bank.currency != "GBP"]
    assert {bank.currency for bank in foreign} == {"EUR", "USD"}
    for bank in foreign:
        name = f"Revaluation {bank.currency}"
        revalued = [row for row in bodies(british, "journals") if row["reference"].startswith(name)]
        assert len(revalued) >= 6
        assert {row["date"][5:] for row in revalued} <= {"03-31", "06-30", "09-30", "12-31"}


def test_a_revalued_account_stands_at_the_closing_rate() -> None:
    [company] = companies(build(0, Conventions(), size="demo", businesses=1, now=datetime(2026, 3, 31, 18, tzinfo=UTC)))
    foreign = [each for each in company.banks if each.currency != "GBP"]
    assert foreign
    for bank in foreign:
        held = sum(map(amount, ledger(company, bank.account.nominal.code)))
        assert Decimal("0.7") < held / bank.balance < Decimal("0.9")


def test_editions_without_currencies_have_no_foreign_bank_accounts(demo: World) -> None:
    for company in companies(demo)[1:]:
        assert {row["currency"]["id"] for row in bodies(company, "bank_accounts")} == {company.currency}


# Switches


def test_voids_reverse_on_the_day_of_the_void() -> None:
    flagged, reversed_, both = (
        companies(build(4, Conventions(voids=way), size="tiny", businesses=1))[0] for way in ("flag", "reverse", "both")
    )
    for code in (DEBTORS, CREDITORS, 4000, 4010, 5000, 7400):
        held = [sum(map(amount, ledger(each, code))) for each in (flagged, reversed_, both)]
        assert held[0] == held[1] == held[2]
    assert not any(row["deleted"] for row in bodies(reversed_, "transactions"))
    corrections = [row for row in bodies(reversed_, "transactions") if row["transaction_type"]["id"] == "VOID_PAYMENT"]
    gone = {body["id"] for row in reversed_.books["contact_payments"].tombstones.values() if (body := row.render())}
    assert {row["origin"]["id"] for row in corrections} & gone
    deleted = [row for row in bodies(both, "transactions") if row["deleted"]]
    assert len(deleted) == 2 * len([row for row in bodies(flagged, "transactions") if row["deleted"]])


def test_corrections_name_what_they_correct_unless_switched_off(demo: World) -> None:
    corrections = [
        row
        for each in companies(demo)
        for row in bodies(each, "transactions")
        if row["transaction_type"]["id"] == "CORRECTION"
    ]
    assert corrections
    for row in corrections:
        path = row["origin"]["$path"].split("/")
        assert any(
            path[2] in each.books[path[1]].rows or path[2] in each.books[path[1]].tombstones for each in companies(demo)
        )
    silent = companies(build(0, Conventions(correction_origin=False), size="demo", businesses=1))[0]
    assert {
        row["origin"] for row in bodies(silent, "transactions") if row["transaction_type"]["id"] == "CORRECTION"
    } == {None}


def test_a_contacts_balance_can_be_in_its_own_currency() -> None:
    [company] = companies(build(0, Conventions(contact_balance="contact"), size="demo", businesses=1))
    owed: defaultdict[str, Decimal] = defaultdict(Decimal)
    for item in company.artefacts.values():
        owed[item.party.id] += item.sign * item.outstanding
    rows = bodies(company, "contacts")
    assert {row["id"]: Decimal(row["balance"]) for row in rows} == {row["id"]: owed[row["id"]] for row in rows}
    assert any(owed[row["id"]] and row["currency"]["id"] != "GBP" for row in rows)
