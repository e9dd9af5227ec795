"""How a read ends: complete, skipped or failed. Whatever fails is reported, and does not stop the other reads."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting.api.request_gate import GateClosedError
from tap_sage_accounting.exceptions import AuthorizationError, BatchError, EditionError, RunOverError
from tap_sage_accounting.run.report import EndedRead

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Generator, Iterable, Iterator

    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.records.row_decoder import Item


class FullTableVersion:
    """Counts the complete reads of a stream, and activates the version of its table when all are.

    A target that receives a version drops or flags every row of an older one. So the version is sent after the last
    record, and only when every business was read. Rows of a business that was left out, skipped or failed must stay.
    So must those of a business that the user no longer sees.

    Args:
        reads: how many reads must be complete.
        begin: lets the records to come carry the version.
        activate: writes the version; None for a stream whose tables have no versions.
    """

    def __init__(self, reads: int, begin: Callable[[], None], activate: Callable[[], None] | None) -> None:
        self._left = reads
        self._begin = begin
        self._activate = activate

    @property
    def is_wanted(self) -> bool:
        """Whether the target is sent a version of this table."""
        return self._activate is not None

    def begin(self) -> None:
        """Let the records of the coming read carry the version."""
        if self.is_wanted:
            self._begin()

    def complete(self) -> None:
        """Count a complete read; after the last one, activate the version."""
        self._left -= 1
        if self._activate is not None and self._left == 0:
            self._activate()


def report_outcome(batches: Batches, plan: ReadPlan, version: FullTableVersion) -> Batches:
    """Pass on the batches of a read, and report how it ends."""
    services, name = plan.services, plan.stream.name
    report, business = services.report, services.name_of(plan.business_id)
    services.checkpoints.checkpoint()
    version.begin()
    is_doubtful = False
    ended = EndedRead(name, plan.business_id)
    try:
        for batch in _failing_together(batches, report.records, ended):
            if plan.stream.in_books:
                report.answered.add(business)
            yield batch
        is_doubtful = not ended.rows and _doubts_emptiness(plan, version)
        services.end_files()
    except SkippableAPIError as error:
        if ended.rows:
            report.fail(name, business, f"refused in the middle: {error}")
        else:
            report.skip(name, business, error)
        report.end(ended, error, is_skipped=not ended.rows)
    except (AuthorizationError, BatchError, RunOverError, GateClosedError):
        raise  # no other read can succeed either
    except (FatalAPIError, RetriableAPIError) as error:
        report.fail(name, business, str(error))
        report.end(ended, error)
    except Exception as error:
        plan.logger.exception("Reading %s met something unexpected.", plan.label)
        report.fail(name, business, f"unexpected {type(error).__name__}, see the log above")
        report.end(ended, error)
    else:
        report.complete += 1
        report.end(ended)
        if not is_doubtful:
            version.complete()


def _doubts_emptiness(plan: ReadPlan, version: FullTableVersion) -> bool:
    """Return whether a list that brought nothing may hold rows, where the target's table would lose them.

    Raises:
        EditionError: the target replaces the table whatever is written.
    """
    is_replaced = plan.stream.name in plan.services.report.replaced
    if not (is_replaced or version.is_wanted) or not (reason := plan.missing_offer()):
        return False
    if is_replaced:
        raise EditionError(f"{plan.label}: Sage lists nothing, and says of the business: {reason}.")
    plan.logger.warning(
        "%s: Sage lists nothing, and says of the business: %s. The target keeps older rows of the table.",
        plan.label,
        reason,
    )
    return True


def _failing_together(batches: Batches, records: Counter[str], ended: EndedRead) -> Batches:
    """Pass on batches; what fails in the middle of one is raised here, and not where its records are taken.

    `records` counts meanwhile how many were taken of each: a batch is taken before the next one is requested.
    """
    failures: list[Exception] = []

    def until_failure(batch: Iterable[Item]) -> Iterator[Item]:
        before = records[ended.stream]
        try:
            yield from batch
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
        finally:
            ended.rows += records[ended.stream] - before

    for batch in batches:
        yield until_failure(batch)
        for failure in failures:
            raise failure


def fail_in(batch: Iterable[Item], error: Exception) -> None:
    """Raise an error in the read that a batch comes from, as if its last record had failed there."""
    with suppress(StopIteration):
        cast("Generator[Item, None, None]", batch).throw(error)
