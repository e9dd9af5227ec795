"""Encryption of tokens at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.exceptions import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.fernet import MultiFernet

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
