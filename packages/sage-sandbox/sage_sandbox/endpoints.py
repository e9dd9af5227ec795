"""What the simulated API offers: every readable path of v3.1 with its parameters, rights, editions and countries.

The table follows Sage's API description. Unknown parameters are ignored, as Sage does; the ones that are listed here
act. Paths, parameters, roles and editions come from the descriptions of 2025-02 and late 2025. A path that only the
older one has is kept: some accounts still serve it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["list", "object"]
Rights = Mapping[str, frozenset[str]]
"""Area -> the roles that may read; any one area suffices, and an empty mapping lets everybody read."""
Offer = Mapping[str, frozenset[str]]
"""Edition (`Plus`, `Standard`, `Start`) -> the countries in which the path exists."""


@dataclass(frozen=True, slots=True)
class OptIn:
    """A top-level attribute that is absent, even from `attributes=all`, until a parameter requests it.

    `on_lists` says whether Sage's description declares the parameter for the list too, or for single records only.
    """

    parameter: str
    attribute: str
    on_lists: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One readable path: a list with its records, or a single object."""

    name: str
    kind: Kind = "list"
    rights: Rights = field(default_factory=dict)
    offer: Offer = field(default_factory=dict)
    changed_since: bool = False
    """The list takes `updated_or_created_since` (inclusive)."""
    deleted_since: bool = False
    """The list takes `deleted_since` (exclusive)."""
    sort: tuple[str, ...] = ()
    dated: bool = False
    """The list takes `from_date` and `to_date`, which select by the attribute `date`."""
    equals: Mapping[str, str] = field(default_factory=dict)
    """Filter parameter -> the attribute whose value, or whose reference's id, must be equal."""
    opt_ins: tuple[OptIn, ...] = ()
    line_analysis: bool = False
    """Lines carry `analysis_type_categories`, which `show_analysis_types` requests on the single record."""
    nested: bool = False
    """The single record takes `nested_attributes`."""
    nested_list: bool = False
    """The list takes `nested_attributes` as well."""
    newest_first: bool = False
    single: bool = True
    """`/<name>/{key}` exists."""
    files: bool = False
    """`/<name>/{key}/file` exists, with the content of a file."""

    def offered(self, edition: str, country: str) -> bool:
        """Return whether a business of that edition and country has this path at all."""
        return not self.offer or country in self.offer.get(edition, frozenset())

    def readable(self, permissions: Mapping[str, str]) -> bool:
        """Return whether a user with these roles (area -> role) may read it."""
        return not self.rights or any(permissions.get(area) in roles for area, roles in self.rights.items())


_ANY_ROLE = frozenset({"read_only", "restricted_access", "full_access"})
_UNRESTRICTED = frozenset({"read_only", "full_access"})
_FULL = frozenset({"full_access"})

_SALES: Rights = {"sales": _ANY_ROLE}
_PURCHASES: Rights = {"purchases": _ANY_ROLE}
_SALES_OR_PURCHASES: Rights = {**_SALES, **_PURCHASES}
_CONTACTS: Rights = {"contacts": _ANY_ROLE, **_SALES_OR_PURCHASES}
_CATALOGS: Rights = {"catalogs": _ANY_ROLE, **_SALES_OR_PURCHASES}
_BANK: Rights = {"bank": _ANY_ROLE}
_JOURNALS: Rights = {"journals": _UNRESTRICTED}
_SETTINGS: Rights = {"settings": _UNRESTRICTED}
_SETTINGS_FULL: Rights = {"settings": _FULL}
_ANY_AREA: Rights = {**_CATALOGS, "contacts": _ANY_ROLE, **_BANK, "journals": _ANY_ROLE, **_SETTINGS}
_TAX_RATES: Rights = {**_SALES_OR_PURCHASES, **_BANK, **_SETTINGS}

_EDITIONS = ("Plus", "Standard", "Start")
_SERVED = frozenset({"CA", "GB", "IE"})
_EUROPE = frozenset({"GB", "IE"})


def _in(*countries: str, editions: tuple[str, ...] = _EDITIONS) -> Offer:
    """Offer a path in some countries only, the same in each of the editions."""
    return dict.fromkeys(editions, frozenset(countries))


_EVERYWHERE: Offer = {"Plus": _SERVED, "Standard": _EUROPE, "Start": _SERVED}
_PLUS_ONLY: Offer = {"Plus": _SERVED}
_NOT_ON_START: Offer = {"Plus": _SERVED, "Standard": _EUROPE}
_ALL_EDITIONS: Offer = dict.fromkeys(_EDITIONS, _SERVED)
_FORMERLY_COMMON: Offer = {
    "Plus": frozenset({"CA", "ES", "FR", "GB", "IE", "US"}),
    "Standard": _EUROPE,
    "Start": frozenset({"CA", "ES", "FR", "GB", "IE", "US"}),
}

_BALANCE = OptIn("show_balance", "balance", on_lists=True)
_RECURRING_STATUS = OptIn(
    "show_unfinished_recurring_invoices_status", "has_unfinished_recurring_invoices", on_lists=True
)
_BALANCE_DETAILS = OptIn("show_balance_details", "balance_details", on_lists=True)
_ALLOCATIONS = OptIn("show_payments_allocations", "payments_allocations", on_lists=True)
_CORRECTIONS = OptIn("show_corrections", "corrections")
_RECURRING_INVOICE = OptIn("show_recurring_invoice", "recurring_invoice")
_ANALYSIS = OptIn("show_analysis_types", "analysis_type_categories")
LEGACY_ID = OptIn("show_legacy_id", "legacy_id", on_lists=True)
"""Accepted everywhere: Sage's guide describes it for all lists and records."""

_TIMES = ("created_at", "updated_at")
_BY_DATE = (*_TIMES, "date")
_BY_DUE_DATE = (*_BY_DATE, "due_date")


def _same(*attributes: str) -> dict[str, str]:
    """Name the `<attribute>_id` filters that compare the id of the reference `<attribute>`."""
    return {f"{attribute}_id": attribute for attribute in attributes}


def _document(
    name: str,
    rights: Rights,
    *opt_ins: OptIn,
    offer: Offer = _EVERYWHERE,
    sort: tuple[str, ...] = _BY_DATE,
    deleted_since: bool = True,
) -> Endpoint:
    """Describe a sales or purchase document, which all take the same filters."""
    return Endpoint(
        name,
        rights=rights,
        offer=offer,
        changed_since=True,
        deleted_since=deleted_since,
        sort=sort,
        dated=True,
        equals=_same("contact", "status"),
        opt_ins=opt_ins,
        line_analysis=True,
        nested=True,
    )


def _payment(name: str, *, equals: Mapping[str, str], line_analysis: bool = False, nested: bool = True) -> Endpoint:
    """Describe money going in, out or round, read with rights on the bank."""
    return Endpoint(
        name,
        rights=_BANK,
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        sort=_BY_DATE,
        dated=True,
        equals=equals,
        line_analysis=line_analysis,
        nested=nested,
    )


def _reference(name: str, offer: Offer = _EVERYWHERE, **equals: str) -> Endpoint:
    """Describe a list that is the same for everybody and takes no change filter."""
    return Endpoint(name, offer=offer, equals=equals)


def _settings(name: str, offer: Offer = _EVERYWHERE) -> Endpoint:
    return Endpoint(name, kind="object", rights=_SETTINGS, offer=offer)


_CONTACT_LISTS = (
    Endpoint(
        "contacts",
        rights=_CONTACTS,
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        equals={"contact_type_id": "contact_types", "email": "email"},
        opt_ins=(_BALANCE, _RECURRING_STATUS),
        nested=True,
        nested_list=True,
    ),
    Endpoint(
        "addresses",
        rights=_CONTACTS,
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        equals=_same("bank_account", "contact"),
        nested=True,
    ),
    Endpoint(
        "contact_persons",
        rights=_CONTACTS,
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        equals=_same("address", "contact"),
        nested=True,
    ),
    Endpoint(
        "contact_allocations",
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        sort=_BY_DATE,
        equals=_same("contact", "transaction_type"),
    ),
)

_SALES_LISTS = (
    _document("sales_invoices", _SALES, _ALLOCATIONS, _CORRECTIONS, _RECURRING_INVOICE, sort=_BY_DUE_DATE),
    _document("sales_credit_notes", _SALES, _ALLOCATIONS, offer=_ALL_EDITIONS),
    _document("sales_quick_entries", _SALES, _ALLOCATIONS, _ANALYSIS),
    _document("sales_estimates", _SALES, offer=_ALL_EDITIONS, sort=(), deleted_since=False),
    _document("sales_quotes", _SALES, sort=(*_BY_DATE, "expiry_date"), deleted_since=False),
    _document("sales_corrective_invoices", _SALES, _ALLOCATIONS, offer=_in("ES")),
    Endpoint(
        "hosted_artefact_payment_settings",
        rights=_SALES,
        offer=_EVERYWHERE,
        equals={"object_guid": "object_guid"},
    ),
)

_PURCHASE_LISTS = (
    _document("purchase_invoices", _PURCHASES, _ALLOCATIONS, _CORRECTIONS, offer=_NOT_ON_START, sort=_BY_DUE_DATE),
    _document(
        "purchase_credit_notes",
        _PURCHASES,
        _ALLOCATIONS,
        offer=_in("CA", "FR", "GB", "IE", "US", editions=("Plus", "Standard")),
    ),
    _document("purchase_quick_entries", _PURCHASES, _ALLOCATIONS, _ANALYSIS, offer=_NOT_ON_START),
    _document("purchase_corrective_invoices", _PURCHASES, _ALLOCATIONS, offer=_in("ES", editions=("Plus",))),
)

_SHARED_LISTS = (
    Endpoint(
        "attachments",
        rights=_SALES_OR_PURCHASES,
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        files=True,
        equals=_same("attachment_context", "attachment_context_type"),
    ),
    Endpoint("artefact_statuses", rights=_SALES_OR_PURCHASES, offer=_EVERYWHERE),
    Endpoint("unallocated_artefacts", rights=_SALES_OR_PURCHASES, offer=_EVERYWHERE),
)

_BANK_LISTS = (
    Endpoint(
        "bank_accounts",
        rights=_BANK,
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        nested=True,
        nested_list=True,
    ),
    _payment("bank_deposits", equals={}),
    _payment("bank_transfers", equals={}),
    _payment("contact_payments", equals=_same("bank_account", "contact", "transaction_type"), nested=False),
    _payment("other_payments", equals=_same("bank_account", "contact", "transaction_type"), line_analysis=True),
    Endpoint("bank_reconciliations", rights=_BANK, offer=_EVERYWHERE, changed_since=True, equals=_same("bank_account")),
)

_CATALOG_LISTS = (
    *(
        Endpoint(
            name, rights=_CATALOGS, offer=offer, changed_since=True, deleted_since=True, equals={"active": "active"}
        )
        for name, offer in (("products", _EVERYWHERE), ("services", _EVERYWHERE), ("stock_items", _PLUS_ONLY))
    ),
    Endpoint("stock_movements", rights=_CATALOGS, offer=_PLUS_ONLY, dated=True, equals=_same("stock_item")),
    Endpoint("product_sales_price_types", rights=_CATALOGS, offer=_EVERYWHERE, equals={"active": "active"}),
    Endpoint(
        "service_rate_types",
        rights=_CATALOGS,
        offer=_EVERYWHERE,
        changed_since=True,
        equals={"active": "active"},
    ),
)

_LEDGER_LISTS = (
    Endpoint(
        "ledger_accounts",
        rights=_ANY_AREA,
        offer=_EVERYWHERE,
        changed_since=True,
        equals={**_same("ledger_account_classification", "ledger_account_type"), "visible_in": "visible_scopes"},
        opt_ins=(_BALANCE_DETAILS,),
        nested=True,
    ),
    Endpoint(
        "ledger_entries",
        rights=_JOURNALS,
        offer=_EVERYWHERE,
        changed_since=True,
        dated=True,
        equals=_same("ledger_account", "transaction", "transaction_type", "journal_code"),
        nested=True,
        newest_first=True,
    ),
    Endpoint(
        "transactions",
        rights=_JOURNALS,
        offer=_EVERYWHERE,
        changed_since=True,
        dated=True,
        equals=_same("transaction_type"),
        newest_first=True,
    ),
    Endpoint(
        "journals",
        rights=_JOURNALS,
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        line_analysis=True,
        nested=True,
    ),
    Endpoint("journal_codes", rights={**_JOURNALS, **_SETTINGS}, offer=_in("FR"), changed_since=True),
    Endpoint("coa_accounts", offer=_EVERYWHERE, changed_since=True, equals=_same("coa_template")),
    Endpoint("trial_balance", kind="object", offer=_EVERYWHERE),
)

_OPENING_LISTS = (
    Endpoint("bank_opening_balances", offer=_EVERYWHERE, changed_since=True, equals=_same("bank_account")),
    Endpoint(
        "contact_opening_balances",
        offer=_EVERYWHERE,
        changed_since=True,
        deleted_since=True,
        equals=_same("contact", "contact_type"),
    ),
    Endpoint("ledger_account_opening_balances", offer=_EVERYWHERE, changed_since=True),
    Endpoint("opening_balance_journals", offer=_EVERYWHERE),
)

_TAX_LISTS = (
    Endpoint("tax_rates", rights=_TAX_RATES, offer=_EVERYWHERE, changed_since=True),
    Endpoint("tax_profiles", rights=_SETTINGS, offer=_ALL_EDITIONS, changed_since=True),
    Endpoint("tax_determinations", rights=_SETTINGS_FULL, offer=_in("ES", "FR", "GB", "IE"), single=False),
    Endpoint("tax_returns", rights={"statutory_reporting": _FULL}, offer=_EVERYWHERE, changed_since=True),
    Endpoint("draft_tax_returns", rights={"statutory_reporting": _ANY_ROLE}, offer=_in("GB")),
    Endpoint("migration_tax_returns", rights={"statutory_reporting": _FULL}, offer=_in("GB", "IE")),
)

_SETTINGS_LISTS = (
    Endpoint(
        "analysis_types",
        rights=_SETTINGS_FULL,
        offer=_NOT_ON_START,
        changed_since=True,
        equals={"analysis_type_level": "analysis_type_level"},
    ),
    Endpoint("analysis_type_categories", rights=_SETTINGS, offer=_NOT_ON_START, changed_since=True),
    Endpoint("business_exchange_rates", rights=_SETTINGS, offer=_EVERYWHERE),
    _settings("business_settings"),
    _settings("cis_settings", _in("GB")),
    _settings("datev_settings", _in("DE")),
    _settings("email_settings", _FORMERLY_COMMON),
    _settings("financial_settings"),
    _settings("invoice_settings"),
    _settings("migrations", _FORMERLY_COMMON),
)

_REFERENCE_LISTS = (
    *(
        _reference(name)
        for name in (
            "address_regions",
            "address_types",
            "attachment_context_types",
            "bank_account_types",
            "business_types",
            "catalog_item_types",
            "contact_opening_balance_types",
            "contact_person_types",
            "contact_types",
            "countries",
            "countries_of_registration",
            "country_groups",
            "currencies",
            "eu_goods_services_types",
            "eu_sales_descriptions",
            "exchange_rates",
            "ledger_account_classifications",
            "ledger_account_types",
            "live_exchange_rates",
            "payment_methods",
            "quick_entry_types",
            "tax_types",
            "transaction_types",
        )
    ),
    _reference("coa_templates", country_id="country"),
    _reference("business_activity_types", _in("FR")),
    _reference("corrective_reason_codes", _in("ES")),
    _reference("journal_code_types", _FORMERLY_COMMON),
    _reference("legal_form_types", _in("FR")),
    _reference("tax_offices", _in("DE")),
    _reference("tax_return_frequencies", _in("CA", "ES", "FR", "GB", "IE")),
    _reference("tax_schemes", _in("ES", "FR", "GB", "IE")),
)

_USER_LEVEL = (Endpoint("businesses"), Endpoint("user", kind="object"))

ENDPOINTS: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        *_CONTACT_LISTS,
        *_SALES_LISTS,
        *_PURCHASE_LISTS,
        *_SHARED_LISTS,
        *_BANK_LISTS,
        *_CATALOG_LISTS,
        *_LEDGER_LISTS,
        *_OPENING_LISTS,
        *_TAX_LISTS,
        *_SETTINGS_LISTS,
        *_REFERENCE_LISTS,
        *_USER_LEVEL,
    )
}
"""Every readable path by its name, the first segment behind `/v3.1/`."""
