"""Lists of the streams by area, made from their declarations alone: they say nothing that the tap does not do."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """Write the README's list: a row for each area."""
    rows = [("Area", "Streams"), ("---", "---")]
    for area, streams in by_area():
        names = (f"`{stream.name}`" if stream.selected_by_default else f"*`{stream.name}`*" for stream in streams)
        rows.append((area, ", ".join(names)))
    return "\n".join(["", *(table_row(*cells) for cells in rows), ""])


def stream_list() -> str:
    """Write the list of all streams, and what the words in it mean. It links to schemas; the site leads to pages."""
    chosen = sum(stream.selected_by_default for stream in STREAMS)
    lines = ["## All streams", "", f"{len(STREAMS)} streams, {chosen} of them selected by default.", ""]
    for area, streams in by_area():
        lines += [f"### {area}", "", "| Stream | What it is | Replication | Deletions |", "|---|---|---|---|"]
        for stream in streams:
            link = f"[`{stream.name}`](../../tap_sage_accounting/schemas/{stream.name}.json)"
            cells = (link, sentence(stream), replication(stream), deletions(stream))
            lines.append(table_row(*cells))
        lines.append("")
    lines += ["## What the words mean", "", LEGEND, "", "## Left out", ""]
    lines += [f"- `{path}` {reason}." for path, reason in LEFT_OUT.items()]
    return "\n".join(lines)


def sentence(stream: type[SageStream]) -> str:
    """Give the sentence that says what a stream is."""
    return (stream.__doc__ or "").strip()


def replication(stream: type[SageStream]) -> str:
    """Name how a stream is read."""
    return "incremental" if stream.changed_since else "full"
