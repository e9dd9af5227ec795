#!/usr/bin/env python
"""Load the simulated Sage into the targets of meltano.yml, compare with the books, and print or write a table of it.

In a fresh copy of the project, as somebody new would, `meltano run` loads all streams of six businesses; Meltano
installs the targets as meltano.yml pins them. Then three days pass, and a second run loads what changed, with columns
that the first had not; where that fails, another one loads what changed without them. Everything is compared again,
deletions included, which Sage reports by their id only. A target that fails otherwise is named, and the others go on.
target-snowflake and target-bigquery load into emulators; all else is their own code.

python -m scripts.check_targets --write
python -m scripts.check_targets --only target-postgres,target-jsonl
python -m scripts.check_targets --given 'target-duckdb=./target_duckdb-0.9.0-py3-none-any.whl duckdb==2.0.0'
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.environments import PROJECT, environment
from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from sage_workbench import emulators
from sage_workbench.embedded_postgres import postgres_server
from sage_workbench.landing import AMOUNTS, KINDS, compare, filled, landing, put_amounts
from sage_workbench.pipeline import Books
from sage_workbench.target_project import ALSO, EMULATED, ENTRANTS, Entrant, MeltanoError, Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sage_workbench.landing import Landing, Outcome

DAYS = 3
"""Days of business between the two runs."""
PAGE = PROJECT / "docs" / "platforms" / "targets.md"
BEGIN, END = "<!-- targets:begin -->", "<!-- targets:end -->"
HEADS = ("Target", "Rows lost", "Values changed", "Amounts exact", "Deletions", "New column")


def check(project: Project, entrants: Sequence[Entrant], failures: list[str]) -> Iterator[Landing]:
    """Load everything, let days pass, load what changed; compare after each.

    Args:
        project: the copy of the project.
        entrants: the targets, and how each is used.
        failures: takes the names of those that failed.
    """
    first = Books.of(project.server)
    outcomes: list[tuple[Entrant, Outcome]] = []
    for entrant in entrants:
        with noted(entrant, failures):
            if not entrant.is_loaded:
                project.install(entrant.loader)
                project.load(entrant)
            outcomes.append((entrant, compare(first, None, entrant.read(project, entrant)[1])))
            sys.stderr.write(f"{entrant}: {outcomes[-1][1]}\n")
    project.server.advance(DAYS)
    second = Books.of(project.server)
    for entrant, outcome in outcomes:
        with noted(entrant, failures):
            takes_columns = entrant.is_loaded or load_more(project, entrant)
            columns, rows = entrant.read(project, entrant)
            parts = ((stream, name, part) for (stream, name), part in project.properties.items())
            found = landing(f"{project.versions(entrant)}{entrant.settings_of_tap}", parts, columns)
            found.outcomes += (outcome, compare(second, first, rows))
            found.filled, found.takes_columns = filled(rows), takes_columns
            sys.stderr.write(f"{found.target}: {found.outcomes[1]}, {found.filled} filled\n")
            yield found


def load_more(project: Project, entrant: Entrant) -> bool:
    """Load what changed, with columns that the tables have not; without these, where that fails.

    Returns:
        Whether it was loaded with them.
    """
    try:
        project.load(entrant, reference_ids=True)
    except MeltanoError as error:
        sys.stderr.write(f"{entrant}, with new columns: {error}\n")
        project.load(entrant)
        return False
    return True


@contextmanager
def noted(entrant: Entrant, failures: list[str]) -> Iterator[None]:
    """Take down that a target failed, and go on with the next one."""
    try:
        yield
    except (MeltanoError, RuntimeError) as error:
        failures.append(f"{entrant.label}{entrant.settings_of_tap}")
        sys.stderr.write(f"{failures[-1]}: {error}\n")


def results(landings: Sequence[Landing]) -> str:
    """Write what was found as Markdown."""
    lines = [row(HEADS), row("---" for _ in HEADS)]
    for each in landings:
        first, second = each.outcomes
        lines.append(
            row(
                (
                    each.target,
                    f"{first.missing:,} and {second.missing:,}",
                    f"{first.changed:,} and {second.changed:,}",
                    f"{first.amounts} of {len(AMOUNTS)}",
                    deletions(second),
                    new_column(each),
                )
            )
        )
    text = (
        f"The books have {landings[0].outcomes[0].expected:,} rows at the first run and "
        f"{landings[0].outcomes[1].expected:,} at the second; {landings[0].outcomes[1].deleted} were deleted between."
    )
    return "\n".join([*lines, "", text, ""])


def new_column(landing: Landing) -> str:
    """Say how a column that came with the second run was loaded."""
    if not landing.takes_columns:
        return "**the load fails**"
    return "wrong" if landing.filled is None else f"filled in {landing.filled}" if landing.filled else "**absent**"


def deletions(outcome: Outcome) -> str:
    """Say what became wrong with rows that are deleted."""
    faults = {"not marked": outcome.unmarked, "**emptied**": outcome.emptied}
    return ", ".join(f"{count} {fault}" for fault, count in faults.items() if count) or "marked, all else kept"


def types(landings: Sequence[Landing]) -> str:
    """Write the columns' types as Markdown."""
    heads = ("Target", "Columns lost", *(kind.capitalize() for kind in KINDS))
    lines = [row(heads), row("---" for _ in heads)]
    cells = (
        (each.target, str(each.columns_lost), *(", ".join(each.types[kind]) for kind in KINDS)) for each in landings
    )
    return "\n".join([*lines, *map(row, cells)])


def row(cells: Iterator[str] | Sequence[str]) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Check all targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="loaders, separated by commas (all of meltano.yml)")
    parser.add_argument("--given", action="append", default=[], help="NAME=REQUIREMENTS of a target that no index has")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(PROJECT)}")
    options = parser.parse_args()
    given = dict(each.split("=", 1) for each in options.given)
    only = options.only.split(",") if options.only else [each.loader for each in ENTRANTS]
    entrants = [each for each in ENTRANTS if each.loader in only]
    entrants += [each for name in given for each in ALSO[name]]
    failures: list[str] = []
    world = build_world(size="tiny", businesses=6, frozen=True)
    put_amounts(world)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(SandboxServer(world))
        server.faults.detail_flags_on_lists = True
        server.faults.tombstones = "id_only"
        project = Project(scratch, server, stack.enter_context(postgres_server()), given)
        if "target-bigquery" in only and "target-bigquery" in EMULATED:
            python = environment(scratch, "bigquery", tuple(emulators.BIGQUERY.split()))
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            project.variables = stack.enter_context(emulators.bigquery(python, scratch / "bigquery", port))
        landings = list(check(project, entrants, failures))
    if not landings:
        raise SystemExit("No target was loaded.")
    text = results(landings)
    if options.write:
        report.write(PAGE, text, BEGIN, END)
    sys.stdout.write(f"{text}\n{types(landings)}\n")
    for each in landings:
        for outcome in each.outcomes:
            sys.stdout.writelines(f"{each.target}: {example}\n" for example in outcome.examples)
    if failures:
        raise SystemExit(f"Not in the table: {'; '.join(failures)}.")


if __name__ == "__main__":
    main()
