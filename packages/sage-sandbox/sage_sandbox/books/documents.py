"""Invoices, credit notes, estimates and quotes: their kinds, and what each document is to say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import PURCHASES, SALES
from sage_sandbox.books.lines import sums

if TYPE_CHECKING:
    from datetime import datetime

    from sage_sandbox.books.lines import Line, Sums
    from sage_sandbox.books.master_data import Party
    from sage_sandbox.store import Body

CREDIT_DAYS = timedelta(days=30)


@dataclass(frozen=True)
class Kind:
    """A kind of document. `stem` names its number and its lines; only kinds with a `type` are posted."""

    collection: str
    stem: str
    prefix: str
    side: int
    sign: int = 1
    type: str | None = None


SALES_INVOICE = Kind("sales_invoices", "invoice", "SI-", SALES, 1, "SALES_INVOICE")
SALES_CREDIT_NOTE = Kind("sales_credit_notes", "credit_note", "SCN-", SALES, -1, "SALES_CREDIT_NOTE")
SALES_CORRECTIVE = Kind("sales_corrective_invoices", "invoice", "SCI-", SALES, 1, "SALES_CORRECTIVE_INVOICE")
SALES_ESTIMATE = Kind("sales_estimates", "estimate", "SE-", SALES)
SALES_QUOTE = Kind("sales_quotes", "quote", "SQ-", SALES)
PURCHASE_INVOICE = Kind("purchase_invoices", "invoice", "PI-", PURCHASES, 1, "PURCHASE_INVOICE")
PURCHASE_CREDIT_NOTE = Kind("purchase_credit_notes", "credit_note", "PCN-", PURCHASES, -1, "PURCHASE_CREDIT_NOTE")
PURCHASE_CORRECTIVE = Kind(
    "purchase_corrective_invoices", "invoice", "PCI-", PURCHASES, 1, "PURCHASE_CORRECTIVE_INVOICE"
)


@dataclass(frozen=True)
class Document:
    """What a document is to say. A status of `DRAFT` keeps it from being posted."""

    kind: Kind
    party: Party
    lines: tuple[Line, ...]
    at: datetime
    reference: str = ""
    notes: str = ""
    status: str | None = None
    original: Body | None = None

    @cached_property
    def sums(self) -> Sums:
        """The totals over the lines."""
        return sums(self.lines)

    @cached_property
    def reverse_charged(self) -> bool:
        """Whether the business accounts for the tax in the supplier's place."""
        return any(line.reverse_charge for line in self.lines)

    @property
    def imported(self) -> bool:
        """Whether goods cross the border, rather than services, with tax that is accounted for later."""
        return self.reverse_charged and any(line.item for line in self.lines)
