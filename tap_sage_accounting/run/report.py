"""The outcome of a run: complete, skipped or failed, stream by stream and business by business."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tap_sage_accounting.api.observations import Observations
from tap_sage_accounting.exceptions import EditionError, IncompleteRunError, NotFoundError, RefusedRunError, RightsError
from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from singer_sdk.exceptions import SkippableAPIError

    from tap_sage_accounting.records.converter import SchemaDrift


WHY: dict[type[SkippableAPIError], str] = {
    RightsError: "the user's role there does not include them (403)",
    EditionError: "its edition, country or subscription does not offer them (401)",
    NotFoundError: "Sage does not offer them there, or no longer at all (404)",
}
"""Why a read was skipped, by what Sage itself said."""
FIGURES = "%d records, %d reads complete, %d skipped, %d failed; %d requests (%d refused) in %.1f s"
MOST_NAMED = 5
"""Damaged records that are worth a place in the log, for each stream."""
MOST_REASONS = 3
"""Businesses whose reasons are worth a place in the line that a run ends with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A part of the run that did not deliver all its data, and why."""

    stream: str
    business: str
    reason: str


@dataclass(slots=True)
class EndedRead:
    """A read that came to an end.

    Attributes:
        stream: its stream.
        business_id: its business; None for what belongs to the user.
        rows: records delivered.
        status: `complete`, `skipped` or `failed`.
        reason: why it is not complete, in a word.
    """

    stream: str
    business_id: str | None
    rows: int = 0
    status: str = "complete"
    reason: str | None = None


@dataclass(slots=True)
class FileCounts:
    """The files of attachments that are stored.

    Attributes:
        fetched: how many this run fetched.
        size: bytes that they have.
        kept: how many were there already.
    """

    fetched: int = 0
    size: int = 0
    kept: int = 0

    def add(self, size: int, *, is_new: bool) -> None:
        """Count a file."""
        self.fetched += is_new
        self.kept += not is_new
        self.size += size if is_new else 0


def word_for(error: BaseException) -> str:
    """Name the kind of an error in a word, without anything that it says: `UndeliverableError` is `undeliverable`."""
    if not type(error).__module__.startswith(("tap_sage_accounting", "singer_sdk")):
        return "unexpected"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()


@dataclass
class RunReport:
    """Collects the outcomes of a run's reads, and logs them at its end.

    Attributes:
        replaced: streams whose tables the target replaces by what this run brings.
        complete: reads (a stream of a business) that delivered everything.
        records: records delivered, by stream.
        skipped: what rights or editions do not offer; no failure.
        failed: what should have come and did not.
        reads: the reads that came to an end.
        resting: businesses whose lists wait, as nothing was posted in them.
        answered: businesses of which Sage served at least one read.
        drift: what Sage sent that the schemas do not know, by stream.
        damaged: records with damaged texts, by stream; no more than are named.
        damaged_count: how many there were.
        files: those of attachments that are stored.
        refused_files: files that Sage does not give, by stream and business.
        observations: what contradicts what is assumed of Sage.
    """

    replaced: frozenset[str] = frozenset()
    complete: int = 0
    records: Counter[str] = field(default_factory=Counter)
    skipped: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)
    reads: list[EndedRead] = field(default_factory=list)
    resting: int = 0
    answered: set[str] = field(default_factory=set)
    drift: dict[str, SchemaDrift] = field(default_factory=dict)
    damaged: dict[str, list[str]] = field(default_factory=dict)
    damaged_count: Counter[str] = field(default_factory=Counter)
    files: FileCounts = field(default_factory=FileCounts)
    refused_files: list[Outcome] = field(default_factory=list)
    observations: Observations = field(default_factory=Observations)

    @property
    def done(self) -> int:
        """How many reads came to an end, good or bad."""
        return self.complete + len(self.skipped) + len(self.failed)

    def skip(self, stream: str, business: str, error: SkippableAPIError) -> None:
        """Note a read that rights or the edition do not allow."""
        reason = next(why for kind, why in WHY.items() if isinstance(error, kind))
        if isinstance(error, NotFoundError):
            self.observations.add("rights.edition")
        self.skipped.append(Outcome(stream, business, reason))

    def fail(self, stream: str, business: str, reason: str) -> None:
        """Note a read that should have delivered and did not."""
        place = f"'{stream}' of {business}"  # is named anyway
        self.failed.append(Outcome(stream, business, reason.removeprefix(f"{place}, ").removeprefix(f"{place}: ")))

    def expect(self, stream: str, rows: int) -> None:
        """Note how many rows a read will bring, by Sage's word, when it begins."""

    def end(self, read: EndedRead, error: Exception | None = None, *, is_skipped: bool = False) -> None:
        """Note that a read came to its end, and of what kind the error was that it ended with."""
        if error is not None:
            read.status, read.reason = "skipped" if is_skipped else "failed", word_for(error)
        self.reads.append(read)

    def add_damage(self, stream: str, key: str, business: str, places: Sequence[str]) -> None:
        """Note the texts of a record that Sage sent damaged; a record that comes twice is noted once."""
        named = self.damaged.setdefault(stream, [])
        record = f"record {key} of {business} ({', '.join(places)})"
        if record not in named:
            self.damaged_count[stream] += 1
            if len(named) < MOST_NAMED:
                named.append(record)

    def log(self, logger: logging.Logger, *, planned: int | None, requests: int, refusals: int, seconds: float) -> None:
        """Log the summary of the run, a line for each thing that a person should know.

        `planned` is None, unless the run was cut short. Of `requests`, Sage refused `refusals` for their number.
        """
        self._log_drift(logger)
        self._log_observations(logger)
        self._log_missing(logger)
        self._log_files(logger)
        if self.resting:
            logger.info(
                "%d businesses rest: nothing was posted in them since their lists were read (idle_business_hours).",
                self.resting,
            )
        figures = (self.records.total(), self.complete, len(self.skipped), len(self.failed))
        shown = FIGURES % (*figures, requests, refusals, seconds)
        if planned is not None:
            if planned:
                logger.warning(
                    "The run ended early: %d of %d reads done. So far: %s. The next run goes on from the last state.",
                    self.done,
                    planned,
                    shown,
                )
        elif self.failed or self.is_refused:
            logger.warning("Run incomplete: %s.", shown)
        else:
            logger.info("Run finished: %s.", shown)

    def _log_drift(self, logger: logging.Logger) -> None:
        for stream, drift in sorted(self.drift.items()):
            if drift.unknown:
                logger.warning(
                    "Attributes of '%s' that this version does not know, kept in additional_attributes: %s",
                    stream,
                    ", ".join(sorted(drift.unknown)),
                )
            if drift.mismatches:
                logger.warning(
                    "Values of '%s' that do not fit their column, kept in additional_attributes: %s",
                    stream,
                    ", ".join(f"{place} ({count} times)" for place, count in sorted(drift.mismatches.items())),
                )
        for stream, named in sorted(self.damaged.items()):
            more = self.damaged_count[stream] - len(named)
            logger.warning(
                "Texts of '%s' that Sage sent damaged, kept as they came in additional_attributes: %s%s",
                stream,
                printable("; ".join(named)),
                f"; and {more} more records" if more else "",
            )

    def _log_observations(self, logger: logging.Logger) -> None:
        if unknown := sum(len(drift.unknown) for drift in self.drift.values()):
            self.observations.add("records.attributes", unknown)
        if counts := self.observations.counts:
            logger.info("Sage differs from what is assumed of it, how often by assumption: %s", json.dumps(counts))

    def _log_missing(self, logger: logging.Logger) -> None:
        refused = self._refused()
        together: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for outcome in self.skipped:
            together[outcome.business, outcome.reason].append(outcome.stream)
        for (business, reason), streams in sorted(together.items()):
            if business not in refused:
                logger.warning("Skipped of %s, because %s: %s.", business, reason, ", ".join(streams))
        for business, reasons in sorted(refused.items()):
            logger.warning(
                "Sage refused everything of %s: %s. Its rows and bookmarks stay as they are.", business, reasons
            )
        for outcome in self.failed:
            logger.error("Failed: '%s' of %s: %s", outcome.stream, outcome.business, outcome.reason)

    def _log_files(self, logger: logging.Logger) -> None:
        for outcome in self.refused_files:
            logger.warning(
                "Files of '%s' of %s that Sage does not give: %s. Their rows arrived, and the next run requests them "
                "again.",
                outcome.stream,
                outcome.business,
                outcome.reason,
            )
        if self.files.fetched or self.files.kept:
            megabytes = self.files.size / 1e6
            logger.info(
                "Files: %d stored (%.1f MB), %d were stored before.", self.files.fetched, megabytes, self.files.kept
            )

    def _refused(self) -> dict[str, str]:
        """Return the businesses of which Sage refused every read, and why."""
        others = self.answered | {outcome.business for outcome in self.failed}
        return {
            business: "; ".join(sorted({each.reason for each in self.skipped if each.business == business}))
            for business in {outcome.business for outcome in self.skipped} - others
        }

    @property
    def is_refused(self) -> bool:
        """Whether Sage refused every read."""
        return bool(self.skipped and not self.answered)

    def check(self) -> None:
        """Raise when data that should have come did not.

        Raises:
            IncompleteRunError: naming the streams concerned.
            RefusedRunError: Sage refused every read of books that the run consists of.
        """
        if self.failed:
            streams = ", ".join(sorted({outcome.stream for outcome in self.failed}))
            reads = "1 read" if len(self.failed) == 1 else f"{len(self.failed)} reads"
            others = "Everything else was delivered"
            if not self.complete:
                others = "A part of them was delivered" if self.records.total() else "Nothing was delivered"
            raise IncompleteRunError(
                f"{reads} failed ({streams}). {others}; what failed is read again from its last bookmark on the next "
                "run."
            )
        if self.is_refused:
            refused = [f"{business}: {why}" for business, why in sorted(self._refused().items())]
            more = f"; and {len(refused) - MOST_REASONS} more" if len(refused) > MOST_REASONS else ""
            raise RefusedRunError(
                f"Sage refused every read of this run ({'; '.join(refused[:MOST_REASONS])}{more}). Give the user the "
                "rights in Sage, renew the subscription, or select other streams or businesses. Bookmarks and tokens "
                "are kept."
            )
