"""Money received and paid, and which documents it settled."""

from __future__ import annotations

from tap_sage_accounting.client import DocumentStream, ReferenceDataStream, ReportingStream, SageStream
from tap_sage_accounting.declaration import Area


class ContactAllocations(ReportingStream):
    """Which invoices, credit notes and payments of a contact were set against each other, and for how much."""

    name = "contact_allocations"
    sortable = True


class ContactPayments(DocumentStream):
    """Receipts from customers, payments to suppliers and refunds of either."""

    name = "contact_payments"
    areas = (Area.BANK,)


class OtherPayments(DocumentStream):
    """Money paid or received without an invoice, posted straight to ledger accounts."""

    name = "other_payments"
    flags = ("show_analysis_types",)
    areas = (Area.BANK,)


class PaymentMethods(ReferenceDataStream):
    """Ways to pay: cash, cheque, card, electronic transfer and the like."""

    name = "payment_methods"


class UnallocatedArtefacts(SageStream):
    """Documents and payments that still have an amount open; once allocated they leave the list without a trace."""

    # A target that merges rows by key keeps such a row as it last was; ACTIVATE_VERSION lets it go.
    name = "unallocated_artefacts"
    areas = (Area.SALES, Area.PURCHASES)
