"""Conversations with Sage's token endpoint, in which no refresh token is ever sent twice by accident.

A request is repeated only if it provably was not acted on: no byte of its body left this machine (refused connection,
DNS, TLS), or Sage turned it away (429, 503). Every other failure leaves open whether Sage replaced the tokens, and is
reported as exactly that.
"""

from __future__ import annotations

import io
import logging
import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import requests
from typing_extensions import override

from tap_sage_accounting.api.http_session import open_session
from tap_sage_accounting.api.retry_after import retry_after
from tap_sage_accounting.errors import AuthorizationError
from tap_sage_accounting.lineage import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and between two bytes of the answer."""
WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each repetition of a request that was not acted on."""
LONGEST_WAIT = 15.0
"""Bound for what `Retry-After` may ask: others wait for the lock meanwhile."""
LIFETIME = timedelta(seconds=300)
"""Of an access token whose answer does not say (Sage's documented value)."""
REFRESH_LIFETIME = timedelta(seconds=2_678_400)
"""Of a refresh token whose answer does not say: 31 days (Sage's documented value)."""
LONGEST_DESCRIPTION = 200

logger = logging.getLogger(__name__)


class GrantRefusedError(AuthorizationError):
    """Sage calls the refresh token or the code invalid: used before, expired or revoked (`invalid_grant`)."""


class AnswerLostError(AuthorizationError):
    """The request may have reached Sage, but its answer did not arrive: the tokens may have been replaced."""


class UnreachableError(AuthorizationError):
    """No token request had an effect, again and again; the grant is as it was."""


class _NotActedOnError(Exception):
    """A request that had no effect and may be sent again."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _WatchedBody(io.BytesIO):
    """A request body that knows whether anybody has begun to send it: until then the server cannot have acted."""

    touched = False

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        self.touched = True
        return super().read(size)


class TokenEndpoint:
    """Sage's token endpoint, spoken to by one application.

    Args:
        client_id: the application's id.
        client_secret: its secret.
        token_url: the endpoint; `/revoke` is its neighbour.
        user_agent: how requests introduce themselves.
        now: the present moment, UTC.
        sleep: waits for a number of seconds.
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
            GrantRefusedError: it is dead already.
            AnswerLostError: nobody knows whether it is.
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
            GrantRefusedError: the code was used before, is older than 60 seconds, or belongs to another redirect URI.
            AnswerLostError: the answer did not arrive; the code is spent.
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
        asked_at, response = self._post(self._token_url, form)
        try:
            return _read(response.json(), asked_at, refresh_token)
        except (ValueError, KeyError, TypeError):
            raise AnswerLostError(
                "Sage's answer to the token request cannot be read: it may have replaced the tokens by ones that never "
                "arrived."
            ) from None

    def _post(self, url: str, form: Mapping[str, str]) -> tuple[datetime, requests.Response]:
        """Send a form, again as long as it had no effect; give the moment of the sending and a successful answer."""
        for wait in (*WAITS, None):
            asked_at = self._now()
            try:
                return asked_at, self._attempt(url, form)
            except _NotActedOnError as error:
                if wait is None:
                    raise UnreachableError(
                        f"No token could be had from {_host(url)}: {error}. "
                        "The stored tokens are untouched; run again when the fault has passed."
                    ) from None
                delay = max(wait, min(error.wait, LONGEST_WAIT))
                logger.warning("Token request not accepted by %s: %s. Again in %.0f s.", _host(url), error, delay)
                self._sleep(delay)
        raise AssertionError  # pragma: no cover - the last round returns or raises

    def _attempt(self, url: str, form: Mapping[str, str]) -> requests.Response:
        body = _WatchedBody(urlencode({**self._credentials, **form}).encode())
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            # A session of its own: no pooled connection that the other side may have closed, no adapter that repeats.
            with open_session(url, self._user_agent) as session:
                response = session.post(url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            # The chain is cut because the error carries the request, and with it the secrets.
            if not body.touched:
                raise _NotActedOnError(_fault(error)) from None
            raise AnswerLostError(
                f"The connection broke after the token request had been sent ({_fault(error)}): "
                "Sage may have replaced the tokens by ones that never arrived."
            ) from None
        if response.status_code in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            wait = retry_after(response.headers) or 0.0
            raise _NotActedOnError(f"it answered {response.status_code} {response.reason}", wait)
        if response.status_code != HTTPStatus.OK:
            raise _refusal(response, url, [*self._credentials.values(), *form.values()])
        return response


def _read(body: Any, asked_at: datetime, refresh_token: str | None) -> Tokens:
    """Read `{"access_token", "expires_in", "refresh_token", "refresh_token_expires_in", "scope", "requested_by_id"}`.

    OAuth lets a server keep the refresh token by not naming another; Sage is not known to.
    """
    access_token = body["access_token"]
    next_token = body.get("refresh_token") or refresh_token
    if not (isinstance(access_token, str) and isinstance(next_token, str) and access_token and next_token):
        raise TypeError
    return Tokens(
        access_token=access_token,
        refresh_token=next_token,
        issued_at=asked_at,
        lifetime=_seconds(body.get("expires_in"), LIFETIME),
        refresh_lifetime=_seconds(body.get("refresh_token_expires_in"), REFRESH_LIFETIME),
        scope=str(body.get("scope") or ""),
        requested_by_id=str(body.get("requested_by_id") or ""),
    )


def _seconds(told: object, otherwise: timedelta) -> timedelta:
    """Read a lifetime; one that makes no sense must not cost the tokens that came with it."""
    try:
        seconds = float(str(told))
    except ValueError:
        return otherwise
    return timedelta(seconds=seconds) if 0 < seconds < otherwise.total_seconds() * 1000 else otherwise


def _refusal(response: requests.Response, url: str, secrets: list[str]) -> AuthorizationError:
    """Translate an answer that is no success; `{"error", "error_description"}` where Sage itself gives it."""
    status = response.status_code
    told = f"{status} {response.reason or ''}".strip()
    if response.is_redirect:
        return AuthorizationError(
            f"{_host(url)} redirects token requests ({told}); secrets are not sent on. Check the setting 'token_url'."
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return AnswerLostError(
            f"Sage answered {told} to the token request, which leaves open whether it replaced the tokens."
        )
    error, description = _error_of(response, secrets)
    if error == "invalid_grant":
        return GrantRefusedError(f"Sage answered invalid_grant{description.rstrip('.')}")
    if error in ("invalid_client", "unauthorized_client") or status == HTTPStatus.UNAUTHORIZED:
        return AuthorizationError(
            f"Sage does not accept this application ({error or told}{description}). "
            "Check the settings 'client_id' and 'client_secret' against Sage's developer portal."
        )
    return AuthorizationError(f"Sage refused the token request: {told} {error}{description}.")


def _error_of(response: requests.Response, secrets: list[str]) -> tuple[str, str]:
    """Give the error code and, behind a colon, its description, without any secret that it may quote."""
    try:
        body = response.json()
    except ValueError:
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    code, description = str(body.get("error") or ""), str(body.get("error_description") or "")
    for secret in filter(None, secrets):
        description = description.replace(secret, "[secret]")
    return code[:LONGEST_DESCRIPTION], f": {description[:LONGEST_DESCRIPTION]}" if description else ""


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _fault(error: requests.RequestException) -> str:
    """Name a transport fault in words, without what was transported."""
    match error:
        case requests.ConnectTimeout():
            return f"no connection within {TIMEOUT[0]:.0f} s"
        case requests.Timeout():
            return f"no answer within {TIMEOUT[1]:.0f} s"
        case requests.exceptions.SSLError():
            return "the TLS connection could not be made"
        case requests.exceptions.ProxyError():
            return "the proxy did not connect"
        case requests.ConnectionError():
            return "the connection was refused or broke off"
        case _:
            return type(error).__name__
