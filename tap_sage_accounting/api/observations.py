"""What a run sees, without a request, that contradicts what is assumed of Sage: counted by assumption.

Nothing here looks at a record: a response, a page and its first row are all. `assumptions.toml` has the ids.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_sage_accounting.api.pages import Page

NUMBER = re.compile(rb'[^\\]"\s*:\s*-?\d+\.\d')
"""A decimal that is a JSON number, behind the name of its attribute."""
BEGINNING = 1 << 14
"""Bytes of a list's first page that are searched for one."""
_HEADERS = (("etag", "requests.etags"), ("content-encoding", "requests.compression"))
_LIMITS = re.compile(r"(?i)rate-?limit|quota")


class Observations:
    """Counts of what contradicts an assumption; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, assumption: str, count: int = 1) -> None:
        """Count something that contradicts an assumption."""
        with self._lock:
            self._counts[assumption] += count

    @property
    def counts(self) -> dict[str, int]:
        """How often each assumption was contradicted."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def response(self, headers: Mapping[str, str], *, names_business: bool) -> None:
        """Look at the headers of a successful response; `names_business`: whether it should name its business."""
        for name, assumption in _HEADERS:
            if name in headers:
                self.add(assumption)
        if names_business and "X-Business" not in headers:
            self.add("requests.echo")
        if any(map(_LIMITS.search, headers)):
            self.add("limits.headers")

    def page(self, page: Page, body: bytes) -> None:
        """Look at a page's envelope, and at the beginning of a list."""
        if page.requested == 1 and page.total is None and page.items:
            self.add("pages.total")
        if page.requested < page.last and not page.has_next:
            self.add("pages.next")
        if page.requested > page.last and page.number in (None, page.requested):
            self.add("pages.beyond_last")
        if page.requested == 1 and NUMBER.search(body, 0, BEGINNING):
            self.add("records.decimals")
