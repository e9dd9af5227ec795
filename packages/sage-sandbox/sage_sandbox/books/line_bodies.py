"""Lines and the analyses of their tax, as Sage serves them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.lines import Line, Sums, sums
from sage_sandbox.books.values import ZERO, big, cents, ref

if TYPE_CHECKING:
    from sage_sandbox.books.company import Company
    from sage_sandbox.books.places import TaxRate
    from sage_sandbox.store import Body


def line_body(company: Company, line: Line, exchange: Decimal, *, sale: bool) -> Body:
    """Write a line as Sage serves it, with its analysis categories; `exchange` turns its amounts into base currency."""
    item, rate = line.item, line.rate
    net, tax = cents(line.net * exchange), cents(line.tax * exchange)
    body: Body = {
        "id": company.mint.new_id(),
        "displayed_as": line.description,
        "analysis_type_categories": analysis_of(company, line),
        "description": line.description,
        "product": item.ref if item and not line.is_service else None,
        "service": item.ref if item and line.is_service else None,
        "ledger_account": line.account.ref,
        "trade_of_asset": False,
        "quantity": big(line.quantity),
        "unit_price": big(line.unit_price),
        "net_amount": big(line.net),
        "tax_rate": rate.ref,
        "tax_amount": big(line.tax),
        "tax_breakdown": tax_breakdown(rate, line.tax),
        "total_amount": big(line.total),
        "base_currency_unit_price": big(cents(line.unit_price * exchange) if exchange != 1 else line.unit_price),
        "unit_price_includes_tax": False,
        "base_currency_net_amount": big(net),
        "base_currency_tax_amount": big(tax),
        "base_currency_tax_breakdown": tax_breakdown(rate, tax),
        "base_currency_total_amount": big(net + tax),
    }
    return body | (_sale_part(line, exchange) if sale else _purchase_part(company, line)) | _abroad(line, exchange)


def _abroad(line: Line, exchange: Decimal) -> Body:
    """Say whether goods or services crossed a border, which trade in a foreign currency stands for."""
    kind = ("SERVICES", "Services") if line.is_service else ("GOODS", "Goods")
    return {"eu_goods_services_type": ref("eu_goods_services_types", *kind) if exchange != 1 else None}


def _sale_part(line: Line, exchange: Decimal) -> Body:
    return {
        "discount_amount": big(line.discount),
        "base_currency_discount_amount": big(cents(line.discount * exchange)),
        "discount_percentage": big(line.discount_percentage),
        "eu_sales_description": ref("eu_sales_descriptions", "STANDARD", "Standard") if exchange != 1 else None,
    }


def _purchase_part(company: Company, line: Line) -> Body:
    return {"is_purchase_for_resale": line.item is not None, **canadian_taxes(company, line.rate, line.tax)}


def canadian_taxes(company: Company, rate: TaxRate, tax: Decimal) -> Body:
    """Split tax into its federal and provincial part; null outside Canada."""
    if company.country != "CA":
        return {"gst_amount": None, "pst_amount": None, "tax_recoverable": None}
    provincial = tax_breakdown(rate, tax)[1]["amount"] if len(rate.parts) > 1 else "0.0"
    return {"gst_amount": big(tax - Decimal(provincial)), "pst_amount": provincial, "tax_recoverable": True}


def tax_breakdown(rate: TaxRate, tax: Decimal) -> list[Body]:
    """Split tax by the parts of a combined rate; untaxed lines have no breakdown."""
    if not rate.percentage:
        return []
    if not rate.parts:
        return [{"tax_rate": rate.ref, "percentage": big(rate.percentage), "amount": big(tax)}]
    shares = [cents(tax * percentage / rate.percentage) for _, _, percentage in rate.parts]
    shares[-1] = tax - sum(shares[:-1], ZERO)
    return [
        {
            "tax_rate": ref("tax_rates", identity, f"{name} {percentage:.2f}%"),
            "percentage": big(percentage),
            "amount": big(share),
        }
        for (identity, name, percentage), share in zip(rate.parts, shares, strict=True)
    ]


def analysis_of(company: Company, line: Line) -> list[Body]:
    """Tag products with a department where the edition has analysis types."""
    types = company.collections.get("analysis_types")
    if not types or line.item is None or line.is_service:
        return []
    first = next(iter(types.rows.values())).render()
    category = first["analysis_type_categories"][0]
    own = {name: category[name] for name in ("id", "displayed_as", "$path")}
    return [{**own, "analysis_type": {name: first[name] for name in ("id", "displayed_as", "$path")}}]


def tax_analysis(lines: tuple[Line, ...]) -> list[Body]:
    """Add the lines up by tax rate."""
    return [
        {
            "tax_rate": rate.ref,
            "net_amount": big(part.net),
            "tax_amount": big(part.tax),
            "total_amount": big(part.total),
            "goods_amount": "0.0",
            "service_amount": "0.0",
        }
        for rate, part in _by_rate(lines)
    ]


def _by_rate(lines: tuple[Line, ...]) -> list[tuple[TaxRate, Sums]]:
    rates = {line.rate.id: line.rate for line in lines}
    return [(rate, sums(tuple(line for line in lines if line.rate.id == rate.id))) for rate in rates.values()]


def detailed_tax_analysis(lines: tuple[Line, ...], exchange: Decimal) -> Body:
    """Write the opt-in analysis: the totals, and the breakdown of the rate that most of the tax is charged at."""
    total = sums(lines)
    services = sums(tuple(line for line in lines if line.is_service))
    rate, part = max(_by_rate(lines), key=lambda pair: pair[1].tax)
    part_services = sums(tuple(line for line in lines if line.is_service and line.rate.id == rate.id))
    breakdown: Body = {"tax_rate": rate.ref, "name": rate.label, "percentage": big(rate.percentage)}
    return {
        "tax_rates_breakdown": {
            **breakdown,
            **_in_both_currencies(_amounts("{}_amount", part, part_services), exchange),
            "retail_tax_amount": "0.0",
        },
        **_in_both_currencies(_amounts("total_{}", total, services), exchange),
        "total_retailer_tax": "0.0",
    }


def _amounts(form: str, part: Sums, services: Sums) -> dict[str, Decimal]:
    """Name the amounts in the two ways that the two levels of the analysis name them."""
    suffix = "" if form.endswith("_amount") else "_amount"
    return {
        form.format("net"): part.net,
        form.format("tax"): part.tax,
        "total_amount" if not suffix else "total": part.total,
        form.format("goods") + suffix: part.net - services.net,
        form.format("services") + suffix: services.net,
    }


def _in_both_currencies(amounts: dict[str, Decimal], exchange: Decimal) -> Body:
    own = {name: big(amount) for name, amount in amounts.items()}
    return own | {f"base_currency_{name}": big(cents(amount * exchange)) for name, amount in amounts.items()}
