"""The tap's settings: declared once, for the SDK, Airbyte, Meltano and the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

if TYPE_CHECKING:
    from datetime import datetime

API_URL = "https://api.accounting.sage.com/v3.1"
AUTH_URL = "https://www.sageone.com/oauth2/auth/central"
TOKEN_URL = "https://oauth.accounting.sage.com/token"  # noqa: S105 - an address
HIGHEST_PAGE_SIZE = 200
HIGHEST_CONCURRENCY = 150
"""Sage's published bound for one application."""

LONGEST_LOOKBACK = 366 * 86_400
LONGEST_PATIENCE = 7 * 86_400
LONGEST_DAYS = 3650

SETTINGS = th.PropertiesList(
    th.Property(
        "client_id",
        th.StringType(min_length=1, nullable=False),
        required=True,
        secret=True,
        title="Client ID",
        description="Client ID of your application, from Sage's developer portal.",
    ),
    th.Property(
        "client_secret",
        th.StringType(min_length=1, nullable=False),
        required=True,
        secret=True,
        title="Client secret",
        description="Client secret of your application.",
    ),
    th.Property(
        "refresh_token",
        th.StringType,
        secret=True,
        title="First refresh token",
        description=(
            "The refresh token to begin with. Sage replaces it at every use, and the token store keeps its successors: "
            "leave this as it is. Not needed after `login`."
        ),
    ),
    th.Property(
        "api_url", th.StringType(nullable=False), default=API_URL, title="API URL", description="Base of Sage's API."
    ),
    th.Property(
        "auth_url",
        th.StringType(nullable=False),
        default=AUTH_URL,
        title="Authorization URL",
        description="Where a user gives consent; used by `login`.",
    ),
    th.Property(
        "token_url",
        th.StringType(nullable=False),
        default=TOKEN_URL,
        title="Token URL",
        description="Where refresh tokens are exchanged.",
    ),
    th.Property(
        "token_store",
        th.StringType,
        secret=True,
        title="Token store",
        description=(
            "URL of the database that keeps the rotated tokens: sqlite:///path or postgresql://... "
            "Default: an SQLite file under the Meltano project, or else in the user's data directory."
        ),
    ),
    th.Property(
        "token_store_key",
        th.StringType,
        secret=True,
        title="Token store key",
        description=(
            "Fernet key that encrypts the tokens in the store. To rotate keys, give several, separated by commas: the "
            "first encrypts, all decrypt. Without one the file's mode protects them."
        ),
    ),
    th.Property(
        "redirect_uri",
        th.StringType(nullable=False),
        default="http://localhost:8765/callback",
        title="Redirect URI",
        description="The callback registered for your application; used by `login`.",
    ),
    th.Property(
        "business_ids",
        th.ArrayType(th.StringType(min_length=1)),
        title="Business IDs",
        description="Which businesses to extract. Default: all that the user may see.",
    ),
    th.Property(
        "start_date",
        th.StringType,
        title="Start date",
        description=(
            "Earliest change to extract on the first run, as an ISO 8601 date or date-time. UTC when it has no zone. "
            "Accounts, contacts, products and other master data come whole. Default: everything."
        ),
    ),
    th.Property(
        "lookback_window",
        th.IntegerType(minimum=0, maximum=LONGEST_LOOKBACK, nullable=False),
        default=300,
        title="Lookback window",
        description=(
            "Seconds that are read again before each bookmark, for changes that Sage showed late; a year at most."
        ),
    ),
    th.Property(
        "page_size",  # (pages.over_200)
        th.IntegerType(minimum=1, maximum=HIGHEST_PAGE_SIZE, nullable=False),
        default=HIGHEST_PAGE_SIZE,
        title="Page size",
        description="Records per request, 1 to 200.",
    ),
    th.Property(
        "concurrency",
        th.IntegerType(minimum=1, maximum=HIGHEST_CONCURRENCY, nullable=False),
        default=8,
        title="Concurrency",
        description="Requests in flight at most, 1 to 150.",
    ),
    th.Property(
        "requests_per_minute",
        th.IntegerType(minimum=1, maximum=1_000_000, nullable=True),
        title="Requests per minute",
        description=(
            "A ceiling, for users who share the application's quota. Default: adaptive, as fast as Sage answers "
            "without refusing."
        ),
    ),
    th.Property(
        "patience",
        th.IntegerType(minimum=0, maximum=LONGEST_PATIENCE, nullable=False),
        default=900,
        title="Patience",
        description=(
            "Seconds for which the run waits while Sage refuses requests, fails or cannot be reached. Also the longest "
            "wait that Sage may ask for (`Retry-After`). Then the run ends, and keeps everything that is complete."
        ),
    ),
    th.Property(
        "deletion_sweep_days",
        th.IntegerType(minimum=0, maximum=LONGEST_DAYS, nullable=False),
        default=7,
        title="Days between deletion sweeps",
        description=(
            "Days after which lists are read for records that are gone, where Sage does not report deletions. 0 does "
            "it on every run. A sweep costs one request per 200 records of such a list."
        ),
    ),
    th.Property(
        "idle_business_hours",
        th.IntegerType(minimum=0, maximum=24 * LONGEST_DAYS, nullable=False),
        default=0,
        title="Hours for which an idle business rests",
        description=(
            "Where nothing was posted in a business since its lists were read, read them again only after so many "
            "hours. One request finds out. For logins that reach many businesses. 0 reads everything on every run."
        ),
    ),
    th.Property(
        "reread_documents_days",
        th.IntegerType(minimum=0, maximum=LONGEST_DAYS, nullable=False),
        default=0,
        title="Days of documents to read again",
        description=(
            "Once a week, read documents of this many days again, and report changes without a new `updated_at`. 0 "
            "does not. Costs one request per 200 documents."
        ),
    ),
    th.Property(
        "decimals",
        th.StringType(nullable=False, allowed_values=["number", "string", "text"]),
        default="number",
        title="Decimals",
        description=(
            "How amounts, quantities and rates travel: `number`; `string`, which has the format `x-singer.decimal`; or "
            "`text`, plain strings. For targets that make floating point of numbers. Decide before the first load: it "
            "is the type of columns."
        ),
    ),
    th.Property(
        "reference_ids",
        th.BooleanType(nullable=False),
        default=False,
        title="Columns with ids of references",
        description=(
            "Add a text column with the id beside each reference, such as `contact_id` beside `contact`, for joins and "
            "indexes. Costs some processor time per record."
        ),
    ),
    th.Property(
        "attachments_url",
        th.StringType,
        title="Where files of attachments are stored",
        description=(
            "Fetch the files of `attachments`, one request each, and store them below this address: "
            "file:///path, s3://bucket/path, gs://... or abfs://... Credentials come from the environment. "
            "Default: files stay in Sage."
        ),
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType(nullable=False),
        default=False,
        title="Emit ACTIVATE_VERSION messages",
        description=(
            "After a full-table stream was read completely, let the target drop or flag rows of earlier reads. "
            "What that does depends on the target."
        ),
    ),
    th.Property(
        "log_metrics",
        th.BooleanType(nullable=False),
        default=False,
        title="Log metrics",
        description=(
            "Log METRIC lines, for programs that collect them: records by stream and business, seconds by stream."
        ),
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="How requests introduce themselves. Default: the tap's name and version.",
    ),
)

CONFIG_JSONSCHEMA: dict[str, Any] = SETTINGS.to_dict()
SECRETS = tuple(
    name for name, each in CONFIG_JSONSCHEMA["properties"].items() if each.get("secret") and name != "token_store"
)
"""The settings whose values logs must not show. The address of a token store is shown without its password."""


def parse_start_date(text: str) -> datetime:
    """Read a start date; UTC when it names no zone.

    Raises:
        ValueError: the text is no ISO 8601 date or date-time.
    """
    import pendulum  # noqa: PLC0415 - few runs have a start date

    found = pendulum.parse(text, tz="UTC", exact=True)
    if isinstance(found, pendulum.DateTime):
        return found.in_timezone("UTC")
    if isinstance(found, pendulum.Date):
        return pendulum.datetime(found.year, found.month, found.day, tz="UTC")
    raise ValueError(text)
