"""The form in which a user of Airbyte sets the source up: the tap's settings as Airbyte describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_sage_accounting.settings import AUTH_URL, CONFIG_JSONSCHEMA, TOKEN_URL

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUPS = {
    "login": ("Login", ("client_id", "client_secret", "refresh_token", "access_token", "token_expiry_date")),
    "data": (
        "What to extract",
        (
            "start_date",
            "business_ids",
            "decimals",
            "reference_ids",
            "attachments_url",
            "deletion_sweep_days",
            "reread_documents_days",
        ),
    ),
    "pace": (
        "Pace",
        ("requests_per_minute", "concurrency", "page_size", "patience", "lookback_window", "idle_business_hours"),
    ),
    "tokens": ("Token store", ("token_store", "token_store_key")),
    "addresses": ("Addresses", ("api_url", "token_url", "user_agent")),
}
"""The form: its groups, and the settings of each in order.

Settings that are not here belong to the tap's own login, or to messages that Airbyte does not have.
"""
ONLY_HERE: dict[str, dict[str, Any]] = {
    "access_token": {
        "type": "string",
        "title": "Access token",
        "description": "The newest access token. The source and the login in Airbyte keep it; leave it empty.",
        "secret": True,
        "airbyte_hidden": True,
    },
    "token_expiry_date": {
        "type": "string",
        "title": "End of the access token",
        "description": "Until when the access token is good. The source and the login in Airbyte keep it.",
        "airbyte_hidden": True,
    },
}
"""What Airbyte keeps between runs, and the tap keeps in its token store."""
DIFFERENT: dict[str, dict[str, Any]] = {
    "refresh_token": {
        "title": "Refresh token",
        "description": (
            "The newest refresh token. It works once: the source hands its successor back to Airbyte as soon as Sage "
            "has issued it. Leave it empty when the token store holds a login."
        ),
    },
    "token_store": {
        "description": (
            "URL of a PostgreSQL database that keeps the rotated tokens, postgresql://... Needed "
            "where several connections share a login; otherwise Airbyte keeps them."
        ),
    },
    "attachments_url": {
        "description": (
            "Fetch the files of attachments, one request each, and store them below this address. A directory must "
            "outlive the source's container; a bucket needs its package and its credentials in there."
        ),
    },
    "start_date": {
        "pattern": r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?$",
        "pattern_descriptor": "YYYY-MM-DD or YYYY-MM-DDTHH:mm:ssZ",
        "examples": ["2025-01-01", "2025-01-01T00:00:00Z"],
        "format": "date-time",
    },
    "decimals": {
        "default": "text",
        "enum": ["text", "number"],
        "description": (
            "How amounts, quantities and rates travel. As `text` they keep every digit and are cast in SQL. As "
            "`number` they become what the destination makes of JSON numbers: at best 9 decimal places, often floating "
            "point. Decide before the first sync: it is the type of columns."
        ),
    },
}
"""Where Airbyte differs from Singer: who keeps tokens, how dates are picked, how numbers travel.

Numbers are no safe default. Some destinations read JSON numbers as binary floating point, and others round them to 9
places; Sage's exchange rates have 10.
"""
NOT_HERE = frozenset(("emit_activate_version_messages", "log_metrics"))
"""Settings for messages that Airbyte does not have, and for counts that it makes itself."""


def specification() -> dict[str, Any]:
    """Return the `spec` of a SPEC message."""
    return {
        "protocol_version": "0.2.0",
        "supportsIncremental": True,
        "supported_destination_sync_modes": ["overwrite", "append", "append_dedup"],
        "connectionSpecification": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "title": "Sage Business Cloud Accounting",
            "required": CONFIG_JSONSCHEMA["required"],
            "additionalProperties": True,
            "groups": [{"id": group, "title": title} for group, (title, _) in GROUPS.items()],
            "properties": {
                name: _property(name) | {"group": group, "order": order}
                for group, (_, names) in GROUPS.items()
                for order, name in enumerate(names)
            },
        },
        "advanced_auth": {
            "auth_flow_type": "oauth2.0",
            "oauth_config_specification": _oauth(),
        },
    }


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tap's settings: without what only Airbyte knows, with Airbyte's defaults. Empty fields are not set."""
    given = {name: value for name, value in config.items() if value is not None and value != ""}
    defaults = {name: changes["default"] for name, changes in DIFFERENT.items() if "default" in changes}
    return defaults | {name: value for name, value in given.items() if name not in NOT_HERE | ONLY_HERE.keys()}


def _property(name: str) -> dict[str, Any]:
    """Declare a setting in the words of Airbyte's forms: one type, no null, `airbyte_secret`."""
    declared = ONLY_HERE.get(name) or {**CONFIG_JSONSCHEMA["properties"][name], **DIFFERENT.get(name, {})}
    described = {key: value for key, value in declared.items() if key not in ("secret", "writeOnly")}
    described["type"] = _single(declared["type"])
    if "items" in described:
        described["items"] = {**described["items"], "type": _single(described["items"]["type"])}
    if declared.get("secret"):
        described["airbyte_secret"] = True
    return described


def _single(kind: str | list[str]) -> str:
    return kind if isinstance(kind, str) else next(each for each in kind if each != "null")


def _oauth() -> dict[str, Any]:
    """Describe the login that Airbyte does itself: Sage's consent page, its token endpoint, and what to keep.

    The access token and its end are kept too. The test before a source exists must not spend the refresh token:
    Airbyte cannot keep its successor yet.
    """
    text = {"type": "string"}
    credentials = {"client_id": text, "client_secret": text}
    answers = {"access_token": "access_token", "refresh_token": "refresh_token", "token_expiry_date": "expires_in"}
    return {
        "oauth_connector_input_specification": {
            "consent_url": (
                f"{AUTH_URL}?filter=apiv3.1&response_type=code&{{{{client_id_param}}}}&{{{{redirect_uri_param}}}}"
                "&{{scope_param}}&{{state_param}}"
            ),
            "scope": "readonly",
            "access_token_url": TOKEN_URL,
            "access_token_headers": {"Accept": "application/json"},
            "access_token_params": {
                "grant_type": "authorization_code",
                "client_id": "{{ client_id_value }}",
                "client_secret": "{{ client_secret_value }}",
                "code": "{{ auth_code_value }}",
                "redirect_uri": "{{ redirect_uri_value }}",
            },
            "extract_output": list(answers.values()),
        },
        "complete_oauth_output_specification": {
            "type": "object",
            "required": list(answers),
            "properties": {
                name: {"type": "string", "path_in_connector_config": [name], "path_in_oauth_response": [answer]}
                for name, answer in answers.items()
            },
        },
        "complete_oauth_server_input_specification": {
            "type": "object",
            "required": list(credentials),
            "properties": credentials,
        },
        "complete_oauth_server_output_specification": {
            "type": "object",
            "required": list(credentials),
            "properties": {name: {**kind, "path_in_connector_config": [name]} for name, kind in credentials.items()},
        },
    }
