"""A bounded memory of things that are costly to make again."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sized

T = TypeVar("T", bound="Sized")


class Shelf(Generic[T]):
    """Keeps what was used last, as long as the lengths of all that is kept stay within `capacity`."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._weight = 0
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Give what is kept under the key, made now if it is not there."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        thing = make()
        self._kept[key] = thing
        self._weight += len(thing) + 1
        while self._weight > self._capacity and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._weight -= len(dropped) + 1
        return thing
