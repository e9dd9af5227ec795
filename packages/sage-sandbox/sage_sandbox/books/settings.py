"""What a business is and how it is set up: the single objects, and the business as `/businesses` serves it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import currency_ref
from sage_sandbox.books.chart import (
    BANK_CHARGES,
    COST_OF_GOODS,
    DISCOUNTS_ALLOWED,
    DISCOUNTS_TAKEN,
    EXCHANGE_GAINS,
    EXCHANGE_LOSSES,
    OTHER_INCOME,
    OVERHEADS,
    SALES_PRODUCTS,
    SALES_SERVICES,
)
from sage_sandbox.books.codes import BUSINESS_TYPES, SMALL_LISTS, pairs
from sage_sandbox.books.editions import offered
from sage_sandbox.books.values import big, ref
from sage_sandbox.store import timestamp

if TYPE_CHECKING:
    from sage_sandbox.books.company import Company
    from sage_sandbox.books.places import Country
    from sage_sandbox.store import Body

PERMISSIONS = ("sales", "catalogs", "journals", "purchases", "contacts", "statutory_reporting", "bank", "settings")
_SCHEME_NAMES = dict(pairs(SMALL_LISTS["tax_schemes"]))
_SUBSCRIPTIONS = {
    "Plus": ("ACCOUNTING", "Accounting Plus"),
    "Standard": ("ACCOUNTS", "Accounting Standard"),
    "Start": ("START", "Accounting Start"),
}
_MESSAGES = ("sales_invoice", "sales_credit_note", "statement", "remittance_advice")


def business_body(identity: str, name: str, profile: Country, edition: str, opened: datetime) -> Body:
    """Write a business as `/businesses/{id}` serves it."""
    town, region, postal_code = profile.cities[0]
    at = timestamp(opened)
    subscription, label = _SUBSCRIPTIONS[edition]
    areas = [f"accounting_{area}" for area in (*PERMISSIONS, "reporting")] + ["payroll_access"]
    return {
        "created_at": at,
        "updated_at": at,
        "displayed_as": name,
        "id": identity,
        "name": name,
        "address_line_1": f"1 {profile.streets[0]}",
        "address_line_2": "",
        "city": town,
        "postal_code": postal_code,
        "country": {"id": profile.code, "displayed_as": profile.name},
        "region": region,
        "ni_based": False,
        "telephone": f"{profile.dialling} 0100",
        "mobile": "",
        "website": "",
        "is_demo": False,
        "subscriptions": [
            {
                "created_at": at,
                "updated_at": at,
                "displayed_as": label,
                "id": subscription,
                "active": True,
                "status": "paying",
                "accountant_pays": False,
            }
        ],
        "$path": f"/businesses/{identity}",
        "user_roles": [],
        "user_permissions": [{"area": area, "role": "full_access"} for area in areas],
    }


def user_body(identity: str, at: datetime) -> Body:
    """Write the user who sees all businesses."""
    return {
        "created_at": timestamp(at),
        "updated_at": timestamp(at),
        "displayed_as": "Jo Bookkeeper",
        "id": identity,
        "first_name": "Jo",
        "last_name": "Bookkeeper",
        "initials": "JB",
        "email": "jo@bookkeeper.example",
        "locale": "en-GB",
    }


def settle_in(company: Company) -> None:
    """Write the single objects that the business's country and edition have."""
    company.publish("business_settings", _business(company))
    company.publish("cis_settings", _cis())
    company.publish("datev_settings", _datev(company))
    company.publish("email_settings", _email(company))
    company.publish("financial_settings", _financial(company))
    company.publish("migrations", _migration(company))
    number_invoices(company, company.opened)
    for _ in range(2):
        own = ref("hosted_artefact_payment_settings", company.mint.new_id(), "")
        body = {**own, "object_guid": company.mint.new_id(), "disable_payment": False}
        company.insert("hosted_artefact_payment_settings", own["id"], body, None)


def _business(company: Company) -> Body:
    code, name = pairs(BUSINESS_TYPES[company.country])[0]
    french = company.country == "FR"
    home = {"GB": ("GB-ENG", "England"), "IE": ("IE", "Ireland")}.get(company.country)
    return {
        "$path": "/business_settings",
        "siret": "00000000000000" if french else None,
        "management_centre_member": False,
        "rcs_number": None,
        "share_capital": "100.0",
        "business_activity_type": ref("business_activity_types", "COMMERCE", "Commerce") if french else None,
        "legal_form_type": ref("legal_form_types", "SARL", "SARL") if french else None,
        "auxiliary_accounts_visible": french,
        "default_ledger_accounts": _default_accounts(company),
        "business_type": {**ref("business_types", code, name), "name": name, "description": name},
        "country_of_registration": home and ref("countries_of_registration", *home),
        "business_created_at": timestamp(company.opened),
        "updated_at": timestamp(company.opened),
        "wizard_complete": True,
        "smart_transaction_enabled": False,
    }


_DEFAULT_ACCOUNTS = {
    "bank_charges": BANK_CHARGES,
    "bank_interest_received": OTHER_INCOME,
    "bank_interest_charges_paid": BANK_CHARGES,
    "exchange_rate_gains": EXCHANGE_GAINS,
    "exchange_rate_losses": EXCHANGE_LOSSES,
    "sales": SALES_PRODUCTS,
    "sales_discount": DISCOUNTS_ALLOWED,
    "purchase": COST_OF_GOODS,
    "purchase_discount": DISCOUNTS_TAKEN,
    "product_sales": SALES_PRODUCTS,
    "product_purchase": COST_OF_GOODS,
    "service_sales": SALES_SERVICES,
    "service_purchase": COST_OF_GOODS,
    "stock_purchase": COST_OF_GOODS,
    "other_receipt": OTHER_INCOME,
    "other_payment": OVERHEADS[0],
    "customer_receipt_discount": DISCOUNTS_ALLOWED,
    "vendor_payment_discount": DISCOUNTS_TAKEN,
    "carriage": SALES_PRODUCTS,
}


def _default_accounts(company: Company) -> Body:
    return {f"{use}_ledger_account": company.accounts[code].ref for use, code in _DEFAULT_ACCOUNTS.items()}


def _cis() -> Body:
    return {
        "$path": "/cis_settings",
        "unique_tax_reference": None,
        "contractor": False,
        "subcontractor": False,
        "accounts_office_reference": None,
        "paye_reference": None,
        "tax_rate": None,
    }


def _datev(company: Company) -> Body:
    return {
        "$path": "/datev_settings",
        "tax_consultant_number": 1001,
        "client_number": 1,
        "next_customer_number": 10_001,
        "next_supplier_number": 70_001,
        "updated_at": timestamp(company.opened),
    }


def _email(company: Company) -> Body:
    return {
        "default_messages": [
            {"message_type": kind, "locale": company.profile.locale, "message": "Hello,\nplease find it attached. 🙂"}
            for kind in _MESSAGES
        ],
        "pdf_attached": True,
        "send_bcc": False,
        "updated_at": timestamp(company.opened),
    }


def _financial(company: Company) -> Body:
    opened, taxed = company.opened.date(), offered("tax_schemes", company.country, company.edition)
    german, practice = company.country == "DE", company.practice
    basis = "payment" if practice.scheme == "CASH" else "invoice"
    frequency = ("BI_MONTHLY", "Every Two Months") if company.country == "IE" else ("QUARTERLY", "Quarterly")
    scheme = practice.scheme
    return {
        "$path": "/financial_settings",
        "year_end_date": practice.year_ends(opened).isoformat(),
        "year_end_lockdown_date": None,
        "accounting_type": "accrual",
        "accounts_start_date": opened.isoformat(),
        "base_currency": currency_ref(company.currency),
        "multi_currency_enabled": company.multi_currency,
        "use_live_exchange_rates": True,
        "mtd_activation_status": "mtd_unavailable",
        "mtd_connected": False,
        "mtd_authenticated_date": "",
        "tax_scheme": ref("tax_schemes", scheme, _SCHEME_NAMES[scheme]) if taxed else None,
        "tax_return_frequency": ref("tax_return_frequencies", *frequency),
        "tax_number": f"{company.country}000000000",
        "general_tax_number": "",
        "tax_office": ref("tax_offices", "DE_5215", "Köln-Mitte") if german else None,
        "default_irpf_rate": "0.0",
        "flat_rate_tax_percentage": big(practice.flat_rate) if practice.flat_rate else None,
        "recoverable_percentage": None,
        "sales_tax_calculation": basis,
        "purchase_tax_calculation": "invoice" if company.country == "IE" else basis,
        "updated_at": timestamp(company.opened),
        "postponed_accounting": company.accounts_for_tax_of_suppliers,
        "destination_vat": False,
        "exempt_from_vat": False,
    }


def _migration(company: Company) -> Body:
    return {
        "id": company.mint.new_id(),
        "$path": "/migrations",
        "status": {"id": "COMPLETED", "displayed_as": "Completed"},
        "started_at": timestamp(company.opened - timedelta(hours=2)),
        "completed_at": timestamp(company.opened),
        "source_product": "Sage 50",
        "source_product_version": "27.1",
        "source_license": "none",
        "source_tool": "Migrator",
        "source_tool_version": "3.0",
        "schema_id": "1",
    }


def number_invoices(company: Company, at: datetime) -> None:
    """Let the invoice settings show the next numbers."""
    following = {name: company.numbers[prefix] + 1 for name, prefix in _NUMBERED.items()}
    body = {**_INVOICE_DEFAULTS, **following, **_papers(company), "updated_at": timestamp(at)}
    company.publish("invoice_settings", body)


_NUMBERED = {
    "next_invoice_number": "SI-",
    "next_credit_note_number": "SCN-",
    "next_quote_number": "SQ-",
    "next_sales_corrective_invoice_number": "SCI-",
}
_HEADINGS = (
    "sales_invoice",
    "sales_credit_note",
    "sales_corrective_invoice",
    "sales_quote",
    "sales_estimate",
    "pro_forma",
    "remittance_advice",
    "statement",
    "delivery_note",
)
_INVOICE_DEFAULTS: Body = {
    "$path": "/invoice_settings",
    "separate_invoice_credit_note_numbering": True,
    "sales_invoice_number_prefix": "SI-",
    "sales_credit_note_number_prefix": "SCN-",
    "sales_corrective_invoice_number_prefix": "SCI-",
    "quote_number_prefix": "SQ-",
    "estimate_number_prefix": "SE-",
    "quick_entry_prefix": "QE-",
    "invoice_terms_and_conditions": "30 days net.",
    **dict.fromkeys((f"default_note_on_{name}" for name in ("invoice", "credit_note", "estimate", "quote")), ""),
    **dict.fromkeys((f"{name}_terms_and_conditions" for name in ("quote", "estimate", "delivery_note")), ""),
    "quote_default_days_to_expiry": 30,
    "estimate_default_days_to_expiry": 30,
    **dict.fromkeys(
        (f"delivery_note_show_{part}" for part in ("signature", "picked", "notes", "contact_details")), True
    ),
    "late_payment_percentage": "8.5",
    "prompt_payment_percentage": None,
    "show_auto_entrepreneur": False,
    "show_insurance": False,
    "insurer": None,
    **dict.fromkeys(f"insurance_{part}" for part in ("area", "type", "text")),
    "customer_credit_days": 30,
    "vendor_credit_days": 30,
    "customer_credit_terms": "month_end_invoice",
    "vendor_credit_terms": "month_end_invoice",
}


def _papers(company: Company) -> Body:
    """Write how printed documents look."""
    shown = dict.fromkeys(("business_name", "website", "telephone", "mobile", "email_address", "due_date"), True)
    return {
        "payment_bank_account": company.bank(company.currency).ref,
        "document_headings": {name: name.replace("_", " ").title() for name in _HEADINGS},
        "line_item_titles": {name: name.replace("_", " ").title() for name in _TITLES},
        "footer_details": {"column_1": company.name, "column_2": "", "column_3": ""},
        "print_contact_details": {**shown, "default_delivery_address": "main", "contact_name": True},
        "print_statements": {"days_overdue": True, "table_of_balances": True},
    }


_TITLES = ("description", "unit_price", "quantity", "discount")
