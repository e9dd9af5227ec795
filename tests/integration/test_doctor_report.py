"""The report that may be shared holds no value of the books, whatever Sage sends."""

from __future__ import annotations

import json
import pickle
import random
import re
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sage_sandbox.books import advance, build_world
from sage_sandbox.server import SandboxServer
from sage_workbench.plain_books import plain_world
from support.doctors import Seen, see
from support.scripts import load_script
from tap_sage_accounting import schemas, timestamps
from tap_sage_accounting.api.exchange import Exchange, ExchangeClient
from tap_sage_accounting.commands.doctor.experiments.requests import ABOUT_LIMITS
from tap_sage_accounting.commands.doctor.look import Login, look_at
from tap_sage_accounting.commands.doctor.looker import BUDGET, Looker
from tap_sage_accounting.commands.doctor.report import markdown, report_of
from tap_sage_accounting.commands.doctor.shapes import new_names, shape_of
from tap_sage_accounting.commands.doctor.text import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from sage_sandbox.store import Body, World

MARK = "Zq7-secret"
AMOUNT = "7316"
"""Digits that no count and no status in these tests has."""
BUSINESS = "5ec2e7" + "0" * 26
EXAMPLES = 100
"""Looks at 20 to 40 hostile bodies each. Once, 3,900 were done: 100,000 bodies."""


# Books with marks


def marked(value: Any, name: str = "") -> Any:
    """Put a mark into every text that is no date, number, id or path, and other digits into every amount."""
    if isinstance(value, dict):
        return {key: marked(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [marked(each, name) for each in value]
    if not isinstance(value, str) or name in {"id", "$path", "date", "created_at", "updated_at"}:
        return value
    if re.fullmatch(r"-?\d+\.\d+", value):
        return f"{AMOUNT}.{value.rpartition('.')[2]}" if value.strip("-0.") else value
    return f"{MARK} {value}"


@pytest.fixture(scope="module")
def world() -> World:
    """Books whose every record has marks; what ledger and dates say is unmarked, and is searched for by its form."""
    world = build_world(size="tiny", businesses=1, frozen=True)
    advance(world, days=8, seed=1)
    [business] = world.businesses.values()
    for name, rows in business.collections.items():
        for row in (*rows.rows.values(), *rows.tombstones.values()):
            if name not in {"ledger_entries", "transactions"}:
                row._body = marked(row._body)
    for name, body in business.objects.items():
        business.objects[name] = marked(body)
    business.name = f"{MARK} Ltd"
    business.body = {**marked(business.body), **{key: business.body[key] for key in ("id", "country", "subscriptions")}}
    world.user = {**world.user, "displayed_as": MARK, "email": f"{MARK}@example.com"}
    return world


FORMS = {
    "an id": re.compile(r"\b[0-9a-f]{32}\b"),
    "a GUID": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-"),
    "a date": re.compile(r"\b(19|20)\d\d-\d\d-\d\d"),
    "a local date": re.compile(r"\b\d\d/\d\d/\d{4}\b"),
    "an amount": re.compile(r"\b\d{2,}\.\d\d?\b"),
    "an address": re.compile(r"https?://|@"),
}


def test_no_value_of_the_books_is_in_the_report(world: World, tmp_path: Path) -> None:
    with SandboxServer(world) as server:
        shown = see(server, tmp_path, "--deep", "--report", str(tmp_path))
        assert shown.exit_code == 0, shown.text
        secrets = server.issued_secrets | {server.client_id, server.client_secret, server.refresh_token}
    files = {name: (tmp_path / name).read_text() for name in ("doctor-report.md", "doctor-report.json")}
    assert MARK in shown.text.partition("# Report of the doctor")[0]  # the business's name, for its owner only
    for name, text in files.items():
        assert len(text) > 3_000
        assert not [secret for secret in (MARK, AMOUNT, *secrets) if secret.casefold() in text.casefold()], name
        bare = re.sub(r'"tap": "[^"]*"|^tap-sage-accounting .*$', "", text, flags=re.MULTILINE)
        assert {form: found[0] for form, pattern in FORMS.items() if (found := pattern.search(bare))} == {}, name
    report = json.loads(files["doctor-report.json"])
    assert report["businesses"][0]["lists"]["sales_invoices"]["attributes"]["contact_name"]["formats"] == ["text"]
    assert shown.text.index("# Report of the doctor") < shown.text.index("Nothing was sent. Read both")


def test_the_place_of_a_report_is_named_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Meltano, the working directory is the project's."""
    monkeypatch.chdir(tmp_path)
    with SandboxServer(plain_world()) as server:
        shown = see(server, tmp_path, "--report", ".")
    files = [f"  {tmp_path / name}" for name in ("doctor-report.md", "doctor-report.json")]
    written = shown.text.splitlines()
    written = written[written.index("Written:") :]
    assert written[1:3] == files
    assert written[3].startswith("Nothing was sent. Read both")
    assert max(map(len, written[3:])) <= 80
    assert "The API is at another address than Sage's." in shown.text
    assert " 0.0 s" not in shown.text


def test_a_report_that_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "doctor-report.md").mkdir()
    with SandboxServer(plain_world()) as server:
        shown = see(server, tmp_path, "--report", str(tmp_path))
    assert shown.exit_code == 1
    assert "The report cannot be written to" in shown.text


# What a maintainer does with it


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("compare_schemas")


@pytest.fixture(scope="module")
def books() -> bytes:
    world = build_world(size="tiny", businesses=2, frozen=True)
    advance(world, days=8, seed=1)
    return pickle.dumps(world)


SWITCHES = {
    "decimals": "numbers",
    "last_paid": "iso",
    "lists_in_full": False,
    "object_ids": True,
    "tombstones": "id_only",
}


@pytest.fixture(scope="module")
def reported(books: bytes, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Seen, Path]]:
    """Let the doctor write its report of a Sage that behaves as assumed, and of one that does not."""

    @cache
    def write(which: str) -> tuple[Seen, Path]:
        place = tmp_path_factory.mktemp(which)
        with SandboxServer(pickle.loads(books)) as server:
            businesses = [*server.world.businesses]
            if which == "switched":
                server.faults.update(SWITCHES)
                del businesses[1:]
            seen = see(server, place, "--report", str(place), *(f"--business={each}" for each in businesses))
            assert seen.exit_code == 0
        return seen, place / "doctor-report.json"

    return write


def test_a_report_that_is_missing_is_a_line(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"doctor-report\.json cannot be read: No such file or directory\."):
        script.main([str(tmp_path / "doctor-report.json")])


def test_a_report_of_what_the_schemas_know_shows_no_difference(
    script: ModuleType, reported: Callable[[str], tuple[Seen, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, file = reported("usual")
    assert len(json.loads(file.read_text())["businesses"]) == 2
    assert script.main([str(file)]) == 0, capsys.readouterr().out


def test_a_report_shows_attributes_that_the_schemas_lack_and_nothing_of_what_they_allow(
    script: ModuleType, reported: Callable[[str], tuple[Seen, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([str(reported("switched")[1])]) == 1
    shown = capsys.readouterr().out
    assert "financial_settings\n  new   id (string)\n" in shown
    assert {line for line in shown.splitlines() if line.startswith("  ")} == {"  new   id (string)"}


def test_a_report_shows_values_of_another_type(
    script: ModuleType, reported: Callable[[str], tuple[Seen, Path]]
) -> None:
    seen = json.loads(reported("usual")[1].read_text())
    attributes = seen["businesses"][0]["lists"]["contacts"]["attributes"]
    attributes["created_at"] = {"types": ["integer"]}
    attributes["credit_limit"] = {"types": ["string"], "formats": ["text"], "lengths": ["0 to 9"]}
    found = script.compare(script.Description.parse({"businesses": seen["businesses"][:1]}))
    assert [(each.stream, each.attribute, each.described) for each in found] == [
        ("contacts", "created_at", "integer|number"),
        ("contacts", "credit_limit", "string"),
    ]


# What is shown of names that the schemas do not know


def rows_with(*names: str) -> list[Body]:
    return [dict.fromkeys(names, "x") for _ in range(2)]


def test_a_new_attribute_is_named() -> None:
    known = schemas.load("contacts", ())["properties"]
    shape = shape_of([{"tax_discount_rate": "1.5", "main_address": {"payment_region": None}}] * 2, known)
    assert shape["tax_discount_rate"] == {
        "types": ["string"],
        "new": True,
        "formats": ["decimal"],
        "lengths": ["0 to 9"],
    }
    assert list(new_names(shape)) == ["main_address.payment_region", "tax_discount_rate"]


@pytest.mark.parametrize(
    "name",
    [
        "Acme Ltd",
        "wombatrix_score",
        "wombatrix",
        "payment_wombatrix",
        "tax__rate",
        "GB12BARC",
        "6fa4546e90412c8aab9e912c4f5cde3f",
        "jo@x.example",
        "",
        "été",
    ],
)
def test_names_that_look_like_values_are_counted_only(name: str) -> None:
    assert shape_of(rows_with(name), {}) == {"": 1}


def test_a_name_that_one_row_has_may_be_a_value() -> None:
    assert shape_of([{"acme": 1}, {"smith": 1}], {}) == {"": 2}


@pytest.mark.parametrize(
    "name", ["x-ratelimit-remaining", "ratelimit-reset", "x-rate-limit-limit-minute", "x-quota-user"]
)
def test_a_header_is_named_where_its_words_speak_of_limits(name: str) -> None:
    assert ABOUT_LIMITS.fullmatch(name)


@pytest.mark.parametrize("name", ["x-wombatrix-quota", "x-ratelimit-wombatrix", "x-request-wombatrix"])
def test_a_header_with_another_word_is_counted_only(name: str) -> None:
    assert not ABOUT_LIMITS.fullmatch(name)


def test_the_evidence_of_a_report_has_classes_and_no_counts(reported: Callable[[str], tuple[Seen, Path]]) -> None:
    seen, file = reported("switched")
    exact = seen.assumptions
    [shared] = [each["assumptions"] for each in json.loads(file.read_text())["businesses"]]
    assert re.fullmatch(r"0 are strings, and \d{3,} are numbers\.", exact["records.decimals"]["evidence"])
    assert shared["records.decimals"]["evidence"] == "0 are strings, and 200 to 1,999 are numbers."
    assert shared["deletions.content"]["evidence"].startswith("Of 1 to 19 deleted records, 0 come with")
    assert shared["records.times"]["evidence"] == "none of 20 to 199 rows have none."
    assert shared["ledger.ties"]["evidence"].endswith("entries; none of 20 to 199 accounts differ.")


# Hostile bodies


LISTS = ("sales_invoices", "contacts", "ledger_entries")
OWN_NAMES = sorted({name for each in LISTS for name in schemas.load(each, ())["properties"]})
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.builds(lambda n: int(f"{AMOUNT}{n}"), st.integers(0, 99)),
    st.builds(lambda n: f"{AMOUNT}.{n}", st.integers(0, 99)),
    st.builds(lambda text: f"{MARK}{text}", st.text(max_size=4)),
    st.sampled_from((f"/{MARK}", f"https://{MARK}", "2026-06-30T18:00:00Z", "2026-06-30", "", f"{MARK}@x")),
)
KEYS = st.one_of(
    st.sampled_from((*OWN_NAMES, "$path", "id", "currency", "contact")),
    st.builds(lambda text: f"{MARK}{text}", st.text(max_size=4)),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)
ENVELOPES = st.fixed_dictionaries(
    {"$items": st.one_of(st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=4), VALUES)},
    optional={
        "$total": st.one_of(st.integers(0, 60), VALUES),
        "$page": st.one_of(st.integers(0, 3), VALUES),
        "$next": VALUES,
        "$itemsPerPage": VALUES,
        "$items_per_page": VALUES,
    },
)
BODIES = st.lists(st.one_of(ENVELOPES, ENVELOPES, ENVELOPES, VALUES), min_size=20, max_size=40)


class HostileSage:
    """Responds to each request with one of some bodies."""

    def __init__(self, bodies: list[Any], seed: int) -> None:
        self._bodies = bodies
        self._chance = random.Random(seed)
        self.served = 0

    def give_up_token(self, exchange: Exchange, refusal: str) -> None:
        """Renew nothing."""

    def look(self, request: Any, _longest_wait: float) -> Exchange:
        self.served += 1
        body: Any = self._chance.choice(self._bodies)
        if request.path.startswith("/businesses/"):
            body = {"id": BUSINESS, "country": {"id": MARK}, "subscriptions": [{"id": MARK, "status": MARK}]}
        response = requests.Response()
        response.status_code = self._chance.choice((200, 200, 200, 200, 401, 403, 404, 500))
        response.headers[f"X-{MARK}"] = MARK
        response.headers[f"X-RateLimit-{MARK}"] = MARK
        response.headers["Date"] = MARK
        now = timestamps.now()
        return Exchange(response, json.dumps(body).encode(), now, now, cast("Any", None))


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(bodies=BODIES, seed=st.integers(0, 2**32))
def test_nothing_of_hostile_bodies_is_in_the_report(bodies: list[Any], seed: int) -> None:
    looker = Looker(cast("ExchangeClient", HostileSage(bodies, seed)), BUDGET)
    look = look_at(looker, (BUSINESS, MARK), Login((300.0, 2_678_400.0)), deep=bool(seed % 2))
    found = report_of([look], "1.0", "https://api.example.com/v3.1")
    for text in (json.dumps(found), markdown(found)):
        assert not [secret for secret in (MARK, AMOUNT, BUSINESS, "2026-06") if secret.casefold() in text.casefold()]
    assert list(lines_of(look))
