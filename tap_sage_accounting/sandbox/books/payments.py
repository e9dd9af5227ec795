"""Money in and out: payments of documents, on account, allocations, and payments of everything else."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tap_sage_accounting.sandbox.books.artefacts import (
    SALES,
    Artefact,
    Payment,
    Settlement,
    currency_ref,
    on_account_body,
    refresh,
    register,
)
from tap_sage_accounting.sandbox.books.banking import move_money
from tap_sage_accounting.sandbox.books.chart import (
    CREDITORS,
    DEBTORS,
    DISCOUNTS_ALLOWED,
    DISCOUNTS_TAKEN,
    EXCHANGE_GAINS,
    EXCHANGE_LOSSES,
    PURCHASE_TAX,
    SALES_TAX,
)
from tap_sage_accounting.sandbox.books.lines import canadian_taxes, tax_breakdown
from tap_sage_accounting.sandbox.books.posting import Leg, Posting, post, transaction_type, void
from tap_sage_accounting.sandbox.books.treasury import ensure_funds
from tap_sage_accounting.sandbox.books.values import HUNDRED, ZERO, big, cents, link, ref

if TYPE_CHECKING:
    from datetime import datetime

    from tap_sage_accounting.sandbox.books.chart import Account
    from tap_sage_accounting.sandbox.books.company import Bank, Company, Party
    from tap_sage_accounting.sandbox.books.places import TaxRate
    from tap_sage_accounting.sandbox.books.posting import TransactionRow
    from tap_sage_accounting.sandbox.store import Body

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


def pay(company: Company, artefact: Artefact, remittance: Remittance) -> Payment:
    """Pay an invoice or refund a credit note, wholly or in part; the exchange difference goes to gains or losses."""
    sales, at = artefact.side == SALES, remittance.at
    direction = artefact.side * artefact.sign
    bank = company.bank(artefact.currency)
    if direction < 0:
        ensure_funds(company, bank, remittance.amount, at)
    settled = remittance.amount + remittance.discount
    released = artefact.release(settled)
    banked, discounted = cents(remittance.amount * remittance.rate), cents(remittance.discount * remittance.rate)
    lost = direction * (released - banked - discounted)
    legs = [
        Leg(bank.account, direction * banked),
        Leg(company.accounts[DISCOUNTS_ALLOWED if sales else DISCOUNTS_TAKEN], direction * discounted),
        Leg(company.accounts[EXCHANGE_LOSSES if lost > 0 else EXCHANGE_GAINS], lost),
        Leg(_control(company, artefact.side), -direction * released),
    ]
    type_code, word = _TYPES[sales, artefact.sign]
    slip = _Slip(company, type_code, f"{word} {artefact.origin['displayed_as']}", remittance, bank)
    transaction = slip.book([leg for leg in legs if leg.amount])
    settlement = _settle(artefact, slip, released)
    slip.insert(transaction, [_allocated(company, settlement)], None)
    moved = direction * remittance.amount
    move_money(company, bank, moved, at)
    refresh(company, artefact, at)
    payment = Payment(slip.id, at.date(), transaction.id, bank, moved, [settlement], None)
    company.payments[slip.id] = payment
    return payment


def pay_on_account(company: Company, remittance: Remittance) -> Payment:
    """Take money that no document asks for yet: it stays open as a credit, with an id of its own."""
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


def _settle(artefact: Artefact, slip: _Slip, released: Decimal) -> Settlement:
    remittance = slip.remittance
    label = {"type": slip.type, "reference": slip.reference, "contact_allocation": None, "contact_payment": slip.own}
    shown = _shown(None, remittance.amount, remittance.at, label) | {"discount": big(remittance.discount)}
    day = remittance.at.date()
    settlement = Settlement(artefact, day, remittance.amount, remittance.discount, released, shown)
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


@dataclass(frozen=True)
class Sundry:
    """A payment or receipt without a contact's document, by its transaction type: rent, fuel, interest."""

    type: str
    account: Account
    net: Decimal
    rate: TaxRate
    details: str
    at: datetime
    party: Party | None = None
    bank: Bank | None = None


def pay_other(company: Company, sundry: Sundry) -> str:
    """Book a payment or receipt straight to an income or expense account."""
    receipt = sundry.type == "OTHER_RECEIPT"
    at, bank, sign = sundry.at, sundry.bank or company.bank(company.currency), (1 if receipt else -1)
    tax = cents(sundry.net * sundry.rate.percentage / HUNDRED)
    total = sundry.net + tax
    if not receipt:
        ensure_funds(company, bank, total, at)
    identity = company.mint.new_id()
    reference = f"{'Receipt' if receipt else 'Payment'}-{company.next_number('sundry')}"
    own = {**ref("other_payments", identity, reference), "links": [link(f"banking/{identity}")]}
    legs = [
        Leg(bank.account, sign * total),
        Leg(sundry.account, -sign * sundry.net, sundry.rate.ref, sundry.details),
        Leg(company.accounts[SALES_TAX if receipt else PURCHASE_TAX], -sign * tax),
    ]
    legs = [leg for leg in legs if leg.amount]
    contact = sundry.party.ref if sundry.party else None
    transaction = post(company, Posting(sundry.type, at.date(), at, legs, reference, own, contact, total))
    body = {
        **{name: own[name] for name in ("id", "displayed_as", "$path")},
        "transaction": transaction.ref,
        "transaction_type": transaction_type(sundry.type),
        "date": at.date().isoformat(),
        "contact": contact,
        "net_amount": big(sundry.net),
        "tax_amount": big(tax),
        "total_amount": big(total),
        "payment_lines": [_sundry_line(company, sundry, tax)],
        **_sundry_defaults(company, bank, reference),
    }
    company.insert("other_payments", identity, body, at)
    move_money(company, bank, sign * total, at)
    return identity


def _sundry_defaults(company: Company, bank: Bank, reference: str) -> Body:
    recoverable = ("total_itc_amount", "total_itr_amount")
    return {
        **{f"{base}{name}": None for base in ("", "base_currency_") for name in recoverable},
        "part_recoverable": False,
        "payment_method": ref("payment_methods", "DIRECT_DEBIT", "Direct Debit"),
        "bank_account": bank.ref,
        "tax_address_region": ref("address_regions", "CA-ON", "Ontario") if company.country == "CA" else None,
        "reference": reference,
        "editable": True,
        "deletable": True,
        "withholding_tax_rate": None,
        "withholding_tax_amount": None,
    }


def _sundry_line(company: Company, sundry: Sundry, tax: Decimal) -> Body:
    return {
        "id": company.mint.new_id(),
        "displayed_as": sundry.details,
        "analysis_type_categories": [],
        "ledger_account": sundry.account.ref,
        "details": sundry.details,
        "tax_rate": sundry.rate.ref,
        "net_amount": big(sundry.net),
        "tax_amount": big(tax),
        "total_amount": big(sundry.net + tax),
        "tax_breakdown": tax_breakdown(sundry.rate, tax),
        "is_purchase_for_resale": False,
        "trade_of_asset": False,
        **canadian_taxes(company, sundry.rate, tax),
    }


def delete_other(company: Company, identity: str, at: datetime) -> None:
    """Delete a sundry payment or receipt."""
    body = company.book("other_payments").delete(identity, at).render()
    void(company, body["transaction"]["id"], at)
    bank = next(bank for bank in company.banks if bank.id == body["bank_account"]["id"])
    sign = -1 if body["transaction_type"]["id"] == "OTHER_RECEIPT" else 1
    move_money(company, bank, sign * Decimal(body["total_amount"]), at)
