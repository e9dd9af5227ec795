"""The commands around a login: `login` gets tokens, `status` tells what they are good for, `logout` ends them."""

from __future__ import annotations

import logging
import os
import sys
import time
import webbrowser
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from tap_sage_accounting.api.access import BusinessAccess
from tap_sage_accounting.api.pages import parse_json
from tap_sage_accounting.auth.consent import CallbackServer, ConsentError, ConsentRequest, StrayCallbackError, answer_of
from tap_sage_accounting.auth.endpoint import InvalidGrantError, RefreshOutcomeUnknownError, TokenEndpoint
from tap_sage_accounting.auth.manager import IDLE_WARNING, idle_warning
from tap_sage_accounting.auth.store import patiently
from tap_sage_accounting.console.command_line import PlainCommand, log_level, show
from tap_sage_accounting.console.logs import filter_handlers
from tap_sage_accounting.exceptions import TokenStoreError
from tap_sage_accounting.redaction import install
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_sage_accounting.auth.store import HeldTokenFamily
    from tap_sage_accounting.auth.tokens import TokenFamily
    from tap_sage_accounting.extraction.businesses import Business

SECRET_SETTINGS = ("client_secret", "refresh_token", "token_store_key")
LONGEST_TIMEOUT = 86_400
"""Seconds that a login may wait."""
LONGEST_WAIT = 130.0
"""Seconds for which a logout waits for another run; longer than any waits for the answer to a token request."""
EXPIRED_CODE = (
    "Sage does not accept the code any more: it lives for 60 seconds, works once, and only with the redirect URI that "
    "it was asked for. Run the login again, and do not wait between the consent and the terminal."
)


def _require_seconds(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if not 0 < value <= LONGEST_TIMEOUT:
        raise click.BadParameter(f"must be more than 0 and at most {LONGEST_TIMEOUT} seconds.", ctx, param)
    return value


config_option = click.option(
    "--config",
    "config",
    multiple=True,
    callback=TapSageAccounting.cb_config,
    help="Settings file, as for the tap; settings in the environment (TAP_SAGE_ACCOUNTING_...) win.",
)


@click.command(cls=PlainCommand, help="Log in to Sage: consent in the browser, tokens into the token store.")
@config_option
@click.option("--scope", type=click.Choice(["readonly", "full_access"]), default="readonly", show_default=True)
@click.option(
    "--country", type=click.Choice(["gb", "ie", "ca"]), help="Country of the Sage account. Default: Sage asks."
)
@click.option("--no-browser", is_flag=True, help="Print the address, and take the one that the browser ended on.")
@click.option(
    "--timeout",
    type=float,
    callback=_require_seconds,
    default=300,
    show_default=True,
    help="Seconds to wait for the browser.",
)
def login(config: Any, scope: str, country: str | None, *, no_browser: bool, timeout: float) -> None:
    """Get the first tokens of a lineage."""
    with _tap(config) as tap:
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
        show(f"Logged in. The tokens are in {tap.token_store.place}.")
        _list_businesses(tap)
        show(
            "Next: `meltano run tap-sage-accounting <target>`, or `tap-sage-accounting --config FILE | <target>`. Run "
            f"it at least every {IDLE_WARNING.days} days, and no login is needed again. Another login of the same user "
            "with the same application ends this one."
        )


@click.command(cls=PlainCommand, help="Tell who is logged in, what that reaches, and when it ends.")
@config_option
def status(config: Any) -> None:
    """Show the login, the businesses and what Sage will refuse."""
    with _tap(config) as tap:
        show(f"Token store: {tap.token_store.place}")
        if known := tap.token_store.read(tap.config["client_id"], _configured(tap)):
            _show_lineage(known)
        user = _get(tap, "/user", "who is logged in")
        # Asking has renewed the tokens, if they were to be renewed.
        family = tap.tokens.family()
        name = user.get("displayed_as") or " ".join(filter(None, (user.get("first_name"), user.get("last_name"))))
        show(f"User: {name or 'unknown'} <{user.get('email') or 'no address'}>")
        if family.tokens is not None:
            show(f"Scope: {family.tokens.scope or 'unknown'}")
            show(f"Access token: good until {_moment(family.tokens.issued_at + family.tokens.lifetime)}")
            show(f"Refresh token: dies at {_moment(family.tokens.refresh_expires_at)} unless a run renews it before")
        for business in tap.businesses:
            _show_business(tap, business)


@click.command(cls=PlainCommand, help="Log out: revoke the tokens at Sage and forget them here.")
@config_option
def logout(config: Any) -> None:
    """End a lineage."""
    with _tap(config) as tap:
        if _log_out(tap):
            return
        place = tap.token_store.place
        show(f"Another run may have newer tokens than the token store {place}. Waiting for it.", err=True)
        until = time.monotonic() + LONGEST_WAIT
        while not _log_out(tap):
            if time.monotonic() > until:
                raise TokenStoreError(
                    f"Another run may have newer tokens than the token store {place}. Repair the store, or end that "
                    "run, and log out again."
                )
            time.sleep(1)


def _log_out(tap: TapSageAccounting) -> bool:
    """Revoke and forget the newest tokens; return whether that is done, and not while another run may have them."""
    with tap.token_store.locked(tap.config["client_id"], _configured(tap)) as held:
        if held is None:
            show("Nobody is logged in: there is nothing to forget.")
        elif held.may_be_behind(datetime.now(UTC)):
            return False
        else:
            with stop_signals.deferred():
                _revoke(tap, held)
        return True


def _revoke(tap: TapSageAccounting, held: HeldTokenFamily) -> None:
    """Revoke the tokens at Sage, and forget them whatever it answers."""
    try:
        _endpoint(tap).revoke(held.family.refresh_token)
        outcome = "Sage has revoked the refresh token."
    except InvalidGrantError:
        outcome = "Sage did not accept the refresh token any more: there was nothing to revoke."
    except RefreshOutcomeUnknownError:
        outcome = "The token was sent to Sage to be revoked, but no answer arrived: check at Sage that it is gone."
    held.forget()
    show(
        outcome,
        f"Forgotten in {tap.token_store.place}. An access token that is still out there dies within minutes; it cannot "
        "be revoked.",
    )


def has_browser() -> bool:
    """Tell whether this machine shows its user a browser; text browsers in the terminal do not count."""
    if os.environ.get("BROWSER") or sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def _tap(config: Any) -> Iterator[TapSageAccounting]:
    """Make a tap from the settings, whose checks, token store and way to Sage the commands share."""
    logging.basicConfig(level=log_level("WARNING"))
    filter_handlers()
    tap = TapSageAccounting(config={**config.config, "business_ids": None}, parse_env_config=True)
    install(tap.config.get(name) for name in SECRET_SETTINGS)
    with tap.connected():
        yield tap


def _configured(tap: TapSageAccounting) -> str | None:
    return tap.config.get("refresh_token") or None


def _endpoint(tap: TapSageAccounting) -> TokenEndpoint:
    return TokenEndpoint(
        client_id=tap.config["client_id"],
        client_secret=tap.config["client_secret"],
        token_url=tap.config["token_url"],
        user_agent=tap.user_agent,
    )


def _complete(tap: TapSageAccounting, request: ConsentRequest, answer: Mapping[str, str]) -> str:
    """Turn the answer of the consent page into stored tokens, and say so."""
    code = request.code_of(answer)
    # The code is good once, and what it brings ends the login before: not while the store is away.
    patiently(lambda: tap.token_store.read(tap.config["client_id"], _configured(tap)))
    secret_filter = install([code, request.verifier])
    try:
        tokens = _endpoint(tap).exchange(code, request.redirect_uri, request.verifier)
    except InvalidGrantError:
        raise ConsentError(EXPIRED_CODE) from None
    secret_filter.learn(tokens.access_token)
    secret_filter.learn(tokens.refresh_token)
    tap.token_store.keep_login(tap.config["client_id"], _configured(tap), tokens)
    return "Sage gave access, and the tokens are stored. Go back to the terminal: it says what to do next."


def _browse(tap: TapSageAccounting, request: ConsentRequest, timeout: float) -> None:
    with CallbackServer(request, lambda answer: _complete(tap, request, answer)) as server:
        show("Opening Sage's consent page in the browser. If nothing opens, go to:", "", request.url, "")
        webbrowser.open(request.url)
        server.wait(timeout)


def _paste(tap: TapSageAccounting, request: ConsentRequest) -> None:
    show(
        "Open this address in a browser on any machine, and consent:",
        "",
        request.url,
        "",
        f"The browser then goes to an address that begins with {request.redirect_uri}. It need not find a page there: "
        "within 60 seconds, copy the whole address and paste it here.",
    )
    while True:
        answer = answer_of(click.prompt("Address", prompt_suffix=": ", default="", show_default=False, err=False))
        try:
            with stop_signals.deferred():  # the code is spent when it is sent, and the last login is over
                _complete(tap, request, answer)
        except StrayCallbackError as error:
            show(f"{error} Copy the whole address that the browser ended on, and paste it again.", err=True)
        else:
            return


def _get(tap: TapSageAccounting, path: str, label: str) -> dict[str, Any]:
    found: dict[str, Any] = tap.connection.get(
        path, {}, business_id=None, label=label, parse=lambda answer: parse_json(answer.body, label)
    )
    return found


def _list_businesses(tap: TapSageAccounting) -> None:
    show(f"They reach {len(tap.businesses)} businesses:")
    for business in tap.businesses:
        show(f"  {business}")


def _show_lineage(family: TokenFamily) -> None:
    show(f"Known since: {_moment(family.created_at)}, from {'login' if family.source == 'login' else 'the settings'}")
    if family.tokens is not None:
        show(f"Last renewed: {_moment(family.tokens.issued_at)}")
    if warning := idle_warning(family, datetime.now(UTC)):
        show(f"Warning: {warning}")


def _show_business(tap: TapSageAccounting, business: Business) -> None:
    body = _get(tap, f"/businesses/{quote(business.id, safe='')}", f"business {business}")
    access = BusinessAccess.parse(body)
    show("")
    show(f"Business {business}: {access.country or 'country unknown'}, {access.subscription}")
    roles = ", ".join(f"{area} {role.replace('_', ' ')}" for area, role in access.roles.items())
    show(f"  Rights: {roles or 'Sage does not say'}")
    for reason, names in access.refused(STREAMS).items():
        show(f"  Will refuse ({reason}): {', '.join(names)}")


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
