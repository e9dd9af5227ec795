"""The readable objects of Sage Accounting, one stream each; each module is an area of Sage's own reference."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tap_sage_accounting.client import SageStream

__all__ = ["STREAMS"]


def _declared_in(area: str) -> list[type[SageStream]]:
    """List the streams that a module of this package declares, without what it imports."""
    module = import_module(f"{__name__}.{area}")
    classes = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, SageStream)]
    return [each for each in classes if each.__module__ == module.__name__]


STREAMS = tuple(
    sorted(
        (stream for area in iter_modules(__path__) for stream in _declared_in(area.name)), key=lambda each: each.name
    )
)
"""Every stream of the tap, in the order of their names."""
