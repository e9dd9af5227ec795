"""What is traded: products, services and stock, with the prices and rates they are sold at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.client import ReferenceDataStream, ReportingStream, SageStream
from tap_sage_accounting.declaration import Area

if TYPE_CHECKING:
    from collections.abc import Mapping

# Sage opens the catalogue to those who sell or buy, not only to those with the right to products.
CATALOGUE = (Area.PRODUCTS, Area.SALES, Area.PURCHASES)
# Sage's guide to the inventory says that what is not active shows only where it is requested (records.inactive).
INACTIVE_TOO: tuple[Mapping[str, str], ...] = ({}, {"active": "false"})


class CatalogItemTypes(ReferenceDataStream):
    """Kinds of catalogue item: stock item, non-stock product or service."""

    name = "catalog_item_types"


class ProductSalesPriceTypes(ReferenceDataStream):
    """Names of the price lists at which products are sold, such as retail and wholesale."""

    name = "product_sales_price_types"
    deletable = True
    parts = INACTIVE_TOO
    areas = CATALOGUE


class Products(ReportingStream):
    """Goods bought and sold, stock items among them, with prices, tax rates and default accounts."""

    name = "products"
    unposted = True
    master_data = True
    parts = INACTIVE_TOO
    areas = CATALOGUE
    static = True


class ServiceRateTypes(ReferenceDataStream):
    """Names of the rates at which services are charged, such as hourly and daily."""

    name = "service_rate_types"
    changed_since = True
    master_data = True
    deletable = True
    parts = INACTIVE_TOO
    areas = CATALOGUE


class Services(ReportingStream):
    """Services bought and sold, with rates, tax rates and default accounts."""

    name = "services"
    unposted = True
    master_data = True
    parts = INACTIVE_TOO
    areas = CATALOGUE
    static = True


class StockItems(ReportingStream):
    """Goods kept in stock, with the quantity on hand, cost price, reorder level and location."""

    name = "stock_items"
    unposted = True
    master_data = True
    parts = INACTIVE_TOO
    areas = CATALOGUE
    editions = ("Plus",)


class StockMovements(SageStream):
    """Changes of quantity on hand: goods in, goods out and adjustments, each at its cost price."""

    name = "stock_movements"
    deletable = True
    areas = CATALOGUE
    editions = ("Plus",)
    # Sage offers no way to request changed movements only: every read is the whole history.
    static = True
