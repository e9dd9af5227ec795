"""The Singer SDK's own checks of a tap, over every stream, and the ones of them that check nothing, done right."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class
from singer_sdk.testing.runners import TapTestRunner

from sage_sandbox.books import build_world
from sage_sandbox.server import SandboxServer
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL_RECORDS = SuiteConfig(max_records_limit=None)


def everything() -> dict[str, Any]:
    """A catalog that selects the retired objects as well."""
    catalog: dict[str, Any] = TapSageAccounting(parse_env_config=False, validate_config=False).catalog_dict
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            metadata["metadata"]["selected"] = True
    return catalog


def keys_of(runner: TapTestRunner, stream: str, keys: tuple[str, ...]) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(record[key] for key in keys) for record in runner.records[stream])


# While tests are collected there is no server yet: the catalog needs none, and the runner below has one.
# That every column is filled in some record is not asked for: the columns of deletions are for records that are gone.
@pytest.mark.filterwarnings("ignore:Fields in transformed catalog but not in records")
@pytest.mark.filterwarnings("ignore:No records were available to test")
class TestTap(
    get_tap_test_class(  # type: ignore[misc] # the class is made at run time
        TapSageAccounting,
        suite_config=ALL_RECORDS,
        catalog=everything(),
        parse_env_config=False,
        validate_config=False,
    )
):
    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TapTestRunner]:
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

    @pytest.mark.parametrize("name", [stream.name for stream in STREAMS])
    def test_no_key_comes_twice_or_empty(self, runner: TapTestRunner, name: str) -> None:
        [keys] = [stream.primary_keys for stream in STREAMS if stream.name == name]
        found = keys_of(runner, name, keys)
        assert [key for key, count in found.items() if count > 1] == []
        assert [key for key in found if not all(key)] == []

    def test_the_final_state_is_whole(self, runner: TapTestRunner) -> None:
        bookmarks = runner.state_messages[-1]["value"]["bookmarks"]
        businesses = {record["id"] for record in runner.records["businesses"]}
        for stream in STREAMS:
            if stream.changed_since and runner.records[stream.name]:
                partitions = {each["context"]["business_id"]: each for each in bookmarks[stream.name]["partitions"]}
                assert set(partitions) == businesses, stream.name
                for record in runner.records[stream.name]:
                    assert partitions[record["business_id"]]["replication_key_value"] >= (record["updated_at"] or "")
        assert "progress_markers" not in str(bookmarks)

    def test_schemas_come_before_their_records(self, runner: TapTestRunner) -> None:
        told = set()
        for message in runner.raw_messages:
            if message["type"] == "SCHEMA":
                told.add(message["stream"])
            elif message["type"] == "RECORD":
                assert message["stream"] in told
        assert told >= {stream.name for stream in STREAMS} - {"deletions"}
