"""Code lists that Sage gives every business and that hardly ever change."""

from __future__ import annotations

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.declaration import Area


class AddressRegions(SageStream):
    """Regions within a country: provinces, states, counties."""

    name = "address_regions"
    static = True


class AddressTypes(SageStream):
    """What an address is used for, such as delivery or sales correspondence."""

    name = "address_types"
    static = True


class ArtefactStatuses(SageStream):
    """States that a document can be in, such as draft, unpaid, paid and void."""

    name = "artefact_statuses"
    areas = (Area.SALES, Area.PURCHASES)
    static = True


class BusinessActivityTypes(SageStream):
    """Kinds of activity that French law distinguishes, such as trade, craft and profession."""

    name = "business_activity_types"
    countries = ("FR",)
    retired = True
    static = True


class BusinessTypes(SageStream):
    """Kinds of business, such as sole trader, partnership and limited company."""

    name = "business_types"
    static = True


class ContactPersonTypes(SageStream):
    """What a contact person is responsible for, such as accounts or sales."""

    name = "contact_person_types"
    static = True


class ContactTypes(SageStream):
    """Whether a contact is a customer or a supplier."""

    name = "contact_types"
    static = True


class CorrectiveReasonCodes(SageStream):
    """Reasons that Spanish law accepts for a corrective invoice."""

    name = "corrective_reason_codes"
    countries = ("ES",)
    retired = True
    static = True


class Countries(SageStream):
    """Countries by ISO code."""

    name = "countries"
    static = True


class CountriesOfRegistration(SageStream):
    """Countries in which a business can be registered."""

    name = "countries_of_registration"
    static = True


class CountryGroups(SageStream):
    """Groups of countries that are taxed alike, such as the EU and the rest of the world."""

    name = "country_groups"
    static = True


class LegalFormTypes(SageStream):
    """Legal forms that a French business can have."""

    name = "legal_form_types"
    countries = ("FR",)
    retired = True
    static = True


class QuickEntryTypes(SageStream):
    """Whether a quick entry is an invoice or a credit note."""

    name = "quick_entry_types"
    static = True
