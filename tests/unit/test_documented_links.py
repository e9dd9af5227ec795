"""Pages read well in the repository and on the site: links lead somewhere, and no mark-up stands there raw."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import pytest

from support.pages import BLOCK, DOCS, PAGES, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)|<(?:img|a)\b[^>]* (?:src|href)=\"(?!\w+:)([^\"#]*)()\"")
HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
RAW = {
    "a snippet of MkDocs": r"-8<-",
    "an admonition of MkDocs": r"^ *(?:!!!|\?\?\?\+?) ",
    "an attribute list": r"\{:? ?[.#][\w -]+\}|\{: ",
    "a head of YAML": r"\A---\n",
    "a place that only the site fills": r"^<!-- generated",
    "an empty table": r"^\|[-:| ]+\|\n(?!\|)",
    "an empty section": r"^(#+) .*\n+(?=\1 )|^#+ .*\n*\Z",
}
"""What only a builder of sites understands, or leaves nothing to read."""


def prose(page: Path) -> str:
    """Return a page without its code."""
    return re.sub(r"`[^`\n]+`", "`code`", BLOCK.sub("\n```\n", page.read_text("utf-8")))


def links() -> Iterator[tuple[Path, Path, str]]:
    """Yield the links to files: the page, where it leads to, and the anchor there."""
    for page in PAGES:
        for found in LINK.finditer(prose(page)):
            place = found[1] or found[3] or ""
            yield page, (page.parent / place).resolve() if place else page, found[2] or ""


@cache
def anchors(page: Path, slug: Callable[[str], str], mark: str) -> set[str]:
    """Return the anchors that headings of a page get; those of equal headings are numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for _, heading in HEADING.findall(BLOCK.sub("", page.read_text("utf-8"))):
        name = slug(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", ""))
        found.add(f"{name}{mark}{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def slug_in_the_repository(heading: str) -> str:
    """Name a heading as GitHub and GitLab do."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def slug_on_the_site(heading: str) -> str:
    """Name a heading as Python-Markdown does."""
    text = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_mark_up_that_only_a_builder_of_sites_understands(page: Path) -> None:
    text = prose(page)
    assert [what for what, pattern in RAW.items() if re.search(pattern, text, flags=re.MULTILINE)] == []


def test_links_lead_to_files_of_the_repository() -> None:
    found = list(links())
    assert len(found) > 300
    assert [(str(page), str(target)) for page, target, _ in found if not target.exists()] == []


def test_anchors_are_the_same_in_the_repository_and_on_the_site() -> None:
    lost = [
        f"{page.relative_to(ROOT)} -> {target.relative_to(ROOT)}#{anchor}"
        for page, target, anchor in links()
        if anchor and target.suffix == ".md"
        for where in (anchors(target, slug_in_the_repository, "-"), anchors(target, slug_on_the_site, "_"))
        if anchor not in where
    ]
    assert lost == []


def test_what_a_page_shows_on_the_site_stands_there_as_a_link() -> None:
    shown = [
        (page, line)
        for page in DOCS.rglob("*.md")
        for line in page.read_text("utf-8").splitlines()
        if re.search(r"<!-- shown here.*-->$", line)
    ]
    assert len(shown) >= 8
    for page, line in shown:
        [(target, _, _, _)] = LINK.findall(line)
        assert (page.parent / target).resolve().is_file(), line
