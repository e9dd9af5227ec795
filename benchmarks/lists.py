"""The lists that are read, and how many businesses there are to read them of."""

from __future__ import annotations

BULK = ("sales_invoices", "contacts", "ledger_entries")
FORTY = (
    "address_types",
    "addresses",
    "artefact_statuses",
    "attachments",
    "bank_account_types",
    "bank_accounts",
    "bank_deposits",
    "bank_opening_balances",
    "bank_reconciliations",
    "bank_transfers",
    "catalog_item_types",
    "coa_accounts",
    "contact_allocations",
    "contact_opening_balances",
    "contact_payments",
    "contact_persons",
    "contact_types",
    "contacts",
    "countries",
    "currencies",
    "journals",
    "ledger_account_opening_balances",
    "ledger_account_types",
    "ledger_accounts",
    "ledger_entries",
    "opening_balance_journals",
    "other_payments",
    "payment_methods",
    "purchase_credit_notes",
    "purchase_invoices",
    "purchase_quick_entries",
    "sales_credit_notes",
    "sales_estimates",
    "sales_invoices",
    "sales_quick_entries",
    "sales_quotes",
    "tax_rates",
    "tax_types",
    "transaction_types",
    "transactions",
)
"""Lists that everybody reads with the same requests: none of which only this tap reads the inactive records, too."""
TWENTY_BUSINESSES = 26
"""Businesses to found so that twenty are in countries where all forty lists exist."""
TWO_HUNDRED_BUSINESSES = 260
"""Businesses to found so that two hundred are there."""
