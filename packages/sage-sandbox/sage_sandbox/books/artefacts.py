"""What a contact owes or is owed, and what has settled it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sage_sandbox.books.codes import CURRENCIES, SMALL_LISTS, pairs
from sage_sandbox.books.values import ZERO, cents, ref

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from sage_sandbox.books.master_data import Bank, Party
    from sage_sandbox.store import Body

SALES, PURCHASES = 1, -1
"""The side of the books, as the sign of its open items in the ledger: debtors debit, creditors credit."""

_STATUS_REFS = {code: ref("artefact_statuses", code, name) for code, name in pairs(SMALL_LISTS["artefact_statuses"])}
_CURRENCY_REFS = {code: ref("currencies", code, f"{name} ({code})") for code, name in pairs(CURRENCIES)}


def currency_ref(code: str) -> Body:
    """Refer to a currency."""
    return _CURRENCY_REFS[code]


def status_ref(code: str) -> Body:
    """Refer to a document's status."""
    return _STATUS_REFS[code]


@dataclass
class Settlement:
    """A part of an open item settled by a payment or an allocation; `base` is what left the control account."""

    artefact: Artefact
    day: date
    amount: Decimal
    discount: Decimal
    base: Decimal
    shown: Body


@dataclass
class Artefact:
    """An open item: invoice, credit note, quick entry, opening balance or payment on account.

    `sign` is 1 for what is owed and -1 for credits. Amounts are positive; `rate` is the price of one unit of its
    currency in base currency. `row_id` is the record that shows it, other than `id` for payments on account.
    """

    id: str
    collection: str
    row_id: str
    shape: str
    origin: Body
    party: Party
    side: int
    sign: int
    day: date
    currency: str
    rate: Decimal
    total: Decimal
    base_total: Decimal
    transaction_id: str
    settlements: list[Settlement] = field(default_factory=list)
    gone: bool = False
    _counted: Decimal = ZERO

    @property
    def outstanding(self) -> Decimal:
        """What is still open, in the document's currency; nothing once voided or deleted."""
        if self.gone:
            return ZERO
        return self.total - sum((each.amount + each.discount for each in self.settlements), ZERO)

    @property
    def base_outstanding(self) -> Decimal:
        """What is still open, in base currency."""
        return ZERO if self.gone else self.base_total - sum((each.base for each in self.settlements), ZERO)

    @property
    def status(self) -> str:
        """The code of the document's status."""
        if self.gone:
            return "VOID"
        if not self.outstanding:
            return "PAID"
        return "PART_PAID" if self.settlements else "UNPAID"

    def release(self, amount: Decimal) -> Decimal:
        """Work out what leaves the control account when this much is settled: the last part takes the rounding."""
        return self.base_outstanding if amount == self.outstanding else cents(amount * self.rate)

    def uncounted(self, currency: Literal["base", "contact"]) -> Decimal:
        """Return by how much the contact's balance is behind, and count it from now on."""
        now_open = self.base_outstanding if currency == "base" else self.outstanding
        change, self._counted = now_open - self._counted, now_open
        return change * self.sign


@dataclass
class Payment:
    """A booked payment: what it settled, through which bank account, and its part that is on account."""

    id: str
    day: date
    transaction_id: str
    bank: Bank
    moved: Decimal
    settlements: list[Settlement]
    on_account: Artefact | None
