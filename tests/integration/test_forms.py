"""What Sage may write in one form or another arrives in the columns, as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from sage_sandbox.server import SandboxServer
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]


def test_the_day_of_the_last_payment_may_be_written_like_other_dates(server: SandboxServer, run_tap: RunTap) -> None:
    def written() -> set[str]:
        rows = run_tap("sales_invoices").records["sales_invoices"]
        return {row["last_paid"][4] for row in rows if row["last_paid"]}

    assert "-" not in written()
    server.faults.last_paid = "iso"
    assert written() == {"-"}


def test_exchange_rates_are_delivered_in_the_direction_that_sage_has(server: SandboxServer, run_tap: RunTap) -> None:
    def rates() -> set[tuple[Decimal, Decimal]]:
        rows = run_tap("sales_invoices").records["sales_invoices"]
        return {(row["exchange_rate"], row["inverse_exchange_rate"]) for row in rows}

    usual = rates()
    assert any(rate != inverse for rate, inverse in usual)
    server.faults.exchange_rates = "inverse"
    assert rates() == {(inverse, rate) for rate, inverse in usual}


def test_settings_may_have_an_id(server: SandboxServer, run_tap: RunTap) -> None:
    def rows() -> list[str]:
        return sorted(row["business_id"] for row in run_tap("financial_settings").records["financial_settings"])

    usual = rows()
    server.faults.object_ids = True
    assert rows() == usual != []


def test_debits_and_credits_of_a_trial_balance_may_be_gross(server: SandboxServer, run_tap: RunTap) -> None:
    def moved() -> dict[tuple[str, ...], Decimal]:
        rows = run_tap("trial_balance").records["trial_balance"]
        keys = ("business_id", "from_date", "ledger_account_id")
        return {tuple(row[key] for key in keys): row["debit"] - row["credit"] for row in rows}

    net = moved()
    server.faults.trial_balance = "gross"
    rows = run_tap("trial_balance").records["trial_balance"]
    assert any(row["debit"] and row["credit"] for row in rows)
    assert moved() == net
