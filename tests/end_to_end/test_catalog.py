"""The catalog: what discovery prints, where nothing but the program is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    Entry = dict[str, Any]

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
REFRESH = "UPDATE_SNAPSHOTS=1 uv run pytest tests/end_to_end/test_catalog.py"
NO_NETWORK = """
import socket
def refuse(*_):
    raise AssertionError("discovery used the network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def discover(home: Path) -> str:
    """Run discovery in an empty home, without settings and without a network."""
    (site := home.with_name("site")).mkdir()
    (site / "sitecustomize.py").write_text(NO_NETWORK)
    done = subprocess.run(
        [Path(sys.executable).with_name("tap-sage-accounting"), "--discover"],
        cwd=home,
        env={"HOME": str(home), "PATH": os.defpath, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (home := tmp_path_factory.mktemp("discovery") / "home").mkdir()
    return home


@pytest.fixture(scope="module")
def catalog(home: Path) -> dict[str, Entry]:
    return {entry["tap_stream_id"]: entry for entry in json.loads(discover(home))["streams"]}


def snapshot(entry: Entry) -> str:
    """Lay a catalog entry out for review: a line for each column and for each attribute inside one."""
    metadata = {tuple(each["breadcrumb"]): each["metadata"] for each in entry["metadata"]}
    others = {
        breadcrumb[1]: each
        for breadcrumb, each in metadata.items()
        if breadcrumb and each != {"inclusion": "available"}
    }
    shown = {
        **{name: value for name, value in entry.items() if name not in ("schema", "metadata")},
        "metadata": {"": metadata[()], **others},
        "columns": dict(columns(entry["schema"], "")),
    }
    return json.dumps(shown, indent=1) + "\n"


def columns(schema: Entry, place: str) -> Iterator[tuple[str, str]]:
    """Return the place and type of everything in a schema: `lines[].quantity`, `number or null`."""
    if place:
        reported = dict(schema)
        kind = reported.pop("type")
        words = [kind if isinstance(kind, str) else " or ".join(kind)]
        rest = sorted(set(reported) - {"properties", "items", "description"})
        yield place, ", ".join([*words, *(f"{keyword} {reported[keyword]}" for keyword in rest)])
    for name, part in schema.get("properties", {}).items():
        yield from columns(part, f"{place}.{name}" if place else name)
    if "items" in schema:
        yield from columns(schema["items"], f"{place}[]")


def test_the_catalog_is_as_reviewed(catalog: dict[str, Entry], subtests: pytest.Subtests) -> None:
    for name in (stream.name for stream in STREAMS):
        file = SNAPSHOTS / f"{name}.json"
        found = snapshot(catalog[name])
        if os.environ.get("UPDATE_SNAPSHOTS"):
            SNAPSHOTS.mkdir(exist_ok=True)
            file.write_text(found)
        with subtests.test(name):
            assert file.exists(), f"{name} is new. Write its snapshot: {REFRESH}"
            assert json.loads(found) == json.loads(file.read_text()), (
                f"The catalog of {name} differs from what was reviewed. If that is intended, {REFRESH} and review the "
                "change."
            )


def test_every_snapshot_is_of_a_stream() -> None:
    assert {file.stem for file in SNAPSHOTS.glob("*.json")} == {stream.name for stream in STREAMS}


def test_discovery_lists_every_stream(catalog: dict[str, Entry]) -> None:
    assert list(catalog) == [stream.name for stream in STREAMS]


def test_discovery_leaves_no_file_behind(catalog: dict[str, Entry], home: Path) -> None:
    assert catalog
    assert list(home.rglob("*")) == []


def test_retired_objects_are_there_for_those_who_select_them(catalog: dict[str, Entry]) -> None:
    for stream in STREAMS:
        [root] = [each["metadata"] for each in catalog[stream.name]["metadata"] if not each["breadcrumb"]]
        assert root["selected-by-default"] is not (stream.retired or stream.opt_in), stream.name


def test_every_column_is_described(catalog: dict[str, Entry]) -> None:
    for name, entry in catalog.items():
        for column, part in entry["schema"]["properties"].items():
            assert part.get("description"), f"{name}.{column}"


def test_keys_and_bookmarks_cannot_be_deselected(catalog: dict[str, Entry]) -> None:
    for name, entry in catalog.items():
        automatic = {
            each["breadcrumb"][1] for each in entry["metadata"] if each["metadata"].get("inclusion") == "automatic"
        }
        assert automatic == {*entry["key_properties"], *filter(None, [entry.get("replication_key")])}, name


def test_a_discovered_catalog_is_accepted_back(home: Path, catalog: dict[str, Entry]) -> None:
    """Meltano hands the catalog back on every run; nothing of a schema may get lost on the way."""
    file = home.with_name("catalog.json")
    file.write_text(json.dumps({"streams": list(catalog.values())}))
    done = subprocess.run(
        [Path(sys.executable).with_name("tap-sage-accounting"), "--discover", f"--catalog={file}"],
        env={"HOME": str(home), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {entry["tap_stream_id"]: entry for entry in json.loads(done.stdout)["streams"]} == catalog


def test_discovery_loads_nothing_that_only_a_run_needs() -> None:
    code = """
import sys
from tap_sage_accounting.tap import TapSageAccounting
assert len(TapSageAccounting(parse_env_config=False, validate_config=False).catalog_json_text) > 1000
print(*{name.partition(".")[0] for name in sys.modules} & {"sqlalchemy", "cryptography", "starlette", "uvicorn"})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
