"""The tap class."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from singer_sdk import Tap
from singer_sdk import typing as th
from template_tap.streams import STREAMS  # type: ignore[import-not-found] # found where the benchmark puts it
from typing_extensions import override

if TYPE_CHECKING:
    from template_tap.client import SageStream  # type: ignore[import-not-found]


class TapTemplate(Tap):
    """The tap."""

    name = "tap-template"

    config_jsonschema: ClassVar[dict] = th.PropertiesList(  # type: ignore[type-arg]
        th.Property("client_id", th.StringType(nullable=False), required=True),
        th.Property("client_secret", th.StringType(nullable=False), required=True, secret=True),
        th.Property("refresh_token", th.StringType(nullable=False), required=True, secret=True),
        th.Property("business_ids", th.ArrayType(th.StringType(nullable=False), nullable=False), required=True),
        th.Property("api_url", th.StringType(nullable=False), default="https://api.accounting.sage.com/v3.1"),
        th.Property("token_url", th.StringType(nullable=False), default="https://oauth.accounting.sage.com/token"),
        th.Property("page_size", th.IntegerType(nullable=False), default=200),
        th.Property("start_date", th.DateTimeType(nullable=True)),
    ).to_dict()

    @override
    def discover_streams(self) -> list[SageStream]:
        return [stream(self) for stream in STREAMS]


if __name__ == "__main__":
    TapTemplate.cli()
