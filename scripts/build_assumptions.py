#!/usr/bin/env python
"""Write the page "What we know of Sage" from `tap_sage_accounting/assumptions.toml`.

uv run python scripts/build_assumptions.py            # exit code 1 if the page is out of date
uv run python scripts/build_assumptions.py --write
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tap_sage_accounting.assumptions import GRADES, Assumption, assumptions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "development" / "sage.md"
HEAD = """\
# What we know of Sage

What the tap assumes of Sage's API, how certain that is, and what the tap does where Sage behaves otherwise.
Each fact has an id, which comments in the code and messages name. The [simulated Sage](decisions/sandbox.md) has
switches for {switched} of the {all}. The tests run the tap with each switch both ways. The others are about the content
of records, which tests change. [The
doctor](../start/first-hour.md#2-the-doctor) checks them on an account; [its reports](reports.md) become changes of this
page.

The page is made of `tap_sage_accounting/assumptions.toml`: edit that, then `just fix`.
"""
TOPICS = {
    "requests": "Requests",
    "tokens": "Tokens",
    "limits": "Limits",
    "pages": "Pages",
    "businesses": "The list of businesses",
    "records": "Records",
    "changes": "Changes",
    "deletions": "Deletions",
    "rights": "Rights and editions",
    "ledger": "The ledger",
}
"""Headings of the topics."""


def page() -> str:
    """Write the whole page."""
    facts = assumptions().values()
    head = HEAD.format(all=len(facts), switched=sum(bool(each.switches) for each in facts))
    return "\n".join([head, *_grades(), *_facts()])


def _grades() -> Iterator[str]:
    facts = assumptions().values()
    yield "| Grade | Known from | Facts |"
    yield "|---|---|---|"
    for grade, meaning in GRADES.items():
        yield f"| {grade} | {meaning[0].upper()}{meaning[1:]} | {sum(each.grade == grade for each in facts)} |"
    yield ""


def _facts() -> Iterator[str]:
    for topic, facts in groupby(assumptions().values(), key=lambda each: each.topic):
        yield f"## {TOPICS[topic]}"
        yield ""
        for fact in facts:
            yield from _fact(fact)


def _fact(fact: Assumption) -> Iterator[str]:
    yield f"### `{fact.id}`"
    yield ""
    yield f"{fact.statement}"
    yield ""
    yield f"- Known: **{fact.grade}**. {fact.source}"
    yield f"- Otherwise: {fact.otherwise}"
    if fact.switches:
        yield f"- Simulated by: {', '.join(f'`{each}`' for each in fact.switches)}"
    if fact.code:
        yield f"- In the code: {', '.join(f'`{each}`' for each in fact.code)}"
    yield f"- Looking at an account: {fact.undecidable or 'decides it.'}"
    yield ""


@click.command()
@click.option("--write", is_flag=True, help="Renew the page instead of reporting that it is stale.")
def main(*, write: bool) -> None:
    """Hold the page together with the assumptions."""
    renewed = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == renewed:
        return
    if write:
        PAGE.write_text(renewed, encoding="utf-8")
    click.echo(f"{'Renewed' if write else 'Stale'}: {PAGE.relative_to(ROOT)}")
    if not write:
        click.echo("Run: uv run python scripts/build_assumptions.py --write", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
