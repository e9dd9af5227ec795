"""Single odd responses of Sage: what is sent again, what is not, and what the user learns of it."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import requests
from singer_sdk.exceptions import FatalAPIError

from tap_sage_accounting.api.http_client import MAX_ATTEMPTS, HttpClient
from tap_sage_accounting.api.observations import Observations
from tap_sage_accounting.api.request import Request, Response, parse_json
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.exceptions import (
    EditionError,
    MalformedResponseError,
    NotFoundError,
    RequestTooLargeError,
    RetriesExhaustedError,
    RightsError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests_mock import Mocker

API = "https://sage.test/v3.1"
CONTACTS = f"{API}/contacts"
CUSTOMER = "Ms. Private Person, 1 Hidden Lane"


class Tokens:
    """Gives a new access token whenever the one before was rejected."""

    def __init__(self) -> None:
        self.rejected: list[str] = []

    def access_token(self) -> str:
        return f"access-token-{len(self.rejected)}"

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.access_token()}"
        return request

    def reject(self, token: str) -> bool:
        self.rejected.append(token)
        return True

    def accept(self, token: str) -> None:
        assert token == self.access_token()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def connection(tokens: Tokens) -> Iterator[HttpClient]:
    found = HttpClient(
        tokens=tokens,  # type: ignore[arg-type] # what a connection needs of its token manager
        gate=RequestGate(concurrency=2),
        api_url=API,
        user_agent="test/1",
        connections=2,
        patience=30,
        observations=Observations(),
    )
    yield found
    found.close()


def ask(connection: HttpClient, **options: Any) -> Any:
    request = Request("/contacts", {"page": 1}, "b1", "'contacts' of Harbour Lights")
    return connection.get(request, Response.json, **options)


def refusal(code: str, message: str) -> list[dict[str, str]]:
    return [{"$severity": "error", "$dataCode": code, "$message": message, "$source": ""}]


SUCCESS: dict[str, Any] = {"json": {"$items": []}}
EXPIRED: dict[str, Any] = {"status_code": 401, "json": refusal("Unauthorized", "The access token is invalid.")}
UNSUBSCRIBED: dict[str, Any] = {"status_code": 401, "json": refusal("Unauthorized", "No active subscription found.")}


# Tokens


def test_a_rejected_token_is_renewed_once_and_the_request_goes_on(
    connection: HttpClient, tokens: Tokens, requests_mock: Mocker
) -> None:
    requests_mock.get(CONTACTS, [EXPIRED, SUCCESS])
    assert ask(connection) == {"$items": []}
    sent = [request.headers["Authorization"] for request in requests_mock.request_history]
    assert sent == ["Bearer access-token-0", "Bearer access-token-1"]
    assert tokens.rejected == ["access-token-0"]


def test_a_missing_subscription_renews_no_token(connection: HttpClient, tokens: Tokens, requests_mock: Mocker) -> None:
    requests_mock.get(CONTACTS, [UNSUBSCRIBED])
    with pytest.raises(EditionError, match="subscription or edition does not offer"):
        ask(connection)
    assert requests_mock.call_count == 1
    assert tokens.rejected == []


# Refusals for good


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InvalidParameter", FatalAPIError),
        (403, "MultiUserAccessDenied", RightsError),
        (404, "RecordNotFound", NotFoundError),
        (415, "UnsupportedMediaType", FatalAPIError),
        (422, "ValidationError", FatalAPIError),
    ],
)
def test_what_sage_refuses_for_good_is_requested_once_and_reported_in_sages_words(
    connection: HttpClient, requests_mock: Mocker, status: int, code: str, kind: type[Exception]
) -> None:
    body = refusal(code, "This is not possible.")
    requests_mock.get(CONTACTS, status_code=status, json=body, headers={"x_request_id": "r-42"})
    with pytest.raises(kind) as refused:
        ask(connection)
    assert requests_mock.call_count == 1
    reported = str(refused.value)
    assert reported.startswith(f"'contacts' of Harbour Lights: Sage answered {status}")
    assert f"[{code}] This is not possible." in reported
    assert "r-42" in reported


@pytest.mark.parametrize(
    ("body", "reported"),
    [
        (json.dumps(refusal("InvalidPage", "No such page.")), "[InvalidPage] No such page."),
        (json.dumps(refusal("InvalidPage", "No such page.")[0]), "[InvalidPage] No such page."),
        ('{"error": "invalid_request", "error_description": "A header is missing."}', "[invalid_request] A header is"),
        ("[]", "not in the form of Sage's errors"),
        ("<html><body>Bad gateway for Ms. Private Person, 1 Hidden Lane</body></html>", "is a web page"),
        (json.dumps(refusal("Invalid", CUSTOMER * 10)), "[Invalid]"),
        (json.dumps({"contacts": [{"name": CUSTOMER}]}), "not in the form of Sage's errors"),
        ("", "is empty"),
        (b"\xff\xfe", "not in the form of Sage's errors"),
    ],
    ids=["array", "object", "oauth", "empty array", "html", "long", "data", "empty", "binary"],
)
def test_an_error_in_any_shape_is_reported_without_data(
    connection: HttpClient,
    requests_mock: Mocker,
    caplog: pytest.LogCaptureFixture,
    body: str | bytes,
    reported: str,
) -> None:
    requests_mock.get(CONTACTS, status_code=400, content=body if isinstance(body, bytes) else body.encode())
    with caplog.at_level(logging.DEBUG), pytest.raises(FatalAPIError) as refused:
        ask(connection)
    assert reported in str(refused.value)
    for text in (str(refused.value), caplog.text):
        assert "Private" not in text
        assert "access-token" not in text


# Too many requests


def refused(after: str | None) -> dict[str, Any]:
    return {"status_code": 429, "headers": {} if after is None else {"Retry-After": after}}


@pytest.mark.parametrize("after", ["0", "0.01"])
def test_a_429_is_waited_out(connection: HttpClient, requests_mock: Mocker, after: str) -> None:
    requests_mock.get(CONTACTS, [refused(after), refused(after), SUCCESS])
    assert ask(connection) == {"$items": []}
    assert requests_mock.call_count == 3


def test_sage_is_obeyed_when_it_says_how_long_to_wait(
    connection: HttpClient, requests_mock: Mocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []
    monkeypatch.setattr(connection._gate, "refused", lambda _, seconds: asked.append(seconds))
    requests_mock.get(CONTACTS, [refused("7"), refused(None), refused("soon"), SUCCESS])
    ask(connection)
    assert asked == [7.0, None, None]


# Faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        {"status_code": 500},
        {"status_code": 502, "text": "<html>Bad Gateway</html>"},
        {"status_code": 504},
        {"exc": requests.ConnectionError("connection reset while sending Bearer access-token-0")},
        {"exc": requests.ReadTimeout()},
        {"exc": requests.exceptions.ChunkedEncodingError()},
        {"exc": requests.exceptions.ContentDecodingError()},
        {"text": '{"$items": [{"name": "Ms. Private'},
        {"text": "<html>Maintenance</html>"},
    ],
    ids=str,
)
def test_a_passing_fault_passes_unnoticed_but_for_the_log(
    connection: HttpClient, requests_mock: Mocker, caplog: pytest.LogCaptureFixture, fault: dict[str, Any]
) -> None:
    requests_mock.get(CONTACTS, [fault, fault, SUCCESS])
    with caplog.at_level(logging.DEBUG, logger="tap-sage-accounting"):
        assert ask(connection) == {"$items": []}
    assert requests_mock.call_count == 3
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert all("Trying again in" in reported for reported in warnings)
    assert "Private" not in caplog.text
    assert "access-token" not in caplog.text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status_code": 507}, RetriesExhaustedError),
        ({"status_code": 504}, RequestTooLargeError),
        ({"exc": requests.ReadTimeout()}, RequestTooLargeError),
        ({"exc": requests.ConnectionError()}, RetriesExhaustedError),
        ({"text": "<html>"}, RetriesExhaustedError),
        ({"text": "[1, 2"}, RequestTooLargeError),
    ],
    ids=str,
)
def test_a_fault_that_does_not_pass_is_an_error_after_so_many_tries(
    connection: HttpClient, requests_mock: Mocker, fault: dict[str, Any], kind: type[Exception]
) -> None:
    requests_mock.get(f"{API}/user", json={})
    contacts = requests_mock.get(CONTACTS, [fault])
    with pytest.raises(FatalAPIError, match=r"Tried \d times") as failed:
        ask(connection)
    assert type(failed.value) is kind
    assert contacts.call_count in {MAX_ATTEMPTS, MAX_ATTEMPTS + 1}  # once more after a light request succeeded


# Responses that are not what they seem


def test_a_redirect_is_not_followed_with_the_token(connection: HttpClient, requests_mock: Mocker) -> None:
    elsewhere = requests_mock.get("https://elsewhere.test/contacts", json={"$items": []})
    requests_mock.get(CONTACTS, status_code=302, headers={"Location": "https://elsewhere.test/contacts"})
    with pytest.raises(FatalAPIError, match="302"):
        ask(connection)
    assert not elsewhere.called


def test_a_response_about_another_business_is_not_used(connection: HttpClient, requests_mock: Mocker) -> None:
    requests_mock.get(CONTACTS, json={"$items": []}, headers={"X-Business": "b2"})
    with pytest.raises(FatalAPIError, match=r"another business \(b2\)"):
        ask(connection)


def test_every_request_names_the_business_and_the_program(connection: HttpClient, requests_mock: Mocker) -> None:
    requests_mock.get(CONTACTS, **SUCCESS)
    ask(connection)
    [request] = requests_mock.request_history
    assert request.headers["X-Business"] == "b1"
    assert request.headers["User-Agent"] == "test/1"
    assert request.headers["Accept"] == "application/json"


def test_malformed_responses_are_reported_by_their_place_not_their_text() -> None:
    with pytest.raises(MalformedResponseError) as malformed:
        parse_json(b'{"name": "Ms. Private', "'contacts', page 3")
    assert "'contacts', page 3" in str(malformed.value)
    assert "Private" not in str(malformed.value)
