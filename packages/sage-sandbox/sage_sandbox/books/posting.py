"""Double entry: a document becomes one transaction with two or more ledger entries that add up to nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from sage_sandbox.books.codes import TRANSACTION_TYPES, pairs
from sage_sandbox.books.values import ZERO, big, ref
from sage_sandbox.store import Row, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date, datetime
    from decimal import Decimal

    from sage_sandbox.books.chart import Account
    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body

_TYPE_REFS = {code: ref("transaction_types", code, name) for code, name in pairs(TRANSACTION_TYPES)}
_NOTHING: Body = {}
_PAYMENTS = {"CUSTOMER_RECEIPT", "CUSTOMER_REFUND", "VENDOR_PAYMENT", "VENDOR_REFUND", "OTHER_PAYMENT", "OTHER_RECEIPT"}
_DOCUMENTS = {f"{side}_{form}" for side in ("SALES", "PURCHASE") for form in ("INVOICE", "CREDIT_NOTE")}
_QUICK = {f"{side}_QUICK_{form}" for side in ("SALES", "PURCHASE") for form in ("INVOICE", "CREDIT_NOTE")}
_CORRECTIVE = {"SALES_CORRECTIVE_INVOICE", "PURCHASE_CORRECTIVE_INVOICE"}
_TAXED = _DOCUMENTS | _QUICK | _CORRECTIVE | {"OTHER_PAYMENT", "OTHER_RECEIPT"}
_TRADE = _TAXED | _PAYMENTS | {"CUSTOMER_ALLOCATION", "VENDOR_ALLOCATION"}


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
    """A ledger entry that keeps only its facts and writes its body when asked: a business can have a million."""

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
    shows in base currency, all debits unless told. `notional` is tax that the business accounts for in the supplier's
    place, in base currency, and whether it is for an import.
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


def post(company: Company, posting: Posting) -> TransactionRow:
    """Book a posting.

    Raises:
        ValueError: The legs do not balance.
    """
    legs = list(posting.legs)
    if sum(leg.amount for leg in legs):
        raise ValueError(f"A {posting.type} of {posting.day} does not balance: {legs}")
    debits = sum((leg.amount for leg in legs if leg.amount > 0), ZERO)
    total = debits if posting.total is None else posting.total
    own = ref("transactions", company.mint.new_id(), posting.reference)
    entries = _book_entries(company, legs, own, posting)
    body = {
        **own,
        "date": posting.day.isoformat(),
        "deleted": False,
        "reference": posting.reference,
        "total": big(total),
        "total_in_transaction_currency": big(total if posting.total_in_currency is None else posting.total_in_currency),
        "contact": posting.contact,
        "transaction_type": transaction_type(posting.type),
        "origin": posting.origin,
        "audit_trail_id": company.next_number("audit_trail"),
        "number_of_attachments": 0,
    }
    row = TransactionRow(own["id"], body, posting, entries)
    company.book("transactions").add(row)
    if row.taxed:
        company.taxed.append(row)
    company.margin += row.earned
    return row


def _book_entries(company: Company, legs: list[Leg], transaction: Body, posting: Posting) -> list[EntryRow]:
    collection, new_id = company.book("ledger_entries"), company.mint.new_id
    contact, day, at = posting.contact, posting.day, posting.at
    entries = [EntryRow(new_id(), leg, transaction, contact, day, at) for leg in legs]
    collection.rows.update((entry.id, entry) for entry in entries)
    collection.version += 1
    return entries


def entries_of(company: Company) -> Iterator[EntryRow]:
    """Go through the ledger of a business, live entries and deleted ones."""
    return (row for row in company.book("ledger_entries").rows.values() if isinstance(row, EntryRow))


def void(company: Company, transaction_id: str, at: datetime) -> None:
    """Take a transaction back in the way that the books' conventions say; it and its entries stay in their lists."""
    row, way = company.book("transactions").rows[transaction_id], company.conventions.voids
    if not isinstance(row, TransactionRow):
        raise TypeError(f"Transaction {transaction_id} was not booked by these books.")
    row.voided = True
    company.margin -= row.earned
    if way != "flag":
        reversal = _reverse(company, row, at)
        if way == "both":
            _flag(company, reversal, at)
        elif row.taxed:
            company.taxed.append(reversal)
    if way != "reverse":
        _flag(company, row, at)


def _flag(company: Company, row: TransactionRow, at: datetime) -> None:
    company.book("transactions").change(row.id, {"deleted": True}, at)
    collection = company.book("ledger_entries")
    for entry in row.entries:
        collection.change(entry.id, {"deleted": True}, at)


def _reverse(company: Company, row: TransactionRow, at: datetime) -> TransactionRow:
    """Post the opposite of a transaction on the day on which it is taken back."""
    kind = "VOID_PAYMENT" if row.posting.type in _PAYMENTS else "CORRECTION"
    legs = [Leg(entry.account, -entry.amount, entry.tax_rate, entry.description) for entry in row.entries]
    return post(company, replace(row.posting, type=kind, day=at.date(), at=at, legs=legs))
