"""The source as Airbyte runs it: `source-sage-accounting spec | check | discover | read`."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from singer_sdk.exceptions import ConfigValidationError

from sage_sandbox.faults import Fault
from support.presence import present
from tap_sage_accounting.airbyte.catalog import Selection
from tap_sage_accounting.airbyte.cli import main
from tap_sage_accounting.airbyte.source import failure_type
from tap_sage_accounting.airbyte.spec import specification
from tap_sage_accounting.airbyte.writer import AirbyteLogHandler, AirbyteWriter
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.auth.endpoint import RefreshOutcomeUnknownError, TokenEndpoint, UnreachableError
from tap_sage_accounting.exceptions import (
    AuthorizationError,
    RetriesExhaustedError,
    RetryAfterTooLongError,
    RightsError,
    SettingsError,
    UndeliverableError,
)
from tap_sage_accounting.extraction import scheduler
from tap_sage_accounting.run.progress import Progress
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_sandbox.api import Call
    from sage_sandbox.server import SandboxServer
    from sage_sandbox.store import Business

    Record = dict[str, Any]

NOT_IN_AIRBYTE = {"auth_url", "redirect_uri", "emit_activate_version_messages", "log_metrics"}
"""Settings of the tap's own login, and of messages that Airbyte does not have."""


class Output:
    """What a run of the program put out, and how it ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        assert err == b""
        self.code = code
        self.messages: list[Record] = [json.loads(line) for line in out.splitlines()]
        self._exact: list[Record] = [json.loads(line, parse_float=Decimal) for line in out.splitlines()]

    def of(self, kind: str) -> list[Record]:
        """The bodies of all messages of a kind."""
        places = {"CONNECTION_STATUS": "connectionStatus"}
        return [m[places.get(kind, kind.lower())] for m in self.messages if m["type"] == kind]

    @property
    def records(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for each in self._exact:
            if each["type"] == "RECORD":
                found.setdefault(each["record"]["stream"], []).append(each["record"]["data"])
        return found

    @property
    def statuses(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for trace in self.of("TRACE"):
            if status := trace.get("stream_status"):
                found.setdefault(status["stream_descriptor"]["name"], []).append(status["status"])
        return found

    @property
    def errors(self) -> list[Record]:
        return [trace["error"] for trace in self.of("TRACE") if trace["type"] == "ERROR"]

    @property
    def states(self) -> dict[str, Record]:
        """The last state of each stream, as the platform keeps it and hands it to the next run."""
        return {state["stream"]["stream_descriptor"]["name"]: state for state in self.of("STATE")}

    @property
    def handed_back(self) -> list[Record]:
        return [control["connectorConfig"]["config"] for control in self.of("CONTROL")]

    @property
    def warnings(self) -> str:
        return "\n".join(log["message"] for log in self.of("LOG") if log["level"] == "WARN")


class Source:
    """The source, each run of which has a disk of its own: a container."""

    def __init__(self, server: SandboxServer, home: Path, streams: pytest.CaptureFixture[bytes]) -> None:
        self.config: Record = server.tap_config()
        self._home = home
        self._runs = 0
        self._streams = streams

    def command(self, *arguments: str, **files: Any) -> tuple[list[str], Path]:
        """Give the arguments of the program, and its home."""
        self._runs += 1
        home = self._home / f"run-{self._runs}"
        home.mkdir()
        for name, content in files.items():
            path = home / f"{name}.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            arguments += (f"--{name}", str(path))
        return list(arguments), home

    def __call__(self, *arguments: str, **files: Any) -> Output:
        line, home = self.command(*arguments, **files)
        self._streams.readouterr()
        with alone(home), pytest.raises(SystemExit) as left:
            main(line)
        reported = self._streams.readouterr()
        assert isinstance(left.value.code, int)
        return Output(left.value.code, reported.out, reported.err)

    def check(self, **changes: Any) -> Output:
        return self("check", config={**self.config, **changes})

    def read(self, *streams: str, mode: str = "incremental", state: Any = None, **changes: Any) -> Output:
        """Read some streams, with the settings that earlier runs handed back."""
        files = {} if state is None else {"state": state}
        output = self("read", config={**self.config, **changes}, catalog=configured(*streams, mode=mode), **files)
        if output.handed_back:
            self.config = output.handed_back[-1]
        return output


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Let the program have this process for itself: its home, its log, its signals."""
    root = logging.getLogger()
    handlers, level, signals = root.handlers, root.level, (signal.SIGTERM, signal.SIGINT)
    dispositions = [signal.getsignal(each) for each in signals]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("XDG_DATA_HOME", raising=False)
        try:
            yield
        finally:
            root.handlers = handlers
            root.setLevel(level)
            logging.captureWarnings(capture=False)
            for each, disposition in zip(signals, dispositions, strict=True):
                signal.signal(each, disposition)


@pytest.fixture
def source(server: SandboxServer, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Source:
    return Source(server, tmp_path, capfdbinary)


def configured(*streams: str, mode: str = "incremental") -> Record:
    return {
        "streams": [
            {
                "stream": {"name": name, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]},
                "sync_mode": mode,
                "destination_sync_mode": "overwrite" if mode == "full_refresh" else "append_dedup",
            }
            for name in streams
        ]
    }


def held(server: SandboxServer, stream: str) -> set[str]:
    return {row for business in server.world.businesses.values() for row in business.collections[stream].rows}


# The specification


def test_the_form_has_the_taps_settings_and_hides_the_secret_ones(source: Source) -> None:
    output = source("spec")
    assert output.code == 0
    [spec] = output.of("SPEC")
    form = spec["connectionSpecification"]
    Draft7Validator.check_schema(form)
    assert set(form["properties"]) == set(CONFIG_JSONSCHEMA["properties"]) - NOT_IN_AIRBYTE | {
        "access_token",
        "token_expiry_date",
    }
    secret = {name for name, each in form["properties"].items() if each.get("airbyte_secret")}
    assert secret == {
        "client_id",
        "client_secret",
        "refresh_token",
        "access_token",
        "token_store",
        "token_store_key",
    }
    groups = {group["id"] for group in form["groups"]}
    for name, each in form["properties"].items():
        assert isinstance(each["type"], str), name
        assert each["title"]
        assert each["description"]
        assert each["group"] in groups
    Draft7Validator(form).validate(source.config)
    assert not Draft7Validator(form).is_valid({**source.config, "page_size": 500})


def test_the_login_in_airbyte_fills_fields_of_the_form() -> None:
    spec = specification()
    oauth = spec["advanced_auth"]["oauth_config_specification"]
    consent = oauth["oauth_connector_input_specification"]
    assert consent["consent_url"].startswith("https://www.sageone.com/oauth2/auth/central?filter=apiv3.1&")
    assert consent["access_token_url"] == "https://oauth.accounting.sage.com/token"
    filled = {
        path
        for part in ("complete_oauth_output_specification", "complete_oauth_server_output_specification")
        for each in oauth[part]["properties"].values()
        for path in each["path_in_connector_config"]
    }
    assert filled == {"client_id", "client_secret", "refresh_token", "access_token", "token_expiry_date"}
    assert filled <= spec["connectionSpecification"]["properties"].keys()


# The check


def test_a_check_gets_a_token_and_hands_it_back_before_it_reports(source: Source, server: SandboxServer) -> None:
    output = source.check()
    assert output.code == 0
    assert output.of("CONNECTION_STATUS") == [{"status": "SUCCEEDED"}]
    assert output.messages[-1]["type"] == "CONNECTION_STATUS"
    [config] = output.handed_back
    assert config.items() >= {name: source.config[name] for name in ("client_id", "api_url")}.items()
    assert config["refresh_token"] != server.refresh_token
    # The first run of a container that knows nothing but these settings need not renew anything.
    refreshed = server.grants.refreshes
    again = source("check", config=config)
    assert again.of("CONNECTION_STATUS") == [{"status": "SUCCEEDED"}]
    assert again.handed_back == []
    assert server.grants.refreshes == refreshed


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"client_secret": "not-the-secret"}, "Check the settings 'client_id' and 'client_secret'"),
        ({"refresh_token": "no-such-token"}, "Sage refused the refresh token of the settings"),
        ({"business_ids": ["no-such-business"]}, "contains businesses this user has no access to: no-such-business"),
        ({"page_size": 500, "client_id": ""}, "'page_size' must be 1 to 200, not 500"),
        ({"pagesize": 5}, "did you mean 'page_size'?"),
        ({"stream_maps": {"contacts": {"__alias__": "people"}}}, "stream_maps are for Singer pipelines"),
    ],
    ids=["secret", "token", "business", "value", "name", "singer"],
)
def test_a_check_that_fails_says_what_to_do(source: Source, changes: Record, reported: str) -> None:
    output = source.check(**changes)
    assert output.code == 0
    [status] = output.of("CONNECTION_STATUS")
    assert status["status"] == "FAILED"
    assert reported in status["message"]
    assert "\\n" not in status["message"], "Several sentences stand in one line, where no line break is shown as such."


# The catalog


def test_the_catalog_holds_every_stream_in_types_that_airbyte_knows(source: Source) -> None:
    [catalog] = source("discover", config={}).of("CATALOG")
    streams = {stream["name"]: stream for stream in catalog["streams"]}
    assert set(streams) == {stream.name for stream in STREAMS}
    for name, stream in streams.items():
        schema = stream["json_schema"]
        Draft7Validator.check_schema(schema)
        assert "$ref" not in json.dumps(schema)
        for keys in stream["source_defined_primary_key"]:
            assert schema["properties"][keys[0]]["type"] == "string", name
        for cursor in stream.get("default_cursor_field", ()):
            assert schema["properties"][cursor]["airbyte_type"] == "timestamp_with_timezone"
        assert not stream["is_resumable"]
    invoice = streams["sales_invoices"]["json_schema"]["properties"]
    described = {name: {k: v for k, v in part.items() if k != "description"} for name, part in invoice.items()}
    assert described["updated_at"] == {
        "type": ["string", "null"],
        "format": "date-time",
        "airbyte_type": "timestamp_with_timezone",
    }
    assert described["date"] == {"type": ["string", "null"], "format": "date"}
    assert described["total_amount"] == {"type": ["string", "null"]}
    assert streams["sales_invoices"]["supported_sync_modes"] == ["full_refresh", "incremental"]
    assert streams["countries"]["supported_sync_modes"] == ["full_refresh"]
    for name in ("deletions", "runs", "run_reads"):
        assert streams[name]["supported_sync_modes"] == ["incremental"]


def test_the_settings_that_columns_depend_on_shape_the_catalog(source: Source) -> None:
    [catalog] = source("discover", config={"decimals": "number", "reference_ids": True}).of("CATALOG")
    [invoice] = [stream for stream in catalog["streams"] if stream["name"] == "sales_invoices"]
    assert invoice["json_schema"]["properties"]["total_amount"]["type"] == ["number", "null"]
    assert invoice["json_schema"]["properties"]["contact_id"]["type"] == ["string", "null"]


# Reads


def test_a_second_read_brings_what_changed(source: Source, server: SandboxServer) -> None:
    streams = ("contacts", "countries", "ledger_entries", "user")
    first = source.read(*streams)
    assert first.code == 0
    assert {name: len(rows) for name, rows in first.records.items()} == {
        "contacts": sum(len(b.collections["contacts"].rows) for b in server.world.businesses.values()),
        "countries": sum(len(b.collections["countries"].rows) for b in server.world.businesses.values()),
        "ledger_entries": len(held(server, "ledger_entries")),
        "user": 1,
    }
    business = next(iter(server.world.businesses.values()))
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        changed = next(iter(business.collections["contacts"].rows))
        business.collections["contacts"].change(changed, {"name": "Renamed"}, server.world.clock.now())
    second = source.read(*streams, state=list(first.states.values()))
    assert second.code == 0
    # What changed within the look-back is sent once more.
    assert changed in {row["id"] for row in second.records["contacts"]} < held(server, "contacts")
    assert len(second.records.get("ledger_entries", [])) < len(first.records["ledger_entries"])
    assert len(second.records["countries"]) == len(first.records["countries"])


def test_a_stream_is_reported_from_its_start_to_its_end_and_every_record_is_accounted_for(source: Source) -> None:
    output = source.read("contacts", "sales_invoices", "user", "deletions")
    assert output.statuses == {
        "contacts": ["STARTED", "RUNNING", "COMPLETE"],
        "sales_invoices": ["STARTED", "RUNNING", "COMPLETE"],
        "user": ["STARTED", "RUNNING", "COMPLETE"],
        "deletions": ["STARTED", "COMPLETE"],
    }
    counted: Counter[str] = Counter()
    for state in output.of("STATE"):
        assert state["type"] == "STREAM"
        assert "destinationStats" not in state
        counted[state["stream"]["stream_descriptor"]["name"]] += int(state["sourceStats"]["recordCount"])
    assert +counted == {name: len(rows) for name, rows in output.records.items()}
    # A platform that counts must not meet a record after its stream's last state, nor one before its stream's start.
    for name in output.statuses:
        kinds = [kind_of(message) for message in output.messages if stream_of(message) == name]
        assert kinds[0] == "STARTED"
        assert kinds[-2:] == ["STATE", "COMPLETE"]
    assert all(abs(record["emitted_at"] / 1000 - time.time()) < 600 for record in output.of("RECORD"))


def test_the_log_of_a_run_is_two_streams_that_are_open_until_its_end(source: Source) -> None:
    first = source.read("contacts", "runs", "run_reads")
    for name in ("contacts", "runs", "run_reads"):
        assert first.statuses[name] == ["STARTED", "RUNNING", "COMPLETE"]
    assert [row["status"] for row in first.records["runs"]] == ["running", "complete"]
    assert {row["run_id"] for row in first.records["run_reads"]} == {first.records["runs"][0]["run_id"]}
    for name in ("runs", "run_reads"):
        kinds = [kind_of(message) for message in first.messages if stream_of(message) == name]
        assert kinds.count("COMPLETE") == 1
        assert kinds[-2:] == ["STATE", "COMPLETE"]
    second = source.read("contacts", "runs", "run_reads", state=list(first.states.values()))
    assert [row["status"] for row in second.records["runs"]] == ["running", "complete"]


def test_a_limit_that_holds_a_stream_is_reported_with_its_end_and_so_is_the_end_of_it(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(present(RequestGate.__init__.__kwdefaults__), "minute", 1.5)
    monkeypatch.setitem(present(Progress.__init__.__kwdefaults__), "between_lines", 0.2)
    began = time.time()
    output = source.read("contacts", "countries", "sales_invoices", requests_per_minute=3)
    assert output.code == 0
    statuses = [trace["stream_status"] for trace in output.of("TRACE") if "stream_status" in trace]
    limited = [each for each in statuses if each.get("reasons")]
    assert {each["status"] for each in limited} == {"RUNNING"}
    for each in limited:
        [reason] = each["reasons"]
        assert reason["type"] == "RATE_LIMITED"
        assert began < reason["rate_limited"]["quota_reset"] / 1000 < time.time() + 2
    for name in {each["stream_descriptor"]["name"] for each in limited}:
        assert output.statuses[name][0] == "STARTED"
        assert set(output.statuses[name][1:-1]) == {"RUNNING"}
        assert output.statuses[name][-1] == "COMPLETE"


def test_how_many_records_a_stream_will_have_is_estimated_before_they_come(
    source: Source, server: SandboxServer
) -> None:
    output = source.read("contacts", "ledger_entries", "deletions")
    estimates = [trace["estimate"] for trace in output.of("TRACE") if trace["type"] == "ESTIMATE"]
    last = {each["name"]: each["row_estimate"] for each in estimates}
    assert {each["type"] for each in estimates} == {"STREAM"}
    assert last == {name: len(held(server, name)) for name in ("contacts", "ledger_entries")}
    assert output.statuses["contacts"] == ["STARTED", "RUNNING", "COMPLETE"]
    begun = [each["trace"]["type"] for each in output.messages if each["type"] == "TRACE"]
    assert begun[:2] == ["STREAM_STATUS", "ESTIMATE"]


@pytest.mark.parametrize("total", [None, 0, -5, "many", 10**30])
def test_a_list_without_a_number_of_rows_that_can_be_believed_is_read_without_an_estimate(
    source: Source, server: SandboxServer, total: Any
) -> None:
    server.faults.add(Fault("contacts", "envelope", times=None, envelope={"$total": total}))
    output = source.read("contacts")
    assert output.code == 0
    assert {row["id"] for row in output.records["contacts"]} == held(server, "contacts")
    assert not [trace for trace in output.of("TRACE") if trace["type"] == "ESTIMATE"]


def test_nothing_is_said_of_limits_that_hold_nothing(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(present(Progress.__init__.__kwdefaults__), "between_lines", 0.01)
    output = source.read("contacts", "sales_invoices")
    assert not [trace for trace in output.of("TRACE") if trace.get("stream_status", {}).get("reasons")]
    assert output.statuses["contacts"] == ["STARTED", "RUNNING", "COMPLETE"]


def stream_of(message: Record) -> str | None:
    match message:
        case {"record": {"stream": name}} | {"state": {"stream": {"stream_descriptor": {"name": name}}}}:
            return str(name)
        case {"trace": {"stream_status": {"stream_descriptor": {"name": name}}}}:
            return str(name)
    return None


def kind_of(message: Record) -> str:
    return str(message.get("trace", {}).get("stream_status", {}).get("status") or message["type"])


def test_a_full_refresh_that_failed_begins_anew_and_brings_every_row_once(
    source: Source, server: SandboxServer
) -> None:
    """Why no stream is declared resumable: Airbyte would keep what the first attempt brought of the second business."""
    _, second = server.world.businesses.values()
    fault = server.faults.add(Fault("contacts", 400, business=second.id, page=2, times=None))
    first_attempt = source.read("contacts", mode="full_refresh", page_size=5)
    server.faults.script.remove(fault)
    assert (first_attempt.code, first_attempt.statuses["contacts"][-1]) == (1, "INCOMPLETE")
    assert first_attempt.records["contacts"]
    again = source.read("contacts", mode="full_refresh", state=list(first_attempt.states.values()), page_size=5)
    assert again.statuses["contacts"][-1] == "COMPLETE"
    assert Counter(row["id"] for row in again.records["contacts"]) == Counter(held(server, "contacts"))


def test_a_full_refresh_is_complete_whatever_the_state(source: Source, server: SandboxServer) -> None:
    first = source.read("contacts")
    second = source.read("contacts", mode="full_refresh", state=list(first.states.values()))
    assert {row["id"] for row in second.records["contacts"]} == held(server, "contacts")


@pytest.mark.parametrize(
    "form",
    [
        lambda states: states,
        lambda states: [{"type": "GLOBAL", "global": {"stream_states": [each["stream"] for each in states]}}],
        lambda states: [{"type": "LEGACY", "data": {name_of(each): each["stream"]["stream_state"] for each in states}}],
        lambda states: {name_of(each): each["stream"]["stream_state"] for each in states},
        lambda states: {"bookmarks": {name_of(each): each["stream"]["stream_state"] for each in states}},
    ],
    ids=["streams", "global", "legacy", "plain", "singer"],
)
def test_a_state_means_the_same_in_every_form(form: Any) -> None:
    bookmark = {"partitions": [{"context": {"business_id": "1"}, "replication_key_value": "2026-01-01T00:00:00Z"}]}
    states = [
        {"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": bookmark}}
        for name in ("contacts", "journals", "not_selected")
    ]
    selection = Selection({"streams": [*configured("contacts")["streams"], *configured("journals")["streams"]]})
    assert selection.state(form(states)) == {"bookmarks": {"contacts": bookmark, "journals": bookmark}}


def name_of(state: Record) -> str:
    return str(state["stream"]["stream_descriptor"]["name"])


@pytest.mark.parametrize(
    "empty", [None, [], {}, [{"type": "STREAM", "stream": {"stream_descriptor": {"name": "contacts"}}}]], ids=str
)
def test_no_state_is_a_first_read(empty: Any) -> None:
    assert Selection(configured("contacts")).state(empty) == {}


def test_an_empty_state_file_is_no_state(source: Source, server: SandboxServer) -> None:
    output = source.read("contacts", state="")
    assert {row["id"] for row in output.records["contacts"]} == held(server, "contacts")


def test_only_the_columns_of_the_catalog_are_requested_and_delivered(source: Source, server: SandboxServer) -> None:
    catalog = configured("contacts")
    catalog["streams"][0]["stream"]["json_schema"] = {"properties": {"id": {}, "business_id": {}, "name": {}}}
    output = source("read", config=source.config, catalog=catalog)
    # The cursor cannot be left out.
    assert {name for row in output.records["contacts"] for name in row} == {"id", "business_id", "name", "updated_at"}
    asked = {
        request.params["attributes"] for request in server.requests.of("contacts") if "attributes" in request.params
    }
    assert [set(each.split(",")) for each in asked] == [{"name", "updated_at"}]


@pytest.mark.parametrize(
    ("catalog", "reported"),
    [
        (configured("contracts"), "There is no stream contracts"),
        (configured("contacts", mode="sometimes"), "sync mode sometimes"),
        ({"streams": [{"stream": "contacts"}]}, "The configured catalog is none"),
        ("[", "no JSON: expecting value in line 1"),
    ],
    ids=["stream", "mode", "form", "json"],
)
def test_a_wrong_catalog_is_reported_as_for_the_user_to_correct(source: Source, catalog: Any, reported: str) -> None:
    output = source("read", config=source.config, catalog=catalog)
    assert output.code == 1
    [error] = output.errors
    assert error["failure_type"] == "config_error"
    assert reported in error["message"]


def test_decimals_keep_every_digit(source: Source, server: SandboxServer) -> None:
    business = next(iter(server.world.businesses.values()))
    long = "12345678901234567890.1234567891"
    invoice = next(iter(business.collections["sales_invoices"].rows))
    business.collections["sales_invoices"].change(invoice, {"total_amount": long}, None)
    for decimals, arrived in (("text", long), ("number", Decimal(long))):
        rows = source.read("sales_invoices", decimals=decimals).records["sales_invoices"]
        assert [row["total_amount"] for row in rows if row["id"] == invoice] == [arrived]


# Deletions


def test_a_stream_that_is_complete_ends_with_its_bookmarks(source: Source) -> None:
    output = source.read("contacts", "sales_invoices", "purchase_invoices")
    assert output.code == 0
    for name, state in output.states.items():
        reported = state["stream"]["stream_state"]
        assert all(each.get("replication_key_value") for each in reported["partitions"]), name


def delete_a_contact(server: SandboxServer) -> tuple[Business, str]:
    business = next(iter(server.world.businesses.values()))
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
        gone = next(iter(business.collections["contacts"].rows))
        business.collections["contacts"].delete(gone, server.world.clock.now())
    return business, gone


def test_what_is_known_to_be_deleted_by_its_id_only_leaves_its_row_alone(source: Source, server: SandboxServer) -> None:
    server.faults.tombstones = "id_only"
    first = source.read("contacts", "deletions")
    business, gone = delete_a_contact(server)
    second = source.read("contacts", "deletions", state=list(first.states.values()))
    assert second.code == 0
    assert gone not in {row["id"] for row in second.records.get("contacts", [])}
    [deletion] = second.records["deletions"]
    assert (deletion["business_id"], deletion["stream"], deletion["id"]) == (business.id, "contacts", gone)
    assert "1 records of 'contacts' are known to be deleted, by id only" in second.warnings


def test_a_deleted_record_that_sage_reports_whole_arrives_whole(source: Source, server: SandboxServer) -> None:
    first = source.read("contacts", "deletions")
    _, gone = delete_a_contact(server)
    second = source.read("contacts", "deletions", state=list(first.states.values()))
    [row] = [row for row in second.records["contacts"] if row["id"] == gone]
    before = next(row for row in first.records["contacts"] if row["id"] == gone)
    assert row["deleted_at"] is not None
    assert row["name"] == before["name"]
    assert row["updated_at"] >= before["updated_at"]  # or a destination that deduplicates would keep the older one


# Tokens


def test_each_rotated_token_is_handed_back_and_the_next_run_goes_on_from_it(
    source: Source, server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "READS_PER_REQUEST", 0)  # so that one end comes after the other
    expired: set[str] = set()

    def expire(call: Call) -> None:
        """Let the access tokens come to their end while contacts, and again while journals are read."""
        if call.path not in expired and call.path in ("contacts", "journals"):
            expired.add(call.path)
            server.grants._access.clear()

    server.on_request = expire
    first = source.read("contacts", "journals", "user", concurrency=1)
    assert first.code == 0
    assert len(first.handed_back) == server.grants.refreshes == 3
    server.grants._access.clear()
    second = source.read("contacts", "journals", state=list(first.states.values()))
    assert second.code == 0
    assert len(second.handed_back) == 1
    assert not server.grants.refusals


def test_a_token_is_handed_back_before_it_is_used(source: Source) -> None:
    output = source.read("user")
    kinds = [message["type"] for message in output.messages]
    logged = [message.get("log", {}).get("message", "") for message in output.messages]
    [listed] = [index for index, text in enumerate(logged) if text.startswith("Extracting ")]
    assert kinds.index("CONTROL") < listed  # the list of businesses is the first thing that a token is used for


def test_with_a_lasting_store_nothing_is_handed_back(source: Source, server: SandboxServer, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    for _ in range(2):
        server.grants._access.clear()
        output = source.read("user", token_store=store)
        assert output.code == 0
        assert output.handed_back == []
    assert server.grants.refreshes == 2
    assert not server.grants.refusals


def test_an_access_token_of_unknown_age_is_tried(source: Source, server: SandboxServer) -> None:
    source.config = {**source.check().handed_back[0], "token_expiry_date": "300"}
    refreshed = server.grants.refreshes
    assert source.read("user").code == 0
    assert server.grants.refreshes == refreshed


def test_no_secret_is_written_but_in_the_settings_that_are_handed_back(source: Source, server: SandboxServer) -> None:
    reported = [source.check(), source.check(refresh_token="no-such-token"), source.read("contacts")]
    others = [m for output in reported for m in output.messages if m["type"] != "CONTROL"]
    text = json.dumps(others, default=str)
    for secret in {server.client_secret, "no-such-token", *server.issued_secrets}:
        assert secret not in text


# Failures


def test_a_stream_that_fails_is_incomplete_and_the_others_arrive(source: Source, server: SandboxServer) -> None:
    fault = Fault("journals", 422, times=None)
    server.faults.add(fault)
    first = source.read("contacts", "journals", "sales_invoices", "deletions")
    assert first.code == 1
    assert first.statuses["journals"] == ["STARTED", "INCOMPLETE"]
    assert {first.statuses[name][-1] for name in ("contacts", "sales_invoices", "deletions")} == {"COMPLETE"}
    assert {row["id"] for row in first.records["sales_invoices"]} == held(server, "sales_invoices")
    assert {error["stream_descriptor"]["name"] for error in first.errors} == {"journals"}
    assert {error["failure_type"] for error in first.errors} == {"system_error"}
    fault.times = 0
    second = source.read("contacts", "journals", state=list(first.states.values()))
    assert second.code == 0
    assert {row["id"] for row in second.records["journals"]} == held(server, "journals")


def refuse(server: SandboxServer, business: Business, stream: str, why: str) -> None:
    """Let Sage refuse a stream of a business, in its own words."""
    match why:
        case "rights":
            server.faults.add(Fault(stream, 403, business=business.id, times=None))
        case "gone":
            server.faults.add(Fault(stream, 404, business=business.id, times=None))
        case "subscription":
            business.subscribed = False
        case "emptied":
            server.faults.lists_without_offer = "empty"
            business.subscribed = False
        case _:
            business.edition = "Standard"


def replaced(table: set[str], output: Output, stream: str) -> set[str]:
    """What a table holds after a sync that replaces it: a stream that is not complete leaves it alone."""
    if output.statuses[stream][-1] != "COMPLETE":
        return table
    return {row["id"] for row in output.records.get(stream, [])}


def configured_to_replace(*streams: str, generation: int) -> Record:
    """A refresh that removes old rows, of streams that are read by change."""
    catalog = configured(*streams)
    for each in catalog["streams"]:
        each |= {"generation_id": generation, "minimum_generation_id": generation, "sync_id": 7}
    return catalog


@pytest.mark.slow
@pytest.mark.parametrize("everywhere", [False, True], ids=["one business", "all"])
@pytest.mark.parametrize("why", ["rights", "gone", "subscription", "edition", "emptied"])
def test_a_full_refresh_of_which_something_was_refused_does_not_replace_the_table(
    source: Source, server: SandboxServer, why: str, *, everywhere: bool
) -> None:
    first, *others = server.world.businesses.values()
    before = source.read("contacts", "stock_movements", "user", mode="full_refresh", business_ids=[first.id])
    table = replaced(set(), before, "stock_movements")
    assert table == set(first.collections["stock_movements"].rows)
    del source.config["business_ids"]
    for business in (first, *others) if everywhere else (first,):
        refuse(server, business, "stock_movements", why)
    output = source.read("contacts", "stock_movements", "user", mode="full_refresh")
    assert output.code == 1
    assert output.statuses["stock_movements"][-1] == "INCOMPLETE"
    assert replaced(table, output, "stock_movements") == table
    assert output.statuses["user"][-1] == "COMPLETE"
    [error] = [each for each in output.errors if each.get("stream_descriptor") == {"name": "stock_movements"}]
    assert error["failure_type"] == "config_error"
    assert f"'stock_movements' of {first.name} ({first.id})" in error["message"]
    assert "deselect the stream, or name the other businesses in 'business_ids'" in error["message"]
    if why not in {"subscription", "emptied"}:
        assert output.statuses["contacts"][-1] == "COMPLETE"


def test_a_stream_that_the_country_never_had_is_complete_without_it(source: Source, server: SandboxServer) -> None:
    british, irish = server.world.businesses.values()
    output = source.read("cis_settings", "draft_tax_returns", "tax_offices", "contacts", mode="full_refresh")
    assert output.code == 0
    assert {each[-1] for each in output.statuses.values()} == {"COMPLETE"}
    assert [row["business_id"] for row in output.records["cis_settings"]] == [british.id]
    assert len(server.requests.of(f"businesses/{irish.id}")) == 1
    refuse(server, british, "cis_settings", "rights")
    output = source.read("cis_settings", "contacts", mode="full_refresh")
    assert output.statuses["cis_settings"][-1] == "INCOMPLETE"


def test_a_business_of_an_unknown_country_may_have_had_everything(source: Source, server: SandboxServer) -> None:
    british, _ = server.world.businesses.values()
    british.subscribed = False
    british.body["country"] = {"id": "US", "displayed_as": "United States"}
    output = source.read("cis_settings", "contacts", mode="full_refresh")
    assert output.code == 1
    assert {each[-1] for each in output.statuses.values()} == {"INCOMPLETE"}


def test_a_refresh_that_removes_old_rows_is_incomplete_where_something_was_refused(
    source: Source, server: SandboxServer
) -> None:
    first, _ = server.world.businesses.values()
    kept = source.read("contacts", "journals").states
    refuse(server, first, "journals", "rights")
    catalog = configured_to_replace("contacts", "journals", generation=3)
    output = source("read", config=source.config, catalog=catalog)
    assert output.code == 1
    assert output.statuses["journals"][-1] == "INCOMPLETE"
    assert output.statuses["contacts"][-1] == "COMPLETE"
    source.config = output.handed_back[-1] if output.handed_back else source.config

    by_change = source.read("contacts", "journals", state=list(kept.values()))  # nothing is replaced here
    assert by_change.code == 0
    assert by_change.statuses["journals"][-1] == "COMPLETE"
    reported = by_change.states["journals"]["stream"]["stream_state"]["partitions"]
    assert [each for each in reported if each["context"]["business_id"] == first.id] == [
        each
        for each in kept["journals"]["stream"]["stream_state"]["partitions"]
        if each["context"]["business_id"] == first.id
    ]


def test_what_somebody_else_refuses_is_a_failure_that_passes(source: Source, server: SandboxServer) -> None:
    server.faults.add(Fault("journals", 403, by="firewall", times=None))
    output = source.read("contacts", "journals", mode="full_refresh")
    assert output.code == 1
    assert output.statuses["journals"][-1] == "INCOMPLETE"
    assert output.statuses["contacts"][-1] == "COMPLETE"
    assert {error["failure_type"] for error in output.errors} == {"transient_error"}


@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
def test_a_sync_of_which_sage_refuses_everything_fails(source: Source, server: SandboxServer, mode: str) -> None:
    for business in server.world.businesses.values():
        business.subscribed = False
    output = source.read("contacts", "journals", mode=mode)
    assert output.code == 1
    assert output.records == {}
    assert output.errors[-1]["failure_type"] == "config_error"
    assert output.errors[-1]["message"].startswith("Sage refused every read of this run (")


def test_a_list_of_businesses_that_is_refused_is_for_the_user_to_settle(source: Source, server: SandboxServer) -> None:
    server.faults.add(Fault("businesses", 403, times=None))
    checked = source.check()
    [status] = checked.of("CONNECTION_STATUS")
    assert status["status"] == "FAILED"
    assert "Sage does not let this user list businesses" in status["message"]
    output = source.read("contacts")
    assert (output.code, output.statuses) == (1, {})
    assert [error["failure_type"] for error in output.errors] == ["config_error"]


def test_a_stream_that_the_user_may_read_nowhere_is_for_them_to_settle(source: Source, server: SandboxServer) -> None:
    server.faults.add(Fault("journals", 403, times=None))
    output = source.read("contacts", "journals")
    assert output.code == 1
    assert output.statuses["journals"] == ["STARTED", "INCOMPLETE"]
    assert output.statuses["contacts"][-1] == "COMPLETE"
    [error] = output.errors
    assert error["failure_type"] == "config_error"
    assert error["stream_descriptor"] == {"name": "journals"}
    assert "role does not include it in any business" in error["message"]


def test_a_stream_that_the_user_may_read_somewhere_is_complete(source: Source, server: SandboxServer) -> None:
    business = next(iter(server.world.businesses))
    server.faults.add(Fault("journals", 403, business=business, times=None))
    output = source.read("contacts", "journals")
    assert output.code == 0
    assert output.statuses["journals"][-1] == "COMPLETE"
    assert "the user's role there does not include them (403): journals" in output.warnings


def test_a_limit_ends_the_run_with_a_failure_that_passes(source: Source, server: SandboxServer) -> None:
    server.faults.add(Fault("journals", 429, times=None, retry_after=7200))
    output = source.read("contacts", "journals", "user")
    assert output.code == 1
    assert output.statuses["contacts"][-1] == "COMPLETE"
    assert output.statuses["journals"] == ["STARTED", "INCOMPLETE"]
    assert "user" not in output.statuses
    assert output.errors[-1]["failure_type"] == "transient_error"
    assert "run again after" in output.errors[-1]["message"]


def test_a_dead_login_ends_the_run_before_any_stream(source: Source) -> None:
    output = source.read("contacts", refresh_token="no-such-token")
    assert output.code == 1
    assert output.statuses == {}
    [error] = output.errors
    assert error["failure_type"] == "config_error"
    assert "Sage refused the refresh token" in error["message"]
    assert error["message"].endswith("give the source a fresh refresh token, and save it.")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigValidationError("wrong"), "config_error"),
        (SettingsError("wrong"), "config_error"),
        (RightsError("403"), "config_error"),
        (AuthorizationError("invalid_client"), "config_error"),
        (RefreshOutcomeUnknownError("lost"), "transient_error"),
        (UnreachableError("down"), "transient_error"),
        (RetryAfterTooLongError("429"), "transient_error"),
        (RetriesExhaustedError("503"), "transient_error"),
        (UndeliverableError("records"), "system_error"),
        (KeyError("id"), "system_error"),
        (None, "system_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_failures_are_typed_by_who_can_correct_them(error: Exception | None, kind: str) -> None:
    assert failure_type(error) == kind


def test_a_token_endpoint_that_is_not_there_is_a_failure_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_sage_accounting.auth.endpoint.WAITS", ())
    endpoint = TokenEndpoint(
        client_id="app", client_secret="secret", token_url="http://127.0.0.1:9/token", user_agent="test"
    )
    with pytest.raises(AuthorizationError) as caught:
        endpoint.refresh("token")
    assert failure_type(caught.value) == "transient_error"


def test_a_token_endpoint_that_refuses_is_reported_as_for_the_user_to_correct(
    server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_sage_accounting.auth.endpoint.WAITS", (0.0,))
    server.faults.add(Fault("token", 503, times=1))
    endpoint = TokenEndpoint(
        client_id=server.client_id, client_secret="wrong", token_url=server.token_url, user_agent="test"
    )
    with pytest.raises(AuthorizationError) as caught:
        endpoint.refresh(server.refresh_token)
    assert failure_type(caught.value) == "config_error"


# Stopped


def test_a_run_that_is_stopped_ends_with_states_and_whole_messages(source: Source, server: SandboxServer) -> None:
    server.faults.add(Fault("journals", "slow", times=None, seconds=600))
    arguments, home = source.command(
        "read", config=source.config, catalog=configured("contacts", "journals", "deletions")
    )
    process = subprocess.Popen(
        [Path(sys.executable).with_name("source-sage-accounting"), *arguments],
        env={"HOME": str(home), "PATH": os.defpath},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # a buffer would keep lines that came together from `communicate`
    )
    assert process.stdout
    lines = []
    for each in process.stdout:
        lines.append(each)
        if stream_of(json.loads(each)) == "journals":
            process.send_signal(signal.SIGTERM)
            break
    rest, stderr = process.communicate(timeout=300)
    output = Output(process.returncode, b"".join(lines) + rest, stderr)
    assert output.code == -signal.SIGTERM
    assert output.statuses["contacts"][-1] == "COMPLETE"
    assert output.statuses["journals"] == ["STARTED", "INCOMPLETE"]
    assert output.statuses["deletions"][-1] == "INCOMPLETE"
    assert "Stopping (SIGTERM): what is complete is kept." in output.warnings
    assert output.states["contacts"]["stream"]["stream_state"]["partitions"][0]["replication_key_value"]


# The image


def test_the_image_runs_the_program_and_is_known_by_one_name() -> None:
    home = Path(__file__).parents[2] / "airbyte"
    instructions = (home / "Dockerfile").read_text()
    metadata = yaml.safe_load((home / "metadata.yaml").read_text())["data"]
    [program] = re.findall(r'AIRBYTE_ENTRYPOINT="(.+?)"', instructions)
    assert f'ENTRYPOINT ["{program}"]' in instructions
    assert Path(sys.executable).with_name(Path(program).name).exists()
    assert re.findall(r'io\.airbyte\.name="(.+?)"', instructions) == [metadata["dockerRepository"]]
    assert (home / metadata["icon"]).exists()
    hosts = {urlsplit(CONFIG_JSONSCHEMA["properties"][name]["default"]).hostname for name in ("api_url", "token_url")}
    assert set(metadata["allowedHosts"]["hosts"]) == hosts
    streams = {stream.name: stream for stream in STREAMS}
    for name in metadata["suggestedStreams"]["streams"]:
        assert not streams[name].retired


# Threads


def test_messages_of_many_threads_leave_whole(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    writer = AirbyteWriter()
    logger = logging.getLogger("tests.airbyte")
    logger.addHandler(handler := AirbyteLogHandler(writer))
    logger.propagate = False
    each = range(200)

    def log() -> None:
        for number in each:
            logger.warning("line %d", number)

    def rotate() -> None:
        for number in each:
            writer.write({"type": "CONTROL", "number": number})

    threads = [threading.Thread(target=work) for work in (log, rotate)]
    for thread in threads:
        thread.start()
    for number in each:
        writer.write({"type": "SPEC", "number": number})
    for thread in threads:
        thread.join()
    writer.flush()
    logger.removeHandler(handler)
    messages = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    for kind in ("SPEC", "CONTROL"):
        assert [message["number"] for message in messages if message["type"] == kind] == list(each)
    assert [m["log"]["message"] for m in messages if m["type"] == "LOG"] == [f"line {number}" for number in each]


def test_a_log_message_of_a_thread_that_is_writing_waits_for_its_end(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = AirbyteWriter()
    handler = AirbyteLogHandler(writer)
    send = AirbyteWriter._send
    late = logging.makeLogRecord({"msg": "sent by a signal handler", "levelno": logging.WARNING})

    def interrupted(self: AirbyteWriter) -> None:
        monkeypatch.setattr(AirbyteWriter, "_send", send)
        handler.emit(late)
        send(self)

    monkeypatch.setattr(AirbyteWriter, "_send", interrupted)
    writer.write({"type": "SPEC"})
    writer.flush()
    kinds = [json.loads(line)["type"] for line in capfdbinary.readouterr().out.splitlines()]
    assert sorted(kinds) == ["LOG", "SPEC"]
