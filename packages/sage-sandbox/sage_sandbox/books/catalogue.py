"""Products, services and stock: prices, quantities, and what a document chooses."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.chart import COST_OF_GOODS, SALES_PRODUCTS, SALES_SERVICES
from sage_sandbox.books.editions import offered
from sage_sandbox.books.lines import Line
from sage_sandbox.books.master_data import Item
from sage_sandbox.books.values import HUNDRED, ZERO, big, link, ref
from sage_sandbox.store import Row, timestamp

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body
from typing import TYPE_CHECKING

from sage_sandbox.books.chart import OVERHEADS

if TYPE_CHECKING:
    from random import Random

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.places import TaxRate
    from sage_sandbox.store import Body

_PRICE_NAMES = ("Sales Price", "Trade", "Wholesale")
_RATE_NAMES = ("Hourly", "Daily")
_WARES = ("Oak Table", "Copper Kettle", "Wool Blanket", "Sea Salt 1kg", "Hand Drill", "Crème Brûlée Torch", "LED Lamp")
_WORKS = ("Consulting", "Installation", "Delivery", "Training", "Surveying")
_LISTS = {"PRODUCT": "products", "SERVICE": "services", "STOCK_ITEM": "stock_items"}
_TWENTY_DIGITS = Decimal("12345678901234567.1234")


def open_price_lists(company: Company) -> None:
    """Set up the price lists that every new business has."""
    for name in _PRICE_NAMES:
        _add_type(company, "product_sales_price_types", name)
    for name in _RATE_NAMES:
        _add_type(company, "service_rate_types", name)


def _add_type(company: Company, collection: str, name: str) -> None:
    own = ref(collection, company.mint.new_id(), name)
    company.insert(collection, own["id"], {**own, "name": name, "active": True}, company.opened)


def add_item(company: Company, rng: Random, at: datetime, kind: str | None = None) -> Item:
    """Add a product, service or stock item; stock only where the edition has it, and listed among products too."""
    number = company.next_number("item")
    kinds = (
        "PRODUCT",
        "SERVICE",
        "STOCK_ITEM" if offered("stock_items", company.country, company.edition) else "PRODUCT",
    )
    kind = kind or kinds[number % len(kinds)]
    names = _WORKS if kind == "SERVICE" else _WARES
    cost = Decimal(rng.randrange(1500, 25000)) / HUNDRED
    item = Item(
        id=company.mint.new_id(),
        kind=kind,
        description=f"{rng.choice(names)} {number}",
        price=(cost * Decimal("1.6")).quantize(Decimal("0.0001")),
        cost=cost,
        rate=rng.choice((*[company.profile.standard] * 3, *company.profile.tax_rates)),
    )
    company.items[item.id] = item
    _list(company, item, at)
    return item


def _list(company: Company, item: Item, at: datetime) -> None:
    if item.kind == "SERVICE":
        body = _shared(company, item) | _service(company, item, at)
        company.insert("services", item.id, body, at)
        return
    body = _shared(company, item) | _goods(company, item, at)
    if item.kind == "STOCK_ITEM":
        company.insert("stock_items", item.id, body | _stock(at), at)
    passing = ref("products", item.id, item.description)
    company.insert("products", item.id, {**body, **passing, "catalog_item_type": _item_type(item.kind)}, at)


def _item_type(kind: str) -> Body:
    return ref("catalog_item_types", kind, kind.replace("_", " ").title())


def _shared(company: Company, item: Item) -> Body:
    sold = SALES_SERVICES if item.kind == "SERVICE" else SALES_PRODUCTS
    suppliers = [party for party in company.parties.values() if not party.customer]
    supplier = company.rng.choice(suppliers) if suppliers else None
    return {
        **ref(_LISTS[item.kind], item.id, item.description),
        "links": [link(f"products_services/{item.id}")],
        "deletable": True,
        "deactivatable": True,
        "used_on_recurring_invoice": False,
        "item_code": f"ITEM-{company.numbers['item']:04d}",
        "description": item.description,
        "notes": "",
        "sales_ledger_account": company.accounts[sold].ref,
        "purchase_ledger_account": company.accounts[COST_OF_GOODS].ref,
        "sales_tax_rate": item.rate.ref,
        "purchase_tax_rate": item.rate.ref,
        "usual_supplier": supplier and ref("usual_suppliers", supplier.id, supplier.ref["displayed_as"]),
        "source_guid": None,
        "purchase_description": "",
        "active": None if company.numbers["item"] == 1 else True,
        "cost_price": big(item.cost),
    }


def _goods(company: Company, item: Item, at: datetime) -> Body:
    stamps = {"created_at": timestamp(at), "updated_at": timestamp(at)}
    huge = company.numbers["item"] == len(_LISTS)
    prices = [_TWENTY_DIGITS if huge and step else item.price * (10 - step) / 10 for step in range(len(_PRICE_NAMES))]
    return {
        "sales_prices": [
            {
                "id": company.mint.new_id(),
                "displayed_as": name,
                **stamps,
                "price_name": name,
                "price": big(price),
                "price_includes_tax": False,
                "product_sales_price_type": ref("product_sales_price_types", type_id, name),
            }
            for type_id, name, price in zip(
                company.book("product_sales_price_types").rows, _PRICE_NAMES, prices, strict=False
            )
        ]
    }


def _service(company: Company, item: Item, at: datetime) -> Body:
    stamps = {"created_at": timestamp(at), "updated_at": timestamp(at)}
    return {
        "oss_service": False,
        "sales_rates": [
            {
                "id": company.mint.new_id(),
                "displayed_as": name,
                **stamps,
                "rate_name": name,
                "rate": big(item.price * factor),
                "rate_includes_tax": False,
                "service_rate_type": ref("service_rate_types", type_id, name),
            }
            for (type_id, name), factor in zip(
                zip(company.book("service_rate_types").rows, _RATE_NAMES, strict=False), (1, 7), strict=False
            )
        ],
    }


def _stock(at: datetime) -> Body:
    return {
        "reorder_level": "2.0",
        "reorder_quantity": "10.0",
        "location": "",
        "barcode": "",
        "supplier_part_number": "",
        "weight": 0,
        "measurement_unit": "kg",
        "weight_converted": "0.0",
        "quantity_in_stock": "0.0",
        "last_cost_price": "0.0",
        "last_cost_price_stock_value": "0.0",
        "average_cost_price": "0.0",
        "average_cost_price_stock_value": "0.0",
        "cost_price_last_updated": _in_milliseconds(at),
    }


def _in_milliseconds(at: datetime) -> str:
    """Write a moment as stock does, and only stock: with three more zeros."""
    return f"{timestamp(at)[:-1]}.000Z"


def move_stock(company: Company, item: Item, quantity: Decimal, at: datetime) -> None:
    """Count stock in or out (negative); the movement carries the whole item as it then was."""
    stock = company.book("stock_items")
    held = Decimal(stock.rows[item.id].render()["quantity_in_stock"]) + quantity
    changes = {
        "quantity_in_stock": big(held),
        "last_cost_price": big(item.cost),
        "average_cost_price": big(item.cost),
        "last_cost_price_stock_value": big(held * item.cost),
        "average_cost_price_stock_value": big(held * item.cost),
        "cost_price_last_updated": _in_milliseconds(at),
        "deletable": False,
    }
    row = stock.change(item.id, changes, at)
    company.in_use.add(item.id)
    reason = "Stock take adjustment" if quantity > ZERO else "Breakage"
    own = ref("stock_movements", company.mint.new_id(), reason)
    body = {
        **own,
        "links": [link(None)],
        "movement_number": company.next_number("stock_movement"),
        "date": _in_milliseconds(at),
        "cost_price": big(item.cost),
        "quantity": big(quantity),
        "details": reason,
        "reference": "",
        "stock_item": row.render(),
    }
    company.book("stock_movements").add(Row(own["id"], body, at, at))


def change_item(company: Company, item: Item, changes: Body, at: datetime) -> None:
    """Edit an item wherever it is listed."""
    for collection in listings(item):
        company.book(collection).change(item.id, changes, at)


def delete_item(company: Company, item: Item, at: datetime) -> None:
    """Delete an item that no line names."""
    for collection in listings(item):
        company.book(collection).delete(item.id, at)
    del company.items[item.id]


def listings(item: Item) -> tuple[str, ...]:
    """Name the lists that an item stands in."""
    return ("stock_items", "products") if item.kind == "STOCK_ITEM" else (_LISTS[item.kind],)


_SMALL_LOTS = ("0.25", "0.5", "1", "2")


def pick_lines(
    company: Company, rng: Random, *, sale: bool, rate: TaxRate | None = None, small: bool = False
) -> tuple[Line, ...]:
    """Choose one to five lines from the catalogue, but the newest item; a `small` lot is one line of few.

    A `rate` overrules the items' tax rates.
    """
    items = list(company.items.values())[:-1]
    chosen = rng.choices(items, k=1 if small else rng.choice((1, 1, 2, 2, 3, 5)))
    line = _sale if sale else _purchase
    return tuple(line(company, rng, item, rate, small=small) for item in chosen)


def _sale(company: Company, rng: Random, item: Item, rate: TaxRate | None, *, small: bool) -> Line:
    account = company.accounts[SALES_SERVICES if item.kind == "SERVICE" else SALES_PRODUCTS]
    discount = Decimal(rng.choice(("0", "0", "0", "5", "12.5")))
    quantity = Decimal(rng.choice(_SMALL_LOTS if small else ("1", "2", "3", "7.5", "10", "0.25")))
    company.in_use.add(item.id)
    return Line(item.description, item, account, quantity, item.price, discount, rate or item.rate)


def _purchase(company: Company, rng: Random, item: Item, rate: TaxRate | None, *, small: bool) -> Line:
    quantity = Decimal(1 if small else rng.choice(("1", "2", "4", "6")))
    if item.kind == "SERVICE":
        account = company.accounts[rng.choice(OVERHEADS)]
        price = Decimal(rng.randrange(500, 9000 if small else 90000)) / HUNDRED
        taxed = rate or company.profile.standard
        return Line(account.nominal.name, None, account, Decimal(1), price, ZERO, taxed)
    company.in_use.add(item.id)
    account = company.accounts[COST_OF_GOODS]
    return Line(item.description, item, account, quantity, item.cost, ZERO, rate or item.rate)
