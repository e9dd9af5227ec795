"""The trial balance in the warehouse is Sage's own, month by month, and stays so."""

from __future__ import annotations

from copy import deepcopy
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sage_sandbox.books import advance, trial_balance
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_workbench.merge import AMOUNTS, Warehouse, trial_balance_disagreements
from sage_workbench.plain_books import Ledger, plain_world
from sage_workbench.runs import last_state
from tap_sage_accounting.extraction import changes, monthly_read
from tap_sage_accounting.extraction.months import Month
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sage_sandbox.api import Call
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

Key = tuple[str, str, str]


def merged(*runs: Run) -> dict[Key, dict[str, Any]]:
    """What a target holds that replaces rows by their key."""
    rows = [row for run in runs for row in run.records["trial_balance"]]
    return {(row["business_id"], row["from_date"], row["ledger_account_id"]): row for row in rows}


def amounts(row: dict[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(row[name]) for name in AMOUNTS}


def expected(server: SandboxServer, months: set[str]) -> dict[Key, dict[str, Decimal]]:
    """Every account with a balance or a movement, as Sage's own trial balance has it."""
    found = {}
    for business in server.world.businesses.values():
        for first in months:
            month = Month.of(date.fromisoformat(first))
            answer = trial_balance(business, date.fromisoformat(first), date.fromisoformat(month.last_day))
            for account in answer["ledger_accounts"]:
                flat = {
                    f"{balance}_{side}": Decimal(account[balance][side])
                    for balance in ("opening_balance", "closing_balance")
                    for side in ("debit", "credit")
                }
                flat |= {side: Decimal(account[side]) for side in ("debit", "credit")}
                found[business.id, first, account["id"]] = flat
    return found


def check(server: SandboxServer, rows: dict[Key, dict[str, Any]]) -> None:
    months, businesses = {key[1] for key in rows}, {key[0] for key in rows}
    wanted = {key: row for key, row in expected(server, months).items() if key[0] in businesses}
    assert wanted.keys() <= rows.keys()
    for key, row in rows.items():
        assert amounts(row) == wanted.get(key, dict.fromkeys(AMOUNTS, Decimal(0))), key


def test_every_month_from_the_start_of_the_accounts_arrives(server: SandboxServer, run_tap: RunTap) -> None:
    run = run_tap("trial_balance")
    rows = merged(run)
    check(server, rows)
    for business in server.world.businesses.values():
        opened = date.fromisoformat(business.objects["financial_settings"]["accounts_start_date"])
        months = {key[1] for key in rows if key[0] == business.id}
        now = Month.of(server.world.clock.now().date())
        assert months == {month.first_day for month in Month.of(opened).until(now)}


def test_the_trial_balance_balances_in_every_month(run_tap: RunTap) -> None:
    totals: dict[tuple[str, str], list[Decimal]] = {}
    for row in run_tap("trial_balance").records["trial_balance"]:
        total = totals.setdefault((row["business_id"], row["from_date"]), [Decimal(0)] * 3)
        total[0] += row["opening_balance_debit"] - row["opening_balance_credit"]
        total[1] += row["debit"] - row["credit"]
        total[2] += row["closing_balance_debit"] - row["closing_balance_credit"]
    assert all(total == [0, 0, 0] for total in totals.values())
    assert totals


def test_rows_say_when_sage_served_them_by_its_clock(server: SandboxServer, run_tap: RunTap) -> None:
    before = server.world.clock.now().replace(microsecond=0)
    first = run_tap("trial_balance")
    between = server.world.clock.now()
    server.world.clock.advance(timedelta(days=1))
    second = run_tap("trial_balance", state=first.state)
    for run, earliest, latest in ((first, before, between), (second, between, server.world.clock.now())):
        times = [datetime.fromisoformat(row["read_at"]) for row in run.records["trial_balance"]]
        assert times
        assert all(earliest.replace(microsecond=0) <= each <= latest for each in times)


def test_a_quiet_run_reads_the_last_two_months_only(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap("trial_balance")
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))
    second = run_tap("trial_balance", state=first.state)
    now = Month.of(server.world.clock.now().date())
    assert {row["from_date"] for row in second.records["trial_balance"]} == {now.plus(-1).first_day, now.first_day}


def test_no_version_drops_the_months_that_were_not_read_again(server: SandboxServer, run_tap: RunTap) -> None:
    warehouse = Warehouse(versions=True)
    state: dict[str, Any] = {}
    for _ in range(2):
        run = run_tap("trial_balance", state=state, emit_activate_version_messages=True)
        warehouse.load(run.messages)
        state = run.state
        with server.paused():
            server.world.clock.advance(timedelta(hours=1))
    months = {row["from_date"] for row in run.records["trial_balance"]}
    assert len(months) == 2
    now = server.world.clock.now()
    for business in server.world.businesses.values():
        assert trial_balance_disagreements(business, now, warehouse) == []


def test_what_changes_in_a_closed_month_is_read_again_from_there_on(server: SandboxServer, run_tap: RunTap) -> None:
    runs = [run_tap("trial_balance")]
    for day in range(3):
        with server.paused():
            advance(server.world, days=1, seed=day)
        runs.append(run_tap("trial_balance", state=runs[-1].state))
    check(server, merged(*runs))


def test_a_start_date_decides_the_first_month(run_tap: RunTap) -> None:
    run = run_tap("trial_balance", start_date="2026-03-15")
    assert min(row["from_date"] for row in run.records["trial_balance"]) == "2026-03-01"


def test_without_the_right_to_settings_two_years_are_read(server: SandboxServer, run_tap: RunTap) -> None:
    business = next(iter(server.world.businesses.values()))
    business.permissions["settings"] = "no_access"
    run = run_tap("trial_balance", business_ids=[business.id])
    assert run.error is None
    check(server, merged(run))
    assert len({row["from_date"] for row in run.records["trial_balance"]}) == 25


# Transactions whose dates move


@pytest.fixture
def ledger() -> Ledger:
    world = plain_world()
    return Ledger(world, next(iter(world.businesses.values())))


def book(ledger: Ledger, day: str, *, reverse: bool = False) -> int:
    """Book one amount on a day, and return how many transactions there were before."""
    number = len(ledger.transactions.keys)
    ledger.post(0)
    for entry in ledger.entries.keys[-2:]:
        body = ledger.entries.collection.rows[entry].render()
        sides = {"debit": body["credit"], "credit": body["debit"]} if reverse else {}
        ledger.entries.collection.change(entry, {"date": day, **sides}, None)
    ledger.transactions.collection.change(ledger.transactions.keys[number], {"date": day}, None)
    return number


def move(ledger: Ledger, number: int, day: str) -> None:
    ledger._change_whole(number, {"date": day})


def pass_hour(server: SandboxServer) -> None:
    with server.paused():
        server.world.clock.advance(timedelta(hours=1))


@pytest.mark.parametrize("day", ["2026-01-02", "2026-03-05", "2026-04-20", "2026-06-10"])
def test_a_transaction_that_moves_to_another_month_leaves_no_month_stale(
    ledger: Ledger, run_tap: RunTap, day: str
) -> None:
    with SandboxServer(ledger._world) as server:
        [_, moved, *_] = [book(ledger, f"2026-0{month}-15") for month in (1, 2, 3, 4, 5)]
        pass_hour(server)
        warehouse = Warehouse()
        first = run_tap("trial_balance", **server.tap_config())
        warehouse.load(first.messages)
        pass_hour(server)
        move(ledger, moved, day)
        second = run_tap("trial_balance", state=first.state, **server.tap_config())
        warehouse.load(second.messages)
        assert trial_balance_disagreements(ledger.owner, server.world.clock.now(), warehouse) == []
        read = {row["from_date"] for row in second.records["trial_balance"]}
        assert min(read) == min(f"{day[:7]}-01", "2026-02-01")


def test_moves_that_make_up_for_each_other_are_found_when_all_months_are_due(ledger: Ledger, run_tap: RunTap) -> None:
    """An amount of January and its reversal of March both move to May: March's closing balance stays."""
    with SandboxServer(ledger._world) as server:
        pair = [book(ledger, "2026-01-15"), book(ledger, "2026-03-15", reverse=True)]
        warehouse = Warehouse()
        run = run_tap("trial_balance", **server.tap_config())
        warehouse.load(run.messages)
        pass_hour(server)
        for number in pair:
            move(ledger, number, "2026-05-20")
        asked = []
        for _ in range(8):
            with server.paused():
                server.world.clock.advance(timedelta(days=1))
                server.requests.clear()
            run = run_tap("trial_balance", state=run.state, **server.tap_config())
            warehouse.load(run.messages)
            asked.append(len(server.requests.of("trial_balance")))
        assert trial_balance_disagreements(ledger.owner, server.world.clock.now(), warehouse) == []
        assert asked == [3, 2, 2, 2, 2, 2, 7, 2]


def test_a_move_while_the_months_are_read_leaves_no_month_stale(ledger: Ledger, run_tap: RunTap) -> None:
    with SandboxServer(ledger._world) as server:
        moved = book(ledger, "2026-02-15")
        settings = server.tap_config(concurrency=1, lookback_window=0)
        warehouse = Warehouse()

        def act(call: Call) -> None:
            if call.path == "trial_balance" and call.params["from_date"] == "2026-04-01" and not warehouse.tables:
                move(ledger, moved, "2026-05-20")

        server.on_request = act
        first = run_tap("trial_balance", **settings)
        server.on_request = None
        warehouse.load(first.messages)
        pass_hour(server)
        warehouse.load(run_tap("trial_balance", state=first.state, **settings).messages)
        assert trial_balance_disagreements(ledger.owner, server.world.clock.now(), warehouse) == []


def test_an_earlier_start_date_brings_the_earlier_months(server: SandboxServer, run_tap: RunTap) -> None:
    first = run_tap("trial_balance", start_date="2026-03-15")
    second = run_tap("trial_balance", start_date="2025-11-15", state=first.state)
    assert min(row["from_date"] for row in second.records["trial_balance"]) == "2025-11-01"
    check(server, merged(first, second))


# When the accounts begin, as people type it


class Beginning:
    """A ledger with postings of this year whose accounts are said to begin at some date."""

    def __init__(self, ledger: Ledger, server: SandboxServer, run_tap: RunTap) -> None:
        self.ledger = ledger
        self.server = server
        self.warehouse = Warehouse()
        self.asked = 0
        self._run_tap = run_tap
        self.state: dict[str, Any] = {}
        for month in (2, 3, 5):
            book(ledger, f"2026-0{month}-15")

    def claim(self, begins: Any) -> None:
        self.ledger.owner.objects["financial_settings"]["accounts_start_date"] = begins

    def sync(self, *others: str, may_fail: bool = False, catalog: Any = None, **settings: Any) -> Run:
        pass_hour(self.server)
        self.server.requests.clear()
        config = self.server.tap_config(**settings)
        streams = () if catalog else ("trial_balance", *others)
        run = self._run_tap(*streams, state=self.state, catalog=catalog, **config)
        assert may_fail or run.error is None, run.log
        self.state = run.state
        self.warehouse.load(run.messages)
        self.asked = len(self.server.requests.of("trial_balance"))
        return run

    def differences(self, since: str = "2026") -> list[str]:
        """Compare with the books from a year on, before which there are none."""
        claimed = self.ledger.owner.objects["financial_settings"]["accounts_start_date"]
        self.claim(f"{since[:4]}-01-01")
        found = trial_balance_disagreements(self.ledger.owner, self.server.world.clock.now(), self.warehouse)
        self.claim(claimed)
        return [each for each in found if each > f"('{since}"]


@pytest.fixture
def beginning(ledger: Ledger, run_tap: RunTap) -> Iterator[Beginning]:
    with SandboxServer(ledger._world) as server:
        yield Beginning(ledger, server, run_tap)


@pytest.mark.parametrize("begins", ["2026-07-01", "2202-01-01", "9999-12-31"])
def test_accounts_that_begin_later_are_no_failure_and_cost_no_request(beginning: Beginning, begins: str) -> None:
    beginning.claim(begins)
    assert beginning.sync().records["trial_balance"] == []
    assert beginning.asked == 0
    beginning.claim("2026-01-01")
    beginning.sync()
    assert beginning.differences() == []


@pytest.mark.parametrize("how", ["start date", "claim", "settings refused"])
def test_what_is_posted_before_a_beginning_that_is_later_for_a_while_arrives_after_it(
    beginning: Beginning, how: str
) -> None:
    beginning.claim("2026-01-01")
    if how == "settings refused":  # then the accounts are taken to begin two years ago
        beginning.claim("2023-01-01")
        book(beginning.ledger, "2023-05-15")
    beginning.sync()
    book(beginning.ledger, "2023-05-20" if how == "settings refused" else "2026-02-20")
    match how:
        case "start date":
            beginning.sync(start_date="2026-04-01")
        case "claim":
            beginning.claim("2026-04-01")
            beginning.sync()
            beginning.claim("2026-01-01")
        case _:
            refused = beginning.server.faults.add(Fault("financial_settings", 403, times=None))
            beginning.sync()
            beginning.server.faults.script.remove(refused)
    beginning.sync()
    assert beginning.differences("2023" if how == "settings refused" else "2026") == []


@pytest.mark.slow
@pytest.mark.parametrize("begins", ["0202-01-01", "0001-01-01", "1024-07-01", "1995-03-01", "soon", 5, ["x"]])
def test_accounts_that_begin_ages_ago_are_read_from_the_first_posting(beginning: Beginning, begins: Any) -> None:
    beginning.claim(begins)
    run = beginning.sync()
    assert beginning.differences() == []
    assert beginning.asked == 5
    assert len(beginning.server.requests.of("transactions")) <= 12
    assert [line for line in run.log if "it is read from 2026-02 on" in line]
    for _ in range(2):
        beginning.sync()
        assert beginning.asked == 2
        assert len(beginning.server.requests.of("transactions")) <= 4
    book(beginning.ledger, "2026-01-20")
    beginning.sync()
    assert beginning.differences() == []


def test_a_long_history_that_is_real_is_read_from_its_beginning(beginning: Beginning) -> None:
    """Opening balances are dated before the accounts begin: they stand in every month from there on."""
    beginning.claim("2015-01-01")
    book(beginning.ledger, "2014-12-31")
    run = beginning.sync()
    assert beginning.asked == 12 * 11 + 6
    assert {row["from_date"] for row in run.records["trial_balance"]} >= {"2015-01-01", "2015-02-01"}
    beginning.sync()
    assert beginning.asked == 2
    assert beginning.differences() == []


@pytest.mark.parametrize("day", ["0202-05-05", "1920-01-01"])
def test_a_posting_with_a_mistyped_year_does_not_lengthen_the_read(beginning: Beginning, day: str) -> None:
    beginning.claim("0202-01-01")
    book(beginning.ledger, day)
    beginning.sync()
    assert beginning.asked <= 6
    assert beginning.differences(since="2026-02") == []
    beginning.sync()
    assert beginning.asked == 2


@pytest.mark.parametrize("day", ["2026-99-99", "", "tomorrow", 7])
def test_a_posting_whose_date_is_none_is_no_failure(beginning: Beginning, day: Any) -> None:
    beginning.sync()
    number = book(beginning.ledger, "2026-04-10")
    transactions = beginning.ledger.transactions
    transactions.collection.change(transactions.keys[number], {"date": day}, beginning.server.world.clock.now())
    beginning.sync()
    assert beginning.asked <= 8


def test_without_the_right_to_postings_the_read_has_an_end(
    beginning: Beginning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monthly_read, "MOST_MONTHS", 20)
    beginning.claim("0202-01-01")
    beginning.ledger.owner.permissions["journals"] = "no_access"
    beginning.sync()
    assert beginning.asked == 21
    assert beginning.differences() == []


# Years before the first posting


EMPTY_YEARS = "2019-01-01"
"""Ninety months of which the last six have postings, and the first of these none."""


def searches(beginning: Beginning) -> int:
    return len(beginning.server.requests.of("transactions"))


def test_months_before_the_first_posting_are_found_empty_and_left_out(beginning: Beginning) -> None:
    beginning.claim(EMPTY_YEARS)
    run = beginning.sync()
    assert beginning.differences(since="2019") == []
    assert min(row["from_date"] for row in run.records["trial_balance"]) == "2026-02-01"
    assert beginning.asked == 5
    assert searches(beginning) <= 10
    for _ in range(2):
        beginning.sync()
        assert (beginning.asked, searches(beginning)) == (2, 1)
    assert beginning.differences(since="2019") == []


def test_where_the_first_month_has_a_posting_one_request_shows_it(beginning: Beginning) -> None:
    beginning.claim(EMPTY_YEARS)
    book(beginning.ledger, "2018-12-31")
    beginning.sync()
    assert (beginning.asked, searches(beginning)) == (90, 1)
    assert beginning.differences(since="2019") == []


@pytest.mark.slow
@pytest.mark.parametrize("day", ["2019-01-31", "2021-07-15", "2026-01-01", "2018-12-31"])
def test_a_posting_into_years_that_were_empty_brings_the_months_from_there_on(beginning: Beginning, day: str) -> None:
    beginning.claim(EMPTY_YEARS)
    beginning.sync()
    book(beginning.ledger, day)
    beginning.sync()
    assert beginning.differences(since="2019") == []
    move(beginning.ledger, len(beginning.ledger.transactions.keys) - 1, "2026-04-04")
    for _ in range(2):
        beginning.sync(deletion_sweep_days=0)
        assert beginning.differences(since="2019") == []


def test_a_posting_into_empty_years_while_they_are_searched_comes_with_the_next_run(beginning: Beginning) -> None:
    """Two amounts that make up for each other: no balance of a later month shows them."""
    beginning.claim(EMPTY_YEARS)
    left = [True]

    def act(call: Call) -> None:
        if call.path == "trial_balance" and left:
            left.pop()
            book(beginning.ledger, "2020-05-05")
            book(beginning.ledger, "2020-09-05", reverse=True)

    beginning.server.on_request = act
    beginning.sync(lookback_window=0)
    beginning.server.on_request = None
    beginning.sync(lookback_window=0)
    assert beginning.differences(since="2019") == []


def test_amounts_of_the_first_years_that_make_up_for_each_other_are_no_empty_years(beginning: Beginning) -> None:
    beginning.claim(EMPTY_YEARS)
    for day, reverse in (("2020-05-05", False), ("2020-09-05", True)):
        move(beginning.ledger, book(beginning.ledger, day, reverse=reverse), day)
    beginning.sync()
    assert beginning.differences(since="2019") == []
    assert beginning.asked == 6 * 12 + 6 - 4


def undated(beginning: Beginning) -> None:
    """Book two amounts that make up for each other, whose transactions have no date though their entries have."""
    transactions = beginning.ledger.transactions
    for day, reverse in (("2020-05-05", False), ("2020-09-05", True)):
        number = book(beginning.ledger, day, reverse=reverse)
        transactions.collection.change(transactions.keys[number], {"date": None}, None)


def without_total(beginning: Beginning) -> None:
    beginning.server.faults.add(Fault("transactions", "envelope", times=None, envelope={"$total": None}))


def without_rights(beginning: Beginning) -> None:
    beginning.ledger.owner.permissions["journals"] = "no_access"


def silent(beginning: Beginning) -> None:
    without_rights(beginning)
    beginning.server.faults.lists_without_offer = "empty"


@pytest.mark.slow
@pytest.mark.parametrize("doubt", [undated, without_total, without_rights, silent])
def test_where_sage_leaves_a_doubt_every_month_is_read(
    beginning: Beginning, doubt: Callable[[Beginning], None]
) -> None:
    beginning.claim(EMPTY_YEARS)
    doubt(beginning)
    beginning.sync()
    assert beginning.asked == 90
    assert beginning.differences(since="2019") == []


def test_a_balance_that_no_transaction_explains_brings_the_months_before(beginning: Beginning) -> None:
    beginning.claim(EMPTY_YEARS)
    number = book(beginning.ledger, "2025-10-15")
    transactions = beginning.ledger.transactions
    transactions.collection.rows.pop(transactions.keys[number])
    transactions.collection.version += 1
    beginning.sync()
    assert beginning.differences(since="2019") == []
    assert 9 <= beginning.asked <= 12


def test_a_full_look_leaves_the_empty_years_out_and_no_month_that_was_delivered(beginning: Beginning) -> None:
    """The only amounts of the first two months, which make up for each other in the third, move to May."""
    beginning.claim(EMPTY_YEARS)
    beginning.sync()
    for number in (0, 1):
        move(beginning.ledger, number, "2026-05-20")
    beginning.sync(deletion_sweep_days=0)
    assert beginning.differences(since="2019") == []
    assert (beginning.asked, searches(beginning)) == (5, 4)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["read_at", "closings", "empty_since"])
def test_a_state_that_lost_the_months_leaves_none_out(beginning: Beginning, part: str) -> None:
    beginning.claim(EMPTY_YEARS)
    beginning.sync()
    for number in range(3):
        move(beginning.ledger, number, "2026-06-20")
    [partition] = [
        each
        for each in beginning.state["bookmarks"]["trial_balance"]["partitions"]
        if each["context"]["business_id"] == beginning.ledger.owner.id
    ]
    assert partition[part]
    partition[part] = "soon"
    beginning.sync()
    assert beginning.differences(since="2019") == []


def test_an_earlier_claim_is_searched_once(beginning: Beginning) -> None:
    beginning.claim("2026-01-01")
    beginning.sync()
    beginning.claim(EMPTY_YEARS)
    beginning.sync()
    assert searches(beginning) <= 4
    assert beginning.differences(since="2019") == []
    beginning.sync()
    assert (beginning.asked, searches(beginning)) == (2, 1)


# What other reads of the same run know already


def test_beside_the_transactions_the_trial_balance_requests_none_of_them_again(beginning: Beginning) -> None:
    beginning.claim("2026-01-01")
    beginning.sync("transactions")
    for day in ("2026-03-20", "2026-06-01"):
        book(beginning.ledger, day)
        beginning.sync("transactions")
        assert searches(beginning) == 1
        assert beginning.differences() == []
    beginning.sync("transactions")
    assert (beginning.asked, searches(beginning)) == (2, 1)


def test_what_is_posted_while_transactions_are_read_comes_with_the_next_run(beginning: Beginning) -> None:
    """It is not among the transactions that were read, and the months of its date were not due."""
    beginning.claim("2026-01-01")
    beginning.sync("transactions", lookback_window=0)
    left = [True]

    def act(call: Call) -> None:
        if call.path == "trial_balance" and left:
            left.pop()
            beginning.server.world.clock.advance(timedelta(seconds=1))
            book(beginning.ledger, "2026-03-05")
            book(beginning.ledger, "2026-04-05", reverse=True)

    book(beginning.ledger, "2026-05-05")
    beginning.server.on_request = act
    beginning.sync("transactions", lookback_window=0)
    beginning.server.on_request = None
    beginning.sync("transactions", lookback_window=0)
    assert beginning.differences() == []


@pytest.mark.parametrize("fault", [400, 403, "poison"])
def test_where_the_transactions_are_not_complete_the_trial_balance_relies_on_none(
    beginning: Beginning, fault: int | str
) -> None:
    beginning.claim("2026-01-01")
    beginning.sync("transactions")
    number = book(beginning.ledger, "2026-03-20")
    if fault == "poison":
        beginning.server.faults.poison[beginning.ledger.transactions.keys[number]] = "record"
    else:
        beginning.server.faults.add(Fault("transactions", fault))
    beginning.sync("transactions", may_fail=True)
    assert beginning.differences() == []


def test_without_dates_among_the_selected_columns_the_trial_balance_reads_them(beginning: Beginning) -> None:
    beginning.claim("2026-01-01")
    catalog: dict[str, Any] = TapSageAccounting(parse_env_config=False, validate_config=False).catalog_dict
    for entry in catalog["streams"]:
        for each in entry["metadata"]:
            name = entry["tap_stream_id"]
            wanted = name == "trial_balance" or (name == "transactions" and each["breadcrumb"][1:] != ["date"])
            each["metadata"]["selected"] = wanted
    beginning.sync("transactions", catalog=catalog)
    book(beginning.ledger, "2026-03-20")
    run = beginning.sync("transactions", catalog=catalog)
    assert run.records["transactions"]
    assert searches(beginning) == 2
    assert beginning.differences() == []


def test_more_changes_than_are_kept_are_requested_again(beginning: Beginning, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_KEPT", 3)
    beginning.claim("2026-01-01")
    beginning.sync("transactions")
    for _ in range(4):
        book(beginning.ledger, "2026-03-20")
    beginning.sync("transactions")
    assert searches(beginning) == 2
    assert beginning.differences() == []


def test_with_a_start_date_the_settings_are_not_requested_once_transactions_are_read(beginning: Beginning) -> None:
    beginning.claim("2026-01-01")
    for _ in range(3):
        beginning.sync("transactions", start_date="2026-01-01")
        assert beginning.server.requests.of("financial_settings") == []
        assert beginning.differences() == []


def test_the_chart_is_requested_only_for_accounts_that_a_month_lists_no_longer(beginning: Beginning) -> None:
    beginning.claim("2026-01-01")
    for _ in range(2):
        beginning.sync()
        assert beginning.server.requests.of("ledger_accounts") == []
    for number in range(3):
        beginning.ledger.void(number)
    beginning.sync()
    assert len(beginning.server.requests.of("ledger_accounts")) == 1
    assert beginning.differences() == []


# What Sage lists and does not deliver


@pytest.mark.parametrize("day", ["2026-01-02", "2026-03-05"])
def test_a_changed_transaction_that_sage_does_not_deliver_may_be_of_any_month(beginning: Beginning, day: str) -> None:
    """Two amounts cancel each other out: no balance of a later month shows that one is new."""
    beginning.claim("2026-01-01")
    beginning.sync()
    numbers = [book(beginning.ledger, day), book(beginning.ledger, "2026-04-10", reverse=True)]
    now = beginning.server.world.clock.now()
    transactions = beginning.ledger.transactions
    for number in numbers:
        transactions.collection.change(transactions.keys[number], {}, now)
        beginning.server.faults.poison[transactions.keys[number]] = "record"
    beginning.sync()
    assert beginning.differences() == []
    assert beginning.asked == 6


def test_a_changed_transaction_without_a_date_may_be_of_any_month(beginning: Beginning) -> None:
    beginning.claim("2026-01-01")
    beginning.sync()
    undated_day = book(beginning.ledger, "2026-01-02"), book(beginning.ledger, "2026-04-10", reverse=True)
    transactions = beginning.ledger.transactions
    for number in undated_day:
        transactions.collection.change(transactions.keys[number], {"date": None}, beginning.server.world.clock.now())
    beginning.sync()
    assert beginning.differences() == []


def test_an_account_that_sage_does_not_deliver_fails_the_read_until_it_comes(beginning: Beginning) -> None:
    beginning.claim("2026-01-01")
    beginning.ledger.post(3)
    beginning.sync()
    beginning.ledger.void(3)  # then no month lists its accounts any more
    beginning.server.faults.poison[beginning.ledger.accounts.keys[2]] = "always"
    run = beginning.sync(may_fail=True)
    assert run.error is not None
    assert [line for line in run.log if "ledger accounts that it does not deliver" in line]
    beginning.server.faults.poison.clear()
    beginning.sync()
    assert beginning.differences() == []


# A read that is killed


@pytest.mark.parametrize("opened", ["2026-01-01", "2024-01-01"])
def test_rows_of_a_first_read_that_was_killed_do_not_go_stale(ledger: Ledger, run_tap: RunTap, opened: str) -> None:
    ledger.owner.objects["financial_settings"]["accounts_start_date"] = opened
    for number in range(6):
        ledger.post(number)
    with SandboxServer(ledger._world) as server:
        settings, warehouse = server.tap_config(), Warehouse()
        killed = run_tap("trial_balance", **settings).messages
        last = max(place for place, message in enumerate(killed) if message["type"] == "RECORD")
        warehouse.load(killed[: last + 1])
        state = last_state(killed[: last + 1])
        pass_hour(server)
        for number in range(6):  # no account is left in the months before
            ledger._change_whole(number, {"date": "2026-06-10"})
        warehouse.load(run_tap("trial_balance", state=state, **settings).messages)
        assert trial_balance_disagreements(ledger.owner, server.world.clock.now(), warehouse) == []


def test_rows_of_new_accounts_of_a_later_read_that_was_killed_do_not_go_stale(ledger: Ledger, run_tap: RunTap) -> None:
    ledger.post(0)
    with SandboxServer(ledger._world) as server:
        settings, warehouse = server.tap_config(), Warehouse()

        def run(state: dict[str, Any] | None, *, is_killed: bool = False) -> dict[str, Any]:
            """Read; a run that is killed ends right after its last row."""
            pass_hour(server)
            messages = run_tap("trial_balance", state=deepcopy(state), **settings).messages
            if is_killed:
                messages = messages[: 1 + max(i for i, each in enumerate(messages) if each["type"] == "RECORD")]
            warehouse.load(messages)
            return last_state(messages) or state or {}

        state = run(None)
        for number in range(1, 8):
            ledger.post(number)
        state = run(state, is_killed=True)
        for number in range(1, 8):
            ledger.void(number)
        run(state)
        assert trial_balance_disagreements(ledger.owner, server.world.clock.now(), warehouse) == []
