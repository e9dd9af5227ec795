"""What is compared: each scenario runs its entrants in turns on one simulated Sage and gathers their figures."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.bench import Bench, Field, start
from benchmarks.contenders import STREAM_CLASSES, Command, Contender, SingerTap
from benchmarks.figures import Figures, lower_bound, record_set
from benchmarks.lists import BULK, FORTY, TWENTY_BUSINESSES
from benchmarks.sage import Books, Request, Sage
from benchmarks.waiting import latency, limits
from tap_sage_accounting import schemas

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM_MAPS: dict[str, dict[str, str | None]] = {
    "sales_invoices": {"reference_hash": "md5(str(reference))", "year": "str(date)[0:4]"},
    "contacts": {"email_hash": "md5(str(email))", "email": None},
    "ledger_entries": {"account_year": "str(date)[0:4]", "displayed_as": None},
}

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


# Memory, requests, equality


def memory(bench: Bench) -> None:
    """Peak memory at fifty thousand and at a million ledger entries."""
    for entries in (10_000, 50_000) if bench.quick else (50_000, 1_000_000):
        with Sage(Books("tiny", 1, entries)) as sage:
            long = Field(bench, sage, ("ledger_entries",))

            def figures(contender: Contender, long: Field = long) -> Figures:
                ran = long.run(contender)
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


def memory_of_invoices(bench: Bench) -> None:
    """Peak memory with 32 requests in flight whose pages are the largest that there are."""
    with Sage(Books("tiny" if bench.quick else "large", 4)) as sage:
        invoices = Field(bench, sage, ("sales_invoices", "purchase_invoices"), {"latency": 0.3})

        def figures(contender: Contender) -> Figures:
            ran = invoices.run(contender, concurrency=32)
            return {"peak_mb": ran.peak_mb, "cpu": ran.cpu, "wall": ran.seconds, "records": ran.records}

        what = f"{invoices.expected:,} invoices of four businesses, 32 requests in flight"
        entrants = {each.name: partial(figures, each) for each in bench.among("ours")}
        bench.interleave("memory of invoices", what, entrants, bench.runs)


def requests(bench: Bench) -> None:
    """Requests of a first run and of one after which nothing changed, beside the least that there could be."""
    with Sage(Books("tiny", TWENTY_BUSINESSES)) as sage, tempfile.TemporaryDirectory() as directory:
        forty = Field(bench, sage, FORTY)
        bound = lower_bound(sage.rows, FORTY, 200)

        def first(contender: Contender) -> Figures:
            ran = forty.run(contender, keep=Path(directory) / f"{contender.name}.jsonl")
            forty.check(ran)
            return _kinds(ran.requests, bound)

        def again(contender: Contender) -> Figures:
            state = Path(directory) / f"{contender.name}.state.json"
            state.write_bytes(_last_state(Path(directory) / f"{contender.name}.jsonl"))
            return _kinds(forty.run(contender, state=state).requests, bound)

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
                forty.check(forty.run(contender, keep=output, concurrency=concurrency))
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
    "memory_of_invoices": memory_of_invoices,
    "latency": latency,
    "limits": limits,
}
