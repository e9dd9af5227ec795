"""The lists that a business finds ready-made: codes, taxes, rates of exchange, chart templates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import currency_ref
from sage_sandbox.books.chart import nominals
from sage_sandbox.books.codes import (
    BUSINESS_TYPES,
    COUNTRIES,
    CURRENCIES,
    REGIONS,
    SMALL_LISTS,
    TAX_OFFICES,
    TRANSACTION_TYPES,
    pairs,
)
from sage_sandbox.books.invoicing import inverse
from sage_sandbox.books.opening import TAX_OWED
from sage_sandbox.books.places import COUNTRIES as PLACES
from sage_sandbox.books.places import FOREIGN_PRICES
from sage_sandbox.books.values import HUNDRED, RATE_PLACES, Mint, big, ref
from sage_sandbox.store import Row, timestamp

if TYPE_CHECKING:
    from random import Random

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.places import Country, TaxRate
    from sage_sandbox.store import Body

_SINCE = datetime(2013, 7, 3, 10, 38, 9, tzinfo=UTC)
"""When Sage made what all its businesses share."""
_TEMPLATES = ("Small Business", "Sole Trader", "Charity")
_REAL_RATE = Decimal("1.9437263272")


def stock_up(company: Company) -> None:
    """Fill the lists that no one in the business writes."""
    for name, bodies in _code_lists(company.profile).items():
        for body in bodies:
            company.insert(name, body["id"], body, None)
    for name, bodies in _dated_lists(company.profile).items():
        for body in bodies:
            company.insert(name, body["id"], body, _SINCE)
    _add_taxes(company)
    quote_exchange_rates(company, company.opened)


@cache
def _code_lists(profile: Country) -> dict[str, list[Body]]:
    """Make the lists without times; their bodies are never changed, so all businesses of a country share them."""
    lists = {name: [ref(name, code, text) for code, text in pairs(codes)] for name, codes in SMALL_LISTS.items()}
    lists["countries"] = [ref("countries", code, f"{name} ({code})") for code, name in pairs(COUNTRIES)]
    lists["currencies"] = [currency_ref(code) for code, _ in pairs(CURRENCIES)]
    lists["transaction_types"] = [ref("transaction_types", code, name) for code, name in pairs(TRANSACTION_TYPES)]
    lists["address_regions"] = [_region(country, row) for country, rows in REGIONS.items() for row in pairs(rows)]
    lists["business_types"] = [
        {**ref("business_types", code, name), "name": name, "description": name}
        for code, name in pairs(BUSINESS_TYPES[profile.code])
    ]
    lists["tax_offices"] = [
        {**ref("tax_offices", code, name), "office_number": code[-4:], "name": name}
        for code, name in pairs(TAX_OFFICES)
    ]
    lists["tax_types"] = [_tax_type(profile)]
    return lists


def _region(country: str, row: tuple[str, str]) -> Body:
    code, name = row
    return {**ref("address_regions", f"{country}-{code}", name), "code": code, "name": name}


def _tax_type(profile: Country) -> Body:
    code = profile.tax_name.replace("/", "_")
    provinces = pairs(REGIONS["CA"]) if profile.code == "CA" else []
    return {
        **ref("tax_types", f"{profile.code}_{code}", profile.tax_name),
        "federal_tax": True,
        "country": profile.ref,
        "address_regions": [ref("address_regions", f"CA-{code}", name) for code, name in provinces],
        "tax_rates": [rate.ref for rate in profile.tax_rates],
    }


@cache
def _dated_lists(profile: Country) -> dict[str, list[Body]]:
    """Make the shared lists with times: chart templates and journal codes."""
    mint = Mint("sage")
    templates = [(place, name, mint.new_id()) for place in ("GB", "IE", "CA") for name in _TEMPLATES]
    accounts = [
        body for place, _, template in templates if place == profile.code for body in _chart(PLACES[place], template)
    ]
    return {
        "coa_templates": [
            {**ref("coa_templates", identity, f"{name} ({place})"), "name": name, "country": PLACES[place].ref}
            for place, name, identity in templates
        ],
        "coa_accounts": accounts,
        "journal_codes": _journal_codes(mint),
    }


def _chart(profile: Country, template: str) -> list[Body]:
    mint = Mint(template)
    return [
        {
            **ref("coa_accounts", mint.new_id(), f"{nominal.name} ({nominal.code})"),
            "ledger_account_group": nominal.group,
            "name": nominal.name,
            "control_name": nominal.control,
            "nominal_code": nominal.code,
            "ledger_account_type": nominal.type_ref,
            "ledger_account_classification": nominal.classification,
            "tax_rate": profile.standard.ref if nominal.taxed else None,
            "fixed_tax_rate": False,
            "cis_materials": False,
            "cis_labour": False,
        }
        for nominal in nominals(profile)
    ]


def _journal_codes(mint: Mint) -> list[Body]:
    kinds = dict(pairs(SMALL_LISTS["journal_code_types"]))
    rows = (
        ("AC", "Achats", "PURCHASES"),
        ("VE", "Ventes", "SALES"),
        ("BQ", "Banque", "BANK"),
        ("OD", "Divers", "OTHER"),
    )
    return [
        {
            **ref("journal_codes", mint.new_id(), f"{name} ({code})"),
            "name": name,
            "code": code,
            "journal_code_type": ref("journal_code_types", kind, kinds[kind]),
            "control_name": kind,
            "reserved": kind != "OTHER",
        }
        for code, name, kind in rows
    ]


def _add_taxes(company: Company) -> None:
    """List the tax rates, what two of them determine, and the business's registration."""
    profile = company.profile
    for rate in profile.tax_rates:
        company.insert("tax_rates", rate.id, _tax_rate(rate, editable=company.country == "CA"), _SINCE)
    for rate in profile.tax_rates[:2]:
        company.insert("tax_determinations", rate.id, _tax_rate(rate, editable=False), _SINCE)
    own = ref("tax_profiles", company.mint.new_id(), profile.tax_name)
    kind = _tax_type(profile)
    ontario = next(_region("CA", row) for row in pairs(REGIONS["CA"]) if row[0] == "ON")
    body = {
        **own,
        "tax_type": {name: kind[name] for name in ("id", "displayed_as", "$path")},
        "tax_number": f"{profile.code}000000000",
        "tax_number_suffix": "RT0001" if profile.code == "CA" else None,
        "collect_tax": True,
        "tax_return_frequency": ref("tax_return_frequencies", "QUARTERLY", "Quarterly"),
        "address_region": ontario if profile.code == "CA" else None,
    }
    company.insert("tax_profiles", own["id"], body, company.opened)


def _tax_rate(rate: TaxRate, *, editable: bool) -> Body:
    body = {
        **rate.ref,
        "name": rate.label.upper(),
        "agency": "Canada Revenue Agency" if editable else None,
        "percentage": big(rate.percentage),
        "percentages": _percentages(rate.percentage),
        "is_visible": True,
        "retailer": False,
        "editable": editable,
        "deletable": editable,
        "is_combined_rate": bool(rate.parts),
    }
    if rate.parts:
        body["component_tax_rates"] = [_component(*part) for part in rate.parts]
    return body


def _percentages(percentage: Decimal) -> list[Body]:
    return [{"percentage": big(percentage), "from_date": "1900-01-01", "to_date": None}]


def _component(identity: str, name: str, percentage: Decimal) -> Body:
    return {
        **ref("tax_rates", identity, f"{name} {percentage:.2f}%"),
        "created_at": timestamp(_SINCE),
        "updated_at": timestamp(_SINCE),
        "name": name,
        "agency": None,
        "percentage": big(percentage),
        "percentages": _percentages(percentage),
        "is_visible": True,
        "retailer": False,
        "editable": False,
        "deletable": False,
        "is_combined_rate": False,
    }


def quote_exchange_rates(company: Company, at: datetime) -> None:
    """List what one unit of the base currency buys of each currency; these rows have no id but their path."""
    base, known = company.currency, FOREIGN_PRICES[company.currency]
    for number, (code, _) in enumerate(pairs(CURRENCIES)):
        rate = inverse(known[code]) if code in known else (_REAL_RATE * (number + 1) / 7).quantize(RATE_PLACES)
        rate = Decimal(1) if code == base else rate
        company.insert("exchange_rates", code, _quote("exchange_rates", base, code, rate), at)
        live = _quote("live_exchange_rates", base, code, rate) | {"retrieved_at": timestamp(at)}
        company.book("live_exchange_rates").add(Row(code, live, None, at))
        if code in known:
            company.insert("business_exchange_rates", code, _quote("business_exchange_rates", base, code, rate), at)


def move_live_rates(company: Company, rng: Random, at: datetime) -> None:
    """Let the market move: only live rates follow it."""
    quotes = company.book("live_exchange_rates")
    for code in FOREIGN_PRICES[company.currency]:
        rate = Decimal(quotes.rows[code].render()["rate"])
        moved = (rate * (1 + Decimal(rng.randrange(-100, 100)) / HUNDRED / HUNDRED)).quantize(RATE_PLACES)
        quote = _quote("live_exchange_rates", company.currency, code, moved)
        quotes.change(code, {**quote, "retrieved_at": timestamp(at)}, at)


def _quote(collection: str, base: str, code: str, rate: Decimal) -> Body:
    return {
        "displayed_as": f"{base} -> {code}",
        "$path": f"/{collection}/{code}",
        "rate": big(rate),
        "inverse_rate": big(inverse(rate)),
        "base_currency": currency_ref(base),
        "currency": currency_ref(code),
    }


def add_migrated_return(company: Company) -> None:
    """Show the last return that came over from older software, whose tax is still owed."""
    boxes = [*(f"box_{number}" for number in range(1, 10))]
    irish = [f"box_{name}" for name in ("T1", "T2", "T3", "T4", "E1", "E2", "ES1", "ES2")]
    opened, due = company.opened.date(), big(TAX_OWED)
    own = ref("migration_tax_returns", company.mint.new_id(), "Migrated return")
    body = {
        **own,
        "from_date": (opened - timedelta(days=90)).isoformat(),
        "to_date": (opened - timedelta(days=1)).isoformat(),
        "tax_return_frequency": ref("tax_return_frequencies", "QUARTERLY", "Quarterly"),
        "total_amount": due,
        "gb": {box: due if box == "box_5" else "0.0" for box in boxes} if company.country == "GB" else None,
        "ie": {box: due if box == "box_T3" else "0.0" for box in irish} if company.country == "IE" else None,
    }
    company.insert("migration_tax_returns", own["id"], body, company.opened)


def add_analysis(company: Company) -> None:
    """Set up two ways to analyse by, each with its categories; sub-categories have no code."""
    levels = (("Department", "TRANSACTION_LEVEL", "TRANSACTION"), ("Project", "LINE_LEVEL", "LINE"))
    for number, (name, level, identifier) in enumerate(levels, start=1):
        own = ref("analysis_types", company.mint.new_id(), name)
        categories = [_category(company, own, word) for word in ("North", "South", "Über uns")]
        stamps = {key: timestamp(company.opened) for key in ("created_at", "updated_at")}
        body = {
            **own,
            "active_areas": ["SALES", "PURCHASES"],
            "analysis_type_level": {"id": number, "name": level, "identifier": identifier},
            "analysis_type_categories": [category | stamps for category in categories],
            "name": name,
        }
        company.insert("analysis_types", own["id"], body, company.opened)
        for category in categories:
            company.insert("analysis_type_categories", category["id"], category, company.opened)


def _category(company: Company, analysis_type: Body, name: str) -> Body:
    number = company.next_number("category")
    return {
        **ref("analysis_type_categories", company.mint.new_id(), name),
        "code": name[0],
        "name": name,
        "combined_id": f"{5_639_876 + number},{17_204_943 + number}",
        "analysis_type": analysis_type,
    }
