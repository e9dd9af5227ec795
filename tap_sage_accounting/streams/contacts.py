"""Customers and suppliers, with the people and addresses that belong to them."""

from __future__ import annotations

from tap_sage_accounting.client import ReportingStream
from tap_sage_accounting.declaration import Area

# Sage opens the address book to those who sell or buy, not only to those with the right to contacts.
ADDRESS_BOOK = (Area.CONTACTS, Area.SALES, Area.PURCHASES)


class Addresses(ReportingStream):
    """Postal addresses of customers, suppliers and banks."""

    name = "addresses"
    unposted = True
    master_data = True
    areas = ADDRESS_BOOK
    static = True


class ContactPersons(ReportingStream):
    """People to write to or call at a customer or supplier."""

    name = "contact_persons"
    unposted = True
    master_data = True
    areas = ADDRESS_BOOK
    static = True


class Contacts(ReportingStream):
    """Customers and suppliers with their terms, tax treatment, default accounts and balance."""

    name = "contacts"
    unposted = True
    master_data = True
    # Without them, Sage leaves these attributes out (records.opt_ins).
    flags = ("show_balance", "show_unfinished_recurring_invoices_status")
    areas = ADDRESS_BOOK
