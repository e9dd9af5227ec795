"""The command shows, forgets and sets back a state; the lists named are read again, and the books agree."""

from __future__ import annotations

import copy
import json
import os
import stat
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.server import SandboxServer
from sage_sandbox.store import timestamp
from sage_workbench.damage import BAD, paths_of, replaced
from sage_workbench.merge import Warehouse, disagreements, trial_balance_disagreements
from sage_workbench.plain_books import Ledger, List, plain_world
from sage_workbench.processes import TapProcess
from sage_workbench.runs import last_state
from support.terminals import PROGRAMS, Terminal
from tap_sage_accounting.run.state_parts import LISTS_READ
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from sage_sandbox.api import Call
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]
    Done = subprocess.CompletedProcess[str]

KINDS = ("sales_invoices", "sales_quotes", "contacts", "tax_rates")
"""Lists whose deletions Sage reports, or that show them by what is missing; one is read whole now and then."""
STREAMS = (*KINDS, *Ledger.STREAMS)
EVERYTHING = (*STREAMS, "trial_balance", "deletions")
HOSTILE = "Acme\r\nRun finished\x1b]0;x\x07\x1b[2J\x9b1A\u202e\u2028\x7f"


class Practice:
    """Two businesses and the tables that they are loaded into, over some weeks of work in the books."""

    def __init__(self, server: SandboxServer, run_tap: RunTap, terminal: Terminal) -> None:
        self.server = server
        self.terminal = terminal
        self.file = terminal.home / "state.json"
        self._run_tap = run_tap
        self.businesses = [*server.world.businesses.values()]
        self.lists = {
            (number, stream): List(server.world, owner, stream)
            for number, owner in enumerate(self.businesses)
            for stream in KINDS
        }
        self.ledgers = [Ledger(server.world, owner) for owner in self.businesses]
        for rows in self.lists.values():
            rows.fill(5)
        for number in range(8):
            for ledger in self.ledgers:
                ledger.post(number)
        self.pass_time(hours=1)
        self.warehouse = Warehouse()
        self.state: Any = None

    def pass_time(self, **time: float) -> None:
        with self.server.paused():
            self.server.world.clock.advance(timedelta(**time))

    @property
    def now(self) -> datetime:
        return self.server.world.clock.now()

    def work(self) -> None:
        """Add, change and delete a row of each list of each business, and move a transaction to another month."""
        with self.server.paused():
            for rows in self.lists.values():
                first, second, *_ = rows.keys
                rows.edit(first)
                rows.delete(second)
                rows.insert()
            for ledger in self.ledgers:
                ledger.post(9)
                ledger.move(2, timedelta())
                ledger.void(3)

    def run(self, **settings: Any) -> Run:
        """Load what changed; a day passes after it."""
        self.server.requests.clear()
        run = self._run_tap(*EVERYTHING, state=copy.deepcopy(self.state), deletion_sweep_days=0, **settings)
        assert run.error is None
        self.state = run.state
        self.warehouse.load(run.messages)
        self.pass_time(days=1)
        return run

    def change(self, *options: str, code: int = 0) -> Done:
        """Change the state by the command, as a scheduler keeps it."""
        done = self.terminal.start(
            PROGRAMS / "tap-sage-accounting-state", *options, standard_input=json.dumps({"singer_state": self.state})
        )
        assert done.returncode == code, done.stderr
        if code == 0:
            self.state = json.loads(done.stdout)["singer_state"]
        return done

    def show(self, *options: str) -> list[dict[str, Any]]:
        done = self.terminal.start(
            PROGRAMS / "tap-sage-accounting-state", "--json", *options, standard_input=json.dumps(self.state)
        )
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    @property
    def wrong(self) -> list[str]:
        now = self.now
        return disagreements(self.server.world, self.warehouse, STREAMS) + [
            found for owner in self.businesses for found in trial_balance_disagreements(owner, now, self.warehouse)
        ]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(businesses=2)) as running:
        yield running


@pytest.fixture
def terminal(server: SandboxServer, tmp_path: Path) -> Terminal:
    return Terminal(server, tmp_path)


@pytest.fixture
def practice(server: SandboxServer, run_tap: RunTap, terminal: Terminal) -> Practice:
    """Three loads, with work in the books between them."""
    practice = Practice(server, run_tap, terminal)
    practice.run()
    for _ in range(2):
        practice.work()
        practice.pass_time(days=8)
        practice.run()
    assert practice.wrong == []
    return practice


def command(terminal: Terminal, *options: str, content: str = "") -> Done:
    done = terminal.start(PROGRAMS / "tap-sage-accounting-state", *options, standard_input=content)
    assert "Traceback" not in done.stderr
    assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))
    return done


# What is read again


def test_a_state_set_back_for_one_stream_of_one_business_reads_exactly_that_again(practice: Practice) -> None:
    chosen, other = (owner.id for owner in practice.businesses)
    moment = practice.now - timedelta(days=12)
    changed = {
        row.id
        for row in practice.businesses[0].collection("sales_invoices").rows.values()
        if row.updated_at is not None and row.updated_at >= moment
    }
    before = copy.deepcopy(practice.state)
    done = practice.change("--set-back", timestamp(moment), "--stream=sales_invoices", f"--business={chosen}")
    assert done.stderr.startswith(
        f"Set back to {timestamp(moment)}: 'sales_invoices' of {chosen}, which was read until"
    )
    assert {name for name in before["bookmarks"] if practice.state["bookmarks"][name] != before["bookmarks"][name]} == {
        "sales_invoices"
    }
    run = practice.run()
    read = {(row["business_id"], row["id"]) for row in run.records["sales_invoices"] if not row.get("deleted_at")}
    assert {key for owner, key in read if owner == chosen} == changed
    assert changed
    sent = [each for each in practice.server.requests.of("sales_invoices") if "deleted_since" not in each.params]
    since = {each.business: each.params["updated_or_created_since"] for each in sent}
    assert since[chosen] < timestamp(moment) < since[other]
    assert practice.wrong == []


@pytest.mark.parametrize("stream", [*STREAMS, "trial_balance"])
def test_a_table_that_was_lost_is_whole_after_its_stream_was_forgotten(practice: Practice, stream: str) -> None:
    practice.warehouse.tables[stream].clear()
    practice.change("--forget", f"--stream={stream}")
    practice.work()
    run = practice.run()
    assert practice.wrong == []
    assert {row["business_id"] for row in run.records[stream]} == {owner.id for owner in practice.businesses}


@pytest.mark.parametrize("options", [("--forget",), ("--set-back=2026-01-01",), ("--set-back=2026-06-30T19:30:00Z",)])
def test_what_is_deleted_before_the_next_run_is_noticed_where_the_table_kept_its_rows(
    practice: Practice, options: tuple[str, ...]
) -> None:
    practice.change(*options, "--everything")
    for _ in range(2):
        practice.work()
    run = practice.run()
    assert practice.wrong == []
    assert {row["stream"] for row in run.records["deletions"]} >= {*KINDS}
    practice.run()
    asked = {"updated_or_created_since", "deleted_since"}
    assert all(asked & sent.params.keys() for sent in practice.server.requests.of("sales_invoices"))


def test_tables_restored_from_a_backup_catch_up_with_what_changed_and_what_was_deleted_since(
    practice: Practice,
) -> None:
    moment, backup = practice.now - timedelta(days=1), copy.deepcopy(practice.warehouse)
    practice.work()
    practice.pass_time(days=20)
    practice.run()
    practice.warehouse = backup
    practice.change("--everything", "--set-back", timestamp(moment))
    practice.run()
    # Of a list whose deletions Sage does not report, those that were noted already are not found again.
    assert {found.partition(" of ")[0] for found in practice.wrong} <= {"sales_quotes", "tax_rates"}
    assert all(found.endswith("is stale") for found in practice.wrong)


def test_nothing_is_taken_for_deleted_that_is_there(practice: Practice) -> None:
    practice.change("--everything", "--set-back=2026-01-01")
    run = practice.run()
    gone = {(row["stream"], row["business_id"], row["id"]) for row in run.records["deletions"]}
    alive = {(rows.stream, rows.owner.id, key) for rows in practice.lists.values() for key in rows.collection.rows}
    assert gone
    assert not gone & alive


def test_a_business_that_rests_is_read_when_one_of_its_lists_was_forgotten(practice: Practice) -> None:
    practice.run(idle_business_hours=240)
    chosen, other = (owner.id for owner in practice.businesses)
    practice.run(idle_business_hours=240)
    assert len(practice.server.requests.of("contacts")) == 0
    practice.change("--forget", "--stream=contacts", f"--business={chosen}")
    run = practice.run(idle_business_hours=240)
    assert {row["business_id"] for row in run.records["contacts"]} == {chosen}
    assert practice.wrong == []
    held = {each["context"]["business_id"]: each for each in practice.state["bookmarks"]["transactions"]["partitions"]}
    assert all(LISTS_READ in held[each] for each in (chosen, other))


def test_deletions_that_wait_come_when_their_list_was_set_back(practice: Practice) -> None:
    practice.run(idle_business_hours=240)
    contacts = practice.lists[0, "contacts"]
    contacts.delete(contacts.keys[0])
    practice.run(idle_business_hours=240)
    assert len(practice.wrong) == 1
    practice.change("--set-back=2026-01-01", "--stream=contacts")
    practice.run(idle_business_hours=240)
    assert practice.wrong == []


def test_deletions_that_wait_for_their_hour_are_read_with_a_list_that_was_forgotten(practice: Practice) -> None:
    practice.run(idle_business_hours=240)
    chosen = practice.businesses[0].id
    practice.work()  # so that no business rests
    practice.change("--forget", "--stream=contacts", f"--business={chosen}")
    practice.run(idle_business_hours=240)
    assert not [found for found in practice.wrong if found.startswith("contacts of Business 1")]
    assert [found for found in practice.wrong if found.startswith("contacts of Business 2")]


def test_a_business_whose_rows_are_gone_is_unknown_to_the_next_run(practice: Practice) -> None:
    gone, other = (owner.id for owner in practice.businesses)
    with practice.server.paused() as world:
        del world.businesses[gone]
    assert any("is no longer among those that this user sees" in line for line in practice.run().log)
    practice.change("--forget", "--rows-are-gone", f"--business={gone}")
    assert {found["business_id"] for found in practice.show()} == {other}
    run = practice.run()
    assert not [line for line in run.log if gone in line]
    assert run.records["contacts"] == []


def test_a_first_read_that_was_killed_can_be_forgotten(server: SandboxServer, tmp_path: Path) -> None:
    owner = next(iter(server.world.businesses.values()))
    rows = List(server.world, owner, "sales_invoices")
    for number in range(60):
        rows.insert(server.world.clock.now() - timedelta(days=70, minutes=-number))
    process, warehouse = TapProcess(server, tmp_path, ["sales_invoices"], page_size=5), Warehouse()

    def late(call: Call) -> bool:
        return call.path == "sales_invoices" and call.page == 9

    warehouse.load(process.run(kill_when=late))
    assert process.killed == 1
    gone = rows.keys[3]
    rows.delete(gone)
    terminal = Terminal(server, tmp_path)
    done = terminal.start(
        PROGRAMS / "tap-sage-accounting-state",
        "--forget",
        "--stream=sales_invoices",
        standard_input=json.dumps(process.state),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Unchanged: the next run reads 'sales_invoices'")
    process.state = json.loads(done.stdout)
    warehouse.load(process.run())
    assert disagreements(server.world, warehouse, ["sales_invoices"]) == []
    assert gone not in warehouse.live("sales_invoices", owner.id)


@pytest.mark.parametrize("options", [("--forget",), ("--set-back=2026-01-01",)])
def test_a_read_that_was_cut_short_does_not_go_on_in_a_table_that_was_lost(
    server: SandboxServer,
    run_tap: RunTap,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    owner = next(iter(server.world.businesses.values()))
    rows = List(server.world, owner, "sales_invoices")
    for number in range(60):
        rows.insert(server.world.clock.now() - timedelta(days=70, minutes=-number))
    monkeypatch.setattr(TapSageAccounting, "between_checkpoints", 0.0)
    state = last_state(run_tap("sales_invoices", page_size=5).messages[:50])
    assert state["bookmarks"]["sales_invoices"]["partitions"][0]["interrupted"]["rows"] > 20
    content = json.dumps(state)
    assert "cut short: the next run goes on after" in command(terminal, content=content).stdout
    done = command(terminal, *options, "--stream=sales_invoices", content=content)
    warehouse = Warehouse()
    warehouse.load(run_tap("sales_invoices", state=json.loads(done.stdout), page_size=5).messages)
    assert disagreements(server.world, warehouse, ["sales_invoices"]) == []


def test_months_that_were_emptied_are_read_when_the_trial_balance_was_forgotten(
    server: SandboxServer, run_tap: RunTap, terminal: Terminal
) -> None:
    warehouse, owner = Warehouse(), next(iter(server.world.businesses.values()))
    ledger = Ledger(server.world, owner)
    owner.objects["financial_settings"]["accounts_start_date"] = "2024-01-01"
    for number, day in enumerate(("2024-02-10", "2026-05-10")):
        ledger.post(number)
        ledger._change_whole(number, {"date": day})
    state: Any = None
    for _ in range(2):
        run = run_tap("trial_balance", state=state)
        warehouse.load(run.messages)
        with server.paused():
            ledger._change_whole(0, {"date": "2026-06-10"})
        done = command(terminal, "--forget", "--stream=trial_balance", content=json.dumps(run.state))
        state = json.loads(done.stdout)
    assert trial_balance_disagreements(owner, server.world.clock.now(), warehouse) == []


# What is shown


def test_bookmarks_are_shown_by_business_and_stream_in_lines_that_fit(practice: Practice) -> None:
    done = practice.terminal.start(PROGRAMS / "tap-sage-accounting-state", standard_input=json.dumps(practice.state))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("Business ")] == [
        f"Business {owner.id}" for owner in practice.businesses
    ]
    assert max(map(len, lines)) <= 80
    shown = {line.split()[0]: line for line in lines if line.startswith("  ")}
    for found in practice.show(f"--business={practice.businesses[1].id}"):
        assert found["read_until"] in shown[found["stream"]] if "read_until" in found else True
    assert "ids known" in shown["sales_quotes"]
    assert shown["sales_invoices"].count("T") == 2


@pytest.mark.parametrize("stream", ["sales_invoices", "trial_balance"])
def test_programs_find_the_same_as_json(practice: Practice, stream: str) -> None:
    chosen = practice.businesses[0].id
    [found] = practice.show(f"--stream={stream}", f"--business={chosen}")
    [held] = [
        each for each in practice.state["bookmarks"][stream]["partitions"] if each["context"] == {"business_id": chosen}
    ]
    assert found["read_until"] in held.values()
    assert found.get("deletions_until") == held.get("deletions_told_until")


# What is refused


REFUSED: dict[str, tuple[str, ...]] = {
    "There is no stream 'sales_invoice'; did you mean 'sales_invoices'?": ("--forget", "--stream=sales_invoice"),
    "There is no stream 'contact'; did you mean 'contacts'?": ("--stream=contact",),
    "The state holds nothing of 'journals': the next run reads it from the beginning.": (
        "--forget",
        "--stream=journals",
    ),
    "'deletions' is not read: it collects what reads of other streams find. Name those.": (
        "--forget",
        "--stream=deletions",
    ),
    f"The state holds nothing of business '{1:031x}'; did you mean '{1:032x}'?": ("--forget", f"--business={1:031x}"),
    f"The state holds nothing of business 'x'; it holds {1:032x}, {2:032x}.": ("--set-back=2026-01-01", "--business=x"),
    "'yesterday' is no moment: write 2026-06-30 or 2026-06-30T18:00:00Z.": ("--set-back=yesterday", "--everything"),
    "'1969-12-31' lies before 1970, and before everything in Sage: use --forget.": (
        "--set-back=1969-12-31",
        "--everything",
    ),
}


def test_what_matches_nothing_is_refused_in_one_line(practice: Practice, subtests: pytest.Subtests) -> None:
    practice.file.write_text(json.dumps(practice.state))
    for says, options in REFUSED.items():
        with subtests.test(says):
            assert practice.change(*options, code=1).stderr == f"{says}\n"
            if "--forget" in options:
                done = practice.terminal.start(
                    PROGRAMS / "tap-sage-accounting-state", "state.json", "--in-place", *options
                )
                assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(practice.file.read_text()) == practice.state


@pytest.mark.parametrize(
    "options",
    [
        ("--forget",),
        ("--set-back=2026-01-01",),
        ("--forget", "--set-back=2026-01-01", "--everything"),
        ("--forget", "--everything", "--stream=contacts"),
        ("--everything",),
        ("--in-place", "--forget", "--everything"),
        ("--rows-are-gone", "--everything", "--set-back=2026-01-01"),
        ("--json", "--forget", "--everything"),
    ],
)
def test_options_that_make_no_sense_change_nothing(terminal: Terminal, options: tuple[str, ...]) -> None:
    done = terminal.start(PROGRAMS / "tap-sage-accounting-state", *options, standard_input='{"bookmarks": {}}')
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


# Files and forms


STATE: dict[str, Any] = {
    "bookmarks": {
        "contacts": {
            "partitions": [
                {
                    "context": {"business_id": "1" * 32},
                    "replication_key": "updated_at",
                    "replication_key_value": "2026-06-01T00:00:00Z",
                    "deletions_told_until": "2026-06-01T00:00:00Z",
                    "of_a_later_version": {"kept": [1.5, None]},
                }
            ]
        },
        "of_a_later_version": {"partitions": 5},
        "user": {},
    },
    "currently_syncing": None,
}
FORGOTTEN = copy.deepcopy(STATE)
for _key in ("replication_key", "replication_key_value"):
    del FORGOTTEN["bookmarks"]["contacts"]["partitions"][0][_key]
FORMS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda state: state,
    "as meltano state get prints it": lambda state: {"singer_state": state},
    "as Meltano stores it": lambda state: {"completed": {"singer_state": state}, "partial": {}},
    "as a STATE message": lambda state: {"type": "STATE", "value": state},
    "as Airbyte keeps it": lambda state: [
        {"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": each}}
        for name, each in state["bookmarks"].items()
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_state_has_the_form_in_which_it_came(terminal: Terminal, form: str) -> None:
    done = command(terminal, "--forget", "--stream=contacts", content=json.dumps(FORMS[form](STATE)))
    assert json.loads(done.stdout) == FORMS[form](FORGOTTEN)
    assert done.stderr == f"Forgotten: 'contacts' of {'1' * 32}, which was read until 2026-06-01T00:00:00Z.\n"


def test_a_state_that_is_text_inside_of_json_is_refused(terminal: Terminal) -> None:
    content = json.dumps({"completed_state": json.dumps({"singer_state": STATE}), "partial_state": None})
    done = command(terminal, "--forget", "--stream=contacts", content=content)
    assert (done.returncode, done.stdout) == (1, "")
    assert "as `meltano state get` prints it" in done.stderr


def test_a_file_is_replaced_at_once_and_keeps_its_rights_and_its_links(terminal: Terminal) -> None:
    kept, link = terminal.home / "kept.json", terminal.home / "state.json"
    kept.write_text(json.dumps(STATE))
    kept.chmod(0o640)
    link.symlink_to(kept)
    done = command(terminal, "state.json", "--forget", "--stream=contacts", "--in-place")
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(kept.read_text()) == FORGOTTEN
    assert link.is_symlink()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert {path.name for path in terminal.home.iterdir()} == {"kept.json", "state.json"}


@pytest.mark.root
def test_a_file_of_somebody_else_stays_theirs_when_root_changes_it(terminal: Terminal) -> None:
    file = terminal.home / "state.json"
    file.write_text(json.dumps(STATE))
    file.chmod(0o600)
    os.chown(file, 12345, 23456)
    done = command(terminal, "state.json", "--forget", "--stream=contacts", "--in-place")
    assert done.returncode == 0
    assert json.loads(file.read_text()) == FORGOTTEN
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o600)


def test_a_file_that_cannot_be_replaced_is_as_it_was(terminal: Terminal) -> None:
    os.mkfifo(terminal.home / "pipe")
    process = terminal.begin(
        PROGRAMS / "tap-sage-accounting-state", "pipe", "--forget", "--stream=contacts", "--in-place"
    )
    (terminal.home / "pipe").write_text(json.dumps(STATE))
    done = terminal.end(process)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pipe stays as it was, because it is not a regular file.\n"
    assert stat.S_ISFIFO((terminal.home / "pipe").stat().st_mode)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "The state is empty."),
        ('{"bookmarks": {"contacts": {"partitions": [', "The state cannot be read as JSON."),
        ("\0", "The state cannot be read as JSON."),
        ("[" * 100_000, "The state cannot be read as JSON."),
        ('{"bookmarks": {"contacts": {"x": ' + "1" * 10_000 + "}}}", "The state cannot be read as JSON."),
        ('{"bookmarks": {"deals": {}, "leads": {}}}', "The state names none of this tap's streams (deals, leads)"),
        ('{"bookmarks": 5}', "The state has something else in the place of its bookmarks."),
        ("5", "The state is in no form that this tap knows"),
        (json.dumps({"bookmarks": {HOSTILE: {}}}), "The state names none of this tap's streams (Acme\\r\\nRun"),
    ],
)
def test_what_is_no_state_of_this_tap_is_refused_and_nothing_is_written(
    terminal: Terminal, content: str, says: str
) -> None:
    (terminal.home / "state.json").write_text(content)
    for options in ((), ("--forget", "--everything"), ("--forget", "--everything", "--in-place")):
        done = command(terminal, "state.json", *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(says)
        assert len(done.stderr.splitlines()) == 1
    assert (terminal.home / "state.json").read_text() == content


def test_a_state_with_keys_that_are_there_twice_is_taken_as_a_run_takes_it(terminal: Terminal) -> None:
    text = json.dumps(STATE).replace(
        '"deletions_told_until":', '"deletions_told_until": "1999-01-01", "deletions_told_until":'
    )
    done = command(terminal, "--forget", "--stream=contacts", content=text)
    assert json.loads(done.stdout) == FORGOTTEN


def test_texts_of_a_state_reach_no_terminal(terminal: Terminal) -> None:
    state = {"bookmarks": {"contacts": {"partitions": [{"context": {"business_id": HOSTILE}, "x": HOSTILE}]}}}
    content = json.dumps({**state, HOSTILE: HOSTILE})
    for options in ((), ("--json",), ("--forget", "--everything"), ("--stream=contacts", "--business=x")):
        command(terminal, *options, content=content)
    done = command(terminal, "--forget", "--everything", content=content)
    assert json.loads(done.stdout) == {**state, HOSTILE: HOSTILE}


def test_a_huge_state_is_changed(terminal: Terminal) -> None:
    businesses = [f"{number:032x}" for number in range(3000)]
    state = copy.deepcopy(STATE)
    [partition] = state["bookmarks"]["contacts"]["partitions"]
    state["bookmarks"]["contacts"]["partitions"] = [
        {**partition, "context": {"business_id": each}, "filler": "x" * 3000} for each in businesses
    ]
    done = command(terminal, "--forget", "--everything", content=json.dumps(state))
    assert done.stderr.splitlines()[-1] == f"And {len(businesses) + 1 - 20} more lists."
    assert "2026-06-01T00:00:00Z" in done.stdout
    assert '"replication_key_value"' not in done.stdout


@pytest.mark.slow
def test_whatever_stands_in_a_state_a_list_that_was_forgotten_is_read_and_the_books_agree(
    practice: Practice, subtests: pytest.Subtests
) -> None:
    """Each part of the state of a list is replaced by something else before the list is forgotten."""
    sound = copy.deepcopy(practice.state)
    keys = {path[-1] for path in paths_of(sound["bookmarks"]["sales_invoices"]) if isinstance(path[-1], str)}
    for number, key in enumerate(sorted(keys - {"business_id", "context", "partitions"})):
        for bad in BAD[number::3]:
            with subtests.test(f"{key}: {bad!r:.40}"):
                practice.state = copy.deepcopy(sound)
                for path in list(paths_of(practice.state)):
                    if path[1:2] == ("sales_invoices",) and path[-1] == key:
                        practice.state = replaced(practice.state, path, bad)
                practice.change("--forget", "--stream=sales_invoices")
                practice.work()
                practice.run()
                assert disagreements(practice.server.world, practice.warehouse, ["sales_invoices"]) == []
                sound = copy.deepcopy(practice.state)
