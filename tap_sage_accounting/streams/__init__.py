"""The readable objects of Sage Accounting, one stream each, grouped as Sage's own reference groups them."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.streams import (
    analysis,
    attachments,
    banking,
    businesses,
    contacts,
    currencies,
    deletions,
    ledger,
    opening_balances,
    payments,
    products,
    purchases,
    reference,
    sales,
    settings,
    taxes,
    trial_balance,
)

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["STREAMS"]

_AREAS = (
    analysis,
    attachments,
    banking,
    businesses,
    contacts,
    currencies,
    deletions,
    ledger,
    opening_balances,
    payments,
    products,
    purchases,
    reference,
    sales,
    settings,
    taxes,
    trial_balance,
)


def _declared_in(area: ModuleType) -> list[type[SageStream]]:
    """List the streams that a module declares, without what it imports."""
    classes = [each for each in vars(area).values() if isinstance(each, type) and issubclass(each, SageStream)]
    return [each for each in classes if each.__module__ == area.__name__]


STREAMS = tuple(sorted(chain.from_iterable(map(_declared_in, _AREAS)), key=lambda stream: stream.name))
"""Every stream of the tap, in the order of their names."""
