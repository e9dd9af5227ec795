"""Revoke the tokens at Sage and remove them from the token store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from tap_sage_accounting.auth.endpoint import InvalidGrantError, RefreshOutcomeUnknownError
from tap_sage_accounting.commands import config_option, connected_tap, login_key
from tap_sage_accounting.console.columns import wrapped
from tap_sage_accounting.console.command_line import PlainCommand, show
from tap_sage_accounting.exceptions import TokenStoreError
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.timestamps import now

if TYPE_CHECKING:
    from tap_sage_accounting.auth.held_family import HeldTokenFamily
    from tap_sage_accounting.tap import TapSageAccounting

LONGEST_WAIT = 130.0
"""Seconds to wait for another run; longer than a run waits for the response to a token request."""


@click.command(cls=PlainCommand, help="Log out: revoke the tokens at Sage and remove them here.")
@config_option
def logout(config: Any) -> None:
    """End the login of the settings."""
    with connected_tap(config) as tap:
        if _log_out(tap):
            return
        show("Another run may have newer tokens. Waiting for it.", err=True)
        until = time.monotonic() + LONGEST_WAIT
        while not _log_out(tap):
            if time.monotonic() > until:
                raise TokenStoreError(
                    f"Another run may have newer tokens than the token store {tap.token_store.place}. Repair the "
                    "store, or end that run, and log out again."
                )
            time.sleep(1)


def _log_out(tap: TapSageAccounting) -> bool:
    """Revoke and remove the newest tokens; return False while another run may have them."""
    with tap.token_store.locked(*login_key(tap)) as held:
        if held is None:
            elsewhere = tap.token_store.elsewhere(tap.config["client_id"])
            show("Nobody is logged in: there is nothing to revoke.", *filter(None, [elsewhere]))
        elif held.may_be_behind(now()):
            return False
        else:
            with stop_signals.deferred():
                _revoke(tap, held)
        return True


def _revoke(tap: TapSageAccounting, held: HeldTokenFamily) -> None:
    """Revoke the tokens at Sage; remove them from the store even if Sage does not know them."""
    try:
        tap.tokens.endpoint.revoke(held.family.refresh_token)
        outcome = "Sage has revoked the refresh token."
    except InvalidGrantError:
        outcome = "Sage did not accept the refresh token any more: there was nothing to revoke."
    except RefreshOutcomeUnknownError:
        outcome = "The request to revoke the token was sent, but no response arrived: check at Sage that it is gone."
    tap.token_store.forget_login(held)
    show(*wrapped(outcome))
    show("The tokens are removed from", f"  {tap.token_store.place}")
    show(*wrapped("An access token that is still in use expires within minutes; it cannot be revoked."))
