from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sage_sandbox.faults import Fault
from sage_sandbox.grants import Client, RefreshGrant
from sage_sandbox.server import SandboxServer
from sage_workbench.small_sage import manager, small_world, store_at, token_requests
from support.presence import present
from tap_sage_accounting.auth.endpoint import RefreshOutcomeUnknownError
from tap_sage_accounting.auth.renewal import LoginRequiredError
from tap_sage_accounting.auth.rescue import Renewed
from tap_sage_accounting.auth.tokens import fingerprint
from tap_sage_accounting.exceptions import AuthorizationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_sage_accounting.auth.store import TokenStore


@pytest.fixture
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return store_at(tmp_path)


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.moment


def test_one_refresh_serves_streams_threads_and_the_next_run(sage: SandboxServer, store: TokenStore) -> None:
    first = manager(sage, store)
    with ThreadPoolExecutor(8) as threads:
        given = set(threads.map(lambda _: first.access_token(), range(40)))
    assert len(given) == 1
    assert manager(sage, store).access_token() in given
    assert token_requests(sage) == 1


def test_a_run_within_four_minutes_of_the_last_refresh_sends_no_token_request(
    sage: SandboxServer, store: TokenStore
) -> None:
    moment = Time()
    manager(sage, store, now=moment).access_token()
    moment.moment += timedelta(seconds=239)
    manager(sage, store, now=moment).access_token()
    assert token_requests(sage) == 1
    moment.moment += timedelta(seconds=2)
    manager(sage, store, now=moment).access_token()
    assert token_requests(sage) == 2


def test_a_token_of_two_seconds_is_not_renewed_at_every_request(sage: SandboxServer, store: TokenStore) -> None:
    sage.faults.access_token_lifetime = 2
    moment = Time()
    tokens = manager(sage, store, now=moment)
    for _ in range(20):
        tokens.access_token()
        moment.moment += timedelta(seconds=0.075)
    assert token_requests(sage) == 1


def test_the_stored_successor_is_used_while_the_configured_token_is_the_same(
    sage: SandboxServer, store: TokenStore
) -> None:
    for renewal in range(1, 4):
        tokens = manager(sage, store)
        before = tokens.access_token()
        tokens.reject(before)
        assert tokens.access_token() != before
        assert sage.grants.refreshes == renewal + 1
    assert not sage.grants.refusals


def test_a_newly_pasted_refresh_token_wins_over_the_older_family(sage: SandboxServer, store: TokenStore) -> None:
    manager(sage, store).access_token()
    sage.grants._newest[sage.client_id] = RefreshGrant("pasted-refresh-token", "readonly", None)
    manager(sage, store, refresh_token="pasted-refresh-token").access_token()
    assert sage.grants.refreshes == 2
    assert present(present(store.read(sage.client_id, "pasted-refresh-token")).tokens).scope == "readonly"


def test_a_configured_token_that_is_the_newest_of_a_family_joins_it_for_good(
    sage: SandboxServer, store: TokenStore
) -> None:
    manager(sage, store).access_token()
    handed_back = present(store.read(sage.client_id, sage.refresh_token)).refresh_token
    assert manager(sage, store, refresh_token=handed_back).access_token()
    assert token_requests(sage) == 1

    original = manager(sage, store)
    original.reject(original.access_token())
    renewed = original.access_token()
    assert manager(sage, store, refresh_token=handed_back).access_token() == renewed
    assert not sage.grants.refusals


def test_without_a_configured_token_the_newest_login_is_used(sage: SandboxServer, store: TokenStore) -> None:
    with pytest.raises(LoginRequiredError, match=r"There is no login.*tap-sage-accounting-login"):
        manager(sage, store, refresh_token=None).access_token()
    manager(sage, store).access_token()
    with pytest.raises(LoginRequiredError, match="There is no login"):
        manager(sage, store, refresh_token="").access_token()
    assert token_requests(sage) == 1


def test_two_taps_with_different_credentials_never_see_each_others_tokens(
    sage: SandboxServer, store: TokenStore
) -> None:
    sage.grants.clients["other/app"] = Client("other/app", "other-secret")
    sage.grants._newest["other/app"] = RefreshGrant("other-refresh-token", "readonly", None)
    ours = manager(sage, store)
    theirs = manager(
        sage, store, client_id="other/app", client_secret="other-secret", refresh_token="other-refresh-token"
    )
    with ThreadPoolExecutor(4) as threads:
        given = list(threads.map(lambda tokens: tokens.access_token(), [ours, theirs] * 10))
    assert {sage.grants.client_of(token) for token in given[0::2]} == {sage.client_id}
    assert {sage.grants.client_of(token) for token in given[1::2]} == {"other/app"}
    with pytest.raises(LoginRequiredError):
        manager(sage, store, client_id="other/app", client_secret="other-secret", refresh_token=None).access_token()


def test_a_rejected_access_token_is_renewed_once_for_all_threads(sage: SandboxServer, store: TokenStore) -> None:
    tokens = manager(sage, store)
    old = tokens.access_token()

    def meet_a_401(_: int) -> str:
        tokens.reject(old)
        return tokens.access_token()

    with ThreadPoolExecutor(8) as threads:
        given = set(threads.map(meet_a_401, range(16)))
    assert len(given) == 1
    assert old not in given
    assert token_requests(sage) == 2


def test_a_rejected_access_token_is_replaced_by_what_another_run_stored(sage: SandboxServer, store: TokenStore) -> None:
    here, elsewhere = manager(sage, store), manager(sage, store)
    old = here.access_token()
    elsewhere.reject(old)
    renewed = elsewhere.access_token()
    here.reject(old)
    assert here.access_token() == renewed
    assert token_requests(sage) == 2


def test_an_expired_token_in_the_middle_of_a_run_costs_one_refresh(sage: SandboxServer, store: TokenStore) -> None:
    tokens = manager(sage, store)
    sage.grants._access.clear()
    tokens.access_token()
    sage.grants._access.clear()
    url = f"{sage.api_url}/user"
    answer = requests.get(url, auth=tokens.sign, timeout=60)
    assert answer.status_code == 401
    tokens.reject(answer.request.headers["Authorization"].removeprefix("Bearer "))
    assert requests.get(url, auth=tokens.sign, timeout=60).status_code == 200
    assert token_requests(sage) == 2


def test_new_tokens_are_stored_before_they_are_given_out(sage: SandboxServer, store: TokenStore) -> None:
    stored: list[Any] = []

    def look(tokens: Any) -> None:
        stored.append((tokens.refresh_token, present(store.read(sage.client_id, sage.refresh_token)).refresh_token))

    manager(sage, store, on_rotate=look).access_token()
    assert stored == [(sage.grants.newest_refresh_token(), sage.grants.newest_refresh_token())]


def test_a_dead_refresh_token_ends_in_one_message_and_is_never_sent_again(
    sage: SandboxServer, store: TokenStore
) -> None:
    tokens = manager(sage, store)
    tokens.reject(tokens.access_token())
    sage.grants._retire(sage.client_id, "revoked")
    for _ in range(3):
        with pytest.raises(LoginRequiredError, match=r"last good at \d{4}-.* Run `tap-sage-accounting-login`\."):
            tokens.access_token()
    for _ in range(2):
        again = manager(sage, store)
        again.reject(tokens._rejected or "")
        with pytest.raises(LoginRequiredError, match="last good at"):
            again.access_token()
    assert token_requests(sage) == 2


def test_a_used_up_first_token_points_to_a_store_that_all_runs_share(
    sage: SandboxServer, store: TokenStore, tmp_path: Path
) -> None:
    manager(sage, store).access_token()
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(LoginRequiredError, match="'token_store' to a database that all runs share"):
        manager(sage, store_at(tmp_path / "elsewhere")).access_token()


def test_a_refused_token_is_looked_up_once_more_because_somebody_may_have_rotated(
    sage: SandboxServer, store: TokenStore
) -> None:
    first = manager(sage, store)
    first.access_token()
    family = present(store.read(sage.client_id, sage.refresh_token))
    newer = first.endpoint.refresh(family.refresh_token)
    late = Renewed(frozenset({fingerprint(family.refresh_token)}), family.renewed(newer))

    tokens = manager(sage, store, sleep=lambda _: store._table.save(late))
    tokens.reject(present(family.tokens).access_token)
    assert tokens.access_token() == newer.access_token
    assert sage.grants.refusals == {"used": 1}


def test_a_lost_response_is_reported_as_exactly_that_and_nothing_is_repeated(
    sage: SandboxServer, store: TokenStore
) -> None:
    sage.faults.add(Fault(path="token", what="lost"))
    tokens = manager(sage, store)
    for _ in range(2):
        with pytest.raises(RefreshOutcomeUnknownError, match=r"may have replaced the tokens.*never arrived.*-login"):
            tokens.access_token()
    assert sage.grants.refreshes == 1
    assert token_requests(sage) == 1

    with pytest.raises(LoginRequiredError, match=r"response to a token request got lost at .*that is the cause"):
        manager(sage, store).access_token()
    assert sage.grants.refusals == {"used": 1}


@pytest.mark.parametrize("what", ["cut", 500, 502, 504, "html"])
def test_a_response_that_cannot_be_used_leaves_open_what_happened(
    sage: SandboxServer, store: TokenStore, what: int | str
) -> None:
    sage.faults.add(Fault(path="token", what=what))
    with pytest.raises(RefreshOutcomeUnknownError, match="replaced the tokens"):
        manager(sage, store).access_token()
    assert token_requests(sage) == 1


def test_a_grant_survives_a_request_that_was_lost_before_sage_saw_it(sage: SandboxServer, store: TokenStore) -> None:
    sage.faults.add(Fault(path="token", what="drop"))
    with pytest.raises(RefreshOutcomeUnknownError):
        manager(sage, store).access_token()
    assert manager(sage, store).access_token()
    assert present(store.read(sage.client_id, sage.refresh_token)).answer_lost_at is None


@pytest.mark.parametrize("what", [429, 503])
def test_a_request_that_sage_turned_away_is_sent_again(
    sage: SandboxServer, store: TokenStore, what: int, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    sage.faults.add(Fault(path="token", what=what, times=3, retry_after=7))
    assert manager(sage, store, sleep=waits.append).access_token()
    assert waits == [7, 7, 7]
    assert sage.grants.refreshes == 1
    assert f"status {what}" in caplog.text


def test_sage_that_turns_everything_away_leaves_the_tokens_untouched(sage: SandboxServer, store: TokenStore) -> None:
    fault = sage.faults.add(Fault(path="token", what=503, times=None, retry_after=3600))
    waits: list[float] = []
    with pytest.raises(AuthorizationError, match=r"503.*stored tokens are untouched"):
        manager(sage, store, sleep=waits.append).access_token()
    assert max(waits) == 15
    fault.times = 0
    assert manager(sage, store).access_token()


def test_wrong_credentials_are_named_without_being_shown(sage: SandboxServer, store: TokenStore) -> None:
    with pytest.raises(AuthorizationError, match="'client_id' and 'client_secret'") as caught:
        manager(sage, store, client_secret="not-the-secret").access_token()
    assert "not-the-secret" not in str(caught.value)
    assert manager(sage, store).access_token()


def test_an_idle_family_is_warned_about_from_24_days_on(
    sage: SandboxServer, store: TokenStore, caplog: pytest.LogCaptureFixture
) -> None:
    moment = Time()
    manager(sage, store, now=moment).access_token()
    moment.moment += timedelta(days=23, hours=23)
    manager(sage, store, now=moment).access_token()
    assert "Sage lets them die" not in caplog.text
    moment.moment += timedelta(days=24, minutes=1)
    manager(sage, store, now=moment).access_token()
    assert "last renewed 24 days ago, and Sage lets them die at" in caplog.text


def test_a_slow_refresh_holds_all_threads_and_spends_one_token(sage: SandboxServer, store: TokenStore) -> None:
    sage.faults.add(Fault(path="token", what="slow", seconds=0.1))
    managers = [manager(sage, store) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        given = set(threads.map(lambda number: managers[number % 4].access_token(), range(16)))
    assert len(given) == 1
    assert sage.grants.refreshes == 1


def test_an_interrupted_run_still_stores_what_sage_returns(
    sage: SandboxServer, store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    tokens = manager(sage, store)
    genuine = tokens.endpoint.refresh

    def refresh(token: str) -> Any:
        asked.set()
        time.sleep(0.1)
        return genuine(token)

    monkeypatch.setattr(tokens.endpoint, "refresh", refresh)

    def interrupted(*_: object) -> None:
        asked.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tokens.access_token()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (found := store.read(sage.client_id, sage.refresh_token)):
        time.sleep(0.02)
    assert found is not None
    assert found.refresh_token == sage.grants.newest_refresh_token()


def test_no_message_log_line_or_repr_holds_a_token(
    sage: SandboxServer, store: TokenStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = manager(sage, store)
    tokens.reject(tokens.access_token())
    tokens.access_token()
    family = tokens.family()
    sage.grants._retire(sage.client_id, "revoked")
    later = manager(sage, store)
    later.reject(later.access_token())
    with pytest.raises(LoginRequiredError) as caught:
        later.access_token()
    shown = caplog.text + repr(family) + repr(family.tokens) + repr(tokens) + repr(caught.value)
    assert len(sage.issued_secrets) == 5
    assert not [secret for secret in sage.issued_secrets if secret in shown]


def test_a_redirect_to_another_host_never_carries_the_token(sage: SandboxServer, store: TokenStore) -> None:
    tokens = manager(sage, store)
    target = SandboxServer(small_world())
    seen: list[str | None] = []

    class Watch(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            seen.append(request.headers.get("Authorization"))
            answer = super().send(request, *args, **kwargs)
            if len(seen) == 1:
                answer.status_code = 302
                answer.headers["Location"] = target.api_url.replace("127.0.0.1", "localhost") + "/user"
            return answer

    with target, requests.Session() as session:
        session.mount("http://", Watch())
        session.get(f"{sage.api_url}/user", auth=tokens.sign, timeout=60)
    assert seen == [f"Bearer {tokens.access_token()}", None]
