"""What is compared: each scenario runs its entrants in turns on one simulated Sage and gathers their figures."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import CONTENDERS, STREAM_CLASSES, Command, Contender, Job, SingerTap
from benchmarks.environments import PROJECT
from benchmarks.figures import (
    TOO_MANY_REQUESTS,
    Figures,
    in_flight,
    lower_bound,
    medians,
    reading_seconds,
    record_set,
    refused_share,
    settled_share,
)
from benchmarks.sage import Books, Request, Sage
from tap_sage_accounting import schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger("benchmarks")

BULK = ("sales_invoices", "contacts", "ledger_entries")
FORTY = (
    "address_types",
    "addresses",
    "artefact_statuses",
    "attachments",
    "bank_account_types",
    "bank_accounts",
    "bank_deposits",
    "bank_opening_balances",
    "bank_reconciliations",
    "bank_transfers",
    "catalog_item_types",
    "coa_accounts",
    "contact_allocations",
    "contact_opening_balances",
    "contact_payments",
    "contact_persons",
    "contact_types",
    "contacts",
    "countries",
    "currencies",
    "journals",
    "ledger_account_opening_balances",
    "ledger_account_types",
    "ledger_accounts",
    "ledger_entries",
    "opening_balance_journals",
    "other_payments",
    "payment_methods",
    "purchase_credit_notes",
    "purchase_invoices",
    "purchase_quick_entries",
    "sales_credit_notes",
    "sales_estimates",
    "sales_invoices",
    "sales_quick_entries",
    "sales_quotes",
    "tax_rates",
    "tax_types",
    "transaction_types",
    "transactions",
)
"""Lists that everybody reads with the same requests: none of which only this tap reads the inactive records, too."""
TWENTY_BUSINESSES = 26
"""Businesses to found so that twenty are in countries where all forty lists exist."""
STREAM_MAPS: dict[str, dict[str, str | None]] = {
    "sales_invoices": {"reference_hash": "md5(str(reference))", "year": "str(date)[0:4]"},
    "contacts": {"email_hash": "md5(str(email))", "email": None},
    "ledger_entries": {"account_year": "str(date)[0:4]", "displayed_as": None},
}
PATIENCE = 900.0
"""Seconds after which a run counts as failed."""
UNLIMITED = 0.5
"""A minute so short that the published ceiling of requests, which would make a long run last minutes, is not felt."""


@dataclass
class Result:
    """The outcome of one scenario: for each entrant the figures of its runs."""

    what: str
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, Figures]:
        """The medians, by entrant."""
        return {entrant: medians(runs) for entrant, runs in self.runs.items() if runs}


@dataclass
class Bench:
    """The contenders and how thoroughly to compare them.

    Attributes:
        scratch: where environments stay and runs leave what they write.
        runs: how often each entrant runs.
        quick: smaller books and fewer runs, to see that everything works.
        names: the contenders that take part.
    """

    scratch: Path
    runs: int
    quick: bool
    names: tuple[str, ...]
    results: dict[str, Result] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the environments."""
        self.contenders: dict[str, Contender] = {
            kind.name: kind(self.scratch) for kind in CONTENDERS if kind.name in self.names
        }

    def among(self, *names: str) -> list[Contender]:
        """Choose those of these that take part."""
        return [self.contenders[name] for name in names if name in self.contenders]

    def interleave(self, title: str, what: str, entrants: Mapping[str, Callable[[], Figures]], runs: int) -> None:
        """Let each entrant run in turn, again and again, and keep the figures; one that fails is out."""
        result = self.results.setdefault(title, Result(what))
        for turn in range(runs):
            for name, entrant in entrants.items():
                if name in result.failures:
                    continue
                try:
                    figures = entrant()
                except RunFailedError as error:
                    result.failures[name] = str(error)
                    log.warning("%s: %s failed: %s", title, name, error)
                    continue
                result.runs.setdefault(name, []).append(figures)
                shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                log.info("%s, %d of %d: %s: %s", title, turn + 1, runs, name, shown)


class RunFailedError(RuntimeError):
    """A run ended with an error; the message is the end of what it wrote to standard error."""


@dataclass(frozen=True)
class Ran:
    """What a run cost and what it asked."""

    code: int
    seconds: float
    cpu: float
    peak_mb: float
    records: int
    requests: list[Request] = field(default_factory=list)


def start(command: Command, directory: Path, *, keep: bool = False, tolerate: bool = False) -> Ran:
    """Run a command through the small program that measures it.

    Raises:
        RunFailedError: it ended with an error, and that is not tolerated.
    """
    order = {
        "command": command.line,
        "environment": command.environment,
        "directory": str(directory),
        "keep": keep,
        "timeout": PATIENCE,
    }
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-S", "-E", str(PROJECT / "benchmarks" / "measure.py")],
        input=json.dumps(order).encode(),
        check=True,
        stdout=subprocess.PIPE,
    )
    ran = Ran(**json.loads(done.stdout))
    if ran.code != 0 and not tolerate:
        raise RunFailedError((directory / "stderr").read_text(errors="replace")[-600:].strip())
    return ran


@dataclass
class Field:
    """A simulated Sage and the lists of it that are read, the same for every entrant."""

    bench: Bench
    sage: Sage
    streams: tuple[str, ...]
    faults: dict[str, Any] = field(default_factory=dict)

    def run(self, contender: Contender, *, keep: Path | None = None, tolerate: bool = False, **job: Any) -> Ran:
        """Let a contender read everything once, in a directory that is thrown away."""
        address = self.sage.open(self.faults)
        directory = Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=self.bench.scratch))
        try:
            work = Job(directory, address, tuple(self.sage.rows), self.streams, **job)
            ran = start(contender.command(work), directory, keep=keep is not None, tolerate=tolerate)
            if keep is not None:
                shutil.move(directory / "stdout", keep)
            records = ran.records or _rows_loaded(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return Ran(ran.code, ran.seconds, ran.cpu, ran.peak_mb, records, self.sage.requests())

    @property
    def expected(self) -> int:
        """How many records there are to read."""
        return sum(lists.get(name, 0) for lists in self.sage.rows.values() for name in self.streams)

    def check(self, ran: Ran) -> None:
        """Refuse figures of a run that did not bring everything.

        Raises:
            RunFailedError: records are missing, or too many.
        """
        if ran.records != self.expected:
            raise RunFailedError(f"{ran.records} records instead of {self.expected}")


def _rows_loaded(directory: Path) -> int:
    """Count the rows of JSON-lines files that dlt left, without those of the tables that it makes of lists in rows."""
    import gzip  # noqa: PLC0415

    rows = 0
    for file in directory.glob("rows/sage/*/*.jsonl*"):
        if not file.parent.name.startswith("_") and "__" not in file.parent.name:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
                rows += sum(1 for _ in lines)
    return rows


# CPU


def cpu(bench: Bench) -> None:
    """CPU seconds per 100,000 records: invoices, contacts and ledger entries as businesses have them."""
    with Sage(Books("demo" if bench.quick else "large", 3)) as sage:
        plain = Field(bench, sage, BULK)

        def figures(contender: Contender, **job: Any) -> Figures:
            ran = plain.run(contender, **job)
            plain.check(ran)
            return {
                "cpu_per_100k": ran.cpu / ran.records * 100_000,
                "cpu": ran.cpu,
                "wall": ran.seconds,
                "peak_mb": ran.peak_mb,
                "records": ran.records,
            }

        everybody = bench.among("ours", "template", "dlt", "airbyte", "bare")
        bench.interleave(
            "cpu",
            f"{plain.expected:,} invoices, contacts and ledger entries of three businesses, no latency",
            {each.name: partial(figures, each) for each in everybody},
            bench.runs,
        )
        job = {"stream_maps": STREAM_MAPS, "deselected": _every_third_column()}
        bench.interleave(
            "cpu_mapped",
            "the same with stream maps on all three, and a third of the columns deselected",
            {each.name: partial(figures, each, **job) for each in bench.among("ours", "template")},
            bench.runs,
        )


def _every_third_column() -> dict[str, list[str]]:
    """Choose columns to leave out, the same for all, and none that a stream map uses."""
    used = {"business_id", "id", "path", "updated_at", "additional_attributes", "reference", "date", "email"}
    return {
        name: [column for column in schemas.load(name, ())["properties"] if column not in used][::3] for name in BULK
    }


def startup(bench: Bench) -> None:
    """Start-up: the command's help, the catalog, and a run that reads one small list."""
    with Sage(Books("tiny")) as sage:
        small = Field(bench, sage, ("contacts",))

        def bare_start(contender: SingerTap, argument: str) -> Figures:
            command = Command([*contender.tap.line, argument], contender.tap.environment)
            ran = start(command, Path(tempfile.mkdtemp(dir=bench.scratch)))
            return {"wall": ran.seconds, "cpu": ran.cpu, "peak_mb": ran.peak_mb}

        def smallest_run(contender: Contender) -> Figures:
            ran = small.run(contender)
            small.check(ran)
            return {"wall": ran.seconds, "cpu": ran.cpu, "peak_mb": ran.peak_mb}

        taps = [each for each in bench.among("ours", "template") if isinstance(each, SingerTap)]
        runs = max(5, bench.runs)
        for argument in ("--version", "--discover"):
            bench.interleave(
                f"startup {argument}",
                f"`{argument}` of the taps, {len(STREAM_CLASSES)} streams",
                {each.name: partial(bare_start, each, argument) for each in taps},
                runs,
            )
        bench.interleave(
            "startup smallest run",
            f"a whole run that reads {small.expected} contacts",
            {each.name: partial(smallest_run, each) for each in bench.contenders.values()},
            runs,
        )


# Waiting


def latency(bench: Bench) -> None:
    """Wall time where every answer takes 0, 300 and 1,000 ms: twenty businesses, and fifty pages of one."""
    waits = ((0.0, FORTY), (0.3, FORTY[:4] if bench.quick else FORTY), (1.0, FORTY[: 1 if bench.quick else 4]))
    with Sage(Books("tiny", TWENTY_BUSINESSES)) as sage:
        for seconds, streams in waits:
            _wait(bench, sage, streams, seconds, f"{len(sage.rows)} businesses, {len(streams)} lists each")
    with Sage(Books("tiny", 1, 10_000)) as sage:
        for seconds in (0.0, 0.3) if bench.quick else (0.0, 0.3, 1.0):
            _wait(bench, sage, ("ledger_entries",), seconds, "1 business, 1 list of 50 pages")


def _wait(bench: Bench, sage: Sage, streams: tuple[str, ...], seconds: float, what: str) -> None:
    slow = Field(bench, sage, streams, {"latency": seconds})

    def figures(contender: Contender, concurrency: int) -> Figures:
        ran = slow.run(contender, concurrency=concurrency)
        slow.check(ran)
        return {
            "wall": ran.seconds,
            "reading": reading_seconds(ran.requests),
            "requests": len(ran.requests),
            "refused": sum(each.status == TOO_MANY_REQUESTS for each in ran.requests),
            "in_flight": in_flight(ran.requests),
        }

    wide = {f"{each.name} x32": partial(figures, each, 32) for each in bench.among("ours")}
    bench.interleave(
        f"latency {seconds * 1000:.0f} ms, {what}",
        f"{what}, every answer takes {seconds * 1000:.0f} ms; 8 in flight unless said otherwise",
        {
            **{each.name: partial(figures, each, 8) for each in bench.among("ours", "template", "dlt", "airbyte")},
            **wide,
        },
        bench.runs,
    )


# Limits


@dataclass(frozen=True)
class Limit:
    """A limit of the simulated Sage, with a minute that takes `minute` seconds.

    `retry_after` is how a refusal says when to come back, `minutes` how many of them a run should last.
    """

    per_minute: int
    minute: float
    retry_after: str
    minutes: int = 7
    per: str = "app"
    businesses: int = 1

    @property
    def faults(self) -> dict[str, Any]:
        """The switches."""
        return {
            "rate_limit": self.per_minute,
            "minute": self.minute,
            "retry_after": self.retry_after,
            "rate_limit_per": self.per,
        }

    @property
    def title(self) -> str:
        """A name."""
        header = "without Retry-After" if self.retry_after == "absent" else "with Retry-After"
        return f"limit {self.per_minute} a minute per {self.per}, {header}"


SETTLING = 2
"""Minutes after which a limiter should have found the limit."""


def limits(bench: Bench) -> None:
    """Wall time and refusals under limits of a scaled-down minute, where a record is a page."""
    waiting = [Limit(rate, 6.0, retry_after) for rate in (60, 100) for retry_after in ("fraction", "absent")]
    busy = [] if bench.quick else [Limit(900, 10.0, retry_after, minutes=6) for retry_after in ("fraction", "absent")]
    for group in (waiting, *([each] for each in busy)):
        with ThreadPoolExecutor(len(group)) as threads:
            list(threads.map(partial(_limit, bench), group))
    _limit_per_business(bench)
    _limit_for_all(bench)


def _limit(bench: Bench, limit: Limit) -> None:
    with Sage(Books("tiny", 1, limit.per_minute * limit.minutes)) as sage:
        limited = Field(bench, sage, ("ledger_entries",), limit.faults)
        bench.interleave(
            limit.title,
            f"one list, a record a page, {limited.expected} pages; a minute takes {limit.minute:.0f} s",
            {each.name: partial(_limited, limited, limit, each) for each in bench.among("ours")},
            bench.runs,
        )


def _limited(limited: Field, limit: Limit, contender: Contender) -> Figures:
    ran = limited.run(contender, page_size=1, minute=limit.minute)
    limited.check(ran)
    share = settled_share(ran.requests, limit.per_minute * limit.businesses, limit.minute, SETTLING)
    return {
        "wall": ran.seconds,
        "requests": len(ran.requests),
        "refused": sum(each.status == TOO_MANY_REQUESTS for each in ran.requests),
        "refused_share_after_first_minute": refused_share(ran.requests, limit.minute),
        **({} if share is None else {"settled_share_of_limit": share}),
    }


def _limit_per_business(bench: Bench) -> None:
    """Compare what twenty businesses, each with a limit of its own, bring with what one brings."""
    one = Limit(40, 12.0, "fraction", minutes=5, per="business")
    twenty = Limit(40, 12.0, "fraction", minutes=5, per="business", businesses=20)
    with ExitStack() as stack:
        entrants: dict[str, Callable[[], Figures]] = {}
        for limit, founded in ((one, 1), (twenty, TWENTY_BUSINESSES)):
            sage = stack.enter_context(Sage(Books("tiny", founded, limit.per_minute * limit.minutes)))
            limited = Field(bench, sage, ("ledger_entries",), limit.faults)
            for each in bench.among("ours"):
                entrants[f"{each.name}, {limit.businesses} businesses"] = partial(_business_limited, limited, each)
        bench.interleave(
            "limit 40 a minute per business",
            f"one list of each business, a record a page; a minute takes {one.minute:.0f} s",
            entrants,
            1 if bench.quick else bench.runs,
        )


def _business_limited(limited: Field, contender: Contender) -> Figures:
    ran = limited.run(contender, page_size=1, minute=limited.faults["minute"])
    limited.check(ran)
    return {
        "wall": ran.seconds,
        "records_per_second": ran.records / reading_seconds(ran.requests),
        "refused_share": refused_share(ran.requests, limited.faults["minute"], after=0),
    }


def _limit_for_all(bench: Bench) -> None:
    """Show what the others do about a limit; their own waits are not scaled down."""
    limit = Limit(100, 12.0, "seconds", minutes=4)
    with Sage(Books("tiny", 1, limit.per_minute * limit.minutes)) as sage:
        limited = Field(bench, sage, ("ledger_entries",), limit.faults)

        def figures(contender: Contender) -> Figures:
            ran = limited.run(contender, page_size=1, minute=limit.minute, tolerate=True)
            return {
                "wall": ran.seconds,
                "requests": len(ran.requests),
                "refused": sum(each.status == TOO_MANY_REQUESTS for each in ran.requests),
                "records_missing": limited.expected - ran.records,
            }

        bench.interleave(
            "limit 100 a minute per app, everybody",
            f"one list, a record a page, {limited.expected} pages; a minute takes {limit.minute:.0f} s",
            {each.name: partial(figures, each) for each in bench.among("ours", "template", "dlt", "airbyte")},
            1 if bench.quick else bench.runs,
        )


# Memory, requests, equality


def memory(bench: Bench) -> None:
    """Peak memory at fifty thousand and at a million ledger entries."""
    for entries in (10_000, 50_000) if bench.quick else (50_000, 1_000_000):
        with Sage(Books("tiny", 1, entries)) as sage:
            long = Field(bench, sage, ("ledger_entries",))

            def figures(contender: Contender, long: Field = long) -> Figures:
                ran = long.run(contender, minute=UNLIMITED)
                long.check(ran)
                return {"peak_mb": ran.peak_mb, "cpu": ran.cpu, "wall": ran.seconds, "records": ran.records}

            many = entries > 100_000  # noqa: PLR2004 - where the others take minutes
            others = bench.among("template") if many else bench.among("template", "dlt", "airbyte")
            title, what = f"memory {entries:,}", f"{long.expected:,} ledger entries of one business"
            bench.interleave(title, what, {each.name: partial(figures, each) for each in bench.among("ours")}, 1)
            bench.interleave(title, what, {each.name: partial(figures, each) for each in others}, 1)
            bench.interleave(
                title, what, {each.name: partial(figures, each) for each in bench.among("ours")}, bench.runs - 1
            )


def requests(bench: Bench) -> None:
    """Requests of a first run and of one after which nothing changed, beside the least that there could be."""
    with Sage(Books("tiny", TWENTY_BUSINESSES)) as sage, tempfile.TemporaryDirectory() as directory:
        forty = Field(bench, sage, FORTY)
        bound = lower_bound(sage.rows, FORTY, 200)

        def first(contender: Contender) -> Figures:
            ran = forty.run(contender, keep=Path(directory) / f"{contender.name}.jsonl", minute=UNLIMITED)
            forty.check(ran)
            return _kinds(ran.requests, bound)

        def again(contender: Contender) -> Figures:
            state = Path(directory) / f"{contender.name}.state.json"
            state.write_bytes(_last_state(Path(directory) / f"{contender.name}.jsonl"))
            return _kinds(forty.run(contender, state=state, minute=UNLIMITED).requests, bound)

        everybody = bench.among("ours", "template", "dlt", "airbyte")
        what = f"{len(sage.rows)} businesses, 40 lists each, {forty.expected:,} records"
        bench.interleave("requests, first run", what, {each.name: partial(first, each) for each in everybody}, 1)
        taps = bench.among("ours", "template")
        bench.interleave("requests, nothing changed", what, {each.name: partial(again, each) for each in taps}, 1)


def _kinds(asked: list[Request], bound: int) -> Figures:
    """Count requests by what they are for."""
    kinds = Counter(
        "businesses"
        if each.business is None
        else "deletions"
        if "deleted_since" in each.params
        else "records"
        if "/" in each.name
        else "pages"
        for each in asked
    )
    return {"requests": len(asked), "lower_bound": bound, **kinds}


def _last_state(output: Path) -> bytes:
    last = b"{}"
    with output.open("rb") as lines:
        for line in lines:
            if line.startswith((b'{"type":"STATE"', b'{"type": "STATE"')):
                last = json.dumps(json.loads(line)["value"]).encode()
    return last


def equality(bench: Bench) -> None:
    """The records of a run with eight requests in flight, byte for byte beside those of a run with one."""
    with Sage(Books("demo", TWENTY_BUSINESSES)) as sage, tempfile.TemporaryDirectory() as directory:
        forty = Field(bench, sage, FORTY)

        def compare(contender: Contender) -> Figures:
            sets = []
            for concurrency in (1, 8):
                output = Path(directory) / f"{concurrency}.jsonl"
                forty.check(forty.run(contender, keep=output, concurrency=concurrency, minute=UNLIMITED))
                with output.open("rb") as lines:
                    sets.append(record_set(lines))
            alone, together = sets
            different = (alone - together) + (together - alone)
            return {"records": alone.total(), "different": different.total()}

        bench.interleave(
            "equality",
            f"{forty.expected:,} records of {len(sage.rows)} businesses, concurrency 1 beside 8",
            {each.name: partial(compare, each) for each in bench.among("ours")},
            1 if bench.quick else bench.runs,
        )


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "startup": startup,
    "cpu": cpu,
    "requests": requests,
    "equality": equality,
    "memory": memory,
    "latency": latency,
    "limits": limits,
}
