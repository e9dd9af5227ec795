"""The lines of documents: what is sold or bought, at which price, with which tax, and the sums over them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sage_sandbox.books.values import HUNDRED, ZERO, cents

if TYPE_CHECKING:
    from decimal import Decimal

    from sage_sandbox.books.chart import Account
    from sage_sandbox.books.master_data import Item
    from sage_sandbox.books.places import TaxRate


@dataclass(frozen=True)
class Line:
    """One line: net is quantity times price less discount, rounded to the penny; tax is rounded on each line.

    Under the reverse charge the line shows the rate, and no tax.
    """

    description: str
    item: Item | None
    account: Account
    quantity: Decimal
    unit_price: Decimal
    discount_percentage: Decimal
    rate: TaxRate
    reverse_charge: bool = False
    discount: Decimal = field(init=False)
    net: Decimal = field(init=False)
    tax: Decimal = field(init=False)

    def __post_init__(self) -> None:
        gross = self.quantity * self.unit_price
        discount = cents(gross * self.discount_percentage / HUNDRED) if self.discount_percentage else ZERO
        net = cents(gross) - discount
        tax = cents(net * self.rate.percentage / HUNDRED) if self.rate.percentage and not self.reverse_charge else ZERO
        for name, amount in (("discount", discount), ("net", net), ("tax", tax)):
            object.__setattr__(self, name, amount)

    @property
    def total(self) -> Decimal:
        """The line with its tax."""
        return self.net + self.tax

    @property
    def is_service(self) -> bool:
        """Whether the line is for a service."""
        return self.item is not None and self.item.kind == "SERVICE"


def under_reverse_charge(lines: tuple[Line, ...], rate: TaxRate) -> tuple[Line, ...]:
    """Let the tax of purchased lines be the buyer's to account for, at this rate."""
    return tuple(replace(line, rate=rate, reverse_charge=True) for line in lines)


@dataclass(frozen=True)
class Sums:
    """The totals of a document; in base currency each total is converted as a whole."""

    net: Decimal
    tax: Decimal
    discount: Decimal
    quantity: Decimal

    @property
    def total(self) -> Decimal:
        """Net and tax."""
        return self.net + self.tax


def sums(lines: tuple[Line, ...]) -> Sums:
    """Add the lines up."""
    return Sums(
        net=sum((line.net for line in lines), ZERO),
        tax=sum((line.tax for line in lines), ZERO),
        discount=sum((line.discount for line in lines), ZERO),
        quantity=sum((line.quantity for line in lines), ZERO),
    )
