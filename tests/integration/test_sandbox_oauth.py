"""The simulated authorization server over HTTP: consent, codes, rotation, revocation."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from sage_sandbox.faults import Fault, Faults
from sage_sandbox.grants import Client
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Business, Clock, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLBACK = "http://localhost:8765/callback"
VERIFIER = "v" * 50


def make_world() -> World:
    clock = Clock(datetime(2026, 6, 30, 18, tzinfo=UTC), frozen=True)
    lead = Business("b1", "Acme & Sons", "GB", "Plus", {"id": "b1"}, {})
    return World(clock, {"id": "u1", "displayed_as": "Jane <Example>"}, {"b1": lead})


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(make_world()) as running:
        yield running


def credentials(server: SandboxServer) -> dict[str, str]:
    return {"client_id": server.client_id, "client_secret": server.client_secret}


def post_token(server: SandboxServer, **form: str) -> requests.Response:
    return requests.post(server.token_url, data={**credentials(server), **form}, timeout=60)


def refresh(server: SandboxServer, token: str) -> requests.Response:
    return post_token(server, grant_type="refresh_token", refresh_token=token)


def status_of(server: SandboxServer, access_token: str) -> int:
    headers = {"Authorization": f"Bearer {access_token}"}
    return requests.get(f"{server.api_url}/user", headers=headers, timeout=60).status_code


def ask_consent(server: SandboxServer, decision: str | None = "allow", **changes: str | None) -> requests.Response:
    params: dict[str, Any] = {
        "client_id": server.client_id,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": "readonly",
        "state": "s t&te",
        "filter": "apiv3.1",
        **changes,
    }
    if decision is None:
        return requests.get(server.auth_url, params=params, timeout=60)
    form = {**params, "decision": decision}
    return requests.post(server.auth_url, data=form, allow_redirects=False, timeout=60)


def answer_to(redirect: requests.Response) -> dict[str, str]:
    assert redirect.status_code == 302, redirect.text
    target = redirect.headers["Location"]
    assert target.startswith(f"{CALLBACK}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}


def exchange(server: SandboxServer, code: str, **changes: str) -> requests.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **changes}
    return post_token(server, **form)


def refusal(answer: requests.Response) -> tuple[int, str]:
    assert answer.json()["error_description"]
    return answer.status_code, answer.json()["error"]


class TestRefresh:
    def test_tokens_come_in_sages_shape(self, server: SandboxServer) -> None:
        tokens = refresh(server, server.refresh_token).json()
        access, newest = tokens.pop("access_token"), tokens.pop("refresh_token")
        assert tokens == {
            "scope": "full_access",
            "token_type": "bearer",
            "expires_in": 300,
            "refresh_token_expires_in": 2678400,
            "requested_by_id": tokens["requested_by_id"],
        }
        header, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in access.split("."))
        assert json.loads(header)["alg"] == "RS512"
        assert json.loads(claims)["exp"] - json.loads(claims)["iat"] == 300
        assert json.loads(claims)["azp"] == server.client_id
        assert 900 < len(access) < 2048
        assert {access, newest} < server.issued_secrets
        assert status_of(server, access) == 200

    def test_a_refresh_token_works_once(self, server: SandboxServer) -> None:
        newest = refresh(server, server.refresh_token).json()["refresh_token"]
        assert refusal(refresh(server, server.refresh_token)) == (400, "invalid_grant")
        assert refresh(server, newest).ok
        assert (server.grants.refreshes, server.grants.refusals) == (2, {"used": 1})

    def test_using_one_twice_can_cost_the_whole_grant(self, server: SandboxServer) -> None:
        server.faults.reuse_kills_grant = True
        newest = refresh(server, server.refresh_token).json()["refresh_token"]
        refresh(server, server.refresh_token)
        assert refusal(refresh(server, newest)) == (400, "invalid_grant")

    def test_access_tokens_outlive_the_rotation_but_not_their_lifetime(
        self, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.faults.access_token_lifetime = 300
        first = refresh(server, server.refresh_token).json()
        server.faults.access_token_lifetime = 3000
        second = refresh(server, first["refresh_token"]).json()
        assert (status_of(server, first["access_token"]), first["expires_in"]) == (200, 300)
        later = SimpleNamespace(time=lambda: time.time() + 301, monotonic=time.monotonic)
        monkeypatch.setattr("sage_sandbox.grants.time", later)
        assert (status_of(server, first["access_token"]), status_of(server, second["access_token"])) == (401, 200)

    def test_refresh_tokens_expire_except_the_first(self, server: SandboxServer) -> None:
        server.faults.refresh_token_lifetime = 0.0
        expired = refresh(server, server.refresh_token).json()["refresh_token"]
        answer = refresh(server, expired)
        assert refusal(answer) == (400, "invalid_grant")
        assert "expired" in answer.json()["error_description"]

    def test_moving_the_simulated_time_leaves_tokens_alone(self, server: SandboxServer) -> None:
        tokens = refresh(server, server.refresh_token).json()
        with server.paused() as world:
            world.clock.advance(datetime(2027, 6, 30, tzinfo=UTC) - world.clock.now())
        assert status_of(server, tokens["access_token"]) == 200

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({"grant_type": "refresh_token", "refresh_token": "made up"}, "invalid_grant"),
            ({"grant_type": "refresh_token"}, "invalid_request"),
            ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
            ({}, "invalid_request"),
            ({"grant_type": "refresh_token", "client_secret": "wrong"}, "invalid_client"),
            ({"grant_type": "refresh_token", "client_id": "nobody"}, "invalid_client"),
        ],
    )
    def test_bad_token_requests_are_refused(self, server: SandboxServer, form: dict[str, str], error: str) -> None:
        assert refusal(post_token(server, **form)) == (400, error)
        assert refresh(server, server.refresh_token).ok

    def test_credentials_may_come_as_basic_and_the_body_as_json(self, server: SandboxServer) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": server.refresh_token}
        basic = (server.client_id, server.client_secret)
        tokens = requests.post(server.token_url, data=form, auth=basic, timeout=60).json()
        body = {**credentials(server), **form, "refresh_token": tokens["refresh_token"]}
        assert requests.post(server.token_url, json=body, timeout=60).ok

    def test_bodies_and_headers_that_say_nothing_are_refused(self, server: SandboxServer) -> None:
        for body in ("{", "[]"):
            headers = {"Content-Type": "application/json"}
            answer = requests.post(server.token_url, data=body, headers=headers, timeout=60)
            assert refusal(answer) == (400, "invalid_client")
        headers = {"Authorization": "Basic !"}
        assert refusal(requests.post(server.token_url, headers=headers, timeout=60)) == (400, "invalid_client")

    def test_tokens_are_not_had_by_get(self, server: SandboxServer) -> None:
        assert requests.get(server.token_url, params=credentials(server), timeout=60).status_code == 405

    def test_requests_for_tokens_are_logged_without_what_they_carry(self, server: SandboxServer) -> None:
        tokens = refresh(server, server.refresh_token).json()
        ask_consent(server)
        assert [(each.path, each.params) for each in server.requests] == [("/token", {}), ("/oauth2/auth/central", {})]
        assert tokens["refresh_token"] not in repr(list(server.requests))


class TestRevocation:
    def test_a_revoked_grant_is_gone_while_its_access_token_lives_on(self, server: SandboxServer) -> None:
        tokens = refresh(server, server.refresh_token).json()
        form = {**credentials(server), "token": tokens["refresh_token"]}
        answer = requests.post(server.revoke_url, data=form, timeout=60)
        assert (answer.status_code, answer.json()) == (200, {"success": "ok"})
        refused = refresh(server, tokens["refresh_token"])
        assert "revoked" in refused.json()["error_description"]
        assert status_of(server, tokens["access_token"]) == 200

    def test_only_the_applications_own_tokens_can_be_revoked(self, server: SandboxServer) -> None:
        form = {**credentials(server), "client_secret": "wrong", "token": server.refresh_token}
        assert refusal(requests.post(server.revoke_url, data=form, timeout=60)) == (400, "invalid_client")
        assert refresh(server, server.refresh_token).ok


class TestConsent:
    def test_the_page_says_which_application_wants_which_access(self, server: SandboxServer) -> None:
        page = ask_consent(server, None)
        assert page.headers["Content-Type"].startswith("text/html")
        for text in ("sandbox-client/app", "readonly", "Jane &lt;Example&gt;", 'id="allow"', 'id="deny"', "s t&amp;te"):
            assert text in page.text
        assert "http" not in page.text.replace(CALLBACK, "")

    def test_allowing_leads_back_with_a_code_that_names_the_country(self, server: SandboxServer) -> None:
        redirect = ask_consent(server)
        assert "code=GB%2F" in redirect.headers["Location"]
        answer = answer_to(redirect)
        assert (answer["state"], answer["country"]) == ("s t&te", "GB")
        tokens = exchange(server, answer["code"]).json()
        assert tokens["scope"] == "readonly"
        assert status_of(server, tokens["access_token"]) == 200
        assert answer["code"] in server.issued_secrets

    def test_a_new_consent_ends_the_older_grant(self, server: SandboxServer) -> None:
        exchange(server, answer_to(ask_consent(server))["code"])
        assert refusal(refresh(server, server.refresh_token)) == (400, "invalid_grant")

    def test_denying_leads_back_with_an_error(self, server: SandboxServer) -> None:
        answer = answer_to(ask_consent(server, "deny"))
        assert (answer["error"], answer["state"]) == ("access_denied", "s t&te")

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"scope": "everything"}, "invalid_scope"),
            ({"code_challenge": "short"}, "invalid_request"),
            ({"code_challenge": VERIFIER, "code_challenge_method": "MD5"}, "invalid_request"),
            ({"country": "fr"}, "Invalid request"),
        ],
    )
    def test_bad_requests_lead_back_with_an_error(
        self, server: SandboxServer, changes: dict[str, str], error: str
    ) -> None:
        assert answer_to(ask_consent(server, **changes))["error"] == error

    def test_an_outage_leads_back_with_an_error(self, server: SandboxServer) -> None:
        server.faults.add(Fault("authorize", "temporarily_unavailable"))
        assert answer_to(ask_consent(server))["error"] == "temporarily_unavailable"

    @pytest.mark.parametrize(
        "changes",
        [
            {"client_id": "nobody"},
            {"redirect_uri": "http://example.com/callback"},
            {"redirect_uri": "ftp://localhost/callback"},
            {"redirect_uri": None},
        ],
    )
    def test_nobody_is_led_to_an_unknown_address(self, server: SandboxServer, changes: dict[str, Any]) -> None:
        answer = ask_consent(server, **changes)
        assert (answer.status_code, "Location" in answer.headers) == (400, False)

    def test_registered_addresses_are_compared_exactly(self, server: SandboxServer) -> None:
        server.grants.clients[server.client_id].redirect_uris = (CALLBACK,)
        assert ask_consent(server).status_code == 302
        assert ask_consent(server, redirect_uri=CALLBACK + "/").status_code == 400
        assert ask_consent(server, redirect_uri=CALLBACK.upper()).status_code == 400


class TestCodes:
    def test_a_code_works_once(self, server: SandboxServer) -> None:
        code = answer_to(ask_consent(server))["code"]
        assert exchange(server, code).ok
        assert refusal(exchange(server, code)) == (400, "invalid_grant")

    def test_a_code_expires(self, server: SandboxServer) -> None:
        server.faults.code_lifetime = 0.0
        code = answer_to(ask_consent(server))["code"]
        assert "expired" in exchange(server, code).json()["error_description"]

    def test_a_code_belongs_to_its_address_and_application(self, server: SandboxServer) -> None:
        code = answer_to(ask_consent(server))["code"]
        assert refusal(exchange(server, code, redirect_uri="http://localhost:1/callback")) == (400, "invalid_grant")
        server.grants.clients["other"] = Client("other", "other-secret")
        code = answer_to(ask_consent(server))["code"]
        stolen = exchange(server, code, client_id="other", client_secret="other-secret")
        assert refusal(stolen) == (400, "invalid_grant")

    @pytest.mark.parametrize("method", ["S256", "plain"])
    def test_a_challenge_must_be_met(self, server: SandboxServer, method: str) -> None:
        digest = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        challenge = {"S256": digest, "plain": VERIFIER}[method]
        asked = {"code_challenge": challenge, "code_challenge_method": method}
        for wrong in ({"code_verifier": "w" * 50}, {}):
            code = answer_to(ask_consent(server, **asked))["code"]
            assert refusal(exchange(server, code, **wrong)) == (400, "invalid_grant")
        code = answer_to(ask_consent(server, **asked))["code"]
        assert exchange(server, code, code_verifier=VERIFIER).ok


class TestTroubles:
    @pytest.mark.parametrize("what", ["cut", "lost"])
    def test_a_response_that_breaks_off_has_rotated_the_grant(self, server: SandboxServer, what: str) -> None:
        server.faults.add(Fault("token", what))
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            refresh(server, server.refresh_token)
        assert refusal(refresh(server, server.refresh_token)) == (400, "invalid_grant")

    def test_a_request_that_never_arrived_has_not(self, server: SandboxServer) -> None:
        server.faults.add(Fault("token", "drop"))
        with pytest.raises(requests.ConnectionError):
            refresh(server, server.refresh_token)
        assert refresh(server, server.refresh_token).ok

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_refusal_has_not_either(self, server: SandboxServer, status: int) -> None:
        server.faults.add(Fault("token", status, retry_after=1))
        answer = refresh(server, server.refresh_token)
        assert (answer.status_code, answer.headers["Retry-After"]) == (status, "1")
        assert refresh(server, server.refresh_token).ok

    def test_the_token_endpoint_can_be_slow_or_a_web_page(self, server: SandboxServer) -> None:
        server.faults.add(Fault("token", "slow", seconds=0.1))
        started = time.perf_counter()
        newest = refresh(server, server.refresh_token).json()["refresh_token"]
        assert time.perf_counter() - started >= 0.1
        server.faults.add(Fault("token", "html"))
        assert "<html>" in refresh(server, newest).text


class TestMemory:
    def test_grants_survive_a_restart(self, tmp_path: Path) -> None:
        with SandboxServer(make_world(), data_dir=tmp_path / "data") as before:
            tokens = refresh(before, before.refresh_token).json()
        with SandboxServer(make_world(), data_dir=tmp_path / "data") as after:
            assert status_of(after, tokens["access_token"]) == 200
            assert "used before" in refresh(after, after.refresh_token).json()["error_description"]
            assert after.grants.newest_refresh_token() == tokens["refresh_token"]
            assert refresh(after, tokens["refresh_token"]).ok
        (kept,) = (tmp_path / "data").iterdir()
        assert kept.stat().st_mode & 0o777 == 0o600

    def test_a_revocation_survives_a_restart(self, tmp_path: Path) -> None:
        with SandboxServer(make_world(), data_dir=tmp_path) as before:
            form = {**credentials(before), "token": before.refresh_token}
            assert requests.post(before.revoke_url, data=form, timeout=60).ok
        with SandboxServer(make_world(), data_dir=tmp_path) as after:
            assert refusal(refresh(after, after.refresh_token)) == (400, "invalid_grant")

    def test_without_a_directory_every_start_is_the_first(self) -> None:
        for _ in range(2):
            with SandboxServer(make_world(), faults=Faults()) as server:
                assert refresh(server, server.refresh_token).ok
