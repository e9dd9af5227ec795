"""Blocks of code on pages: each is run or says why not, and what configures something is well formed."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.pages import FENCE, FRONT, PAGES, QUERIES_RUN_BY, ROOT, all_blocks, blocks_of, chosen
from tap_sage_accounting.given_settings import unknown_settings, value_problems
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.pages import Block

    Content = dict[str, Any]

RUN = {"sh", "bash", "sql", "python"}
SHOWN = {"dockerfile", "json", "text", "toml", "yaml"}
PROJECT = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
PLUGINS = {plugin["name"]: plugin for kind in PROJECT["plugins"].values() for plugin in kind}
HINT = (
    "Let the block run: `sh` as it stands, `sql` on the streams' tables in Postgres. Else put a comment on the line"
    " before its fence: `<!-- not run: REASON -->`, or `<!-- run by tests/....py -->` where a test reads it there."
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_of_a_page_begins_or_ends_a_block_in_a_language_that_is_known(page: Any) -> None:
    blocks = blocks_of(page)
    assert len(FENCE.findall(page.read_text("utf-8"))) == 2 * len(blocks), "Write ```LANGUAGE, and close it with ```."
    assert {block.language for block in blocks} <= RUN | SHOWN


def test_every_block_that_could_run_does_or_says_why_not() -> None:
    """The test of all pages runs `sh` and `sql`; nothing runs the other languages by itself."""
    blocks = [block for block in all_blocks() if block.language in RUN - {"sh", "sql"}]
    assert [str(block) for block in blocks if not block.is_elsewhere] == [], HINT


def test_a_test_that_runs_a_block_exists_and_reads_it_from_the_page() -> None:
    for block in all_blocks():
        if block.run_by and block.language != "sql":
            assert f'{block.on}"' in text_of(block.run_by), f"{block.run_by} must take {block} with `block_with`."
    for test in QUERIES_RUN_BY.values():
        assert any(block.run_by == test for block in chosen("sql"))
        assert re.search(r"\bexamples\(\)|\bqueries\(", text_of(test))


def text_of(test: str) -> str:
    return (ROOT / test).read_text("utf-8") if (ROOT / test).is_file() else ""


def test_what_a_reason_names_exists() -> None:
    reasons = [block.not_run for block in all_blocks() if block.not_run]
    files = {name for reason in reasons for name in re.findall(r"[\w./-]*/[\w./-]*\w", reason)}
    assert len(reasons) > 20
    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []


def test_every_reason_at_the_front_is_in_use() -> None:
    for name, reasons in FRONT.items():
        texts = [block.text for block in blocks_of(ROOT / name)]
        assert [start for start in reasons if not any(text.startswith(start) for text in texts)] == [], name


# Configuration


def test_blocks_of_configuration_are_well_formed() -> None:
    read: dict[str, Callable[[str], object]] = {
        "json": json.loads,
        "yaml": lambda text: list(yaml.safe_load_all(text)),
        "toml": tomllib.loads,
        "python": ast.parse,
    }
    for block in all_blocks():
        if block.language in read and "--8<--" not in block.text:
            try:
                read[block.language](block.text)
            except (ValueError, SyntaxError, yaml.YAMLError) as error:
                pytest.fail(f"{block} is no {block.language}: {error}")


def test_examples_of_settings_are_settings_of_the_tap() -> None:
    examples = list(examples_of_settings())
    assert len(examples) >= 7
    schema = TapSageAccounting.config_jsonschema
    known = TapSageAccounting.known_settings()
    for block, settings in examples:
        whole = {"client_id": "mine", "client_secret": "mine", **settings}
        problems = unknown_settings(settings, known) + value_problems(whole, schema)
        assert problems == [], str(block)


def examples_of_settings() -> Iterator[tuple[Block, Content]]:
    for block in chosen("json"):
        content = json.loads(block.text)
        if block.title == "config.json" or content.keys() & {"stream_maps", "batch_config"}:
            yield block, content
    for block, kind, plugin in plugins_shown():
        if kind == "extractors" and "tap-sage-accounting" in (plugin["name"], plugin.get("inherit_from")):
            yield block, plugin.get("config", {})


def plugins_shown() -> Iterator[tuple[Block, str, Content]]:
    """Yield the definitions of plugins in parts of meltano.yml, in its environments too; other YAML has none."""
    for block in chosen("yaml"):
        for content in yaml.safe_load_all("" if "--8<--" in block.text else block.text):
            if not isinstance(content, dict):
                continue
            environments = [each.get("config", {}) for each in content.get("environments", [])]
            for part in (content, *environments):
                for kind, plugins in part.get("plugins", {}).items():
                    yield from ((block, kind, plugin) for plugin in plugins)


def test_settings_shown_of_other_plugins_are_those_of_the_project() -> None:
    shown = [(block, plugin) for block, kind, plugin in plugins_shown() if kind != "extractors"]
    assert shown
    for block, plugin in shown:
        known = PLUGINS.get(plugin.get("inherit_from", plugin["name"]))
        if known and "config" in plugin:
            declared = {setting["name"] for setting in known.get("settings", [])} | known.get("config", {}).keys()
            assert plugin["config"].keys() <= declared, str(block)


def test_selections_shown_name_streams_that_exist() -> None:
    streams = {stream.name for stream in STREAMS}
    rules = [
        (block, rule.lstrip("!").partition(".")[0])
        for block, _, plugin in plugins_shown()
        for rule in plugin.get("select", [])
    ]
    assert rules
    assert [(str(block), name) for block, name in rules if name not in {*streams, "*"}] == []


def test_variables_that_pages_name_are_settings() -> None:
    prefixes = {plugin.upper().replace("-", "_") for plugin in PLUGINS}
    settings = {
        f"{name.upper().replace('-', '_')}_{setting['name'].upper()}"
        for name, plugin in PLUGINS.items()
        for setting in plugin.get("settings", [])
    }
    own = {
        f"{name.upper().replace('-', '_')}_{setting.upper()}"
        for name in PLUGINS
        if name.startswith("tap-sage-accounting")
        for setting in TapSageAccounting.known_settings()
    }
    others = {"TAP_SAGE_ACCOUNTING_LOGLEVEL", *re.findall(r"\w+", (ROOT / "meltano.yml").read_text("utf-8"))}
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(prefixes, reverse=True))})_[A-Z][A-Z_]*[A-Z]\b")
    found = {(str(page.relative_to(ROOT)), name) for page in PAGES for name in pattern.findall(page.read_text("utf-8"))}
    assert len(found) > 30
    assert sorted(each for each in found if each[1] not in settings | own | others) == []
