"""The general ledger: the chart of accounts, the postings and what caused them."""

from __future__ import annotations

from tap_sage_accounting.client import ReferenceDataStream, ReportingStream, SageStream
from tap_sage_accounting.declaration import Area
from tap_sage_accounting.extraction.transactions_read import TransactionsRead


class CoaAccounts(ReferenceDataStream):
    """Accounts that Sage's standard charts propose and a business may add to its own chart."""

    name = "coa_accounts"
    changed_since = True
    master_data = True


class CoaTemplates(ReferenceDataStream):
    """Sage's standard charts of accounts, by country."""

    name = "coa_templates"


class JournalCodeTypes(ReferenceDataStream):
    """Kinds of journal that French bookkeeping distinguishes, such as sales, purchases and bank."""

    name = "journal_code_types"
    countries = ("CA", "ES", "FR", "GB", "IE", "US")
    retired = True


class JournalCodes(ReferenceDataStream):
    """The journals into which a French business sorts its postings."""

    name = "journal_codes"
    changed_since = True
    master_data = True
    deletable = True
    areas = (Area.JOURNALS, Area.SETTINGS)
    countries = ("FR",)
    retired = True


class Journals(ReportingStream):
    """Journals posted by hand, with their debit and credit lines."""

    name = "journals"
    flags = ("show_analysis_types",)
    areas = (Area.JOURNALS,)


class LedgerAccountClassifications(ReferenceDataStream):
    """Finer grouping of ledger accounts below their type, as financial statements show them."""

    name = "ledger_account_classifications"


class LedgerAccountTypes(ReferenceDataStream):
    """Main groups of ledger accounts, such as fixed assets, sales and overheads."""

    name = "ledger_account_types"


class LedgerAccounts(SageStream):
    """The business's own chart of accounts: nominal code, type, default tax rate and where each is used."""

    name = "ledger_accounts"
    changed_since = True
    master_data = True
    areas = (Area.SALES, Area.PURCHASES, Area.PRODUCTS, Area.CONTACTS, Area.BANK, Area.JOURNALS, Area.SETTINGS)


class LedgerEntries(SageStream):
    """Every debit and credit posted to a ledger account, in the business's base currency."""

    # A void flags them, or posts others that take them back (ledger.voids).
    name = "ledger_entries"
    changed_since = True
    deletion_flag = "deleted"
    areas = (Area.JOURNALS,)


class TransactionTypes(ReferenceDataStream):
    """Kinds of transaction: sales invoice, supplier payment, journal, bank transfer and so on."""

    name = "transaction_types"


class Transactions(SageStream):
    """One row per booked event, tying the document it came from to the ledger entries it made."""

    name = "transactions"
    read_class = TransactionsRead
    changed_since = True
    deletion_flag = "deleted"
    areas = (Area.JOURNALS,)
