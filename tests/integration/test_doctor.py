"""The doctor finds out how Sage behaves on an account, says it in words, and changes nothing."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from sage_sandbox.books import PLANS, Conventions, advance, build_world
from sage_sandbox.faults import Fault
from sage_sandbox.server import SandboxServer
from sage_sandbox.store import Business
from sage_workbench.plain_books import plain_world
from support.doctors import CONFIRMED, CONTRADICTED, UNDECIDED, Seen, made_world, only, see, seen_with
from support.pages import DOCS
from support.presence import present
from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.assumptions import assumptions
from tap_sage_accounting.commands.doctor.command import doctor
from tap_sage_accounting.commands.doctor.findings import experiments
from tap_sage_accounting.commands.doctor.looker import BUDGET, DEEP_BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sage_sandbox.store import World
    from sage_workbench.runs import Run

    RunTap = Callable[..., Run]

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


@pytest.fixture(scope="module")
def usual() -> bytes:
    return made_world()


@pytest.fixture(scope="module")
def start() -> bytes:
    return made_world(plan=2)


@pytest.fixture
def tiny_world(usual: bytes, request: pytest.FixtureRequest) -> bytes:
    """The usual books, or those of businesses of some plans."""
    numbers = getattr(request, "param", ())
    plans = [PLANS[number] for number in numbers]
    return pickle.dumps(build_world(size="tiny", businesses=len(plans), frozen=True, plans=plans)) if plans else usual


@pytest.fixture(scope="module")
def seen(usual: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seen]:
    """Run the doctor once on a Sage that behaves as assumed, and once on each of two that do not."""
    kept: dict[str, Seen] = {}
    ways: dict[str, Callable[[Path], Seen]] = {
        "usual": lambda place: seen_with(usual, place),
        "start": lambda place: seen_with(start, place),
        "switched": lambda place: seen_with(usual, place, switches=SWITCHED),
        "odd": lambda place: seen_with(usual, place, TAKES_NO_ATTRIBUTES, prepare=odd),
    }

    def run(which: str) -> Seen:
        if which not in kept:
            kept[which] = ways[which](tmp_path_factory.mktemp(which))
        return kept[which]

    return run


# The experiments


def test_each_assumption_has_an_experiment_or_a_reason_for_none() -> None:
    facts = assumptions()
    assert experiments().keys() == {each for each, fact in facts.items() if not fact.undecidable}
    decidable = {each for each in experiments() if facts[each].switches}
    assert decidable == FLIPS.keys()
    for each, ways in FLIPS.items():
        assert {name for way in ways for name in way} == set(facts[each].switches), each


def test_nothing_is_contradicted_by_sage_as_it_is_thought_to_be(seen: Callable[[str], Seen]) -> None:
    assert seen("usual").contradicted | seen("start").contradicted == set()
    found = [*seen("usual").verdicts.items(), *seen("start").verdicts.items()]
    assert {each for each, says in found if says == CONFIRMED} == experiments().keys()


@pytest.mark.slow
@pytest.mark.parametrize(("assumption", "way"), CASES)
def test_what_sage_does_otherwise_is_found(
    assumption: str, way: dict[str, Any], usual: bytes, start: bytes, tmp_path: Path
) -> None:
    """That the same books confirm the assumption otherwise is the test above."""
    of_books = way.keys() <= OF_BOOKS
    world = made_world(**way) if of_books else start if assumption in OF_START else usual
    found = seen_with(world, tmp_path, switches=None if of_books else way)
    assert found.verdicts[assumption] == CONTRADICTED, found.assumptions[assumption]
    assert found.asked <= BUDGET


def test_what_looking_cannot_decide_is_said_with_the_reason(seen: Callable[[str], Seen]) -> None:
    found = seen("usual").assumptions
    for each, fact in assumptions().items():
        if fact.undecidable:
            assert found[each] == {"verdict": UNDECIDED, "evidence": fact.undecidable}


SWITCHED = {
    "decimals": "numbers",
    "tombstones": "flagged_id",
    "inactive_items": "unfiltered",
    "flagged_entries": "hidden",
    "foreign_business": 200,
}


def test_the_verdict_comes_first_and_lines_fit_a_terminal(seen: Callable[[str], Seen]) -> None:
    shown = seen("switched")
    lines = shown.text.splitlines()
    assert shown.exit_code == 0
    assert lines[1] == "Ready to load. Sage differs in 4 points from what was assumed: see below."
    assert max(map(len, lines)) <= 80
    assert "records.decimals: 0 are strings, and" in shown.text
    assert "Then: The tap reads numbers exactly, too: nothing is rounded." in shown.text
    assert re.search(r"^ledger_entries +[0-9,]{3,}$", shown.text, re.MULTILINE)


def test_a_flag_is_no_attribute_of_a_deleted_record(seen: Callable[[str], Seen]) -> None:
    evidence = seen("switched").evidence("deletions.content")
    assert ", 0 come with their attributes and 0 with `deleted_at`." in evidence


def test_a_filter_for_inactive_items_that_is_ignored_decides_nothing(seen: Callable[[str], Seen]) -> None:
    assert seen("switched").assumptions["records.inactive"] == {
        "verdict": UNDECIDED,
        "evidence": "The lists ignore the filter by what is active.",
    }


def test_void_entries_that_are_hidden_are_distinguished_from_an_empty_ledger(seen: Callable[[str], Seen]) -> None:
    evidence = seen("switched").evidence("ledger.voids")
    assert evidence == "The entries of a void document are not listed; those of another transaction are."


def test_a_business_that_sage_confuses_with_another_one_is_named(
    seen: Callable[[str], Seen], usual: bytes, tmp_path: Path
) -> None:
    invented = "An invented business gets a 200, and the response names"
    assert seen("switched").evidence("requests.foreign_business") == f"{invented} another business."
    silent = seen_with(usual, tmp_path, switches={"foreign_business": 200, "echo_business": False})
    assert silent.evidence("requests.foreign_business") == f"{invented} no business."


# Books that differ in ways that have no switch

WIDE = "株式会社" * 20
TAKES_NO_ATTRIBUTES = Fault(path="businesses", what=422, param="attributes", times=None)


def odd(server: SandboxServer) -> None:
    """Give a name that steers terminals and is wide, new attributes, and dates in another form."""
    business = only(server)
    business.body["displayed_as"] = business.name = f"Acme\x1b[2J\nReady to load {WIDE}"
    changes = {"products": {"wombatrix_score": "1.5"}, "sales_invoices": {"due_date": "31/07/2026"}}
    for name, change in changes.items():
        rows = business.collection(name)
        for row in rows.rows.values():
            row.change(change, row.updated_at)
        rows.version += 1


def test_texts_of_sage_do_not_steer_the_terminal(seen: Callable[[str], Seen]) -> None:
    text = seen("odd").text
    assert "\x1b" not in text
    assert text.startswith("Acme\\x1b[2J\\nReady to load ")


def test_names_in_wide_characters_fit_the_terminal(seen: Callable[[str], Seen]) -> None:
    lines = seen("odd").text.splitlines()
    assert max(len(line) + sum(each > "\u2e80" for each in line) for line in lines) <= 80
    assert WIDE in "".join(line.strip() for line in lines)


def test_attributes_that_the_schemas_lack_are_found(seen: Callable[[str], Seen]) -> None:
    assert seen("usual").verdicts["records.attributes"] == CONFIRMED
    assert seen("odd").verdicts["records.attributes"] == CONTRADICTED


def test_an_attribute_that_is_new_says_how_to_report_it(seen: Callable[[str], Seen]) -> None:
    assert "please report the names, which `--report` writes" in " ".join(seen("odd").text.split())
    assert "wombatrix" not in seen("odd").text


def test_dates_of_another_form_are_found_and_the_attribute_is_named(seen: Callable[[str], Seen]) -> None:
    assert seen("usual").verdicts["records.dates"] == CONFIRMED
    assert seen("odd").verdicts["records.dates"] == CONTRADICTED
    assert seen("odd").evidence("records.dates").endswith("others are in: sales_invoices.due_date.")


def test_a_list_of_businesses_that_takes_no_attributes_is_requested_without(seen: Callable[[str], Seen]) -> None:
    assert seen("odd").statuses("businesses") == {200, 422}
    assert seen("odd").exit_code == 0


def test_an_edition_that_lacks_lists_is_ready(seen: Callable[[str], Seen]) -> None:
    assert seen("start").exit_code == 0
    assert "Will refuse (not in Start): " in seen("start").text


def test_a_list_that_the_edition_lacks_shows_how_sage_refuses_it(tmp_path: Path) -> None:
    shown = seen_with(made_world(plan=1), tmp_path, switches={"edition_refusal": 404})
    assert "rights.edition: Sage answers 404, and does not speak of a subscription." in shown.text
    assert shown.statuses("stock_items") == {404}
    assert not shown.statuses("journal_codes")


def test_books_without_rows_are_ready_and_decide_little(tmp_path: Path) -> None:
    shown = seen_with(plain_world(), tmp_path)
    assert shown.exit_code == 0, shown.text
    assert "Ready to load, and empty: little can be found out about books without rows." in shown.text
    assert shown.contradicted == set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_no_books_contradict_by_chance_what_sage_keeps_to(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(present(RequestGate.__init__.__kwdefaults__), "minute", 0.01)
    world = build_world(size="tiny", businesses=len(PLANS), frozen=True, seed=seed)
    advance(world, days=15, seed=seed)
    with SandboxServer(world) as server:
        for business in world.businesses.values():
            found = see(server, tmp_path, "--business", business.id)
            assert found.contradicted == set(), (business.country, business.edition)


# What a look takes


def counted(server: SandboxServer, run_tap: RunTap, state: dict[str, Any] | None = None, **settings: Any) -> Run:
    """Run the tap, and keep only the requests of that run."""
    server.requests.clear()
    run = run_tap(state=state, **settings)
    assert run.error is None
    return run


def asked(server: SandboxServer) -> int:
    return sum(each.path.startswith("/v3.1") for each in server.requests)


def check_estimate(server: SandboxServer, directory: Path, run_tap: RunTap, within: int = 0) -> None:
    """Compare the last table of a look at all businesses with runs.

    A second run may read a list again whose rows changed at one moment; the third one does not.
    """
    shown = see(server, directory, *(f"--business={each}" for each in server.world.businesses))
    first, quiet = (
        int(re.findall(rf"^{title}, about +(\d+) ", shown.text, re.MULTILINE)[-1])
        for title in ("First load", "Run without changes")
    )
    run = counted(server, run_tap)
    assert asked(server) == first
    run = counted(server, run_tap, run.state)
    assert asked(server) == pytest.approx(quiet, abs=2 * len(server.world.businesses))
    counted(server, run_tap, run.state)
    assert asked(server) == pytest.approx(quiet, abs=within)


def test_the_estimate_is_what_runs_take(server: SandboxServer, tmp_path: Path, run_tap: RunTap) -> None:
    check_estimate(server, tmp_path, run_tap)


@pytest.mark.slow
@pytest.mark.parametrize("tiny_world", [(1,), (2,), (0, 1, 2)], ids=["IE Standard", "CA Start", "all"], indirect=True)
def test_the_estimate_has_the_lists_that_country_and_edition_lack(
    server: SandboxServer, tmp_path: Path, run_tap: RunTap
) -> None:
    check_estimate(server, tmp_path, run_tap)


@pytest.mark.slow
@pytest.mark.parametrize("area", ["contacts", "journals"])
def test_the_estimate_has_the_lists_that_the_role_lacks(
    area: str, server: SandboxServer, tmp_path: Path, run_tap: RunTap
) -> None:
    only(server).permissions |= {area: "no_access"}
    check_estimate(server, tmp_path, run_tap, within=1)


def test_the_estimate_has_the_lists_that_sage_refuses_unforeseen(
    server: SandboxServer, tmp_path: Path, run_tap: RunTap
) -> None:
    for path in ("stock_items", "contact_payments", "sales_quick_entries"):
        server.faults.add(Fault(path=path, what=404, times=None))
    check_estimate(server, tmp_path, run_tap)


@pytest.mark.parametrize("tiny_world", [pickle.dumps(plain_world())], ids=["empty"])
def test_the_estimate_has_the_looks_for_the_first_posting_since_a_start_that_is_far(
    server: SandboxServer, tmp_path: Path, run_tap: RunTap
) -> None:
    estimate = see(server, tmp_path, "--deep", start_date="2024-09-01").found["requests"]
    counted(server, run_tap, start_date="2024-09-01")
    assert asked(server) == estimate["first_load"]


def test_the_estimate_has_the_files_of_attachments_where_runs_fetch_them(
    server: SandboxServer, tmp_path: Path, run_tap: RunTap
) -> None:
    url = f"file://{tmp_path / 'files'}"
    estimate = see(server, tmp_path, "--deep", attachments_url=url).found["requests"]
    counted(server, run_tap, attachments_url=url)
    assert asked(server) == estimate["first_load"]


@pytest.mark.parametrize("tiny_world", [pickle.dumps(plain_world(2))], ids=["empty"])
def test_the_total_of_several_businesses_is_what_runs_take(
    server: SandboxServer, tmp_path: Path, run_tap: RunTap
) -> None:
    """With a start that is near: its months are read without a look for the first posting."""
    every = [f"--business={each}" for each in server.world.businesses]
    shown = see(server, tmp_path, "--deep", *every, start_date="2026-03-01")
    [total] = re.findall(r"^A run of all 2 businesses:\n.*\nFirst load, about +(\d+) ", shown.text, re.MULTILINE)
    counted(server, run_tap, start_date="2026-03-01")
    assert asked(server) == int(total)


def test_programs_get_what_people_see(tmp_path: Path) -> None:
    with SandboxServer(plain_world()) as server:
        seen = see(server, tmp_path)
        again = CliRunner().invoke(doctor, ["--config", str(tmp_path / "config.json"), "--json"])
    for limit, minutes in seen.found["minutes"]["first_load"].items():
        assert re.search(rf"at {limit}/min", seen.text)
        assert re.search(rf"^First load, about .* {minutes} min", seen.text, re.MULTILINE)
    assert "GB, Plus (paying)" in seen.text
    assert (seen.found["access"]["country"], seen.found["access"]["subscription"]) == ("GB", "Plus (paying)")
    assert seen.found["access"]["rights"]["Journals"] == "full_access"
    page = (DOCS / "start" / "first-hour.md").read_text()
    described = page.partition("### For programs\n")[2].partition("\n### ")[0]
    keys = " ".join(re.findall(r"^\| (`[^|]*)\|", described, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", keys)) == seen.found.keys()
    times = re.compile(r"[0-9.]+ s")
    assert times.sub("", json.dumps(json.loads(again.stdout))) == times.sub("", json.dumps(seen.looks))


def empty_business(business_id: str) -> Business:
    """Another business without books."""
    return Business(business_id, f"Business {business_id[-3:]}", "GB", "Plus", {"id": business_id}, {})


@pytest.fixture
def many(usual: bytes) -> Iterator[SandboxServer]:
    """A Sage with 300 businesses, of which the first has books."""
    world: World = pickle.loads(usual)
    for number in range(1, 300):
        other = f"{number:032x}"
        world.businesses[other] = empty_business(other)
    with SandboxServer(world) as running:
        yield running


def test_a_look_takes_few_requests_however_many_businesses_there_are(many: SandboxServer, tmp_path: Path) -> None:
    shown = see(many, tmp_path)
    first, second, *_ = many.world.businesses
    assert shown.exit_code == 0, shown.text
    assert 40 <= shown.asked <= BUDGET
    assert Counter(each.business for each in shown.requests)[first] > 40
    assert "1 of 300 businesses that a run reads; `--business` looks at others." in shown.text
    estimate = shown.found["requests"]["first_load"]
    assert "\nA run of all 300 businesses, if the others are like this one:\n" in shown.text
    assert re.search(rf"^First load, about +{2 + 300 * (estimate - 2):,} ", shown.text, re.MULTILINE)
    assert re.search(r"^Run without changes, about +\d", shown.text, re.MULTILINE)
    assert "1 of 2 businesses that a run reads" in see(many, tmp_path, business_ids=[second, first]).text


def test_nothing_is_changed_and_no_token_is_spent(many: SandboxServer, tmp_path: Path) -> None:
    many.faults.detail_marks_sent = True
    business = next(iter(many.world.businesses.values()))
    before = {name: rows.version for name, rows in business.collections.items()}
    shown = see(many, tmp_path, "--deep")
    assert shown.exit_code == 0
    assert shown.asked <= DEEP_BUDGET
    assert {each.method for each in shown.requests if each.path.startswith("/v3.1")} == {"GET"}
    assert {name: rows.version for name, rows in business.collections.items()} == before
    assert shown.token_requests == 1
    assert not many.grants.refusals


def test_other_businesses_are_looked_at_where_they_are_named(tmp_path: Path) -> None:
    world = plain_world(3)
    first, second, third = world.businesses
    with SandboxServer(world) as server:
        shown = see(server, tmp_path, "--business", third, "--business", second)
        assert shown.text.index(third) < shown.text.index(second)
        assert first not in shown.text
        assert shown.asked <= 2 * BUDGET
        assert "1 of 3 businesses" not in shown.text
        assert f"\n\nBusiness 2 ({second})\n" in shown.text
        assert "A run of all 3 businesses, if the others are like these:" in shown.text
        assert see(server, tmp_path, business_ids=[third]).text.startswith(f"Business 3 ({third})")
        stranger = see(server, tmp_path, "--business", "c" * 32)
        assert stranger.exit_code == 1
        assert "This user has no access to: " in stranger.text
