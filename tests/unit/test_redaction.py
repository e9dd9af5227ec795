from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from singer_sdk.logging import ConsoleFormatter, StructuredFormatter

from support.presence import present
from tap_sage_accounting.redaction import MASK, SecretFilter, install

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = 'configured/secret+"value"'


@pytest.fixture(params=[ConsoleFormatter, StructuredFormatter])
def output(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What a handler on the root logger writes, in each of the SDK's formats."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(request.param())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("name", ["tap-sage-accounting", "singer_sdk.metrics", "urllib3.connectionpool", "anything"])
def test_every_logger_writes_without_secrets(output: io.StringIO, name: str) -> None:
    secret_filter = install([SECRET])
    secret_filter.learn("learned-during-the-run")
    logger = logging.getLogger(name)
    level = logger.level  # the SDK sets that of its metrics
    logger.setLevel(logging.DEBUG)
    logger.debug("debug %s", SECRET)
    logger.info("info %r", {"token": "learned-during-the-run"})
    logger.warning("form %s", quote(SECRET, safe=""))
    logger.error("extra", extra={"request": {"body": SECRET}})
    logger.setLevel(level)
    assert SECRET not in output.getvalue()
    assert "learned-during-the-run" not in output.getvalue()
    assert quote(SECRET, safe="") not in output.getvalue()
    assert json.dumps(SECRET)[1:-1] not in output.getvalue()
    assert output.getvalue().count(MASK) >= 3


def test_exceptions_and_their_causes_are_written_without_secrets(output: io.StringIO) -> None:
    # Structured formats show the source line as well, so it must not spell the secrets.
    of_cause, of_error = (f"hidden-in-{place}" for place in ("a-cause", "the-error"))
    install([of_cause, of_error])

    empty: dict[str, str] = {}

    def fail() -> None:
        try:
            empty[of_cause]
        except KeyError as error:
            raise ValueError(f"reported: {of_error}") from error

    try:
        fail()
    except ValueError:
        logging.getLogger("tap-sage-accounting").exception("It failed")
    text = output.getvalue()
    assert of_cause not in text
    assert of_error not in text
    assert "ValueError" in text
    assert "KeyError" in text
    assert "in fail" in text or '"function":"fail"' in text


def test_an_exception_without_secrets_is_left_as_it_is() -> None:
    error = ValueError("nothing to hide")
    record = logging.makeLogRecord({"msg": "failed", "exc_info": (ValueError, error, None)})
    assert SecretFilter().filter(record)
    assert present(record.exc_info)[1] is error


def test_a_message_without_secrets_keeps_its_arguments() -> None:
    record = logging.makeLogRecord({"msg": "METRIC: %s", "args": ({"value": 3},)})
    SecretFilter().filter(record)
    assert record.msg == "METRIC: %s"
    assert record.args == ({"value": 3},)


def test_arguments_that_do_not_fit_are_still_masked() -> None:
    secret_filter = SecretFilter()
    secret_filter.learn("learned-value")
    record = logging.makeLogRecord({"msg": "two %s %s", "args": ("learned-value",)})
    secret_filter.filter(record)
    assert "learned-value" not in record.getMessage()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("send: 'Authorization: Bearer abc.def-ghi'", "abc.def-ghi"),
        ("{'Authorization': 'Basic Y2xpZW50OnNlY3JldA=='}", "Y2xpZW50OnNlY3JldA"),
        ("header bearer abcdefgh.ijkl_mnop", "abcdefgh"),
        ("POST body client_secret=s3cr3t-value&grant_type=refresh_token", "s3cr3t-value"),
        ('{"access_token": "opaque-one", "refresh_token":"opaque-two"}', "opaque"),
        ('"GET /callback?code=GB%2F0123abcd&country=GB&state=x HTTP/1.1" 200', "0123abcd"),
        ("{'code': 'GB/0123abcd', 'country': 'GB'}", "0123abcd"),
        ("token eyJhbGciOiJSUzUxMiJ9.eyJpc3MiOiJvYXV0aCJ9.c2lnbmF0dXJl.", "eyJ"),
        ("cut off eyJhbGciOiJSUzUxMiJ9.eyJpc3Mi", "eyJ"),
        ("postgresql+psycopg://jane:pa55-word@db.example.com/tokens", "pa55-word"),
        ("https://accounts.example.com/advanced_uk/online_payment/gb28ea5d1131b6f2", "gb28ea5d1131b6f2"),
        ('{"href": "https://pay.example.com/0a1b2c", "rel": "bookmark"}', "0a1b2c"),
        ("{'rel': 'bookmark', 'href': 'https://pay.example.com/0a1b2c'}", "0a1b2c"),
    ],
)
def test_what_looks_like_a_secret_is_masked_without_being_known(text: str, secret: str) -> None:
    masked = SecretFilter().masked(text)
    assert secret not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "text",
    [
        "Sage answered 401 [AuthorizationFailure] No active subscription. (MSE)",
        "exit code: 1, status code=404, error code: UnexpectedError",
        "'refresh_token' is a required property",
        "basic functionality of https://api.accounting.sage.com/v3.1/sales_invoices?page=2&attributes=all",
        "METRIC: {'type': 'counter', 'metric': 'record_count', 'value': 200}",
    ],
)
def test_ordinary_messages_stay_as_they_are(text: str) -> None:
    assert SecretFilter().masked(text) == text


def test_installing_again_adds_secrets_and_handlers_but_no_second_filter(output: io.StringIO) -> None:
    first = install(["first-tenant-secret"])
    late = logging.StreamHandler(output)
    logging.getLogger("late").addHandler(late)
    second = install(["second-tenant-secret", None, ""])
    assert second is first
    assert [type(each) for each in late.filters].count(SecretFilter) == 1
    logging.getLogger("late").warning("first-tenant-secret second-tenant-secret")
    logging.getLogger("late").removeHandler(late)
    assert "tenant-secret" not in output.getvalue()


def test_short_values_do_not_eat_ordinary_words() -> None:
    secret_filter = SecretFilter()
    secret_filter.learn("page")
    assert secret_filter.masked("page 2 of contacts") == "page 2 of contacts"
