"""What is offered and sold to customers."""

from __future__ import annotations

from tap_sage_accounting.client import DocumentStream, ReferenceDataStream, SageStream
from tap_sage_accounting.declaration import Area

# By Sage's description, a request for a document by its id marks it as sent without this parameter
# (records.sent_by_reading). Flags are sent to lists, too, also those for single records (records.detail_flags).
UNTOUCHED = {"mark_as_sent": "false"}


class HostedArtefactPaymentSettings(ReferenceDataStream):
    """Whether customers may pay a given sales document online."""

    name = "hosted_artefact_payment_settings"
    deletable = True
    areas = (Area.SALES,)


class SalesCorrectiveInvoices(DocumentStream):
    """Invoices that correct an earlier sales invoice, as Spanish law asks for."""

    name = "sales_corrective_invoices"
    flags = ("show_payments_allocations", "show_analysis_types")
    detail_params = UNTOUCHED
    areas = (Area.SALES,)
    countries = ("ES",)
    retired = True


class SalesCreditNotes(DocumentStream):
    """Credits granted to customers, with their lines, taxes and the invoices they were set against."""

    name = "sales_credit_notes"
    flags = ("show_payments_allocations", "show_analysis_types")
    detail_params = UNTOUCHED
    areas = (Area.SALES,)


class SalesEstimates(SageStream):
    """Estimates of what a job would cost a customer, without effect on the ledger."""

    name = "sales_estimates"
    changed_since = True
    deletable = True
    dated = True
    areas = (Area.SALES,)


class SalesInvoices(DocumentStream):
    """Invoices issued to customers, with their lines, taxes and the payments allocated to them."""

    name = "sales_invoices"
    flags = ("show_payments_allocations", "show_analysis_types", "show_corrections", "show_recurring_invoice")
    detail_params = UNTOUCHED
    areas = (Area.SALES,)


class SalesQuickEntries(DocumentStream):
    """Sales invoices and credit notes entered as one line each, customers' opening balances among them."""

    name = "sales_quick_entries"
    flags = ("show_payments_allocations", "show_analysis_types")
    areas = (Area.SALES,)


class SalesQuotes(SageStream):
    """Prices quoted to customers until an expiry date, without effect on the ledger."""

    name = "sales_quotes"
    changed_since = True
    sortable = True
    deletable = True
    dated = True
    areas = (Area.SALES,)
