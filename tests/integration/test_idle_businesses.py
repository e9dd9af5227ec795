"""A business in which nothing was posted rests for some hours, and loses nothing by it."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import Warehouse, disagreements, trial_balance_disagreements
from sage_workbench.plain_books import Ledger, List, plain_world
from tap_sage_accounting.run.state_parts import LISTS_READ, UNPOSTED_READ
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sage_sandbox.store import Business
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

STREAMS = ("contacts", "products", "tax_rates", *Ledger.STREAMS)
HOURS = 24


class Practice:
    """Three businesses, of which everything was loaded once."""

    def __init__(self, server: SandboxServer, run_tap: RunTap, streams: Sequence[str] = STREAMS) -> None:
        self.server = server
        self._streams = streams
        self._run_tap = run_tap
        self.businesses: list[Business] = [*server.world.businesses.values()]
        self.ledgers = [Ledger(server.world, each) for each in self.businesses]
        self.contacts = [List(server.world, each, "contacts") for each in self.businesses]
        for ledger, contacts in zip(self.ledgers, self.contacts, strict=True):
            contacts.fill(3)
            for number in range(3):
                ledger.post(number)
        self.pass_time(hours=1)
        self.warehouse = Warehouse()
        self.state: Any = None
        self.run()

    def pass_time(self, **time: float) -> None:
        with self.server.paused():
            self.server.world.clock.advance(timedelta(**time))

    def run(self, *streams: str, **settings: Any) -> Run:
        """Load what changed; an hour passes after it."""
        self.server.requests.clear()
        settings = {"idle_business_hours": HOURS, **settings}
        run = self._run_tap(*(streams or self._streams), state=self.state, **settings)
        self.state = run.state
        self.warehouse.load(run.messages)
        self.pass_time(hours=1)
        return run

    def requests(self, number: int) -> int:
        """Count those of the last run for a business."""
        return sum(each.business == self.businesses[number].id for each in self.server.requests)

    def costs(self, number: int) -> dict[str, int]:
        """Count those of the last run for a business by path, those for what was deleted apart."""
        found: Counter[str] = Counter()
        for each in self.server.requests:
            if each.business == self.businesses[number].id:
                name = each.path.removeprefix("/v3.1/")
                found[f"deletions of {name}" if "deleted_since" in each.params else name] += 1
        return found

    def rested(self) -> list[int]:
        """The businesses that the last run requested nothing of but whether something was posted."""
        return [number for number in range(len(self.businesses)) if self.requests(number) == 1]

    @property
    def missing(self) -> list[str]:
        return disagreements(self.server.world, self.warehouse, {*STREAMS})


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(plain_world(businesses=3)) as running:
        yield running


@pytest.fixture
def practice(server: SandboxServer, run_tap: RunTap) -> Practice:
    return Practice(server, run_tap)


def test_a_business_in_which_nothing_was_posted_costs_one_request(practice: Practice) -> None:
    practice.ledgers[1].post(5)
    practice.contacts[1].edit(practice.contacts[1].keys[0])
    run = practice.run()
    assert practice.rested() == [0, 2]
    assert practice.requests(1) > len(STREAMS)
    assert practice.missing == []
    assert "2 businesses rest: nothing was posted in them since their lists were read (idle_business_hours)." in run.log


LISTS = (*STREAMS, "attachments", "journals", "sales_invoices", "sales_quotes", "stock_items", "unallocated_artefacts")


def test_what_a_first_load_an_active_and_an_idle_business_cost_by_path(server: SandboxServer, run_tap: RunTap) -> None:
    """Whether an item is active is a filter, so that products and stock items are two lists each."""
    practice = Practice(server, run_tap, (*LISTS, "trial_balance"))
    lists = {**dict.fromkeys(LISTS, 1), "products": 2, "stock_items": 2}
    assert practice.costs(1) == {**lists, "financial_settings": 1, "trial_balance": 6}
    practice.ledgers[1].post(2)
    practice.run()
    active = {**lists, "transactions": 2, "trial_balance": 4}
    assert practice.costs(1) == {**active, "deletions of journals": 1, "deletions of sales_invoices": 1}
    assert practice.costs(0) == practice.costs(2) == {"transactions": 1}


def test_what_a_business_costs_in_which_nothing_rests(server: SandboxServer, run_tap: RunTap) -> None:
    practice = Practice(server, run_tap, (*LISTS, "trial_balance"))
    practice.run(idle_business_hours=0)
    lists = {**dict.fromkeys(LISTS, 1), "products": 2, "stock_items": 2}
    reported = ("attachments", "contacts", "journals", "products", "sales_invoices", "stock_items")
    deletions = {f"deletions of {name}": lists[name] for name in reported}
    assert practice.costs(1) == {**lists, **deletions, "financial_settings": 1, "trial_balance": 2}


def test_by_default_every_business_is_read(practice: Practice) -> None:
    practice.run(idle_business_hours=0)
    assert practice.rested() == []


@pytest.mark.parametrize("change", ["post", "move", "void"])
def test_whatever_changes_the_books_wakes_all_lists_of_a_business(practice: Practice, change: str) -> None:
    practice.contacts[2].edit(practice.contacts[2].keys[0])
    ledger = practice.ledgers[2]
    changes: dict[str, Callable[[], None]] = {
        "post": lambda: ledger.post(7),
        "move": lambda: ledger.move(1, timedelta()),
        "void": lambda: ledger.void(1),
    }
    changes[change]()
    practice.run()
    assert practice.rested() == [0, 1]
    assert practice.missing == []


def test_a_change_without_a_posting_comes_when_the_hours_have_passed(practice: Practice) -> None:
    edited, gone = practice.contacts[0].keys[:2]
    practice.contacts[0].edit(edited)
    practice.contacts[0].delete(gone)
    for _ in range(HOURS - 1):
        practice.run()
        assert practice.rested() == [0, 1, 2]
        assert any("Business 1" in each for each in practice.missing)
    practice.run()
    assert practice.rested() == []
    assert practice.missing == []
    practice.run()
    assert practice.rested() == [0, 1, 2]


def test_what_is_posted_and_deleted_in_an_active_business_is_marked_at_once(
    server: SandboxServer, run_tap: RunTap
) -> None:
    practice = Practice(server, run_tap, (*STREAMS, "sales_invoices", "trial_balance"))
    invoices = List(server.world, practice.businesses[1], "sales_invoices")
    invoices.fill(3)
    practice.ledgers[1].post(1)
    practice.run()
    invoices.delete(invoices.keys[0])
    practice.ledgers[1].void(1)
    practice.run()
    assert practice.rested() == [0, 2]
    assert disagreements(server.world, practice.warehouse, {*STREAMS, "sales_invoices"}) == []


@pytest.mark.slow
def test_deletions_of_what_is_not_posted_come_in_an_active_business_when_the_hours_have_passed(
    practice: Practice,
) -> None:
    contacts = practice.contacts[1]
    for hour in range(HOURS):
        if hour == 1:
            contacts.delete(contacts.keys[0])
        practice.ledgers[1].post(hour)
        contacts.edit(contacts.keys[-1])
        practice.run()
        assert practice.rested() == ([] if hour == HOURS - 1 else [0, 2])
        missing = practice.missing
        assert len(missing) == (0 if hour in (0, HOURS - 1) else 1), missing


def test_where_a_read_fails_in_the_hour_of_the_deletions_they_are_looked_for_again(practice: Practice) -> None:
    practice.contacts[1].delete(practice.contacts[1].keys[0])
    practice.pass_time(hours=HOURS)
    fault = Fault(path="contacts", what=400, business=practice.businesses[1].id, param="deleted_since")
    practice.server.faults.add(fault)
    assert practice.run().error is not None
    practice.ledgers[1].post(2)
    practice.run()
    assert practice.missing == []


def test_another_start_date_is_followed_at_once(server: SandboxServer, run_tap: RunTap) -> None:
    practice = Practice(server, run_tap, (*STREAMS, "trial_balance"))
    practice.run(start_date="2026-03-01")
    assert practice.rested() == []
    practice.run(start_date="2026-03-01")
    assert practice.rested() == [0, 1, 2]


@pytest.mark.slow
def test_an_earlier_beginning_of_the_accounts_comes_when_the_hours_have_passed(
    server: SandboxServer, run_tap: RunTap
) -> None:
    practice = Practice(server, run_tap, (*STREAMS, "trial_balance"))
    practice.businesses[1].objects["financial_settings"]["accounts_start_date"] = "2025-10-01"
    for _ in range(HOURS):
        practice.ledgers[1].post(3)
        practice.run()
    assert practice.costs(1)["trial_balance"] == 10
    wrong = trial_balance_disagreements(practice.businesses[1], server.world.clock.now(), practice.warehouse)
    assert wrong == []


def test_what_sage_shows_late_wakes_a_business_too(practice: Practice) -> None:
    """It was posted before the last run, which did not see it."""
    practice.ledgers[1].post(5)
    moved = timedelta(hours=1, minutes=4)
    practice.ledgers[1].move(3, moved)
    practice.run()
    assert practice.rested() == [0, 2]
    assert practice.missing == []


def test_a_stream_that_is_selected_later_is_read_at_once(practice: Practice) -> None:
    List(practice.server.world, practice.businesses[0], "services").fill(2)
    run = practice.run(*STREAMS, "services")
    assert practice.rested() == []
    assert len(run.records["services"]) == 2


def test_a_business_of_which_a_read_failed_does_not_rest(practice: Practice) -> None:
    practice.ledgers[0].post(5)
    practice.contacts[0].edit(practice.contacts[0].keys[0])
    practice.pass_time(hours=1)
    fault = Fault(path="contacts", what=400, business=practice.businesses[0].id)
    practice.server.faults.add(fault)
    assert practice.run().error is not None
    practice.server.faults.script.clear()
    practice.run()
    assert practice.rested() == [1, 2]
    assert practice.missing == []


def test_a_run_that_is_cut_short_lets_no_business_rest(practice: Practice) -> None:
    practice.ledgers[0].post(5)
    practice.contacts[0].edit(practice.contacts[0].keys[0])
    practice.pass_time(hours=1)
    practice.server.faults.add(Fault(path="ledger_accounts", what=503, times=None))
    assert practice.run().error is not None
    practice.server.faults.script.clear()
    practice.run()
    assert practice.requests(0) > len(STREAMS)
    assert practice.missing == []


@pytest.mark.parametrize("answer", [400, 403, 404])
def test_where_nothing_says_whether_something_was_posted_everything_is_read(practice: Practice, answer: int) -> None:
    practice.contacts[0].edit(practice.contacts[0].keys[0])
    fault = Fault(path="transactions", what=answer, business=practice.businesses[0].id, times=1)
    practice.server.faults.add(fault)
    practice.run()
    assert practice.rested() == [1, 2]
    assert practice.missing == []


@pytest.mark.slow
@pytest.mark.parametrize("lists", ["refused", "empty"])
@pytest.mark.parametrize("lost", ["rights", "subscription"])
def test_what_was_posted_while_transactions_were_not_shown_comes_as_soon_as_they_are(
    practice: Practice, lists: str, lost: str
) -> None:
    business = practice.businesses[1]
    roles = dict(business.permissions)
    practice.server.faults.update({"lists_without_offer": lists})
    with practice.server.paused():
        business.subscribed = lost != "subscription"
        if lost == "rights":
            business.permissions = roles | {"journals": "no_access"}
    practice.pass_time(hours=HOURS)
    practice.ledgers[1].post(5)
    practice.pass_time(hours=1)
    practice.run()
    with practice.server.paused():
        business.subscribed, business.permissions = True, roles
    practice.run()
    assert practice.missing == []


def test_an_old_response_of_a_cache_does_not_let_a_business_rest(practice: Practice) -> None:
    practice.server.faults.update({"cache_seconds": 5 * 3600.0, "cache": "stubborn", "cached_paths": "transactions"})
    practice.run()
    assert practice.rested() == [0, 1, 2]
    practice.contacts[1].edit(practice.contacts[1].keys[0])
    practice.ledgers[1].post(5)
    practice.run()
    assert practice.rested() == []
    practice.server.faults.update({"cache_seconds": 0.0})
    practice.run()
    assert practice.missing == []


def test_lists_that_came_from_a_cache_count_as_read_when_it_got_them(practice: Practice) -> None:
    practice.pass_time(hours=HOURS)
    before = copy.deepcopy(practice.state)
    practice.server.faults.update({"cache_seconds": 5 * 3600.0, "cache": "stubborn", "cached_paths": "transactions"})
    practice.run()
    practice.state = before  # that run is lost
    practice.ledgers[1].post(5)
    practice.pass_time(hours=1)
    practice.run()
    practice.server.faults.update({"cache_seconds": 0.0})
    practice.run()
    assert practice.missing == []


def test_a_kill_after_any_state_loses_nothing_of_a_business_that_rests_then(
    server: SandboxServer, run_tap: RunTap
) -> None:
    """New quotes follow a state that holds their ids: a state before them must not let the business rest."""
    practice = Practice(server, run_tap, (*STREAMS, "sales_quotes", "stock_movements"))
    lists = [List(server.world, practice.businesses[1], name) for name in ("sales_quotes", "stock_movements")]
    practice.ledgers[1].post(5)
    for each in lists:
        each.fill(3, server.world.clock.now())
    practice.pass_time(hours=1)
    loaded = copy.deepcopy(practice.warehouse)
    messages = practice.run().messages
    states = [number for number, message in enumerate(messages, 1) if message["type"] == "STATE"]
    assert len(states) > 1
    for number in states:
        practice.warehouse = copy.deepcopy(loaded)
        practice.warehouse.load(messages[:number])
        practice.state = copy.deepcopy(messages[number - 1]["value"])
        practice.run()
        wrong = disagreements(server.world, practice.warehouse, {*STREAMS, "sales_quotes", "stock_movements"})
        assert wrong == []


def test_a_state_from_before_deletions_waited_lets_none_wait(practice: Practice) -> None:
    for each in practice.state["bookmarks"]["transactions"]["partitions"]:
        del each[UNPOSTED_READ]
    practice.contacts[1].delete(practice.contacts[1].keys[0])
    practice.ledgers[1].post(5)
    practice.run()
    assert practice.missing == []


@pytest.mark.slow
@pytest.mark.parametrize("between", [0, 1, 2])
def test_runs_without_the_setting_in_between_lose_nothing(practice: Practice, between: int) -> None:
    practice.contacts[1].delete(practice.contacts[1].keys[0])
    practice.ledgers[2].post(5)
    for _ in range(between):
        practice.run(idle_business_hours=0)
        assert practice.rested() == []
        assert practice.missing == []
    practice.ledgers[0].move(1, timedelta())
    practice.run()
    assert 0 not in practice.rested()
    practice.pass_time(hours=HOURS)
    practice.run()
    assert practice.missing == []


def test_a_business_that_comes_back_brings_what_was_posted_meanwhile(practice: Practice) -> None:
    world, away = practice.server.world, practice.businesses[1]
    with practice.server.paused():
        businesses = dict(world.businesses)
        del world.businesses[away.id]
    for _ in range(2):
        practice.ledgers[1].post(5)
        practice.run()
    with practice.server.paused():
        world.businesses.clear()
        world.businesses.update(businesses)
    practice.run()
    assert practice.rested() == [0, 2]
    assert practice.missing == []


def test_transactions_that_are_read_whole_each_time_let_businesses_rest_too(practice: Practice) -> None:
    catalog: dict[str, Any] = TapSageAccounting(parse_env_config=False, validate_config=False).catalog_dict
    for entry in catalog["streams"]:
        if entry["tap_stream_id"] == "transactions":
            entry["replication_method"] = "FULL_TABLE"
    practice.ledgers[1].void(0)
    practice.run(catalog=catalog)
    assert practice.missing == []
    practice.ledgers[1].void(1)
    practice.run(catalog=catalog)
    assert practice.rested() == [0, 2]
    assert practice.missing == []


def test_two_runs_at_once_lose_nothing_whichever_state_is_kept(practice: Practice) -> None:
    """Both begin with the same state; something is posted after the lists of the first were read."""
    for keep in ("first", "second"):
        before = copy.deepcopy(practice.state)
        practice.ledgers[1].post(5)
        practice.pass_time(hours=1)
        practice.run()
        first = copy.deepcopy(practice.state)
        practice.state = before
        practice.ledgers[1].post(6)
        practice.ledgers[0].post(6)
        practice.run()
        practice.state = first if keep == "first" else practice.state
        practice.run()
        assert practice.missing == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "lie",
    [{"$total": 0}, {"$total": None}, {"$next": None, "$total": None}, {"$items": [], "$total": 5}, {"$items": None}],
)
def test_a_response_that_contradicts_itself_lets_no_business_rest_in_which_something_was_posted(
    practice: Practice, lie: dict[str, Any]
) -> None:
    practice.ledgers[1].post(5)
    business = practice.businesses[1].id
    practice.server.faults.add(Fault(path="transactions", what="envelope", envelope=lie, business=business))
    practice.run()
    assert practice.rested() == [0, 2]
    assert practice.missing == []


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_set_between_two_runs_hides_no_posting(practice: Practice, hours: int) -> None:
    practice.server.faults.update({"clock_offsets": [hours * 3600.0]})
    practice.pass_time(hours=HOURS)
    practice.run()
    practice.server.faults.update({"clock_offsets": []})
    practice.ledgers[1].post(5)
    practice.pass_time(hours=1)
    for _ in range(2):
        practice.run()
        assert practice.missing == []


def test_without_transactions_no_business_rests_and_the_log_says_why(practice: Practice) -> None:
    run = practice.run("contacts", "tax_rates")
    assert all(practice.requests(number) for number in range(3))
    assert [line for line in run.log if "No business rests" in line and "'transactions'" in line]


def test_a_table_of_which_a_business_rests_is_not_taken_for_whole(practice: Practice) -> None:
    streams = ("transactions", "payment_methods")
    for each in practice.businesses:
        List(practice.server.world, each, "payment_methods").fill(2)
    assert activations(practice.run(*streams, emit_activate_version_messages=True)) == ["payment_methods"]
    practice.ledgers[0].post(5)
    run = practice.run(*streams, emit_activate_version_messages=True)
    assert practice.rested() == [1, 2]
    assert activations(run) == []


def activations(run: Run) -> list[str]:
    return [message["stream"] for message in run.messages if message["type"] == "ACTIVATE_VERSION"]


MOMENT = "2026-06-30T18:00:00Z"


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [None, "", 7, MOMENT, f"{MOMENT} 0123", f" {MOMENT} {{}}", "9999-01-01T00:00:00Z {}"]
)
def test_a_damaged_moment_lets_no_business_rest(practice: Practice, damage: Any) -> None:
    partitions = practice.state["bookmarks"]["transactions"]["partitions"]
    [noted] = [each for each in partitions if each["context"]["business_id"] == practice.businesses[0].id]
    noted[LISTS_READ] = damage.format(noted[LISTS_READ][-8:]) if isinstance(damage, str) else damage
    practice.contacts[0].edit(practice.contacts[0].keys[0])
    run = practice.run()
    assert practice.rested() == [1, 2]
    assert practice.missing == []
    [line] = [line for line in run.log if line.startswith("The state of 'transactions' of Business 1")]
    assert f"'{LISTS_READ}'" in line


def test_where_all_businesses_rest_the_state_stays_as_it_is(practice: Practice) -> None:
    before = copy.deepcopy(practice.state)
    run = practice.run()
    assert practice.rested() == [0, 1, 2]
    assert run.error is None
    assert run.state == before
