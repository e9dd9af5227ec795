"""The commands beside the Singer one, which share an option, and a tap ready for requests."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tap_sage_accounting.console.command_line import log_level
from tap_sage_accounting.console.logs import filter_handlers
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Iterator

config_option = click.option(
    "--config",
    "config",
    multiple=True,
    callback=TapSageAccounting.cb_config,
    help="Settings file, as for the tap. Default: ENV, the environment (TAP_SAGE_ACCOUNTING_...) and .env.",
)

PATIENCE = 60.0
"""Seconds without a response from Sage after which a command ends that a person waits for."""
MAX_RESPONSE_SECONDS = 30.0
"""Seconds until a response to such a command is complete: what it requests takes one."""


@contextmanager
def connected_tap(config: Any) -> Iterator[TapSageAccounting]:
    """Make a tap from the settings; its connection is closed at the end of the block."""
    logging.basicConfig(level=log_level("WARNING"))
    filter_handlers()
    tap = TapSageAccounting(config={**config.config, "business_ids": None}, parse_env_config=config.parse_env)
    with tap.connected():
        yield tap


def hurry(tap: TapSageAccounting) -> None:
    """Let requests of a command fail while the person who started it still waits."""
    tap.connection.hurry(PATIENCE, MAX_RESPONSE_SECONDS)


def login_key(tap: TapSageAccounting) -> tuple[str, str | None]:
    """Return what selects a login in the token store: the client id and the configured refresh token."""
    return tap.config["client_id"], tap.config.get("refresh_token") or None
