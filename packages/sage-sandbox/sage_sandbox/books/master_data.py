"""Whom a business trades with, in what, and through which bank accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sage_sandbox.books.values import ZERO, ref

if TYPE_CHECKING:
    from decimal import Decimal

    from sage_sandbox.books.chart import Account
    from sage_sandbox.books.places import TaxRate
    from sage_sandbox.store import Body


@dataclass
class Party:
    """A customer or supplier, and the base-currency balance of what is open between us."""

    id: str
    name: str
    reference: str
    customer: bool
    currency: str
    city: tuple[str, str, str]
    street: str
    address_id: str
    person_id: str
    active: bool = True
    documents: int = 0
    balance: Decimal = ZERO

    @property
    def ref(self) -> Body:
        """The contact as documents refer to it."""
        return ref("contacts", self.id, f"{self.name} ({self.reference})")


@dataclass(frozen=True)
class Item:
    """A product, service or stock item that lines can sell or buy."""

    id: str
    kind: str
    description: str
    price: Decimal
    cost: Decimal
    rate: TaxRate

    @property
    def ref(self) -> Body:
        """The item as lines refer to it: stock items pass for products there."""
        return ref("services" if self.kind == "SERVICE" else "products", self.id, self.description)


@dataclass
class Bank:
    """A bank account; `balance` is in its own currency."""

    id: str
    account: Account
    currency: str
    balance: Decimal = ZERO

    @property
    def ref(self) -> Body:
        """The bank account as payments refer to it."""
        return ref("bank_accounts", self.id, self.account.ref["displayed_as"])
