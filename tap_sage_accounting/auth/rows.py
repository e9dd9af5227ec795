"""Token families as rows of the store's table, their tokens encrypted, and back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.tokens import TokenFamily, Tokens, fingerprint
from tap_sage_accounting.exceptions import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.fernet import MultiFernet

    from tap_sage_accounting.auth.database import Row

_ENCRYPTED = "fernet:"


class TokenCipher:
    """Encrypts tokens at rest, when there is a key.

    Args:
        keys: Fernet keys: the first encrypts, all decrypt. None: tokens are stored as they are.

    Raises:
        TokenStoreError: a key is invalid.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._cipher: MultiFernet | None = None
        if not keys:
            return
        try:
            from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - loaded only where a key is set

            self._cipher = MultiFernet([Fernet(key.strip()) for key in keys])
        except ImportError:
            raise TokenStoreError("Setting 'token_store_key' needs the package 'cryptography': install it.") from None
        except ValueError:
            raise TokenStoreError(
                "Setting 'token_store_key' must hold Fernet keys: 32 bytes in URL-safe base64, made by "
                "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'."
            ) from None

    def encrypt(self, token: str) -> str:
        """Encrypt a token, if there is a key."""
        return token if self._cipher is None else _ENCRYPTED + self._cipher.encrypt(token.encode()).decode()

    def decrypt(self, stored: str) -> str:
        """Decrypt a token; one that was stored before there was a key is not encrypted.

        Raises:
            TokenStoreError: it was encrypted with a key that is not configured.
        """
        if not stored.startswith(_ENCRYPTED):
            return stored
        if self._cipher is None:
            raise TokenStoreError(
                "The tokens in the token store are encrypted: set 'token_store_key' to the key in use."
            )
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - loaded only where a key is set

        try:
            return self._cipher.decrypt(stored.removeprefix(_ENCRYPTED)).decode()
        except InvalidToken:
            raise TokenStoreError(
                "No key of 'token_store_key' opens the tokens in the token store: they were encrypted with another "
                "one. Add that key after the new one, separated by a comma, or log in again."
            ) from None


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
