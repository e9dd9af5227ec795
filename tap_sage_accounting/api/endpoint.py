"""A resource of one business in Sage's API, and how it is requested."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tap_sage_accounting.api.pages import SMALL, Page
from tap_sage_accounting.api.request import Request
from tap_sage_accounting.exceptions import MalformedResponseError
from tap_sage_accounting.records.row_decoder import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet
    from typing import IO

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.request import Response
    from tap_sage_accounting.records.row_decoder import Item, RowDecoder

    Record = dict[str, Any]
    Parsed = TypeVar("Parsed")

ANY_FILE = "application/octet-stream"
"""The media type that Sage's description names for the content of a file."""
READ_WITH_CARE = frozenset(("attributes", "deleted_since", "from_date"))
"""Parameters that change what rows hold, or whose rows are looked into: those are not decoded by the schema."""


def _no_decoder() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A resource of one business, or of the user; every method may be called from any thread.

    Attributes:
        client: sends the requests.
        path: the path below the API's base, with a slash in front.
        label: the resource in words, for logs and errors.
        business_id: the business; None for what belongs to the user.
        params: query parameters of a list or a single object; None leaves one out.
        page_size: records a page.
        record_params: query parameters of a single record.
        bare_record_params: those of a single record of which no attributes are needed.
        bare_attributes: attributes of rows of which hardly any are needed; None for Sage's summary of a row.
        decoder: returns what decodes usual rows by their schema, None where nothing does.
    """

    client: HttpClient
    path: str
    label: str
    business_id: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    page_size: int = 200
    record_params: Mapping[str, Any] = field(default_factory=dict)
    bare_record_params: Mapping[str, Any] = field(default_factory=dict)
    bare_attributes: str | None = None
    decoder: Callable[[], RowDecoder | None] = _no_decoder

    def narrowed(self, changes: Mapping[str, Any]) -> Self:
        """Return the same resource with other query parameters; None leaves one out."""
        decoder = _no_decoder if READ_WITH_CARE & changes.keys() else self.decoder
        return replace(self, params={**self.params, **changes}, decoder=decoder)

    def sibling(self, path: str, label: str) -> Endpoint:
        """Return another resource of the same business, without parameters."""
        return Endpoint(
            client=self.client, path=path, label=label, business_id=self.business_id, page_size=self.page_size
        )

    def get(
        self,
        parse: Callable[[Response], Parsed],
        params: Mapping[str, Any] | None = None,
        *,
        place: str = "",
        part: str = "",
        max_attempts: int | None = None,
    ) -> Parsed:
        """Request the resource or a part of it, and parse the response.

        Args:
            parse: reads a successful response; may raise `MalformedResponseError`.
            params: query parameters; None for the resource's own.
            place: the rest of the path.
            part: the part in words.
            max_attempts: attempts at a request that may be too heavy for Sage; None for the usual number.

        Raises:
            FatalAPIError: Sage refused for good, or the fault did not pass.
            SkippableAPIError: rights or edition do not offer this.
        """
        requested = self.params if params is None else params
        request = Request(self.path + place, requested, self.business_id, self.label + part)
        return self.client.get(request, parse, max_attempts)

    @property
    def whole(self) -> Request:
        """The request of a single object, as `single` sends it."""
        return Request(self.path, self.params, self.business_id, self.label)

    @property
    def first_page(self) -> Request:
        """The request of a list's first page, as `page` sends it."""
        return replace(self, params=self._params_of_page(1, self.page_size)).whole

    def _params_of_page(self, number: int, size: int) -> dict[str, Any]:
        return {"page": number, "items_per_page": size, **self.params}

    def page(self, number: int, size: int, *, bare: bool = False, max_attempts: int | None = None) -> Page:
        """Return a page of the list, by its number: `$next` may lack parameters (pages.next_filters).

        Args:
            number: from 1.
            size: records a page.
            bare: with hardly any attributes.
            max_attempts: attempts at a page that may be too heavy for Sage; None for the usual number.
        """
        params = self._params_of_page(number, size)
        if bare:
            params["attributes"] = self.bare_attributes

        def parse(response: Response) -> Page:
            decoder = None if bare or len(response.body) <= SMALL else self.decoder()
            page = Page.parse(response, requested=number, size=size, decoder=decoder)
            self.client.observations.page(page, response.body)
            return page

        part = f", page {number}" + ("" if size == self.page_size else f" at {size} to a page")
        return self.get(parse, params, part=part, max_attempts=max_attempts)

    def record(self, item: Item) -> Item:
        """Return the whole of a listed record. A deleted one cannot be requested, so it is returned as listed."""
        return item if "deleted_since" in self.params else self.record_of(key_of(item))

    def record_of(self, key: str, *, bare: bool = False) -> Record:
        """Return a record by its key; `bare`: with hardly any attributes.

        Raises:
            RecordNotFoundError: Sage knows no such record.
        """

        def parse(response: Response) -> Record:
            found = response.json()
            if not isinstance(found, dict) or key_of(found) != key:
                raise MalformedResponseError(f"{response.label}: the response is no record.")
            return found

        params = self.bare_record_params if bare else self.record_params
        return self.get(parse, params, place=f"/{key}", part=f", record {key}")

    def file_of(self, key: str, file: IO[bytes], check: Callable[[Response], Parsed], max_attempts: int) -> Parsed:
        """Request the file of a record, whose content goes into `file`.

        Args:
            key: the record's.
            file: takes the content, of each attempt anew.
            check: looks at what came; may raise `MalformedResponseError`.
            max_attempts: attempts at a file that is cut off, late, too large or not what it should be.

        Raises:
            FatalAPIError: Sage refused for good, or the fault did not pass.
            SkippableAPIError: rights or edition do not offer this, or there is no such file.
            OSError: `file` cannot be written.
        """
        label = f"{self.label}, file of record {key}"
        request = Request(f"{self.path}/{key}/file", {}, self.business_id, label, ANY_FILE, file)
        return self.client.get(request, check, max_attempts)

    def single(self, attributes: AbstractSet[str]) -> Record:
        """Return a resource that is a single object, with at least one of its attributes: other responses have none."""

        def parse(response: Response) -> Record:
            found = response.json()
            if not isinstance(found, dict) or "$items" in found or attributes.isdisjoint(found):
                raise MalformedResponseError(f"{response.label}: the response is not a single object.")
            return found

        return self.get(parse)
