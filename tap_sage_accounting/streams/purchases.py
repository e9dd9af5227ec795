"""What is bought from suppliers."""

from __future__ import annotations

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.declaration import Area

NOT_ON_START = ("Standard", "Plus")
"""Sage's guide to its editions leaves these lists out of Start; its API description does not. Either is fine here."""


class PurchaseCorrectiveInvoices(SageStream):
    """Invoices by which a supplier corrects an earlier one, as Spanish law asks for."""

    name = "purchase_corrective_invoices"
    changed_since = True
    deleted_since = True
    sortable = True
    deletable = True
    dated = True
    flags = ("show_payments_allocations", "show_analysis_types")
    areas = (Area.PURCHASES,)
    editions = ("Plus",)
    countries = ("ES",)
    retired = True


class PurchaseCreditNotes(SageStream):
    """Credits received from suppliers, with their lines, taxes and the bills they were set against."""

    name = "purchase_credit_notes"
    changed_since = True
    deleted_since = True
    sortable = True
    deletable = True
    dated = True
    flags = ("show_payments_allocations", "show_analysis_types")
    areas = (Area.PURCHASES,)
    editions = NOT_ON_START


class PurchaseInvoices(SageStream):
    """Bills received from suppliers, with their lines, taxes and the payments allocated to them."""

    name = "purchase_invoices"
    changed_since = True
    deleted_since = True
    sortable = True
    deletable = True
    dated = True
    flags = ("show_payments_allocations", "show_analysis_types", "show_corrections")
    areas = (Area.PURCHASES,)
    editions = NOT_ON_START


class PurchaseQuickEntries(SageStream):
    """Bills and supplier credits entered as one line each, suppliers' opening balances among them."""

    name = "purchase_quick_entries"
    changed_since = True
    deleted_since = True
    sortable = True
    deletable = True
    dated = True
    flags = ("show_payments_allocations", "show_analysis_types")
    areas = (Area.PURCHASES,)
    editions = NOT_ON_START
