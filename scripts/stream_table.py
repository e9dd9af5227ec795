#!/usr/bin/env python
"""Print the README's list of streams by area, or bring the README up to date with ``--write``.

The list is made from the stream declarations alone, so it cannot say anything that the tap does not do.
"""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- streams:begin -->"
END = "<!-- streams:end -->"

LEGEND = """\
- *Replication*: *incremental* streams are read by change since their bookmark on `updated_at`; *full* ones whole, each
  time.
- *Deletions*: *reported* means that Sage lists what was deleted. *Flagged* rows stay and are marked. *Missing* rows
  vanish, and the tap finds them. *None*: the API has no way to delete them.
- *Rights*: the areas of Sage's user rights of which one must be open to the user who signed in.
- *Offered in*: the editions and countries that have it, where not all of Start, Standard and Plus in CA, GB and IE.
- *Selected*: whether the stream is selected by default, and the job that reads it."""

LEFT_OUT = {
    "tax_determinations": "works out the tax rate of one document line from parameters and holds no records of its own",
    "tax_returns/obligation_periods": "is answered to a POST request only, and this tap never writes",
}


def deletions(stream: type[SageStream]) -> str:
    """Name in a word or two how a deletion in Sage is found."""
    if stream.deleted_since:
        return "reported"
    if stream.deletion_flag:
        return f"flagged `{stream.deletion_flag}`"
    return "missing" if stream.deletable else "none"


def rights(stream: type[SageStream]) -> str:
    """Name the areas of which one must be open to the user, and the level where reading is not enough."""
    if not stream.areas:
        return "everybody"
    areas = " or ".join(stream.areas)
    return f"{areas} (full access)" if stream.full_access else areas


def offered_in(stream: type[SageStream]) -> str:
    """Name the editions and countries where they are fewer or others than usual."""
    limits = [
        ", ".join(own)
        for own, usual in ((stream.editions, SageStream.editions), (stream.countries, SageStream.countries))
        if own != usual
    ]
    return "; ".join(limits) or "all"


def selected(stream: type[SageStream]) -> str:
    """Name the job that reads the stream by default; no where none does."""
    if not stream.selected_by_default:
        return "no"
    return "daily" if stream.static else "hourly"


def by_area() -> list[tuple[str, list[type[SageStream]]]]:
    """Group the streams by their areas, which are the modules that declare them."""

    def area(stream: type[SageStream]) -> str:
        return stream.__module__.rpartition(".")[2].replace("_", " ").capitalize()

    return [(name, list(streams)) for name, streams in groupby(sorted(STREAMS, key=area), key=area)]


def code(names: Iterable[str]) -> str:
    """Set names as code, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def table_row(*cells: str) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def markdown() -> str:
    """Return everything that stands between the README's markers: a row for each area."""
    rows = [("Area", "Streams"), ("---", "---")]
    for area, streams in by_area():
        names = (f"`{stream.name}`" if stream.selected_by_default else f"*`{stream.name}`*" for stream in streams)
        rows.append((area, ", ".join(names)))
    return "\n".join(["", *(table_row(*cells) for cells in rows), ""])


def with_table(text: str, table: str) -> str:
    """Return the text with what stands between the markers replaced by the table.

    Raises:
        ValueError: when the text does not carry both markers, the beginning before the end.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"There is no place for the table: write {BEGIN} and {END} where it belongs.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or write it into the README."""
    parser = argparse.ArgumentParser(description="Generate the table of streams from their declarations.")
    parser.add_argument("--write", action="store_true", help="replace the table in the README instead of printing it")
    parser.add_argument("--readme", type=Path, default=README, help="the file that carries the markers")
    options = parser.parse_args(arguments)
    if not options.write:
        sys.stdout.write(markdown() + "\n")
        return 0
    try:
        text = with_table(options.readme.read_text("utf-8"), markdown())
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{options.readme}: {problem}\n")
        return 1
    options.readme.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
