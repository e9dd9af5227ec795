"""Let the site's search find a message by its words, and a page by the words that people use.

MkDocs loads this file as a hook (see mkdocs.yml). Each message of *Troubleshooting* is an entry of its own in the
search, with what it means, and a place on the page that the entry leads to.
"""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

MESSAGES = "operations/troubleshooting.md"
ROW = re.compile(r"<tr>\s*<td[^>]*>(.*?)</td>(.*?)</tr>", re.DOTALL)
OF_A_MESSAGE = 4
"""How much a message counts: more than pages that have its words apart, and less than one about one of its words."""
BOOSTS = {
    "changes/": 4,
    "development/": 0.2,
    "models/aged_receivables/": 2,
    "models/reconciliation/": 4,
    "models/tax_summary/": 4,
    "operations/tokens/#refresh-tokens": 6,
    "questions/": 2,
}
"""How much places count, by the beginning of their addresses. The search itself puts words of headings first."""
_entries: list[dict[str, str | float]] = []


# What MkDocs calls


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Give each message a place to lead to, and remember it."""
    if page.file.src_uri != MESSAGES:
        return html
    _entries.clear()

    def placed(row: re.Match[str]) -> str:
        name = f"message-{len(_entries) + 1}"
        entry = {"location": f"{page.url}#{name}", "title": text_of(row[1]), "text": text_of(row[2])}
        _entries.append({**entry, "boost": OF_A_MESSAGE})
        return row[0].replace("<tr>", f'<tr id="{name}">', 1)

    return ROW.sub(placed, html)


def on_post_build(config: MkDocsConfig, **_: object) -> None:
    """Add the messages to what the search knows."""
    index = Path(config.site_dir, "search", "search_index.json")
    known = json.loads(index.read_text(encoding="utf-8"))
    for entry in known["docs"]:
        entry["boost"] = next((boost for place, boost in BOOSTS.items() if entry["location"].startswith(place)), 1)
    known["docs"] += _entries
    index.write_text(json.dumps(known, separators=(",", ":")), encoding="utf-8")


def text_of(html: str) -> str:
    """Return the text of a part of a page, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
