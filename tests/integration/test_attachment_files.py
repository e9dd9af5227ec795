"""With `attachments_url`, files of attachments are stored, whole and once, and their rows say where."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import fsspec  # type: ignore[import-untyped]
import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.attached_files import asked_for, attach, files_in, first, in_books, stored
from sage_workbench.merge import Warehouse
from sage_workbench.plain_books import plain_world
from tap_sage_accounting.extraction import files_read
from tap_sage_accounting.tap import TapSageAccounting
from tap_sage_accounting.transport import adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_sandbox.api import Call
    from sage_workbench.runs import Run

    Record = dict[str, Any]

FILES = "attachments/*/file"
TYPES = ("application/pdf", "image/gif", "image/jpeg", "image/png", "image/tiff", "text/csv")


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(2)) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "my files"


@pytest.fixture
def load(run_tap: Callable[..., Run], place: Path) -> Callable[..., Run]:
    """Run the tap on attachments, with their files."""

    def run(state: Record | None = None, **config: Any) -> Run:
        return run_tap("attachments", state=state, **{"attachments_url": f"file://{place}", **config})

    return run


def rows(*runs: Run) -> list[Record]:
    """The rows of a target that loaded some runs, one after the other."""
    warehouse = Warehouse()
    for run in runs:
        warehouse.load(run.messages)
    return list(warehouse.tables["attachments"].values())


def logged(run: Run, text: str) -> bool:
    return any(text in line for line in run.log)


# What comes


def test_each_file_is_what_it_is_in_the_books_whatever_its_type_and_size(
    server: SandboxServer, load: Callable[..., Run], place: Path
) -> None:
    for business in server.world.businesses.values():
        for number, kind in enumerate(TYPES):
            attach(business, number, mime_type=kind, file_extension=None, file_name=None)
        for number, size in enumerate((0, 1, 1 << 20, 5_000_001), len(TYPES)):
            attach(business, number, file_size=size)
    run = load()
    assert run.error is None
    assert stored(run.records["attachments"]) == in_books(server.world)
    assert len(asked_for(server)) == 20
    assert sorted({name.rpartition("-")[2][64:] for name in files_in(place)}) == [
        "",
        ".gif",
        ".jpg",
        ".pdf",
        ".png",
        ".tif",
    ]
    assert logged(run, "Files: 20 stored (12.1 MB), 0 were stored before.")


def test_without_the_setting_nothing_is_asked_and_nothing_differs(
    server: SandboxServer, run_tap: Callable[..., Run]
) -> None:
    attach(first(server.world), 1)
    run = run_tap("attachments")
    assert asked_for(server) == []
    [schema] = run.schemas
    names = {"file_url", "file_sha256", "file_status"}
    assert names.isdisjoint(schema["schema"]["properties"])
    assert names.isdisjoint(run.records["attachments"][0])
    assert "files_place" not in str(run.state)


@pytest.mark.parametrize("what", ["chunked", "unframed"])
def test_a_file_whose_length_is_not_announced_arrives_whole(
    server: SandboxServer, load: Callable[..., Run], what: str
) -> None:
    attach(first(server.world), 1, file_size=3_000_000)
    server.faults.add(Fault(FILES, what))
    run = load()
    assert stored(run.records["attachments"]) == in_books(server.world)
    assert len(asked_for(server)) == 1


@pytest.mark.parametrize("size", [0, 1, 3000, 2_500_000])
def test_a_file_that_comes_in_base64_is_stored_as_the_file_that_it_is(
    server: SandboxServer, load: Callable[..., Run], size: int
) -> None:
    server.faults.file_content = "base64"
    attach(first(server.world), 1, file_size=size)
    assert stored(load().records["attachments"]) == in_books(server.world)


@pytest.fixture
def unsized(server: SandboxServer) -> str:
    """The SHA-256 of an attached file whose size no list shows."""
    key = attach(first(server.world), 1, file_size=3000)
    [digest] = in_books(server.world).values()

    def hide_size(call: Call) -> None:
        size = 3000 if call.path.endswith("file") else None
        first(server.world).collection("attachments").change(key, {"file_size": size}, None)

    server.on_request = hide_size
    return digest


@pytest.mark.parametrize("way", ["bytes", "base64"])
@pytest.mark.parametrize("what", ["chunked", "cut", "cut_chunks", "cut_gzip", "cut_unframed", "error_page", "html"])
def test_a_file_of_unknown_size_arrives_whole_where_its_length_is_announced(
    server: SandboxServer, load: Callable[..., Run], unsized: str, way: Any, what: str
) -> None:
    server.faults.file_content = way
    server.faults.add(Fault(FILES, what))
    assert [*stored(load().records["attachments"]).values()] == [unsized]


def test_a_file_of_unknown_size_is_not_trusted_where_no_length_is_announced(
    server: SandboxServer, load: Callable[..., Run], unsized: str
) -> None:
    server.faults.add(Fault(FILES, "unframed", times=None))
    run = load()
    assert logged(run, "nothing says how large the file is")
    [record] = run.records["attachments"]
    assert record["file_status"] == "failed"
    assert unsized


def test_compressed_files_are_stored_as_they_are(server: SandboxServer, load: Callable[..., Run]) -> None:
    server.faults.gzip = True
    attach(first(server.world), 1, file_size=100_000)
    assert stored(load().records["attachments"]) == in_books(server.world)


def test_the_same_id_in_two_businesses_is_two_files(
    server: SandboxServer, load: Callable[..., Run], place: Path
) -> None:
    one, other = server.world.businesses.values()
    attach(one, 7, file_size=500)
    attach(other, 7, file_size=600)
    assert stored(load().records["attachments"]) == in_books(server.world)
    assert {name.partition("/")[0] for name in files_in(place)} == {one.id, other.id}


# What goes wrong once


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(FILES, what) for what in ("cut", "cut_chunks", "cut_unframed", "cut_gzip", "drop", "lost")),
        *(Fault(FILES, what) for what in ("html", "error_page", "other_size", "redirect_loop")),
        *(Fault(FILES, what) for what in (429, 500, 502, 503, 504)),
        *(Fault(FILES, 403, by="firewall"), Fault(FILES, 404, by="gateway"), Fault(FILES, 200, by="nobody")),
        Fault(FILES, 401),
    ],
    ids=lambda fault: f"{fault.what}-{fault.by}",
)
def test_a_file_that_fails_once_is_fetched_again_and_is_whole(
    server: SandboxServer, load: Callable[..., Run], fault: Fault, place: Path
) -> None:
    for number in range(3):
        attach(first(server.world), number, file_size=200_000)
    server.faults.add(fault)
    run = load()
    assert run.error is None
    assert stored(run.records["attachments"]) == in_books(server.world)
    assert len(files_in(place)) == 3


# What does not come


@pytest.mark.parametrize("what", ["cut", "cut_chunks", "cut_unframed", "cut_gzip", "html", "error_page", "other_size"])
def test_a_file_that_never_comes_whole_is_reported_and_comes_with_a_later_run(
    server: SandboxServer, load: Callable[..., Run], what: str
) -> None:
    keys = [attach(first(server.world), number) for number in range(4)]
    fault = server.faults.add(Fault(f"attachments/{keys[1]}/file", what, times=None))
    run = load()
    assert str(run.error).startswith("1 read failed (attachments). ")
    assert any(f"files are missing: {keys[1]} (" in line and "Business 1" in line for line in run.log)
    found = {row["id"]: row for row in rows(run)}
    assert [found[key]["file_status"] for key in keys] == ["stored", "failed", "stored", "stored"]
    assert found[keys[1]]["file_name"] == "scan 1.pdf"
    assert stored(found.values()).keys() == in_books(server.world).keys() - {(first(server.world).id, keys[1])}
    again = load(run.state)
    assert again.error is not None
    fault.times = 0
    server.requests.clear()
    healed = load(again.state)
    assert healed.error is None
    assert asked_for(server) == [keys[1]]
    assert stored(rows(run, again, healed)) == in_books(server.world)
    server.requests.clear()
    assert load(healed.state).error is None
    assert asked_for(server) == []
    assert "files_missing" not in str(healed.state)


@pytest.mark.parametrize("status", [403, 404, 401])
def test_a_file_that_sage_refuses_is_no_failure_and_the_next_run_asks_again(
    server: SandboxServer, load: Callable[..., Run], status: int
) -> None:
    key, other = attach(first(server.world), 1), attach(first(server.world), 2)
    says = "No active subscription." if status == 401 else None
    fault = server.faults.add(Fault(f"attachments/{key}/file", status, times=None, says=says))
    run = load()
    assert run.error is None
    assert {row["id"]: row["file_status"] for row in rows(run)} == {key: "refused", other: "stored"}
    assert logged(
        run, f"Files of 'attachments' of Business 1 (00000000000000000000000000000001) that Sage does not give: {key} ("
    )
    fault.times = 0
    healed = load(run.state)
    assert not logged(healed, "does not give")
    assert stored(rows(run, healed)) == in_books(server.world)


def test_a_missing_file_whose_attachment_was_deleted_is_no_longer_asked_for(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    key = attach(first(server.world), 1)
    server.faults.add(Fault(FILES, 404, times=None))
    run = load()
    server.world.clock.advance(timedelta(minutes=1))
    first(server.world).collection("attachments").delete(key, server.world.clock.now())
    deleted = load(run.state)
    assert deleted.error is None
    [row] = rows(run, deleted)
    assert (row["deleted_at"] is None, row["file_status"]) == (False, None)
    assert "files_missing" not in str(deleted.state)


def test_a_record_that_is_not_found_once_does_not_make_its_missing_file_forgotten(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    key = attach(first(server.world), 1)
    attach(first(server.world), 100)  # moves the bookmark past the other one
    broken = server.faults.add(Fault(f"attachments/{key}/file", "other_size", times=None))
    runs = [load()]
    broken.times = 0
    server.faults.add(Fault(f"attachments/{key}", 404))
    runs.append(load(runs[-1].state))
    assert logged(runs[-1], f"that Sage does not give: {key} (")
    runs.append(load(runs[-1].state))
    assert stored(rows(*runs)) == in_books(server.world)
    assert "files_missing" not in str(runs[-1].state)


@pytest.mark.parametrize("tombstones", ["full", "dated_id", "id_only"])
@pytest.mark.parametrize("deleted_since", ["honoured", "ignored"])
def test_a_missing_file_is_forgotten_when_its_attachment_is_reported_as_deleted(
    server: SandboxServer, load: Callable[..., Run], tombstones: Any, deleted_since: Any
) -> None:
    server.faults.update({"tombstones": tombstones, "deleted_since": deleted_since})
    key = attach(first(server.world), 1)
    server.faults.add(Fault(FILES, "other_size", times=None))
    run = load()
    server.world.clock.advance(timedelta(minutes=1))
    first(server.world).collection("attachments").delete(key, server.world.clock.now())
    deleted = load(run.state)
    assert deleted.error is None
    assert ("files_missing" in str(deleted.state)) == (deleted_since == "ignored")


@pytest.mark.parametrize("what", [403, "other_size"])
def test_files_that_are_stored_keep_their_address_where_others_are_in_vain(
    server: SandboxServer, load: Callable[..., Run], what: Any
) -> None:
    list_ = first(server.world).collection("attachments")
    old = [attach(first(server.world), number) for number in range(30)]
    run = load(concurrency=1)
    for key in [attach(first(server.world), number) for number in range(100, 125)]:
        server.faults.add(Fault(f"attachments/{key}/file", what, times=None))
    for key in old:
        list_.rows[key] = list_.rows.pop(key)  # behind the new ones
    everything = load(concurrency=1)
    assert {key for _, key in stored(rows(run, everything))} == {*old}


def test_where_too_many_are_missing_the_whole_read_is_repeated(
    server: SandboxServer, load: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_read, "MAX_MISSING", 3)
    for number in range(8):
        attach(first(server.world), number)
    fault = server.faults.add(Fault(FILES, 404, skip=4, times=None))
    run = load(concurrency=1)
    assert len(stored(run.records["attachments"])) == 4
    assert run.bookmark("attachments", first(server.world).id) is None
    assert "files_missing" not in str(run.state)
    fault.times = 0
    server.requests.clear()
    healed = load(run.state)
    assert len(asked_for(server)) == 4
    assert stored(rows(run, healed)) == in_books(server.world)


def test_files_that_the_user_may_not_read_are_not_asked_for_one_by_one(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    for number in range(100):
        attach(first(server.world), number)
    fault = server.faults.add(Fault(FILES, 403, times=None))
    run = load(concurrency=2)
    assert run.error is None
    assert logged(run, "Sage answered 403")
    assert len(asked_for(server)) <= 20
    assert {row["file_status"] for row in run.records["attachments"]} == {"refused"}
    assert len(run.records["attachments"]) == 100
    fault.times = 0
    assert stored(rows(run, load(run.state))) == in_books(server.world)


def test_many_broken_files_at_the_beginning_do_not_keep_the_others_away(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    keys = [attach(first(server.world), number) for number in range(60)]
    for key in keys[:12]:
        server.faults.add(Fault(f"attachments/{key}/file", "other_size", times=None))
    runs = [load(concurrency=1)]
    for _ in range(3):
        runs.append(load(runs[-1].state, concurrency=1))
    assert len(stored(rows(runs[0]))) >= 35
    assert {key for _, key in stored(rows(*runs))} == {*keys[12:]}


def test_an_xml_invoice_is_a_file_although_errors_come_as_xml_too(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    attach(first(server.world), 1, mime_type="application/xml", file_name="factur-x.xml")
    server.faults.add(Fault(FILES, "wrong_type", media_type="text/xml", times=None))
    assert stored(load().records["attachments"]) == in_books(server.world)


def test_endless_files_and_bombs_end_and_fill_neither_memory_nor_disk(
    server: SandboxServer, load: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setattr(adapter, "LARGEST_RESPONSE", 2 << 20)
    keys = [attach(first(server.world), number) for number in range(3)]
    server.faults.add(Fault(f"attachments/{keys[0]}/file", "endless", times=None))
    server.faults.add(Fault(f"attachments/{keys[1]}/file", "bomb", times=None, megabytes=5))
    run = load()
    assert logged(run, "larger than 2 MB")
    assert [row["file_status"] for row in run.records["attachments"]] == ["failed", "failed", "stored"]
    assert len(files_in(place)) == 1


def test_a_file_that_drips_has_its_time_and_holds_no_other_up(
    server: SandboxServer, load: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "LONGEST_EXCHANGE", 0.5)
    keys = [attach(first(server.world), number) for number in range(3)]
    server.faults.add(Fault(f"attachments/{keys[0]}/file", "drip", times=None, seconds=0.05))
    run = load()
    assert [row["file_status"] for row in run.records["attachments"]] == ["failed", "stored", "stored"]


# Where Sage redirects to


def lines_with_signatures(server: SandboxServer, run: Run) -> list[str]:
    """Return the lines of a run's log, of any level, that have a signature in them."""
    return [line for line in run.log if any(signature in line for signature in server.storage.signatures)]


@pytest.mark.parametrize("content", ["bytes", "base64"])
@pytest.mark.parametrize("place_at_sage", ["moved", "storage"])
def test_a_file_that_sage_redirects_to_is_stored_like_any_other(
    server: SandboxServer, load: Callable[..., Run], place_at_sage: Any, content: Any
) -> None:
    server.faults.file_place, server.faults.file_content = place_at_sage, content
    for business in server.world.businesses.values():
        for number, kind in enumerate(TYPES):
            attach(business, number, mime_type=kind, file_size=1 << 10 * (number % 3))
    run = load()
    assert run.error is None
    assert stored(run.records["attachments"]) == in_books(server.world)
    assert len(server.storage.visits) == (12 if place_at_sage == "storage" else 0)
    assert lines_with_signatures(server, run) == []


def test_nothing_of_sages_goes_along_to_a_storage_host_and_its_address_is_in_no_log(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    server.faults.file_place = "storage"
    keys = [attach(first(server.world), number) for number in range(4)]
    troubles: tuple[int | str, ...] = ("drop", 403, "cut", "drip_head")
    for key, what in zip(keys, troubles, strict=True):
        server.faults.add(Fault(f"storage/*/{key}", what, times=None, seconds=0))
    run = load()
    assert server.storage.visits
    names = {"accept", "accept-encoding", "cache-control", "connection", "host", "user-agent"}
    assert {name for visit in server.storage.visits for name in visit} <= names
    sent = str(server.storage.visits)
    assert not any(secret in sent for secret in server.issued_secrets | {server.client_secret})
    assert first(server.world).id not in sent
    assert lines_with_signatures(server, run) == []
    assert not any(signature in str(run.error) for signature in server.storage.signatures)


@pytest.mark.parametrize(
    "what",
    [
        *("cut", "cut_chunks", "cut_unframed", "cut_gzip", "drop", "lost", "html", "error_page", "other_size"),
        *("redirect_loop", 400, 401, 403, 404, 429, 500, 503),
    ],
)
def test_a_storage_host_that_fails_once_is_asked_again_by_another_address(
    server: SandboxServer, load: Callable[..., Run], what: Any
) -> None:
    server.faults.file_place = "storage"
    for number in range(3):
        attach(first(server.world), number, file_size=200_000)
    server.faults.add(Fault("storage/*", what))
    run = load()
    assert run.error is None
    assert stored(run.records["attachments"]) == in_books(server.world)
    assert len(asked_for(server)) == (3 if what == "redirect_loop" else 4)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (401, "answered 401 Unauthorized"),
        (403, "answered 403 Forbidden"),
        (404, "answered 404 Not Found"),
        (503, "answered 503 Service Unavailable"),
        ("drop", "the connection failed or broke off"),
        ("redirect_loop", "redirects more than 3 times"),
        ("html", "the response is no file but text/html"),
    ],
)
def test_a_storage_host_that_goes_on_failing_costs_its_files_and_nothing_else(
    server: SandboxServer, load: Callable[..., Run], what: Any, says: str
) -> None:
    server.faults.file_place = "storage"
    keys = [attach(first(server.world), number) for number in range(3)]
    fault = server.faults.add(Fault(f"storage/*/{keys[1]}", what, times=None, retry_after=86_400))
    run = load()
    assert str(run.error).startswith("1 read failed (attachments). ")
    assert [row["file_status"] for row in run.records["attachments"]] == ["stored", "failed", "stored"]
    assert logged(run, says)
    assert server.grants.refreshes == 1
    fault.times = 0
    assert stored(rows(run, load(run.state))) == in_books(server.world)


@pytest.mark.parametrize(
    "location",
    [
        *("http://storage.invalid/file", "ftp://127.0.0.1/file", "file:///etc/passwd", "data:,x", "https://", ""),
        *("http://[", "https://me:word@127.0.0.1/file", "https://127.0.0.1:0/file"),
        "https://a\u202eb/file".encode().decode("latin-1"),
    ],
)
def test_a_redirect_to_what_is_no_safe_address_is_not_followed(
    server: SandboxServer, load: Callable[..., Run], location: str
) -> None:
    attach(first(server.world), 1)
    server.faults.add(Fault(FILES, 302, by="nobody", location=location, times=None))
    run = load()
    assert logged(run, "Sage redirects to no address that a file may come from")
    assert run.records["attachments"][0]["file_status"] == "failed"
    assert not location or not logged(run, location)


def test_a_redirect_of_a_storage_host_back_to_sage_brings_no_token_there(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    key = attach(first(server.world), 1)
    server.faults.file_place = "storage"
    back = f"{server.api_url}/attachments/{key}/file?moved=1"
    server.faults.add(Fault("storage/*", 302, by="nobody", location=back, times=None))
    run = load()
    assert run.records["attachments"][0]["file_status"] == "failed"
    assert logged(run, "answered 401")
    assert server.grants.refreshes == 1


def test_lists_follow_no_redirect(server: SandboxServer, load: Callable[..., Run]) -> None:
    attach(first(server.world), 1)
    with SandboxServer(plain_world(2)) as elsewhere:
        away = f"{elsewhere.api_url}/attachments"
        server.faults.add(Fault("attachments", 302, by="nobody", location=away, times=None))
        run = load()
        assert len(elsewhere.requests) == 0
    assert logged(run, "It points elsewhere, where tokens do not go")


def test_waiting_for_a_storage_host_holds_no_place_among_requests_to_sage(
    server: SandboxServer, load: Callable[..., Run]
) -> None:
    server.faults.file_place = "storage"
    for number in range(6):
        attach(first(server.world), number)
    server.faults.add(Fault("storage/*", "slow", times=None, seconds=0.5))
    run = load(concurrency=2)
    assert stored(run.records["attachments"]) == in_books(server.world)
    files = [request for request in server.requests.of("attachments") if request.path.endswith("/file")]
    assert max(request.end - request.start for request in files) < 0.5


# What is not fetched twice


def test_no_file_is_fetched_twice_by_runs_that_read_everything_again(
    server: SandboxServer, load: Callable[..., Run], place: Path
) -> None:
    for number in range(5):
        attach(first(server.world), number)
    runs = [load(), load(), load(emit_activate_version_messages=True)]
    assert len(asked_for(server)) == 5
    assert all(stored(run.records["attachments"]) == in_books(server.world) for run in runs)
    assert len(files_in(place)) == 5
    assert logged(runs[1], "Files: 0 stored (0.0 MB), 5 were stored before.")


@pytest.mark.parametrize("changes", [{"file_size": 77}, {"description": "other content of the same size"}])
def test_only_files_of_attachments_that_changed_are_fetched_again_and_older_ones_stay(
    server: SandboxServer, load: Callable[..., Run], place: Path, changes: Record
) -> None:
    keys = [attach(first(server.world), number) for number in range(3)]
    run = load()
    old = stored(rows(run))
    server.world.clock.advance(timedelta(minutes=1))
    first(server.world).collection("attachments").change(keys[1], changes, server.world.clock.now())
    server.requests.clear()
    changed = load(run.state)
    assert asked_for(server) == [keys[1]]
    assert keys[0] not in {row["id"] for row in changed.records["attachments"]}
    assert stored(rows(run, changed)) == in_books(server.world)
    assert stored(rows(run)) == old
    assert len(files_in(place)) == 4


@pytest.mark.parametrize("damage", ["gone", "shorter", "empty"])
def test_a_stored_file_that_was_damaged_is_fetched_again_when_its_record_comes(
    server: SandboxServer, load: Callable[..., Run], place: Path, damage: str
) -> None:
    attach(first(server.world), 1)
    load()
    [name] = files_in(place)
    match damage:
        case "gone":
            (place / name).unlink()
        case "shorter":
            (place / name).write_bytes((place / name).read_bytes()[:-1])
        case _:
            (place / name).write_bytes(b"")
    assert stored(load().records["attachments"]) == in_books(server.world)
    assert len(asked_for(server)) == 2


def test_parts_that_a_killed_run_left_are_removed_and_those_of_a_run_at_work_stay(
    server: SandboxServer, load: Callable[..., Run], place: Path
) -> None:
    attach(first(server.world), 1)
    (parts := place / ".parts").mkdir(parents=True)
    old, new, foreign = (parts / name for name in ("0123456789abcdef", "fedcba9876543210", "notes.txt"))
    for part in (old, new, foreign):
        part.write_bytes(b"half")
    (parts / "a directory").mkdir()
    for part in (old, foreign, parts / "a directory"):
        os.utime(part, (time.time() - 7200,) * 2)
    assert stored(load().records["attachments"]) == in_books(server.world)
    assert {*parts.iterdir()} == {new, foreign, parts / "a directory"}


def test_a_directory_of_parts_that_leads_elsewhere_loses_nothing(
    server: SandboxServer, load: Callable[..., Run], place: Path, tmp_path: Path
) -> None:
    attach(first(server.world), 1)
    elsewhere = tmp_path / "elsewhere"
    for directory in (place, elsewhere):
        directory.mkdir()
    (old := elsewhere / "0123456789abcdef").write_text("mine")
    os.utime(old, (time.time() - 7200,) * 2)
    (place / ".parts").symlink_to(elsewhere)
    assert stored(load().records["attachments"]) == in_books(server.world)
    assert old.read_text() == "mine"


# The setting comes, goes and changes


def test_files_of_records_that_came_before_the_setting_are_fetched_too(
    server: SandboxServer, run_tap: Callable[..., Run], load: Callable[..., Run]
) -> None:
    for number in range(3):
        attach(first(server.world), number)
    before = run_tap("attachments")
    assert stored(rows(load(before.state))) == in_books(server.world)


def test_files_that_are_attached_while_the_setting_is_off_are_fetched_when_it_is_on_again(
    server: SandboxServer, run_tap: Callable[..., Run], load: Callable[..., Run]
) -> None:
    attach(first(server.world), 1)
    on = load()
    attach(first(server.world), 2)
    off = run_tap("attachments", state=on.state)
    server.requests.clear()
    again = load(off.state)
    assert asked_for(server) == ["00000000-0000-0000-0000-000000000002"]
    assert stored(rows(again)) == in_books(server.world)


def test_another_place_gets_all_files_and_rows_point_to_it(
    server: SandboxServer, load: Callable[..., Run], tmp_path: Path
) -> None:
    for number in range(3):
        attach(first(server.world), number)
    run = load()
    moved = load(run.state, attachments_url=f"file://{tmp_path / 'other'}")
    assert stored(rows(run, moved)) == in_books(server.world)
    assert all(str(tmp_path / "other") in row["file_url"] for row in rows(run, moved))


@pytest.mark.parametrize("tombstones", ["full", "dated_id", "id_only"])
def test_the_file_of_an_attachment_that_is_deleted_stays_and_its_row_still_points_to_it(
    server: SandboxServer, load: Callable[..., Run], tombstones: Any
) -> None:
    server.faults.tombstones = tombstones
    key = attach(first(server.world), 1)
    run = load()
    expected = in_books(server.world)
    server.world.clock.advance(timedelta(minutes=1))
    first(server.world).collection("attachments").delete(key, server.world.clock.now())
    server.requests.clear()
    deleted = load(run.state)
    loaded = Warehouse()
    loaded.load(run.messages)
    loaded.load(deleted.messages)
    [row] = loaded.tables["attachments"].values()
    assert row["deleted_at"]
    assert stored([row]) == expected
    assert asked_for(server) == []


# Names from Sage


@pytest.mark.parametrize(
    "name",
    [
        "../../x.pdf",
        "/etc/passwd",
        "C:\\Windows\\x.dll",
        "a\0b.pdf",
        "x" * 300 + ".pdf",
        "🦈.🦈",
        "CON",
        "con.txt:stream",
        "x.p/../../df",
        ".",
        "..",
        "",
        "x.PDF ",
        "\u202efdp.exe",
        "a\nb.c\nd",
    ],
    ids=ascii,
)
def test_no_name_from_sage_chooses_where_a_file_goes(
    server: SandboxServer, load: Callable[..., Run], place: Path, tmp_path: Path, name: str
) -> None:
    business = first(server.world)
    before = {path for path in tmp_path.rglob("*") if place not in path.parents}
    attach(business, 1, file_name=name, file_extension=name, mime_type=name)
    attach(business, 2, file_name=name, file_extension=None, mime_type=None)
    run = load()
    assert run.error is None
    assert stored(run.records["attachments"]) == in_books(server.world)
    for file in files_in(place):
        directory, _, rest = file.partition("/")
        assert directory == business.id
        assert rest.isascii()
        assert rest.count("/") == 1
        assert set(rest) <= set("0123456789abcdefghijklmnopqrstuvwxyz-./")
        assert rest.count(".") <= 1
    allowed = before | {place, *tmp_path.glob("tokens.sqlite*")}
    assert {path for path in tmp_path.rglob("*") if place not in path.parents} <= allowed


@pytest.mark.parametrize("key", ["../../../user", "..", "CON", "a/b", "x" * 200, "A", "é", "a?b=c#d", "%2e%2e"])
def test_no_id_from_sage_leads_out_of_its_folder_or_to_another_path(
    server: SandboxServer, load: Callable[..., Run], place: Path, key: str
) -> None:
    business = first(server.world)
    attach(business, 1, id=key)
    attach(business, 2, id=key.lower() if key == "A" else "b")
    run = load()
    api, paths = "/v3.1/", {request.path for request in server.requests}
    assert {path for path in paths if path.startswith(api)} <= {
        *(f"{api}businesses", f"{api}attachments"),
        *(f"{api}attachments/{name}/file" for name in ("a", "b", "A", "CON", "\u00e9")),
    }
    assert {path for path in paths if not path.startswith(api)} == {"/token"}
    assert len(run.records["attachments"]) == 2
    names = {file.split("/")[1] for file in files_in(place)}
    assert len(names) == len(files_in(place))
    assert all(set(name) <= set("0123456789abcdefx") for name in names)
    assert stored(run.records["attachments"]).items() <= in_books(server.world).items()
    assert run.records["attachments"][1]["file_status"] == "stored"


# The place


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may become larger, which is what a full disk looks like to who writes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_the_disk_is_full_all_rows_arrive_and_the_next_run_brings_the_files(
    server: SandboxServer, load: Callable[..., Run], place: Path
) -> None:
    for number, size in enumerate((1000, 200_000, 5_000_000)):
        attach(first(server.world), number, file_size=size)
    with files_of_at_most(150_000):
        run = load()
    assert str(run.error).startswith("1 read failed (attachments). ")
    assert [row["file_status"] for row in run.records["attachments"]] == ["stored", "failed", "failed"]
    assert logged(run, "it cannot be stored (File too large)")
    assert logged(run, f"no room in {gettempdir()} (File too large): free some, or set TMPDIR")
    assert len(files_in(place)) == 1
    assert stored(rows(run, load(run.state))) == in_books(server.world)


def test_where_no_file_can_be_stored_few_are_asked_for_and_all_come_later(
    server: SandboxServer, load: Callable[..., Run], place: Path
) -> None:
    for business in server.world.businesses.values():
        for number in range(60):
            attach(business, number)
    place.write_text("a file where the directory should be")
    run = load(concurrency=2)
    assert str(run.error).startswith("2 reads failed (attachments). ")
    assert logged(run, "Not a directory")
    assert len(run.records["attachments"]) == 120
    assert len(asked_for(server)) <= 40
    place.unlink()
    assert stored(rows(run, load(run.state))) == in_books(server.world)


@pytest.mark.parametrize("missing", ["", "not yet here/", "not/yet/here/"])
def test_a_directory_that_cannot_be_made_is_named_by_why_and_not_as_absent(
    server: SandboxServer, load: Callable[..., Run], place: Path, missing: str
) -> None:
    attach(first(server.world), 0)
    run = load(attachments_url=f"file://{place}/{missing}{'x' * 300}")
    assert logged(run, "File name too long")
    assert not logged(run, "No such file")
    assert [row["file_status"] for row in run.records["attachments"]] == ["failed"]


def test_a_place_is_read_as_it_is_written_and_its_addresses_can_be_opened(
    server: SandboxServer, load: Callable[..., Run], tmp_path: Path
) -> None:
    attach(first(server.world), 0)
    [record] = load(attachments_url=f"file://{tmp_path}/a%20b é c").records["attachments"]
    assert len(files_in(tmp_path / "a%20b é c")) == 1
    with fsspec.open(record["file_url"]) as file:
        assert sha256(file.read()).hexdigest() == record["file_sha256"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("/data/files", "must begin with file://"),
        ("files", "must begin with file://"),
        ("https://example.com/files", "must begin with file://"),
        ("simplecache::s3://bucket", "must begin with file://"),
        ("file://", "names no place"),
        ("s3://", "names no place"),
        ("s3://key:secret-of-mine@bucket/x", "must hold no login"),
        ("s3://bucket/x?endpoint=elsewhere", "must hold no login and no options"),
        ("gs://bucket/files", "needs the package 'gcsfs' for gs://: pip install gcsfs"),
        ("abfs://container/files", "needs the package 'adlfs' for abfs://: pip install adlfs"),
        ("file://[", "is no address"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_asked(
    server: SandboxServer, load: Callable[..., Run], url: str, says: str
) -> None:
    with pytest.raises(Exception, match="The settings are not right") as caught:
        load(attachments_url=url)
    [problem] = caught.value.errors  # type: ignore[attr-defined]
    assert says in problem
    assert "\n" not in problem
    assert "secret-of-mine" not in problem
    assert len(server.requests) == 0


def test_object_stores_get_the_same_files(server: SandboxServer, load: Callable[..., Run]) -> None:
    for number in range(3):
        attach(first(server.world), number)
    memory = fsspec.filesystem("memory")
    try:
        records = [load(attachments_url="memory:///files").records["attachments"] for _ in range(2)][1]
        digests = {(row["business_id"], row["id"]): sha256(memory.cat(row["file_url"])).hexdigest() for row in records}
    finally:
        memory.store.clear()
    assert digests == in_books(server.world)
    assert len(asked_for(server)) == 3


# Columns


def catalog(selected: Callable[[str], bool], **settings: Any) -> Record:
    """The catalog of a tap with some settings, with some columns of attachments selected and nothing else."""
    tap = TapSageAccounting(config=settings, parse_env_config=False, validate_config=False)
    made: Record = tap.catalog_dict
    for entry in made["streams"]:
        is_read = entry["tap_stream_id"] == "attachments"
        for each in entry["metadata"]:
            each["metadata"]["selected"] = is_read and (not each["breadcrumb"] or selected(each["breadcrumb"][1]))
    return made


def test_files_come_whichever_columns_are_selected(
    server: SandboxServer, run_tap: Callable[..., Run], place: Path
) -> None:
    attach(first(server.world), 1)
    wanted = {"id", "file_url", "file_sha256"}
    url = f"file://{place}"
    run = run_tap(catalog=catalog(wanted.__contains__, attachments_url=url), attachments_url=url)
    [record] = run.records["attachments"]
    assert record.keys() <= wanted | {"business_id", "updated_at", "deleted_at"}
    assert stored([{**record, "file_status": "stored"}]) == in_books(server.world)


def test_a_catalog_from_before_the_setting_keeps_the_columns_aside(
    server: SandboxServer, run_tap: Callable[..., Run], place: Path
) -> None:
    attach(first(server.world), 1)
    run = run_tap(catalog=catalog(lambda _: True), attachments_url=f"file://{place}")
    [record] = run.records["attachments"]
    assert "file_url" not in record
    assert "file_sha256" in record["additional_attributes"]
    assert len(files_in(place)) == 1


def test_the_setting_without_the_stream_is_noticed(run_tap: Callable[..., Run], place: Path) -> None:
    run = run_tap("contacts", attachments_url=f"file://{place}")
    assert run.error is None
    assert logged(run, "'attachments_url' has no effect: the stream 'attachments' is not selected.")


def test_stream_maps_can_read_the_columns(server: SandboxServer, load: Callable[..., Run]) -> None:
    attach(first(server.world), 1)
    maps = {"attachments": {"digest": "file_sha256.upper()", "file_url": None}}
    [record] = load(stream_maps=maps).records["attachments"]
    assert [record["digest"].lower()] == list(in_books(server.world).values())
    assert "file_url" not in record
