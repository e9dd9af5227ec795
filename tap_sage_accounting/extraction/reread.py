"""Recent documents are read again now and then, for changes that did not move their `updated_at`.

Nothing says that Sage moves it whenever a line of a document changes (records.line_changes). So once a
week, documents of the last `reread_documents_days` days are read again and delivered, whatever their `updated_at`. The
state keeps a checksum of each, which shows what had changed unnoticed.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.contrib.msgspec import enc_hook

from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.run.state_parts import BOOKMARK, CHECKSUMS, REREAD_AT, is_due
from tap_sage_accounting.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.extraction.list_reader import ListReader
    from tap_sage_accounting.extraction.plan import ReadPlan

EVERY = timedelta(days=7)
"""How often recent documents are read again."""
MAX_CHECKSUMS = 20_000
"""Documents per list and business whose checksums are kept, at about 19 bytes each."""
MAX_NAMED = 5
VERSION_BYTES, CONTENT_BYTES = 10, 6
"""Of a checksum: which version of which document it is by Sage's word, and what that holds."""

logger = logging.getLogger("tap-sage-accounting.reread")
_encode = msgspec.json.Encoder(enc_hook=enc_hook, decimal_format="number", order="sorted").encode


class Reread:
    """The read of recent documents of one list of one business, beside a read by change.

    Attributes:
        readers: the read of the list from the first of these days on, where it is time to.
    """

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan
        self._now = plan.services.began_at
        self._state = plan.state
        self.readers: list[ListReader] = []
        self._columns = ""
        self._known: dict[str, str] = {}
        self._found: set[str] = set()
        self._unseen: list[str] = []
        is_wanted = plan.reread_days and plan.stream.dated and BOOKMARK in self._state
        if is_wanted and is_due(self._state.get(REREAD_AT), EVERY, self._now):
            since = (self._now - timedelta(days=plan.reread_days)).date().isoformat()
            self.readers = [plan.reader({"from_date": since, "updated_or_created_since": None})]
            self._columns = ",".join(sorted(plan.columns))
            self._known = _contents(self._state.get(CHECKSUMS))

    def start(self) -> None:
        """Request the first documents, to have them when they are needed."""
        for reader in self.readers:
            reader.start()

    def pages(self) -> Iterator[Page]:
        """Yield the documents in pages; none where it is not time to."""
        for reader in self.readers:
            yield from reader.pages()

    def compared(self, records: Iterable[Any]) -> Iterator[Any]:
        """Pass on records, and find which of them had changed unseen."""
        for record in records:
            named = f"{record.get('id')} {record.get('updated_at')} {self._columns}"
            version = blake2b(named.encode(), digest_size=VERSION_BYTES).hexdigest()
            content = blake2b(_encode(record), digest_size=CONTENT_BYTES).hexdigest()
            if self._known.get(version, content) != content:
                self._unseen.append(str(record.get("id")))
            self._found.add(version + content)
            yield record

    def finish(self) -> None:
        """Keep what the next time needs, and say what had changed unseen."""
        if not self.readers:
            return
        self._state[REREAD_AT] = instant(self._now)
        self._state.pop(CHECKSUMS, None)
        if len(self._found) <= MAX_CHECKSUMS:
            self._state[CHECKSUMS] = pack(self._found)
        where = self._plan.label
        if self._unseen:
            more = f" and {len(self._unseen) - MAX_NAMED} more" if len(self._unseen) > MAX_NAMED else ""
            logger.warning(
                "%d of the %d documents of %s that were read again had changed without a new updated_at: %s%s. All of "
                "them were delivered.",
                len(self._unseen),
                len(self._found),
                where,
                ", ".join(self._unseen[:MAX_NAMED]),
                more,
            )
        elif len(self._found) > MAX_CHECKSUMS:
            logger.warning(
                "%d documents of %s were read again. That is too many to find those that changed without a new "
                "updated_at (%d at most).",
                len(self._found),
                where,
                MAX_CHECKSUMS,
            )


def _contents(checksums: str | None) -> dict[str, str]:
    place = 2 * VERSION_BYTES
    return {each[:place]: each[place:] for each in (unpack(checksums) if checksums else ())}
