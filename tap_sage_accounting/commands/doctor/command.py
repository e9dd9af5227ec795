"""Look at an account, with GET requests only: whether it is ready to load, and Sage behaves as assumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tap_sage_accounting.commands import MAX_RESPONSE_SECONDS, config_option, connected_tap
from tap_sage_accounting.commands.doctor import report
from tap_sage_accounting.commands.doctor.look import Login, choose, look_at, require_login
from tap_sage_accounting.commands.doctor.looker import BUDGET, DEEP_BUDGET, Looker, SpentError
from tap_sage_accounting.commands.doctor.text import lines_of, totals_of
from tap_sage_accounting.console.columns import wrapped
from tap_sage_accounting.console.command_line import PlainCommand, show
from tap_sage_accounting.exceptions import RefusedRunError
from tap_sage_accounting.settings import parse_start_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_sage_accounting.commands.doctor.look import Look
    from tap_sage_accounting.tap import TapSageAccounting

LOGIN_LOOK = 2
"""Requests of a look for the user and the list of businesses, which are sent once for all businesses."""


@click.command(
    cls=PlainCommand,
    help=(
        "Look at an account before the first load: what can be read, how much there is, and whether Sage behaves as "
        "the tap assumes. Sends GET requests only."
    ),
)
@config_option
@click.option(
    "--business",
    "businesses",
    multiple=True,
    metavar="ID",
    help="Business to look at; may be repeated. Default: the first.",
)
@click.option("--deep", is_flag=True, help=f"Send up to {DEEP_BUDGET} requests for each business instead of {BUDGET}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "--report",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help=f"Write {report.NAME}.md and .json there: verdicts and shapes, and no value of the books. Nothing is sent.",
)
def doctor(config: Any, businesses: tuple[str, ...], directory: Path | None, *, deep: bool, as_json: bool) -> None:
    """Look at the businesses of a login."""
    with connected_tap(config) as tap:
        configured = tap.config.get("business_ids") or config.config.get("business_ids") or ()
        tap.connection.bound(MAX_RESPONSE_SECONDS)
        looker = Looker(tap.connection, DEEP_BUDGET if deep else BUDGET)
        with looker.announcing():
            looks = _looks(tap, looker, businesses, configured, deep=deep)
        if as_json:
            show(*json.dumps([look.facts() for look in looks], indent=2).splitlines())
        else:
            for number, look in enumerate(looks):
                show(*[""] * bool(number), *lines_of(look, is_only=len(looks) == 1))
            show(*totals_of(looks))
        if directory is not None:
            _share(report.report_of(looks, tap.plugin_version, tap.config["api_url"]), directory, is_shown=not as_json)
    if any(look.problem for look in looks):
        raise click.exceptions.Exit(1)


def _share(found: report.Report, directory: Path, *, is_shown: bool) -> None:
    """Write the report, and show it before anything is suggested."""
    paths = report.write(found, directory)
    if is_shown:
        show("", *report.markdown(found).splitlines(), "")
    show(
        "Written:",
        *(f"  {path}" for path in paths),
        *wrapped("Nothing was sent. Read both. To help, put them into an issue of the kind 'The doctor's report'."),
        err=True,
    )


def _looks(
    tap: TapSageAccounting, looker: Looker, businesses: tuple[str, ...], configured: Sequence[str], *, deep: bool
) -> list[Look]:
    """Look at the businesses that are named, else at the first of the settings, else at the first of all."""
    try:
        require_login(looker)
        chosen, available = choose(looker, businesses or configured[:1])
    except SpentError:
        raise RefusedRunError(f"Sage does not list the user's businesses. {looker.cut_short}") from None
    start = tap.config.get("start_date")
    login = Login(
        _lifetimes(tap),
        parse_start_date(start) if start else None,
        len(configured) or available,
        fetches_files=bool(tap.config.get("attachments_url")),
    )
    looks = []
    for number, business in enumerate(chosen):
        if number:
            looker.renew((DEEP_BUDGET if deep else BUDGET) - LOGIN_LOOK)
        looks.append(look_at(looker, business, login, deep=deep))
    return looks


def _lifetimes(tap: TapSageAccounting) -> tuple[float, float] | None:
    """Return the lifetimes that Sage stated with the newest tokens, in seconds."""
    tokens = tap.tokens.family().tokens
    return None if tokens is None else (tokens.lifetime.total_seconds(), tokens.refresh_lifetime.total_seconds())
