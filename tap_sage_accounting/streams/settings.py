"""How a business has set up Sage: one object of each kind per business."""

from __future__ import annotations

from tap_sage_accounting.client import SingleObjectStream
from tap_sage_accounting.declaration import Area


class BusinessSettings(SingleObjectStream):
    """The business's kind, country of registration, registration numbers and default ledger accounts."""

    name = "business_settings"
    areas = (Area.SETTINGS,)


class CisSettings(SingleObjectStream):
    """The business's place in the UK construction industry scheme: contractor, subcontractor, references."""

    name = "cis_settings"
    areas = (Area.SETTINGS,)
    countries = ("GB",)


class DatevSettings(SingleObjectStream):
    """Numbers under which a German business exports its books to its tax adviser's DATEV system."""

    name = "datev_settings"
    areas = (Area.SETTINGS,)
    countries = ("DE",)
    retired = True


class EmailSettings(SingleObjectStream):
    """Default texts and options for the documents that are sent by email."""

    name = "email_settings"
    areas = (Area.SETTINGS,)
    countries = ("CA", "ES", "FR", "GB", "IE", "US")
    retired = True


class FinancialSettings(SingleObjectStream):
    """Year end, lock date, start of the accounts, base currency and how the business accounts for VAT."""

    name = "financial_settings"
    areas = (Area.SETTINGS,)


class InvoiceSettings(SingleObjectStream):
    """Numbering, wording, terms and layout of the business's sales documents."""

    name = "invoice_settings"
    areas = (Area.SETTINGS,)


class Migrations(SingleObjectStream):
    """From which product a business was moved to Sage Accounting, when, and how that went."""

    name = "migrations"
    areas = (Area.SETTINGS,)
    countries = ("CA", "ES", "FR", "GB", "IE", "US")
    retired = True
