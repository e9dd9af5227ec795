"""The examples on the pages of the finance models: a query, and its result on the demonstration's books."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = dict[str, Any]

PAGES = Path(__file__).parents[2] / "docs" / "models"
_EXAMPLE = re.compile(r'```sql title="(?P<title>[^"]+)"\n(?P<query>.*?)\n```\n\n(?P<answer>(?:\|.*\|\n)+)', re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A query on a page and the table below it."""

    page: Path
    title: str
    query: str
    answer: str


def examples() -> list[Example]:
    """Read the examples of all pages."""
    return [
        Example(page, found["title"], found["query"], found["answer"])
        for page in sorted(PAGES.glob("*.md"))
        for found in _EXAMPLE.finditer(page.read_text(encoding="utf-8"))
    ]


def write_answers(ask: Callable[[str], list[Record]]) -> None:
    """Renew the results on all pages.

    Args:
        ask: runs a query on the demonstration's books; each row is a map from column to value.
    """
    for example in examples():
        text = example.page.read_text(encoding="utf-8")
        begin = text.index(example.answer, text.index(example.query))
        answer = as_table(ask(example.query))
        example.page.write_text(f"{text[:begin]}{answer}{text[begin + len(example.answer) :]}", encoding="utf-8")


def as_table(rows: list[Record]) -> str:
    """Write rows as a table of Markdown; numbers stand at the right."""
    names = list(rows[0])
    marks = ["---:" if any(isinstance(row[name], int | Decimal) for row in rows) else "---" for name in names]
    lines = [names, *([_cell(row[name]) for name in names] for row in rows)]
    header, *body = [f"| {' | '.join(cells)} |\n" for cells in lines]
    return "".join([header, f"|{'|'.join(marks)}|\n", *body])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        exact = value.normalize()
        decimals = -int(exact.as_tuple().exponent)
        return f"{value:,.{max(decimals, 2)}f}"
    return str(value)
