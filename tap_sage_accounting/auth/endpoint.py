"""Conversations with Sage's token endpoint, in which no refresh token is ever sent twice by accident.

A request is repeated only if it provably was not acted on: no byte of its body left this machine (refused connection,
DNS, TLS), or Sage turned it away (429, 503). Every other failure leaves open whether Sage replaced the tokens, and is
reported as exactly that.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_sage_accounting.auth.request import NoAnswerError, NotSentError, Response, post_form
from tap_sage_accounting.auth.tokens import Tokens, is_header_value
from tap_sage_accounting.exceptions import AuthorizationError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.redaction import quotes_secret
from tap_sage_accounting.transport.retry_after import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LAST_ATTEMPT_AFTER = 45.0
"""Seconds after which no further attempt is made: others wait for the lock meanwhile."""
WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each repetition of a request that was not acted on."""
LONGEST_WAIT = 15.0
"""Seconds; bound for what `Retry-After` may ask, for the same reason."""
LIFETIME = timedelta(seconds=300)
"""Of an access token whose answer does not say (Sage's documented value)."""
REFRESH_LIFETIME = timedelta(seconds=2_678_400)
"""Of a refresh token whose answer does not say: 31 days (Sage's documented value)."""
LONGEST_DESCRIPTION = 200
SECRET_FIELDS = frozenset({"client_secret", "refresh_token", "token", "code", "code_verifier"})
"""The fields of the forms that must not be shown."""

logger = logging.getLogger(__name__)


class InvalidGrantError(AuthorizationError):
    """Sage calls the refresh token or the code invalid: used before, expired or revoked (`invalid_grant`)."""


class RefreshOutcomeUnknownError(AuthorizationError):
    """The request may have reached Sage, but its answer did not arrive: the tokens may have been replaced."""


class NoAccessTokenError(AuthorizationError):
    """Sage replaced the refresh token, and sent no access token that a request can carry.

    Attributes:
        tokens: the new refresh token, with an empty access token that has expired.
    """

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(
            "Sage sent a new refresh token, which is kept, but no access token that a request can carry. Run again; if "
            "it goes on, ask Sage."
        )
        self.tokens = tokens


class UnreachableError(AuthorizationError):
    """No token request had an effect, again and again; the grant is as it was."""


class _NotActedOnError(Exception):
    """A request that had no effect and may be sent again."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class TokenEndpoint:
    """Sage's token endpoint, spoken to by one application.

    Args:
        client_id: the application's id.
        client_secret: its secret.
        token_url: the endpoint; `/revoke` is its neighbour.
        user_agent: how requests introduce themselves.
        now: the present moment, UTC.
        sleep: waits for a number of seconds; returns something true when there is no time left.
    """

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        token_url: str,
        user_agent: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._credentials = {"client_id": client_id, "client_secret": client_secret}
        self._token_url = token_url
        self._user_agent = user_agent
        self._now = now
        self._sleep = sleep

    def refresh(self, refresh_token: str) -> Tokens:
        """Exchange a refresh token for the next tokens; it is dead from then on.

        Raises:
            InvalidGrantError: it is dead already.
            RefreshOutcomeUnknownError: nobody knows whether it is.
            NoAccessTokenError: it is dead and has a successor, but nothing opens the API.
            UnreachableError: Sage cannot be reached.
            AuthorizationError: Sage refuses this application.
        """
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token}, refresh_token)

    def exchange(self, code: str, redirect_uri: str, verifier: str) -> Tokens:
        """Exchange the code of a consent for the first tokens.

        Args:
            code: as in the callback, decoded once: with its country prefix, `GB/...`.
            redirect_uri: the very one that the consent was asked with.
            verifier: the PKCE secret whose hash the consent was asked with.

        Raises:
            InvalidGrantError: the code was used before, is older than 60 seconds, or belongs to another redirect URI.
            RefreshOutcomeUnknownError: the answer did not arrive; the code is spent.
            UnreachableError: Sage cannot be reached.
            AuthorizationError: Sage refuses this application.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return self._tokens({**form, "code_verifier": verifier}, None)

    def revoke(self, refresh_token: str) -> None:
        """Make Sage forget a refresh token.

        Raises:
            UnreachableError: Sage cannot be reached.
            AuthorizationError: Sage refuses.
        """
        address = urlsplit(self._token_url)
        neighbour = address._replace(path=address.path.rpartition("/")[0] + "/revoke").geturl()
        self._post(neighbour, {"token": refresh_token})

    def _tokens(self, form: Mapping[str, str], refresh_token: str | None) -> Tokens:
        asked_at, answer = self._post(self._token_url, form)
        try:
            return _read(json.loads(answer.body), asked_at, refresh_token)
        except (AttributeError, ValueError, KeyError, TypeError, RecursionError):
            raise RefreshOutcomeUnknownError(
                "Sage's answer to the token request cannot be read: it may have replaced the tokens by ones that never "
                "arrived."
            ) from None

    def _post(self, url: str, form: Mapping[str, str]) -> tuple[datetime, Response]:
        """Send a form, again as long as it had no effect; give the moment of the sending and a successful answer."""
        last = time.monotonic() + LAST_ATTEMPT_AFTER
        for wait in (*WAITS, None):
            asked_at = self._now()
            try:
                return asked_at, self._attempt(url, form)
            except _NotActedOnError as error:
                fault = error
            if wait is None or time.monotonic() > last:
                break
            delay = max(wait, min(fault.wait, LONGEST_WAIT))
            logger.warning("Token request not accepted by %s: %s. Again in %.0f s.", _host(url), fault, delay)
            if self._sleep(delay):
                break  # the run is ending
        raise UnreachableError(
            f"No token could be had from {_host(url)}: {fault}. "
            "The stored tokens are untouched; run again when the fault has passed."
        )

    def _attempt(self, url: str, form: Mapping[str, str]) -> Response:
        sent = {**self._credentials, **form}
        try:
            answer = post_form(url, sent, self._user_agent)
        except NotSentError as error:
            raise _NotActedOnError(str(error)) from None
        except NoAnswerError as error:
            raise RefreshOutcomeUnknownError(
                f"The token request was sent, but no whole answer came ({error}): Sage may have replaced the tokens by "
                "ones that never arrived."
            ) from None
        if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise _NotActedOnError(f"it answered {answer.status}", retry_after(answer.headers) or 0.0)
        if answer.status != HTTPStatus.OK:
            raise _refusal(answer, url, [value for name, value in sent.items() if name in SECRET_FIELDS])
        return answer


def _read(body: Any, asked_at: datetime, refresh_token: str | None) -> Tokens:
    """Read `{"access_token", "expires_in", "refresh_token", "refresh_token_expires_in", "scope", "requested_by_id"}`.

    OAuth lets a server keep the refresh token by not naming another; Sage is not known to.

    Raises:
        NoAccessTokenError: only the refresh token of the answer is good.
    """
    next_token = body.get("refresh_token") or refresh_token
    if not (isinstance(next_token, str) and next_token.encode()):
        raise TypeError
    access_token = str(body.get("access_token") or "").strip()
    is_usable = isinstance(body.get("access_token"), str) and is_header_value(access_token)
    tokens = Tokens(
        access_token=access_token if is_usable else "",
        refresh_token=next_token,
        issued_at=asked_at,
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


def _seconds(told: object, otherwise: timedelta) -> timedelta:
    """Read a lifetime; one that makes no sense must not cost the tokens that came with it."""
    try:
        seconds = float(str(told))
    except ValueError:
        return otherwise
    return timedelta(seconds=seconds) if 0 < seconds < otherwise.total_seconds() * 1000 else otherwise


def _refusal(answer: Response, url: str, secrets: list[str]) -> AuthorizationError:
    """Translate an answer that is no success; `{"error", "error_description"}` where Sage itself gives it."""
    reason = _shown(answer.reason, secrets)
    told = f"{answer.status} {reason}".strip()
    if answer.status in range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST):
        return AuthorizationError(
            f"{_host(url)} redirects token requests ({told}); secrets are not sent on. Check the setting 'token_url'."
        )
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return RefreshOutcomeUnknownError(
            f"Sage answered {told} to the token request, which leaves open whether it replaced the tokens."
        )
    error, description = _error_of(answer.body)
    description = f": {_shown(description, secrets)}" if description else ""
    if error == "invalid_grant":
        return InvalidGrantError(f"Sage answered invalid_grant{description.rstrip('.')}")
    if error in ("invalid_client", "unauthorized_client") or answer.status == HTTPStatus.UNAUTHORIZED:
        return AuthorizationError(
            f"Sage does not accept this application ({_shown(error, secrets) or told}{description}). "
            "Check the settings 'client_id' and 'client_secret' against Sage's developer portal."
        )
    return AuthorizationError(f"Sage refused the token request: {told} {_shown(error, secrets)}{description}.")


def _error_of(body: bytes) -> tuple[str, str]:
    """Give the error code and its description."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(found, dict):
        return "", ""
    return str(found.get("error") or ""), str(found.get("error_description") or "")


def _shown(text: str, secrets: list[str]) -> str:
    """Give a server's text as it may be shown: not where it quotes the request back, nor at any length."""
    return "[not shown: it quotes a secret]" if quotes_secret(text, secrets) else printable(text[:LONGEST_DESCRIPTION])


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
