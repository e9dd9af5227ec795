"""Customers and suppliers, their addresses and the people to talk to."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import currency_ref
from sage_sandbox.books.chart import COST_OF_GOODS, SALES_PRODUCTS
from sage_sandbox.books.master_data import Party
from sage_sandbox.books.places import FOREIGN_PRICES, Country
from sage_sandbox.books.values import link, ref
from sage_sandbox.store import timestamp

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body

_GROUPS = {"ALL": "Rest of World", "EU": "European Union", "GBIE": "UK & Ireland"}
_ODD_NAMES = ("Café Größenwahn 🚀", "Ång & Łoś “Imports”", "名古屋商事", "D'Arcy\tTabs & Sons")
_ODD_EVERY = 9
_FOREIGN_EVERY, _FOREIGN = 5, (3, 4)
_TRADING_ABROAD = {"GB", "IE", "CA"}
_SUPPLIERS_EVERY = 2


def add_contact(company: Company, rng: Random, at: datetime) -> Party:
    """Take up a customer or supplier with address and contact person; some trade in a foreign currency."""
    party = _introduce(company, rng, company.next_number("contact"))
    company.parties[party.id] = party
    address, person = _address(company, party, "SALES" if party.customer else "PURCHASING"), _person(company, party)
    company.insert("addresses", party.address_id, address, at)
    company.insert("contact_persons", party.person_id, person, at)
    stamps = {"created_at": timestamp(at), "updated_at": timestamp(at)}
    body = _contact(company, party) | {"main_address": address | stamps, "main_contact_person": person | stamps}
    if party.customer:
        delivery = _address(company, party, "DELIVERY") | {**_delivery_ref(company, party), "is_main_address": False}
        company.insert("addresses", delivery["id"], delivery, at)
        body["delivery_address"] = delivery | stamps
    company.insert("contacts", party.id, body, at)
    return party


def _introduce(company: Company, rng: Random, number: int) -> Party:
    profile, mint = company.profile, company.mint
    odd = _ODD_NAMES[number // _ODD_EVERY % len(_ODD_NAMES)]
    name = odd if number % _ODD_EVERY == 0 else f"{rng.choice(profile.people).split()[-1]} {rng.choice(profile.trades)}"
    customer = number % _SUPPLIERS_EVERY == 1
    foreign = number % _FOREIGN_EVERY in _FOREIGN and company.multi_currency and company.country in _TRADING_ABROAD
    return Party(
        id=mint.new_id(),
        name=f"{name} {rng.choice(profile.forms)}",
        reference=f"{'C' if customer else 'S'}{number:05d}",
        customer=customer,
        currency=rng.choice(list(FOREIGN_PRICES[company.currency])) if foreign else company.currency,
        city=rng.choice(profile.cities),
        street=f"{rng.randrange(1, 199)} {rng.choice(profile.streets)}",
        address_id=mint.new_id(),
        person_id=mint.new_id(),
    )


def edit_phone(company: Company, party: Party, telephone: str, at: datetime) -> None:
    """Note a new telephone number, on the person and on the contact that shows the person."""
    person = company.book("contact_persons").change(party.person_id, {"telephone": telephone}, at)
    company.book("contacts").change(party.id, {"main_contact_person": person.render()}, at)


def edit_address(company: Company, party: Party, second_line: str, at: datetime) -> None:
    """Complete an address, on itself and on the contact that shows it."""
    address = company.book("addresses").change(party.address_id, {"address_line_2": second_line}, at)
    company.book("contacts").change(party.id, {"main_address": address.render()}, at)


def set_active(company: Company, party: Party, at: datetime, *, active: bool) -> None:
    """Hide a contact from new documents, which is no deletion, or show it again."""
    party.active = active
    company.book("contacts").change(party.id, {"is_active": active}, at)


def delete_contact(company: Company, party: Party, at: datetime) -> None:
    """Delete a contact without documents, with its addresses and its person."""
    addresses = company.book("addresses")
    for row_id in [row_id for row_id, row in addresses.rows.items() if _belongs(row.render(), party)]:
        addresses.delete(row_id, at)
    company.book("contact_persons").delete(party.person_id, at)
    company.book("contacts").delete(party.id, at)
    del company.parties[party.id]


def _belongs(address: Body, party: Party) -> bool:
    return bool(address.get("contact") and address["contact"]["id"] == party.id)


def country_group(country: Country) -> Body:
    """Refer to the group that a country's addresses belong to."""
    return ref("country_groups", country.group, _GROUPS[country.group])


def place(country: Country, street: str, city: tuple[str, str, str]) -> Body:
    """Write the parts of an address that say where it is."""
    town, region, postal_code = city
    return {
        "address_line_1": street,
        "address_line_2": "",
        "city": town,
        "region": region,
        "postal_code": postal_code,
        "country": country.ref,
        "country_group": country_group(country),
    }


def in_lines(country: Country, street: str, city: tuple[str, str, str]) -> str:
    """Write an address as Sage shows it, over several lines."""
    return "\n".join((street, city[0], city[1], city[2], country.name))


def _address(company: Company, party: Party, kind: str) -> Body:
    return {
        **ref("addresses", party.address_id, in_lines(company.profile, party.street, party.city)),
        **place(company.profile, party.street, party.city),
        "contact": party.ref,
        "address_type": ref("address_types", kind, kind.title()),
        "name": "Main Address" if kind != "DELIVERY" else "Delivery Address",
        "is_main_address": True,
    }


def _delivery_ref(company: Company, party: Party) -> Body:
    return ref("addresses", company.mint.new_id(), in_lines(company.profile, party.street, party.city))


def _person(company: Company, party: Party) -> Body:
    rng, number = company.rng, company.next_number("person")
    name = rng.choice(company.profile.people)
    return {
        **ref("contact_persons", party.person_id, name),
        "contact_person_types": [ref("contact_person_types", "ACCOUNTS", "Accounts")],
        "name": name,
        "job_title": "Accounts" if number % 3 else None,
        "telephone": f"{company.profile.dialling} {rng.randrange(10000):04d}",
        "mobile": "",
        "email": f"accounts{number}@customer.example",
        "fax": None,
        "is_main_contact": True,
        "address": ref("addresses", party.address_id, in_lines(company.profile, party.street, party.city)),
        "is_preferred_contact": None if number % 2 else True,
    }


def _contact(company: Company, party: Party) -> Body:
    """Write the contact; customers and suppliers each lack the keys that only the other has."""
    accounts, profile = company.accounts, company.profile
    kind = ("CUSTOMER", "Customer") if party.customer else ("VENDOR", "Supplier")
    own: Body = {"default_purchase_ledger_account": accounts[COST_OF_GOODS].ref}
    if party.customer:
        own = {
            "default_sales_ledger_account": accounts[SALES_PRODUCTS].ref,
            "default_sales_tax_rate": profile.standard.ref,
            "product_sales_price_type": next(iter(company.book("product_sales_price_types").rows.values())).render(),
            "go_cardless_mandate": None,
        }
        own["product_sales_price_type"] = {name: own["product_sales_price_type"][name] for name in _REFERENCE}
    return {
        **party.ref,
        "links": [link(f"contacts/{'customers' if party.customer else 'suppliers'}/{party.id}")],
        "balance": "0.0",
        "contact_types": [ref("contact_types", *kind)],
        "name": party.name,
        "reference": party.reference,
        **own,
        "tax_number": f"{profile.code}{company.rng.randrange(10**9):09d}" if company.rng.random() < 0.5 else "",  # noqa: PLR2004
        "currency": currency_ref(party.currency),
        "email": f"{party.reference.lower()}@customer.example",
        "gb_based": profile.code == "GB",
        **_CONTACT_DEFAULTS,
        "notes": "Knows the way 🗝️\nRing twice" if party.reference.endswith("3") else None,
        "bank_account_details": dict.fromkeys(("account_name", "account_number", "sort_code", "bic", "iban")),
        "locale": profile.locale,
        "credit_limit": "14000.0" if party.customer else "0.0",
    }


_REFERENCE = ("id", "displayed_as", "$path")

_CONTACT_DEFAULTS: Body = {
    "credit_days": 30,
    "credit_terms": "month_end_invoice",
    "credit_terms_and_conditions": "null",
    "source_guid": None,
    "registered_number": None,
    "deletable": True,
    "tax_treatment": {
        "home_tax": True,
        "eu_tax_registered": False,
        "eu_not_tax_registered": False,
        "rest_of_world_tax": False,
        "is_importer": False,
    },
    "tax_calculation": "",
    "gdpr_obfuscated": False,
    "system": False,
    "has_unfinished_recurring_invoices": False,
    "cis_registered": False,
    "ni_based": False,
    "is_active": True,
    "cis_settings": None,
    "destination_vat_blocking": False,
    "mandate_active": False,
    "send_statements": True,
    "statement_run": {"id": "MONTHLY", "name": "Monthly"},
    "preferred_address": None,
    "preferred_contact_person": None,
}


def document_addresses(company: Company, party: Party) -> Body:
    """Copy a contact's address onto a sales document, with line breaks spelled out and without a path of its own."""
    return {
        "main_address_free_form": _free_form(company.profile, party.street, party.city),
        "main_address": _embedded(company, party, "SALES"),
        "delivery_address_free_form": _free_form(company.profile, party.street, party.city),
        "delivery_address": _embedded(company, party, "DELIVERY"),
    }


@lru_cache(maxsize=1024)
def _free_form(country: Country, street: str, city: tuple[str, str, str]) -> str:
    return in_lines(country, street, city).replace("\n", "\\n")


def _embedded(company: Company, party: Party, kind: str) -> Body:
    return {
        "id": company.mint.new_id(),
        "displayed_as": _free_form(company.profile, party.street, party.city),
        "$path": "",
        **place(company.profile, party.street, party.city),
        "address_type": ref("address_types", kind, kind.title()),
    }
