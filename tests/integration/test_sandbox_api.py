"""The simulated API over HTTP: it responds as the real one is known to."""

from __future__ import annotations

import contextlib
import functools
import gzip
import re
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from sage_sandbox.books import Conventions, Plan, build_world
from sage_sandbox.books.company import Company
from sage_sandbox.books.posting import post, void
from sage_sandbox.books.transactions import Leg, Posting
from sage_sandbox.endpoints import ENDPOINTS
from sage_sandbox.faults import Fault, Faults
from sage_sandbox.server import SandboxServer
from sage_sandbox.shelf import Shelf
from sage_sandbox.store import Business, Clock, Row, World
from support.presence import present

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_sandbox.store import Body

NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)
AREAS = ("sales", "purchases", "journals", "bank", "contacts", "catalogs", "settings", "statutory_reporting")


def body_of(name: str, key: str, /, **attributes: Any) -> Body:
    return {"id": key, "displayed_as": key.upper(), "$path": f"/{name}/{key}", **attributes}


def reference(name: str, key: str) -> Body:
    return body_of(name, key)


def add(business: Business, name: str, key: str, at: datetime | None = NOW, /, **attributes: Any) -> Row:
    return business.collection(name).add(Row(key, body_of(name, key, **attributes), at, at))


def make_business(key: str, country: str = "GB", edition: str = "Plus") -> Business:
    body = {
        "id": key,
        "displayed_as": f"Company {key}",
        "name": f"Company {key}",
        "country": {"id": country},
        "user_permissions": [{"area": "accounting_sales", "role": "full_access"}, {"area": "payroll_access"}],
    }
    business = Business(key, f"Company {key}", country, edition, body, dict.fromkeys(AREAS, "full_access"))
    business.objects["financial_settings"] = {"$path": "/financial_settings", "base_currency": {"id": "GBP"}}
    return business


def make_world() -> World:
    world = World(Clock(NOW, frozen=True), {"id": "u1", "displayed_as": "Jane Example", "email": "jane@example.com"})
    for business in (make_business("b1"), make_business("b2", "IE", "Standard"), make_business("b3", "CA", "Start")):
        world.businesses[business.id] = business
    lead = world.businesses["b1"]
    for number in range(5):
        add(lead, "contacts", f"c{number}", NOW - timedelta(days=5 - number), balance="10.0", name=f"Contact {number}")
    for number in range(3):
        line = {"id": f"l{number}", "quantity": "1.0", "analysis_type_categories": [{"id": "a"}]}
        add(
            lead,
            "sales_invoices",
            f"s{number}",
            NOW - timedelta(hours=3 - number),
            date=f"2026-06-0{number + 1}",
            due_date=f"2026-07-0{3 - number}",
            contact=reference("contacts", f"c{number % 2}"),
            invoice_lines=[line],
            payments_allocations=[{"id": "p"}],
            corrections=[],
            detailed_tax_analysis={"total": "1.0"},
            legacy_id=number,
            sent=False,
        )
    return world


class Client:
    """A user with a token."""

    def __init__(self, server: SandboxServer) -> None:
        self.session = requests.Session()
        self.api_url = server.api_url
        form = {
            "grant_type": "refresh_token",
            "refresh_token": server.refresh_token,
            "client_id": server.client_id,
            "client_secret": server.client_secret,
        }
        tokens = self.session.post(server.token_url, data=form, timeout=60).json()
        self.session.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        server.requests.clear()

    def ask(self, path: str, business: str | None = None, **params: Any) -> requests.Response:
        headers = {"X-Business": business} if business else {}
        return self.session.get(f"{self.api_url}/{path}", params=params, headers=headers, timeout=60)

    def get(self, path: str, business: str | None = None, **params: Any) -> Any:
        answer = self.ask(path, business, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(self, path: str, business: str | None = None, **params: Any) -> list[str]:
        return [item["id"] for item in self.get(path, business, **params)["$items"]]


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(make_world()) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Iterator[Client]:
    user = Client(server)
    with user.session:
        yield user


@pytest.fixture
def lead(server: SandboxServer) -> Business:
    return server.world.businesses["b1"]


def error_of(answer: requests.Response) -> tuple[int, str, str]:
    (error,) = answer.json()
    assert error.keys() == {"$severity", "$dataCode", "$message", "$source"}
    return answer.status_code, error["$dataCode"], error["$message"]


class TestPaging:
    def test_a_list_comes_in_pages_of_twenty_by_default(self, client: Client, lead: Business) -> None:
        for number in range(45):
            add(lead, "products", f"p{number:02}")
        first = client.get("products")
        assert {name: value for name, value in first.items() if name != "$items"} == {
            "$total": 45,
            "$page": 1,
            "$next": "/products?page=2&items_per_page=20",
            "$back": None,
            "$itemsPerPage": 20,
        }
        assert len(first["$items"]) == 20
        last = client.get("products", page=3, items_per_page=20)
        assert (last["$next"], last["$back"]) == (None, "/products?page=2&items_per_page=20")
        assert len(last["$items"]) == 5

    def test_beyond_the_end_the_last_page_is_repeated_and_says_so(self, client: Client) -> None:
        page = client.get("contacts", page=99, items_per_page=2)
        assert page["$page"] == 3
        assert [item["id"] for item in page["$items"]] == ["c4"]

    def test_an_empty_list_has_one_empty_page(self, client: Client) -> None:
        page = client.get("services", page=4)
        assert (page["$total"], page["$page"], page["$next"], page["$items"]) == (0, 1, None, [])

    def test_the_next_link_keeps_attributes_and_sort_but_not_filters(
        self, client: Client, server: SandboxServer
    ) -> None:
        asked: dict[str, Any] = {
            "items_per_page": 1,
            "attributes": "date,total",
            "sort": "date:asc",
            "updated_or_created_since": "2026-01-01T00:00:00Z",
        }
        expected = "/sales_invoices?page=2&items_per_page=1&attributes=date,total&sort=date:asc"
        assert client.get("sales_invoices", **asked)["$next"] == expected
        server.faults.next_keeps_filters = True
        assert "updated_or_created_since=2026-01-01T00:00:00Z" in client.get("sales_invoices", **asked)["$next"]

    def test_next_can_be_left_out(self, client: Client, server: SandboxServer) -> None:
        assert client.get("contacts", items_per_page=2)["$next"]
        server.faults.next_present = False
        assert client.get("contacts", items_per_page=2)["$next"] is None

    def test_more_than_200_a_page_is_cut_down_or_refused(self, client: Client, server: SandboxServer) -> None:
        assert client.get("contacts", items_per_page=500)["$itemsPerPage"] == 200
        server.faults.items_per_page_over_200 = "error"
        assert client.ask("contacts", items_per_page=500).status_code == 400

    @pytest.mark.parametrize("params", [{"page": 0}, {"page": "two"}, {"items_per_page": 0}, {"items_per_page": "²"}])
    def test_impossible_pages_are_refused(self, client: Client, params: dict[str, Any]) -> None:
        assert error_of(client.ask("contacts", **params))[:2] == (400, "RecordInvalid")

    def test_a_page_shows_what_changed_since_it_was_last_requested(self, client: Client, lead: Business) -> None:
        assert client.ids("contacts") == ["c0", "c1", "c2", "c3", "c4"]
        lead.collection("contacts").delete("c1", NOW)
        lead.collection("contacts").change("c2", {"name": "Renamed"}, NOW)
        page = client.get("contacts", attributes="name")
        assert [item["name"] for item in page["$items"]] == ["Contact 0", "Renamed", "Contact 3", "Contact 4"]

    def test_rows_can_move_between_two_pages(self, client: Client, server: SandboxServer, lead: Business) -> None:
        def delete_one_before_page_two(call: Any) -> None:
            if call.name == "contacts" and call.page == 2:
                with server.paused() as world:
                    world.businesses["b1"].collection("contacts").delete("c0", NOW)

        server.on_request = delete_one_before_page_two
        seen = client.ids("contacts", items_per_page=2) + client.ids("contacts", items_per_page=2, page=2)
        assert seen == ["c0", "c1", "c3", "c4"]
        assert "c2" in lead.collection("contacts").rows

    def test_a_page_of_a_large_list_takes_no_more_work_than_one_of_a_small_list(
        self, client: Client, lead: Business
    ) -> None:
        filler = {f"attribute_{number}": "text" for number in range(40)}
        work: list[float] = []
        for rows in (range(400), range(400, 20_000)):
            for number in rows:
                add(lead, "ledger_entries", f"e{number}", **filler)
            client.get("ledger_entries", attributes="all", items_per_page=200)
            started = time.process_time()  # of the server's thread, too, however busy the machine is
            for _ in range(5):
                client.get("ledger_entries", attributes="all", items_per_page=200, page=2)
            work.append(time.process_time() - started)
        small, large = work
        assert large < 10 * small


class TestProjection:
    def test_a_list_item_is_a_reference_by_default(self, client: Client) -> None:
        assert client.get("contacts")["$items"][0] == reference("contacts", "c0")

    def test_attributes_are_added_to_the_reference(self, client: Client) -> None:
        assert client.get("contacts", attributes="name,created_at")["$items"][0] == {
            **reference("contacts", "c0"),
            "name": "Contact 0",
            "created_at": "2026-06-25T18:00:00Z",
        }

    def test_all_attributes_leave_out_what_needs_a_flag(self, client: Client) -> None:
        (first, *_) = client.get("sales_invoices", attributes="all")["$items"]
        assert first["updated_at"] == "2026-06-30T15:00:00Z"
        assert first["invoice_lines"] == [{"id": "l0", "quantity": "1.0"}]
        absent = {"payments_allocations", "corrections", "detailed_tax_analysis", "legacy_id", "deleted_at"}
        assert absent.isdisjoint(first)

    def test_lists_honour_the_flags_described_for_lists(self, client: Client, server: SandboxServer) -> None:
        flags = {
            "show_payments_allocations": "true",
            "show_corrections": "true",
            "show_analysis_types": "true",
            "show_legacy_id": "true",
        }
        first = client.get("sales_invoices", attributes="all", **flags)["$items"][0]
        assert (first["payments_allocations"], first["legacy_id"]) == ([{"id": "p"}], 0)
        assert "corrections" not in first
        server.faults.detail_flags_on_lists = True
        first = client.get("sales_invoices", attributes="all", **flags)["$items"][0]
        assert first["corrections"] == []
        assert first["invoice_lines"][0]["analysis_type_categories"] == [{"id": "a"}]

    def test_a_flag_that_is_not_true_adds_nothing(self, client: Client) -> None:
        assert "balance" not in client.get("contacts", attributes="all", show_balance="false")["$items"][0]
        assert client.get("contacts", attributes="all", show_balance="true")["$items"][0]["balance"] == "10.0"

    def test_an_attribute_that_all_never_holds_comes_by_name(self, client: Client) -> None:
        named = client.get("sales_invoices", attributes="detailed_tax_analysis")["$items"][0]
        assert named["detailed_tax_analysis"] == {"total": "1.0"}

    def test_a_record_is_shown_in_full_or_narrowed(self, client: Client) -> None:
        whole = client.get("sales_invoices/s1", show_analysis_types="true", show_corrections="true")
        assert whole["invoice_lines"][0]["analysis_type_categories"] == [{"id": "a"}]
        assert whole["corrections"] == []
        assert whole["due_date"] == "2026-07-02"
        narrow = client.get("sales_invoices/s1", attributes="date")
        assert narrow == {**reference("sales_invoices", "s1"), "date": "2026-06-02"}

    def test_nested_attributes_open_references_of_the_first_level(self, client: Client, lead: Business) -> None:
        add(lead, "addresses", "a1", city="Leeds", contact=reference("contacts", "c0"))
        lead.collection("contacts").change("c0", {"main_address": reference("addresses", "a1")}, NOW)
        first = client.get("contacts", attributes="main_address", nested_attributes="all")["$items"][0]
        assert first["main_address"]["city"] == "Leeds"
        assert first["main_address"]["contact"] == reference("contacts", "c0")
        lead.collection("addresses").change("a1", {"city": "York"}, NOW)
        first = client.get("contacts", attributes="main_address", nested_attributes="all")["$items"][0]
        assert first["main_address"]["city"] == "York"
        assert client.get("sales_invoices/s0", nested_attributes="all")["contact"]["name"] == "Contact 0"

    def test_references_to_nowhere_stay_references(self, client: Client, lead: Business) -> None:
        gone, strange = reference("contacts", "gone"), reference("no_such_list", "x")
        lead.collection("sales_invoices").change("s0", {"contact": gone, "status": strange}, NOW)
        whole = client.get("sales_invoices/s0", nested_attributes="all")
        assert (whole["contact"], whole["status"]) == (gone, strange)

    def test_a_transaction_can_show_what_it_comes_from(self, client: Client, lead: Business) -> None:
        add(lead, "transactions", "t1", origin=reference("sales_invoices", "s0"))
        assert "due_date" not in client.get("transactions/t1")["origin"]
        assert client.get("transactions/t1", expand_origin="true")["origin"]["due_date"] == "2026-07-03"

    def test_items_without_an_id_stay_without_one(self, client: Client, lead: Business) -> None:
        body = {"displayed_as": "GBP -> EUR", "$path": "/exchange_rates/EUR", "rate": "1.17"}
        lead.collection("exchange_rates").add(Row("EUR", body, NOW, NOW))
        (rate,) = client.get("exchange_rates")["$items"]
        assert rate == {"displayed_as": "GBP -> EUR", "$path": "/exchange_rates/EUR"}
        assert client.get("exchange_rates/EUR")["rate"] == "1.17"

    def test_decimals_can_travel_as_exact_numbers(self, client: Client, server: SandboxServer) -> None:
        add(server.world.businesses["b1"], "products", "p", cost_price="12345678901234567.1234", name="v1")
        assert client.get("products/p")["cost_price"] == "12345678901234567.1234"
        server.faults.decimals = "numbers"
        assert '"cost_price":12345678901234567.1234,"name":"v1"' in client.ask("products/p").text
        assert '"quantity":1.0' in client.ask("sales_invoices", attributes="all").text

    def test_balances_of_a_period_are_added_up_from_the_entries(self, client: Client, lead: Business) -> None:
        add(lead, "ledger_accounts", "n1")
        entries = (("2026-01-31", "286.7", "0.0", False), ("2026-02-28", "0.0", "100.0", False))
        for number, (day, debit, credit, deleted) in enumerate((*entries, ("2026-02-01", "5.0", "0.0", True))):
            account = reference("ledger_accounts", "n1")
            entry = {"ledger_account": account, "debit": debit, "credit": credit, "deleted": deleted}
            add(lead, "ledger_entries", f"e{number}", date=day, **entry)
        period = {"from_date": "2026-01-01", "to_date": "2026-12-31"}
        flags = {"show_balance_details": "true", "exclude_deleted_entries": "true"}
        account = client.get("ledger_accounts", attributes="all", **flags, **period)["$items"][0]
        sums = {"balance": "186.7", "credit_or_debit": "debit", "credits": "100.0", "debits": "286.7"}
        assert account["balance_details"] == {**sums, **period}
        with_deleted = client.get("ledger_accounts/n1", show_balance_details="true", **period)
        assert with_deleted["balance_details"]["balance"] == "191.7"
        assert "balance_details" not in client.get("ledger_accounts/n1", show_balance_details="true")


class TestSelection:
    @pytest.mark.parametrize(
        ("since", "expected"),
        [
            ("2026-06-27T18:00:00Z", ["c2", "c3", "c4"]),
            ("2026-06-27T18:00:01Z", ["c3", "c4"]),
            ("2026-06-27T17:59:59.500Z", ["c2", "c3", "c4"]),
            ("2026-06-27T18:00:00.500Z", ["c3", "c4"]),
            ("2026-06-27T20:00:00+02:00", ["c2", "c3", "c4"]),
            ("2026-06-28", ["c3", "c4"]),
            ("2026-06-28T+02:00", ["c3", "c4"]),
        ],
    )
    def test_the_change_filter_includes_its_moment(self, client: Client, since: str, expected: list[str]) -> None:
        assert client.ids("contacts", updated_or_created_since=since) == expected

    def test_timestamps_count_in_whole_seconds(self, client: Client, lead: Business) -> None:
        add(lead, "services", "x", NOW + timedelta(milliseconds=700))
        assert client.ids("services", updated_or_created_since="2026-06-30T18:00:00Z") == ["x"]
        assert client.ids("services", updated_or_created_since="2026-06-30T18:00:01Z") == []
        lead.collection("services").delete("x", NOW + timedelta(milliseconds=700))
        assert client.ids("services", deleted_since="2026-06-30T18:00:00Z") == []

    def test_rows_without_a_timestamp_are_only_in_the_unfiltered_list(self, client: Client, lead: Business) -> None:
        add(lead, "services", "old", None)
        assert client.ids("services") == ["old"]
        assert client.ids("services", updated_or_created_since="2000-01-01") == []

    @pytest.mark.parametrize("since", ["yesterday", "2026-02-30", "2026-06-27T18:00:00 02:00", "9999-99-99T00:00:00Z"])
    def test_a_bad_moment_is_refused(self, client: Client, since: str) -> None:
        assert error_of(client.ask("contacts", updated_or_created_since=since))[:2] == (400, "RecordInvalid")

    def test_fractions_of_a_second_can_be_refused(self, client: Client, server: SandboxServer) -> None:
        server.faults.fractional_seconds = False
        assert client.ask("contacts", updated_or_created_since="2026-06-27T18:00:00.000Z").status_code == 400

    def test_lists_without_the_filter_ignore_it(self, client: Client, lead: Business) -> None:
        add(lead, "countries", "GB", None)
        assert client.ids("countries", updated_or_created_since="2026-01-01", deleted_since="2026-01-01") == ["GB"]

    def test_deleted_since_lists_tombstones_after_its_moment(self, client: Client, lead: Business) -> None:
        lead.collection("contacts").delete("c0", NOW)
        lead.collection("contacts").delete("c1", NOW + timedelta(seconds=1))
        moment = "2026-06-30T18:00:00Z"
        assert client.get("contacts", deleted_since=moment)["$items"] == [reference("contacts", "c1")]
        (tombstone,) = client.get("contacts", deleted_since=moment, attributes="all")["$items"]
        assert tombstone["deleted_at"] == "2026-06-30T18:00:01Z"
        assert tombstone["name"] == "Contact 1"
        assert client.ids("contacts") == ["c2", "c3", "c4"]
        assert client.ask("contacts/c1").status_code == 404

    def test_tombstones_can_be_bare(self, client: Client, server: SandboxServer, lead: Business) -> None:
        lead.collection("contacts").delete("c0", NOW)
        asked = {"deleted_since": "2026-01-01", "attributes": "all"}
        server.faults.tombstones = "dated_id"
        (tombstone,) = client.get("contacts", **asked)["$items"]
        assert tombstone == {**reference("contacts", "c0"), "deleted_at": "2026-06-30T18:00:00Z"}
        server.faults.tombstones = "id_only"
        assert client.get("contacts", **asked)["$items"] == [reference("contacts", "c0")]

    def test_both_change_filters_at_once_list_tombstones_or_all(
        self, client: Client, server: SandboxServer, lead: Business
    ) -> None:
        lead.collection("contacts").delete("c0", NOW)
        asked = {"deleted_since": "2026-01-01", "updated_or_created_since": "2026-06-29"}
        assert client.ids("contacts", **asked) == ["c0"]
        server.faults.changed_and_deleted = "union"
        assert client.ids("contacts", **asked) == ["c4", "c0"]

    def test_ledger_lists_are_newest_first(self, client: Client, lead: Business) -> None:
        for number in range(3):
            add(lead, "ledger_entries", f"e{number}", date="2026-06-01")
            add(lead, "transactions", f"t{number}", date="2026-06-01")
        assert client.ids("ledger_entries") == ["e2", "e1", "e0"]
        assert client.ids("transactions") == ["t2", "t1", "t0"]

    def test_lists_are_sorted_as_requested(self, client: Client) -> None:
        assert client.ids("sales_invoices", sort="due_date") == ["s2", "s1", "s0"]
        assert client.ids("sales_invoices", sort="updated_at:desc") == ["s2", "s1", "s0"]
        assert client.ids("sales_invoices", sort="created_at:asc") == ["s0", "s1", "s2"]
        assert client.ids("contacts", sort="anything") == ["c0", "c1", "c2", "c3", "c4"]
        assert client.ask("sales_invoices", sort="total").status_code == 400

    def test_document_dates_select_both_ends_included(self, client: Client) -> None:
        assert client.ids("sales_invoices", from_date="2026-06-02") == ["s1", "s2"]
        assert client.ids("sales_invoices", to_date="2026-06-02") == ["s0", "s1"]
        assert client.ids("sales_invoices", from_date="2026-06-02", to_date="2026-06-02") == ["s1"]
        assert client.ask("sales_invoices", from_date="June").status_code == 400

    def test_lists_are_filtered_by_reference(self, client: Client, lead: Business) -> None:
        assert client.ids("sales_invoices", contact_id="c0") == ["s0", "s2"]
        types = [reference("contact_types", "VENDOR")]
        lead.collection("contacts").change("c3", {"contact_types": types, "is_active": False}, NOW)
        assert client.ids("contacts", contact_type_id="VENDOR") == ["c3"]
        assert client.ids("contacts", filter_inactive_contacts="true") == ["c0", "c1", "c2", "c4"]
        assert client.ids("contacts", search="c2") == ["c2"]
        assert client.ids("contacts", no_such_filter="x") == ["c0", "c1", "c2", "c3", "c4"]

    def test_inactive_products_are_listed_or_hidden(self, client: Client, server: SandboxServer) -> None:
        lead = server.world.businesses["b1"]
        add(lead, "products", "on", active=True)
        add(lead, "products", "off", active=False)
        assert client.ids("products") == ["on", "off"]
        assert client.ids("products", active="true") == ["on"]
        server.faults.inactive_items = "hidden"
        assert client.ids("products") == ["on"]
        assert client.ids("products", active="false") == ["off"]

    def test_transactions_have_a_bounded_window_of_changes(self, client: Client, lead: Business) -> None:
        for number in range(4):
            add(lead, "transactions", f"t{number}", NOW + timedelta(seconds=number))
        window = {"updated_from_date": "2026-06-30T18:00:01Z", "updated_to_date": "2026-06-30T18:00:02Z"}
        assert client.ids("transactions", **window) == ["t2", "t1"]


class TestBusinesses:
    @pytest.mark.parametrize("key", ["$items_per_page", "$itemsPerPage"])
    def test_the_list_of_businesses_comes_in_pages_of_25_to_500(
        self, client: Client, server: SandboxServer, key: Any
    ) -> None:
        server.faults.businesses_size_key = key
        for number in range(600):
            business = make_business(f"x{number}")
            server.world.businesses[business.id] = business
        first = client.get("businesses")
        assert (first[key], len(first["$items"]), first["$next"]) == (25, 25, "/businesses?page=2&items_per_page=25")
        assert client.get("businesses", items_per_page=2)[key] == 25
        largest = client.get("businesses", items_per_page=1000, page=2)
        assert (largest[key], len(largest["$items"]), largest["$next"]) == (500, 103, None)

    def test_the_list_of_businesses_can_come_all_at_once_as_it_did(self, client: Client, server: SandboxServer) -> None:
        server.faults.businesses_paged = False
        answer = client.get("businesses", items_per_page=2)
        items = answer.pop("$items")
        assert answer == {
            "$total": 3,
            "$page": 1,
            "$next": None,
            "$back": None,
            "$items_per_page": 2147483647,
        }
        assert items[1] == {"id": "b2", "displayed_as": "Company b2", "$path": "/businesses/b2"}

    def test_the_list_of_businesses_takes_attributes_when_that_is_switched_on(
        self, client: Client, server: SandboxServer
    ) -> None:
        assert client.get("businesses", attributes="all")["$items"][0].keys() == {"id", "displayed_as", "$path"}
        server.faults.businesses_attributes = "honoured"
        assert client.get("businesses", attributes="all")["$items"][0]["name"] == "Company b1"

    def test_a_business_shows_the_edition_that_it_has_now(self, client: Client, lead: Business) -> None:
        payroll = {"id": "PAYROLL_25", "displayed_as": "Payroll 25", "active": True, "status": "paying"}
        plus = {"id": "ACCOUNTING", "displayed_as": "Accounting Plus", "active": True, "status": "paying"}
        lead.body["subscriptions"] = [plus, payroll]
        assert client.get("businesses/b1")["subscriptions"] == [plus, payroll]
        lead.edition = "Start"
        reported, other = client.get("businesses/b1")["subscriptions"]
        assert (reported["id"], reported["displayed_as"], reported["status"]) == ("START", "Accounting Start", "paying")
        assert other == payroll
        lead.subscribed = False
        assert client.get("businesses/b1")["subscriptions"][0]["status"] == "expired"

    def test_a_business_shows_the_rights_of_its_user(self, client: Client, lead: Business) -> None:
        lead.permissions["journals"] = "no_access"
        reported = client.get("businesses/b1")["user_permissions"]
        assert {"area": "accounting_journals", "role": "no_access"} in reported
        assert {"area": "payroll_access"} in reported
        assert client.get("businesses/lead")["id"] == "b1"
        assert client.ask("businesses/nobody").status_code == 404

    def test_businesses_can_be_searched_and_narrowed_to_active_ones(
        self, client: Client, server: SandboxServer
    ) -> None:
        server.world.businesses["b2"].subscribed = False
        assert client.ids("businesses", active_only="true") == ["b1", "b3"]
        assert client.ids("businesses", name="y B2") == ["b2"]

    def test_the_user_is_returned(self, client: Client) -> None:
        assert client.get("user") == {"id": "u1", "displayed_as": "Jane Example", "email": "jane@example.com"}

    def test_responses_echo_their_business(self, client: Client, server: SandboxServer) -> None:
        assert client.ask("contacts").headers["X-Business"] == "b1"
        assert client.ask("contacts", "b2").headers["X-Business"] == "b2"
        assert "X-Business" not in client.ask("businesses", "b2").headers
        assert "X-Business" not in client.ask("user").headers
        server.faults.echo_business = False
        assert "X-Business" not in client.ask("contacts").headers

    def test_each_business_has_its_own_records(self, client: Client) -> None:
        assert client.ids("contacts", "b2") == []
        assert client.ask("contacts/c0", "b2").status_code == 404

    @pytest.mark.parametrize(
        ("status", "code"), [(401, "AuthorizationFailure"), (403, "MultiUserAccessDenied"), (404, "RecordNotFound")]
    )
    def test_a_foreign_business_is_refused(self, client: Client, server: SandboxServer, status: Any, code: str) -> None:
        server.faults.foreign_business = status
        answer = client.ask("contacts", "f" * 32)
        assert error_of(answer)[:2] == (status, code)
        assert "X-Business" not in answer.headers


class TestRights:
    @pytest.mark.parametrize(
        ("name", "only_role", "status"),
        [
            ("journals", ("journals", "read_only"), 200),
            ("ledger_entries", ("journals", "restricted_access"), 403),
            ("analysis_types", ("settings", "read_only"), 403),
            ("sales_invoices", ("sales", "restricted_access"), 200),
            ("sales_invoices", ("sales", "no_access"), 403),
            ("contacts", ("purchases", "read_only"), 200),
            ("tax_returns", ("statutory_reporting", "read_only"), 403),
            ("contact_allocations", ("sales", "no_access"), 200),
        ],
    )
    def test_one_role_alone_opens_its_lists_only(
        self, client: Client, lead: Business, name: str, only_role: tuple[str, str], status: int
    ) -> None:
        lead.permissions.clear()
        lead.permissions.update([only_role])
        assert client.ask(name).status_code == status

    def test_a_refusal_for_the_role_has_sages_body(self, client: Client, lead: Business) -> None:
        lead.permissions["bank"] = "no_access"
        message = "The current user is not allowed to access that resource with that method."
        assert error_of(client.ask("bank_accounts")) == (403, "MultiUserAccessDenied", message)

    @pytest.mark.parametrize(
        ("business", "name"),
        [("b2", "stock_items"), ("b3", "tax_schemes"), ("b3", "analysis_types"), ("b1", "tax_offices")],
    )
    def test_what_edition_or_country_lacks_looks_like_a_missing_subscription(
        self, client: Client, server: SandboxServer, business: str, name: str
    ) -> None:
        assert error_of(client.ask(name, business)) == (401, "AuthorizationFailure", "No active subscription. (MSE)")
        server.faults.edition_refusal = 404
        assert error_of(client.ask(name, business))[:2] == (404, "RecordNotFound")

    @pytest.mark.parametrize(
        ("business", "name"),
        [("b1", "stock_items"), ("b2", "tax_schemes"), ("b2", "analysis_types"), ("b3", "contacts")],
    )
    def test_what_edition_and_country_have_is_there(self, client: Client, business: str, name: str) -> None:
        assert client.ask(name, business).status_code == 200

    @pytest.mark.parametrize("name", ["purchase_invoices", "purchase_credit_notes", "purchase_quick_entries"])
    def test_start_has_purchases_only_when_that_is_switched_on(
        self, client: Client, server: SandboxServer, name: str
    ) -> None:
        assert client.ask(name, "b1").status_code == client.ask(name, "b2").status_code == 200
        assert client.ask(name, "b3").status_code == 401
        add(server.world.businesses["b3"], name, "p1")
        server.faults.start_has_purchases = True
        assert client.ids(name, "b3") == ["p1"]

    def test_lists_without_offer_can_be_returned_as_if_empty(
        self, client: Client, server: SandboxServer, lead: Business
    ) -> None:
        add(lead, "stock_items", "i1")
        lead.edition = "Standard"
        assert client.ask("stock_items").status_code == 401
        server.faults.lists_without_offer = "empty"
        page = client.get("stock_items", items_per_page=50)
        assert (page["$total"], page["$items"], page["$itemsPerPage"]) == (0, [], 50)
        assert client.ask("stock_items/i1").status_code == 401
        server.faults.edition_refusal = 404
        assert error_of(client.ask("stock_items/i1"))[:2] == (404, "RecordNotFound")
        lead.subscribed = False
        assert client.get("contacts")["$items"] == []
        assert client.ask("contacts/c1").status_code == client.ask("financial_settings").status_code == 401
        lead.subscribed, lead.edition = True, "Plus"
        assert client.ids("stock_items") == ["i1"]

    def test_an_ended_subscription_refuses_everything(self, client: Client, server: SandboxServer) -> None:
        server.world.businesses["b2"].subscribed = False
        assert error_of(client.ask("contacts", "b2"))[2] == "No active subscription. (MSE)"
        assert client.ask("contacts", "b1").status_code == 200

    def test_unknown_tokens_are_refused(self, client: Client, server: SandboxServer) -> None:
        client.session.headers["Authorization"] = "Bearer made-up"
        assert error_of(client.ask("contacts"))[:2] == (401, "AuthorizationFailure")
        server.faults.expired_body = "oauth"
        assert client.ask("contacts").json()["error"] == "invalid_token"
        server.faults.expired_body = "empty"
        assert client.ask("contacts").content == b""

    def test_every_readable_path_responds_somewhere(self, client: Client, server: SandboxServer) -> None:
        countries = ("GB", "FR", "ES", "DE")
        for country in countries:
            business = make_business(f"z{country}", country)
            business.objects = {
                name: {"$path": f"/{name}"} for name, each in ENDPOINTS.items() if each.kind == "object"
            }
            server.world.businesses[business.id] = business
        period = {"from_date": "2026-01-01", "to_date": "2026-06-30"}
        silent = [
            name
            for name in ENDPOINTS
            if not any(client.ask(name, f"z{country}", **period).status_code == 200 for country in countries)
        ]
        assert (len(ENDPOINTS), silent) == (90, [])


class TestOtherAnswers:
    def test_settings_are_bare_objects(self, client: Client) -> None:
        assert client.get("financial_settings") == {"$path": "/financial_settings", "base_currency": {"id": "GBP"}}
        assert client.ask("invoice_settings").status_code == 404

    def test_the_trial_balance_needs_its_period(self, client: Client, server: SandboxServer) -> None:
        business = server.world.businesses["b2"]
        add(business, "ledger_accounts", "n1")
        entry = {"debit": "12.5", "credit": "0.0", "deleted": False, "date": "2026-05-01"}
        add(business, "ledger_entries", "e1", **entry, ledger_account=reference("ledger_accounts", "n1"))
        period = {"from_date": "2026-01-01", "to_date": "2026-06-30"}
        report = client.get("trial_balance", "b2", **period)
        assert (report["from_date"], report["to_date"]) == ("2026-01-01", "2026-06-30")
        assert [(line["id"], line["debit"], line["credit"]) for line in report["ledger_accounts"]] == [
            ("n1", "12.5", "0")
        ]
        answer = client.ask("trial_balance", from_date="2026-01-01")
        assert answer.json()[0]["$source"] == "to_date"
        assert answer.status_code == 400

    @pytest.mark.parametrize("path", ["orders", "contacts/nobody", "user/x", "tax_determinations/x", ""])
    def test_what_does_not_exist_is_not_found(self, client: Client, path: str) -> None:
        assert error_of(client.ask(path))[:2] == (404, "RecordNotFound")

    def test_there_is_nothing_outside_the_api(self, server: SandboxServer) -> None:
        assert requests.get(server.base_url + "/favicon.ico", timeout=60).status_code == 404

    def test_nothing_can_be_written(self, client: Client, server: SandboxServer) -> None:
        answer = client.session.delete(f"{server.api_url}/contacts/c0", timeout=60)
        assert error_of(answer)[:2] == (405, "MethodNotAllowed")
        assert answer.headers["Allow"] == "GET"

    def test_responses_carry_the_simulated_time_and_a_request_id(self, client: Client, server: SandboxServer) -> None:
        server.world.clock.advance(timedelta(days=1))
        answer = client.ask("user")
        assert answer.headers["Date"] == "Wed, 01 Jul 2026 18:00:00 GMT"
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x_request_id"])

    def test_reading_a_document_can_mark_it_as_sent(self, client: Client, server: SandboxServer) -> None:
        client.get("sales_invoices/s0")
        server.faults.detail_marks_sent = True
        assert client.get("sales_invoices/s0", mark_as_sent="false")["sent"] is False
        marked = client.get("sales_invoices/s0")
        assert (marked["sent"], marked["updated_at"]) == (True, "2026-06-30T18:00:00Z")

    def test_responses_are_compressed_for_those_who_accept_it(self, client: Client, server: SandboxServer) -> None:
        server.faults.gzip = True
        plain = client.session.get(
            f"{server.api_url}/businesses/b1", headers={"Accept-Encoding": "identity"}, timeout=5
        )
        assert "Content-Encoding" not in plain.headers
        for number in range(50):
            add(server.world.businesses["b1"], "products", f"p{number}")
        with client.session.get(f"{server.api_url}/products?items_per_page=200", stream=True, timeout=60) as packed:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert len(gzip.decompress(packed.raw.read(decode_content=False))) > 500


class TestTroubles:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    def test_error_statuses_strike_as_often_as_the_fault_says(
        self, client: Client, server: SandboxServer, status: int
    ) -> None:
        server.faults.add(Fault("contacts", status, times=2, skip=1, retry_after=7))
        statuses = [client.ask("contacts").status_code for _ in range(4)]
        assert statuses == [200, status, status, 200]

    def test_a_fault_can_be_narrowed_to_a_business_and_a_page(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("cont*", 503, business="b2", page=2, times=None, retry_after=3))
        assert client.ask("contacts", "b2").status_code == 200
        assert client.ask("contacts", page=2).status_code == 200
        refused = client.ask("contacts", "b2", page=2)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "3")

    @pytest.mark.parametrize(
        ("status", "code"), [(401, "AuthorizationFailure"), (403, "MultiUserAccessDenied"), (404, "RecordNotFound")]
    )
    def test_a_refusal_that_strikes_has_sages_own_words(
        self, client: Client, server: SandboxServer, status: int, code: str
    ) -> None:
        server.faults.add(Fault("contacts", status))
        assert error_of(client.ask("contacts"))[:2] == (status, code)

    @pytest.mark.parametrize(
        ("by", "body"), [("firewall", b"<html>"), ("gateway", b'{"message":"Forbidden"}'), ("nobody", b"")]
    )
    def test_others_respond_before_sage_sees_the_request(
        self, client: Client, server: SandboxServer, by: Any, body: bytes
    ) -> None:
        server.faults.add(Fault("*", 403, by=by, times=None))
        client.session.headers["Authorization"] = "Bearer made-up"
        answer = client.ask("contacts")
        assert answer.status_code == 403
        assert answer.content.startswith(body)
        assert bool(answer.content) == bool(body)
        assert not {"x_request_id", "X-Business"} & answer.headers.keys()
        assert requests.post(server.token_url, timeout=60).status_code == 403
        assert [each.status for each in server.requests.of("contacts")] == [403]

    def test_a_portal_sends_elsewhere(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", 302, by="firewall"))
        answer = client.session.get(f"{server.api_url}/contacts", allow_redirects=False, timeout=60)
        assert (answer.status_code, answer.headers["Location"]) == (302, "https://portal.invalid/")

    def test_a_fault_can_be_narrowed_to_a_parameter(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", 403, by="firewall", param="deleted_since"))
        assert client.ask("contacts").status_code == 200
        assert client.ask("contacts", deleted_since="2026-06-01").status_code == 403

    def test_a_fault_strikes_one_of_so_many_requests(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", 403, by="firewall", times=2, skip=1, every=3))
        assert [client.ask("contacts").status_code for _ in range(8)] == [200, 403, 200, 200, 403, 200, 200, 200]

    @pytest.mark.parametrize("wrong", [{"by": "neighbour"}, {"what": "html", "by": "firewall"}])
    def test_a_fault_that_no_server_could_send_is_refused(self, wrong: Any) -> None:
        with pytest.raises(ValueError, match="answer"):
            Fault(**wrong)

    @pytest.mark.parametrize("what", ["drop", "lost"])
    def test_a_fault_breaks_the_connection(self, client: Client, server: SandboxServer, what: str) -> None:
        server.faults.add(Fault("contacts", what))
        with pytest.raises(requests.ConnectionError):
            client.ask("contacts")
        assert client.ask("contacts").status_code == 200
        assert [each.status for each in server.requests.of("contacts")] == [0, 200]

    def test_a_fault_cuts_the_body(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "cut"))
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            client.ask("contacts")

    def test_a_gateway_responds_with_html(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "html"))
        answer = client.ask("contacts")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")

    def test_a_fault_makes_the_content_type_wrong(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "wrong_type"))
        answer = client.ask("contacts")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.json()["$total"] == 5

    def test_a_fault_takes_the_items_or_their_rows_out(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "no_items"))
        server.faults.add(Fault("contacts", "empty_page"))
        assert "$items" not in client.get("contacts")
        page = client.get("contacts")
        assert (page["$total"], page["$items"]) == (5, [])

    def test_redirects_have_no_end(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "redirect_loop", times=None))
        with pytest.raises(requests.TooManyRedirects):
            client.ask("contacts")

    def test_another_business_is_echoed(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "other_business"))
        assert client.ask("contacts", "b1").headers["X-Business"] == "b2"

    def test_responses_can_be_slow(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "slow", seconds=0.15))
        started = time.perf_counter()
        client.get("contacts")
        assert time.perf_counter() - started >= 0.15

    def test_responses_take_their_time_by_chance(self, client: Client, server: SandboxServer) -> None:
        server.faults.latency, server.faults.latency_jitter = 0.02, 0.05
        for _ in range(4):
            client.ask("user")
        durations = [each.end - each.start for each in server.requests]
        assert min(durations) >= 0.02
        assert max(durations) - min(durations) > 0.001

    def test_big_pages_time_out(self, client: Client, server: SandboxServer) -> None:
        server.faults.big_pages["sales_*"] = 50
        statuses = {
            size: client.ask("sales_invoices", attributes="all", items_per_page=size).status_code for size in (51, 50)
        }
        assert statuses == {51: 504, 50: 200}
        assert client.ask("sales_invoices", items_per_page=200).status_code == 200

    @pytest.mark.parametrize(
        ("kind", "expected"), [("full", (200, 500, 200)), ("record", (200, 500, 500)), ("always", (500, 500, 500))]
    )
    def test_a_poisoned_record_spoils_its_page(
        self, client: Client, server: SandboxServer, kind: Any, expected: tuple[int, int, int]
    ) -> None:
        server.faults.poison["c2"] = kind
        poisoned = (
            client.ask("contacts"),
            client.ask("contacts", attributes="all", items_per_page=1, page=3),
            client.ask("contacts/c2"),
        )
        assert tuple(each.status_code for each in poisoned) == expected
        assert client.ask("contacts", attributes="all", items_per_page=1).status_code == 200

    @pytest.mark.parametrize("what", ["drip", "drip_head"])
    def test_responses_can_come_byte_by_byte(self, client: Client, server: SandboxServer, what: str) -> None:
        server.faults.add(Fault("user", what, seconds=0.001))
        dripped = client.ask("user")
        assert dripped.json() == client.get("user")
        assert dripped.headers["Content-Length"] == str(len(dripped.content))
        slow, quick = server.requests
        assert slow.status == quick.status == 200

    @pytest.mark.parametrize("what", ["interim", "endless"])
    def test_responses_can_be_without_end(self, client: Client, server: SandboxServer, what: str) -> None:
        server.faults.add(Fault("user", what))
        authorization = client.session.headers["Authorization"]
        with socket.create_connection(("127.0.0.1", urlsplit(server.base_url).port)) as connection:
            head = f"GET /v3.1/user HTTP/1.1\r\nHost: sage\r\nAuthorization: {authorization!s}\r\n\r\n"
            connection.sendall(head.encode())
            received = 0
            while received < 3_000_000:
                received += len(part := connection.recv(65536))
                assert part

    def test_an_interim_response_may_come_before_the_final_one(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("user", "early_hints"))
        assert client.ask("user").status_code in {103, 200}

    def test_a_few_bytes_may_inflate_to_many(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("user", "bomb", megabytes=3))
        answer = client.ask("user")
        assert int(answer.headers["Content-Length"]) < 10_000
        assert len(answer.content) > 3_000_000
        assert answer.json() == client.get("user")

    def test_a_list_may_have_no_end(self, client: Client, server: SandboxServer) -> None:
        first = client.get("contacts", items_per_page=2)
        for what in ("first_page", "same_page", "fresh_rows"):
            server.faults.add(Fault("contacts", what))
        same, claimed, fresh = (client.get("contacts", items_per_page=2, page=2) for _ in range(3))
        assert same == first
        assert claimed["$items"] == first["$items"]
        assert (claimed["$page"], bool(claimed["$next"])) == (2, True)
        assert len(fresh["$items"]) == 2
        assert not {each["id"] for each in fresh["$items"]} & {each["id"] for each in first["$items"]}
        assert (fresh["$page"], fresh["$total"]) == (2, 6)

    def test_an_envelope_may_say_anything(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(Fault("contacts", "envelope", envelope={"$total": None, "$itemsPerPage": -1}))
        page = client.get("contacts")
        assert "$total" not in page
        assert page["$itemsPerPage"] == -1
        assert len(page["$items"]) == 5

    def test_a_fault_can_last_for_some_time(self, client: Client, server: SandboxServer) -> None:
        server.faults.add(fault := Fault("contacts", 503, times=None, lasts=300))
        assert [client.ask("contacts").status_code for _ in range(2)] == [503, 503]
        fault.began = present(fault.began) - 300
        assert client.ask("contacts").status_code == 200

    def test_bytes_that_are_no_json_can_stand_in_a_response(
        self, client: Client, server: SandboxServer, lead: Business
    ) -> None:
        row = next(iter(lead.collection("contacts").rows.values()))
        lead.collection("contacts").change(row.id, {"name": "@latin@"}, NOW)
        server.faults.raw = {"@latin@": '"Caf\xe9"'}
        assert b'"name":"Caf\xe9"' in client.ask("contacts", attributes="all").content
        assert b'"name":"Caf\xe9"' in client.ask(f"contacts/{row.id}").content

    def test_unknown_faults_and_switches_are_refused(self) -> None:
        with pytest.raises(ValueError, match="explode"):
            Fault("contacts", "explode")
        for wrong in ({"latencey": 1}, {"latency": "long"}, {"tombstones": "none"}, {"poison": {"c1": "much"}}):
            faults = Faults()
            with pytest.raises(ValueError, match=r"latencey|float|Invalid enum value"):
                faults.update({"gzip": True, **wrong})
            assert faults == Faults()


class TestLimits:
    def test_a_minute_lets_so_many_through(self, client: Client, server: SandboxServer) -> None:
        server.faults.rate_limit, server.faults.minute = 3, 600
        answers = [client.ask("user") for _ in range(4)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert 500 < int(answers[-1].headers["Retry-After"]) <= 600
        server.faults.minute = 0.001
        assert client.ask("user").status_code == 200

    def test_the_limit_is_the_applications_or_each_businesss(self, client: Client, server: SandboxServer) -> None:
        server.faults.rate_limit = 1
        assert [client.ask("contacts", each).status_code for each in ("b1", "b2")] == [200, 429]
        server.faults.rate_limit_per = "business"
        assert [client.ask("contacts", each).status_code for each in ("b1", "b2", "b2")] == [200, 200, 429]

    def test_a_refusal_says_when_to_come_back_in_every_form(self, client: Client, server: SandboxServer) -> None:
        server.faults.rate_limit, server.faults.retry_after = 0, "absent"
        assert "Retry-After" not in client.ask("user").headers
        server.faults.retry_after = "fraction"
        assert float(client.ask("user").headers["Retry-After"]) == pytest.approx(60, abs=1)
        server.faults.retry_after = "date"
        assert client.ask("user").headers["Retry-After"] == "Tue, 30 Jun 2026 18:01:00 GMT"

    def test_a_fixed_minute_begins_anew(self, client: Client, server: SandboxServer) -> None:
        server.faults.rate_limit, server.faults.rate_window, server.faults.minute = 1, "fixed", 0.1
        server.faults.retry_after = "fraction"
        statuses = []
        while 429 not in statuses:
            answer = client.ask("user")
            statuses.append(answer.status_code)
        assert 0 <= float(answer.headers["Retry-After"]) <= 0.1

    def test_the_places_of_a_bucket_come_free_one_by_one(self, client: Client, server: SandboxServer) -> None:
        server.faults.rate_limit, server.faults.rate_window, server.faults.minute = 3, "bucket", 6000
        server.faults.retry_after = "fraction"
        answers = [client.ask("user") for _ in range(4)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert float(answers[-1].headers["Retry-After"]) == pytest.approx(2000, abs=100)

    def test_more_requests_at_once_than_allowed_are_refused(self, client: Client, server: SandboxServer) -> None:
        server.faults.latency, server.faults.concurrency_limit = 2, 2
        statuses: list[int] = []
        headers = {"Authorization": str(client.session.headers["Authorization"])}

        def ask() -> None:
            statuses.append(requests.get(f"{server.api_url}/user", headers=headers, timeout=60).status_code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 200, 429, 429]
        assert server.in_flight_max in {3, 4}


class TestShelf:
    def test_what_was_used_last_is_kept(self) -> None:
        shelf: Shelf[str] = Shelf(12)
        made: list[str] = []

        def make(name: str) -> str:
            made.append(name)
            return name * 3

        for name in ("a", "b", "c", "a", "d", "a", "b"):
            assert shelf.get(name, functools.partial(make, name)) == name * 3
        assert made == ["a", "b", "c", "d", "b"]

    def test_what_is_too_large_is_made_all_the_same(self) -> None:
        shelf: Shelf[str] = Shelf(1)
        assert [shelf.get(name, lambda: "x" * 9) for name in "ab"] == ["x" * 9] * 2


class TestServer:
    def test_requests_are_logged_without_secrets(self, client: Client, server: SandboxServer) -> None:
        client.ask("contacts", "b2", page=2)
        (logged,) = server.requests
        assert (logged.method, logged.path, logged.params) == ("GET", "/v3.1/contacts", {"page": "2"})
        assert (logged.business, logged.status) == ("b2", 200)
        assert logged.start <= logged.end <= time.monotonic()
        assert not any(secret in repr(logged) for secret in server.issued_secrets)
        server.requests.clear()
        assert len(server.requests) == 0

    def test_other_processes_can_look_and_steer(self, client: Client, server: SandboxServer) -> None:
        controls = server.base_url + "/_sandbox/"
        client.ask("contacts")
        stats = requests.get(controls + "stats", timeout=60).json()
        assert (stats["total"], stats["by_path"], stats["in_flight_max"]) == (1, {"/v3.1/contacts": {"200": 1}}, 1)
        script = [{"path": "contacts", "what": 503}]
        assert requests.post(controls + "faults", json={"gzip": True, "script": script}, timeout=60).ok
        assert client.ask("contacts").status_code == 503
        assert server.faults.gzip is True
        for wrong in ({"nothing": 1}, {"script": [{"where": "x"}]}):
            assert requests.post(controls + "faults", json=wrong, timeout=60).status_code == 400
        assert requests.post(controls + "faults", data="{", timeout=60).status_code == 400
        assert requests.get(controls + "elsewhere", timeout=60).status_code == 404

    def test_the_world_stands_still_while_it_is_changed(self, client: Client, server: SandboxServer) -> None:
        answered: list[int] = []
        with server.paused() as world:
            asking = threading.Thread(target=lambda: answered.append(client.get("contacts")["$total"]))
            asking.start()
            asking.join(0.1)
            assert answered == []
            world.businesses["b1"].collection("contacts").delete("c0", NOW)
        asking.join()
        assert answered == [4]

    def test_stopping_does_not_wait_for_slow_responses(self) -> None:
        with SandboxServer(make_world(), faults=Faults(latency=30)) as server:
            asking = threading.Thread(target=lambda: _ask_in_vain(server.token_url))
            asking.start()
            time.sleep(0.05)
            started = time.perf_counter()
        asking.join()
        assert time.perf_counter() - started < 15, "half of what the answer takes"

    def test_the_server_gives_the_settings_of_a_client(self, server: SandboxServer) -> None:
        config = server.tap_config(page_size=10)
        assert config["api_url"] == server.api_url == f"{server.base_url}/v3.1"
        assert (config["client_id"], config["page_size"]) == ("sandbox-client/app", 10)


def _ask_in_vain(url: str) -> None:
    with contextlib.suppress(requests.ConnectionError):
        requests.post(url, timeout=60)


def test_a_trial_balance_can_be_some_seconds_behind_the_ledger() -> None:
    plan = Plan("GB", "Plus", conventions=Conventions(trial_balance_lag=30))
    world = build_world(size="tiny", businesses=1, plans=(plan,), frozen=True)
    [company] = [each for each in world.businesses.values() if isinstance(each, Company)]
    world.clock.advance(timedelta(hours=1))
    with SandboxServer(world) as running, (user := Client(running)).session:

        def seen() -> Any:
            return user.get("trial_balance", company.id, from_date="2024-01-01", to_date="2030-01-01")

        before, now = seen(), world.clock.now()
        legs = [Leg(company.accounts[code], Decimal(amount)) for code, amount in ((7100, 5), (2109, -5))]
        made = post(company, Posting("JOURNAL", now.date(), now, legs, "", None))
        assert seen() == before
        world.clock.advance(timedelta(seconds=30))
        assert (after := seen()) != before
        void(company, made.id, world.clock.now())
        assert seen() == after
        world.clock.advance(timedelta(seconds=30))
        assert seen() == before
