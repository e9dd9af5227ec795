"""Check that the search of the built site puts the right page first, with the site's own search in Chromium.

uv run python scripts/check_search.py build/site
"""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = "operations/troubleshooting/"
WANTED = {
    "Sage refused the stored refresh token: it expired, was revoked": MESSAGES,
    "There is no login in the token store for this client_id": MESSAGES,
    "target-postgres ended early": MESSAGES,
    "Sage's clock says": MESSAGES,
    "business_ids contains businesses this user has no access to": MESSAGES,
    "The state cannot be read as JSON.": MESSAGES,
    "DSO": "questions/",
    "aging": "models/aged_receivables/",
    "VAT": "models/tax_summary/",
    "deletions": "changes/",
    "refresh token": "operations/tokens/",
    "reconciliation": "models/reconciliation/",
}
"""Six messages and six words that people look for, and the page that each must lead to."""
FOUND = """
return [...document.querySelectorAll(".md-search-result__item > a:first-child")].map(link => link.href)
"""
LONGEST = 60
"""Seconds to wait for an answer."""


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    @override
    def log_message(self, *_: Any) -> None: ...


def first_pages(site: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each query with the pages that the search puts first."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/"
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        for query in WANTED:
            driver.get(f"{base}?q={quote(query)}")
            found = WebDriverWait(driver, LONGEST).until(lambda page: page.execute_script(FOUND))
            yield query, [str(link).removeprefix(base).partition("?")[0] for link in found]
    finally:
        driver.quit()
        server.shutdown()


def main() -> int:
    """Search, and report what leads elsewhere."""
    wrong = [
        (query, pages[:4])
        for query, pages in first_pages(Path(sys.argv[1]))
        if pages[0].partition("#")[0] != WANTED[query]
    ]
    for query, pages in wrong:
        print(f"{query!r} leads to {', '.join(pages)}, instead of {WANTED[query]}")
    print(f"{len(WANTED) - len(wrong)} of {len(WANTED)} searches put the right page first")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
