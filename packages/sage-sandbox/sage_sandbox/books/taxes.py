"""Tax returns: added up from the ledger for each period, filed, moved to the liability account, paid."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import SALES
from sage_sandbox.books.chart import OTHER_INCOME, PURCHASE_TAX, SALES_TAX, TAX_LIABILITY, TAX_NOT_RECOVERED
from sage_sandbox.books.company import TaxReturn
from sage_sandbox.books.journals import write_journal
from sage_sandbox.books.posting import post
from sage_sandbox.books.transactions import EntryRow, Leg, Posting, TransactionRow
from sage_sandbox.books.treasury import move_directly
from sage_sandbox.books.values import HUNDRED, ZERO, big, cents, link, ref

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body

FILED_AFTER, PAID_AFTER = timedelta(days=28), timedelta(days=37)
"""How long after the end of a period its return is filed, and its tax paid."""
_SHORTEST = timedelta(days=27)
"""A first period that would be shorter lasts until the end of the next."""
_MONTHS = {"IE": 2}
_QUARTER, _YEAR = 3, 12
OUTSIDE_SCOPE = "GB_NO_TAX"
"""The rate of what is outside of the tax altogether, so that no box counts it."""


def period_end(company: Company, day: date) -> date:
    """Find the end of the tax period that a day lies in."""
    months = _MONTHS.get(company.country, _QUARTER)
    month = (day.month - 1) // months * months + months
    return date(day.year + month // _YEAR, month % _YEAR + 1, 1) - timedelta(days=1)


def open_return(company: Company, at: datetime) -> None:
    """Begin the return of the next period, as a draft where the country has drafts."""
    start = company.filed_until + timedelta(days=1)
    current = TaxReturn(start, period_end(company, start + _SHORTEST))
    company.returns.append(current)
    current.draft_id = company.mint.new_id()
    body = ref("draft_tax_returns", current.draft_id, _title(company, current)) | _body(company, current)
    draft = {**body, "tax_return_id": None, "submitted_date": None, "status": {"id": "DRAFT", "name": "Draft"}}
    company.insert("draft_tax_returns", current.draft_id, draft, at)


def keep_returns(company: Company, at: datetime) -> None:
    """File the return of a period that ended some weeks ago, and pay those that are due."""
    if at.date() >= company.returns[-1].end + FILED_AFTER:
        _file(company, company.returns[-1], at)
        open_return(company, at)
    for each in company.returns[-3:-1]:
        if not each.paid and at.date() >= each.end + PAID_AFTER:
            _pay(company, each, at)


def update_draft(company: Company, at: datetime) -> None:
    """Let the draft show what the ledger holds for its period by now."""
    current = company.returns[-1]
    before = current.due
    _add_up(company, current, declare=False)
    if current.due != before:
        company.book("draft_tax_returns").change(current.draft_id, {"total_amount": big(current.due)}, at)


def _file(company: Company, current: TaxReturn, at: datetime) -> None:
    declared = _add_up(company, current, declare=True)
    company.filed_until = current.end
    number = len(company.returns)
    current.id = company.mint.new_id()
    body = ref("tax_returns", current.id, _title(company, current)) | _body(company, current)
    company.insert("tax_returns", current.id, body, at)
    submitted = {
        "tax_return_id": 4710 + number,
        "submitted_date": at.date().isoformat(),
        "total_amount": big(current.due),
    }
    submitted["status"] = body["status"]
    company.book("draft_tax_returns").change(current.draft_id, submitted, at)
    for row in declared:
        _mark_declared(company, row, at)
    _settle(company, current, at)


def _mark_declared(company: Company, row: TransactionRow, at: datetime) -> None:
    """Let a document show that a return holds it."""
    origin = row.posting.origin or {}
    artefact = company.artefacts.get(origin.get("id", ""))
    if artefact and artefact.shape == "document" and not artefact.gone:
        company.book(artefact.collection).change(artefact.row_id, {"tax_reconciled": True}, at)


def _title(company: Company, current: TaxReturn) -> str:
    return f"{company.profile.tax_name} {current.start} - {current.end}"


def _body(company: Company, current: TaxReturn) -> Body:
    federal = {"id": "GST_HST", "name": "GST/HST"} if company.country == "CA" else None
    return {
        "tax_return_number": f"TR-{len(company.returns)}",
        "period_start_date": current.start.isoformat(),
        "period_end_date": current.end.isoformat(),
        "total_amount": big(current.due),
        "paid": False,
        "status": {"id": "FILED", "name": "Filed"},
        "tax_return_type": federal,
    }


def _add_up(company: Company, current: TaxReturn, *, declare: bool) -> list[TransactionRow]:
    """Add up what belongs to a period; what is declared then stands in no later return. Returns what it holds."""
    sums: dict[str, Decimal] = dict.fromkeys(("output", "input", "sales", "purchases"), ZERO)
    held: list[TransactionRow] = []
    later: list[TransactionRow] = []
    for row in company.taxed:
        if row.deleted:
            continue
        share = _share(company, row, current.end) if row.day <= current.end else ZERO
        for name, part in _parts(company, row, share, declare=declare):
            sums[name] += part
        (held if share == 1 else later).append(row)
    for name, amount in sums.items():
        setattr(current, name, amount)
    _finish(company, current)
    if declare:
        company.taxed = later
    return held


def _share(company: Company, row: TransactionRow, end: date) -> Decimal:
    """Return the part of a transaction's tax that is due by a day: under cash accounting, the paid part."""
    artefact = company.artefacts.get((row.posting.origin or {}).get("id", ""))
    if artefact is None or not _on_payment(company, artefact.side) or not artefact.total:
        return Decimal(1)
    settled = sum((each.amount + each.discount for each in artefact.settlements if each.day <= end), ZERO)
    return settled / artefact.total


def _on_payment(company: Company, side: int) -> bool:
    """Return whether tax is due when money moves; in Ireland only that on sales."""
    return company.practice.scheme == "CASH" and (side == SALES or company.country != "IE")


def _parts(company: Company, row: TransactionRow, share: Decimal, *, declare: bool) -> Iterator[tuple[str, Decimal]]:
    """Sort what a transaction adds to the sums of a return, beyond what earlier returns hold of it."""
    if not share:
        return
    for entry in row.entries:
        name, sign = _place(entry)
        if not name:
            continue
        due = entry.amount if share == 1 else cents(entry.amount * share)
        before = company.declared.get(entry.id, ZERO)
        if declare and share == 1:
            company.declared.pop(entry.id, None)
        elif declare:
            company.declared[entry.id] = due
        yield name, sign * (due - before)
    if row.posting.notional is None:
        return
    tax, imported = row.posting.notional
    if not imported:
        yield "sales", sum((entry.amount for entry in row.entries if entry.account.nominal.earning), ZERO)
    if company.conventions.reverse_charge == "none":
        yield "output", tax
        yield "input", tax


def _place(entry: EntryRow) -> tuple[str, int]:
    """Find the sum that a ledger entry belongs to, and the sign with which it counts there."""
    nominal = entry.account.nominal
    if nominal.code == SALES_TAX:
        return "output", -1
    if nominal.code == PURCHASE_TAX:
        return "input", 1
    if entry.tax_rate is None or entry.tax_rate["id"] == OUTSIDE_SCOPE or not nominal.earning:
        return "", 0
    return ("sales", -1) if nominal.income else ("purchases", 1)


def _finish(company: Company, current: TaxReturn) -> None:
    """Work out what is due, and fill the boxes of the country's return."""
    flat = company.practice.scheme == "FLAT_RATE_INVOICE"
    output, reclaimed = current.output, current.input
    sales = current.sales
    if flat:
        sales += output
        output, reclaimed = cents(sales * company.practice.flat_rate / HUNDRED), ZERO
    current.due = output - reclaimed
    current.boxes = _boxes(company.country, output, reclaimed, sales, current.purchases)


def _boxes(country: str, output: Decimal, reclaimed: Decimal, sales: Decimal, purchases: Decimal) -> dict[str, Decimal]:
    """Fill the boxes as the return of the country names them; turnover is in whole pounds or euros."""
    due = output - reclaimed
    if country == "IE":
        to_pay, to_get = max(due, ZERO), max(-due, ZERO)
        return {"box_T1": output, "box_T2": reclaimed, "box_T3": to_pay, "box_T4": to_get}
    if country == "CA":
        return {"101": sales, "105": output, "108": reclaimed, "109": due}
    whole = Decimal(1)
    boxes = dict.fromkeys((f"box_{number}" for number in range(1, 10)), ZERO)
    turnover = {"box_6": sales.quantize(whole), "box_7": purchases.quantize(whole)}
    return boxes | {"box_1": output, "box_3": output, "box_4": reclaimed, "box_5": due} | turnover


def _settle(company: Company, current: TaxReturn, at: datetime) -> None:
    """Move the tax of a return to the liability account, in the way that the books' conventions say."""
    amounts = {SALES_TAX: current.output, PURCHASE_TAX: -current.input, TAX_LIABILITY: -current.due}
    if company.practice.scheme == "FLAT_RATE_INVOICE":
        amounts |= {OTHER_INCOME: current.due - current.output, TAX_NOT_RECOVERED: current.input}
    way, title = company.conventions.tax_settlement, _title(company, current)
    legs = [Leg(company.accounts[code], amount, None, title) for code, amount in amounts.items() if amount]
    if not legs or way == "none":
        return
    if way == "journal":
        write_journal(company, title, legs, at)
    else:
        origin = {**ref("tax_returns", current.id, title), "links": [link(None)]}
        post(company, Posting("TAX_RETURN_ADJUSTMENT", at.date(), at, legs, title, origin))


def _pay(company: Company, current: TaxReturn, at: datetime) -> None:
    pay_tax(company, current.due, f"Payment of {_title(company, current)}", at)
    current.paid = True
    company.book("tax_returns").change(current.id, {"paid": True}, at)
    company.book("draft_tax_returns").change(current.draft_id, {"paid": True}, at)


def pay_tax(company: Company, amount: Decimal, reference: str, at: datetime) -> None:
    """Pay what a return says, or get it back."""
    if amount:
        move_directly(company, "TAX_PAYMENT" if amount > 0 else "TAX_REFUND", [(TAX_LIABILITY, amount)], reference, at)
