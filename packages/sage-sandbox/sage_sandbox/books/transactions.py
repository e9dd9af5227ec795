"""Transactions and their ledger entries: what is posted, and the rows that remember it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from sage_sandbox.books.codes import TRANSACTION_TYPES, pairs
from sage_sandbox.books.values import ZERO, big, ref
from sage_sandbox.store import Row, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime
    from decimal import Decimal

    from sage_sandbox.books.chart import Account
    from sage_sandbox.store import Body

_TYPE_REFS = {code: ref("transaction_types", code, name) for code, name in pairs(TRANSACTION_TYPES)}
_NOTHING: Body = {}
PAYMENTS = {"CUSTOMER_RECEIPT", "CUSTOMER_REFUND", "VENDOR_PAYMENT", "VENDOR_REFUND", "OTHER_PAYMENT", "OTHER_RECEIPT"}
_DOCUMENTS = {f"{side}_{form}" for side in ("SALES", "PURCHASE") for form in ("INVOICE", "CREDIT_NOTE")}
_QUICK = {f"{side}_QUICK_{form}" for side in ("SALES", "PURCHASE") for form in ("INVOICE", "CREDIT_NOTE")}
_CORRECTIVE = {"SALES_CORRECTIVE_INVOICE", "PURCHASE_CORRECTIVE_INVOICE"}
_TAXED = _DOCUMENTS | _QUICK | _CORRECTIVE | {"OTHER_PAYMENT", "OTHER_RECEIPT"}
_TRADE = _TAXED | PAYMENTS | {"CUSTOMER_ALLOCATION", "VENDOR_ALLOCATION"}


def transaction_type(code: str) -> Body:
    """Refer to a transaction type."""
    return _TYPE_REFS[code]


class Leg(NamedTuple):
    """One side of a posting: what goes to an account, debits positive."""

    account: Account
    amount: Decimal
    tax_rate: Body | None = None
    description: str | None = None


class EntryRow(Row):
    """A ledger entry that keeps only its facts and writes its body on demand: a business can have a million."""

    __slots__ = ("account", "amount", "contact", "date", "deleted", "description", "tax_rate", "transaction")

    def __init__(self, row_id: str, leg: Leg, transaction: Body, contact: Body | None, day: date, at: datetime) -> None:
        self.id = row_id
        self.created_at = at
        self.updated_at = at
        self.deleted_at = None
        self._body = _NOTHING
        self.account, self.amount, self.tax_rate, self.description = leg
        self.transaction = transaction
        self.contact = contact
        self.date = day
        self.deleted = False

    @override
    def render(self) -> Body:
        """Build the entry; entries brought over from older software have null timestamps."""
        day = self.date.isoformat()
        shown = {"id": self.id, "displayed_as": self.description or day, "$path": f"/ledger_entries/{self.id}"}
        return {
            **shown,
            "created_at": self.created_at and timestamp(self.created_at),
            "updated_at": self.updated_at and timestamp(self.updated_at),
            "date": day,
            "credit": big(max(-self.amount, ZERO)),
            "debit": big(max(self.amount, ZERO)),
            "ledger_account": self.account.ref,
            "transaction": self.transaction,
            "contact": self.contact,
            "deleted": self.deleted,
            "tax_rate": self.tax_rate,
            "description": self.description,
            "journal_code": None,
            **self._body,
        }

    @override
    def change(self, changes: Body, at: datetime | None) -> None:
        self.deleted = changes.get("deleted", self.deleted)
        super().change(changes, at)


class TransactionRow(Row):
    """A transaction that remembers its entries, what was booked, and whether that was taken back."""

    __slots__ = ("entries", "posting", "voided")

    def __init__(self, row_id: str, body: Body, posting: Posting, entries: list[EntryRow]) -> None:
        super().__init__(row_id, body, posting.at, posting.at)
        self.entries = entries
        self.posting = replace(posting, legs=())
        self.voided = False

    @property
    def day(self) -> date:
        """The accounting date."""
        return self.posting.day

    @property
    def deleted(self) -> bool:
        """Whether the transaction was voided by a flag."""
        return self.entries[0].deleted

    @property
    def taxed(self) -> bool:
        """Whether a tax return must hold it."""
        return self.posting.type in _TAXED

    @property
    def earned(self) -> Decimal:
        """What trade earns by it: the income less the expenses of everything but journals and payroll."""
        if self.posting.type not in _TRADE:
            return ZERO
        return -sum((entry.amount for entry in self.entries if entry.account.nominal.earning), ZERO)

    @property
    def ref(self) -> Body:
        """The transaction as its document and entries refer to it."""
        return {name: self._body[name] for name in ("id", "displayed_as", "$path")}


@dataclass(frozen=True)
class Posting:
    """What is to be booked.

    `origin` is the document (id, displayed_as, $path, links), null for corrections. `total` is what the transaction
    shows in base currency, all debits unless given. `notional` is tax that the business accounts for in the supplier's
    place. It has the amount in base currency, and whether it is for an import.
    """

    type: str
    day: date
    at: datetime
    legs: Iterable[Leg]
    reference: str
    origin: Body | None
    contact: Body | None = None
    total: Decimal | None = None
    total_in_currency: Decimal | None = None
    notional: tuple[Decimal, bool] | None = None
