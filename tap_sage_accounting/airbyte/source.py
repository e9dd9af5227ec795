"""The tap with Airbyte around it: its settings, its tokens, its failures."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigValidationError, FatalAPIError, RetriableAPIError, SkippableAPIError
from singer_sdk.singerlib import SchemaMessage
from typing_extensions import override

from tap_sage_accounting.airbyte.spec import settings_of
from tap_sage_accounting.airbyte.writer import now
from tap_sage_accounting.api.access import request_access
from tap_sage_accounting.auth.endpoint import LIFETIME, REFRESH_LIFETIME, RefreshOutcomeUnknownError, UnreachableError
from tap_sage_accounting.auth.renewal import LoginRequiredError
from tap_sage_accounting.auth.tokens import Tokens
from tap_sage_accounting.client import SageStream
from tap_sage_accounting.declaration import StreamDeclaration
from tap_sage_accounting.exceptions import (
    AuthorizationError,
    NoWayToSageError,
    RefusedRunError,
    RetriesExhaustedError,
    RetryAfterTooLongError,
    RightsError,
    ServiceUnavailableError,
    SettingsError,
    TokenStoreError,
)
from tap_sage_accounting.run.report import WHY, RunReport
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA
from tap_sage_accounting.tap import TapSageAccounting
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_sage_accounting.airbyte.writer import AirbyteWriter, FailureType
    from tap_sage_accounting.auth.manager import TokenManager

MOST_ROWS = 1 << 40
"""Rows of a list that are believed; what a list says beyond that is no number of rows."""
NEXT_ESTIMATE = 1.25
"""By how much the rows of a stream must have grown for another estimate: there are many businesses."""
_CORRECTED_BY_USER = (
    ConfigValidationError,
    SettingsError,
    AuthorizationError,
    NoWayToSageError,
    SkippableAPIError,
    RefusedRunError,
)
_PASSING = (
    RetriesExhaustedError,
    RetryAfterTooLongError,
    ServiceUnavailableError,
    RetriableAPIError,
    RefreshOutcomeUnknownError,
    UnreachableError,
    TokenStoreError,
)


def failure_type(error: BaseException | None) -> FailureType:
    """Return what must happen first: the user corrects something, time passes, or this project corrects the source."""
    if isinstance(error, _PASSING):
        return "transient_error"
    return "config_error" if isinstance(error, _CORRECTED_BY_USER) else "system_error"


def words_of(error: BaseException) -> str:
    """Say what happened and what to do, for a person who sees Airbyte and not a terminal."""
    words = " ".join(getattr(error, "errors", ())) or str(error)
    if isinstance(error, LoginRequiredError):
        words += " In Airbyte, log in again or give the source a fresh refresh token, and save it."
    return words


class AirbyteTap(TapSageAccounting):
    """The tap, run by Airbyte.

    Args, beyond those of a Singer tap:
        config: the source's settings as Airbyte keeps them.
        writer: takes what the tap writes.
        replaced: streams whose tables are replaced by what this run brings.

    Raises:
        ConfigValidationError: the settings are not right.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        writer: AirbyteWriter,
        *,
        catalog: dict[str, Any] | None = None,
        state: dict[str, Any] | None = None,
        replaced: frozenset[str] = frozenset(),
    ) -> None:
        require_own_settings(config)
        self._replaced = replaced
        self._countries: dict[str, str] = {}
        self._as_given = dict(config)
        self._writer = writer
        super().__init__(config=settings_of(config), catalog=catalog, state=state, message_writer=writer)

    @override  # type: ignore[misc] # final: the SDK has no hook for the end of a stream
    def write_message(self, message: Any) -> None:
        if isinstance(message, SchemaMessage) and not self._writer.has_begun(message.stream):
            self.checkpoints.deliver()  # before the schema ends the stream whose rows wait
        super().write_message(message)

    @override
    @cached_property
    def tokens(self) -> TokenManager:
        self._store_access_token()
        return super().tokens

    @property
    @override
    def on_rotate(self) -> Callable[[Tokens], None] | None:
        """Hand tokens back, unless there is a lasting store: that has the newest ones for every run."""
        is_keeper = bool(self.config.get("refresh_token")) and not self.config.get("token_store")
        return self._hand_back if is_keeper else None

    def _store_access_token(self) -> None:
        """Put the access token that Airbyte keeps into the store, unless that knows more: using it spends nothing.

        Where Airbyte does not say how long it is good, Sage will.
        """
        access_token, refresh_token = (self._as_given.get(name) for name in ("access_token", "refresh_token"))
        if not access_token or not refresh_token:
            return
        self.secrets.learn(access_token)
        try:
            expires_at = parse_moment(str(self._as_given.get("token_expiry_date")))
        except ValueError:
            expires_at = datetime.now(UTC) + LIFETIME
        tokens = Tokens(
            access_token=access_token,
            refresh_token=refresh_token,
            issued_at=expires_at - LIFETIME,
            lifetime=LIFETIME,
            refresh_lifetime=REFRESH_LIFETIME,
        )
        with self.token_store.locked(self.config["client_id"], refresh_token) as held:
            if held is not None and held.family.tokens is None:
                held.save(tokens)

    def _hand_back(self, tokens: Tokens) -> None:
        """Give Airbyte the settings with which the next run begins; called before the tokens are used."""
        config = {
            **self._as_given,
            "refresh_token": tokens.refresh_token,
            "access_token": tokens.access_token,
            "token_expiry_date": instant(tokens.expires_at),
        }
        control = {"type": "CONNECTOR_CONFIG", "emitted_at": float(now()), "connectorConfig": {"config": config}}
        self._writer.write({"type": "CONTROL", "control": control})

    @override
    @cached_property
    def report(self) -> RunReport:
        return AirbyteReport(
            self._replaced, tap=self, fail_stream=self._writer.fail, write_estimate=self._writer.estimate
        )

    @override
    def report_progress(self) -> None:
        self._writer.report_limit(self.gate.seconds_to_wait())

    def never_had(self, stream: str, business: str) -> bool:
        """Return whether a business's country has no such stream: countries, unlike editions, never change."""
        reading = self.streams[stream]
        found = next((each for each in self.businesses if str(each) == business), None)
        if not isinstance(reading, SageStream) or reading.countries == StreamDeclaration.countries or found is None:
            return False
        if found.id not in self._countries:
            try:
                self._countries[found.id] = request_access(self.connection, found.id, f"country of {found}").country
            except (FatalAPIError, SkippableAPIError):
                return False
        return self._countries[found.id] in {*StreamDeclaration.countries} - {*reading.countries}


@dataclass
class AirbyteReport(RunReport):
    """Reports each failure when it happens, with the stream that it happened to.

    What Sage refuses in one business is no failure where a stream adds to its table. Where it replaces the table, it
    is: the rows of that business would be gone, if its country ever had them. A stream that the user may read nowhere
    is one, too.
    """

    tap: AirbyteTap = field(kw_only=True)
    fail_stream: Callable[[str, str, FailureType, BaseException | None], None] = field(kw_only=True)
    write_estimate: Callable[[str, int], None] = field(kw_only=True)
    _refused_streams: set[str] = field(default_factory=set)
    _expected: Counter[str] = field(default_factory=Counter)
    _estimated: Counter[str] = field(default_factory=Counter)

    @override
    def expect(self, stream: str, rows: int) -> None:
        if rows > MOST_ROWS:
            return  # no list is that long
        self._expected[stream] += rows
        if self._expected[stream] >= NEXT_ESTIMATE * self._estimated[stream]:
            self._estimated[stream] = self._expected[stream]
            self.write_estimate(stream, self._expected[stream])

    @override
    def fail(self, stream: str, business: str, reason: str) -> None:
        super().fail(stream, business, reason)
        error = sys.exception()
        self.fail_stream(stream, f"'{stream}' of {business}: {reason}", failure_type(error), error)

    @override
    def skip(self, stream: str, business: str, error: SkippableAPIError) -> None:
        super().skip(stream, business, error)
        skipped = [outcome.reason for outcome in self.skipped if outcome.stream == stream]
        if stream in self.replaced:
            if stream in self._refused_streams or self.tap.never_had(stream, business):
                return
            self._refused_streams.add(stream)
            problem = (
                f" of {business}: {skipped[-1]}. This sync replaces the table, and the rows of that business would be "
                "lost, so the stream is incomplete. Give the user the right in Sage, or upgrade; or deselect the "
                "stream, or name the other businesses in 'business_ids'."
            )
        elif set(skipped) == {WHY[RightsError]} and len(skipped) == len(self.tap.streams[stream].partitions or (None,)):
            problem = (
                ": the user's role does not include it in any business (403). Give the user the right in Sage, or "
                "deselect the stream."
            )
        else:
            return
        self.fail_stream(stream, f"'{stream}'{problem}", "config_error", error)


def require_own_settings(config: Mapping[str, Any]) -> None:
    """Refuse what the SDK adds for Singer pipelines: it changes streams and columns behind the catalog's back.

    Raises:
        ConfigValidationError: naming what there is.
    """
    foreign = TapSageAccounting.known_settings().keys() - CONFIG_JSONSCHEMA["properties"].keys()
    if found := sorted(foreign & config.keys()):
        problem = f"Settings {', '.join(found)} are for Singer pipelines; in Airbyte, use what Airbyte has for it."
        raise ConfigValidationError(problem, errors=[problem])
