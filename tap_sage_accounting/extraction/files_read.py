"""The read of the attachments of one business, with their files where a setting says so.

The state keeps which files are missing: their records are requested again, and come with their files when these are
there. Where too many are missing for that, the bookmark stays, and the whole read is repeated. It also keeps where the
files are: for another place, or the first time, the list is read from its beginning.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalAPIError, SkippableAPIError
from typing_extensions import override

from tap_sage_accounting.exceptions import MissingFilesError
from tap_sage_accounting.extraction.read import BusinessRead
from tap_sage_accounting.files.attachment import require_requestable
from tap_sage_accounting.run.packed_ids import pack, unpack
from tap_sage_accounting.run.report import Outcome
from tap_sage_accounting.run.state_parts import FILES_MISSING, FILES_PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_sage_accounting.extraction.plan import ReadPlan
    from tap_sage_accounting.extraction.scheduler import Batches
    from tap_sage_accounting.files.fetcher import Fetched, FileFetcher

MAX_MISSING = 200
"""Missing files that the state names; each takes two requests of the next run. More than that repeat the read."""
MAX_NAMED = 3


class FilesRead(BusinessRead):
    """One read of the attachments of one business."""

    def __init__(self, plan: ReadPlan) -> None:
        self._files = _fetcher(plan)
        self._pass_deletion_on = plan.report_deletion
        super().__init__(replace(plan, report_deletion=self._report_deletion))
        self._to_retry = sorted(unpack(plan.state[FILES_MISSING])) if FILES_MISSING in plan.state else []
        random.shuffle(self._to_retry)  # or the same ones would hold others back in each run

    @override
    def batches(self) -> Batches:
        files = self._files
        if files is None:
            yield from super().batches()
            return
        yield files.with_files(self._missing_before(files))
        for batch in super().batches():
            yield files.with_files(batch)  # type: ignore[arg-type] # records that get columns are no rows
        self._report(files.missing)

    def _missing_before(self, files: FileFetcher) -> Iterator[dict[str, Any]]:
        """Yield the records whose files are missing since earlier runs.

        One that Sage does not find stays among them until Sage reports that it was deleted.
        """
        for key, found in files.ahead(self._record_of, self._to_retry):
            try:
                record = found.result()
            except (FatalAPIError, SkippableAPIError) as error:
                files.add_missing(key, error)
            else:
                yield self._plan.rows.convert(record)

    def _record_of(self, key: str) -> dict[str, Any]:
        require_requestable(key)
        return self._plan.endpoint.record_of(key)

    def _report_deletion(self, key: str, deleted_at: str | None, how: str) -> None:
        if self._files is not None:
            self._files.missing.pop(key, None)
        self._pass_deletion_on(key, deleted_at, how)

    @override
    def _move_bookmark(self) -> None:
        state, files = self._plan.state, self._files
        if files is None:
            for name in (FILES_PLACE, FILES_MISSING):  # files are no longer stored, so that they will be missing
                state.pop(name, None)
        elif len(files.missing) > MAX_MISSING:
            return
        elif self._plan.is_incremental:
            state[FILES_PLACE] = files.store.fingerprint
            state.pop(FILES_MISSING, None)
            if files.missing:
                state[FILES_MISSING] = pack(files.missing.keys())
        super()._move_bookmark()

    def _report(self, missing: Mapping[str, Fetched]) -> None:
        """Report which files are missing, at the end of a read that brought all records.

        Raises:
            MissingFilesError: not only for a refusal of Sage's.
        """
        refused, failed = (
            {key: self._reason(key, each) for key, each in missing.items() if each.status == status}
            for status in ("refused", "failed")
        )
        if refused:
            services = self._plan.services
            where = services.name_of(self._plan.business_id)
            services.report.refused_files.append(Outcome(self._plan.stream.name, where, _named(refused)))
        if failed:
            raise MissingFilesError(
                f"files are missing: {_named(failed)}. All records arrived, these without a file; the next run tries "
                "again."
            )

    def _reason(self, key: str, fetched: Fetched) -> str:
        """Return why a file is missing, without what is said of it anyway."""
        return fetched.reason.removeprefix(f"{self._plan.label}, file of record {key}: ")


def _fetcher(plan: ReadPlan) -> FileFetcher | None:
    if plan.services.file_store is None or plan.business_id is None:
        return None
    from tap_sage_accounting.files.fetcher import FileFetcher  # noqa: PLC0415 - few runs fetch files

    return FileFetcher(
        endpoint=plan.endpoint,
        business_id=plan.business_id,
        store=plan.services.file_store,
        executor=plan.services.executor,
        files_ahead=lambda: plan.pages_ahead().most,
        counts=plan.services.report.files,
    )


def _named(missing: Mapping[str, str]) -> str:
    """Name some of the missing files, those that were tried first, and count the others."""
    ordered = sorted(missing.items(), key=lambda each: (each[1].startswith("not tried"), each[0]))
    named = [f"{key} ({reason})" for key, reason in ordered[:MAX_NAMED]]
    more = [f"and {len(missing) - MAX_NAMED} more"] if len(missing) > MAX_NAMED else []
    return "; ".join([*named, *more])
