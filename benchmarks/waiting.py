"""What waiting costs: answers that take their time, and limits that refuse, in real seconds and minutes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.bench import Bench, Field
from benchmarks.figures import TOO_MANY_REQUESTS, Figures, in_flight, refused_share, waiting_bound
from benchmarks.lists import FORTY, TWENTY_BUSINESSES, TWO_HUNDRED_BUSINESSES
from benchmarks.sage import Books, Sage

if TYPE_CHECKING:
    from benchmarks.contenders import Contender

LEDGER = ("ledger_entries",)
HALF_A_MINUTE = 30.0


@dataclass(frozen=True)
class Waiting:
    """Lists whose answers take their time.

    Attributes:
        what: the businesses and their lists, in words.
        latencies: seconds that an answer takes, one after the other.
    """

    what: str
    books: Books
    streams: tuple[str, ...]
    latencies: tuple[float, ...]


WAITING = (
    Waiting("1 business, 1 list of 50 pages", Books(businesses=1, ledger_entries=10_000), LEDGER, (0.3, 1.0)),
    Waiting(
        "20 businesses, 4 lists of 1 to 5 pages each",
        Books(businesses=TWENTY_BUSINESSES, ledger_entries=1_000),
        ("contacts", "ledger_entries", "sales_invoices", "transactions"),
        (0.3, 1.0),
    ),
    Waiting("2 businesses, 1 list of 40 pages each", Books(businesses=2, ledger_entries=8_000), LEDGER, (0.3,)),
    Waiting("20 businesses, 40 lists each", Books(businesses=TWENTY_BUSINESSES), FORTY, (0.0, 0.3)),
    Waiting(
        "200 businesses, 2 lists each",
        Books(businesses=TWO_HUNDRED_BUSINESSES),
        ("contacts", "ledger_entries"),
        (0.3,),
    ),
)


def latency(bench: Bench) -> None:
    """Wall time where every answer takes 300 ms or a second."""
    for waiting in WAITING[:1] if bench.quick else WAITING:
        with Sage(waiting.books) as sage:
            for seconds in waiting.latencies:
                _wait(bench, Field(bench, sage, waiting.streams, {"latency": seconds}), seconds, waiting.what)


def _wait(bench: Bench, slow: Field, seconds: float, what: str) -> None:
    def figures(contender: Contender, concurrency: int) -> Figures:
        ran = slow.run(contender, concurrency=concurrency)
        slow.check(ran)
        return {
            "wall": ran.seconds,
            "bound": waiting_bound(len(ran.requests), concurrency, seconds),
            "requests": len(ran.requests),
            "in_flight": in_flight(ran.requests),
        }

    title = f"latency {seconds * 1000:.0f} ms, {what}"
    described = f"{what}, every answer takes {seconds * 1000:.0f} ms; 8 in flight unless said otherwise"
    several = {each.name: partial(figures, each, 8) for each in bench.among("ours", "dlt", "airbyte")}
    wide = {f"{each.name} x32": partial(figures, each, 32) for each in bench.among("ours")}
    bench.interleave(title, described, several | wide, bench.runs)
    # One request at a time: minutes of the same.
    bench.interleave(title, described, {each.name: partial(figures, each, 1) for each in bench.among("template")}, 1)


@dataclass(frozen=True)
class Limit:
    """A limit of the simulated Sage, and lists with a record a page that use it up several times.

    Attributes:
        title: the limit in words.
        pages: requests that bring a record, of each business.
        switches: how the simulated Sage refuses.
        minutes: minutes after which a client should have found the limit.
        businesses: how many have these pages each.
    """

    title: str
    pages: int
    switches: dict[str, Any] = field(default_factory=dict)
    minutes: float = 2.0
    businesses: int = 1


def _limits(title: str, limit: int, length: float, pages: int, *windows: str) -> list[Limit]:
    return [
        Limit(
            f"{title}, {window}, {'without' if retry_after == 'absent' else 'with'} Retry-After",
            pages,
            {"rate_limit": limit, "minute": length, "rate_window": window, "retry_after": retry_after},
            2 * length / 60,
        )
        for window in windows
        for retry_after in ("seconds", "absent")
    ]


LIMITS = (
    Limit(
        "2 % refused at random, no limit",
        1_500,
        {"script": [{"path": "ledger_entries", "what": 429, "every": 50}]},
        0.0,
    ),
    *_limits("60 a minute", 60, 60.0, 300, "sliding"),
    *_limits("100 a minute", 100, 60.0, 500, "sliding", "fixed", "bucket"),
    *_limits("900 a minute", 900, 60.0, 3_600, "sliding"),
    *_limits("60 in 6 seconds", 60, 6.0, 1_200, "sliding"),
    *_limits("10 a second", 10, 1.0, 1_500, "sliding"),
    Limit(
        "60 a minute for each business",
        240,
        {"rate_limit": 60, "rate_limit_per": "business", "retry_after": "seconds"},
        businesses=5,
    ),
)


def limits(bench: Bench) -> None:
    """Wall time and refusals of everybody under limits of all kinds, side by side, as all they do is wait."""
    with ThreadPoolExecutor(len(LIMITS)) as threads:
        list(threads.map(partial(_limit, bench), LIMITS[1:2] if bench.quick else LIMITS))


def _limit(bench: Bench, limit: Limit) -> None:
    with Sage(Books(businesses=limit.businesses, ledger_entries=limit.pages)) as sage:
        limited = Field(bench, sage, LEDGER, {"latency": 0.1, **limit.switches})

        def figures(contender: Contender) -> Figures:
            if limit.switches.get("rate_window") == "fixed":
                _wait_for_the_middle_of_a_minute()
            ran = limited.run(contender, page_size=1, tolerate=True)
            return {
                "wall": ran.seconds,
                "requests": len(ran.requests),
                "refused": sum(each.status == TOO_MANY_REQUESTS for each in ran.requests),
                "refused_once_settled": refused_share(ran.requests, 60.0, after=limit.minutes),
                "records_missing": limited.expected - ran.records,
            }

        bench.interleave(
            f"limit: {limit.title}",
            f"{limited.expected} pages of one record; every answer takes 100 ms; 8 in flight",
            {each.name: partial(figures, each) for each in bench.among("ours", "template", "dlt", "airbyte")},
            bench.runs,
        )


def _wait_for_the_middle_of_a_minute() -> None:
    """Let each run begin at the same second of the simulated Sage's minute, which decides the first wait."""
    time.sleep((HALF_A_MINUTE - time.monotonic()) % 60)
