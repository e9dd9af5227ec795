"""The command `sage-demo`: run the demonstration, look into what it loaded, begin anew."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sage_demo.models import ReportError, write_report
from sage_demo.postgres import DATABASE, USER, Postgres, PostgresError, binary, make_scratch
from sage_demo.run import DemoError, Home, dbt_environment, run
from sage_demo.supervision import Interrupted, supervised

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "psql":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]  # libpq would take them for the way to the demonstration's database
    try:
        home = find_home()
        if options.command == "psql":
            return psql(home, rest)
        {"run": run, "report": report, "reset": reset}[options.command](home)
    except (DemoError, PostgresError, ReportError) as error:
        _say(error)
        return 1
    except Interrupted as interruption:
        _say(f"The demonstration was {interruption}; everything that it had started is stopped.")
        return interruption.exit_code
    return 0


def find_home() -> Home:
    """Find the demonstration of the Meltano project around the working directory.

    Raises:
        DemoError: There is no project around.
    """
    if project := os.environ.get("MELTANO_PROJECT_ROOT"):
        system_directory = os.environ.get("MELTANO_SYS_DIR_ROOT")
        return Home(Path(project), Path(system_directory) if system_directory else None)
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "meltano.yml").exists():
            return Home(directory)
    raise DemoError(f"No meltano.yml in {here} or above. The demonstration runs in a checkout of the project.")


def psql(home: Home, arguments: Sequence[str]) -> int:
    """Start the database, hand over to psql, stop the database; return psql's exit code.

    Raises:
        DemoError: Nothing was loaded yet, or a run is at work.
        PostgresError: The database did not start.
    """
    with _database(home, ignore_interrupt=True) as (postgres, environment):
        connection = {"PGHOST": postgres.socket_directory, "PGUSER": USER, "PGDATABASE": DATABASE}
        done = subprocess.run(  # noqa: S603 - a fixed program; its arguments are the user's own
            [binary("psql"), *arguments], env={**environment, **connection}, check=False
        )
    return done.returncode


def report(home: Home) -> None:
    """Write the report of what was loaded and built again.

    Raises:
        DemoError: Nothing was loaded yet, or a run is at work.
        PostgresError: The database did not start.
        ReportError: dbt failed, as it does before models were built.
    """
    with _database(home, ignore_interrupt=False) as (postgres, environment):
        write_report(home.report, dbt_environment(home, postgres, environment))
    click.echo(f"The report is {home.report}")


@contextlib.contextmanager
def _database(home: Home, *, ignore_interrupt: bool) -> Iterator[tuple[Postgres, dict[str, str]]]:
    """Run the database with what was loaded, and give it with the environment for programs that use it."""
    if not Postgres(home.directory, {}).data.exists():
        raise DemoError("Nothing was loaded yet. Run the demonstration first: uv run meltano run demo")
    with (
        home.occupied(),
        supervised(scratch := make_scratch(), follow_parent=False, ignore_interrupt=ignore_interrupt) as environment,
        Postgres(home.directory, environment).running(scratch) as postgres,
    ):
        yield postgres, environment


def reset(home: Home) -> None:
    """Delete what the demonstration has loaded.

    Raises:
        DemoError: A run is at work.
    """
    with home.occupied():
        home.forget()
    click.echo("The demonstration's data are deleted; the next run begins anew.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sage-demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run",
        help="what `meltano run demo` calls: load a simulated Sage into Postgres, build the finance models and report",
    )
    commands.add_parser("report", help="write the report of the loaded data again")
    commands.add_parser("psql", add_help=False, help="query the loaded data; arguments go to psql")
    commands.add_parser("reset", help="delete the loaded data")
    return parser


def _say(sentence: object) -> None:
    """Write to the user on stderr, if anybody still reads it."""
    with contextlib.suppress(OSError):
        click.echo(sentence, err=True)


if __name__ == "__main__":
    sys.exit(main())
