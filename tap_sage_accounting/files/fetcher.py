"""The files of one list of one business: several are fetched at a time, beside their records.

The outcome of each is in three columns of its record. A file that cannot be had stops nothing: its record has no
address, and the list of what is missing is for the next run.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from singer_sdk.exceptions import FatalAPIError, SkippableAPIError

from tap_sage_accounting.exceptions import EditionError, FileStoreError, RightsError
from tap_sage_accounting.files.attachment import Attachment, require_requestable
from tap_sage_accounting.files.download import downloaded
from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

    from tap_sage_accounting.api.endpoint import Endpoint
    from tap_sage_accounting.files.store import FileStore, StoredFile
    from tap_sage_accounting.run.report import FileCounts

    Record = dict[str, Any]
    Given = TypeVar("Given")
    Made = TypeVar("Made")

_URL, _SHA256, _STATUS = "file_url", "file_sha256", "file_status"
MAX_IN_VAIN = 10
"""Files in a row after which no other one is tried, as the place takes none or the user may read none."""


class FileStatus(StrEnum):
    """The outcome of a file."""

    STORED = "stored"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(slots=True)
class Fetched:
    """The outcome of one file.

    Attributes:
        stored: it, where it is stored.
        is_new: whether it was fetched now.
        error: why it is not stored.
    """

    stored: StoredFile | None = None
    is_new: bool = False
    error: FatalAPIError | SkippableAPIError | None = None

    @property
    def status(self) -> FileStatus | None:
        """The status of the file; None for a deleted one that was never stored."""
        if self.stored is not None:
            return FileStatus.STORED
        match self.error:
            case None:
                return None
            case SkippableAPIError():
                return FileStatus.REFUSED
            case _:
                return FileStatus.FAILED

    @property
    def is_refused(self) -> bool:
        """Whether Sage does not give it."""
        return self.status is FileStatus.REFUSED

    @property
    def reason(self) -> str:
        """Why it is not stored, as it may be shown."""
        return printable(str(self.error).removesuffix("."))

    @property
    def is_hopeless(self) -> bool:
        """Whether the next file would end like this one."""
        return isinstance(self.error, FileStoreError | RightsError | EditionError)


@dataclass(kw_only=True)
class FileFetcher:
    """Fetches the files of one list of one business.

    Attributes:
        endpoint: the list.
        business_id: the business.
        store: where files go.
        executor: the threads that fetch them.
        files_ahead: returns how many files may be fetched ahead of their use just now.
        counts: what is reported.
        missing: files that are not there, by the ids of their records.
    """

    endpoint: Endpoint
    business_id: str
    store: FileStore
    executor: Executor
    files_ahead: Callable[[], int]
    counts: FileCounts
    missing: dict[str, Fetched] = field(default_factory=dict)
    _in_vain: int = 0

    def with_files(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass on records, each with the outcome of its file."""
        for record, fetched in self.ahead(self._fetch, records):
            self._count(record, fetched.result())
            yield record

    def note_missing(self, key: str, error: FatalAPIError | SkippableAPIError) -> None:
        """Count a file as missing whose record did not come."""
        self.missing[key] = Fetched(error=error)

    def ahead(self, work: Callable[[Given], Made], each: Iterable[Given]) -> Iterator[tuple[Given, Future[Made]]]:
        """Begin some work ahead of its use, and yield it in order."""
        begun: deque[tuple[Given, Future[Made]]] = deque()
        try:
            for given in each:
                begun.append((given, self.executor.submit(work, given)))
                while len(begun) > self.files_ahead():
                    yield begun.popleft()
            while begun:
                yield begun.popleft()
        finally:
            for _, future in begun:
                future.cancel()

    def _fetch(self, record: Record) -> Fetched:
        attachment = Attachment.of(record, self.business_id)
        if self._in_vain >= MAX_IN_VAIN:
            return Fetched(error=FileStoreError(f"{MAX_IN_VAIN} files in a row were in vain"))
        try:
            if (stored := self.store.find(attachment)) is not None or attachment.is_deleted:
                return Fetched(stored)
            require_requestable(attachment.key)
            with downloaded(self.endpoint, attachment) as (file, digest):
                return Fetched(self.store.save(attachment, file, digest), is_new=True)
        except (FatalAPIError, SkippableAPIError) as error:
            return Fetched(error=error)

    def _count(self, record: Record, fetched: Fetched) -> None:
        """Put the outcome of a file into its record, and into what is reported."""
        key, stored, status = str(record["id"]), fetched.stored, fetched.status
        record[_URL] = None if stored is None else stored.url
        record[_SHA256] = None if stored is None else stored.sha256
        record[_STATUS] = None if status is None else status.value
        if fetched.is_new or fetched.error is not None:
            self._in_vain = self._in_vain + 1 if fetched.is_hopeless else 0
        self.missing.pop(key, None)
        if fetched.error is not None:
            self.missing[key] = fetched
        elif stored is not None:
            self.counts.add(stored.size, is_new=fetched.is_new)
