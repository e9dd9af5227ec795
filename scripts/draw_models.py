"""Draw how the finance models join: a diagram of entities and relations for each area, as wide as a phone.

Everything in it comes from the models' descriptions. In light or dark, it follows the reader's system; on the site, the
site (`docs/assets/site.css`).

uv run python scripts/draw_models.py            # exit code 1 if a diagram is out of date
uv run python scripts/draw_models.py --write
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sage_workbench.marts import AREAS, JOINED, PREFIX, Mart, joins, marts

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSETS = Path(__file__).parent.parent / "docs" / "assets"
DRAWN = {"Ledger and statements": "ledger", "Receivables and payables": "items", "Sales, purchases and tax": "sales"}
"""The areas that have a diagram, and the name of its file."""
WIDTH, EDGE, BOX, ROW, HEAD, GAP, BUS = 346, 8, 206, 15, 21, 12, 30
"""Pixels: the whole, the margin, a box, a column's line, a model's name, the space below a box and between lines."""
STYLE = """\
.erd{--paper:#fff;--ink:#1f2933;--soft:#66727f;--box:#f5f7f9;--edge:#aab4be;\
--dim_businesses:#00796b;--dim_accounts:#1565c0;--dim_contacts:#b45309;--dim_products:#7b1fa2;--general_ledger:#52606d}
@media(prefers-color-scheme:dark){.erd{--paper:#1b1f24;--ink:#e4e7eb;--soft:#9aa5b1;--box:#262c33;--edge:#52606d;\
--dim_businesses:#4db6ac;--dim_accounts:#79b0f2;--dim_contacts:#f0a35e;--dim_products:#ce93d8;--general_ledger:#aab4be}}
.erd text{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:var(--soft)}
.erd .name,.erd .key{fill:var(--ink);font-weight:600}
.erd rect{fill:var(--box);stroke:var(--edge)}
.erd .paper{fill:var(--paper);stroke:none}
.erd path{fill:none;stroke:currentColor;stroke-width:1.3}
.erd circle{fill:currentColor}"""


@dataclass(frozen=True)
class Diagram:
    """The diagram of an area: joined models stepped at the top, a line down from each, and the others below.

    Attributes:
        area: the area.
        all_marts: every mart, by name.
        linked: whether names lead to the models' pages.
    """

    area: str
    all_marts: dict[str, Mart]
    linked: bool = False

    @cached_property
    def inside(self) -> list[Mart]:
        """The area's own marts, from the top down."""
        return [self.all_marts[name] for name in AREAS[self.area]]

    @cached_property
    def joined(self) -> list[Mart]:
        """What they join, by their lines from the left."""
        found = {each.name: each for mart in self.inside for each in joins(mart, self.all_marts)}
        return [found[name] for name in JOINED if name in found]

    @cached_property
    def outside(self) -> list[Mart]:
        """What they join of other areas."""
        return [each for each in self.joined if each not in self.inside]

    def line_of(self, mart: Mart) -> int:
        """Return where the line of a joined mart is, from the left."""
        return EDGE + BOX + 18 + BUS * self.joined.index(mart)

    def rows(self, mart: Mart) -> list[str]:
        """Return the columns that are shown: the key, and what joins others."""
        others = [name for each in joins(mart, self.all_marts) for name in each.key]
        return list(dict.fromkeys([*mart.key, *others]))

    @cached_property
    def tops(self) -> dict[str, int]:
        """Where each box begins."""
        found, top = {}, EDGE
        for mart in [*reversed(self.outside), *self.inside]:
            found[mart.name] = top
            shown = mart.key if mart in self.outside else self.rows(mart)
            top += HEAD + ROW * len(shown) + 6 + GAP
        return {**found, "": top}

    def middle(self, mart: Mart, column: str) -> int:
        """Return the height at which a column stands."""
        return self.tops[mart.name] + HEAD + ROW * self.rows(mart).index(column) + 7

    def draw(self) -> str:
        """Draw it."""
        height = self.tops[""]
        title = f"{self.area}: keys of the models, and what they join"
        role = "group" if self.linked else "img"
        size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="erd" {size} role="{role}" aria-label="{title}">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
            *(self._box(mart, list(mart.key), self.line_of(mart) + 12 - EDGE) for mart in self.outside),
            *(f'<g color="var(--{mart.name})">{"".join(self._lines(mart))}</g>' for mart in self.joined),
            *(self._box(mart, self.rows(mart), BOX) for mart in self.inside),
        ]
        return "\n".join([*parts, "</svg>", ""])

    def _box(self, mart: Mart, columns: list[str], width: int) -> str:
        top = self.tops[mart.name]
        name = f'<text class="name" x="{EDGE + 8}" y="{top + 15}">{PREFIX}{mart.name}</text>'
        if self.linked:
            name = f'<a href="../{mart.name}/">{name}</a>'
        lines = [
            f'<text class="{"key" if column in mart.key else "other"}" x="{EDGE + 8}" y="{y}">{column}</text>'
            for y, column in zip(count(top + HEAD + 11, ROW), columns, strict=False)
        ]
        height = HEAD + ROW * len(columns) + 6
        return f'<rect x="{EDGE}" y="{top}" width="{width}" height="{height}" rx="4"/>{name}{"".join(lines)}'

    def _lines(self, joined: Mart) -> Iterator[str]:
        """Draw the line of a joined mart, with a bar for one row and a fork for several."""
        x, column = self.line_of(joined), joined.key[-1]
        ends = [mart for mart in self.inside if joined in joins(mart, self.all_marts)]
        right = EDGE + BOX
        if joined in self.outside:
            top = self.tops[joined.name] + HEAD + ROW * len(joined.key) + 6
            yield f'<path d="M{x} {top}V{self.middle(ends[-1], column)}M{x - 4} {top + 5}h8"/>'
        else:
            top = self.middle(joined, column)
            yield f'<path d="M{right} {top}H{x}V{self.middle(ends[-1], column)}M{right + 5} {top - 4}v8"/>'
        for mart in ends:
            y = self.middle(mart, column)
            mark = f"M{right + 5} {y - 4}v8" if mart.key == joined.key else f"M{right} {y - 4}l9 4l-9 4"
            yield f'<path d="M{right} {y}H{x}{mark}"/><circle cx="{x}" cy="{y}" r="2.5"/>'


def diagrams(*, linked: bool = False) -> dict[Path, str]:
    """Draw all diagrams, by their files."""
    described = marts()
    return {ASSETS / f"models-{name}.svg": Diagram(area, described, linked).draw() for area, name in DRAWN.items()}


def main() -> int:
    """Write the diagrams, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="write them")
    drawn = diagrams()
    if parser.parse_args().write:
        for file, text in drawn.items():
            file.write_text(text)
        return 0
    stale = [file.name for file, text in drawn.items() if not file.exists() or file.read_text() != text]
    if stale:
        print(f"{', '.join(stale)} out of date: run scripts/draw_models.py --write")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
