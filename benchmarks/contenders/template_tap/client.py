"""REST client handling, including the base class of the streams."""

from __future__ import annotations

import decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import SchemaDirectory, StreamSchema
from singer_sdk.helpers.jsonpath import extract_jsonpath
from singer_sdk.pagination import PageNumberPaginator
from singer_sdk.streams import RESTStream
from template_tap import schemas  # type: ignore[import-not-found] # found where the benchmark puts it
from template_tap.auth import SageAuthenticator  # type: ignore[import-not-found]
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable

    import requests
    from singer_sdk.helpers.types import Auth
    from singer_sdk.streams.rest import HTTPRequest, PageContext

SCHEMAS_DIR = SchemaDirectory(schemas)


class SagePaginator(PageNumberPaginator):
    """Counts pages until an answer names no next one."""

    @override
    def has_more(self, response: requests.Response) -> bool:
        return bool(response.json().get("$next"))


class SageStream(RESTStream[int]):
    """A list of each business."""

    records_jsonpath = "$['$items'][*]"
    schema: ClassVar[StreamSchema] = StreamSchema(SCHEMAS_DIR)
    extra_params: ClassVar[dict[str, str]] = {}

    @property
    @override
    def url_base(self) -> str:
        return str(self.config["api_url"])

    @cached_property
    @override
    def authenticator(self) -> Auth:
        authenticator = SageAuthenticator(
            client_id=self.config["client_id"],
            client_secret=self.config["client_secret"],
            auth_endpoint=self.config["token_url"],
        )
        authenticator.refresh_token_setting = self.config["refresh_token"]
        return authenticator  # type: ignore[no-any-return]

    @property
    @override
    def partitions(self) -> list[dict[str, Any]] | None:
        return [{"business_id": business_id} for business_id in self.config["business_ids"]]

    @override
    def get_new_paginator(self) -> SagePaginator:
        return SagePaginator(start_value=1)

    @override
    def get_http_request(self, *, page: PageContext[int]) -> HTTPRequest:
        request = super().get_http_request(page=page)
        request.headers["X-Business"] = (page.stream_context or {})["business_id"]
        request.params["page"] = page.next_page_token
        request.params["items_per_page"] = self.config["page_size"]
        request.params |= self.extra_params
        if self.replication_key and (start := self.get_starting_timestamp(page.stream_context)):
            request.params["updated_or_created_since"] = start.strftime("%Y-%m-%dT%H:%M:%SZ")
        return request

    @override
    def parse_response(self, response: requests.Response) -> Iterable[dict[str, Any]]:
        yield from extract_jsonpath(
            self.records_jsonpath,
            input=response.json(parse_float=decimal.Decimal),
        )
