"""Renewals: under the store's lock, which is held until the new tokens are stored."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.address import login_command
from tap_sage_accounting.auth.endpoint import InvalidGrantError, NoAccessTokenError, RefreshOutcomeUnknownError
from tap_sage_accounting.auth.store import retry_unavailable
from tap_sage_accounting.exceptions import AuthorizationError, TokenStoreError
from tap_sage_accounting.timestamps import readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_sage_accounting.auth.endpoint import TokenEndpoint
    from tap_sage_accounting.auth.held_family import HeldTokenFamily, UnsavedTokens
    from tap_sage_accounting.auth.store import TokenStore
    from tap_sage_accounting.auth.tokens import TokenFamily, Tokens

RESPONSE_WAIT = timedelta(seconds=120)
"""After the announcement of a token request, when its response counts as lost; longer than any takes."""
SAVING_WAIT = 40.0
"""Seconds for which a store must have worked before another machine's holder counts as gone.

Longer than one attempt to save takes: a second's pause, a connection and a call without a response.
"""
CLAIM_WAIT = 240.0
"""Seconds to wait for a holder on this machine that has the claim; as for the store's lock."""
LOOK_AGAIN_AFTER = 1.0
"""Seconds before the store is read again, for what another holder may have stored."""
LOOKS_UNREPORTED = 3
"""Looks at another holder's announcement before a warning."""
LONGEST_REFRESH_WAIT = 110.0
"""Seconds for which the end of the process waits: a token request, and the attempts to save its tokens."""

logger = logging.getLogger(__name__)


class LoginRequiredError(AuthorizationError):
    """The refresh token is dead or missing; a user must log in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a renewal.

    Attributes:
        tokens: usable tokens.
        is_new: whether Sage issued them now; otherwise another run had stored them.
        unsaved: the same tokens, where the store did not take them.
        problem: why they open nothing, where they are new and do not.
    """

    tokens: Tokens
    is_new: bool = True
    unsaved: UnsavedTokens | None = None
    problem: NoAccessTokenError | None = None


class _Wait:
    """A wait for another holder that may be about to store new tokens.

    A holder on this machine has the claim. One on another machine may have lost its lock, as a server restarted: it
    gets the time that saving takes.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first_seen: float | None = None
        self._looks = 0

    def is_over(self) -> bool:
        return time.monotonic() - self._began > CLAIM_WAIT

    def is_worthwhile(self, held: HeldTokenFamily, lost_at: datetime, now: datetime) -> bool:
        """Check whether a holder on another machine may still save its tokens.

        Clocks differ, so no wait is longer than this machine's clock allows.

        Raises:
            TokenStoreError: the store cannot be written, so that nobody could save anything.
        """
        if self._first_seen is None:
            held.commit()
            self._first_seen = time.monotonic()
        seconds = time.monotonic() - self._first_seen
        return seconds < SAVING_WAIT or (lost_at > now and seconds < RESPONSE_WAIT.total_seconds())

    def report(self) -> None:
        self._looks += 1
        if self._looks == LOOKS_UNREPORTED:
            logger.warning(
                "Another run requested new tokens and has not stored them yet. Waiting for it, %.0f s at most.",
                CLAIM_WAIT,
            )


@dataclass(kw_only=True, eq=False, repr=False)
class Renewer:
    """Gets new tokens for one family, one renewal at a time across threads, processes and machines.

    Attributes, beyond those of `TokenManager`:
        configured: the refresh token of the settings; None to use what `login` stored.
        usable: returns the tokens of a family, if they can be used.
        leaving: set when the process is about to end.
    """

    configured: str | None
    store: TokenStore
    endpoint: TokenEndpoint
    usable: Callable[[TokenFamily], Tokens | None]
    on_secret: Callable[[str], object]
    on_rotate: Callable[[Tokens], None] | None
    leaving: threading.Event
    _requesting: set[threading.Thread] = field(default_factory=set, init=False)
    _change: threading.Condition = field(default_factory=threading.Condition, init=False)
    _announced: datetime | None = field(default=None, init=False)
    _refused: str | None = field(default=None, init=False)

    def renew(self) -> Outcome:
        """Get new tokens, or those that another run just stored.

        A thread of its own does it: Ctrl-C and SIGTERM must not come between Sage's rotation and the commit. Python
        raises what a signal handler raises in the main thread only.

        Raises:
            AuthorizationError: no token can be had, as in `TokenManager.access_token`.
        """
        outcome: Future[Outcome] = Future()
        threading.Thread(target=self._run, args=(outcome,), name="token-renewal", daemon=True).start()
        try:
            return outcome.result()
        except (KeyboardInterrupt, SystemExit):
            self.leaving.set()
            raise

    def wait_for_refresh(self) -> None:
        """Wait until no token request is under way and all tokens are saved, `LONGEST_REFRESH_WAIT` at most.

        Nothing is renewed from now on. May be called from any thread, more than once.
        """
        with self._change:
            self.leaving.set()
            self._change.wait_for(lambda: not self._requesting, LONGEST_REFRESH_WAIT)

    def _run(self, outcome: Future[Outcome]) -> None:
        unsaved: UnsavedTokens | None = None
        try:
            found = retry_unavailable(self._renewed, self.leaving.wait)
            unsaved = found.unsaved
            if unsaved is not None:
                unsaved.report()
            if found.is_new and self.on_rotate is not None:
                self.on_rotate(found.tokens)
            if found.problem is not None:
                outcome.set_exception(found.problem)
            else:
                outcome.set_result(found)
        except BaseException as error:  # noqa: BLE001 - the waiting side raises it
            outcome.set_exception(error)
        finally:
            if unsaved is not None:
                unsaved.save_eventually(self.leaving)
            self._end()

    def _renewed(self) -> Outcome:
        """Renew under the lock. When Sage refuses, read the store once more: another run may have renewed."""
        wait = _Wait()
        while True:
            pause: Callable[[float], object] = self.leaving.wait
            with self.store.locked(self.endpoint.client_id, self.configured) as held:
                if held is None:
                    raise LoginRequiredError(f"The login was removed from the token store. Run {login_command()}.")
                if held.is_ahead:
                    held.commit()
                    continue
                if (usable := self.usable(held.family)) is not None:
                    return Outcome(usable, is_new=False)
                if not self._is_alive(held) or self._must_wait(held, wait):
                    wait.report()
                elif not self._announce(held):
                    continue
                else:
                    try:
                        return self._refresh(held)
                    except InvalidGrantError as error:
                        self._refused, pause = held.family.refresh_token, self.endpoint.sleep
                        logger.warning("%s. Reading the token store once more.", error)
            # Without the lock: a holder whose database connection broke may be about to store its tokens.
            pause(LOOK_AGAIN_AFTER)

    def _is_alive(self, held: HeldTokenFamily) -> bool:
        """Check that Sage did not call the refresh token invalid; read the store once more where it did.

        The successor may be about to be stored. A refusal is noted at once, so that no other run sends the token too.

        Raises:
            LoginRequiredError: it is the token that was refused at the last look, or another store used it. A token
                that is sent twice may end the login there (tokens.reuse).
        """
        token = held.family.refresh_token
        if held.family.tokens is None and (used := self.store.used_elsewhere(held.family)):
            raise LoginRequiredError(
                f"The refresh token of the settings was used before, and is not sent again. {used} Or run "
                f"{login_command()}."
            )
        if token == self._refused:
            if held.family.refused_at is None:
                held.conclude(refused_at=self.endpoint.now())
            raise LoginRequiredError(self._why_login_is_required(held.family))
        if held.family.refused_at is None:
            return True
        self._refused = token
        return False

    def _must_wait(self, held: HeldTokenFamily, wait: _Wait) -> bool:
        """Check whether another run may have newer tokens than the store; if not, this run has the claim now.

        Raises:
            AuthorizationError: the run is ending.
            TokenStoreError: another run has, and did not save them in time.
        """
        lost_at = held.family.answer_lost_at
        if held.claim():
            if held.is_local or lost_at is None or lost_at == self._announced:
                return False
            if not wait.is_worthwhile(held, lost_at, self.endpoint.now()):
                return False
        elif wait.is_over():
            raise TokenStoreError(
                f"Another run on this machine got new tokens, which the token store {self.store.place} did not take "
                f"in {CLAIM_WAIT:.0f} s. Repair the store, and do not kill that run: it goes on trying."
            )
        self._require_time()
        return True

    def _announce(self, held: HeldTokenFamily) -> bool:
        self._announced = self.endpoint.now() + RESPONSE_WAIT
        return held.announce(self._announced)

    def _refresh(self, held: HeldTokenFamily) -> Outcome:
        problem: NoAccessTokenError | None = None
        try:
            self._begin()
            tokens = self.endpoint.refresh(held.family.refresh_token)
        except NoAccessTokenError as error:
            problem, tokens = error, error.tokens
        except RefreshOutcomeUnknownError as error:
            held.conclude(answer_lost_at=self.endpoint.now())
            raise RefreshOutcomeUnknownError(
                f"{error} The next run tries the stored token once more; if Sage refuses it then, run "
                f"{login_command()}."
            ) from None
        except InvalidGrantError:
            held.conclude(refused_at=self.endpoint.now())
            raise
        except BaseException:
            held.conclude()
            raise
        self.on_secret(tokens.access_token)
        self.on_secret(tokens.refresh_token)
        unsaved = held.renew(tokens)
        if problem is None:
            logger.info("Access token renewed, good until %s.", readable(tokens.expires_at))
        return Outcome(tokens, unsaved=unsaved, problem=problem)

    def _begin(self) -> None:
        """Make the end of the process wait for this thread."""
        with self._change:
            self._require_time()
            if not self._requesting:
                atexit.register(self.wait_for_refresh)
            self._requesting.add(threading.current_thread())

    def _end(self) -> None:
        with self._change:
            self._requesting.discard(threading.current_thread())
            if not self._requesting:
                atexit.unregister(self.wait_for_refresh)
            self._change.notify_all()

    def _require_time(self) -> None:
        if self.leaving.is_set():
            raise AuthorizationError("The run is ending, so no new tokens were requested.")

    def _why_login_is_required(self, family: TokenFamily) -> str:
        """Describe why a token family is dead, when it was last good, and what to do."""
        happened = _what_happened(family, self.store.place, self.endpoint.now())
        last_good = None if family.tokens is None else family.tokens.issued_at
        return f"{happened} {self.store.elsewhere(family.client_id, last_good) or f'Run {login_command()}.'}"


def _what_happened(family: TokenFamily, place: str, now: datetime) -> str:
    if family.tokens is None:
        happened = (
            "Sage refused the refresh token of the settings: it was used before, expired or was revoked. The token "
            f"store {place} has no successor of it. An earlier run may have used it with another store: a container "
            "without a lasting disk, or another machine. Then set 'token_store' to a database that all runs share."
        )
    else:
        happened = (
            "Sage refused the stored refresh token: it expired, was revoked, or another login of this user and "
            f"application replaced it. It was last good at {readable(family.tokens.issued_at)}."
        )
    if family.answer_lost_at is not None:
        lost_at = readable(min(family.answer_lost_at, now))
        happened += f" The response to a token request got lost at {lost_at}: that is the cause."
    return happened
