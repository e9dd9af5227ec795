"""The experiment with the balance of a contact who owes, or is owed, a foreign currency."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.findings import Finding, counted, decided, experiment, undecided
from tap_sage_accounting.commands.doctor.subject import amount, reference
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.response import Row
    from tap_sage_accounting.commands.doctor.subject import Subject

ITEMS = {
    "CUSTOMER": ("sales_invoices", "sales_credit_notes", "sales_quick_entries", "contact_payments"),
    "VENDOR": ("purchase_invoices", "purchase_credit_notes", "purchase_quick_entries", "contact_payments"),
}
"""The lists of what a contact owes and is owed, by the contact's type."""
AMOUNTS = ("outstanding_amount", "base_currency_outstanding_amount")
ATTRIBUTES = ",".join((*AMOUNTS, "quick_entry_type", "payment_on_account"))
CENT, ZERO = Decimal("0.01"), Decimal(0)


@experiment("ledger.contact_balance")
def contact_balance(subject: Subject) -> Finding:
    """Compare a balance with all open items of the contact, in the contact's currency and in the base currency."""
    settings = subject.responses_of("financial_settings")["financial_settings"].fields
    base_currency = reference(settings.get("base_currency"))
    contacts = [row for row in subject.rows_of("contacts") if _is_foreign(row, base_currency)]
    if not base_currency or not contacts:
        return undecided("No contact in the sample has a balance and a foreign currency.")
    contact = max(contacts, key=lambda row: abs(amount(row["balance"]) or ZERO))
    kinds = [reference(each) for each in contact.get("contact_types") or ()]
    lists = next((ITEMS[kind] for kind in kinds if kind in ITEMS), ())
    responses = {
        name: subject.get(
            name, items_per_page=HIGHEST_PAGE_SIZE, attributes=ATTRIBUTES, contact_id=str(contact.get("id"))
        )
        for name in lists
    }
    if not all(response.is_whole for response in responses.values()):
        return undecided("Not all open items of the contact can be read.")
    items = [(_sign(name, row), _item(row)) for name, response in responses.items() for row in response.rows]
    held = abs(amount(contact["balance"]) or ZERO)
    own, base = (
        abs(held - abs(sum((sign * (amount(item.get(each)) or ZERO) for sign, item in items), ZERO))) < CENT
        for each in AMOUNTS
    )
    if own == base:
        reason = counted("The {} items of a contact in a foreign currency do not explain the balance.", len(items))
        return undecided(reason)
    evidence = counted("The {} items of a contact add up to it in one currency only.", len(items))
    return decided(holds=base, evidence=evidence)


def _is_foreign(contact: Row, base_currency: str) -> bool:
    return bool(amount(contact.get("balance"))) and reference(contact.get("currency")) not in ("", base_currency)


def _item(row: Row) -> Row:
    """Return what is open: the row, or what of a payment is on account."""
    on_account = row.get("payment_on_account")
    return on_account if isinstance(on_account, dict) else row


def _sign(name: str, row: Row) -> int:
    """Return 1 for what adds to a balance, and -1 for what lowers it."""
    lowers = name.endswith(("credit_notes", "payments")) or reference(row.get("quick_entry_type")) == "CREDIT_NOTE"
    return -1 if lowers else 1
