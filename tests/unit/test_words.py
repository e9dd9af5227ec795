"""The words of documentation and code: plain, gender-neutral, and those of the glossary."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVOIDED = re.compile(r"\b(told|tells?|telling|whoever|mend(s|ed|ing)?|bec(ame|omes?) of|he|him|his)\b", re.IGNORECASE)
"""Words with a plainer one in their place: *report* or *say*, *anyone who*, *correct*, *outcome*, *they*."""
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "packages").glob("*/*.md"),
        *(ROOT / "transform").glob("*.md"),
    )
    if page.is_file()
)
CODE = ("benchmarks", "demo", "examples", "packages", "scripts", "tap_sage_accounting", "tests", "workbench")
"""Directories whose Python files keep to plain words in comments and texts."""
CONFIGURATION = sorted(
    path
    for pattern in ("*.toml", "*.y*ml", "examples/**/*.y*ml", "transform/**/*.sql", "transform/**/*.yml")
    for path in ROOT.glob(pattern)
    if not {"target", "dbt_packages"} & set(path.parts)
)
"""Files whose comments and descriptions people read."""
MODULES = sorted(path for directory in CODE for path in (ROOT / directory).rglob("*.py") if path != Path(__file__))


def prose(page: Path) -> str:
    """Return a page without what it quotes: code, output and messages."""
    text = re.sub(r"^ *```.*?^ *``` *$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]+`|<!--.*?-->", "", text, flags=re.DOTALL)


def texts(module: Path) -> str:
    """Return the comments of a module and its texts: messages and docstrings."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    tokens = tokenize.generate_tokens(io.StringIO(module.read_text()).readline)
    return "\n".join(token.string for token in tokens if token.type in kinds)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_written_in_plain_words(page: Path) -> None:
    assert [found[0] for found in AVOIDED.finditer(prose(page))] == []


def test_columns_are_described_in_plain_words() -> None:
    schemas = sorted((ROOT / "tap_sage_accounting" / "schemas").glob("*.json"))
    found = {schema.name: [word[0] for word in AVOIDED.finditer(schema.read_text())] for schema in schemas}
    assert len(schemas) > 80
    assert {schema: words for schema, words in found.items() if words} == {}


def test_comments_and_descriptions_of_configuration_and_models_are_written_in_plain_words() -> None:
    found = {
        str(path.relative_to(ROOT)): [word[0] for word in AVOIDED.finditer(path.read_text())] for path in CONFIGURATION
    }
    assert len(CONFIGURATION) > 80
    assert {path: words for path, words in found.items() if words} == {}


def test_comments_and_texts_of_code_are_written_in_plain_words() -> None:
    found = {str(module.relative_to(ROOT)): [word[0] for word in AVOIDED.finditer(texts(module))] for module in MODULES}
    assert MODULES
    assert {module: words for module, words in found.items() if words} == {}


def test_names_of_tests_are_made_of_plain_words() -> None:
    sources = [module.read_text() for module in MODULES if module.is_relative_to(ROOT / "tests")]
    names = [name for source in sources for name in re.findall(r"def test_(\w+)", source)]
    assert len(names) > 1000
    assert [name for name in names if AVOIDED.search(name.replace("_", " "))] == []
