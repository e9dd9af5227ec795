"""Get the first tokens: consent in the browser, tokens into the token store."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

import click

from tap_sage_accounting.auth.address import run_command
from tap_sage_accounting.auth.consent import (
    CallbackServer,
    ConsentError,
    ConsentRequest,
    StrayCallbackError,
    callback_parameters,
)
from tap_sage_accounting.auth.endpoint import InvalidGrantError
from tap_sage_accounting.auth.manager import IDLE_WARNING
from tap_sage_accounting.auth.store import retry_unavailable
from tap_sage_accounting.commands import config_option, connected_tap, hurry, login_key
from tap_sage_accounting.console.columns import wrapped
from tap_sage_accounting.console.command_line import PlainCommand, show
from tap_sage_accounting.exceptions import RefusedRunError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.run.signals import stop_signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_sage_accounting.tap import TapSageAccounting

LONGEST_TIMEOUT = 86_400
"""Seconds that a login may wait."""
EXPIRED_CODE = (
    "Sage does not accept the code any more: it is valid for 60 seconds, once, with the redirect URI of the consent. "
    "Run the login again, and return to the terminal soon after the consent."
)
"""What a login ends with when the code has expired (tokens.code_lifetime)."""
NO_ADDRESS = (
    "The input ended before an address was pasted, so nobody was logged in. Run this in a terminal, and paste there "
    "the address that the browser ended on."
)
"""What a login ends with that is run without a terminal."""


def _require_seconds(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not 0 < value <= LONGEST_TIMEOUT:
        raise click.BadParameter(f"must be more than 0 and at most {LONGEST_TIMEOUT} seconds.", ctx, param)
    return value


@click.command(cls=PlainCommand, help="Log in to Sage: consent in the browser, tokens into the token store.")
@config_option
@click.option("--scope", type=click.Choice(["readonly", "full_access"]), default="readonly", show_default=True)
@click.option(
    "--country",
    type=click.Choice(["gb", "ie", "ca"]),
    help="Country of the Sage account. Default: choose it on Sage's page.",
)
@click.option("--no-browser", is_flag=True, help="Print the address, and read the address that the browser ends on.")
@click.option(
    "--timeout",
    type=float,
    callback=_require_seconds,
    default=300,
    show_default=True,
    help="Seconds to wait for the browser.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Log in although another token store has a login of this application, which ends if it is the same user's.",
)
def login(config: Any, scope: str, country: str | None, *, no_browser: bool, timeout: float, replace: bool) -> None:
    """Get the first tokens of a login."""
    with connected_tap(config) as tap:
        if not replace:
            _require_no_other(tap)
        request = ConsentRequest.new(
            auth_url=tap.config["auth_url"],
            client_id=tap.config["client_id"],
            redirect_uri=tap.config["redirect_uri"],
            scope=scope,
            country=country,
        )
        if no_browser or not has_browser():
            _paste(tap, request)
        else:
            _browse(tap, request, timeout)
        show("Logged in. The tokens are in", f"  {tap.token_store.place}")
        hurry(tap)
        show(f"They reach {len(tap.businesses)} {'business' if len(tap.businesses) == 1 else 'businesses'}:")
        for business in tap.businesses:
            show(*wrapped(printable(str(business)), "    ", first="  "))
        show("Next:", f"  {run_command()}")
        show(
            *wrapped(
                f"Run it at least every {IDLE_WARNING.days} days, and no login is needed again. Another login of the "
                "same user with the same application ends this one."
            )
        )


def _require_no_other(tap: TapSageAccounting) -> None:
    """Refuse a login that may end another one, in a token store that this one does not reach.

    Raises:
        RefusedRunError: naming the other one, and how to use it.
    """
    others = tap.token_store.other_logins(tap.config["client_id"])
    if others:
        raise RefusedRunError(
            f"{others[0]} If the same user logs in again, Sage ends it, and runs that use it fail. To see whose it is, "
            f"{others[0].use('tap-sage-accounting-status')}. To log in here all the same, add --replace. Nothing was "
            "sent to Sage."
        )


def has_browser() -> bool:
    """Check whether this machine can show a browser; text browsers in the terminal do not count."""
    if os.environ.get("BROWSER") or sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _complete(tap: TapSageAccounting, request: ConsentRequest, parameters: Mapping[str, str]) -> str:
    """Exchange the code of the callback for tokens and store them; return the text of the page."""
    code = request.code_of(parameters)
    # The exchange spends the code and ends the earlier login: never do it while the store fails.
    retry_unavailable(lambda: tap.token_store.read(*login_key(tap)))
    for secret in (code, request.verifier):
        tap.secrets.learn(secret)
    with tap.token_store.only_login(tap.config["client_id"]):
        try:
            tokens = tap.tokens.endpoint.exchange(code, request.redirect_uri, request.verifier)
        except InvalidGrantError:
            raise ConsentError(EXPIRED_CODE) from None
        for secret in (tokens.access_token, tokens.refresh_token):
            tap.secrets.learn(secret)
        tap.token_store.keep_login(*login_key(tap), tokens)
    return "Sage gave access, and the tokens are stored. Return to the terminal: it shows what to do next."


def _browse(tap: TapSageAccounting, request: ConsentRequest, timeout: float) -> None:
    with CallbackServer(request, lambda parameters: _complete(tap, request, parameters)) as server:
        show("Opening Sage's consent page in the browser. If nothing opens, go to:", "", request.url, "")
        webbrowser.open(request.url)
        server.wait(timeout)


def _pasted() -> str:
    """Read the address.

    Raises:
        ConsentError: nobody can paste one any more.
    """
    try:
        typed: str = click.prompt("Address", prompt_suffix=": ", default="", show_default=False, err=False)
    except click.Abort:
        raise ConsentError(NO_ADDRESS) from None
    return typed


def _paste(tap: TapSageAccounting, request: ConsentRequest) -> None:
    show(
        "Open this address in a browser on any machine, and consent:",
        "",
        request.url,
        "",
        *wrapped(
            f"The browser then goes to an address that begins with {request.redirect_uri}. It need not find a page "
            "there: within 60 seconds, copy the whole address and paste it here."
        ),
    )
    while True:
        parameters = callback_parameters(_pasted())
        try:
            with stop_signals.deferred():  # the exchange spends the code and ends the earlier login
                _complete(tap, request, parameters)
        except StrayCallbackError as error:
            show(
                *wrapped(
                    f"{printable(str(error))} Copy the whole address that the browser ended on, and paste it again."
                ),
                err=True,
            )
        else:
            return
