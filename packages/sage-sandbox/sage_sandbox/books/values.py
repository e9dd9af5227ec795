"""How Sage writes what it keeps: decimals as text, references, identifiers, links."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sage_sandbox.store import Body

ZERO = Decimal(0)
PENNY = Decimal("0.01")
RATE_PLACES = Decimal("0.0000000001")
HUNDRED = Decimal(100)


def cents(amount: Decimal) -> Decimal:
    """Round to two places, halves away from zero, as tax offices do."""
    return amount.quantize(PENNY, rounding=ROUND_HALF_UP)


def big(amount: Decimal) -> str:
    """Write a decimal as Ruby's BigDecimal does, the style of nearly all of Sage's responses: `10.0`, `-0.25`."""
    whole, _, fraction = f"{amount:f}".partition(".")
    text = f"{whole}.{fraction.rstrip('0') or '0'}"
    return "0.0" if text == "-0.0" else text


def plain(amount: Decimal) -> str:
    """Write a decimal as the trial balance does: `0`, `400`, `594.9`."""
    return big(amount).removesuffix(".0")


def ref(path: str, identity: str, displayed_as: str | None) -> Body:
    """Point at a record of another list: its id, how it is shown, and where it can be read."""
    return {"id": identity, "displayed_as": displayed_as, "$path": f"/{path}/{identity}"}


def link(path: str | None) -> Body:
    """Name the page of the web application that shows a record; Sage gives null where there is none."""
    href = None if path is None else f"https://accounts-extra.sandbox.example/{path}"
    return {"href": href, "rel": "alternate", "type": "text/html"}


def dice(*seed: object) -> Random:
    """Make a source of chance that gives the same for the same seed, in every process and on every machine."""
    return Random("/".join(map(str, seed)))  # noqa: S311


class Mint:
    """Makes identifiers, one after the other, from a seed."""

    def __init__(self, *seed: object) -> None:
        self._bits = dice("mint", *seed).getrandbits

    def new_id(self) -> str:
        """Make a record's id: 32 hexadecimal digits."""
        return f"{self._bits(128):032x}"

    def new_guid(self) -> str:
        """Make an id with dashes, as attachments have."""
        digits = self.new_id()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
