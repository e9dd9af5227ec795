"""Each fact that is assumed of Sage has a source, a place in the code and, where unknown, a switch."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import fields
from functools import cache
from pathlib import Path

from sage_sandbox.behaviour import Behaviour
from sage_sandbox.books import Conventions
from sage_sandbox.faults import Faults
from support.every import each
from support.scripts import load_script
from tap_sage_accounting.assumptions import GRADES, Assumption, assumptions

ROOT = Path(__file__).parents[2]
FACTS = assumptions()
SWITCHES = {each.name for kind in (Behaviour, Conventions) for each in fields(kind)}
TOPICS = "|".join(sorted({fact.topic for fact in FACTS.values()}))
ID = re.compile(rf"\((({TOPICS})\.[a-z_0-9]+)\)")
NOTED = re.compile(rf'"(({TOPICS})\.(?!sqlite")[a-z_0-9]+)"')
every_fact = each(FACTS.values(), lambda fact: fact.id)


@cache
def comments(module: Path) -> str:
    tokens = tokenize.generate_tokens(io.StringIO(module.read_text(encoding="utf-8")).readline)
    return "\n".join(token.string for token in tokens if token.type in (tokenize.COMMENT, tokenize.STRING))


def test_each_switch_of_how_sage_behaves_has_an_assumption() -> None:
    assert {switch for fact in FACTS.values() for switch in fact.switches} == SWITCHES


def test_what_goes_wrong_with_sage_is_no_assumption() -> None:
    troubles = {each.name for each in fields(Faults)} - {each.name for each in fields(Behaviour)}
    assert troubles >= {"script", "poison", "latency", "refuse_tokens"}
    assert troubles.isdisjoint(SWITCHES)


def test_each_unknown_assumption_has_a_switch() -> None:
    assert [fact.id for fact in FACTS.values() if fact.grade == "U" and not fact.switches] == []


@every_fact
def test_a_fact_is_whole(fact: Assumption) -> None:
    assert fact.grade in GRADES
    for text in (fact.statement, fact.source, fact.otherwise, fact.undecidable or "None."):
        assert text.endswith((".", "`"))
        assert all(len(sentence.split()) <= 22 for sentence in re.split(r"[.:;] ", text)), text


@every_fact
def test_code_that_relies_on_a_fact_names_it(fact: Assumption) -> None:
    for file in fact.code:
        if not file.endswith(".json"):
            assert f"({fact.id})" in comments(ROOT / file), file


def test_comments_name_facts_that_there_are() -> None:
    named = {
        found: str(module.relative_to(ROOT))
        for module in sorted((ROOT / "tap_sage_accounting").rglob("*.py"))
        for found, _ in ID.findall(comments(module))
    }
    assert named
    assert {found: module for found, module in named.items() if found not in FACTS} == {}


def test_what_a_run_counts_are_facts() -> None:
    sources = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "tap_sage_accounting").rglob("*.py")))
    noted = {found for source in sources for found, _ in NOTED.findall(source)}
    assert len(noted) > 10
    assert noted <= FACTS.keys()


def test_the_page_is_made_of_the_facts() -> None:
    build = load_script("build_assumptions")
    assert build.PAGE.read_text(encoding="utf-8") == build.page(), "run scripts/build_assumptions.py --write"
