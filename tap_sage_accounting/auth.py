"""Access tokens that are good for now, from refresh tokens that work once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import requests
from typing_extensions import override

from tap_sage_accounting.errors import AuthorizationError
from tap_sage_accounting.token_endpoint import AnswerLostError, GrantRefusedError, TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from tap_sage_accounting.lineage import Lineage, Tokens
    from tap_sage_accounting.token_store import HeldLineage, TokenStore

__all__ = [
    "AnswerLostError",
    "AuthorizationError",
    "GrantRefusedError",
    "LoginRequiredError",
    "SageAuthenticator",
    "TokenManager",
    "idle_warning",
]

IDLE_WARNING = timedelta(days=24)
"""Age of the last rotation from which on the user is warned; Sage lets a refresh token die at 31 days."""
LOOK_AGAIN_AFTER = 1.0
"""Seconds before the store is read again after Sage called its token invalid."""
LOGIN_COMMAND = "`meltano invoke tap-sage-accounting:login` (or `tap-sage-accounting-login --config FILE`)"

logger = logging.getLogger(__name__)


class LoginRequiredError(AuthorizationError):
    """Only a person can go on from here, by logging in."""


class TokenManager:
    """The one keeper of tokens of a run, shared by all its streams and threads.

    Exactly one holder renews at a time, across threads, processes and machines: whoever waited for the lock reads the
    store again and uses what another just stored. New tokens are committed before they are used.

    Args:
        client_id: the application.
        client_secret: its secret.
        refresh_token: the configured first refresh token; None to use what `login` stored.
        token_url: Sage's token endpoint.
        store: where tokens live between runs; checked before.
        user_agent: how token requests introduce themselves.
        on_rotate: told of each new answer after it was committed, for hosts that keep tokens themselves; called from
            another thread.
        on_secret: told of each secret value that becomes known, so that logs can be kept free of it.
        now: the present moment, UTC.
        sleep: waits for a number of seconds before a request is repeated.
    """

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
        on_secret: Callable[[str], None] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._client_id = client_id
        self._configured = refresh_token or None
        self._store = store
        self._on_rotate = on_rotate
        self._on_secret = on_secret or _no_listener
        self._now = now
        self._leaving = threading.Event()
        # The end of the run cuts any waiting short.
        self._sleep = sleep or self._leaving.wait
        self._endpoint = TokenEndpoint(
            client_id=client_id,
            client_secret=client_secret,
            token_url=token_url,
            user_agent=user_agent,
            now=now,
            sleep=self._sleep,
        )
        self._lock = threading.Lock()
        self._current: Tokens | None = None
        self._rejected: str | None = None
        self._over: AuthorizationError | None = None
        self._warned = False
        self._renewal: Future[Tokens] | None = None

    def access_token(self) -> str:
        """Give an access token that is good for now, renewing it when a fifth of its lifetime or less is left.

        Raises:
            LoginRequiredError: the refresh token is dead, or there is none.
            AnswerLostError: Sage may have replaced the tokens, but its answer got lost.
            AuthorizationError: no token can be had for another reason.
            TokenStoreError: the store cannot be used.
        """
        current = self._current
        if current is not None and self._is_usable(current):
            return current.access_token
        with self._lock:
            if self._current is None or not self._is_usable(self._current):
                self._current = self._stored_or_renewed()
            return self._current.access_token

    def reject(self, token: str) -> None:
        """Take note that the API answered 401 to an access token: it is not given out again.

        Many threads may report the same token; one that was replaced meanwhile changes nothing.
        """
        with self._lock:
            if self._current is None or self._current.access_token == token:
                self._rejected = token

    def lineage(self) -> Lineage:
        """Look up what the store holds for these settings, for reports.

        Raises:
            LoginRequiredError: nothing.
            TokenStoreError: the store cannot be used.
        """
        found = self._store.read(self._client_id, self._configured)
        if found is None:
            raise LoginRequiredError(
                f"There is no login yet: the token store {self._store.place} has no tokens for this client_id, and the "
                f"setting 'refresh_token' is empty. Run {LOGIN_COMMAND}."
            )
        return found

    def settle(self) -> None:
        """Wait until no renewal is under way, before the process is ended without further ado."""
        self._leaving.set()
        if self._renewal is not None:
            wait([self._renewal])

    def _is_usable(self, tokens: Tokens) -> bool:
        return tokens.access_token != self._rejected and self._now() < tokens.renew_at

    def _stored_or_renewed(self) -> Tokens:
        if self._over is not None:
            raise self._over
        try:
            return self._known_usable() or self._shielded_renewal()
        except (LoginRequiredError, AnswerLostError) as error:
            # What is dead, or may be, is not sent again because another thread asks as well.
            self._over = error
            raise

    def _known_usable(self) -> Tokens | None:
        """Look for a usable access token in the store, which an earlier run or another process left there."""
        if self._configured is None:
            found: Lineage | None = self.lineage()
        else:
            found = self._store.read(self._client_id, self._configured)
        if found is None:
            return None
        self._warn_if_idle(found)
        return self._usable(found)

    def _usable(self, lineage: Lineage) -> Tokens | None:
        self._on_secret(lineage.refresh_token)
        if lineage.tokens is None:
            return None
        self._on_secret(lineage.tokens.access_token)
        return lineage.tokens if self._is_usable(lineage.tokens) else None

    def _shielded_renewal(self) -> Tokens:
        """Renew in a thread of its own: Ctrl-C and SIGTERM must not come between Sage's rotation and our commit.

        Python raises what a signal handler raises in the main thread only, and waits for other threads before it ends.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="token-renewal")
        try:
            self._renewal = executor.submit(self._renewed)
            return self._renewal.result()
        except (KeyboardInterrupt, SystemExit):
            self._leaving.set()
            raise
        finally:
            executor.shutdown(wait=False)

    def _renewed(self) -> Tokens:
        """Renew under the lock; when Sage refuses, look into the store once more: somebody may have rotated."""
        refused: str | None = None
        while True:
            with self._store.locked(self._client_id, self._configured) as held:
                if held is None:
                    raise LoginRequiredError(f"The login was removed from the token store. Run {LOGIN_COMMAND}.")
                if self._usable(held.lineage) is None:
                    held.rehearse()
                if (usable := self._usable(held.lineage)) is not None:
                    return usable
                if held.lineage.refused_at is not None:
                    raise LoginRequiredError(self._epitaph(held.lineage))
                if held.lineage.refresh_token == refused:
                    held.mark_refused(self._now())
                    raise LoginRequiredError(self._epitaph(held.lineage))
                refused = held.lineage.refresh_token
                try:
                    return self._renew(held)
                except GrantRefusedError as error:
                    logger.warning("%s. Looking into the token store once more.", error)
            # Without the lock: a holder whose database connection broke may be about to store what it got.
            self._sleep(LOOK_AGAIN_AFTER)

    def _renew(self, held: HeldLineage) -> Tokens:
        try:
            tokens = self._endpoint.refresh(held.lineage.refresh_token)
        except AnswerLostError as error:
            held.mark_answer_lost(self._now())
            raise AnswerLostError(
                f"{error} The next run tries the stored token once more; if Sage refuses it then, run {LOGIN_COMMAND}."
            ) from None
        self._on_secret(tokens.access_token)
        self._on_secret(tokens.refresh_token)
        held.save(tokens)
        logger.info("Access token renewed, good until %s.", _moment(tokens.issued_at + tokens.lifetime))
        if self._on_rotate is not None:
            self._on_rotate(tokens)
        return tokens

    def _warn_if_idle(self, lineage: Lineage) -> None:
        if not self._warned and (warning := idle_warning(lineage, self._now())):
            logger.warning(warning)
        self._warned = True

    def _epitaph(self, lineage: Lineage) -> str:
        """Say what happened to a dead lineage, when it was last good, and what to do."""
        if lineage.tokens is None:
            happened = (
                "Sage refused the refresh token of the settings: it was used before, expired or was revoked, and the "
                f"token store {self._store.place} knows no successor of it. If an earlier run used it with another "
                "store (a container without a lasting disk, another machine), set 'token_store' to a database that "
                "all runs share."
            )
        else:
            happened = (
                "Sage refused the stored refresh token: it expired, was revoked, or another login of the same user and "
                f"application replaced it. It was last good at {_moment(lineage.tokens.issued_at)}."
            )
        if lineage.answer_lost_at is not None:
            happened += (
                f" The answer to a token request got lost at {_moment(lineage.answer_lost_at)}: that is the cause."
            )
        return f"{happened} Run {LOGIN_COMMAND}."


def idle_warning(lineage: Lineage, now: datetime) -> str | None:
    """Say that an idle lineage is about to die, from 24 days after its last rotation on; None before."""
    if lineage.tokens is None or lineage.refused_at is not None or now - lineage.tokens.issued_at < IDLE_WARNING:
        return None
    return (
        f"The tokens were last renewed {(now - lineage.tokens.issued_at).days} days ago, and Sage lets them die at "
        f"{_moment(lineage.tokens.refresh_expires_at)}. Run the tap at least every three weeks, or a login is needed "
        "again."
    )


class SageAuthenticator(requests.auth.AuthBase):
    """Signs requests with the manager's access token; cheap while that is good.

    `requests` takes the header off again when a redirect leads to another host.
    """

    def __init__(self, tokens: TokenManager) -> None:
        self._tokens = tokens

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self._tokens.access_token()}"
        return r


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _no_listener(_secret: str) -> None:
    """Stand in where nobody keeps logs free of secrets."""
