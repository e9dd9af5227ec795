"""Issue, change and take back documents: how they look and what they post."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.artefacts import SALES, Artefact, currency_ref, status_ref
from sage_sandbox.books.chart import CREDITORS, DEBTORS, PURCHASE_TAX, SALES_TAX
from sage_sandbox.books.contacts import document_addresses
from sage_sandbox.books.documents import CREDIT_DAYS, PURCHASE_CORRECTIVE, SALES_CORRECTIVE, Document
from sage_sandbox.books.line_bodies import detailed_tax_analysis, line_body, tax_analysis
from sage_sandbox.books.open_items import refresh, register, settlement_body
from sage_sandbox.books.places import FOREIGN_PRICES
from sage_sandbox.books.posting import post, void
from sage_sandbox.books.transactions import Leg, Posting, transaction_type
from sage_sandbox.books.values import HUNDRED, RATE_PLACES, ZERO, big, cents, link, ref

if TYPE_CHECKING:
    from datetime import datetime

    from sage_sandbox.books.company import Company
    from sage_sandbox.books.lines import Line
    from sage_sandbox.store import Body


def issue(company: Company, document: Document) -> str:
    """Put a document into the books, post it unless it is a draft or an offer, and return its id."""
    kind, mint = document.kind, company.mint
    identity = mint.new_id()
    number = f"{kind.prefix}{company.next_number(kind.prefix)}"
    rate = exchange_rate(company, document.party.currency)
    own = {**ref(kind.collection, identity, number), "links": [link(f"invoicing/{kind.collection}/{identity}")]}
    body = {**own, **_common(company, document, rate), **_by_side(company, document, number, rate)}
    if kind.type is None:
        _settle_offer(document, body)
        company.insert(kind.collection, identity, body, document.at)
        document.party.documents += 1
        return identity
    artefact = _open_item(document, own, rate)
    if document.status == "DRAFT":
        body |= {"transaction": None, "transaction_type": transaction_type(kind.type)}
        body |= settlement_body(company, artefact) | {"status": status_ref("DRAFT")}
        company.insert(kind.collection, identity, body, document.at)
        document.party.documents += 1
        return identity
    transaction = post(company, _posting(company, document, artefact))
    artefact.transaction_id = transaction.id
    body |= {"transaction": transaction.ref, "transaction_type": transaction_type(kind.type)}
    company.insert(kind.collection, identity, body, document.at)
    register(company, artefact, document.at)
    return identity


def exchange_rate(company: Company, currency: str) -> Decimal:
    """Return what one unit of a currency costs in the base currency."""
    return Decimal(1) if currency == company.currency else FOREIGN_PRICES[company.currency][currency]


def inverse(rate: Decimal) -> Decimal:
    """Turn an exchange rate round, to Sage's ten places."""
    return (1 / rate).quantize(RATE_PLACES)


def annul(company: Company, artefact: Artefact, at: datetime, reason: str) -> None:
    """Void a document without payments: it stays in its list, its transaction is flagged as deleted."""
    artefact.gone = True
    void(company, artefact.transaction_id, at)
    company.book(artefact.collection).change(artefact.row_id, {"void_reason": reason, "editable": False}, at)
    refresh(company, artefact, at)


def remove(company: Company, artefact: Artefact, at: datetime) -> None:
    """Delete a document without payments: a tombstone stays, its transaction is flagged as deleted."""
    artefact.gone = True
    void(company, artefact.transaction_id, at)
    company.book(artefact.collection).delete(artefact.row_id, at)
    refresh(company, artefact, at)


def _open_item(document: Document, own: Body, rate: Decimal) -> Artefact:
    total = document.sums.total
    return Artefact(
        id=own["id"],
        collection=document.kind.collection,
        row_id=own["id"],
        shape="document",
        origin=own,
        party=document.party,
        side=document.kind.side,
        sign=document.kind.sign,
        day=document.at.date(),
        currency=document.party.currency,
        rate=rate,
        total=total,
        base_total=cents(total * rate),
        transaction_id="",
    )


def _posting(company: Company, document: Document, artefact: Artefact) -> Posting:
    kind = document.kind
    return Posting(
        type=str(kind.type),
        day=artefact.day,
        at=document.at,
        legs=_legs(company, document, artefact),
        reference=document.reference,
        origin=artefact.origin,
        contact=document.party.ref,
        total=artefact.base_total,
        total_in_currency=artefact.total,
        notional=_notional(document, artefact) if document.reverse_charged else None,
    )


def _notional(document: Document, artefact: Artefact) -> tuple[Decimal, bool]:
    """Work out the tax that no supplier charges; on a credit note it is negative."""
    lines = [line for line in document.lines if line.reverse_charge]
    tax = sum((cents(cents(line.net * artefact.rate) * line.rate.percentage / HUNDRED) for line in lines), ZERO)
    return artefact.sign * tax, document.imported


def _legs(company: Company, document: Document, artefact: Artefact) -> list[Leg]:
    """Post the total to the control account, tax to its account and each line to its own.

    Totals are converted as a whole and lines one by one, so the last line takes the pennies between them.
    """
    sales = document.kind.side == SALES
    direction = artefact.side * artefact.sign
    control = company.accounts[DEBTORS if sales else CREDITORS]
    tax = cents(document.sums.tax * artefact.rate)
    legs = [Leg(control, direction * artefact.base_total)]
    if tax:
        legs.append(Leg(company.accounts[SALES_TAX if sales else PURCHASE_TAX], -direction * tax))
    if document.reverse_charged and company.conventions.reverse_charge == "entries":
        notional, _ = _notional(document, artefact)
        legs += [Leg(company.accounts[PURCHASE_TAX], notional), Leg(company.accounts[SALES_TAX], -notional)]
    legs += [
        Leg(line.account, -direction * cents(line.net * artefact.rate), line.rate.ref, line.description)
        for line in document.lines[:-1]
    ]
    last = document.lines[-1]
    rest = -sum((leg.amount for leg in legs), ZERO)
    return [*legs, Leg(last.account, rest, last.rate.ref, last.description)]


def _settle_offer(document: Document, body: Body) -> None:
    """Estimates and quotes are never paid; their status has no path."""
    code = document.status or "UNPAID"
    nothing = ("payments_allocations_total_amount", "payments_allocations_total_discount", "total_paid")
    body.update(dict.fromkeys(nothing, "0.0"))
    shown = {"UNPAID": "Pending"}.get(code, status_ref(code)["displayed_as"])
    body["status"] = {"id": "PENDING" if code == "UNPAID" else code, "displayed_as": shown}


def _common(company: Company, document: Document, rate: Decimal) -> Body:
    """Write what documents of both sides share."""
    total, party = document.sums, document.party
    sale = document.kind.side == SALES
    return {
        "editable": document.status != "VOID",
        "vat_reverse_charge": document.reverse_charged and not document.imported,
        "contact": party.ref,
        "contact_name": party.name,
        "contact_reference": party.reference,
        "date": document.at.date().isoformat(),
        "reference": document.reference,
        "notes": document.notes,
        "total_quantity": big(total.quantity),
        "net_amount": big(total.net),
        "tax_amount": big(total.tax),
        "total_amount": big(total.total),
        "currency": currency_ref(party.currency),
        "exchange_rate": big(rate),
        "inverse_exchange_rate": big(inverse(rate)),
        "base_currency_net_amount": big(cents(total.net * rate)),
        "base_currency_tax_amount": big(cents(total.tax * rate)),
        "base_currency_total_amount": big(cents(total.total * rate)),
        f"{document.kind.stem}_lines": [line_body(company, line, rate, sale=sale) for line in document.lines],
        "tax_analysis": tax_analysis(document.lines),
        "detailed_tax_analysis": detailed_tax_analysis(document.lines, rate),
        "withholding_tax_rate": None,
        "withholding_tax_amount": None,
        "base_currency_withholding_tax_amount": None,
        "tax_reconciled": False,
    }


def _by_side(company: Company, document: Document, number: str, rate: Decimal) -> Body:
    """Write what depends on the kind of document."""
    kind = document.kind
    body = _sale(company, document, number, rate) if kind.side == SALES else _purchase(company, document, number, rate)
    if kind in (SALES_CORRECTIVE, PURCHASE_CORRECTIVE):
        return {**body, **_dated(document), "void_reason": None, **_corrected(document)}
    body["tax_address_region"] = _tax_region(company)
    if kind.type is None:
        return {**body, "expiry_date": _later(document), **_offer(document, rate)}
    body |= {**_cis(), "void_reason": None, "migrated": False}
    if kind.sign < 0:
        return {**body, "original_invoice_date": document.at.date().isoformat()}
    corrections: Body = {**_dated(document), "corrections": []}
    return body | corrections | (_invoice_extras(document, number) if kind.side == SALES else {})


def _later(document: Document) -> str:
    return (document.at.date() + CREDIT_DAYS).isoformat()


def _dated(document: Document) -> Body:
    return {"due_date": _later(document)}


def _invoice_extras(document: Document, number: str) -> Body:
    """Write what only sales invoices have; every tenth comes from a recurring one."""
    return {
        "recurring_invoice": _recurring(document) if number.endswith("0") else None,
        "original_quote_estimate": document.original,
        "delivery_performance_date": None,
        "pas_payment_submission": None,
        "links": [
            link(f"invoicing/sales_invoices/{number}"),
            {"href": f"https://pay.sandbox.example/{number}?k={'0' * 96}", "rel": "bookmark", "type": "text/html"},
        ],
    }


def _recurring(document: Document) -> Body:
    return {
        "id": str(document.at.toordinal()),
        "displayed_as": "Monthly",
        "links": [link(None)],
        "frequency": 1,
        "on_week_day": document.at.isoweekday(),
        "on_day_number": document.at.day,
        "recurrence_type": "MONTHLY",
        "recurrence_status_identifier": "ACTIVE",
    }


def _tax_region(company: Company) -> Body | None:
    return ref("address_regions", "CA-ON", "Ontario") if company.country == "CA" else None


def _cis() -> Body:
    """Write the keys of the construction industry scheme, empty as for every other industry."""
    amounts = ("cis_applicable_amount", "total_after_cis_deduction")
    nothing = dict.fromkeys((*amounts, *(f"base_currency_{name}" for name in amounts)))
    return {"is_cis": False, "has_cis_labour": False, "has_cis_materials": False, **nothing}


def _sale(company: Company, document: Document, number: str, rate: Decimal) -> Body:
    total, stem = document.sums, document.kind.stem
    shipping = {f"{base}shipping_{name}_amount": "0.0" for base in ("", "base_currency_") for name in _SHIPPED}
    return {
        "tax_calculation_method": None,
        "destination_consignment": False,
        "destination_vat_rates_in_use": False,
        f"{stem}_number_prefix": document.kind.prefix,
        f"{stem}_number": number,
        **document_addresses(company, document.party),
        "terms_and_conditions": "",
        **shipping,
        "shipping_tax_rate": company.profile.standard.ref,
        "shipping_tax_breakdown": [],
        "base_currency_shipping_tax_breakdown": [],
        "total_discount_amount": big(total.discount),
        "base_currency_total_discount_amount": big(cents(total.discount * rate)),
        "sent": document.status is None,
        "sent_by_email": False,
    }


_SHIPPED = ("net", "tax", "total")


def _purchase(company: Company, document: Document, number: str, rate: Decimal) -> Body:
    body: Body = {"vendor_reference": f"{document.party.reference}/{number}", "import": document.imported}
    if document.kind is PURCHASE_CORRECTIVE:
        return body
    tax = document.sums.tax
    canadian = company.country == "CA"
    return {
        **body,
        "total_itc_amount": big(tax) if canadian else None,
        "base_currency_total_itc_amount": big(cents(tax * rate)) if canadian else None,
        **dict.fromkeys(("total_itr_amount", "base_currency_total_itr_amount")),
        "postponed_accounting": document.imported,
        "vat_exempt_consignment": False,
        "part_recoverable": False,
        "tax_calculation_method": None,
    }


def _corrected(document: Document) -> Body:
    original = document.original or {}
    body: Body = {
        "original_invoice": original,
        "original_invoice_number": original.get("displayed_as"),
        "original_invoice_date": document.at.date().isoformat(),
    }
    if document.kind is SALES_CORRECTIVE:
        code = ref("corrective_reason_codes", "83", "Descuentos y bonificaciones")
        body |= {"corrective_reason_code": code, "details": ""}
    return body


def _offer(document: Document, rate: Decimal) -> Body:
    """Write what offers have besides: the invoice that came of them, and what would be earned."""
    lines = [_profit(line, rate) for line in document.lines]
    analysis = {"total": _total_profit(document, rate), "line_breakdown": lines}
    return {"profit_analysis": analysis, "invoice": document.original}


def _profit(line: Line, rate: Decimal) -> Body:
    cost = cents(line.item.cost * line.quantity) if line.item else ZERO
    return _margin(line.description, cost, cents(line.net * rate))


def _total_profit(document: Document, rate: Decimal) -> Body:
    costs = (cents(line.item.cost * line.quantity) for line in document.lines if line.item)
    return _margin("", sum(costs, ZERO), cents(document.sums.net * rate))


def _margin(description: str, cost: Decimal, sale: Decimal) -> Body:
    return {
        "description": description,
        "total_cost": big(cost),
        "total_sale": big(sale),
        "profit": big(sale - cost),
        "profit_percentage": big(cents((sale - cost) / sale * HUNDRED) if sale else ZERO),
    }
