"""VAT and sales tax: rates, schemes, registrations and returns."""

from __future__ import annotations

from tap_sage_accounting.client import ReferenceDataStream
from tap_sage_accounting.declaration import Area


class DraftTaxReturns(ReferenceDataStream):
    """VAT returns being prepared and not yet final."""

    name = "draft_tax_returns"
    deletable = True
    areas = (Area.STATUTORY_REPORTING,)
    countries = ("GB",)


class EuGoodsServicesTypes(ReferenceDataStream):
    """Whether a sale within the EU counts as goods or services for VAT."""

    name = "eu_goods_services_types"


class EuSalesDescriptions(ReferenceDataStream):
    """Standard descriptions of sales to EU customers, as EC sales lists use them."""

    name = "eu_sales_descriptions"


class MigrationTaxReturns(ReferenceDataStream):
    """Earlier tax returns brought along when a business moved to Sage Accounting from another product."""

    name = "migration_tax_returns"
    areas = (Area.STATUTORY_REPORTING,)
    full_access = True
    countries = ("GB", "IE")
    retired = True


class TaxOffices(ReferenceDataStream):
    """German tax offices with their numbers."""

    name = "tax_offices"
    countries = ("DE",)
    retired = True


class TaxProfiles(ReferenceDataStream):
    """The business's registrations for a tax: its number, return frequency and region."""

    name = "tax_profiles"
    changed_since = True
    master_data = True
    areas = (Area.SETTINGS,)


class TaxRates(ReferenceDataStream):
    """Tax rates with the percentages in force over time and the parts a combined rate consists of."""

    name = "tax_rates"
    changed_since = True
    master_data = True
    deletable = True
    # Both widen the list: by rates no longer in force, and by other countries' rates for sales across the border.
    flags = ("include_historical_data", "include_destination_vat_rates")
    areas = (Area.SALES, Area.PURCHASES, Area.BANK, Area.SETTINGS)


class TaxReturnFrequencies(ReferenceDataStream):
    """How often tax returns are due, such as monthly or quarterly."""

    name = "tax_return_frequencies"


class TaxReturns(ReferenceDataStream):
    """Final tax returns of a period with the amount due and whether it was paid."""

    name = "tax_returns"
    changed_since = True
    areas = (Area.STATUTORY_REPORTING,)
    full_access = True


class TaxSchemes(ReferenceDataStream):
    """Ways to account for VAT: standard, cash, flat rate or none."""

    name = "tax_schemes"
    countries = ("GB", "IE")


class TaxTypes(ReferenceDataStream):
    """Taxes that apply in a country or region, such as GST, HST and PST, with their rates."""

    name = "tax_types"
