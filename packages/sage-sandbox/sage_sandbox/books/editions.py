"""Which lists a business has, by its country and edition, as Sage's API description states for each path."""

from __future__ import annotations

_EVERYWHERE = {"Plus": "CA GB IE", "Standard": "GB IE", "Start": "CA GB IE"}
_HISTORIC = {"Plus": "CA ES FR GB IE US", "Standard": "GB IE", "Start": "CA ES FR GB IE US"}


PURCHASES_NOT_ON_START = frozenset({"purchase_credit_notes", "purchase_invoices", "purchase_quick_entries"})
"""Lists that Start lacks by Sage's guide to its editions, and has by its API description."""


def _all_editions(countries: str) -> dict[str, str]:
    return dict.fromkeys(("Plus", "Standard", "Start"), countries)


_EXCEPTIONS: dict[str, dict[str, str]] = {
    "analysis_type_categories": {"Plus": "CA GB IE", "Standard": "GB IE"},
    "analysis_types": {"Plus": "CA GB IE", "Standard": "GB IE"},
    "business_activity_types": _all_editions("FR"),
    "cis_settings": _all_editions("GB"),
    "corrective_reason_codes": _all_editions("ES"),
    "datev_settings": _all_editions("DE"),
    "draft_tax_returns": _all_editions("GB"),
    "email_settings": _HISTORIC,
    "journal_code_types": _HISTORIC,
    "journal_codes": _all_editions("FR"),
    "legal_form_types": _all_editions("FR"),
    "migration_tax_returns": _all_editions("GB IE"),
    "migrations": _HISTORIC,
    "purchase_corrective_invoices": {"Plus": "ES"},
    "purchase_credit_notes": {"Plus": "CA FR GB IE US", "Standard": "CA FR GB IE US"},
    "purchase_invoices": {"Plus": "CA GB IE", "Standard": "GB IE"},
    "purchase_quick_entries": {"Plus": "CA GB IE", "Standard": "GB IE"},
    "sales_corrective_invoices": _all_editions("ES"),
    "sales_credit_notes": _all_editions("CA GB IE"),
    "sales_estimates": _all_editions("CA GB IE"),
    "stock_items": {"Plus": "CA GB IE"},
    "stock_movements": {"Plus": "CA GB IE"},
    "tax_determinations": _all_editions("ES FR GB IE"),
    "tax_offices": _all_editions("DE"),
    "tax_profiles": _all_editions("CA GB IE"),
    "tax_return_frequencies": _all_editions("CA ES FR GB IE"),
    "tax_schemes": _all_editions("ES FR GB IE"),
}

_NAMES = """
address_regions address_types addresses analysis_type_categories analysis_types artefact_statuses
attachment_context_types attachments bank_account_types bank_accounts bank_deposits bank_opening_balances
bank_reconciliations bank_transfers business_activity_types business_exchange_rates business_types catalog_item_types
coa_accounts coa_templates contact_allocations contact_opening_balance_types contact_opening_balances contact_payments
contact_person_types contact_persons contact_types contacts corrective_reason_codes countries
countries_of_registration country_groups currencies draft_tax_returns eu_goods_services_types eu_sales_descriptions
exchange_rates hosted_artefact_payment_settings journal_code_types journal_codes journals
ledger_account_classifications ledger_account_opening_balances ledger_account_types ledger_accounts ledger_entries
legal_form_types live_exchange_rates migration_tax_returns opening_balance_journals other_payments payment_methods
product_sales_price_types products purchase_corrective_invoices purchase_credit_notes purchase_invoices
purchase_quick_entries quick_entry_types sales_corrective_invoices sales_credit_notes sales_estimates sales_invoices
sales_quick_entries sales_quotes service_rate_types services stock_items stock_movements tax_determinations
tax_offices tax_profiles tax_rates tax_return_frequencies tax_returns tax_schemes tax_types transaction_types
transactions unallocated_artefacts
"""

LISTS = tuple(_NAMES.split())
"""The lists of one business: all 81 of the API but `businesses`, which belongs to the user."""


def offered(name: str, country: str, edition: str) -> bool:
    """Return whether a business of this country and edition has this list or single object at all."""
    return country in _EXCEPTIONS.get(name, _EVERYWHERE).get(edition, "").split()
