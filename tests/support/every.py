"""One test for many of a kind, which shares what is expensive; a failure names which of them."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

    Thing = TypeVar("Thing")


def each(
    things: Iterable[Thing], name: Callable[[Thing], str] = str
) -> Callable[[Callable[[Thing], None]], Callable[[pytest.Subtests], None]]:
    """Make a test of a check that is done for each of some things.

    Args:
        things: what to check.
        name: names one of them in a failure.
    """

    def decorate(check: Callable[[Thing], None]) -> Callable[[pytest.Subtests], None]:
        def test(subtests: pytest.Subtests) -> None:
            for thing in things:
                with subtests.test(name(thing)):
                    check(thing)

        update_wrapper(test, check)
        del test.__wrapped__  # type: ignore[attr-defined] # where pytest would look for fixtures
        return test

    return decorate
