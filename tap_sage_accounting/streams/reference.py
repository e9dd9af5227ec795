"""Code lists that Sage gives every business and that hardly ever change."""

from __future__ import annotations

from tap_sage_accounting.client import ReferenceDataStream
from tap_sage_accounting.declaration import Area


class AddressRegions(ReferenceDataStream):
    """Regions within a country: provinces, states, counties."""

    name = "address_regions"


class AddressTypes(ReferenceDataStream):
    """What an address is used for, such as delivery or sales correspondence."""

    name = "address_types"


class ArtefactStatuses(ReferenceDataStream):
    """States that a document can be in, such as draft, unpaid, paid and void."""

    name = "artefact_statuses"
    areas = (Area.SALES, Area.PURCHASES)


class BusinessActivityTypes(ReferenceDataStream):
    """Kinds of activity that French law distinguishes, such as trade, craft and profession."""

    name = "business_activity_types"
    countries = ("FR",)
    retired = True


class BusinessTypes(ReferenceDataStream):
    """Kinds of business, such as sole trader, partnership and limited company."""

    name = "business_types"


class ContactPersonTypes(ReferenceDataStream):
    """What a contact person is responsible for, such as accounts or sales."""

    name = "contact_person_types"


class ContactTypes(ReferenceDataStream):
    """Whether a contact is a customer or a supplier."""

    name = "contact_types"


class CorrectiveReasonCodes(ReferenceDataStream):
    """Reasons that Spanish law accepts for a corrective invoice."""

    name = "corrective_reason_codes"
    countries = ("ES",)
    retired = True


class Countries(ReferenceDataStream):
    """Countries by ISO code."""

    name = "countries"


class CountriesOfRegistration(ReferenceDataStream):
    """Countries in which a business can be registered."""

    name = "countries_of_registration"


class CountryGroups(ReferenceDataStream):
    """Groups of countries that are taxed alike, such as the EU and the rest of the world."""

    name = "country_groups"


class LegalFormTypes(ReferenceDataStream):
    """Legal forms that a French business can have."""

    name = "legal_form_types"
    countries = ("FR",)
    retired = True


class QuickEntryTypes(ReferenceDataStream):
    """Whether a quick entry is an invoice or a credit note."""

    name = "quick_entry_types"
