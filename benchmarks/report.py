"""The figures: a JSON file with every run, and a table of medians and ratios for the documentation."""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.bench import Result

Kept = dict[str, Any]

COLUMNS = {
    "ours": "this tap",
    "template": "SDK template tap",
    "dlt": "dlt",
    "airbyte": "airbyte-cdk",
    "bare": "bare loop",
}
SHOWN = (
    ("cpu", "cpu_per_100k", "CPU per 100,000 records", "{:.2f} s"),
    ("cpu", "cpu_beyond_start_per_100k", "CPU per 100,000 records beyond start-up", "{:.2f} s"),
    ("cpu_mapped", "cpu_per_100k", "CPU per 100,000 records, stream maps and selection in use", "{:.2f} s"),
    ("startup --version", "wall", "start-up (`--version`)", "{:.2f} s"),
    ("startup --discover", "wall", "discovery (`--discover`)", "{:.2f} s"),
    ("startup smallest run", "wall", "smallest run", "{:.2f} s"),
    ("latency", "wall", "wall time", "{:.1f} s"),
    ("latency", "bound", "least that waiting takes", "{:.1f} s"),
    ("limit:", "wall", "wall time", "{:.0f} s"),
    ("limit:", "refused", "requests refused", "{:.0f}"),
    ("limit:", "refused_once_settled", "refused once the limit is known", "{:.1%}"),
    ("limit:", "records_missing", "records missing at the end", "{:.0f}"),
    ("memory", "peak_mb", "peak memory", "{:.0f} MB"),
    ("requests", "requests", "requests", "{:.0f}"),
    ("requests", "lower_bound", "lower bound (records / 200 a list)", "{:.0f}"),
    ("equality", "different", "records that differ", "{:.0f}"),
)
"""Scenario (or how its name begins), figure, what it is, how it is written."""
COMPARED = ("CPU", "start-up", "discovery", "smallest", "wall", "peak")
"""Figures of which the others' are also shown as multiples of ours."""
BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def machine() -> dict[str, Any]:
    """Describe the machine that the figures come from."""
    model = re.search(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def keep(path: Path, results: Mapping[str, Result]) -> Kept:
    """Put results into the file, beside those of scenarios that did not run this time."""
    kept: Kept = json.loads(path.read_text()) if path.exists() else {"scenarios": {}}
    kept["machine"] = machine()
    for title, result in results.items():
        kept["scenarios"][title] = {
            "what": result.what,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": os.getloadavg()[0],
            "medians": result.medians,
            "runs": result.runs,
            "failures": result.failures,
        }
    _take_off_start_up(kept["scenarios"])
    path.write_text(json.dumps(kept, indent=1) + "\n")
    return kept


def _take_off_start_up(scenarios: dict[str, Any]) -> None:
    """Return what the records alone cost: the CPU of a run less that of the smallest run."""
    smallest = scenarios.get("startup smallest run", {}).get("medians", {})
    for entrant, figures in scenarios.get("cpu", {}).get("medians", {}).items():
        if entrant in smallest:
            beyond = figures["cpu"] - smallest[entrant]["cpu"]
            figures["cpu_beyond_start_per_100k"] = beyond / figures["records"] * 100_000


def table(kept: Kept) -> str:
    """Write the medians as a markdown table; in brackets, how many times this tap's figure it is."""
    lines = [f"| | {' | '.join(COLUMNS.values())} |", f"|---|{'---|' * len(COLUMNS)}"]
    for title, scenario in kept["scenarios"].items():
        for figure, label, style in _figures_of(title):
            lines += _rows(title, scenario, figure, label, style)
    machine = kept["machine"]
    runs = {len(runs) for scenario in kept["scenarios"].values() for runs in scenario["runs"].values()}
    foot = (
        f"Medians of {min(runs)} to {max(runs)} runs in turns, on {machine['cores']} cores ({machine['processor']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}), client and "
        "simulated Sage together."
    )
    return "\n".join([*lines, "", foot, ""])


def _figures_of(title: str) -> list[tuple[str, str, str]]:
    return [(figure, label, style) for scenario, figure, label, style in SHOWN if _covers(scenario, title)]


def _covers(scenario: str, title: str) -> bool:
    return title == scenario or title.startswith((f"{scenario} ", f"{scenario},"))


def _rows(title: str, scenario: dict[str, Any], figure: str, label: str, style: str) -> list[str]:
    """Write one row for each way in which the entrants ran: usually one, but also `ours x32`."""
    ways: dict[str, dict[str, float]] = {}
    failures: set[tuple[str, str]] = set()
    is_told = not scenario["medians"] or any(figure in figures for figures in scenario["medians"].values())
    for entrant in (*scenario["medians"], *scenario["failures"]):
        name, _, way = re.sub(r"[ ,]+", " ", entrant).partition(" ")
        figures = scenario["medians"].get(entrant, {})
        if entrant in scenario["failures"] and is_told:
            failures.add((name, way))
            ways.setdefault(way, {})
        elif figure in figures:
            ways.setdefault(way, {})[name] = figures[figure]
    base = ways.get("", {})
    rows = []
    for way, values in ways.items():
        compared = base | values if way else values
        cells = [
            "failed" if (name, way) in failures else _cell(name, compared, style, multiples=label.startswith(COMPARED))
            for name in COLUMNS
        ]
        name = ", ".join(filter(None, (_plain(title), way.replace("x", "") + " in flight" if way[:1] == "x" else way)))
        rows.append(f"| {name}{': ' if name else ''}{label} | {' | '.join(cells)} |")
    return rows


def _plain(title: str) -> str:
    """Leave out of a scenario's name what its figures say anyway."""
    return {"cpu": "no latency", "cpu_mapped": "no latency"}.get(title, "" if title.startswith("startup") else title)


def _cell(name: str, values: Mapping[str, float], style: str, *, multiples: bool) -> str:
    if name not in values:
        return ""
    value, ours = values[name], values.get("ours")
    if name == "ours" or not multiples or not ours:
        return style.format(value)
    return f"{style.format(value)} ({value / ours:.1f} times)"


def has_marks(page: Path) -> bool:
    """Return whether there is a place for the table."""
    text = page.read_text()
    return BEGIN in text and END in text


def write(page: Path, table: str, begin: str = BEGIN, end: str = END) -> None:
    """Put the table between its marks."""
    text = page.read_text()
    before, _, rest = text.partition(begin)
    page.write_text(f"{before}{begin}\n\n{table}\n{end}{rest.partition(end)[2]}")
