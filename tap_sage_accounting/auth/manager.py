"""Keep a valid access token, rotating Sage's single-use refresh tokens (tokens.reuse)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.address import login_command
from tap_sage_accounting.auth.endpoint import RefreshOutcomeUnknownError, TokenEndpoint
from tap_sage_accounting.auth.renewal import LoginRequiredError, Renewer
from tap_sage_accounting.auth.store import retry_unavailable
from tap_sage_accounting.auth.tokens import is_header_value
from tap_sage_accounting.exceptions import AuthorizationError, TokenStoreError
from tap_sage_accounting.timestamps import now as utc_now
from tap_sage_accounting.timestamps import readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import requests

    from tap_sage_accounting.auth.store import TokenStore
    from tap_sage_accounting.auth.tokens import TokenFamily, Tokens

IDLE_WARNING = timedelta(days=24)
"""Age of the last rotation from which on the user is warned; a refresh token expires after 31 days."""
FRESH = timedelta(seconds=30)
"""Age up to which a token that replaced a refused one is not renewed because of another refusal."""
MINUTE = 60.0
MOST_REPLACEMENTS = 10
"""Renewals in a minute because tokens were refused."""

logger = logging.getLogger(__name__)


class AccessRefusedError(AuthorizationError):
    """Sage accepts no access token, not even a renewed one."""


class TokenManager:
    """The tokens of a run, shared by all its streams and threads.

    One holder renews at a time, across threads, processes and machines. A holder that waited for the lock reads the
    store again and uses what another just stored. New tokens are committed before they are used. Where the store fails
    at that moment, the run uses them, and saves them as soon as it works again.

    Args, beyond the attributes of `TokenEndpoint`:
        refresh_token: the configured first refresh token; None to use what `login` stored.
        store: where tokens live between runs; checked before.
        on_rotate: called with new tokens before they are used, for hosts that keep tokens themselves; from another
            thread.
        on_secret: called with each secret value that becomes known, so that logs can be kept free of it.
        sleep: None to wait until the run ends, at most.
    """

    _current: Tokens | None = None
    _accepted: str | None = None
    _rejected: str | None = None
    _fresh_until: float | None = None
    _over: AuthorizationError | None = None
    _warned = False

    def __init__(  # noqa: PLR0913 - by keyword only
        self,
        *,
        client_id: str,
        client_secret: str,
        refresh_token: str | None,
        token_url: str,
        store: TokenStore,
        user_agent: str,
        on_rotate: Callable[[Tokens], None] | None = None,
        on_secret: Callable[[str], object] = lambda _secret: None,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._configured = refresh_token or None
        self._store = store
        self._on_secret = on_secret
        self._now = now
        self._leaving = threading.Event()
        self.endpoint = TokenEndpoint(
            client_id=client_id,
            client_secret=client_secret,
            token_url=token_url,
            user_agent=user_agent,
            now=now,
            sleep=sleep or self._leaving.wait,  # which the end of the run cuts short
        )
        self._renewer = Renewer(
            configured=self._configured,
            store=store,
            endpoint=self.endpoint,
            usable=self._usable,
            on_secret=on_secret,
            on_rotate=on_rotate,
            leaving=self._leaving,
        )
        self._lock = threading.Lock()
        self._replacements: deque[float] = deque(maxlen=MOST_REPLACEMENTS)

    def access_token(self) -> str:
        """Return a valid access token; renew it when a fifth of its lifetime or less is left.

        Raises:
            LoginRequiredError: the refresh token is dead, or there is none.
            RefreshOutcomeUnknownError: Sage may have replaced the tokens, but its response got lost.
            AccessRefusedError: Sage accepts no token, not even a renewed one.
            AuthorizationError: no token can be had for another reason.
            TokenStoreError: the store cannot be used.
        """
        current = self._current
        if current is not None and self._over is None and self._is_usable(current):
            return current.access_token
        with self._lock:
            if self._over is not None:
                raise self._over
            if self._current is None or not self._is_usable(self._current):
                self._current = self._stored_or_renewed()
            return self._current.access_token

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add a valid access token to a request; `requests` removes it when a redirect leads to another host."""
        request.headers["Authorization"] = f"Bearer {self.access_token()}"
        return request

    def accept(self, token: str) -> None:
        """Note that the API accepted an access token."""
        self._accepted = token

    def reject(self, token: str) -> bool:
        """Note that the API responded with 401 to an access token; return whether there is another now, or will be.

        Many threads may report the same token; one that was replaced meanwhile changes nothing. A token that replaced a
        refused one a moment ago stays: the refusal may be about the resource.
        """
        with self._lock:
            if self._current is not None and self._current.access_token != token:
                return True
            if self._fresh_until is not None and time.monotonic() < self._fresh_until:
                return False
            self._rejected = token
            return True

    def condemn(self, token: str, refusal: str) -> None:
        """Note that the API refuses an access token for every resource, a moment after its renewal, and how.

        One that was accepted before has expired early and is renewed, unless that happens all the time.

        Raises:
            AccessRefusedError: another renewal would not help.
        """
        with self._lock:
            if self._current is None or self._current.access_token != token:
                return
            recent = sum(replaced_at > time.monotonic() - MINUTE for replaced_at in self._replacements)
            if self._accepted == token and recent < MOST_REPLACEMENTS:
                self._rejected = token
                return
            self._over = self._over or AccessRefusedError(
                f"Sage accepts no access token, not even one that was renewed a moment ago. {refusal} Renewing again "
                "would not help: check the setting 'api_url' and Sage's status page, and run again."
            )
            raise self._over

    def family(self) -> TokenFamily:
        """Read the token family of these settings.

        Raises:
            LoginRequiredError: there is none.
            TokenStoreError: the store cannot be used.
        """
        found = self._read()
        if found is None:
            step = self._store.elsewhere(self.endpoint.client_id) or f"Run {login_command()}."
            raise LoginRequiredError(
                f"There is no login in the token store {self._store.place} for this client_id, and the setting "
                f"'refresh_token' is empty. {step}"
            )
        return found

    def wait_for_refresh(self) -> None:
        """Wait until no token request is under way and all tokens are saved; nothing is renewed from now on."""
        self._renewer.wait_for_refresh()

    def _read(self) -> TokenFamily | None:
        return self._store.read(self.endpoint.client_id, self._configured)

    def _is_usable(self, tokens: Tokens) -> bool:
        return tokens.access_token != self._rejected and self._now() < tokens.renew_at

    def _stored_or_renewed(self) -> Tokens:
        self._fresh_until = None
        try:
            if (known := retry_unavailable(self._known_usable, self._leaving.wait)) is not None:
                return known
            outcome = self._renewer.renew()
        except (LoginRequiredError, RefreshOutcomeUnknownError, TokenStoreError) as error:
            # A token that is dead, or may be, is not sent again for another thread.
            self._over = error
            raise
        replaces_refused = self._current is not None and self._current.access_token == self._rejected
        if outcome.is_new and replaces_refused:
            self._replacements.append(time.monotonic())
            self._fresh_until = time.monotonic() + min(FRESH, outcome.tokens.lifetime / 10).total_seconds()
        return outcome.tokens

    def _known_usable(self) -> Tokens | None:
        """Read a usable access token from the store; an earlier run or another process may have left one there."""
        found = self.family() if self._configured is None else self._read()
        if found is None:
            return None
        if not self._warned and (warning := idle_warning(found, self._now())):
            logger.warning(warning)
        self._warned = True
        return self._usable(found)

    def _usable(self, family: TokenFamily) -> Tokens | None:
        self._on_secret(family.refresh_token)
        tokens = family.tokens
        if tokens is None or not is_header_value(tokens.access_token):
            return None
        self._on_secret(tokens.access_token)
        return tokens if self._is_usable(tokens) else None


def idle_warning(family: TokenFamily, now: datetime) -> str | None:
    """Return a warning from 24 days after the last rotation on; None before."""
    if family.tokens is None or family.refused_at is not None or now - family.tokens.issued_at < IDLE_WARNING:
        return None
    return (
        f"The tokens were last renewed {(now - family.tokens.issued_at).days} days ago, and Sage lets them die at "
        f"{readable(family.tokens.refresh_expires_at)}. Run the tap at least every three weeks, or a login is needed "
        "again."
    )
