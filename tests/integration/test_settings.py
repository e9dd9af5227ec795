"""Settings that are wrong are refused before anything is sent, with what is wrong and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from sage_sandbox.server import SandboxServer
from sage_workbench.small_sage import small_world
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA, parse_start_date
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ABSENT = "(absent)"


@pytest.fixture(scope="module")
def sage() -> Iterator[SandboxServer]:
    with SandboxServer(small_world()) as server:
        yield server


@pytest.fixture
def configure(sage: SandboxServer, tmp_path: Path) -> Callable[..., TapSageAccounting]:
    def make(**changes: Any) -> TapSageAccounting:
        config = {**sage.tap_config(token_store=f"sqlite:///{tmp_path / 'tokens.sqlite'}"), **changes}
        return TapSageAccounting(config={name: value for name, value in config.items() if value != ABSENT})

    return make


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"page_size": 0}, "'page_size' must be 1 to 200, not 0"),
        ({"page_size": 500}, "'page_size' must be 1 to 200, not 500"),
        ({"page_size": "many"}, "'page_size' must be a whole number, not 'many'"),
        ({"concurrency": 0}, "'concurrency' must be 1 to 150, not 0"),
        ({"requests_per_minute": 0}, "'requests_per_minute' must be 1 to 1000000, not 0"),
        ({"lookback_window": -1}, "'lookback_window' must be 0 to 31622400, not -1"),
        ({"start_date": "6 months ago"}, "'start_date' is no date: '6 months ago'. Write it like 2026-01-31"),
        ({"start_date": "2026-13-01"}, "'start_date' is no date: '2026-13-01'"),
        ({"start_date": "0001-01-01"}, "'start_date' lies before 1970: '0001-01-01'"),
        ({"start_date": "0202-01-01T00:00:00Z"}, "'start_date' lies before 1970: '0202-01-01T00:00:00Z'"),
        ({"start_date": "2202-01-01"}, "'start_date' lies in the future: '2202-01-01'"),
        ({"start_date": "0001-01-01T00:00:00+14:00"}, "'start_date' is no date: '0001-01-01T00:00:00+14:00'"),
        ({"lookback_window": 100_000_000_000}, "'lookback_window' must be 0 to 31622400, not 100000000000"),
        ({"deletion_sweep_days": 10**12}, "'deletion_sweep_days' must be 0 to 3650, not 1000000000000"),
        ({"patience": 10**400}, "'patience' must be 0 to 604800, not 1000"),
        ({"requests_per_minute": 10**400}, "'requests_per_minute' must be 1 to 1000000, not 1000"),
        ({"start_date": 20260131}, "'start_date' must be a text, not 20260131"),
        ({"client_id": ABSENT}, "'client_id' is missing: Client ID of your application"),
        ({"client_secret": ABSENT}, "'client_secret' is missing"),
        ({"client_secret": ""}, "'client_secret' must not be empty"),
        ({"client_id": ""}, "Fill it in where it is empty: TAP_SAGE_ACCOUNTING_CLIENT_ID, in .env too, or a file of"),
        ({"business_ids": "b1"}, "'business_ids' must be a list, not 'b1'"),
        ({"business_ids": [""]}, "'business_ids[0]' must not be empty"),
        ({"business_ids": ["b1", 7]}, "'business_ids[1]' must be a text, not 7"),
        ({"emit_activate_version_messages": "yes"}, "must be true or false, not 'yes'"),
        ({"page_sise": 100}, "'page_sise' does not exist; did you mean 'page_size'?"),
        ({"zzz": 1}, "'zzz' does not exist; see --about"),
        ({"api_url": "http://api.example.com/v3.1"}, "'api_url' must begin with https://"),
        ({"token_url": "http://oauth.example.com/token"}, "'token_url' must begin with https://"),
        ({"api_url": "api.example.com"}, "'api_url' is no web address: write it like https://"),
        ({"token_store": "nonsense"}, "'token_store' is no database URL. Write it like sqlite:///"),
        ({"token_store": "mysql://host/database"}, "'token_store' must name SQLite or PostgreSQL, not 'mysql'"),
        ({"token_store": "sqlite:////dev/null/tokens.sqlite"}, "/dev/null/tokens.sqlite cannot be used"),
        ({"token_store_key": "short"}, "'token_store_key' must hold Fernet keys"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_with_what_would_be_right(
    configure: Callable[..., TapSageAccounting], sage: SandboxServer, changes: dict[str, Any], reported: str
) -> None:
    with pytest.raises(ConfigValidationError) as refused:
        configure(**changes)
    [problem] = refused.value.errors
    assert reported in problem
    assert len(sage.requests) == 0


def test_all_wrong_settings_are_reported_at_once(configure: Callable[..., TapSageAccounting]) -> None:
    with pytest.raises(ConfigValidationError) as refused:
        configure(page_size=0, concurrency=0, start_date="soon", client_id=ABSENT, pagesize=1)
    reported = " ".join(refused.value.errors)
    for name in ("page_size", "concurrency", "start_date", "client_id", "pagesize"):
        assert f"'{name}'" in reported


@pytest.mark.parametrize("name", [name for name, each in CONFIG_JSONSCHEMA["properties"].items() if each.get("secret")])
def test_a_refused_secret_is_not_shown(configure: Callable[..., TapSageAccounting], name: str) -> None:
    with pytest.raises(ConfigValidationError) as refused:
        configure(**{name: ["a-secret-in-a-list"]})
    assert f"'{name}' must be a text" in str(refused.value.errors)
    assert "a-secret-in-a-list" not in f"{refused.value} {refused.value.errors}"


@pytest.mark.parametrize(
    "changes",
    [
        {"business_ids": []},
        {"business_ids": None},
        {"start_date": ""},
        {"start_date": None},
        {"requests_per_minute": None},
        {"refresh_token": ABSENT},
        {"stream_maps": {"contacts": {"email": None}}},
        {"flattening_enabled": True, "flattening_max_depth": 2},
    ],
    ids=str,
)
def test_what_is_left_open_is_accepted(configure: Callable[..., TapSageAccounting], changes: dict[str, Any]) -> None:
    assert configure(**changes).config["page_size"] == 200


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T18:00:00Z", "2026-01-31T18:00:00+00:00"),
        ("2026-01-31T18:00:00", "2026-01-31T18:00:00+00:00"),
        ("2026-01-31T18:00:00+02:00", "2026-01-31T16:00:00+00:00"),
        ("2026-05-22T10:33:35.608757", "2026-05-22T10:33:35.608757+00:00"),
    ],
)
def test_a_start_date_is_in_utc_unless_it_says_otherwise(text: str, moment: str) -> None:
    assert parse_start_date(text).isoformat() == moment


def test_a_time_of_day_is_no_start_date() -> None:
    with pytest.raises(ValueError, match="12:30"):
        parse_start_date("12:30")


def test_validation_needs_neither_settings_nor_a_store_for_discovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(TapSageAccounting(parse_env_config=False, validate_config=False).streams) > 80
    assert list(tmp_path.iterdir()) == []
