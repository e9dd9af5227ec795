"""The doctor finds out how Sage behaves on an account, says it in words, and changes nothing."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from sage_sandbox.books import PLANS, Conventions, advance, build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Business
from sage_workbench.plain_books import plain_world
from support.presence import present
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.assumptions import assumptions
from tap_sage_accounting.commands.doctor.command import doctor
from tap_sage_accounting.commands.doctor.findings import experiments
from tap_sage_accounting.commands.doctor.looker import BUDGET, DEEP_BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from sage_sandbox.store import World
    from sage_workbench.runs import Run

    Look = Callable[..., dict[str, Any]]
    RunTap = Callable[..., Run]
    Shown = Callable[..., Result]

CONFIRMED, CONTRADICTED, UNDECIDED = "confirmed", "contradicted", "not decidable here"
FLIPS: dict[str, list[dict[str, Any]]] = {
    "requests.echo": [{"echo_business": False}],
    "requests.foreign_business": [{"foreign_business": 200}, {"foreign_business": 401}, {"foreign_business": 404}],
    "requests.compression": [{"gzip": True}],
    "requests.etags": [{"etags": True}],
    "requests.clock": [
        {"date_header": "absent"},
        {"date_header": "garbled"},
        {"date_header": "unset"},
        {"clock_offsets": [7200]},
        {"clock_offsets": [0, -300]},
    ],
    "tokens.access_lifetime": [{"access_token_lifetime": 3600}],
    "tokens.refresh_lifetime": [{"refresh_token_lifetime": 86_400}],
    "limits.headers": [{"limit_headers": True}],
    "pages.beyond_last": [{"beyond_last": "empty"}, {"beyond_last": "refused"}],
    "pages.total": [{"totals": False}],
    "pages.next": [{"next_present": False}],
    "pages.next_filters": [{"next_keeps_filters": True}],
    "pages.over_200": [{"items_per_page_over_200": "error"}],
    "pages.full": [{"short_pages": 7}],
    "pages.heavy": [{"big_pages": {"*": 100}}],
    "pages.sort": [{"sort": "ignored"}],
    "businesses.paged": [{"businesses_paged": False}],
    "businesses.size_key": [{"businesses_size_key": "$itemsPerPage"}],
    "businesses.attributes": [{"businesses_attributes": "honoured"}],
    "records.decimals": [{"decimals": "numbers"}],
    "records.last_paid": [{"last_paid": "iso"}],
    "records.times": [{"undated_before": "2100-01-01"}],
    "records.complete": [{"lists_in_full": False}],
    "records.detail_flags": [{"detail_flags_on_lists": True}],
    "records.opt_ins": [{"opt_ins": "shown"}],
    "records.object_ids": [{"object_ids": True}],
    "records.inactive": [{"inactive_items": "hidden"}],
    "changes.inclusive": [{"changed_since": "exclusive"}, {"changed_since": "ignored"}],
    "changes.fractions": [{"fractional_seconds": False}],
    "changes.with_deletions": [{"changed_and_deleted": "union"}],
    "deletions.content": [{"tombstones": "dated_id"}, {"tombstones": "flagged_id"}, {"tombstones": "id_only"}],
    "deletions.exclusive": [{"deleted_since": "inclusive"}, {"deleted_since": "ignored"}],
    "rights.edition": [{"edition_refusal": 404}],
    "rights.lists": [{"lists_without_offer": "empty"}],
    "rights.start_purchases": [{"start_has_purchases": True}],
    "ledger.voids": [{"voids": "reverse"}, {"voids": "both"}, {"flagged_entries": "hidden"}],
    "ledger.correction_origin": [{"correction_origin": False}],
    "ledger.contact_balance": [{"contact_balance": "contact"}],
    "ledger.trial_balance_net": [{"trial_balance": "gross"}],
    "ledger.trial_balance_ids": [{"trial_balance_ids": False}],
    "ledger.exchange_rate": [{"exchange_rates": "inverse"}],
}
"""What contradicts each assumption that looking can decide: switches of Sage's behaviour, or of its books."""
OF_BOOKS = {each.name for each in fields(Conventions)}
OF_START = {"rights.start_purchases"}
CASES = [pytest.param(each, way, id=f"{each}-{way}") for each, ways in FLIPS.items() for way in ways]


def made_world(plan: int = 0, **conventions: Any) -> bytes:
    """Books of one kind of business, in which records were made, changed, voided and deleted."""
    plans = [replace(PLANS[plan], conventions=Conventions(**conventions))]
    world = build_world(size="tiny", businesses=1, frozen=True, plans=plans)
    advance(world, days=20, seed=1)
    return pickle.dumps(world)


@pytest.fixture(scope="module")
def usual() -> bytes:
    return made_world()


@pytest.fixture(scope="module")
def start() -> bytes:
    return made_world(plan=2)


@pytest.fixture
def server(usual: bytes) -> Iterator[SandboxServer]:
    with SandboxServer(pickle.loads(usual)) as running:
        yield running


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Run the doctor on a simulated Sage; return what it prints for programs, of one business."""

    def run(server: SandboxServer, *options: str) -> dict[str, Any]:
        config = tmp_path / f"{server.api_url[-9:-5]}.json"
        store = f"sqlite:///{config.with_suffix('.sqlite')}"
        config.write_text(json.dumps(server.tap_config(token_store=store, patience=2)))
        result = CliRunner().invoke(doctor, ["--config", str(config), "--json", *options])
        assert result.exit_code in (0, 1), result.output
        found: list[dict[str, Any]] = json.loads(result.stdout)
        assert len(found) == 1
        return found[0]

    return run


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {each: says["verdict"] for each, says in found["assumptions"].items()}


# The experiments


def test_each_assumption_has_an_experiment_or_a_reason_for_none() -> None:
    facts = assumptions()
    assert experiments().keys() == {each for each, fact in facts.items() if not fact.undecidable}
    decidable = {each for each in experiments() if facts[each].switches}
    assert decidable == FLIPS.keys()
    for each, ways in FLIPS.items():
        assert {name for way in ways for name in way} == set(facts[each].switches), each


def test_nothing_is_contradicted_by_sage_as_it_is_thought_to_be(
    server: SandboxServer, start: bytes, look: Look
) -> None:
    found = verdicts(look(server))
    with SandboxServer(pickle.loads(start)) as small:
        found_on_start = verdicts(look(small))
    assert [each for each, says in (found | found_on_start).items() if says == CONTRADICTED] == []
    decided = {each for says in (found, found_on_start) for each in says if says[each] == CONFIRMED}
    assert decided == experiments().keys()


@pytest.mark.slow
@pytest.mark.parametrize(("assumption", "way"), CASES)
def test_what_sage_does_otherwise_is_found(
    assumption: str, way: dict[str, Any], usual: bytes, start: bytes, look: Look
) -> None:
    """That the same books confirm the assumption otherwise is the test above."""
    of_books = way.keys() <= OF_BOOKS
    world = made_world(**way) if of_books else start if assumption in OF_START else usual
    with SandboxServer(pickle.loads(world)) as server:
        if not of_books:
            server.faults.update(way)
        found = look(server)
        assert verdicts(found)[assumption] == CONTRADICTED, found["assumptions"][assumption]
        assert asked(server) <= BUDGET


def test_what_looking_cannot_decide_is_said_with_the_reason(server: SandboxServer, look: Look) -> None:
    found = look(server)["assumptions"]
    for each, fact in assumptions().items():
        if fact.undecidable:
            assert found[each] == {"verdict": UNDECIDED, "evidence": fact.undecidable}


# What a person sees


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """Run the doctor on a simulated Sage as a person does."""

    def run(server: SandboxServer, *options: str, **settings: Any) -> Result:
        config = tmp_path / "config.json"
        store = f"sqlite:///{tmp_path / 'tokens.sqlite'}"
        config.write_text(json.dumps(server.tap_config(token_store=store, patience=2, **settings)))
        return CliRunner().invoke(doctor, ["--config", str(config), *options])

    return run


def only(server: SandboxServer) -> Business:
    [business] = server.world.businesses.values()
    return business


def asked(server: SandboxServer) -> int:
    return sum(each.path.startswith("/v3.1") for each in server.requests)


def test_the_verdict_comes_first_and_lines_fit_a_terminal(server: SandboxServer, shown: Shown) -> None:
    server.faults.update({"decimals": "numbers", "tombstones": "id_only"})
    result = shown(server)
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert lines[1] == "Ready to load. Sage differs in 2 points from what was assumed: see below."
    assert max(map(len, lines)) <= 80
    assert "records.decimals: 0 are strings, and" in result.output
    assert "Then: The tap reads numbers exactly, too: nothing is rounded." in result.output
    assert re.search(r"^ledger_entries +[0-9,]{3,}$", result.output, re.MULTILINE)


def test_nothing_is_changed_and_no_token_is_spent(server: SandboxServer, shown: Shown) -> None:
    server.faults.detail_marks_sent = True
    business = only(server)
    before = {name: rows.version for name, rows in business.collections.items()}
    assert shown(server, "--deep").exit_code == 0
    assert {each.method for each in server.requests if each.path.startswith("/v3.1")} == {"GET"}
    assert {name: rows.version for name, rows in business.collections.items()} == before
    assert len([each for each in server.requests if each.path == "/token"]) == 1
    assert not server.grants.refusals


@pytest.mark.parametrize("businesses", [1, 300])
def test_a_look_takes_few_requests_however_many_businesses_there_are(
    businesses: int, usual: bytes, shown: Shown
) -> None:
    world: World = pickle.loads(usual)
    [first] = world.businesses.values()
    for number in range(1, businesses):
        other = f"{number:032x}"
        world.businesses[other] = empty_business(other)
    with SandboxServer(world) as server:
        result = shown(server)
        assert result.exit_code == 0, result.output
        assert 40 <= asked(server) <= BUDGET
        assert Counter(each.business for each in server.requests)[first.id] > 40
        deep = shown(server, "--deep")
        assert deep.exit_code == 0, deep.output
        assert asked(server) - BUDGET <= DEEP_BUDGET


def empty_business(business_id: str) -> Business:
    """Another business without books."""
    return Business(business_id, f"Business {business_id[-3:]}", "GB", "Plus", {"id": business_id}, {})


def test_other_businesses_are_looked_at_where_they_are_named(usual: bytes, shown: Shown) -> None:
    world: World = pickle.loads(usual)
    [first] = world.businesses.values()
    world.businesses["b" * 32] = empty_business("b" * 32)
    with SandboxServer(world) as server:
        result = shown(server, "--business", "b" * 32, "--business", first.id)
        assert result.output.index("b" * 32) < result.output.index(first.id)
        assert asked(server) <= 2 * BUDGET
        assert shown(server, business_ids=["b" * 32]).output.startswith(f"Business ({'b' * 32})")
        stranger = shown(server, "--business", "c" * 32)
        assert stranger.exit_code == 1
        assert "This user has no access to: " in stranger.output


def test_a_run_of_refusals_for_their_number_is_said_in_words(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(business=only(server).id, what=429, times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: Sage refuses requests for their number (429)." in result.output
    assert asked(server) <= BUDGET


def test_some_refusals_for_their_number_are_waited_for(
    server: SandboxServer, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(present(RequestGate.__init__.__kwdefaults__), "minute", 0.5)
    server.faults.update({"rate_limit": 20, "minute": 0.5, "retry_after": "fraction"})
    result = shown(server)
    assert result.exit_code == 0, result.output
    assert any(each.status == 429 for each in server.requests)
    assert asked(server) <= BUDGET


def test_a_wait_that_is_too_long_ends_the_look(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(path="ledger_entries", what=429, times=None, retry_after=3600))
    result = shown(server)
    assert result.exit_code == 1
    assert "It asks to wait 3600 s, longer than the setting 'patience' allows (2 s)." in result.output
    assert asked(server) <= BUDGET


def test_a_role_without_rights_is_said_in_words(server: SandboxServer, shown: Shown) -> None:
    business = only(server)
    business.permissions = dict.fromkeys(business.permissions, "no_access")
    server.faults.add(Fault(business=business.id, what=403, times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: The user's role lets them read nothing." in result.output
    assert "Will refuse (needs rights in Journals): journals, ledger_entries" in result.output


def test_a_role_with_some_rights_is_ready_and_what_it_lacks_is_named(server: SandboxServer, shown: Shown) -> None:
    business = only(server)
    business.permissions |= {"journals": "no_access"}
    result = shown(server)
    assert result.exit_code == 0
    assert "Will refuse (needs rights in Journals): journals, ledger_entries" in result.output


def test_an_edition_that_lacks_lists_is_ready(start: bytes, shown: Shown) -> None:
    with SandboxServer(pickle.loads(start)) as server:
        result = shown(server)
    assert result.exit_code == 0
    assert "Will refuse (not in Start): " in result.output


@pytest.mark.parametrize("refusal", [401, 404])
def test_a_trial_that_is_over_is_said_in_words(refusal: int, server: SandboxServer, shown: Shown) -> None:
    server.faults.update({"edition_refusal": refusal})
    business = only(server)
    business.subscribed = False
    result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: Sage refuses its lists (401), as it does after a trial." in result.output
    assert len([each for each in server.requests if each.path == "/token"]) == 1


def test_books_without_rows_are_ready_and_decide_little(shown: Shown) -> None:
    with SandboxServer(plain_world()) as server:
        result = shown(server)
    assert result.exit_code == 0, result.output
    assert "Ready to load, and empty: little can be found out about books without rows." in result.output
    assert CONTRADICTED not in result.output.replace("0 contradicted", "")


def test_a_dead_login_ends_the_look_with_what_to_do(server: SandboxServer, shown: Shown) -> None:
    result = shown(server, refresh_token="made-up")
    assert result.exit_code == 1
    assert "login" in result.output
    assert asked(server) == 0


def test_a_sage_out_of_order_is_said_in_words(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(business=only(server).id, what="drop", times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: Sage answers nothing." in result.output
    assert asked(server) <= BUDGET


def test_texts_of_sage_do_not_steer_the_terminal(server: SandboxServer, shown: Shown) -> None:
    business = only(server)
    business.body["displayed_as"] = business.name = "Acme\x1b[2J\nReady to load"
    result = shown(server)
    assert "\x1b" not in result.output
    assert "Acme\\x1b[2J\\nReady to load" in result.output


@pytest.mark.parametrize("start_date", ["2012-01-01", "2026-03-01"])
def test_the_estimate_is_what_runs_take(start_date: str, server: SandboxServer, shown: Shown, run_tap: RunTap) -> None:
    """The looks for the first posting are counted, and the months of a start that is near."""
    [found], state = json.loads(shown(server, "--deep", "--json", start_date=start_date).stdout), None
    estimate = found["requests"]
    for kind in ("first_load", "quiet_run"):
        server.requests.clear()
        run = run_tap(state=state, start_date=start_date)
        state = run.state
        assert run.error is None
        assert asked(server) == pytest.approx(estimate[kind], rel=0.06), kind


def test_attributes_that_the_schemas_lack_are_found(server: SandboxServer, look: Look) -> None:
    assert verdicts(look(server))["records.attributes"] == CONFIRMED
    for row in only(server).collection("products").rows.values():
        row.change({"carbon_footprint": "1.5"}, row.updated_at)
    only(server).collection("products").version += 1
    assert verdicts(look(server))["records.attributes"] == CONTRADICTED


def test_a_list_of_businesses_that_takes_no_attributes_is_requested_without(
    server: SandboxServer, shown: Shown
) -> None:
    server.faults.add(Fault(path="businesses", what=422, param="attributes", times=None))
    assert shown(server).exit_code == 0


def test_a_list_that_the_edition_lacks_shows_how_sage_refuses_it(shown: Shown) -> None:
    with SandboxServer(pickle.loads(made_world(plan=1))) as server:
        server.faults.edition_refusal = 404
        result = shown(server)
        assert "rights.edition: Sage answers 404, and does not speak of a subscription." in result.output
        assert {each.status for each in server.requests.of("stock_items")} == {404}
        assert not server.requests.of("journal_codes")


def test_rights_are_named_where_a_list_of_another_edition_is_refused_too(server: SandboxServer, shown: Shown) -> None:
    """A 401 for what the edition lacks is no sign of an ended trial."""
    business = only(server)
    for name in ("[!j]*", "journals"):
        server.faults.add(Fault(path=name, business=business.id, what=403, times=None))
    result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: The user's role lets them read nothing." in result.output
    assert {each.status for each in server.requests.of("journal_codes")} == {401}


def test_dates_of_another_form_are_found_and_the_attribute_is_named(server: SandboxServer, look: Look) -> None:
    assert verdicts(look(server))["records.dates"] == CONFIRMED
    rows = only(server).collection("sales_invoices")
    for row in rows.rows.values():
        row.change({"due_date": "31/07/2026"}, row.updated_at)
    rows.version += 1
    found = look(server)["assumptions"]["records.dates"]
    assert found["verdict"] == CONTRADICTED
    assert found["evidence"].endswith("others are in: sales_invoices.due_date.")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_no_books_contradict_by_chance_what_sage_keeps_to(
    seed: int, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(present(RequestGate.__init__.__kwdefaults__), "minute", 0.01)
    world = build_world(size="tiny", businesses=len(PLANS), frozen=True, seed=seed)
    advance(world, days=15, seed=seed)
    with SandboxServer(world) as server:
        for business in world.businesses.values():
            found = look(server, "--business", business.id)["assumptions"]
            wrong = {each: says for each, says in found.items() if says["verdict"] == CONTRADICTED}
            assert wrong == {}, (business.country, business.edition)


def test_a_business_of_a_country_that_sage_does_not_serve_is_said_in_words(shown: Shown) -> None:
    with SandboxServer(pickle.loads(made_world(plan=3))) as server:
        result = shown(server)
    assert result.exit_code == 1
    assert "Not ready to load: Sage serves this API for businesses in Canada, Ireland" in result.output


def test_lists_that_are_refused_unforeseen_are_part_of_the_verdict(server: SandboxServer, shown: Shown) -> None:
    server.faults.add(Fault(path="sales_quick_entries", what=404, times=None))
    result = shown(server)
    assert result.exit_code == 0
    assert result.output.splitlines()[1].startswith("Ready to load, but for a list that Sage refuses. ")
    assert "Refused (not offered here): sales_quick_entries" in result.output
