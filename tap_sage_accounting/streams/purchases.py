"""What is bought from suppliers."""

from __future__ import annotations

from tap_sage_accounting.client import DocumentStream
from tap_sage_accounting.declaration import Area

NOT_ON_START = ("Standard", "Plus")
"""Sage's guide to its editions leaves these lists out of Start; its API description does not (rights.start_purchases).

Either is fine here.
"""


class PurchaseCorrectiveInvoices(DocumentStream):
    """Invoices by which a supplier corrects an earlier one, as Spanish law asks for."""

    name = "purchase_corrective_invoices"
    flags = ("show_payments_allocations", "show_analysis_types")
    areas = (Area.PURCHASES,)
    editions = ("Plus",)
    countries = ("ES",)
    retired = True


class PurchaseCreditNotes(DocumentStream):
    """Credits received from suppliers, with their lines, taxes and the bills they were set against."""

    name = "purchase_credit_notes"
    flags = ("show_payments_allocations", "show_analysis_types")
    areas = (Area.PURCHASES,)
    editions = NOT_ON_START


class PurchaseInvoices(DocumentStream):
    """Bills received from suppliers, with their lines, taxes and the payments allocated to them."""

    name = "purchase_invoices"
    flags = ("show_payments_allocations", "show_analysis_types", "show_corrections")
    areas = (Area.PURCHASES,)
    editions = NOT_ON_START


class PurchaseQuickEntries(DocumentStream):
    """Bills and supplier credits entered as one line each, suppliers' opening balances among them."""

    name = "purchase_quick_entries"
    flags = ("show_payments_allocations", "show_analysis_types")
    areas = (Area.PURCHASES,)
    editions = NOT_ON_START
