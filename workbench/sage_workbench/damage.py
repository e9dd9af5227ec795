"""What may happen to a state between two runs, by accident or by hand."""

from __future__ import annotations

import base64
import copy
import zlib
from typing import TYPE_CHECKING, Any

from sage_workbench.plain_books import key
from tap_sage_accounting.run import packed_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[Any, ...]
BAD: tuple[Any, ...] = (
    None,
    "",
    "yesterday",
    "1e400",
    "2099-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "!!!",
    base64.b85encode(b"no zlib at all").decode(),
    base64.b85encode(zlib.compress(b"abc" * 999)[:-7]).decode(),
    packed_ids.pack({key(1), key(2)})[:-4],
    "x" * 100_000,
    "\x1b[31mRun finished\n",
    0,
    -1,
    1e308,
    True,
    [],
    {},
    [{}],
    {"context": {}},
)
"""What may stand in the place of any part of a state."""


def paths_of(part: Any, path: Path = ()) -> Iterator[Path]:
    """List the places in a state, from the outside to the inside."""
    inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, value in inside:
        yield (*path, name)
        yield from paths_of(value, (*path, name))


def replaced(state: Any, path: Path, value: Any) -> Any:
    state = copy.deepcopy(state)
    part = state
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = copy.deepcopy(value)
    return state
