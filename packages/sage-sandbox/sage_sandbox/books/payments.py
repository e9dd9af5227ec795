"""Money in and out: payments of documents, on account, and allocations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import SALES, Artefact, Payment, Settlement, currency_ref
from sage_sandbox.books.banking import move_money
from sage_sandbox.books.chart import (
    CREDITORS,
    DEBTORS,
    DISCOUNTS_ALLOWED,
    DISCOUNTS_TAKEN,
    EXCHANGE_GAINS,
    EXCHANGE_LOSSES,
)
from sage_sandbox.books.open_items import on_account_body, refresh, register
from sage_sandbox.books.posting import post, void
from sage_sandbox.books.transactions import Leg, Posting, transaction_type
from sage_sandbox.books.treasury import ensure_funds
from sage_sandbox.books.values import ZERO, big, cents, link, ref

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from sage_sandbox.books.chart import Account
    from sage_sandbox.books.company import Company
    from sage_sandbox.books.master_data import Bank, Party
    from sage_sandbox.books.transactions import TransactionRow
    from sage_sandbox.store import Body

_TYPES = {
    (True, 1): ("CUSTOMER_RECEIPT", "Receipt"),
    (True, -1): ("CUSTOMER_REFUND", "Refund"),
    (False, 1): ("VENDOR_PAYMENT", "Payment"),
    (False, -1): ("VENDOR_REFUND", "Refund"),
}


@dataclass(frozen=True)
class Remittance:
    """What a contact payment is to be: `rate` is the day's price of its currency, `discount` comes on top."""

    party: Party
    amount: Decimal
    rate: Decimal
    at: datetime
    discount: Decimal = ZERO


@dataclass(frozen=True)
class _Part:
    """What a payment settles of one open item; `released` is what leaves the control account."""

    artefact: Artefact
    amount: Decimal
    discount: Decimal

    @cached_property
    def released(self) -> Decimal:
        return self.artefact.release(self.amount + self.discount)


def pay(company: Company, artefact: Artefact, remittance: Remittance, also: Sequence[Artefact] = ()) -> Payment:
    """Pay an invoice or refund a credit note, wholly or in part; exchange differences go to gains or losses.

    What the remittance pays is `artefact`; the same payment settles others of the same contact and kind wholly.
    """
    sales, at = artefact.side == SALES, remittance.at
    direction = artefact.side * artefact.sign
    bank = company.bank(artefact.currency)
    parts = [_Part(artefact, remittance.amount, remittance.discount)]
    parts += [_Part(each, each.outstanding, ZERO) for each in also]
    whole = replace(remittance, amount=sum((part.amount for part in parts), ZERO))
    if direction < 0:
        ensure_funds(company, bank, whole.amount, at)
    released = sum((part.released for part in parts), ZERO)
    banked, discounted = cents(whole.amount * whole.rate), cents(whole.discount * whole.rate)
    lost = direction * (released - banked - discounted)
    legs = [
        Leg(bank.account, direction * banked),
        Leg(company.accounts[DISCOUNTS_ALLOWED if sales else DISCOUNTS_TAKEN], direction * discounted),
        Leg(company.accounts[EXCHANGE_LOSSES if lost > 0 else EXCHANGE_GAINS], lost),
        Leg(_control(company, artefact.side), -direction * released),
    ]
    type_code, word = _TYPES[sales, artefact.sign]
    slip = _Slip(company, type_code, f"{word} {artefact.origin['displayed_as']}", whole, bank)
    transaction = slip.book([leg for leg in legs if leg.amount])
    settlements = [_settle(part, slip) for part in parts]
    slip.insert(transaction, [_allocated(company, each) for each in settlements], None)
    moved = direction * whole.amount
    move_money(company, bank, moved, at)
    for part in parts:
        refresh(company, part.artefact, at)
    payment = Payment(slip.id, at.date(), transaction.id, bank, moved, settlements, None)
    company.payments[slip.id] = payment
    return payment


def pay_on_account(company: Company, remittance: Remittance) -> Payment:
    """Take money that no document claims yet: it stays open as a credit, with a separate id."""
    party, at = remittance.party, remittance.at
    side = SALES if party.customer else -SALES
    bank = company.bank(party.currency)
    if side != SALES:
        ensure_funds(company, bank, remittance.amount, at)
    banked = cents(remittance.amount * remittance.rate)
    type_code, word = _TYPES[party.customer, 1]
    slip = _Slip(company, type_code, f"{word} on account", remittance, bank)
    transaction = slip.book([Leg(bank.account, side * banked), Leg(_control(company, side), -side * banked)])
    artefact = Artefact(
        id=company.mint.new_id(),
        collection="contact_payments",
        row_id=slip.id,
        shape="payment_on_account",
        origin={},
        party=party,
        side=side,
        sign=-1,
        day=at.date(),
        currency=party.currency,
        rate=remittance.rate,
        total=remittance.amount,
        base_total=banked,
        transaction_id=transaction.id,
    )
    path = f"/contact_payments/{slip.id}"
    artefact.origin = {"id": artefact.id, "displayed_as": slip.reference, "$path": path, "links": [link(None)]}
    slip.insert(transaction, [], on_account_body(artefact, at, at))
    register(company, artefact, at)
    moved = side * remittance.amount
    move_money(company, bank, moved, at)
    payment = Payment(slip.id, at.date(), transaction.id, bank, moved, [], artefact)
    company.payments[slip.id] = payment
    return payment


def delete_payment(company: Company, payment: Payment, at: datetime) -> None:
    """Delete a payment: a tombstone stays, what it settled is open again, its transaction is flagged as deleted."""
    company.book("contact_payments").delete(payment.id, at)
    void(company, payment.transaction_id, at)
    move_money(company, payment.bank, -payment.moved, at)
    _undo(company, payment.settlements, at)
    if payment.on_account:
        payment.on_account.gone = True
        refresh(company, payment.on_account, at)
    del company.payments[payment.id]


def allocate(company: Company, credit: Artefact, debit: Artefact, amount: Decimal, at: datetime) -> str:
    """Set a credit against an invoice of the same contact; the control account is debited and credited alike."""
    sales = debit.side == SALES
    side, reference = ("CUSTOMER" if sales else "VENDOR"), f"Allocation - {at.date()}"
    shown = f"{'Customer' if sales else 'Supplier'} {reference}"
    identity = company.mint.new_id()
    own = {**ref("contact_allocations", identity, shown), "links": [link(f"allocations/{identity}")]}
    released = {artefact.id: artefact.release(amount) for artefact in (debit, credit)}
    base = released[debit.id]
    legs = _allocation_legs(company, debit.side, base, released[credit.id])
    posting = Posting(f"{side}_ALLOCATION", at.date(), at, legs, reference, own, debit.party.ref, base, amount)
    transaction = post(company, posting)
    label = {"type": posting.type, "reference": reference, "contact_allocation": own, "contact_payment": None}
    settlements = [
        Settlement(artefact, at.date(), amount, ZERO, released[artefact.id], _shown(other, amount, at, label))
        for artefact, other in ((debit, credit), (credit, debit))
    ]
    for settlement in settlements:
        settlement.artefact.settlements.append(settlement)
    body = {
        **own,
        "transaction": {**transaction.ref, "displayed_as": None},
        "transaction_type": transaction_type(posting.type),
        "date": at.date().isoformat(),
        "contact": debit.party.ref,
        "allocated_artefacts": [_allocated_part(company, each) for each in settlements],
    }
    company.insert("contact_allocations", identity, body, at)
    for settlement in settlements:
        refresh(company, settlement.artefact, at)
    company.allocations[identity] = settlements
    return identity


def _allocation_legs(company: Company, side: int, debited: Decimal, credited: Decimal) -> list[Leg]:
    """Take what each part releases off the control account; pennies between them are an exchange difference."""
    control, lost = _control(company, side), side * (debited - credited)
    difference = Leg(company.accounts[EXCHANGE_LOSSES if lost > 0 else EXCHANGE_GAINS], lost)
    return [Leg(control, -side * debited), Leg(control, side * credited), *([difference] if lost else [])]


def delete_allocation(company: Company, identity: str, at: datetime) -> None:
    """Take an allocation back: a tombstone stays, both sides are open again."""
    row = company.book("contact_allocations").delete(identity, at)
    void(company, row.render()["transaction"]["id"], at)
    _undo(company, company.allocations.pop(identity), at)


def _undo(company: Company, settlements: list[Settlement], at: datetime) -> None:
    for settlement in settlements:
        settlement.artefact.settlements.remove(settlement)
        refresh(company, settlement.artefact, at)


def _control(company: Company, side: int) -> Account:
    return company.accounts[DEBTORS if side == SALES else CREDITORS]


@dataclass
class _Slip:
    """A contact payment on its way into the books."""

    company: Company
    type: str
    reference: str
    remittance: Remittance
    bank: Bank

    def __post_init__(self) -> None:
        self.id = self.company.mint.new_id()
        self.own = {**ref("contact_payments", self.id, self.reference), "links": [link(f"payments/{self.id}")]}

    def book(self, legs: list[Leg]) -> TransactionRow:
        """Post the payment."""
        at, party = self.remittance.at, self.remittance.party
        banked = cents(self.remittance.amount * self.remittance.rate)
        amount = self.remittance.amount
        posting = Posting(self.type, at.date(), at, legs, self.reference, self.own, party.ref, banked, amount)
        return post(self.company, posting)

    def insert(self, transaction: TransactionRow, allocated: list[Body], on_account: Body | None) -> None:
        """List the payment; every third one is shown without a name."""
        remittance, base = self.remittance, cents(self.remittance.amount * self.remittance.rate)
        unnamed = self.company.next_number("payment") % 3 == 0
        body = {
            **self.own,
            "displayed_as": None if unnamed else self.reference,
            "transaction": transaction.ref,
            "transaction_type": transaction_type(self.type),
            "payment_method": ref("payment_methods", "ELECTRONIC", "Electronic"),
            "contact": remittance.party.ref,
            "bank_account": self.bank.ref,
            "date": remittance.at.date().isoformat(),
            **dict.fromkeys(("net_amount", "tax_amount", "base_currency_net_amount"), "0.0"),
            **dict.fromkeys(("base_currency_tax_amount", "base_currency_currency_charge"), "0.0"),
            "total_amount": big(remittance.amount),
            "currency": currency_ref(remittance.party.currency),
            "exchange_rate": big(remittance.rate),
            "base_currency_total_amount": big(base),
            "reference": self.reference,
            "allocated_artefacts": allocated,
            "tax_rate": None,
            "payment_on_account": on_account,
            "editable": False,
        }
        self.company.insert("contact_payments", self.id, body, remittance.at)


def _settle(part: _Part, slip: _Slip) -> Settlement:
    artefact, at, released = part.artefact, slip.remittance.at, part.released
    label = {"type": slip.type, "reference": slip.reference, "contact_allocation": None, "contact_payment": slip.own}
    shown = _shown(None, part.amount, at, label) | {"discount": big(part.discount)}
    settlement = Settlement(artefact, at.date(), part.amount, part.discount, released, shown)
    artefact.settlements.append(settlement)
    return settlement


def _shown(other: Artefact | None, amount: Decimal, at: datetime, label: Body) -> Body:
    """Write a settlement as the settled document lists it."""
    refs = {
        name: target and {key: target[key] for key in ("id", "displayed_as", "$path")}
        for name, target in label.items()
        if name.startswith("contact_")
    }
    return {
        "links": [link(None)],
        "date": at.date().isoformat(),
        "type": label["type"],
        "reference": label["reference"],
        "amount": big(amount),
        "discount": "0.0",
        "stripe_transaction_id": None,
        **refs,
        "artefact": other and other.origin,
        "displayed_as": label["reference"],
        "negative_payment": False,
    }


def _allocated_part(company: Company, settlement: Settlement) -> Body:
    """Write one side of an allocation: credits are negative, so that all of it sums to nothing."""
    artefact = settlement.artefact
    amount = big(artefact.sign * settlement.amount)
    return {"id": company.mint.new_id(), "artefact": artefact.origin, "amount": amount}


def _allocated(company: Company, settlement: Settlement) -> Body:
    part = _allocated_part(company, settlement)
    return part | {"discount": big(settlement.discount)}
