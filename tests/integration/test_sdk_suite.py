"""The Singer SDK's checks of a tap, over every stream; those that check nothing are replaced."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import SuiteConfig
from singer_sdk.testing.runners import TapTestRunner
from singer_sdk.testing.suites import tap_stream_attribute_tests, tap_stream_tests, tap_tests

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_sdk import Stream
    from singer_sdk.testing.templates import AttributeTestTemplate, StreamTestTemplate, TapTestTemplate

pytestmark = pytest.mark.slow

# The suite does a dry run, which is not logged.
ALL_RECORDS = SuiteConfig(max_records_limit=None, ignore_no_records_for_streams=["run_reads", "runs"])
CHECKS_OF_TAP, CHECKS_OF_STREAM, CHECKS_OF_COLUMN = (
    pytest.mark.parametrize("check", suite.tests, ids=lambda check: check.name)
    for suite in (tap_tests, tap_stream_tests, tap_stream_attribute_tests)
)


def everything() -> dict[str, Any]:
    """A catalog that selects the retired objects as well."""
    catalog: dict[str, Any] = TapSageAccounting(parse_env_config=False, validate_config=False).catalog_dict
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            metadata["metadata"]["selected"] = True
    return catalog


def keys_of(runner: TapTestRunner, stream: str, keys: Sequence[str]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(record[key] for key in keys) for record in runner.records[stream])


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TapTestRunner]:
    """One run, of which every check looks at the records."""
    with SandboxServer(build_world(size="tiny", businesses=6, frozen=True)) as server:
        store = tmp_path_factory.mktemp("tokens") / "tokens.sqlite"
        runner = TapTestRunner(
            TapSageAccounting,
            config=server.tap_config(token_store=f"sqlite:///{store}"),
            suite_config=ALL_RECORDS,
            catalog=everything(),
            parse_env_config=False,
        )
        runner.sync_all()
        yield runner


@pytest.fixture(scope="module")
def streams(runner: TapTestRunner) -> list[Stream]:
    return list(runner.new_tap().streams.values())


@CHECKS_OF_TAP
def test_the_tap_passes_the_sdks_tests(runner: TapTestRunner, check: type[TapTestTemplate]) -> None:
    check().run(ALL_RECORDS, None, runner)


# Columns need not be filled in some record: those of deletions are for records that are gone.
@pytest.mark.filterwarnings("ignore:Fields in transformed catalog but not in records")
@pytest.mark.filterwarnings("ignore:No records were available to test")
@CHECKS_OF_STREAM
def test_every_stream_passes_the_sdks_tests(
    runner: TapTestRunner, streams: list[Stream], subtests: pytest.Subtests, check: type[StreamTestTemplate]
) -> None:
    for stream in streams:
        with subtests.test(stream.name):
            check().run(ALL_RECORDS, None, runner, stream)


@pytest.mark.filterwarnings("ignore:No records were available to test")
@CHECKS_OF_COLUMN
def test_every_column_passes_the_sdks_tests(
    runner: TapTestRunner, streams: list[Stream], subtests: pytest.Subtests, check: type[AttributeTestTemplate]
) -> None:
    for stream in streams:
        for name, column in stream.stream_maps[-1].transformed_schema["properties"].items():
            if check.evaluate(stream=stream, property_name=name, property_schema=column):
                with subtests.test(f"{stream.name}.{name}"):
                    check().run(ALL_RECORDS, None, runner, stream, name)


def test_no_key_comes_twice_or_empty(runner: TapTestRunner, streams: list[Stream], subtests: pytest.Subtests) -> None:
    for stream in streams:
        with subtests.test(stream.name):
            found = keys_of(runner, stream.name, stream.primary_keys)
            assert [key for key, count in found.items() if count > 1] == []
            assert [key for key in found if not all(key)] == []


def test_the_final_state_is_whole(runner: TapTestRunner) -> None:
    bookmarks = runner.state_messages[-1]["value"]["bookmarks"]
    businesses = {record["id"] for record in runner.records["businesses"]}
    for stream in STREAMS:
        if stream.changed_since and runner.records[stream.name]:
            partitions = {each["context"]["business_id"]: each for each in bookmarks[stream.name]["partitions"]}
            assert set(partitions) == businesses, stream.name
            for record in runner.records[stream.name]:
                assert partitions[record["business_id"]]["replication_key_value"] >= (record["updated_at"] or "")
    assert "progress_markers" not in str(bookmarks)


def test_schemas_come_before_their_records(runner: TapTestRunner) -> None:
    reported = set()
    for message in runner.raw_messages:
        if message["type"] == "SCHEMA":
            reported.add(message["stream"])
        elif message["type"] == "RECORD":
            assert message["stream"] in reported
    assert reported >= {stream.name for stream in STREAMS} - {"deletions"}
