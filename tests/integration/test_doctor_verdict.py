"""The doctor's verdict follows from Sage's responses: what is refused, late or lost is no evidence."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING

import pytest

from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Row
from support.doctors import UNDECIDED, Seen, made_world, only, see, seen_with
from support.presence import present
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.commands.doctor import looker
from tap_sage_accounting.commands.doctor.looker import BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def usual() -> bytes:
    return made_world()


@pytest.fixture
def server(usual: bytes) -> Iterator[SandboxServer]:
    with SandboxServer(pickle.loads(usual)) as running:
        yield running


# A contradicted assumption is no reason not to be ready


def test_lists_that_do_not_count_their_rows_are_ready(usual: bytes, tmp_path: Path) -> None:
    """Filters that are ignored are found all the same."""
    shown = seen_with(usual, tmp_path, switches={"totals": False, "deleted_since": "ignored"})
    assert shown.exit_code == 0, shown.text
    assert shown.verdict == "Ready to load. Sage differs in 2 points from what was assumed: see below."
    assert "Sage does not count the rows of its lists. It takes the requests below at least." in shown.text
    assert "pages.total: 6 of 6 lists with rows have no `$total`." in shown.text
    assert "First load, at least" in shown.text
    assert shown.contradicted == {"pages.total", "deletions.exclusive"}


def test_an_access_token_that_dies_early_is_renewed(server: SandboxServer, tmp_path: Path) -> None:
    server.faults.token_uses = 9
    shown = see(server, tmp_path)
    assert shown.exit_code == 0
    assert shown.found["ready"]
    assert shown.contradicted == set()
    assert shown.found["refused"] == shown.found["unanswered"] == {}
    assert {"ledger_entries", "contacts", "journals"} <= shown.found["rows"].keys()
    assert shown.asked <= BUDGET
    assert not server.grants.refusals


def test_a_token_that_sage_refuses_always_ends_the_look(server: SandboxServer, tmp_path: Path) -> None:
    server.faults.refuse_tokens = True
    shown = see(server, tmp_path)
    assert shown.exit_code == 1
    assert "Sage accepts no access token" in shown.text
    assert "denied.." not in shown.text


def test_a_dead_login_ends_the_look_with_what_to_do(server: SandboxServer, tmp_path: Path) -> None:
    shown = see(server, tmp_path, refresh_token="made-up")
    assert shown.exit_code == 1
    assert "login" in shown.text
    assert shown.asked == 0


# Some lists are refused or not returned


@pytest.fixture(scope="module")
def lacking(usual: bytes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Seen]:
    """Look at a Sage of which a role, a refusal and two faults withhold lists."""
    kept: list[Seen] = []

    def withhold(server: SandboxServer) -> None:
        only(server).permissions |= {"bank": "no_access"}

    def run() -> Seen:
        if not kept:
            kept.append(
                seen_with(
                    usual,
                    tmp_path_factory.mktemp("lacking"),
                    Fault(path="journals", what=401, times=None),
                    Fault(path="contacts", what=500, times=None),
                    Fault(path="sales_quick_entries", what=404, times=None),
                    prepare=withhold,
                )
            )
        return kept[0]

    return run


def test_a_401_for_one_list_spends_no_token_and_is_not_the_edition(lacking: Callable[[], Seen]) -> None:
    assert lacking().found["unanswered"] == {"401": ["journals"], "500": ["contacts"]}
    assert lacking().token_requests == 1


def test_a_reason_names_what_was_not_returned(lacking: Callable[[], Seen]) -> None:
    assert lacking().evidence("records.opt_ins") == "Not answered, or refused: contacts (500)."


def test_lists_that_are_not_returned_are_named_and_a_run_can_do_without_them(lacking: Callable[[], Seen]) -> None:
    assert lacking().exit_code == 0
    assert lacking().found["ready"]
    lists = "a list that Sage refuses and contacts (500); journals (401), which Sage did not answer"
    assert lacking().verdict.startswith(f"Ready to load, but for {lists}: a run reports what it misses. ")


def test_a_list_without_which_a_load_is_none_is_named(usual: bytes, tmp_path: Path) -> None:
    shown = seen_with(usual, tmp_path, Fault(path="ledger_accounts", what=500, times=None))
    assert shown.exit_code == 1
    assert shown.verdict.startswith("Not ready to load: Sage did not answer ledger_accounts (500). See status.sage.com")


def test_lists_that_are_refused_unforeseen_are_named(lacking: Callable[[], Seen]) -> None:
    assert "Refused (not offered here): sales_quick_entries" in lacking().text


def test_a_role_with_some_rights_is_named_with_what_it_lacks(lacking: Callable[[], Seen]) -> None:
    assert "Will refuse (needs rights in Bank): " in lacking().text


BOOKS = ("ledger_entries", "transactions", "contacts", "sales_invoices")


@pytest.mark.parametrize("ways", [(500, 503, "drop", 504), ("html", "no_items", "other_business", "cut")])
def test_books_that_are_not_returned_are_named_and_contradict_nothing(
    ways: tuple[int | str, ...], usual: bytes, tmp_path: Path
) -> None:
    faults = [Fault(path=name, what=what, times=None) for name, what in zip(BOOKS, ways, strict=True)]
    shown = seen_with(usual, tmp_path, *faults)
    assert shown.exit_code == 1
    assert shown.verdict.startswith("Not ready to load: Sage did not answer ")
    assert all(name in shown.verdict for name in BOOKS)
    assert shown.contradicted == ({"requests.echo"} if "other_business" in ways else set())
    assert shown.asked <= BUDGET


STOPS = [(what, skip) for what in ("drop", 429, 500) for skip in (4, 14, 30)]


@pytest.mark.parametrize(
    ("what", "skip"),
    [pytest.param(*each, marks=() if number % 4 == 0 else pytest.mark.slow) for number, each in enumerate(STOPS)],
)
def test_a_sage_that_stops_answering_cuts_the_look_short(
    what: int | str, skip: int, usual: bytes, tmp_path: Path
) -> None:
    shown = seen_with(usual, tmp_path, Fault(what=what, skip=skip, times=None))
    assert shown.exit_code == 1
    assert not shown.found["ready"]
    assert shown.found["requests"]["at_least"]
    table = r"^First load, at least +\d+ .*\nRun without changes, at least +\d"
    assert skip < STOPS[-1][1] or re.search(table, shown.text, re.MULTILINE)
    assert ", about " not in shown.text
    assert what != 429 or "(429)" in shown.found["problem"]
    assert shown.contradicted == set()
    assert shown.asked <= BUDGET


# Nothing is returned, or nothing may be read


def test_a_role_without_rights_is_said_in_words_and_contradicts_nothing(usual: bytes, tmp_path: Path) -> None:
    def withhold(server: SandboxServer) -> None:
        business = only(server)
        business.permissions = dict.fromkeys(business.permissions, "no_access")
        server.faults.add(Fault(business=business.id, what=403, times=None))

    shown = seen_with(usual, tmp_path, prepare=withhold)
    assert shown.exit_code == 1
    assert "Not ready to load: The user's role lets them read nothing." in shown.text
    assert "Will refuse (needs rights in Journals): journals, ledger_entries" in shown.text
    assert shown.contradicted == set()
    assert shown.verdicts["rights.edition"] == UNDECIDED


def test_rights_are_named_where_a_list_of_another_edition_is_refused_too(server: SandboxServer, tmp_path: Path) -> None:
    """A 401 for what the edition lacks is no sign of an ended trial."""
    for name in ("[!j]*", "journals"):
        server.faults.add(Fault(path=name, business=only(server).id, what=403, times=None))
    shown = see(server, tmp_path)
    assert shown.exit_code == 1
    assert "Not ready to load: The user's role lets them read nothing." in shown.text
    assert shown.statuses("journal_codes") == {401}


def test_a_business_whose_rights_are_not_returned_is_not_ready(usual: bytes, tmp_path: Path) -> None:
    shown = seen_with(usual, tmp_path, Fault(path="businesses/*", what=500, times=None))
    assert shown.exit_code == 1
    assert "Sage does not say what the user may read." in shown.verdict


@pytest.mark.parametrize("refusal", [401, 404])
def test_a_trial_that_is_over_is_said_in_words(refusal: int, server: SandboxServer, tmp_path: Path) -> None:
    server.faults.update({"edition_refusal": refusal})
    only(server).subscribed = False
    shown = see(server, tmp_path)
    assert shown.exit_code == 1
    assert "Not ready to load: Sage refuses its lists (401), as it does after a trial." in shown.text
    assert shown.token_requests == 1


def test_a_business_of_a_country_that_sage_does_not_serve_is_said_in_words(tmp_path: Path) -> None:
    shown = seen_with(made_world(plan=3), tmp_path)
    assert shown.exit_code == 1
    assert "Not ready to load: Sage serves this API for businesses in Canada, Ireland" in shown.text


def test_a_sage_out_of_order_is_said_in_words(server: SandboxServer, tmp_path: Path) -> None:
    server.faults.add(Fault(business=only(server).id, what="drop", times=None))
    shown = see(server, tmp_path)
    assert shown.exit_code == 1
    assert "Not ready to load: Sage answers nothing." in shown.text
    assert shown.asked <= BUDGET


def test_a_web_page_in_the_place_of_sage_says_what_to_do_at_once(usual: bytes, tmp_path: Path) -> None:
    shown = seen_with(usual, tmp_path, Fault(what="html", times=None, path="[!t]*"))
    assert shown.exit_code == 1
    assert "is a web page, perhaps of a proxy on the way" in shown.text
    assert "Log in to this network, or check its proxy. Nothing else was requested. Then look again." in shown.text
    assert shown.asked == 1


# Refusals for the number of requests


def test_a_run_of_refusals_for_their_number_is_said_in_words(server: SandboxServer, tmp_path: Path) -> None:
    server.faults.add(Fault(business=only(server).id, what=429, times=None))
    shown = see(server, tmp_path)
    assert shown.exit_code == 1
    assert "Not ready to load: Sage refuses requests for their number (429)." in shown.text
    assert shown.asked <= BUDGET


def test_some_refusals_for_their_number_are_waited_for(
    server: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(present(RequestGate.__init__.__kwdefaults__), "minute", 0.5)
    server.faults.update({"rate_limit": 20, "minute": 0.5, "retry_after": "fraction"})
    shown = see(server, tmp_path)
    assert shown.exit_code == 0, shown.text
    assert any(each.status == 429 for each in shown.requests)
    assert shown.asked <= BUDGET


@pytest.mark.parametrize("retry_after", [3600, 301])
def test_a_wait_that_is_longer_than_a_look_ends_it_with_a_verdict(
    retry_after: int, usual: bytes, tmp_path: Path
) -> None:
    fault = Fault(path="ledger_entries", what=429, times=None, retry_after=retry_after)
    shown = seen_with(usual, tmp_path, fault, patience=900)
    assert shown.exit_code == 1
    words = {3600: "60 minutes", 301: "5 minutes"}[retry_after]
    assert f"Sage asks to wait {words}, longer than a look may take." in shown.verdict
    assert "Sage refuses requests for their number (429)." in shown.verdict
    assert shown.contradicted == set()
    assert shown.statuses("ledger_entries") == {429}


def test_a_wait_within_the_time_of_a_look_is_not_bounded_by_patience(usual: bytes, tmp_path: Path) -> None:
    fault = Fault(path="ledger_entries", what=429, times=1, retry_after=1)
    shown = seen_with(usual, tmp_path, fault, patience=0)
    assert shown.exit_code == 0, shown.text
    assert shown.statuses("ledger_entries") == {200, 429}


# Nothing is waited for without a bound


def test_a_response_that_never_ends_is_given_up_and_reported(
    usual: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tap_sage_accounting.commands.doctor.command.MAX_RESPONSE_SECONDS", 2.0)
    monkeypatch.setattr(looker, "ANNOUNCED_AFTER", 0.2)
    shown = seen_with(usual, tmp_path, Fault(path="contacts", what="drip", seconds=0.1, times=None))
    assert shown.exit_code == 0
    assert "Ready to load, but for contacts (not in time), which Sage did not answer: " in shown.verdict
    assert "Waiting for Sage: contacts. A response may take 30 s." in caplog.text
    assert "contacts: the response was not complete within 2 s." in caplog.text
    assert sum(each.path == "/v3.1/contacts" for each in shown.requests) == 2  # and the one about an invented business


def test_a_look_ends_that_takes_too_long(
    server: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looker, "SECONDS_A_REQUEST", 0.01)
    server.faults.latency = 0.1
    shown = see(server, tmp_path)
    assert shown.exit_code == 1
    assert "The look was cut short: it took too long." in shown.text
    assert shown.asked < BUDGET


def test_a_look_that_is_too_slow_for_its_first_requests_is_a_line(
    usual: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looker, "SECONDS_A_REQUEST", 0.0)
    shown = seen_with(usual, tmp_path)
    assert shown.exit_code == 1
    assert shown.text == (
        "Sage does not list the user's businesses. The look was cut short: it took too long. Look again later.\n"
    )


# Void documents


def void(server: SandboxServer) -> None:
    """Date void invoices into a month that is over, and let entries of the same transactions reverse theirs."""
    business = only(server)
    rows = [
        row for row in business.collection("sales_invoices").rows.values() if row.render()["status"]["id"] == "VOID"
    ]
    for row in rows:
        row.change({"date": "2026-02-10"}, row.updated_at)
    transactions = {row.render()["transaction"]["id"] for row in rows}
    entries = business.collection("ledger_entries")
    flagged = [row for row in entries.rows.values() if row.render()["transaction"]["id"] in transactions]
    for number, row in enumerate(flagged):
        body = row.render()
        opposite = {**body, "id": f"{number:032x}", "debit": body["credit"], "credit": body["debit"], "deleted": False}
        entries.add(Row(opposite["id"], opposite, row.created_at, row.updated_at))


def test_entries_that_reverse_others_of_their_own_transaction_are_counted(usual: bytes, tmp_path: Path) -> None:
    """The ledger is added up in a month with a void document."""
    shown = seen_with(usual, tmp_path, prepare=void)
    assert shown.exit_code == 0
    assert "ledger.voids" in shown.contradicted
    evidence = shown.evidence("ledger.voids")
    assert re.match(r"Of (\d+) entries of a void document, (\d+) are flagged, and \2 reverse them; ", evidence)
    for name in ("trial_balance", "ledger_entries"):
        spans = [
            (each.params.get("from_date"), each.params.get("to_date"))
            for each in shown.requests
            if each.path == f"/v3.1/{name}"
        ]
        assert ("2026-02-01", "2026-02-28") in spans, name
