"""What a business carried over from its earlier books when it started with Sage."""

from __future__ import annotations

from tap_sage_accounting.client import ReferenceDataStream, ReportingStream


class BankOpeningBalances(ReferenceDataStream):
    """Balances of bank accounts on the day the books were started."""

    name = "bank_opening_balances"
    changed_since = True
    deletable = True


class ContactOpeningBalanceTypes(ReferenceDataStream):
    """Kinds of contact opening balance: open invoice or open credit note."""

    name = "contact_opening_balance_types"


class ContactOpeningBalances(ReportingStream):
    """Invoices and credit notes of customers and suppliers that were open when the books were started."""

    name = "contact_opening_balances"
    static = True


class LedgerAccountOpeningBalances(ReferenceDataStream):
    """Balances of ledger accounts on the day the books were started."""

    name = "ledger_account_opening_balances"
    changed_since = True
    deletable = True


class OpeningBalanceJournals(ReferenceDataStream):
    """Journals by which ledger opening balances were entered, with their lines."""

    name = "opening_balance_journals"
    deletable = True
