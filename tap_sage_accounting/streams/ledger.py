"""The general ledger: the chart of accounts, the postings and what caused them."""

from __future__ import annotations

from tap_sage_accounting.client import ReportingStream, SageStream
from tap_sage_accounting.declaration import Area


class CoaAccounts(SageStream):
    """Accounts that Sage's standard charts propose and a business may add to its own chart."""

    name = "coa_accounts"
    changed_since = True
    master_data = True
    static = True


class CoaTemplates(SageStream):
    """Sage's standard charts of accounts, by country."""

    name = "coa_templates"
    static = True


class JournalCodeTypes(SageStream):
    """Kinds of journal that French bookkeeping distinguishes, such as sales, purchases and bank."""

    name = "journal_code_types"
    countries = ("CA", "ES", "FR", "GB", "IE", "US")
    retired = True
    static = True


class JournalCodes(SageStream):
    """The journals into which a French business sorts its postings."""

    name = "journal_codes"
    changed_since = True
    master_data = True
    deletable = True
    areas = (Area.JOURNALS, Area.SETTINGS)
    countries = ("FR",)
    retired = True
    static = True


class Journals(ReportingStream):
    """Journals posted by hand, with their debit and credit lines."""

    name = "journals"
    flags = ("show_analysis_types",)
    areas = (Area.JOURNALS,)


class LedgerAccountClassifications(SageStream):
    """Finer grouping of ledger accounts below their type, as financial statements show them."""

    name = "ledger_account_classifications"
    static = True


class LedgerAccountTypes(SageStream):
    """Main groups of ledger accounts, such as fixed assets, sales and overheads."""

    name = "ledger_account_types"
    static = True


class LedgerAccounts(SageStream):
    """The business's own chart of accounts: nominal code, type, default tax rate and where each is used."""

    name = "ledger_accounts"
    changed_since = True
    master_data = True
    areas = (Area.SALES, Area.PURCHASES, Area.PRODUCTS, Area.CONTACTS, Area.BANK, Area.JOURNALS, Area.SETTINGS)


class LedgerEntries(SageStream):
    """Every debit and credit posted to a ledger account, in the business's base currency."""

    name = "ledger_entries"
    changed_since = True
    deletion_flag = "deleted"
    areas = (Area.JOURNALS,)


class TransactionTypes(SageStream):
    """Kinds of transaction: sales invoice, supplier payment, journal, bank transfer and so on."""

    name = "transaction_types"
    static = True


class Transactions(SageStream):
    """One row per booked event, tying the document it came from to the ledger entries it made."""

    name = "transactions"
    changed_since = True
    deletion_flag = "deleted"
    areas = (Area.JOURNALS,)
