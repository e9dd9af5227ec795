"""Tokens, and the token family: a first refresh token and all its successors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime, timedelta

LONGEST_HEADER = 16_384
"""Characters of an access token that servers take; Sage's have about 2,000."""

Source = Literal["settings", "login"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of one response of Sage's token endpoint.

    Attributes:
        access_token: opens the API for `lifetime` from `issued_at` (tokens.access_lifetime); cannot be revoked.
        refresh_token: gets the next tokens, once, within `refresh_lifetime` (tokens.refresh_lifetime).
        issued_at: when the tokens were requested, by this machine's clock; never later than Sage's moment of issue.
        scope: `readonly` or `full_access`.
        requested_by_id: Sage's id of the user who consented, or "".
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    issued_at: datetime
    lifetime: timedelta
    refresh_lifetime: timedelta
    scope: str = ""
    requested_by_id: str = ""

    @property
    def renew_at(self) -> datetime:
        """When the access token is too near its end to be used: a fifth of its lifetime before."""
        return self.issued_at + self.lifetime * 0.8

    @property
    def expires_at(self) -> datetime:
        """When the access token expires."""
        return self.issued_at + self.lifetime

    @property
    def refresh_expires_at(self) -> datetime:
        """When the refresh token expires unless it is used."""
        return self.issued_at + self.refresh_lifetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFamily:
    """A first refresh token and its newest successor.

    Attributes:
        client_id: the application that the tokens were issued to.
        key: fingerprint of the refresh token that the family began with.
        source: whether the first token came from the settings or from `login`.
        seeds: fingerprints of all configured tokens that lead here.
        refresh_token: the newest refresh token.
        tokens: the newest tokens; None before the first renewal.
        created_at: when the store first had the family.
        refused_at: when Sage called the newest refresh token invalid; None before.
        answer_lost_at: when the response to a request with the newest refresh token got lost. A moment in the future
            is an announcement: the response counts as lost then. None where no such request was sent.
    """

    client_id: str
    key: str
    source: Source
    seeds: tuple[str, ...]
    refresh_token: str = field(repr=False)
    tokens: Tokens | None = None
    created_at: datetime
    refused_at: datetime | None = None
    answer_lost_at: datetime | None = None

    @classmethod
    def begin(cls, client_id: str, refresh_token: str, source: Source, now: datetime) -> TokenFamily:
        """Start a family from a refresh token that was never used here."""
        key = fingerprint(refresh_token)
        return cls(
            client_id=client_id, key=key, source=source, seeds=(key,), refresh_token=refresh_token, created_at=now
        )

    def renewed(self, tokens: Tokens) -> TokenFamily:
        """Continue the family with new tokens."""
        return replace(self, tokens=tokens, refresh_token=tokens.refresh_token, refused_at=None, answer_lost_at=None)


def fingerprint(token: str) -> str:
    """Identify a token without keeping it: SHA-256, hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_header_value(token: str) -> bool:
    """Check whether an access token can be sent: visible ASCII, not too long, without a line break or a space."""
    return 0 < len(token) <= LONGEST_HEADER and token.isascii() and token.isprintable() and " " not in token
