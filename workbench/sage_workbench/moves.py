"""What may happen between and during the runs of the randomised test."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from sage_sandbox.faults import Fault
from tap_sage_accounting.api import outages
from tap_sage_accounting.extraction import list_reader
from tap_sage_accounting.transport import adapter as http_adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

State = Any

STREAMS = ("contacts", "ledger_entries", "sales_quotes", "stock_movements", "products")
"""One of each kind: deletions reported, rows flagged, changes reported only, nothing reported, in two lists."""
BUSINESSES = 2
"""Businesses with these lists; one more has a ledger, whose trial balance must follow it."""


SETTINGS = st.fixed_dictionaries(
    {
        "lookback_window": st.sampled_from((0, 300)),
        "page_size": st.sampled_from((2, 3, 200)),
        "concurrency": st.sampled_from((1, 8)),
        "deletion_sweep_days": st.sampled_from((0, 7)),
        "idle_business_hours": st.sampled_from((0, 24)),
    }
)

# In the books


@dataclass(frozen=True)
class Deed:
    """Something that is done to a row of a list, so many seconds after what was done before."""

    what: str
    place: int
    row: int
    seconds: int


DEEDS = st.builds(
    Deed,
    st.sampled_from(
        ("insert", "edit", "edit late", "spoil", "delete", "replace", "post", "post", "move", "move late", "void")
    ),
    st.integers(0, len(STREAMS) * BUSINESSES - 1),
    st.integers(0, 30),
    st.integers(0, 2),
)
PAIR = "\U0001f600"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
KEPT_AS_SENT = {"Ann \\ud83d": '"Ann \\ud83d"', "Caf\\xe9": '"Caf\xe9"', "NaN": "NaN"}
"""Kept text -> the bytes that Sage sends, which cannot be decoded: half a pair, Latin-1, NaN."""


def misspelled(text: str, way: int) -> tuple[str, str]:
    """Change a text, and spell it as JSON does not: raw tab, pair in halves, byte order mark.

    Returns:
        What is to arrive, and the bytes that Sage sends.
    """
    text += ("\t", PAIR, "")[way % 3]
    halves = b"".join(chr(each).encode("utf-8", "surrogatepass") for each in (0xD83D, 0xDE00))
    raw = f'"{text}"'.encode().replace(PAIR.encode(), halves)
    return text, ((b"", b"", BYTE_ORDER_MARK)[way % 3] + raw).decode("latin-1")


# Between Sage and the run

HABITS = st.fixed_dictionaries(
    {
        "tombstones": st.sampled_from(("full", "dated_id", "id_only")),
        "short_pages": st.sampled_from((None, None, 2)),
        "next_present": st.booleans(),
    }
)
"""How Sage responds where that is not known of the real one."""
LISTED = (*STREAMS, "transactions", "trial_balance", "businesses")
ENDLESS = ("endless", "bomb", "drip", "interim", "early_hints", "first_page", "same_page")
CUT = ("cut", "cut_chunks", "cut_gzip", "cut_unframed")
FAULTS = st.builds(
    lambda path, what, times, skip: Fault(path, what, times=times, skip=skip, seconds=0.002, megabytes=2),
    st.sampled_from(LISTED),
    st.sampled_from((403, 404, 429, 500, 503, "drop", *CUT, "html", "no_items", "empty_page", *ENDLESS)),
    st.sampled_from((1, 3, 8, None)),
    st.integers(0, 4),
)
REFUSALS = (403, 404)
"""The statuses by which Sage itself refuses a list."""
FOREIGN = st.builds(
    lambda path, answer, times, skip, every, param: Fault(
        path, answer[0], by=answer[1], times=times, skip=skip, every=every, param=param
    ),
    st.sampled_from((*LISTED, "*/*", "[!t]*")),
    st.sampled_from(
        ((403, "firewall"), (404, "firewall"), (404, "gateway"), (404, "nobody"), (200, "gateway"), (302, "firewall"))
    ),
    st.sampled_from((1, 3, 8, 30, None)),
    st.integers(0, 4),
    st.integers(1, 3),
    st.sampled_from((None, None, "deleted_since")),
)
"""Responses in Sage's place: on single paths, on all, on the paths of records, on lists of deletions."""
LIES: tuple[dict[str, Any], ...] = (
    {"$total": None},
    {"$total": None, "$next": None},
    {"$total": 1},
    {"$total": 10**15},
    {"$next": None},
    {"$next": "/list?page=1"},
    {"$page": None},
    {"$itemsPerPage": 0},
    {"$itemsPerPage": 10**9},
)
LIARS = st.builds(
    lambda path, lie, times, skip: Fault(path, "envelope", envelope=lie, times=times, skip=skip),
    st.sampled_from(LISTED),
    st.sampled_from(LIES),
    st.sampled_from((1, 3, None)),
    st.integers(0, 4),
)
STORMS = st.builds(
    lambda what, lasts, skip: Fault("[!t]*", what, times=None, lasts=lasts, skip=skip, retry_after=0),
    st.sampled_from((429, 503)),
    st.sampled_from((0.1, 0.5, 3.0)),
    st.integers(0, 20),
)
"""Refusals of everything but tokens and the trial balance, for less and for more than the patience of a second."""
MINUTE = 0.3
"""Seconds for which a limit of requests holds here."""
LOST = ("subscription", "rights")
"""What a business may lose for a run."""


@contextmanager
def bounds_that_are_soon_reached() -> Iterator[None]:
    """Let responses be too long after half a second, too large from a megabyte on, lists fruitless after seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_adapter, "LONGEST_EXCHANGE", 0.5)
        patch.setattr(http_adapter, "LARGEST_RESPONSE", 1 << 20)
        patch.setattr(list_reader, "MAX_SECONDS_WITHOUT_ROWS", 2.0)
        patch.setattr(outages, "LIMIT_WINDOW", MINUTE)
        yield


# Clocks


@dataclass(frozen=True)
class Clocks:
    """What is wrong with the clocks during a run: with Sage's, in seconds, or with this machine's; never with both."""

    sage: tuple[float, ...] = ()
    own: float = 0.0
    header: str = "time"


CLOCKS = st.sampled_from(
    (
        Clocks(),
        Clocks(),
        Clocks(sage=(2 * 3600.0,)),
        Clocks(sage=(-2 * 3600.0,)),
        Clocks(sage=(0.0, 420.0, -300.0)),
        Clocks(sage=(45 * 86400.0,)),
        Clocks(own=2 * 3600.0),
        Clocks(own=-2 * 3600.0),
        Clocks(own=365 * 86400.0),
        Clocks(header="absent"),
        Clocks(header="garbled"),
        Clocks(header="unset"),
    )
)


# The state on its way from one run to the next


def _as_airbyte(state: State) -> State:
    bookmarks = state["bookmarks"]
    if not isinstance(bookmarks, dict) or not bookmarks:
        return state
    states = [{"stream_descriptor": {"name": name}, "stream_state": each} for name, each in bookmarks.items()]
    return {"state": [{"type": "STREAM", "stream": each} for each in states]}


FORMS: dict[str, Callable[[State], State]] = {
    "as it is": lambda state: state,
    "as meltano state get prints it": lambda state: {"singer_state": state},
    "as Meltano stores it": lambda state: {"completed": {"singer_state": state}, "partial": {}},
    "as Meltano's database has it": lambda state: {
        "completed_state": json.dumps({"singer_state": state}),
        "partial_state": None,
    },
    "as its message": lambda state: {"type": "STATE", "value": state},
    "as Airbyte hands it over": _as_airbyte,
}
