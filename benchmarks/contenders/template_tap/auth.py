"""Authentication."""

from __future__ import annotations

from singer_sdk.authenticators import OAuthAuthenticator, SingletonMeta
from typing_extensions import override


class SageAuthenticator(OAuthAuthenticator, metaclass=SingletonMeta):
    """Exchanges the refresh token for an access token."""

    refresh_token_setting = ""

    @property
    @override
    def oauth_request_body(self) -> dict[str, str | None]:
        return {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token_setting,
        }
