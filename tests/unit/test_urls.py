from __future__ import annotations

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tap_sage_accounting.transport.urls import require_safe_url


@pytest.mark.parametrize(
    "url", ["https://oauth.example.com/token", "http://localhost:8000/token", "http://127.0.0.1/x", "http://[::1]:1/x"]
)
def test_addresses_that_are_safe_for_secrets_are_accepted(url: str) -> None:
    require_safe_url(url, "token_url")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://oauth.example.com/token", "must begin with https://"),
        ("http://localhost.example.com/token", "must begin with https://"),
        ("http://127.0.0.1.example.com/", "must begin with https://"),
        ("ftp://localhost/token", "is no web address"),
        ("oauth.example.com/token", "is no web address"),
        ("http://[broken/", "is no web address"),
        ("https://user:password@oauth.example.com/", "must not hold a user name"),
        ("", "is no web address"),
        ("https://oauth.example.com:99999/token", "is no web address"),
        ("https://oauth.example.com:port/token", "is no web address"),
        ("https://oauth.example.com:0/token", "is no web address"),
        ("https://oauth.example.com/to\nken", "is no web address"),
    ],
)
def test_addresses_that_would_leak_secrets_are_refused(url: str, complaint: str) -> None:
    with pytest.raises(ConfigValidationError, match=f"'token_url' {complaint}"):
        require_safe_url(url, "token_url")
