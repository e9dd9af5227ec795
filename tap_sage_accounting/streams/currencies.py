"""Currencies and the rates at which they are converted."""

from __future__ import annotations

from tap_sage_accounting.client import CurrencyKeyedStream, ReferenceDataStream
from tap_sage_accounting.declaration import Area


class BusinessExchangeRates(CurrencyKeyedStream):
    """Exchange rates that the business has fixed for itself."""

    name = "business_exchange_rates"
    deletable = True
    areas = (Area.SETTINGS,)


class Currencies(ReferenceDataStream):
    """Currencies that Sage knows, by ISO code."""

    name = "currencies"


class ExchangeRates(CurrencyKeyedStream):
    """The exchange rate in use for each currency against the business's base currency."""

    name = "exchange_rates"


class LiveExchangeRates(CurrencyKeyedStream):
    """Market exchange rates against the business's base currency, as Sage last fetched them."""

    name = "live_exchange_rates"
