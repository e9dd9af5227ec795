"""Token families as rows of the store's table, and back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.tokens import TokenFamily, Tokens, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_sage_accounting.auth.database import Row
    from tap_sage_accounting.auth.encryption import TokenCipher


def row_of(family: TokenFamily, cipher: TokenCipher) -> Row:
    """Convert a token family to a row, its tokens encrypted."""
    tokens = family.tokens
    return {
        "client_id": family.client_id,
        "lineage": family.key,
        "source": family.source,
        "seeds": " ".join(family.seeds),
        "refresh_token": cipher.encrypt(family.refresh_token),
        "refresh_fingerprint": fingerprint(family.refresh_token),
        "access_token": tokens and cipher.encrypt(tokens.access_token),
        "issued_at": tokens and tokens.issued_at,
        "lifetime_seconds": tokens and tokens.lifetime.total_seconds(),
        "refresh_lifetime_seconds": tokens and tokens.refresh_lifetime.total_seconds(),
        "scope": tokens and tokens.scope,
        "requested_by_id": tokens and tokens.requested_by_id,
        "created_at": family.created_at,
        "refused_at": family.refused_at,
        "answer_lost_at": family.answer_lost_at,
    }


def family_of(row: Row, cipher: TokenCipher) -> TokenFamily:
    """Convert a row to a token family.

    Raises:
        TokenStoreError: its tokens were encrypted with a key that is not configured.
    """
    refresh_token = cipher.decrypt(row["refresh_token"])
    tokens = None
    if row["access_token"] is not None:
        tokens = Tokens(
            access_token=cipher.decrypt(row["access_token"]),
            refresh_token=refresh_token,
            issued_at=row["issued_at"],
            lifetime=timedelta(seconds=row["lifetime_seconds"]),
            refresh_lifetime=timedelta(seconds=row["refresh_lifetime_seconds"]),
            scope=row["scope"],
            requested_by_id=row["requested_by_id"],
        )
    return TokenFamily(
        client_id=row["client_id"],
        key=row["lineage"],
        source=row["source"],
        seeds=tuple(row["seeds"].split()),
        refresh_token=refresh_token,
        tokens=tokens,
        created_at=row["created_at"],
        refused_at=row["refused_at"],
        answer_lost_at=row["answer_lost_at"],
    )


def resolve(rows: Sequence[Row], configured: str | None) -> Row | None:
    """Choose the row that a configured refresh token selects; without one, the newest that `login` stored."""
    if configured is None:
        logins = [row for row in rows if row["source"] == "login"]
        return max(logins, key=lambda row: row["created_at"], default=None)
    wanted = fingerprint(configured)
    begun = next((row for row in rows if wanted in row["seeds"].split()), None)
    return begun or next((row for row in rows if row["refresh_fingerprint"] == wanted), None)
