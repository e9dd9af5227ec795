"""Show the login, the businesses and what Sage will refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tap_sage_accounting.api.access import request_access
from tap_sage_accounting.api.request import Request, Response
from tap_sage_accounting.auth.manager import idle_warning
from tap_sage_accounting.commands import config_option, connected_tap, hurry, login_key
from tap_sage_accounting.console.columns import wrapped
from tap_sage_accounting.console.command_line import PlainCommand, show
from tap_sage_accounting.printable import printable
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.timestamps import now, readable

if TYPE_CHECKING:
    from tap_sage_accounting.auth.tokens import TokenFamily
    from tap_sage_accounting.extraction.businesses import Business
    from tap_sage_accounting.tap import TapSageAccounting


@click.command(cls=PlainCommand, help="Show who is logged in, what the login can read, and when it ends.")
@config_option
def status(config: Any) -> None:
    """Show the login of the settings."""
    with connected_tap(config) as tap:
        show(f"Token store: {tap.token_store.place}")
        if stored := tap.token_store.read(*login_key(tap)):
            _show_family(stored)
        hurry(tap)
        user = tap.connection.get(Request("/user", {}, None, "user of the login"), Response.json)
        family = tap.tokens.family()  # read after the request, which may have renewed the tokens
        name = user.get("displayed_as") or " ".join(filter(None, (user.get("first_name"), user.get("last_name"))))
        show(f"User: {name or 'unknown'} <{user.get('email') or 'no address'}>")
        if family.tokens is not None:
            show(f"Scope: {family.tokens.scope or 'unknown'}")
            show(f"Access token: good until {readable(family.tokens.expires_at)}")
            show(f"Refresh token: dies at {readable(family.tokens.refresh_expires_at)} unless a run renews it before")
        for business in tap.businesses:
            _show_business(tap, business)


def _show_family(family: TokenFamily) -> None:
    show(f"Known since: {readable(family.created_at)}, from {'login' if family.source == 'login' else 'the settings'}")
    if family.tokens is not None:
        show(f"Last renewed: {readable(family.tokens.issued_at)}")
    if warning := idle_warning(family, now()):
        show(*wrapped(f"Warning: {warning}", "  "))


def _show_business(tap: TapSageAccounting, business: Business) -> None:
    access = request_access(tap.connection, business.id, f"business {business}")
    heading = f"Business {business}: {access.country or 'country unknown'}, {access.subscription}"
    show("", *wrapped(printable(heading), "    "))
    show(*wrapped(printable(access.rights), "    ", first="  "))
    for reason, names in access.refused(STREAMS).items():
        show(*wrapped(printable(f"Will refuse ({reason}): {', '.join(names)}"), "    ", first="  "))
