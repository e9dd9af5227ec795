"""The doctor's verdict follows from what Sage answered: what is refused, late or lost is evidence of nothing."""

from __future__ import annotations

import json
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from sage_sandbox.books import PLANS, advance, build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Business, Row
from tap_sage_accounting.commands.doctor import looker
from tap_sage_accounting.commands.doctor.command import doctor
from tap_sage_accounting.commands.doctor.looker import BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    Shown = Callable[..., Result]

BOOKS = ("ledger_entries", "transactions", "contacts", "sales_invoices")


@pytest.fixture(scope="module")
def usual() -> bytes:
    world = build_world(size="tiny", businesses=1, frozen=True, plans=[PLANS[0]])
    advance(world, days=20, seed=1)
    return pickle.dumps(world)


@pytest.fixture
def server(usual: bytes) -> Iterator[SandboxServer]:
    with SandboxServer(pickle.loads(usual)) as running:
        yield running


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """Run the doctor on a simulated Sage as a person does."""

    def run(server: SandboxServer, *options: str, **settings: Any) -> Result:
        config = tmp_path / "config.json"
        store = f"sqlite:///{tmp_path / 'tokens.sqlite'}"
        config.write_text(json.dumps(server.tap_config(token_store=store, patience=2, **settings)))
        return CliRunner().invoke(doctor, ["--config", str(config), *options])

    return run


def facts(result: Result) -> dict[str, Any]:
    [found] = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def contradicted(found: dict[str, Any]) -> set[str]:
    return {each for each, says in found["assumptions"].items() if says["verdict"] == "contradicted"}


def only(server: SandboxServer) -> Business:
    [business] = server.world.businesses.values()
    return business


def asked(server: SandboxServer) -> int:
    return sum(each.path.startswith("/v3.1") for each in server.requests)


def second_line(result: Result) -> str:
    return " ".join(result.stdout.partition("\n\n")[0].splitlines()[1:])


# What is answered otherwise is no reason not to be ready


def test_lists_that_do_not_count_their_rows_are_ready(server: SandboxServer, shown: Shown) -> None:
    server.faults.totals = False
    result = shown(server)
    assert result.exit_code == 0, result.output
    assert second_line(result) == "Ready to load. Sage differs in 1 point from what was assumed: see below."
    assert "Sage does not count the rows of its lists. It takes the requests below at least." in result.stdout
    assert "pages.total: 6 of 6 lists with rows have no `$total`." in result.stdout
    assert "First load, about" in result.stdout


def test_filters_that_are_ignored_are_found_without_a_count_of_rows(server: SandboxServer, shown: Shown) -> None:
    server.faults.update({"totals": False, "deleted_since": "ignored"})
    assert contradicted(facts(shown(server, "--json"))) == {"pages.total", "deletions.exclusive"}


def test_an_access_token_that_dies_early_is_renewed(server: SandboxServer, shown: Shown) -> None:
    server.faults.token_uses = 9
    result = shown(server, "--json")
    found = facts(result)
    assert result.exit_code == 0
    assert found["ready"]
    assert contradicted(found) == set()
    assert found["refused"] == found["unanswered"] == {}
    assert {"ledger_entries", "contacts", "journals"} <= found["rows"].keys()
    assert asked(server) <= BUDGET
    assert not server.grants.refusals


def test_a_token_that_sage_refuses_always_ends_the_look(server: SandboxServer, shown: Shown) -> None:
    server.faults.refuse_tokens = True
    result = shown(server)
    assert result.exit_code == 1
    assert "Sage accepts no access token" in result.output
    assert "denied.." not in result.output


def test_a_401_for_one_list_spends_no_token_and_is_not_the_edition(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(path="journals", what=401, times=None))
    result = shown(server, "--json")
    assert facts(result)["unanswered"] == {"401": ["journals"]}
    assert result.exit_code == 1
    assert len([each for each in server.requests if each.path == "/token"]) == 1


# What is not answered is evidence of nothing


@pytest.mark.parametrize("what", [500, 503, "drop", "html", "no_items", "other_business", "cut"])
def test_a_ledger_that_is_not_answered_is_named(what: int | str, server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(path="ledger_entries", what=what, times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert second_line(result).startswith("Not ready to load: Sage did not answer ledger_entries (")
    assert "Sage differs" not in result.stdout.replace("requests.echo", "") or what == "other_business"
    assert asked(server) <= BUDGET


@pytest.mark.parametrize("skip", [4, 14, 30])
@pytest.mark.parametrize("what", ["drop", 429, 500])
def test_a_sage_that_stops_answering_cuts_the_look_short(
    what: int | str, skip: int, server: SandboxServer, shown: Shown
) -> None:
    server.faults.add(Fault(what=what, skip=skip, times=None))
    result = shown(server, "--json")
    found = facts(result)
    assert result.exit_code == 1
    assert not found["ready"]
    assert what != 429 or "(429)" in found["problem"]
    assert contradicted(found) == set()
    assert asked(server) <= BUDGET


def test_lists_that_fail_contradict_nothing(server: SandboxServer, shown: Shown) -> None:
    for name in BOOKS:
        server.faults.add(Fault(path=name, what=500, times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: Sage did not answer" in second_line(result)
    assert all(name in second_line(result) for name in BOOKS)
    assert "Sage differs" not in result.stdout


def test_a_role_that_reads_nothing_contradicts_nothing(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(business=only(server).id, what=403, times=None))
    found = facts(shown(server, "--json"))
    assert contradicted(found) == set()
    assert found["assumptions"]["rights.edition"]["verdict"] == "not decidable here"


def test_rights_that_are_not_answered_are_no_readiness(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(path="businesses/*", what=500, times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert "Sage does not say what the user may read." in second_line(result)


def test_a_reason_names_what_was_not_answered(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(path="contacts", what=500, times=None))
    found = facts(shown(server, "--json"))["assumptions"]
    assert found["records.opt_ins"]["evidence"] == "Not answered, or refused: contacts (500)."


# Nothing is waited for without a bound


def test_an_answer_that_never_ends_is_given_up_and_said_so(
    server: SandboxServer, shown: Shown, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tap_sage_accounting.commands.doctor.command.LONGEST_ANSWER", 2.0)
    monkeypatch.setattr(looker, "ANNOUNCED_AFTER", 0.2)
    server.faults.add(Fault(path="contacts", what="drip", seconds=0.1, times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: Sage did not answer contacts (not in time)." in second_line(result)
    assert "Waiting for Sage: contacts. An answer may take 30 s." in caplog.text
    assert "contacts: the answer was not complete within 2 s." in caplog.text
    assert len(server.requests.of("contacts")) == 2  # and the one about an invented business


def test_a_look_ends_that_takes_too_long(server: SandboxServer, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looker, "SECONDS_A_REQUEST", 0.01)
    server.faults.latency = 0.1
    result = shown(server)
    assert result.exit_code == 1
    assert "The look was cut short: it took too long." in result.stdout + result.stderr
    assert asked(server) < BUDGET


def test_a_look_that_is_too_slow_for_its_first_requests_is_a_line(
    server: SandboxServer, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looker, "SECONDS_A_REQUEST", 0.0)
    result = shown(server)
    assert result.exit_code == 1
    assert result.output == (
        "Sage does not list the user's businesses. The look was cut short: it took too long. Look again later.\n"
    )


def test_a_web_page_in_the_place_of_sage_says_what_to_do_at_once(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(what="html", times=None, path="[!t]*"))
    result = shown(server)
    assert result.exit_code == 1
    assert "is a web page, perhaps of a proxy on the way" in result.output
    assert "Log in to this network, or check its proxy. Nothing else was asked. Then look again." in result.output
    assert asked(server) == 1


# What is found out


def test_a_flag_is_no_attribute_of_a_deleted_record(server: SandboxServer, shown: Shown) -> None:
    server.faults.tombstones = "flagged_id"
    evidence = facts(shown(server, "--json"))["assumptions"]["deletions.content"]["evidence"]
    assert ", 0 come with their attributes and 0 with `deleted_at`." in evidence


def test_a_filter_for_inactive_items_that_is_ignored_decides_nothing(server: SandboxServer, shown: Shown) -> None:
    server.faults.inactive_items = "unfiltered"
    found = facts(shown(server, "--json"))["assumptions"]["records.inactive"]
    assert found == {
        "verdict": "not decidable here",
        "evidence": "The lists ignore the filter by what is active.",
    }


def test_void_entries_that_are_hidden_are_told_from_a_ledger_that_is_empty(server: SandboxServer, shown: Shown) -> None:
    server.faults.flagged_entries = "hidden"
    evidence = facts(shown(server, "--json"))["assumptions"]["ledger.voids"]["evidence"]
    assert evidence == "The entries of a void document are not listed; those of another transaction are."


def test_entries_that_reverse_others_of_their_own_transaction_are_counted(server: SandboxServer, shown: Shown) -> None:
    business = only(server)
    invoices = [row.render() for row in business.collection("sales_invoices").rows.values()]
    void = {body["transaction"]["id"] for body in invoices if body["status"]["id"] == "VOID"}
    entries = business.collection("ledger_entries")
    flagged = [row for row in entries.rows.values() if row.render()["transaction"]["id"] in void]
    for number, row in enumerate(flagged):
        body = row.render()
        opposite = {**body, "id": f"{number:032x}", "debit": body["credit"], "credit": body["debit"], "deleted": False}
        entries.add(Row(opposite["id"], opposite, row.created_at, row.updated_at))
    found = facts(shown(server, "--json"))["assumptions"]["ledger.voids"]
    assert found["verdict"] == "contradicted"
    assert re.match(r"Of (\d+) entries of a void document, (\d+) are flagged, and \2 reverse them; ", found["evidence"])


def test_the_ledger_is_added_up_in_a_month_with_a_void_document(server: SandboxServer, shown: Shown) -> None:
    for row in only(server).collection("sales_invoices").rows.values():
        if row.render()["status"]["id"] == "VOID":
            row.change({"date": "2026-02-10"}, row.updated_at)
    assert shown(server).exit_code == 0
    for name in ("trial_balance", "ledger_entries"):
        spans = [(each.params.get("from_date"), each.params.get("to_date")) for each in server.requests.of(name)]
        assert ("2026-02-01", "2026-02-28") in spans, name


def test_a_business_that_is_answered_for_another_one_is_named(server: SandboxServer, shown: Shown) -> None:
    server.faults.foreign_business = 200
    found = facts(shown(server, "--json"))["assumptions"]["requests.foreign_business"]
    assert found["evidence"] == "An invented business is answered with 200, and the answer names another business."
    server.faults.echo_business = False
    found = facts(shown(server, "--json"))["assumptions"]["requests.foreign_business"]
    assert found["evidence"] == "An invented business is answered with 200, and the answer names no business."


# What a person sees


def test_the_number_of_businesses_is_said(usual: bytes, shown: Shown) -> None:
    world = pickle.loads(usual)
    for number in range(1, 300):
        other = f"{number:032x}"
        world.businesses[other] = Business(other, f"Business {number}", "GB", "Plus", {"id": other}, {})
    with SandboxServer(world) as server:
        result = shown(server)
        assert "1 of 300 businesses that a run reads; `--business` looks at others." in result.stdout
        named = shown(server, business_ids=[next(iter(world.businesses)), "1".zfill(32)])
        assert "1 of 2 businesses that a run reads" in named.stdout


def test_names_in_wide_characters_fit_the_terminal(server: SandboxServer, shown: Shown) -> None:
    business = only(server)
    business.body["displayed_as"] = business.name = "株式会社" * 20
    result = shown(server)
    lines = result.stdout.splitlines()
    assert max(len(line) + sum(each > "\u2e80" for each in line) for line in lines) <= 80
    assert business.name in "".join(line.strip() for line in lines)


def test_an_attribute_that_is_new_says_how_to_report_it(server: SandboxServer, shown: Shown) -> None:
    for row in only(server).collection("products").rows.values():
        row.change({"wombatrix_score": "1.5"}, row.updated_at)
    only(server).collection("products").version += 1
    result = shown(server)
    assert "please report the names, which `--report` writes" in " ".join(result.stdout.split())
    assert "wombatrix" not in result.stdout
