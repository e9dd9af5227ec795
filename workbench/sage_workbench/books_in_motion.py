"""A state machine that changes the books, runs, kills and disturbs the tap, and compares after every run."""

from __future__ import annotations

import copy
import json
import logging
import re
import tempfile
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from typing_extensions import override

from sage_sandbox.server import SandboxServer
from sage_sandbox.store import timestamp
from sage_workbench.damage import BAD, paths_of, replaced
from sage_workbench.merge import Warehouse, disagreements, trial_balance_disagreements
from sage_workbench.moves import (
    BUSINESSES,
    CLOCKS,
    DEEDS,
    FAULTS,
    FOREIGN,
    FORMS,
    HABITS,
    KEPT_AS_SENT,
    LIARS,
    LOST,
    MINUTE,
    REFUSALS,
    SETTINGS,
    STORMS,
    STREAMS,
    Clocks,
    Deed,
    bounds_that_are_soon_reached,
    misspelled,
)
from sage_workbench.plain_books import Ledger, List, plain_world
from sage_workbench.runs import Recorder, Run
from tap_sage_accounting import timestamps
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.exceptions import SettingsError
from tap_sage_accounting.run.state_changes import StateChange
from tap_sage_accounting.streams import STREAMS as ALL_STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from sage_sandbox.api import Call
    from sage_sandbox.faults import Fault
    from tap_sage_accounting.client import SageStream

FORGETFUL = ("sales_quotes", "stock_movements")
"""Streams whose deletions only the state knows: with a damaged state some go unnoticed, and the run says so."""
LATEST = 250
"""Seconds that a change may be shown late and a clock may go back, where the lookback is 300."""


class SmallTap(TapSageAccounting):
    """The tap with a few streams and short minutes, so that a run takes as little time as possible."""

    @cached_property
    @override
    def gate(self) -> RequestGate:
        return RequestGate(concurrency=self.config["concurrency"], minute=MINUTE)

    @override
    def discover_streams(self) -> list[SageStream]:
        names = {*STREAMS, *Ledger.STREAMS, "trial_balance", "deletions"}
        return [stream(self) for stream in ALL_STREAMS if stream.name in names]


class BooksInMotion(RuleBasedStateMachine):
    """Whatever is done, after a run that completed and one more without disturbance the warehouse agrees."""

    runs = 0
    compared = 0

    @initialize(
        settings=SETTINGS,
        habits=HABITS,
        rows=st.integers(0, 9),
        opened=st.sampled_from(("2026-01-01", "2024-09-01", "2014-05-01")),
    )
    def open(self, settings: dict[str, int], habits: dict[str, Any], rows: int, opened: str) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.server = SandboxServer(plain_world(BUSINESSES + 1)).__enter__()
        self.server.faults.update({**habits, "raw": KEPT_AS_SENT})
        world = self.server.world
        *others, bookkeeper = world.businesses.values()
        self.lists = [List(world, business, stream) for business in others for stream in STREAMS]
        self.ledger = Ledger(world, bookkeeper)
        bookkeeper.objects["financial_settings"]["accounts_start_date"] = opened
        for number in range(rows):
            self.ledger.post(number)
        for each in self.lists:
            each.fill(rows)
        self.settings = {
            **settings,
            "patience": 1,
            "token_store": f"sqlite:///{Path(self.directory.name) / 'tokens.sqlite'}",
        }
        self.late = LATEST if settings["lookback_window"] else 0
        self.latest: datetime = world.clock.now()
        self.warehouse = Warehouse()
        self.arrived: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        self.state: dict[str, Any] = {}
        self.sound: dict[str, Any] = {}
        self.own_offset = timedelta()
        self.forgetful = False
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(timestamps, "now", lambda: world.clock.now() + self.own_offset)

    @override
    def teardown(self) -> None:
        if hasattr(self, "server"):
            self.patch.undo()
            self.server.stop()
            self.directory.cleanup()

    def do(self, deed: Deed) -> None:
        self.pass_time(deed.seconds)
        late = timedelta(seconds=min(self.late, deed.row * 8)) if deed.what.endswith("late") else timedelta()
        match deed.what:
            case "post":
                self.ledger.post(deed.row)
            case "move" | "move late":
                self.ledger.move(deed.row, late)
            case "void":
                self.ledger.void(deed.row)
            case _:
                self.do_to_a_list(deed, late)

    def do_to_a_list(self, deed: Deed, late: timedelta) -> None:
        rows = self.lists[deed.place]
        if not rows.keys or deed.what == "insert":
            rows.insert()
            return
        key = rows.keys[deed.row % len(rows.keys)]
        match deed.what:
            case "edit" | "edit late":
                rows.edit(key, late)
            case "spoil":
                self.spoil(rows, key, deed.row)
            case "delete":
                rows.delete(key)
            case "replace":
                rows.delete(key)
                rows.insert()

    def spoil(self, rows: List, key: str, number: int) -> None:
        """Give a row one text in another spelling than JSON's, and one that cannot be decoded."""
        text, raw = misspelled(rows.collection.rows[key].render()["displayed_as"], number)
        self.server.faults.raw[text] = raw
        timeless = rows.collection.rows[key].updated_at is None
        changes = {"displayed_as": text, "unheard_of": [*KEPT_AS_SENT][number % len(KEPT_AS_SENT)]}
        rows.collection.change(key, changes, None if timeless else self.server.world.clock.now())

    def pass_time(self, seconds: float) -> None:
        """Move the clock, but never so far back that changes would be out of the lookback's reach."""
        clock = self.server.world.clock
        aim = max(clock.now() + timedelta(seconds=seconds), self.latest - timedelta(seconds=self.late))
        clock.advance(aim - clock.now())
        self.latest = max(self.latest, aim)

    def tap(self, recorder: Recorder, form: str, **settings: Any) -> SmallTap:
        """Make a tap with the last state; where it refuses a damaged one, with the undamaged."""
        config = self.server.tap_config(**self.settings | settings)
        try:
            state = copy.deepcopy(FORMS[form](self.state)) if self.state else {}
            return SmallTap(config=config, state=state, message_writer=recorder)
        except SettingsError:
            assert self.state != self.sound
            self.state = self.sound
            return SmallTap(config=config, state=copy.deepcopy(self.state), message_writer=recorder)

    def sync(self, form: str = "as it is", **settings: Any) -> Run:
        recorder = Recorder()
        error: Exception | None = None
        logging.disable(logging.CRITICAL)
        try:
            tap = self.tap(recorder, form, **settings)
            tap.sync_all()
        except Exception as caught:  # noqa: BLE001 - a run that fails is looked at
            error = caught
        finally:
            logging.disable(logging.NOTSET)
        type(self).runs += 1
        return Run(recorder.messages, error, tap)

    def load(self, run: Run, messages: list[dict[str, Any]]) -> None:
        """Load what came out of a run, and go on from its last state, as an orchestrator does."""
        kept = Run(messages, run.error, run.tap)
        self.warehouse.load(messages)
        self.state = self.sound = kept.state or self.state
        for stream, table in self.warehouse.tables.items():
            self.arrived[stream] |= {key for key, row in table.items() if row.get("displayed_as")}

    @rule(deeds=st.lists(DEEDS, min_size=1, max_size=6))
    def work(self, deeds: list[Deed]) -> None:
        with self.server.paused():
            for deed in deeds:
                self.do(deed)

    @rule(seconds=st.one_of(st.integers(-120, 3600), st.integers(0, 9 * 86400)))
    def wait(self, seconds: int) -> None:
        with self.server.paused():
            self.pass_time(seconds)

    @rule(
        meanwhile=st.dictionaries(st.integers(0, 40), st.lists(DEEDS, min_size=1, max_size=4), max_size=8),
        faults=st.one_of(st.just([]), st.lists(st.one_of(FAULTS, FAULTS, FOREIGN, LIARS, STORMS), max_size=2)),
        killed_at=st.one_of(st.none(), st.floats(0, 1)),
        clocks=CLOCKS,
        form=st.sampled_from(sorted(FORMS)),
    )
    def run(
        self,
        meanwhile: dict[int, list[Deed]],
        faults: list[Fault],
        killed_at: float | None,
        clocks: Clocks,
        form: str,
    ) -> None:
        requests = iter(range(1_000_000))

        def on_request(_: Call) -> None:
            for deed in meanwhile.get(next(requests), ()):
                self.do(deed)

        self.server.faults.script = [replace(fault) for fault in faults]
        self.server.on_request = on_request
        self.set_clocks(clocks)
        with bounds_that_are_soon_reached():
            run = self.sync(form)
        self.set_clocks(Clocks())
        self.server.on_request = None
        self.server.faults.script = []
        if not any(fault.by == "sage" and fault.what in REFUSALS for fault in faults):
            assert run.tap.report.skipped == []
        if killed_at is not None:
            self.load(run, run.messages[: int(len(run.messages) * killed_at)])
            return
        self.load(run, run.messages)
        if run.error is None and not run.tap.report.skipped:
            self.compare()

    def set_clocks(self, clocks: Clocks) -> None:
        self.own_offset = timedelta(seconds=clocks.own)
        self.server.faults.update({"clock_offsets": [*clocks.sage], "date_header": clocks.header})

    @rule(place=st.integers(0, 10_000), value=st.sampled_from(BAD))
    def damage(self, place: int, value: Any) -> None:
        """Put something else in the place of a part of the state."""
        paths = list(paths_of(self.state))
        if not paths:
            return
        path = paths[place % len(paths)]
        if path[-1] == "business_id" and isinstance(value, str) and value:
            return  # the state of another business, for all that anybody knows
        self.state = replaced(self.state, path, value)
        self.forgetful |= len(path) == 1 or (
            path[1] in FORGETFUL and (path[-1] == "inventory" or len(path) <= 4 or "context" in path)
        )

    @rule(
        streams=st.lists(st.sampled_from((*STREAMS, *Ledger.STREAMS, "trial_balance")), max_size=2),
        place=st.one_of(st.none(), st.integers(0, BUSINESSES)),
        days=st.one_of(st.none(), st.integers(0, 60)),
    )
    def read_again(self, streams: list[str], place: int | None, days: int | None) -> None:
        """Let lists be forgotten, or set back by some days."""
        businesses = [*self.server.world.businesses]
        change = StateChange(
            streams=frozenset(streams),
            businesses=frozenset(businesses[place : place + 1] if place is not None else ()),
            moment=None if days is None else self.latest - timedelta(days=days),
            entirely=False,
        )
        if isinstance(bookmarks := self.state.get("bookmarks"), dict):
            change.apply(bookmarks, {stream.name: stream for stream in ALL_STREAMS})

    @rule()
    def forget_zones(self) -> None:
        self.state = json.loads(re.sub(r'(:\d\d)Z"', r'\1"', json.dumps(self.state)))

    @rule(stream=st.sampled_from(STREAMS), days=st.sampled_from((1, 40, 30_000)))
    def move_bookmarks_ahead(self, stream: str, days: int) -> None:
        """Put bookmarks into the future, and run before it has come."""
        moment = timestamp(self.latest + timedelta(days=days))
        for path in list(paths_of(self.state)):
            if path[-1] == "replication_key_value" and path[1] == stream:
                self.state = replaced(self.state, path, moment)
        run = self.sync()
        self.load(run, run.messages)

    def forgive(self) -> None:
        """Let go of rows whose deletion nobody can know of, since the state that knew of them was damaged."""
        for owner in self.server.world.businesses.values():
            for stream in FORGETFUL if self.forgetful else ():
                for row_id in self.warehouse.live(stream, owner.id).keys() - owner.collection(stream).rows.keys():
                    del self.warehouse.tables[stream][owner.id, row_id]
        self.forgetful = False

    @rule(
        place=st.integers(0, BUSINESSES),
        what=st.sampled_from(LOST),
        lists=st.sampled_from(("refused", "empty")),
        faults=st.lists(FOREIGN, max_size=1),
        days=st.integers(0, 3),
    )
    def run_while_refused(self, place: int, what: str, lists: str, faults: list[Fault], days: int) -> None:
        """Run while Sage refuses a business; nothing of it may be taken for deleted, then or later."""
        business = list(self.server.world.businesses.values())[place]
        roles = dict(business.permissions)
        with self.server.paused():
            business.subscribed = what != "subscription"
            if what == "rights":
                business.permissions = dict.fromkeys(roles, "no_access")
            self.pass_time(days * 86400)
        self.server.faults.update({"lists_without_offer": lists})
        self.server.faults.script = [replace(fault) for fault in faults]
        run = self.sync()
        self.server.faults.update({"script": [], "lists_without_offer": "refused"})
        with self.server.paused():
            business.subscribed, business.permissions = True, roles
        self.load(run, run.messages)
        assert {outcome.business for outcome in run.tap.report.skipped} <= {f"{business.name} ({business.id})"}
        assert not [row for row in run.records["deletions"] if row["business_id"] == business.id]

    @rule()
    def compare(self) -> None:
        """Run without disturbance, and find every row where it must be: what is posted even where businesses rest."""
        run = self.sync()
        assert run.error is None
        self.load(run, run.messages)
        self.compare_posted()
        with self.server.paused():
            self.pass_time(8 * 86400 if self.settings["deletion_sweep_days"] else 0)
        run = self.sync(idle_business_hours=0)
        assert run.error is None
        self.load(run, run.messages)
        self.forgive()
        wrong = disagreements(self.server.world, self.warehouse, {*STREAMS, *Ledger.STREAMS})
        assert not wrong, wrong
        self.compare_posted()
        announced = {tuple(row[name] for name in ("business_id", "stream", "id")) for row in self._table("deletions")}
        for stream in STREAMS:
            for key, row in self.warehouse.tables[stream].items():
                if row.get("deleted_at") or row.get("deleted"):
                    assert (row["business_id"], stream, row["id"]) in announced
                    assert row.get("displayed_as") or key not in self.arrived[stream]
        type(self).compared += 1

    def compare_posted(self) -> None:
        owner = self.ledger.owner
        wrong = disagreements(self.server.world, self.warehouse, {*Ledger.STREAMS})
        wrong = [each for each in wrong if f" of {owner.name}: " in each]
        wrong += trial_balance_disagreements(owner, self.server.world.clock.now(), self.warehouse)
        assert not wrong, wrong

    def _table(self, stream: str) -> list[dict[str, Any]]:
        return list(self.warehouse.tables[stream].values())
