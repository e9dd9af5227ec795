"""The files of one list of one business: several are fetched at a time, beside their records.

The outcome of each is in three columns of its record. A file that cannot be had stops nothing: its record has no
address, and the list of what is missing is for the next run.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TypeVar

from singer_sdk.exceptions import FatalAPIError, SkippableAPIError

from tap_sage_accounting.exceptions import FileStoreError, NotFoundError
from tap_sage_accounting.files.attachment import Attachment, require_requestable
from tap_sage_accounting.files.download import downloaded
from tap_sage_accounting.files.restraint import Restraint
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

NOT_TRIED = "not tried, as too many files in a row were in vain"
_URL, _SHA256, _STATUS = "file_url", "file_sha256", "file_status"


class FileStatus(StrEnum):
    """The outcome of a file."""

    STORED = "stored"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """The outcome of one file; it holds no error, as there may be many.

    Attributes:
        status: how it ended; None for a file of a deleted record that was never stored.
        stored: it, where it is stored.
        is_new: whether it was fetched now.
        reason: why it is not stored, as it may be shown.
    """

    status: FileStatus | None = None
    stored: StoredFile | None = None
    is_new: bool = False
    reason: str = ""

    @classmethod
    def of(cls, stored: StoredFile | None, *, is_new: bool = False) -> Self:
        """Return the outcome of a file that is stored, or that nobody can have any more."""
        return cls(None if stored is None else FileStatus.STORED, stored, is_new)

    @classmethod
    def without(cls, error: FatalAPIError | SkippableAPIError) -> Self:
        """Return the outcome of a file that did not come or could not be stored."""
        status = FileStatus.REFUSED if isinstance(error, SkippableAPIError) else FileStatus.FAILED
        return cls(status, reason=printable(str(error).removesuffix(".")))


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
    _looking: Restraint = field(default_factory=Restraint)
    _fetching: Restraint = field(default_factory=Restraint)
    _last_in_vain: Fetched = field(default_factory=Fetched)

    def with_files(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass on records, each with the outcome of its file."""
        for record, fetched in self.ahead(self._fetch, records):
            self._note(record, fetched.result())
            yield record

    def add_missing(self, key: str, error: FatalAPIError | SkippableAPIError) -> None:
        """Count a file as missing whose record did not come."""
        self.missing[key] = Fetched.without(error)

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
        if self._looking.holds_back():
            return self._not_tried()
        try:
            found = self.store.find(attachment)
        except FileStoreError as error:
            return self._in_vain(self._looking, error)
        self._looking.note(is_in_vain=False)
        return Fetched.of(found) if found is not None or attachment.is_deleted else self._fetch_new(attachment)

    def _fetch_new(self, attachment: Attachment) -> Fetched:
        if self._fetching.holds_back():
            return self._not_tried()
        try:
            require_requestable(attachment.key)
            with downloaded(self.endpoint, attachment) as (file, digest):
                found = self.store.save(attachment, file, digest)
        except NotFoundError as error:
            self._fetching.note(is_in_vain=False)
            return Fetched.without(error)
        except (FatalAPIError, SkippableAPIError) as error:
            return self._in_vain(self._fetching, error)
        self._fetching.note(is_in_vain=False)
        return Fetched.of(found, is_new=True)

    def _in_vain(self, restraint: Restraint, error: FatalAPIError | SkippableAPIError) -> Fetched:
        restraint.note(is_in_vain=True)
        self._last_in_vain = Fetched.without(error)
        return self._last_in_vain

    def _not_tried(self) -> Fetched:
        return replace(self._last_in_vain, reason=NOT_TRIED)

    def _note(self, record: Record, fetched: Fetched) -> None:
        """Put the outcome of a file into its record, and into what is reported."""
        key, stored, status = str(record["id"]), fetched.stored, fetched.status
        record[_URL] = None if stored is None else stored.url
        record[_SHA256] = None if stored is None else stored.sha256
        record[_STATUS] = None if status is None else status.value
        self.missing.pop(key, None)
        if stored is not None:
            self.counts.add(stored.size, is_new=fetched.is_new)
        elif status is not None:
            self.missing[key] = fetched
