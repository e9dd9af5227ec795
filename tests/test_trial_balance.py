"""The trial balance in the warehouse is Sage's own, month by month, and stays so."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.sandbox.books import advance, trial_balance
from tap_sage_accounting.streams.trial_balance import Month

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Run

    from tap_sage_accounting.sandbox.server import SandboxServer

    RunTap = Callable[..., Run]

Key = tuple[str, str, str]
AMOUNTS = (
    "opening_balance_debit",
    "opening_balance_credit",
    "closing_balance_debit",
    "closing_balance_credit",
    "debit",
    "credit",
)


def merged(*runs: Run) -> dict[Key, dict[str, Any]]:
    """What a target holds that replaces rows by their key."""
    rows = [row for run in runs for row in run.records["trial_balance"]]
    return {(row["business_id"], row["from_date"], row["ledger_account_id"]): row for row in rows}


def amounts(row: dict[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(row[name]) for name in AMOUNTS}


def expected(server: SandboxServer, months: set[str]) -> dict[Key, dict[str, Decimal]]:
    """Every account with a balance or a movement, as Sage's own trial balance has it."""
    found = {}
    for business in server.world.businesses.values():
        for first in months:
            month = Month.of(date.fromisoformat(first))
            answer = trial_balance(business, date.fromisoformat(first), date.fromisoformat(month.last_day))
            for account in answer["ledger_accounts"]:
                flat = {
                    f"{balance}_{side}": Decimal(account[balance][side])
                    for balance in ("opening_balance", "closing_balance")
                    for side in ("debit", "credit")
                }
                flat |= {side: Decimal(account[side]) for side in ("debit", "credit")}
                found[business.id, first, account["id"]] = flat
    return found


def check(server: SandboxServer, rows: dict[Key, dict[str, Any]]) -> None:
    months, businesses = {key[1] for key in rows}, {key[0] for key in rows}
    wanted = {key: row for key, row in expected(server, months).items() if key[0] in businesses}
    assert wanted.keys() <= rows.keys()
    for key, row in rows.items():
        assert amounts(row) == wanted.get(key, dict.fromkeys(AMOUNTS, Decimal(0))), key


def test_every_month_from_the_start_of_the_accounts_arrives(server: SandboxServer, run_tap: RunTap) -> None:
    run = run_tap("trial_balance")
    rows = merged(run)
    check(server, rows)
    for business in server.world.businesses.values():
        opened = date.fromisoformat(business.objects["financial_settings"]["accounts_start_date"])
        months = {key[1] for key in rows if key[0] == business.id}
        now = Month.of(server.world.clock.now().date())
        assert months == {month.first_day for month in Month.of(opened).until(now)}


def test_it_balances_in_every_month(run_tap: RunTap) -> None:
    totals: dict[tuple[str, str], list[Decimal]] = {}
    for row in run_tap("trial_balance").records["trial_balance"]:
        total = totals.setdefault((row["business_id"], row["from_date"]), [Decimal(0)] * 3)
        total[0] += row["opening_balance_debit"] - row["opening_balance_credit"]
        total[1] += row["debit"] - row["credit"]
        total[2] += row["closing_balance_debit"] - row["closing_balance_credit"]
    assert set(map(tuple, totals.values())) == {(0, 0, 0)}


def test_a_quiet_run_reads_the_last_two_months_only(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap("trial_balance")
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
    second = run_tap("trial_balance", state=first.state)
    now = Month.of(server.world.clock.now().date())
    assert {row["from_date"] for row in second.records["trial_balance"]} == {now.plus(-1).first_day, now.first_day}


def test_what_changes_in_a_closed_month_is_read_again_from_there_on(server: SandboxServer, run_tap: RunTap) -> None:
    runs = [run_tap("trial_balance")]
    for day in range(3):
        with server.paused():
            advance(server.world, days=1, seed=day)
        runs.append(run_tap("trial_balance", state=runs[-1].state))
    check(server, merged(*runs))


def test_a_start_date_decides_the_first_month(run_tap: RunTap) -> None:
    run = run_tap("trial_balance", start_date="2026-03-15")
    assert min(row["from_date"] for row in run.records["trial_balance"]) == "2026-03-01"


def test_without_the_right_to_settings_two_years_are_read(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    business.permissions["settings"] = "no_access"
    run = run_tap("trial_balance", business_ids=[business.id])
    assert run.error is None
    check(server, merged(run))
    assert len({row["from_date"] for row in run.records["trial_balance"]}) == 25
