"""What the books say when added up: the trial balance, account balances, and whether it all agrees."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import PURCHASES, SALES
from sage_sandbox.books.chart import CREDITORS, DEBTORS
from sage_sandbox.books.company import Company
from sage_sandbox.books.transactions import EntryRow, TransactionRow
from sage_sandbox.books.values import ZERO, big, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sage_sandbox.store import Body, Business, Row


def _entries(business: Business) -> Iterator[Row]:
    """Go through the ledger, also where a business's edition does not let one read it."""
    books = business.books if isinstance(business, Company) else business.collections
    return iter(books["ledger_entries"].rows.values() if "ledger_entries" in books else ())


def _movement(row: Row) -> tuple[date, str, Decimal, bool]:
    """Read day, account id, amount (debits positive) and whether it was deleted off an entry of either make."""
    if isinstance(row, EntryRow):
        return row.date, row.account.id, row.amount, row.deleted
    body = row.render()
    amount = Decimal(body["debit"]) - Decimal(body["credit"])
    return date.fromisoformat(body["date"]), body["ledger_account"]["id"], amount, body["deleted"]


def behind(business: Business, now: datetime) -> datetime | None:
    """Find the moment that the trial balance has come to, where the books' conventions say that it lags."""
    lag = business.conventions.trial_balance_lag if isinstance(business, Company) else 0
    return now - timedelta(seconds=lag) if lag else None


def trial_balance(
    business: Business, from_date: date, to_date: date, as_of: datetime | None = None, *, gross: bool = False
) -> Body:
    """Add the ledger up as `/trial_balance` does, with what was known at a moment if one is given.

    Movements are net per account, unless `gross` wants debits and credits each. Balances run over all history without
    closing years. Deleted entries do not count. Only accounts with a balance or a movement are listed.
    """
    opening: defaultdict[str, Decimal] = defaultdict(Decimal)
    period: defaultdict[str, Decimal] = defaultdict(Decimal)
    credited: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in _entries(business):
        day, account_id, amount, deleted = _movement(row)
        counts = not deleted if as_of is None else _counted(row, as_of, deleted=deleted)
        if counts and day <= to_date:
            (opening if day < from_date else period)[account_id] += amount
            if gross and day >= from_date:
                credited[account_id] += max(-amount, ZERO)
    listed = [
        _trial_line(account, opening[account["id"]], period[account["id"]], credited[account["id"]])
        for account in _accounts(business)
        if opening[account["id"]] or period[account["id"]]
    ]
    return {"from_date": from_date.isoformat(), "to_date": to_date.isoformat(), "ledger_accounts": listed}


def _counted(row: Row, as_of: datetime, *, deleted: bool) -> bool:
    """Return whether an entry was there at a moment, and alive."""
    made, changed = row.created_at, row.updated_at
    return (made is None or made <= as_of) and not (deleted and changed is not None and changed <= as_of)


def _accounts(business: Business) -> list[Body]:
    if isinstance(business, Company):
        return [account.trial_ref for account in business.accounts.values()]
    rows = business.collections["ledger_accounts"].rows.values() if "ledger_accounts" in business.collections else ()
    bodies = (row.render() for row in rows)
    return [{name: body[name] for name in ("id", "displayed_as", "$path")} for body in bodies]


def _trial_line(account: Body, opening: Decimal, movement: Decimal, credited: Decimal) -> Body:
    both = {"debit": plain(movement + credited), "credit": plain(credited)} if credited else _two_columns(movement)
    return {
        **account,
        "opening_balance": _two_columns(opening),
        "closing_balance": _two_columns(opening + movement),
        **both,
    }


def _two_columns(amount: Decimal) -> Body:
    return {"debit": plain(max(amount, ZERO)), "credit": plain(max(-amount, ZERO))}


def balance_details(
    business: Business, from_date: date, to_date: date, *, exclude_deleted: bool = False
) -> dict[str, Body]:
    """Add up each account's debits and credits of a period, by account id, as `show_balance_details` serves them."""
    debited: defaultdict[str, Decimal] = defaultdict(Decimal)
    credited: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in _entries(business):
        day, account_id, amount, deleted = _movement(row)
        if from_date <= day <= to_date and not (deleted and exclude_deleted):
            (debited if amount > 0 else credited)[account_id] += abs(amount)
    return {
        account["id"]: _details(debited[account["id"]], credited[account["id"]], from_date, to_date)
        for account in _accounts(business)
    }


def _details(debit: Decimal, credit: Decimal, from_date: date, to_date: date) -> Body:
    return {
        "balance": big(abs(debit - credit)),
        "credit_or_debit": "credit" if credit > debit else "debit",
        "credits": big(credit),
        "debits": big(debit),
        "from_date": from_date.isoformat(),
        "to_date": to_date.isoformat(),
    }


def disagreements(company: Company) -> list[str]:
    """Look for anything in a business's books that does not add up; each finding is a sentence."""
    return [*_unbalanced(company), *_control_accounts(company), *_bank_accounts(company), *_open_documents(company)]


def _unbalanced(company: Company) -> Iterator[str]:
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in _entries(company):
        entry = row.render()
        if not entry["deleted"]:
            totals[entry["transaction"]["id"]] += Decimal(entry["debit"]) - Decimal(entry["credit"])
    return (f"Transaction {identity} is out by {total}." for identity, total in totals.items() if total)


def _ledger_balance(company: Company, codes: set[int]) -> Decimal:
    wanted = {company.accounts[code].id for code in codes}
    movements = map(_movement, _entries(company))
    return sum((amount for _, account, amount, deleted in movements if account in wanted and not deleted), ZERO)


def _control_accounts(company: Company) -> Iterator[str]:
    for side, code in ((SALES, DEBTORS), (PURCHASES, CREDITORS)):
        held = _ledger_balance(company, {code})
        items = (each for each in company.artefacts.values() if each.side == side)
        owed = sum((side * each.sign * each.base_outstanding for each in items), ZERO)
        owed += _written_straight(company, code)
        if held != owed:
            yield f"Account {code} holds {held}, open items come to {owed}."


def _written_straight(company: Company, code: int) -> Decimal:
    """Add up what journals put on a control account, which no open item explains."""
    transactions = company.book("transactions").rows
    entries = (
        entry
        for identity in company.control_journals
        if isinstance(row := transactions[identity], TransactionRow)
        for entry in row.entries
    )
    return sum((each.amount for each in entries if each.account is company.accounts[code] and not each.deleted), ZERO)


def _bank_accounts(company: Company) -> Iterator[str]:
    for bank in company.banks:
        held = _ledger_balance(company, {bank.account.nominal.code})
        if bank.currency == company.currency and held != bank.balance:
            yield f"Bank account {bank.account.nominal.code} holds {bank.balance}, its ledger account {held}."


def _open_documents(company: Company) -> Iterator[str]:
    for artefact in company.artefacts.values():
        if artefact.outstanding < 0 or bool(artefact.outstanding) != bool(artefact.base_outstanding):
            yield f"{artefact.origin['displayed_as']} has {artefact.outstanding} outstanding."
