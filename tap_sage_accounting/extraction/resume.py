"""Resume a read of many pages that was cut short, where that is certain to lose nothing.

Sage sorts some lists by `created_at`, which no edit moves, and reports what was deleted from them. Such a list is read
in that order. What was delivered is then its beginning, up to the creation time of the last row. The state holds this
time as long as it is certain, by two observations. Every row came later than the one before it and none came twice, so
Sage keeps to the order. The total never fell, so no row was seen to go and pull others past the read. Rows that are
added come last.

The next run reads the rows that were edited since the interrupted read began, and what was deleted since then. It also
reads the rest of the list, from the page that begins with a row older than the last delivered. However many rows
went meanwhile, whatever is not older is on that page or after it. One gap is left: a row that went while another came
leaves the total as it was. So the list starts over if Sage reports a deletion during the interrupted read.

Lists that Sage does not sort (above all the ledger's) start over, too, and those without reported deletions (quotes).
Nothing says that their pages hold the same rows in the next run.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_sage_accounting.declaration import CREATED_AT
from tap_sage_accounting.exceptions import RequestTooLargeError
from tap_sage_accounting.records.row_decoder import identity
from tap_sage_accounting.run.state_parts import INTERRUPTED
from tap_sage_accounting.timestamps import instant, parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_sage_accounting.api.pages import Page
    from tap_sage_accounting.extraction.list_reader import ListReader, Source
    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.records.row_decoder import Item

IN_ORDER = f"{CREATED_AT}:asc"
"""The order, as Sage's parameter `sort` spells it (pages.sort)."""
FEW_PAGES = 3
"""Pages at the beginning of a list that are not worth a word in the state."""
MOMENT_LENGTH = len("2026-06-30T18:00:00Z")


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """How far a read came. Moments are Sage's, in UTC and whole seconds.

    Attributes:
        since: the change filter that was read with, None for everything.
        began: when the read began, in whichever run.
        part_began: when the part began that one process read.
        seen_at: when the last page of it was served.
        until: `created_at` of the last row delivered: every older row was delivered too.
        rows: rows delivered; where to look first for the rest.
    """

    since: str | None
    began: str
    part_began: str
    seen_at: str
    until: str
    rows: int


class ResumableRead:
    """The read of a sorted list, which records in the state how far it came."""

    def __init__(self, plan: ReadPlan) -> None:
        self._plan = plan
        self._state = plan.state
        self._since = None if plan.since is None else instant(plan.since)
        self._interrupted = self._found()
        self._rest: RemainingPages | None = None
        self._began = ""
        self._seen_at = ""
        self._until = ""
        self._rows = 0
        self._total = 0
        self._of_until: set[str] = set()
        self._is_certain = True

    def _found(self) -> ResumePoint | None:
        kept = self._state.get(INTERRUPTED)
        point = ResumePoint(**kept) if kept else None
        return point if point is not None and point.since == self._since else None

    def readers(self) -> list[ListReader]:
        """Prepare the reads that together bring all records; the first one decides how far the bookmark may go."""
        plan, point = self._plan, self._interrupted
        if point is None:
            return [plan.reader(delivered=self.add_page)]
        plan.logger.info("Going on with %s, which an earlier run did not finish.", plan.label)
        changed_since = instant(parse_moment(point.began) - plan.lookback)
        dated = replace(plan.endpoint, bare_attributes=CREATED_AT)
        self._rest = RemainingPages(plan.endpoint, point, self._nothing_went, dated=dated)
        return [
            plan.reader({"updated_or_created_since": changed_since}),
            plan.reader(source=self._rest, delivered=self.add_page),
        ]

    def _nothing_went(self, point: ResumePoint) -> bool:
        """Return whether no row left the list while the interrupted part was read, as far as Sage reports now."""
        lookback = self._plan.lookback
        began, ended = parse_moment(point.part_began) - lookback, parse_moment(point.seen_at) + lookback
        # The filter leaves out its own moment: deletions in the first second count, those in the last do not.
        counts = [self._deletions_after(began - timedelta(seconds=1)), self._deletions_after(ended)]
        return counts[0] is not None and counts[0] == counts[1]

    def _deletions_after(self, moment: datetime) -> int | None:
        changes = {"deleted_since": instant(moment), "updated_or_created_since": None, "attributes": None, "sort": None}
        return self._plan.endpoint.narrowed(changes).page(1, 1).total

    def add_page(self, page: Page) -> None:
        """Look at a page that was delivered whole; note from time to time how far the read came."""
        if not self._is_certain:
            return
        self._is_certain = page.total is not None and page.total >= self._total and all(map(self._follows, page.items))
        if not self._is_certain:
            return  # what the state holds is true of the pages before
        self._total = page.total or 0
        self._rows += len(page.items)
        served_at = instant(page.served_at)
        self._began = self._began or served_at
        self._seen_at = max(self._seen_at, instant(page.served_by or page.served_at))  # requested in parallel
        if page.requested > FEW_PAGES and page.requested < page.last - 1:
            self._save()

    def _follows(self, item: Item) -> bool:
        """Return whether a row was created no earlier than the one before it, and is none of those before it."""
        created_at, name = item.get(CREATED_AT), identity(item)
        if type(created_at) is not str or len(created_at) != MOMENT_LENGTH or created_at < self._until:
            return False
        if created_at > self._until:
            self._until, self._of_until = created_at, {name}
            return True
        if name in self._of_until:
            return False
        self._of_until.add(name)
        return True

    def _save(self) -> None:
        skipped = self._rest.skipped if self._rest and self._rest.skipped else 0
        began = self._interrupted.began if self._interrupted else self._began
        point = ResumePoint(self._since, began, self._began, self._seen_at, self._until, skipped + self._rows)
        self._state[INTERRUPTED] = asdict(point)
        self._plan.services.checkpoints.checkpoint()


class RemainingPages:
    """The part of a sorted list that was not delivered yet, as a separate list from page 1 on.

    Args:
        source: the whole list.
        point: how far it was delivered.
        nothing_went: requests whether no row left the list meanwhile.
        dated: the same list, whose bare rows show when they were created. A record may spoil its pages (pages.heavy).

    Attributes:
        skipped: rows before it, None before its first page was requested.
    """

    def __init__(
        self,
        source: Source,
        point: ResumePoint,
        nothing_went: Callable[[ResumePoint], bool],
        *,
        dated: Source,
    ) -> None:
        self._source = source
        self._dated = dated
        self._point = point
        self._nothing_went = nothing_went
        self.skipped: int | None = None

    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:
        """Return a page. Page 1 is looked for, anew in each pass, for the list may have become shorter."""
        if self.skipped is None:
            self.skipped = (self._point.rows - 1) // size * size if self._nothing_went(self._point) else 0
        page = self._first(size, bare=bare, max_attempts=max_attempts) if number == 1 else None
        before, odd = divmod(self.skipped, size)
        if odd:
            raise RequestTooLargeError(f"Pages of {size} records do not begin where the rest of the list does.")
        page = page or self._source.page(before + number, size, bare=bare, max_attempts=max_attempts)
        return replace(
            page,
            requested=number,
            number=None if page.number is None else page.number - before,
            total=None if page.total is None else max(0, page.total - self.skipped),
        )

    def _first(self, size: int, *, bare: bool, max_attempts: int | None) -> Page | None:
        """Look for a page that begins with a row that was delivered for certain; None where the list starts over."""
        step, later, is_first = size, "", True
        while self.skipped and self.skipped % size == 0:
            page = self._dated.page(self.skipped // size + 1, size, bare=bare, max_attempts=max_attempts)
            if moments := self._moments_of(page):
                is_beyond = moments[-1] > later if later else is_first and moments[-1] < self._point.until
                if is_beyond or moments != sorted(moments):
                    self.skipped = 0  # Sage does not keep to the order any more
                    return None
                if moments[0] < self._point.until:
                    return page
                later = moments[0]
            self.skipped, is_first = max(0, self.skipped - step), False
            step *= 2
        return None

    def _moments_of(self, page: Page) -> list[str]:
        """Return when the rows of a page were created; nothing of a page beyond the end of the list."""
        is_beyond_end = page.total is None or page.total <= (self.skipped or 0)
        return [] if is_beyond_end else [str(item.get(CREATED_AT)) for item in page.items]

    def record(self, item: Item) -> Item:
        """Return one record by its id."""
        return self._source.record(item)
