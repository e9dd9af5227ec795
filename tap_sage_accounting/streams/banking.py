"""Bank, cash and card accounts, what moves between them and how they were reconciled."""

from __future__ import annotations

from tap_sage_accounting.client import DocumentStream, ReferenceDataStream, ReportingStream, SageStream
from tap_sage_accounting.declaration import Area


class BankAccountTypes(ReferenceDataStream):
    """Kinds of bank account: current, savings, card, cash in hand, loan and the like."""

    name = "bank_account_types"


class BankAccounts(ReportingStream):
    """The business's bank, cash, card and loan accounts with their balances and ledger accounts."""

    name = "bank_accounts"
    unposted = True
    master_data = True
    areas = (Area.BANK,)


class BankDeposits(DocumentStream):
    """Cash and cheques paid in from one of the business's accounts to another."""

    name = "bank_deposits"
    areas = (Area.BANK,)


class BankReconciliations(SageStream):
    """Bank statements checked against the books, with opening, closing and reconciled balance."""

    name = "bank_reconciliations"
    changed_since = True
    areas = (Area.BANK,)


class BankTransfers(DocumentStream):
    """Money moved between two of the business's own accounts."""

    name = "bank_transfers"
    areas = (Area.BANK,)
