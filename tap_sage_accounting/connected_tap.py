"""What a run reaches Sage with: tokens and a client.

Tokens and requests are imported where they are used: discovery needs none of them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from typing_extensions import override

from tap_sage_accounting.configured_tap import ConfiguredTap

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.auth.manager import TokenManager
    from tap_sage_accounting.auth.tokens import Tokens


class ConnectedTap(ConfiguredTap):
    """A tap that reaches Sage."""

    @property
    def user_agent(self) -> str:
        """How requests introduce themselves."""
        return self.config.get("user_agent") or f"{self.name}/{self.plugin_version}"

    @cached_property
    def tokens(self) -> TokenManager:
        """The tokens of this run."""
        from tap_sage_accounting.auth.manager import TokenManager  # noqa: PLC0415

        return TokenManager(
            client_id=self.config["client_id"],
            client_secret=self.config["client_secret"],
            refresh_token=self.config.get("refresh_token"),
            token_url=self.config["token_url"],
            store=self.token_store,
            user_agent=self.user_agent,
            on_rotate=self.on_rotate,
            on_secret=self.secrets.learn,
        )

    @property
    def on_rotate(self) -> Callable[[Tokens], None] | None:
        """What receives new tokens before they are used, where others than the store keep them."""
        return None

    @cached_property
    def connection(self) -> HttpClient:
        """The one way to Sage."""
        from tap_sage_accounting.api.http_client import HttpClient  # noqa: PLC0415

        return HttpClient(
            tokens=self.tokens,
            gate=self.gate,
            api_url=self.config["api_url"].rstrip("/"),
            user_agent=self.user_agent,
            connections=self.config["concurrency"],
            patience=self.config["patience"],
        )

    @override
    def wait_for_refresh(self) -> None:
        if "tokens" in vars(self):
            self.tokens.wait_for_refresh()

    @override
    def disconnect(self) -> None:
        super().disconnect()
        if "connection" in vars(self):
            self.connection.close()
