"""Customers and suppliers, with the people and addresses that belong to them."""

from __future__ import annotations

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.declaration import Area

# Sage opens the address book to those who sell or buy, not only to those with the right to contacts.
ADDRESS_BOOK = (Area.CONTACTS, Area.SALES, Area.PURCHASES)


class Addresses(SageStream):
    """Postal addresses of customers, suppliers and banks."""

    name = "addresses"
    changed_since = True
    master_data = True
    deleted_since = True
    deletable = True
    areas = ADDRESS_BOOK
    static = True


class ContactPersons(SageStream):
    """People to write to or call at a customer or supplier."""

    name = "contact_persons"
    changed_since = True
    master_data = True
    deleted_since = True
    deletable = True
    areas = ADDRESS_BOOK
    static = True


class Contacts(SageStream):
    """Customers and suppliers with their terms, tax treatment, default accounts and balance."""

    name = "contacts"
    changed_since = True
    master_data = True
    deleted_since = True
    deletable = True
    flags = ("show_balance", "show_unfinished_recurring_invoices_status")
    areas = ADDRESS_BOOK
