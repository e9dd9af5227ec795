"""Who may come in: authorization codes, rotating refresh tokens, access tokens, and where they are remembered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
import uuid
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sage_sandbox.faults import Faults

CLIENT_ID = "sandbox-client/app"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105 - opens nothing but the sandbox
REFRESH_TOKEN = "sandbox-refresh-token"  # noqa: S105 - opens nothing but the sandbox
SCOPES = frozenset({"readonly", "full_access"})
_SIGNATURE_BYTES = 512


class GrantError(Exception):
    """A token request that is refused: `error` is OAuth's word for it, `description` says why."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description


@dataclass
class Client:
    """A registered application. `redirect_uris` None allows any https address and any loopback one."""

    client_id: str
    secret: str
    redirect_uris: tuple[str, ...] | None = None


@dataclass
class Code:
    """An authorization code, waiting to be exchanged. `issued_at` is in monotonic seconds."""

    client_id: str
    redirect_uri: str
    scope: str
    challenge: str
    method: str
    issued_at: float


@dataclass
class RefreshGrant:
    """The newest refresh token of one application and the user. `expires_at` is in epoch seconds; None is never."""

    token: str
    scope: str
    expires_at: float | None


@dataclass
class AccessGrant:
    """An access token. `expires_at` is in epoch seconds of the real clock, as its `exp` claim is."""

    client_id: str
    expires_at: float
    uses: int = 0


@dataclass
class Grants:
    """Everything that the authorization server remembers; with a `path`, in a file that survives a restart.

    Attributes:
        faults: Where lifetimes come from.
        subject: The user's id.
        path: The file; None keeps everything in memory.
        clients: Known applications by id.
        issued_secrets: Every token and code ever issued, and the first refresh token.
        refusals: How many refresh requests were refused, by reason: `used`, `expired`, `revoked`, `unknown`.
        refreshes: How many refresh requests were granted.
        on_refresh: Called when a refresh token has been replaced, before the response is sent.
    """

    faults: Faults
    subject: str
    country: str
    path: Path | None = None
    clients: dict[str, Client] = field(default_factory=dict)
    issued_secrets: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    refreshes: int = 0
    on_refresh: Callable[[], None] | None = None
    _codes: dict[str, Code] = field(default_factory=dict)
    _newest: dict[str, RefreshGrant] = field(default_factory=dict)
    _spent: dict[str, tuple[str, str]] = field(default_factory=dict)
    _access: dict[str, AccessGrant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Register the sandbox's own application, and go on where the file left off."""
        self.clients.setdefault(CLIENT_ID, Client(CLIENT_ID, CLIENT_SECRET))
        self._newest[CLIENT_ID] = RefreshGrant(REFRESH_TOKEN, "full_access", None)
        self.issued_secrets.add(REFRESH_TOKEN)
        if self.path is not None and self.path.exists():
            self._load(self.path)

    def newest_refresh_token(self, client_id: str = CLIENT_ID) -> str | None:
        """Return the one refresh token that is alive; None where there is none."""
        grant = self._newest.get(client_id)
        return grant.token if grant else None

    def authenticate(self, client_id: str, secret: str) -> Client:
        """Check an application's credentials.

        Raises:
            GrantError: They are wrong.
        """
        client = self.clients.get(client_id)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise GrantError("invalid_client", "Client authentication failed.")
        return client

    def issue_code(self, code: Code) -> str:
        """Give out a code, with the country in front as Sage has it (`GB/3f2a...`)."""
        text = f"{self.country}/{secrets.token_hex(24)}"
        self._codes[text] = code
        self.issued_secrets.add(text)
        return text

    def exchange(self, client: Client, text: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """Turn a code into tokens, once.

        Raises:
            GrantError: The code is unknown, used, too old, of another application or address, or not the verifier's.
        """
        code = self._codes.pop(text, None)
        if code is None or code.client_id != client.client_id:
            raise GrantError("invalid_grant", "The authorization code is invalid or was used before.")
        if time.monotonic() - code.issued_at > self.faults.code_lifetime:
            raise GrantError("invalid_grant", "The authorization code has expired.")
        if code.redirect_uri != redirect_uri:
            raise GrantError("invalid_grant", "The redirect_uri differs from the one of the authorization request.")
        if code.challenge and not hmac.compare_digest(code.challenge, challenge_of(verifier, code.method)):
            raise GrantError("invalid_grant", "The code_verifier does not match the code_challenge.")
        return self._issue(client.client_id, code.scope)

    def refresh(self, client: Client, token: str) -> dict[str, Any]:
        """Rotate: new tokens, and the old refresh token is dead at once.

        Raises:
            GrantError: The token is not the newest one, or too old.
        """
        newest = self._newest.get(client.client_id)
        if newest is None or not hmac.compare_digest(newest.token.encode(), token.encode()):
            raise self._refuse_refresh(client, token)
        if newest.expires_at is not None and newest.expires_at <= time.time():
            self.refusals["expired"] += 1
            raise GrantError("invalid_grant", "The refresh token has expired.")
        tokens = self._issue(client.client_id, newest.scope)
        self.refreshes += 1
        if self.on_refresh is not None:
            self.on_refresh()
        return tokens

    def _refuse_refresh(self, client: Client, token: str) -> GrantError:
        owner, reason = self._spent.get(_digest(token), ("", "unknown"))
        if owner != client.client_id:
            reason = "unknown"
        self.refusals[reason] += 1
        if reason == "used" and self.faults.reuse_kills_grant:
            self._retire(client.client_id, "revoked")
            self._save()
        descriptions = {
            "used": "The refresh token has been used before or is not the most recent one.",
            "revoked": "The refresh token has been revoked.",
            "unknown": "The refresh token is invalid.",
        }
        return GrantError("invalid_grant", descriptions[reason])

    def revoke(self, client: Client, token: str) -> None:
        """End a grant. Access tokens live on until they expire; unknown tokens are no error."""
        newest = self._newest.get(client.client_id)
        if newest is not None and newest.token == token:
            self._retire(client.client_id, "revoked")
            self._save()

    def client_of(self, access_token: str) -> str | None:
        """Return which application a live access token belongs to; None for a dead or unknown one."""
        grant = self._access.get(access_token)
        if grant is None or grant.expires_at <= time.time():
            return None
        grant.uses += 1
        return None if self.faults.token_uses is not None and grant.uses > self.faults.token_uses else grant.client_id

    def _issue(self, client_id: str, scope: str) -> dict[str, Any]:
        now = time.time()
        self._retire(client_id, "used")
        access, refresh = self._token(client_id, now, "access"), self._token(client_id, now, "refresh")
        faults = self.faults
        self._newest[client_id] = RefreshGrant(refresh, scope, now + faults.refresh_token_lifetime)
        self._access = {token: grant for token, grant in self._access.items() if grant.expires_at > now}
        self._access[access] = AccessGrant(client_id, now + faults.access_token_lifetime)
        self.issued_secrets |= {access, refresh}
        self._save()
        return {
            "access_token": access,
            "scope": scope,
            "token_type": "bearer",
            "expires_in": _seconds(faults.access_token_lifetime),
            "refresh_token": refresh,
            "refresh_token_expires_in": _seconds(faults.refresh_token_lifetime),
            "requested_by_id": str(uuid.uuid5(uuid.NAMESPACE_OID, self.subject)),
        }

    def _retire(self, client_id: str, reason: str) -> None:
        grant = self._newest.pop(client_id, None)
        if grant is not None:
            self._spent[_digest(grant.token)] = (client_id, reason)

    def _token(self, client_id: str, now: float, kind: str) -> str:
        """Make a token in the shape and size of Sage's: a JWT with an RS512 header and a random signature."""
        lifetimes = {"access": self.faults.access_token_lifetime, "refresh": self.faults.refresh_token_lifetime}
        claims = {
            "jti": str(uuid.uuid4()),
            "iat": int(now),
            "exp": int(now + lifetimes[kind]),
            "iss": "oauth.sandbox.invalid",
            "sub": self.subject,
            "aud": "api.sandbox.invalid",
            "azp": client_id,
            "country": self.country,
            "scopes": "accounts:rw accounting:rw core:rw",
        }
        header = {"typ": "JWT", "alg": "RS512", "kid": "sandbox"}
        parts = (json.dumps(header).encode(), json.dumps(claims).encode(), secrets.token_bytes(_SIGNATURE_BYTES))
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

    def _save(self) -> None:
        """Write everything that must survive a restart, before anybody learns of it."""
        if self.path is None:
            return
        state = {
            "newest": {client_id: asdict(grant) for client_id, grant in self._newest.items()},
            "access": {token: asdict(grant) for token, grant in self._access.items()},
            "spent": self._spent,
        }
        draft = self.path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def _load(self, path: Path) -> None:
        state = json.loads(path.read_text())
        self._newest = {client_id: RefreshGrant(**grant) for client_id, grant in state["newest"].items()}
        self._access = {token: AccessGrant(**grant) for token, grant in state["access"].items()}
        self._spent = {digest: (owner, reason) for digest, (owner, reason) in state["spent"].items()}
        self.issued_secrets |= {grant.token for grant in self._newest.values()} | set(self._access)


def challenge_of(verifier: str, method: str) -> str:
    """Derive a PKCE challenge from its verifier (RFC 7636)."""
    if method == "plain":
        return verifier
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _seconds(lifetime: float) -> int | float:
    return int(lifetime) if lifetime == int(lifetime) else lifetime
