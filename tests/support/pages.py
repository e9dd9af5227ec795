"""The pages of README and documentation, and the blocks of code on them, as they stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "packages").glob("*/README.md"),
        *(ROOT / "transform").glob("*.md"),
    )
    if page.is_file() and page.name != "CHANGELOG.md"
)
FENCE = re.compile(r"^ *(?:```|~~~)", re.MULTILINE)
BLOCK = re.compile(
    r"(?P<before>[^\n]*)\n"
    r"(?P<indent> *)```\{?\.?(?P<language>\w+)(?: +title=\"(?P<title>[^\"]+)\")?\}? *\n"
    r"(?P<text>.*?)\n"
    r"(?P=indent)``` *$",
    re.DOTALL | re.MULTILINE,
)
NOT_RUN = re.compile(r"<!-- not run: (\S.{5,}) -->")
RUN_BY = re.compile(r"<!-- run by (tests/\S+\.py) -->")
FRONT = {
    "README.md": {
        "python3 -m venv .uv && .uv/bin/pip install uv && .uv/bin/uv run": "it installs packages; .ci/newcomer runs it",
        ". .venv/bin/activate": "it opens a browser; the same commands are run from docs/start/sage.md",
        "meltano add --plugin-type extractor": "the same command is run from docs/platforms/meltano.md",
        "pip install": "it installs the tap; .ci/run installs the wheel",
    },
    "CLAUDE.md": {"": "it runs the tests, which run this"},
    "CONTRIBUTING.md": {"": "it runs the tests, which run this, or changes the clone"},
}
"""Beginnings of blocks that do not run here, and why, on pages that have no room for comments."""

QUERIES_RUN_BY = {
    "docs/models/": "tests/end_to_end/test_demo.py",
    "docs/questions.md": "tests/end_to_end/test_finance_models.py",
    "docs/uses/": "tests/end_to_end/test_finance_models.py",
}
"""Pages whose queries ask the finance models: tests that build them run those."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: that of its fence.
        not_run: why no test runs it; empty where one does.
        run_by: the test that runs it, where that is not the test of all pages.
    """

    page: Path
    line: int
    language: str
    title: str
    text: str
    not_run: str
    run_by: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def on(self) -> str:
        """The page, as the repository names it."""
        return self.page.relative_to(ROOT).as_posix()

    @property
    def is_elsewhere(self) -> bool:
        """Whether the test of all pages leaves this block out."""
        return bool(self.not_run or self.run_by)


def blocks_of(page: Path) -> list[Block]:
    """Read the blocks of a page, in their order."""
    content = page.read_text("utf-8")
    found = []
    for each in BLOCK.finditer(content):
        text = re.sub(rf"^{each['indent']}", "", each["text"], flags=re.MULTILINE)
        reason = NOT_RUN.search(each["before"])
        elsewhere = RUN_BY.search(each["before"])
        found.append(
            Block(
                page,
                content.count("\n", 0, each.start("language")) + 1,
                each["language"],
                each["title"] or "",
                text,
                reason[1] if reason else _reason_at_the_front(page, text),
                elsewhere[1] if elsewhere else _runner_of_queries(page, each["language"]),
            )
        )
    return found


def _reason_at_the_front(page: Path, text: str) -> str:
    reasons = FRONT.get(page.name, {}) if page.parent == ROOT else {}
    return next((reason for start, reason in reasons.items() if text.startswith(start)), "")


def _runner_of_queries(page: Path, language: str) -> str:
    name = page.relative_to(ROOT).as_posix()
    runners = (test for place, test in QUERIES_RUN_BY.items() if name.startswith(place))
    return next(runners, "") if language == "sql" else ""


@cache
def all_blocks() -> list[Block]:
    """Read the blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page)]


def chosen(language: str, title: str = "") -> list[Block]:
    """Return the blocks of a language, or those that have a title."""
    found = [block for block in all_blocks() if block.language == language and (not title or block.title == title)]
    assert found, f"{language} {title}"
    return found


def block_with(page: str, part: str) -> Block:
    """Return the one block of a page that has a part, so that a test runs what stands there."""
    found = [block for block in blocks_of(ROOT / page) if part in f"{block.text}\n"]
    assert len(found) == 1, f"{page} has {len(found)} blocks with {part!r}; a test runs the only one."
    return found[0]
