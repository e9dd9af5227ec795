"""The installed program, as Meltano or a person calls it."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.faults import Fault
from support.installed import Program, errors, messages
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from sage_sandbox.server import SandboxServer

    Done = subprocess.CompletedProcess[str]


@pytest.fixture
def program(server: SandboxServer, tmp_path: Path) -> Program:
    return Program(server, tmp_path)


# What it says of itself


def test_the_version_is_printed(program: Program) -> None:
    done = program("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"tap-sage-accounting v\d+\.\d+\S*, Meltano SDK v\d+\.\d+\.\d+\n", done.stdout)


def test_about_lists_every_setting_and_which_are_secret(program: Program) -> None:
    reported = json.loads(program("--about", "--format=json").stdout)["settings"]["properties"]
    assert set(CONFIG_JSONSCHEMA["properties"]) <= set(reported)
    secret = {name for name, each in reported.items() if each.get("writeOnly")}
    assert secret == {"client_id", "client_secret", "refresh_token", "token_store", "token_store_key"}


def test_about_is_a_page_of_markdown(program: Program) -> None:
    page = program("--about", "--format=markdown").stdout
    assert page.startswith("# `tap-sage-accounting`")
    for name, each in CONFIG_JSONSCHEMA["properties"].items():
        assert f"| {name} |" in page
        assert each["description"] in page


def test_the_schema_of_every_stream_can_be_had_without_a_request(program: Program, server: SandboxServer) -> None:
    done = program.configured("--test=schema")
    assert done.returncode == 0, done.stderr
    written = messages(done)
    assert {message["type"] for message in written} == {"SCHEMA"}
    assert [message["stream"] for message in written] == [stream.name for stream in STREAMS]
    assert list(server.requests) == []


# Runs


def test_a_run_with_configuration_catalog_and_state_reads_what_they_say(
    program: Program, server: SandboxServer
) -> None:
    catalog = json.loads(program("--discover").stdout)
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] in ("contacts", "countries")
    catalog["streams"].append({**catalog["streams"][0], "tap_stream_id": "of_another_version", "stream": "x"})
    selection = f"--catalog={program.write('catalog', catalog)}"

    first = program.configured(selection)
    assert first.returncode == 0, first.stderr
    records = Counter(message["stream"] for message in messages(first) if message["type"] == "RECORD")
    held = {name: sum(len(b.collections[name].rows) for b in server.world.businesses.values()) for name in records}
    assert records == held
    assert set(records) == {"contacts", "countries"}

    state = [message["value"] for message in messages(first) if message["type"] == "STATE"][-1]
    server.requests.clear()
    second = program.configured(selection, f"--state={program.write('state', state)}")
    assert second.returncode == 0, second.stderr
    asked = server.requests.of("contacts")
    assert asked
    assert all({"updated_or_created_since", "deleted_since"} & request.params.keys() for request in asked)


def test_settings_may_come_from_the_environment(program: Program) -> None:
    variables = {f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in program.settings.items()}
    done = program("--config=ENV", "--test", **variables, TAP_SAGE_ACCOUNTING_PAGE_SIZE="500")
    assert done.returncode == 1
    assert errors(done)[0].startswith("Setting 'page_size' must be 1 to 200, not 500")
    done = program("--config=ENV", "--test", **variables, TAP_SAGE_ACCOUNTING_PAGE_SIZE="50")
    assert done.returncode == 0, done.stderr


def test_what_the_environment_lacks_may_come_from_a_file_in_the_working_directory(program: Program) -> None:
    settings = {**program.settings, "page_size": 500}
    lines = [f"TAP_SAGE_ACCOUNTING_{name.upper()}='{value}'" for name, value in settings.items()]
    (program.home / ".env").write_text("\n".join(lines))
    done = program("--config=ENV", "--test")
    assert errors(done)[0].startswith("Setting 'page_size' must be 1 to 200, not 500")
    done = program("--config=ENV", "--test", TAP_SAGE_ACCOUNTING_PAGE_SIZE="50")
    assert done.returncode == 0, done.stderr


def test_no_other_directory_gives_settings(program: Program, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAP_SAGE_ACCOUNTING_PAGE_SIZE=500\n")
    # An environment below that directory, as the one of a clone is.
    (packages := tmp_path / "clone" / ".venv").parent.mkdir()
    packages.symlink_to(sys.prefix, target_is_directory=True)
    (packages.parent / ".env").write_text("TAP_SAGE_ACCOUNTING_PAGE_SIZE=500\n")
    program.home = tmp_path / "elsewhere"
    program.home.mkdir()
    program.command = [packages / "bin" / "python", packages / "bin" / "tap-sage-accounting"]
    variables = {f"TAP_SAGE_ACCOUNTING_{name.upper()}": str(value) for name, value in program.settings.items()}
    done = program("--config=ENV", "--test", **variables)
    assert done.returncode == 0, done.stderr


def test_neither_output_nor_log_holds_a_secret(program: Program, server: SandboxServer) -> None:
    done = program.configured("--test")
    assert done.returncode == 0
    for secret in {server.client_secret, *server.issued_secrets}:
        assert secret not in done.stdout + done.stderr


# The connection test


def test_the_connection_test_reads_a_record_of_every_stream(program: Program, server: SandboxServer) -> None:
    done = program.configured("--test")
    assert done.returncode == 0, done.stderr
    assert errors(done) == []
    reached = {request.path.split("/")[2] for request in server.requests if request.path.startswith("/v3.1/")}
    assert {stream.name for stream in STREAMS if not stream.collected} <= reached
    assert len(server.requests) < 4 * len(STREAMS) * len(server.world.businesses)


def test_the_connection_test_fails_when_sage_refuses_the_token(program: Program) -> None:
    done = program.configured("--test", refresh_token="no-such-token")
    assert done.returncode == 1
    [reported] = errors(done)
    assert reported.startswith("Sage refused the refresh token of the settings")
    assert "tap-sage-accounting-login" in reported


def test_the_connection_test_fails_when_a_stream_fails(program: Program, server: SandboxServer) -> None:
    server.faults.add(Fault("contacts", 422, times=None))
    done = program.configured("--test")
    assert done.returncode == 1
    assert any("'contacts' of Harbour Lights" in line for line in errors(done))
    assert "reads failed (contacts)" in errors(done)[-1]


def test_the_connection_test_does_not_fail_for_what_an_edition_lacks(program: Program) -> None:
    done = program.configured("--test")
    assert done.returncode == 0
    assert "Skipped of Claddagh Software Ltd" in done.stderr


# Failures


@pytest.mark.parametrize("arguments", [(), ("--test",)], ids=["run", "test"])
def test_wrong_settings_end_the_program_before_anything_is_sent(
    program: Program, server: SandboxServer, arguments: tuple[str, ...]
) -> None:
    done = program.configured(*arguments, page_size=0, client_secret=None, pagesize=1)
    assert done.returncode == 1
    assert errors(done) == [
        "Setting 'pagesize' does not exist; did you mean 'page_size'?",
        "Setting 'page_size' must be 1 to 200, not 0: Records per request, 1 to 200.",
        (
            "Setting 'client_secret' is missing: Client secret of your application. "
            "Set TAP_SAGE_ACCOUNTING_CLIENT_SECRET, or put it into the file of --config. "
            "Beside a file, variables count with --config=ENV only."
        ),
        "The settings are not right; nothing was sent to Sage.",
    ]
    assert done.stdout == ""
    assert len(server.requests) == 0


def test_a_business_that_is_not_there_is_reported_in_one_line(program: Program, server: SandboxServer) -> None:
    done = program.configured(business_ids=["no-such-business"])
    assert done.returncode == 1
    [reported] = errors(done)
    assert "no-such-business" in reported
    assert all(business.name in reported for business in server.world.businesses.values())


def test_a_stream_that_fails_fails_the_run_but_not_the_others(program: Program, server: SandboxServer) -> None:
    server.faults.add(Fault("contacts", 422, times=None))
    done = program.configured()
    assert done.returncode == 1
    streams = {message["stream"] for message in messages(done) if message["type"] == "RECORD"}
    assert "contacts" not in streams
    assert {"addresses", "ledger_entries", "user"} <= streams
    assert "Everything else was delivered" in errors(done)[-1]
