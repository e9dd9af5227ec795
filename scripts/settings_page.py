"""The reference of all settings, made from their declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_table import table_row

from tap_sage_accounting.settings import CONFIG_JSONSCHEMA
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Mapping

    Schema = Mapping[str, Any]

SETTING_GROUPS = {
    "Application and login": ("client_id", "client_secret", "refresh_token", "redirect_uri"),
    "Where tokens are kept": ("token_store", "token_store_key"),
    "What is read": ("business_ids", "start_date", "lookback_window", "deletion_sweep_days", "reread_documents_days"),
    "Files": ("attachments_url",),
    "What the target gets": ("decimals", "reference_ids", "emit_activate_version_messages"),
    "How fast": ("concurrency", "requests_per_minute", "patience", "page_size", "idle_business_hours"),
    "Addresses": ("api_url", "auth_url", "token_url", "user_agent"),
    "The log": ("log_metrics",),
}
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def settings_reference() -> str:
    """Write all settings of the tap, group by group.

    Raises:
        ValueError: the groups and the declared settings differ.
    """
    declared: dict[str, Schema] = CONFIG_JSONSCHEMA["properties"]
    grouped = [name for names in SETTING_GROUPS.values() for name in names]
    if sorted(grouped) != sorted(declared):
        raise ValueError(f"SETTING_GROUPS must hold each setting once: {set(grouped) ^ set(declared)}")
    lines: list[str] = []
    for group, names in SETTING_GROUPS.items():
        lines += [f"## {group}", ""]
        for name in names:
            lines += setting_entry(name, declared[name])
    return "\n".join(lines)


def setting_entry(name: str, schema: Schema) -> list[str]:
    """Write what there is to know about a setting."""
    facts = [kind_of_setting(schema)]
    facts += ["**required**"] if name in CONFIG_JSONSCHEMA["required"] else []
    facts += [f"default `{in_json(schema['default'])}`"] if "default" in schema else []
    facts += ["secret"] if schema.get("secret") else []
    return [
        f"### {name}",
        "",
        f"{schema['title']}: {' · '.join(facts)} · `TAP_SAGE_ACCOUNTING_{name.upper()}`",
        "",
        schema["description"],
        "",
    ]


def kind_of_setting(schema: Schema) -> str:
    """Name the type of a setting, with its bounds."""
    if choices := schema.get("enum"):
        return " or ".join(f"`{choice}`" for choice in choices if choice is not None)
    of = [each for each in ([schema["type"]] if isinstance(schema["type"], str) else schema["type"]) if each != "null"]
    name = {"array": "list of texts", "object": "object"}.get(of[0]) or KINDS[of[0]]
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is None:
        return name
    return f"{name}, {lowest} to {highest}" if highest is not None else f"{name}, {lowest} or more"


def in_json(value: object) -> str:
    """Write a default as one would in JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def sdk_settings() -> str:
    """Write the settings that the SDK adds to every tap."""
    known = TapSageAccounting.known_settings()
    added = {name: schema for name, schema in known.items() if name not in CONFIG_JSONSCHEMA["properties"]}
    lines = ["| Setting | Meaning |", "|---|---|"]
    for name, schema in added.items():
        lines.append(table_row(f"`{name}`", first_paragraph(schema.get("description", ""))))
        for inner, each in schema.get("properties", {}).items():
            lines.append(table_row(f"`{name}.{inner}`", first_paragraph(each.get("description", ""))))
    return "\n".join(lines)


def first_paragraph(text: str) -> str:
    """Give the first paragraph of a description, in one line."""
    return " ".join(text.partition("\n\n")[0].split())
