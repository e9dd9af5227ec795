"""Sage's token endpoint; no refresh token is sent twice by accident.

A request is repeated only if Sage provably did not act on it. Either no byte of its body left this machine (refused
connection, DNS, TLS), or Sage rejected it (429, 503). After every other failure it is unknown whether Sage replaced the
tokens, which the error says.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_sage_accounting.auth.request import NoResponseError, NotSentError, Response, post_form
from tap_sage_accounting.auth.tokens import Tokens, is_header_value
from tap_sage_accounting.exceptions import AuthorizationError, SageError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.redaction import quotes_secret
from tap_sage_accounting.timestamps import now as utc_now
from tap_sage_accounting.transport.faults import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

LAST_ATTEMPT_AFTER = 45.0
"""Seconds after which no further attempt is made: others wait for the lock meanwhile."""
WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each repetition of a request that was not acted on."""
LONGEST_WAIT = 15.0
"""Seconds; the bound for `Retry-After`, for the same reason."""
LIFETIME = timedelta(seconds=300)
"""Of an access token, unless the response says otherwise (Sage's documented value)."""
REFRESH_LIFETIME = timedelta(seconds=2_678_400)
"""Of a refresh token, unless the response says otherwise: 31 days (Sage's documented value)."""
REJECTED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Statuses of requests on which Sage did not act."""
LONGEST_TEXT = 200
"""Characters of a server's text that are shown."""
SECRET_FIELDS = frozenset({"client_secret", "refresh_token", "token", "code", "code_verifier"})
"""Fields of the forms whose values must not be shown."""

logger = logging.getLogger(__name__)


class InvalidGrantError(AuthorizationError):
    """Sage calls the refresh token or the code invalid: used before, expired or revoked (`invalid_grant`)."""


class RefreshOutcomeUnknownError(AuthorizationError):
    """The request may have reached Sage, but no response arrived: the tokens may have been replaced."""


class NoAccessTokenError(AuthorizationError):
    """Sage replaced the refresh token, and sent no access token that a request can carry.

    `tokens` has the new refresh token, with an empty access token that has expired.
    """

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(
            "Sage sent a new refresh token, which is kept, but no access token that a request can carry. Run again; if "
            "it goes on, report it to Sage."
        )
        self.tokens = tokens


class UnreachableError(AuthorizationError):
    """No attempt of a token request had an effect; the grant is unchanged."""


@dataclass(kw_only=True, eq=False, repr=False)
class TokenEndpoint:
    """Sage's token endpoint for one application.

    Attributes:
        client_id: the application's id.
        client_secret: its secret.
        token_url: the endpoint; `/revoke` is its neighbour.
        user_agent: the header of requests.
        now: the present moment, UTC.
        sleep: waits for a number of seconds; returns something true when there is no time left.

    Each method may raise:
        InvalidGrantError: the refresh token or the code is dead.
        RefreshOutcomeUnknownError: no response arrived. What was sent may be dead, and its successor lost.
        UnreachableError: Sage cannot be reached.
        AuthorizationError: Sage refuses this application.
    """

    client_id: str
    client_secret: str
    token_url: str
    user_agent: str
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], object] = time.sleep

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for the next tokens; it is dead from then on.

        Raises:
            NoAccessTokenError: it has a successor, but there is no access token.
        """
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token}, refresh_token)

    def exchange(self, code: str, redirect_uri: str, verifier: str) -> Tokens:
        """Exchange the code of a consent for the first tokens, once, and within 60 seconds.

        Args:
            code: as in the callback, decoded once: with its country prefix, `GB/...`.
            redirect_uri: the one of the consent request; the code is invalid with another.
            verifier: the PKCE secret whose hash was in the consent request.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return self._tokens({**form, "code_verifier": verifier}, None)

    def revoke(self, refresh_token: str) -> None:
        """Revoke a refresh token."""
        address = urlsplit(self.token_url)
        neighbour = address._replace(path=address.path.rpartition("/")[0] + "/revoke").geturl()
        self._post(neighbour, {"token": refresh_token})

    def _tokens(self, form: Mapping[str, str], refresh_token: str | None) -> Tokens:
        requested_at, response = self._post(self.token_url, form)
        try:
            return _read(json.loads(response.body), requested_at, refresh_token)
        except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
            raise RefreshOutcomeUnknownError(
                "Sage's response to the token request cannot be read: it may have replaced the tokens by ones that "
                "never arrived."
            ) from None

    def _post(self, url: str, form: Mapping[str, str]) -> tuple[datetime, Response]:
        """Send a form, again while it has no effect; return when it was sent, and the successful response."""
        sent = {"client_id": self.client_id, "client_secret": self.client_secret, **form}
        last = time.monotonic() + LAST_ATTEMPT_AFTER
        for wait in (*WAITS, None):
            requested_at = self.now()
            try:
                response = post_form(url, sent, self.user_agent)
            except NotSentError as error:
                fault, asked = str(error), 0.0
            except NoResponseError as error:
                raise RefreshOutcomeUnknownError(
                    f"The token request was sent, but no complete response came ({error}): Sage may have replaced the "
                    "tokens by ones that never arrived."
                ) from None
            else:
                if response.status == HTTPStatus.OK:
                    return requested_at, response
                if response.status not in REJECTED:
                    raise _refusal(response, url, [value for name, value in sent.items() if name in SECRET_FIELDS])
                fault, asked = f"status {response.status}", retry_after(response.headers) or 0.0
            if wait is None or time.monotonic() > last:
                break
            delay = max(wait, min(asked, LONGEST_WAIT))
            logger.warning("Token request not accepted by %s: %s. Again in %.0f s.", _host(url), fault, delay)
            if self.sleep(delay):
                break  # the run is ending
        raise UnreachableError(
            f"No token could be had from {_host(url)}: {fault}. "
            "The stored tokens are untouched; run again when the fault has passed."
        )


def _read(body: Any, requested_at: datetime, refresh_token: str | None) -> Tokens:
    """Read `{"access_token", "expires_in", "refresh_token", "refresh_token_expires_in", "scope", "requested_by_id"}`.

    OAuth lets a server keep the refresh token by sending none; Sage is not known to.

    Raises:
        NoAccessTokenError: only the refresh token of the response is usable.
    """
    next_token = body.get("refresh_token") or refresh_token
    if not (isinstance(next_token, str) and next_token.encode()):
        raise TypeError
    access_token = str(body.get("access_token") or "").strip()
    is_usable = isinstance(body.get("access_token"), str) and is_header_value(access_token)
    tokens = Tokens(
        access_token=access_token if is_usable else "",
        refresh_token=next_token,
        issued_at=requested_at,
        lifetime=_seconds(body.get("expires_in"), LIFETIME) if is_usable else timedelta(),
        refresh_lifetime=_seconds(body.get("refresh_token_expires_in"), REFRESH_LIFETIME),
        scope=str(body.get("scope") or ""),
        requested_by_id=str(body.get("requested_by_id") or ""),
    )
    if is_usable:
        return tokens
    if next_token == refresh_token or refresh_token is None:
        raise TypeError
    raise NoAccessTokenError(tokens)


def _seconds(sent: object, default: timedelta) -> timedelta:
    """Read a lifetime; an impossible one must not cost the tokens that came with it."""
    try:
        seconds = float(str(sent))
    except ValueError:
        return default
    return timedelta(seconds=seconds) if 0 < seconds < default.total_seconds() * 1000 else default


def _refusal(response: Response, url: str, secrets: list[str]) -> AuthorizationError:
    """Return the error of a response that is no success; `{"error", "error_description"}` where Sage itself sent it."""
    status = f"{response.status} {_shown(response.reason, secrets)}".strip()
    if response.status in range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST):
        return AuthorizationError(
            f"{_host(url)} redirects token requests ({status}); secrets are not sent on. Check the setting 'token_url'."
        )
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return RefreshOutcomeUnknownError(
            f"Sage answered {status} to the token request: it is unknown whether it replaced the tokens."
        )
    sage = SageError.parse(response.body)
    code, message = _shown(sage.code, secrets), sage.message and f": {_shown(sage.message, secrets)}"
    if code == "invalid_grant":
        return InvalidGrantError(f"Sage answered invalid_grant{message.rstrip('.')}")
    if code in ("invalid_client", "unauthorized_client") or response.status == HTTPStatus.UNAUTHORIZED:
        return AuthorizationError(
            f"Sage does not accept this application ({code or status}{message}). "
            "Check the settings 'client_id' and 'client_secret' against Sage's developer portal."
        )
    return AuthorizationError(f"Sage refused the token request: {status} {code}{message}.")


def _shown(text: str, secrets: list[str]) -> str:
    """Return a server's text as it may be shown: shortened, and not if it quotes a secret of the request."""
    return "[not shown: it quotes a secret]" if quotes_secret(text, secrets) else printable(text[:LONGEST_TEXT])


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
