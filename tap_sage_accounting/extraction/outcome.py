"""How a read ends: complete, skipped or failed. Whatever fails is reported, and does not stop the other reads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from singer_sdk.exceptions import FatalAPIError, RetriableAPIError, SkippableAPIError

from tap_sage_accounting.api.request_gate import GateClosedError
from tap_sage_accounting.exceptions import AuthorizationError, BatchError, EditionError, RunOverError
from tap_sage_accounting.extraction.empty_list import missing_offer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.extraction.table_version import FullTableVersion
    from tap_sage_accounting.records.row_decoder import Item


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """Reports how the read of one stream of one business ends.

    Attributes:
        plan: the read.
        version: the version of the stream's table.
    """

    plan: ReadPlan
    version: FullTableVersion

    def of(self, batches: Batches) -> Batches:
        """Pass on the batches of the read, and report its end."""
        services, name = self.plan.services, self.plan.stream.name
        report, business = services.report, services.name_of(self.plan.business_id)
        services.checkpoints.checkpoint()
        self.version.begin()
        delivered = is_doubtful = False
        try:
            for batch in _failing_together(batches):
                if self.plan.stream.in_books:
                    report.answered.add(business)
                before = report.records[name]
                yield batch
                delivered = delivered or report.records[name] > before
            is_doubtful = not delivered and self._doubts_emptiness()
            services.end_files()
        except SkippableAPIError as error:
            if delivered:
                report.fail(name, business, f"refused in the middle: {error}")
            else:
                report.skip(name, business, error)
        except (AuthorizationError, BatchError, RunOverError, GateClosedError):
            raise  # no other read can succeed either
        except (FatalAPIError, RetriableAPIError) as error:
            report.fail(name, business, str(error))
        except Exception as error:
            self.plan.logger.exception("Reading %s met something unexpected.", self.plan.label)
            report.fail(name, business, f"unexpected {type(error).__name__}, see the log above")
        else:
            report.complete += 1
            if not is_doubtful:
                self.version.complete()

    def _doubts_emptiness(self) -> bool:
        """Return whether a list that brought nothing may hold rows, where the target's table would lose them.

        Raises:
            EditionError: the target replaces the table whatever is written.
        """
        is_replaced = self.plan.stream.name in self.plan.services.report.replaced
        if not (is_replaced or self.version.is_wanted) or not (reason := missing_offer(self.plan)):
            return False
        if is_replaced:
            raise EditionError(f"{self.plan.label}: Sage lists nothing, and says of the business: {reason}.")
        self.plan.logger.warning(
            "%s: Sage lists nothing, and says of the business: %s. The target keeps older rows of the table.",
            self.plan.label,
            reason,
        )
        return True


def _failing_together(batches: Batches) -> Batches:
    """Pass on batches; what fails in the middle of one is raised here, and not where its records are taken."""
    failures: list[Exception] = []

    def until_failure(batch: Iterable[Item]) -> Iterator[Item]:
        try:
            yield from batch
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)

    for batch in batches:
        yield until_failure(batch)
        for failure in failures:
            raise failure


def fail_in(batch: Iterable[Item], error: Exception) -> None:
    """Raise an error in the read that a batch comes from, as if its last record had failed there."""
    with suppress(StopIteration):
        cast("Generator[Item, None, None]", batch).throw(error)
