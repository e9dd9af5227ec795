"""Renewals: under the store's lock, and not let go of before the new tokens are stored."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.auth.endpoint import InvalidGrantError, NoAccessTokenError, RefreshOutcomeUnknownError
from tap_sage_accounting.auth.store import patiently
from tap_sage_accounting.exceptions import AuthorizationError, TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_sage_accounting.auth.endpoint import TokenEndpoint
    from tap_sage_accounting.auth.store import HeldTokenFamily, TokenStore, UnsavedTokens
    from tap_sage_accounting.auth.tokens import TokenFamily, Tokens

ANSWER_WAIT = timedelta(seconds=120)
"""After the announcement of a token request, when its answer counts as lost; longer than any takes."""
SAVING_WAIT = 40.0
"""Seconds for which a store must have worked before another machine's holder counts as gone.

Longer than one attempt to save takes: a second's pause, a connection and a call that went dark.
"""
CLAIM_WAIT = 240.0
"""Seconds for which a holder on this machine is waited for, who has the claim; as for the store's lock."""
LOOK_AGAIN_AFTER = 1.0
"""Seconds before the store is read again, for what another holder may have stored."""
LOOKS_UNREPORTED = 3
"""Looks at an announcement of another holder before that is worth a warning."""
SAVE_AGAIN_AFTER = 1.0
"""Seconds between two attempts to save new tokens that the store did not take."""
LAST_ATTEMPTS = 15.0
"""Seconds for which such attempts go on when the process ends."""
LONGEST_SETTLING = 110.0
"""Seconds for which the end of the process waits: a token request, and the attempts to save what it brings."""
LOGIN_COMMAND = "`meltano invoke tap-sage-accounting:login` (or `tap-sage-accounting-login --config FILE`)"

logger = logging.getLogger(__name__)


class LoginRequiredError(AuthorizationError):
    """Only a person can go on from here, by logging in."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a renewal brought.

    Attributes:
        tokens: usable tokens.
        is_new: whether Sage was asked for them; otherwise another run had stored them.
        unsaved: the same tokens, where the store did not take them.
        problem: why they open nothing, where they are new and do not.
    """

    tokens: Tokens
    is_new: bool = True
    unsaved: UnsavedTokens | None = None
    problem: NoAccessTokenError | None = None


class _Waiting:
    """Waiting for another holder that may be about to store what it got.

    One on this machine has the claim: it is waited for until the store has worked without it for too long. One on
    another machine may have lost its lock, as a server restarted, and says nothing: it gets the time that saving takes.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first_seen: float | None = None
        self._looks = 0

    def is_over(self) -> bool:
        return time.monotonic() - self._began > CLAIM_WAIT

    def is_worthwhile(self, held: HeldTokenFamily, lost_at: datetime, now: datetime) -> bool:
        """Check whether a holder on another machine may still save what it got.

        Clocks differ, so no wait is longer than this machine's clock allows.

        Raises:
            TokenStoreError: the store cannot be written, so that nobody could save anything.
        """
        if self._first_seen is None:
            held.touch()
            self._first_seen = time.monotonic()
        seconds = time.monotonic() - self._first_seen
        return seconds < SAVING_WAIT or (lost_at > now and seconds < ANSWER_WAIT.total_seconds())

    def report(self) -> None:
        self._looks += 1
        if self._looks == LOOKS_UNREPORTED:
            logger.warning(
                "Another run asked Sage for new tokens and has not stored them yet. Waiting for it, %.0f s at most.",
                CLAIM_WAIT,
            )


class Renewer:
    """Gets new tokens for one lineage, one renewal at a time across threads, processes and machines.

    Args:
        client_id: the application.
        configured: the refresh token of the settings; None to use what `login` stored.
        store: where tokens live between runs.
        endpoint: Sage's token endpoint.
        usable: returns the tokens of a lineage, if they can be used.
        on_secret: called with each secret value that becomes known.
        on_rotate: called with each new answer.
        now: the present moment, UTC.
        sleep: waits for a number of seconds.
        leaving: set when the process is about to end.
    """

    def __init__(  # noqa: PLR0913 - by keyword only
        self,
        *,
        client_id: str,
        configured: str | None,
        store: TokenStore,
        endpoint: TokenEndpoint,
        usable: Callable[[TokenFamily], Tokens | None],
        on_secret: Callable[[str], None],
        on_rotate: Callable[[Tokens], None] | None,
        now: Callable[[], datetime],
        sleep: Callable[[float], object],
        leaving: threading.Event,
    ) -> None:
        self._client_id = client_id
        self._configured = configured
        self._store = store
        self._endpoint = endpoint
        self._usable = usable
        self._on_secret = on_secret
        self._on_rotate = on_rotate
        self._now = now
        self._sleep = sleep
        self._leaving = leaving
        self._at_stake: set[threading.Thread] = set()
        self._change = threading.Condition()
        self._announced: datetime | None = None
        self._refused: str | None = None

    def renew(self) -> Outcome:
        """Get new tokens, or those that another run just stored.

        A thread of its own does it: Ctrl-C and SIGTERM must not come between Sage's rotation and our commit. Python
        raises what a signal handler raises in the main thread only.

        Raises:
            LoginRequiredError: the refresh token is dead, or there is none.
            RefreshOutcomeUnknownError: Sage may have replaced the tokens, but its answer got lost.
            AuthorizationError: no token can be had for another reason.
            TokenStoreError: the store cannot be used.
        """
        outcome: Future[Outcome] = Future()
        threading.Thread(target=self._run, args=(outcome,), name="token-renewal", daemon=True).start()
        try:
            return outcome.result()
        except (KeyboardInterrupt, SystemExit):
            self._leaving.set()
            raise

    def wait_for_refresh(self) -> None:
        """Wait until no token request is under way and all tokens are saved, in the store or in a file; with a bound.

        Nothing is renewed from now on. May be called from any thread, more than once.
        """
        with self._change:
            self._leaving.set()
            self._change.wait_for(lambda: not self._at_stake, LONGEST_SETTLING)

    def _run(self, outcome: Future[Outcome]) -> None:
        unsaved: UnsavedTokens | None = None
        try:
            found = patiently(self._renewed, self._leaving.wait)
            unsaved = found.unsaved
            if unsaved is not None:
                _report_unsaved(unsaved)
            if found.is_new and self._on_rotate is not None:
                self._on_rotate(found.tokens)
            if found.problem is not None:
                outcome.set_exception(found.problem)
            else:
                outcome.set_result(found)
        except BaseException as error:  # noqa: BLE001 - the waiting side raises it
            outcome.set_exception(error)
        finally:
            if unsaved is not None:
                self._save(unsaved)
            self._end()

    def _renewed(self) -> Outcome:
        """Renew under the lock; when Sage refuses, look into the store once more: somebody may have rotated."""
        waiting = _Waiting()
        while True:
            pause: Callable[[float], object] = self._leaving.wait
            with self._store.locked(self._client_id, self._configured) as held:
                if held is None:
                    raise LoginRequiredError(f"The login was removed from the token store. Run {LOGIN_COMMAND}.")
                if held.is_ahead:
                    held.catch_up()
                    continue
                if (usable := self._usable(held.family)) is not None:
                    return Outcome(usable, is_new=False)
                if not self._is_alive(held) or self._must_wait(held, waiting):
                    waiting.report()
                elif not self._announce(held):
                    continue
                else:
                    try:
                        return self._spend(held)
                    except InvalidGrantError as error:
                        self._refused, pause = held.family.refresh_token, self._sleep
                        logger.warning("%s. Looking into the token store once more.", error)
            # Without the lock: a holder whose database connection broke may be about to store what it got.
            pause(LOOK_AGAIN_AFTER)

    def _is_alive(self, held: HeldTokenFamily) -> bool:
        """Check that Sage did not call the refresh token invalid, and look once more where it did.

        Its successor may be about to be stored. A refusal is noted at once, so that no other run sends the token too.

        Raises:
            LoginRequiredError: it is the token that was refused at the last look.
        """
        token = held.family.refresh_token
        if token == self._refused:
            if held.family.refused_at is None:
                held.conclude(refused_at=self._now())
            raise LoginRequiredError(login_required(held.family, self._store.place, self._now()))
        if held.family.refused_at is None:
            return True
        self._refused = token
        return False

    def _must_wait(self, held: HeldTokenFamily, waiting: _Waiting) -> bool:
        """Check whether somebody may have newer tokens than the store; if not, this run has the claim now.

        Raises:
            AuthorizationError: the run is ending.
            TokenStoreError: somebody has, and did not save them in time.
        """
        lost_at = held.family.answer_lost_at
        if held.claim():
            if held.is_local or lost_at is None or lost_at == self._announced:
                return False
            if not waiting.is_worthwhile(held, lost_at, self._now()):
                return False
        elif waiting.is_over():
            raise TokenStoreError(
                f"Another run on this machine got new tokens, which the token store {self._store.place} did not take "
                f"in {CLAIM_WAIT:.0f} s. Repair the store, and do not kill that run: it goes on trying."
            )
        if self._leaving.is_set():
            raise _ending()
        return True

    def _announce(self, held: HeldTokenFamily) -> bool:
        self._announced = self._now() + ANSWER_WAIT
        return held.announce(self._announced)

    def _spend(self, held: HeldTokenFamily) -> Outcome:
        problem: NoAccessTokenError | None = None
        try:
            self._begin()
            tokens = self._endpoint.refresh(held.family.refresh_token)
        except NoAccessTokenError as error:
            problem, tokens = error, error.tokens
        except RefreshOutcomeUnknownError as error:
            held.conclude(answer_lost_at=self._now())
            raise RefreshOutcomeUnknownError(
                f"{error} The next run tries the stored token once more; if Sage refuses it then, run {LOGIN_COMMAND}."
            ) from None
        except InvalidGrantError:
            held.conclude(refused_at=self._now())
            raise
        except BaseException:
            held.conclude()
            raise
        self._on_secret(tokens.access_token)
        self._on_secret(tokens.refresh_token)
        unsaved = held.renew(tokens)
        if problem is None:
            logger.info("Access token renewed, good until %s.", moment(tokens.issued_at + tokens.lifetime))
        return Outcome(tokens, unsaved=unsaved, problem=problem)

    def _save(self, unsaved: UnsavedTokens) -> None:
        """Try to save new tokens for as long as the process lives, and for a moment longer."""
        end: float | None = None
        while not unsaved.save():
            if self._leaving.wait(SAVE_AGAIN_AFTER):
                end = end or time.monotonic() + LAST_ATTEMPTS
                if time.monotonic() > end:
                    return _report_unsaved(unsaved, is_last=True)
                time.sleep(SAVE_AGAIN_AFTER)
        return logger.warning("The new tokens are saved in the token store %s now.", self._store.place)

    def _begin(self) -> None:
        """From now on the end of the process waits for this thread."""
        with self._change:
            if self._leaving.is_set():
                raise _ending()
            if not self._at_stake:
                atexit.register(self.wait_for_refresh)
            self._at_stake.add(threading.current_thread())

    def _end(self) -> None:
        with self._change:
            self._at_stake.discard(threading.current_thread())
            if not self._at_stake:
                atexit.unregister(self.wait_for_refresh)
            self._change.notify_all()


def login_required(family: TokenFamily, place: str, now: datetime) -> str:
    """Say what happened to a dead lineage, when it was last good, and what to do."""
    if family.tokens is None:
        happened = (
            "Sage refused the refresh token of the settings: it was used before, expired or was revoked, and the "
            f"token store {place} knows no successor of it. If an earlier run used it with another "
            "store (a container without a lasting disk, another machine), set 'token_store' to a database that "
            "all runs share."
        )
    else:
        happened = (
            "Sage refused the stored refresh token: it expired, was revoked, or another login of the same user and "
            f"application replaced it. It was last good at {moment(family.tokens.issued_at)}."
        )
    if family.answer_lost_at is not None:
        happened += (
            f" The answer to a token request got lost at {moment(min(family.answer_lost_at, now))}: that is the cause."
        )
    return f"{happened} Run {LOGIN_COMMAND}."


def moment(when: datetime) -> str:
    """Write a moment for a person."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _report_unsaved(unsaved: UnsavedTokens, *, is_last: bool = False) -> None:
    if unsaved.kept_in is not None:
        logger.warning(
            "%s Sage's new tokens are in the file %s; they are saved when the store works again, by this run or the "
            "next one on this machine.",
            unsaved.problem,
            unsaved.kept_in,
        )
    elif is_last:
        logger.error(
            "%s Sage's new tokens could be saved nowhere, and are lost: run %s.", unsaved.problem, LOGIN_COMMAND
        )
    else:
        logger.warning(
            "%s Sage's new tokens are in this process only, which goes on trying to save them: do not kill it.",
            unsaved.problem,
        )


def _ending() -> AuthorizationError:
    return AuthorizationError("The run is ending, so no new tokens were asked for.")
