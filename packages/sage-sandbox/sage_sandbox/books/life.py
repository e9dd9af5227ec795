"""The course of a business: which events make its history, and which make up one more day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sage_sandbox.books import duties, foreign, reference, settings, settling, taxes, trade, upkeep
from sage_sandbox.books.journals import write_history
from sage_sandbox.books.values import dice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from random import Random

    from sage_sandbox.books.company import Company

    Event = Callable[[Company, Random, datetime], None]

_FIRST: tuple[Event, ...] = (
    trade.raise_sales_invoice,
    trade.raise_sales_invoice,
    trade.raise_foreign_invoice,
    trade.raise_foreign_invoice,
    trade.raise_odd_invoices,
    trade.raise_purchase_invoice,
    trade.raise_purchase_invoice,
    trade.credit_sale,
    trade.credit_purchase,
    trade.estimate,
    trade.quote,
    trade.quote,
    trade.accept_offer,
    trade.quote_odd_quantity,
    trade.enter_quick_sale,
    trade.enter_quick_purchase,
    settling.receive_payment,
    settling.receive_payment,
    settling.pay_supplier,
    settling.receive_on_account,
    settling.allocate_credit,
    settling.refund,
    trade.pay_sundry,
    trade.receive_sundry,
    upkeep.transfer,
    upkeep.deposit,
    upkeep.adjust_prepayments,
    upkeep.adjust_prepayments,
    upkeep.correct,
    upkeep.reconcile,
    upkeep.move_stock,
    upkeep.attach_file,
    upkeep.edit_phone,
    trade.raise_sales_invoice,
    trade.void_invoice,
    trade.raise_purchase_invoice,
    trade.delete_purchase,
    trade.draft,
    upkeep.add_contact,
    upkeep.add_item,
)
"""One of each, in an order in which each finds what it needs."""

_MIX: dict[Event, int] = {
    trade.raise_sales_invoice: 26,
    trade.raise_purchase_invoice: 18,
    trade.enter_quick_sale: 4,
    trade.enter_quick_purchase: 4,
    trade.credit_sale: 3,
    trade.credit_purchase: 2,
    trade.estimate: 3,
    trade.quote: 3,
    trade.accept_offer: 2,
    settling.receive_on_account: 2,
    settling.allocate_credit: 3,
    settling.refund: 1,
    trade.pay_sundry: 5,
    trade.receive_sundry: 2,
    trade.edit_notes: 2,
    trade.void_invoice: 1,
    trade.delete_purchase: 1,
    upkeep.transfer: 2,
    upkeep.deposit: 2,
    upkeep.adjust_prepayments: 2,
    upkeep.correct: 1,
    upkeep.reconcile: 1,
    upkeep.move_stock: 4,
    upkeep.attach_file: 2,
    upkeep.edit_phone: 1,
}

_DAILY: tuple[Event, ...] = (
    upkeep.delete_contact,
    upkeep.add_contact,
    upkeep.delete_item,
    upkeep.add_item,
    upkeep.edit_phone,
    upkeep.edit_address,
    upkeep.annotate_item,
    trade.raise_sales_invoice,
    trade.raise_purchase_invoice,
    trade.enter_quick_sale,
    trade.enter_quick_purchase,
    trade.credit_sale,
    trade.estimate,
    trade.quote,
    trade.accept_offer,
    settling.receive_payment,
    settling.pay_supplier,
    settling.receive_on_account,
    settling.allocate_credit,
    settling.remove_payment,
    trade.pay_sundry,
    trade.receive_sundry,
    trade.edit_notes,
    trade.raise_sales_invoice,
    trade.void_invoice,
    trade.raise_purchase_invoice,
    trade.delete_purchase,
    trade.delete_draft,
    trade.draft,
    trade.delete_offer,
    upkeep.transfer,
    upkeep.deposit,
    upkeep.adjust_prepayments,
    upkeep.reissue_journal,
    upkeep.move_stock,
    upkeep.attach_file,
    upkeep.switch_item,
    upkeep.switch_contact,
    reference.move_live_rates,
)

_LAST: tuple[Event, ...] = (
    trade.credit_purchase,
    settling.receive_on_account,
    trade.credit_sale,
    trade.enter_quick_sale,
    trade.raise_purchase_invoice,
    trade.raise_sales_invoice,
    trade.raise_purchase_invoice,
    trade.raise_sales_invoice,
)
"""What happens in a history's last days, so that even the smallest business has something open."""
_LAST_DAYS = timedelta(days=10)

_NOW_AND_THEN: tuple[Event, ...] = (
    settling.remove_allocation,
    trade.remove_sundry,
    trade.delete_quick_entry,
    upkeep.delete_move,
    upkeep.delete_journal,
    upkeep.detach_file,
    upkeep.reconcile,
    upkeep.correct,
)
"""Of these, one a day in turn."""


_GROWTH = 0.85
"""Trade grows: less than half of a history's events lie in its first half."""


def moments(start: datetime, end: datetime, count: int, growth: float = 1.0) -> Iterator[datetime]:
    """Spread so many moments between two, neither included, in whole seconds; evenly, or ever closer together."""
    shares = ((number / (count + 1)) ** growth for number in range(1, count + 1))
    return ((start + (end - start) * share).replace(microsecond=0) for share in shares)


def live_until(company: Company, now: datetime, ledger_entries: int | None) -> None:
    """Let a new business trade from its first day until now; bulk history is written along the way."""
    rng, extra = company.rng, max(company.size.events - len(_FIRST), 0)
    events = [*_FIRST, *rng.choices(list(_MIX), weights=list(_MIX.values()), k=extra)]
    times = [
        *moments(company.opened, now - _LAST_DAYS, len(events), _GROWTH),
        *moments(now - _LAST_DAYS, now, len(_LAST)),
    ]
    duties.begin(company)
    for number, (event, at) in enumerate(zip([*events, *_LAST], times, strict=True), start=1):
        duties.keep_up(company, at)
        event(company, rng, at)
        if ledger_entries and number < len(times):
            write_history(company, rng, ledger_entries * number // len(times), at)
    duties.keep_up(company, now)
    at = max(at, company.next_morning - timedelta(days=1))
    if ledger_entries:
        write_history(company, rng, ledger_entries, at)
    foreign.add_corrective_invoices(company, rng, at)
    taxes.update_draft(company, at)
    settings.number_invoices(company, now)


def live_one_day(company: Company, start: datetime, seed: int) -> None:
    """Let one more day pass: something of every kind happens, and the more the larger the business is."""
    company.days_lived += 1
    rng = dice(company.seed, "day", company.days_lived, seed)
    turn = _NOW_AND_THEN[company.days_lived % len(_NOW_AND_THEN)]
    more = rng.choices(list(_MIX), weights=list(_MIX.values()), k=company.size.daily)
    events = [*_DAILY, turn, *more]
    company.busy = True
    for event, at in zip(events, moments(start, start + timedelta(days=1), len(events)), strict=True):
        duties.keep_up(company, at)
        event(company, rng, at)
    duties.keep_up(company, start + timedelta(days=1))
    taxes.update_draft(company, at)
    settings.number_invoices(company, start + timedelta(days=1))
