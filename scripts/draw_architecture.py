"""Draw the diagram of the architecture page: the layers, and the lives of a record and of a token.

The layers are those that pyproject.toml has for import-linter, so the picture cannot differ from what is enforced.

uv run python scripts/draw_architecture.py            # exit code 1 if the diagram is out of date
uv run python scripts/draw_architecture.py --write
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIAGRAM = ROOT / "docs" / "assets" / "architecture.svg"
PACKAGE = "tap_sage_accounting"
LEFT, TOP, LABEL, BOX, HEIGHT, GAP = 12, 56, 110, 178, 50, 22
"""Pixels: the margins, the width of the layers' names, a station's width and height, the space between columns."""
THIN = 24
"""Pixels: the height of a layer without a station."""
STYLE = """\
text{font:11px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2933}
.title{font-size:14px;font-weight:600}
.layer{font-weight:600}
.path{font:600 10px ui-monospace,Menlo,Consolas,monospace;fill:#0b4f4a}
.token .path{fill:#5b3a00}
.band{fill:#f3f5f7;stroke:#d5dbe1}
.record rect{fill:#e0f2f1;stroke:#00897b}
.token rect{fill:#fff3d6;stroke:#c77700}
.record path{stroke:#00897b}
.token path{stroke:#c77700}
path{fill:none;stroke-width:1.5;marker-end:url(#tip)}
marker path{fill:#52606d;stroke:none;marker-end:none}"""
TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0 0 8 4 0 8z"/></marker>'
)


@dataclass(frozen=True, slots=True)
class Station:
    """A place in a life: its column, its module inside the package, and one or two lines on it."""

    column: int
    module: str
    happens: tuple[str, ...]


LIVES = {
    "record": (
        "The life of a record",
        (
            Station(0, "tap.py", ("A run begins: all reads", "in their order")),
            Station(0, "client.py", ("The plan of one read of", "one list of one business")),
            Station(0, "extraction/list_reader.py", ("Pages are requested", "ahead of their use")),
            Station(0, "api/http_client.py", ("A permit, a token, one GET;", "passing faults are retried")),
            Station(0, "api/pages.py", ("The page is checked", "and opened")),
            Station(0, "records/row_decoder.py", ("Rows become records as", "the schema says")),
            Station(1, "extraction/read.py", ("Deletions, missed rows;", "at the end the bookmark")),
            Station(1, "singer_stream.py", ("Stream maps; a RECORD", "message")),
            Station(2, "run/checkpoints.py", ("To the target; a STATE", "when one is due")),
        ),
    ),
    "token": (
        "The life of a token",
        (
            Station(3, "commands/login.py", ("A person gives consent", "in a browser")),
            Station(3, "auth/endpoint.py", ("Sage's code becomes", "the first tokens")),
            Station(3, "auth/store.py", ("Stored: one row for a", "token family")),
            Station(4, "api/http_client.py", ("A request needs an", "access token")),
            Station(4, "auth/manager.py", ("Still valid? Otherwise", "it is renewed")),
            Station(4, "auth/renewal.py", ("Under a lock: announced,", "sent once")),
            Station(4, "auth/database.py", ("The successor is stored", "before it is used")),
            Station(4, "auth/rescue.py", ("While the store fails, a", "file keeps it")),
        ),
    ),
}


def layers() -> list[list[str]]:
    """Return the layers of the tap from the top down, each with its modules."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    [contract] = [each for each in tools["importlinter"]["contracts"] if each.get("containers") == [PACKAGE]]
    return [layer.split(" | ") for layer in contract["layers"]]


def places(bands: list[list[str]]) -> tuple[list[int], dict[Station, tuple[int, int]]]:
    """Return where each layer begins, the end of the last one, and the upper left corner of each station."""
    stations = [station for _, life in LIVES.values() for station in life]
    tops, corners, top = [], {}, TOP
    for band in bands:
        own = [each for each in stations if each.module.removesuffix(".py").split("/")[0] in band]
        columns = [[each for each in own if each.column == column] for column in range(5)]
        height = max([THIN, *(len(column) * (HEIGHT + 8) + 8 for column in columns if column)])
        for column in columns:
            for row, each in enumerate(column):
                x = LEFT + LABEL + GAP + each.column * (BOX + GAP)
                corners[each] = x, top + 8 + row * (HEIGHT + 8)
        tops.append(top)
        top += height + 4
    if missing := [each.module for each in stations if each not in corners]:
        raise SystemExit(f"No layer of pyproject.toml holds {', '.join(missing)}.")
    return [*tops, top], corners


def arrow(begin: tuple[int, int], end: tuple[int, int]) -> str:
    """Draw an arrow from one station to the next: straight inside a column, otherwise through the space beside it."""
    (x, y), (next_x, next_y) = begin, end
    if x == next_x:
        middle = x + BOX // 2
        above = y < next_y
        return f'<path d="M{middle} {y + HEIGHT if above else y}V{next_y if above else next_y + HEIGHT}"/>'
    return f'<path d="M{x + BOX} {y + HEIGHT // 2}H{next_x - GAP // 2}V{next_y + HEIGHT // 2}H{next_x}"/>'


def station(number: int, each: Station, corner: tuple[int, int]) -> str:
    """Draw a station."""
    x, y = corner
    lines = [f'<text class="path" x="{x + 7}" y="{y + 15}">{number} {escape(each.module)}</text>']
    lines += [
        f'<text x="{x + 7}" y="{y + 29 + 14 * row}">{escape(text)}</text>' for row, text in enumerate(each.happens)
    ]
    return f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6"/>{"".join(lines)}'


def draw() -> str:
    """Draw the diagram."""
    bands = layers()
    tops, corners = places(bands)
    width, height = LEFT + LABEL + 5 * (BOX + GAP) + GAP + LEFT, tops[-1] + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        "<title>The layers of the tap, the life of a record and the life of a token</title>",
        f"<style>{STYLE}</style>",
        f"<defs>{TIP}</defs>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="34">The layers</text>',
    ]
    for band, top, end in zip(bands, tops, tops[1:], strict=False):
        parts += [
            f'<rect class="band" x="{LEFT}" y="{top}" width="{width - 2 * LEFT}" height="{end - top - 4}" rx="4"/>',
            *(
                f'<text class="layer" x="{LEFT + 10}" y="{top + 16 + 15 * row}">{text}</text>'
                for row, text in enumerate(wrapped(band, one_line=end - top - 4 == THIN))
            ),
        ]
    for kind, (title, life) in LIVES.items():
        drawn = [f'<text class="title" x="{corners[life[0]][0]}" y="34">{title}</text>']
        drawn += [arrow(corners[each], corners[after]) for each, after in pairwise(life)]
        drawn += [station(number, each, corners[each]) for number, each in enumerate(life, start=1)]
        parts.append(f'<g class="{kind}">{"".join(drawn)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def wrapped(names: list[str], *, one_line: bool) -> list[str]:
    """Write the modules of a layer: in one line where it is thin, otherwise below each other."""
    return [" · ".join(names)] if one_line else names


def main() -> int:
    """Write the diagram, or say whether it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="write it")
    drawn = draw()
    if parser.parse_args().write:
        DIAGRAM.write_text(drawn)
    elif not DIAGRAM.exists() or DIAGRAM.read_text() != drawn:
        print(f"{DIAGRAM.relative_to(ROOT)} is out of date: run scripts/draw_architecture.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
