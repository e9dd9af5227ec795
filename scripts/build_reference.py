"""Write the reference pages of the documentation site from the code, each time that the site is built.

MkDocs loads this file as a hook (see mkdocs.yml). The pages of the streams come from their declarations and schemas.
The page of the settings comes from their declaration. So none of them can go stale.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from stream_table import LEFT_OUT, LEGEND, by_area, code, deletions, offered_in, rights, selected, table_row

from tap_sage_accounting import schemas
from tap_sage_accounting.settings import CONFIG_JSONSCHEMA
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from tap_sage_accounting.client import SageStream

    Schema = Mapping[str, Any]

SETTING_GROUPS = {
    "Application and login": ("client_id", "client_secret", "refresh_token", "redirect_uri"),
    "Where tokens are kept": ("token_store", "token_store_key"),
    "What is read": ("business_ids", "start_date", "lookback_window", "deletion_sweep_days", "reread_documents_days"),
    "What the target gets": ("decimals", "reference_ids", "emit_activate_version_messages"),
    "How fast": ("concurrency", "requests_per_minute", "patience", "page_size", "idle_business_hours"),
    "Addresses": ("api_url", "auth_url", "token_url", "user_agent"),
    "The log": ("log_metrics",),
}
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
FORMATS = {"date": "date", "date-time": "timestamp (UTC)"}
REFERENCE = {"id", "displayed_as", "path"}
"""The attributes of a pointer to another record, which is explained once for all streams."""
STREAMS_HERE = "<!-- generated: streams -->"
SETTINGS_HERE = "<!-- generated: settings -->"
SDK_SETTINGS_HERE = "<!-- generated: settings of the SDK -->"
FOREIGN_ASSET = re.compile(r"<(?:script|img|iframe|link rel=\"(?:stylesheet|preconnect)\")[^>]* (?:src|href)=\"https?:")


# What MkDocs calls


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a page for each stream into the navigation, area by area."""
    (entry,) = (entry for entry in config.nav or () if "Streams" in entry)
    entry["Streams"] += [{area: [f"streams/{each.name}.md" for each in streams]} for area, streams in by_area()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the streams."""
    for stream in STREAMS:
        files.append(File.generated(config, f"streams/{stream.name}.md", content=stream_page(stream)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in the parts of hand-written pages that are generated."""
    parts = {STREAMS_HERE: stream_list, SETTINGS_HERE: settings_reference, SDK_SETTINGS_HERE: sdk_settings}
    for marker, write in parts.items():
        if marker in markdown:
            markdown = markdown.replace(marker, write())
    return markdown


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Refuse a page that would make the reader's browser ask another host for anything.

    Raises:
        PluginError: it would.
    """
    if foreign := FOREIGN_ASSET.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from elsewhere: {foreign[0]}")
    return output


# Streams


def stream_list() -> str:
    """Write the list of all streams, and what the words in it mean."""
    chosen = sum(stream.selected_by_default for stream in STREAMS)
    lines = ["## All streams", "", f"{len(STREAMS)} streams, {chosen} of them selected by default.", ""]
    for area, streams in by_area():
        lines += [f"### {area}", "", "| Stream | What it is | Replication | Deletions |", "|---|---|---|---|"]
        for stream in streams:
            cells = (f"[`{stream.name}`]({stream.name}.md)", sentence(stream), replication(stream), deletions(stream))
            lines.append(table_row(*cells))
        lines.append("")
    lines += ["## What the words mean", "", LEGEND, "", "## Left out", ""]
    lines += [f"- `{path}` {reason}." for path, reason in LEFT_OUT.items()]
    return "\n".join(lines)


def sentence(stream: type[SageStream]) -> str:
    """Give the sentence that says what a stream is."""
    return (stream.__doc__ or "").strip()


def replication(stream: type[SageStream]) -> str:
    """Name how a stream is read."""
    return "incremental" if stream.changed_since else "full"


def stream_page(stream: type[SageStream]) -> str:
    """Write the page of a stream: what it is, how it is read, and its columns."""
    properties = stream_columns(stream)
    lines = [f"# {stream.name}", "", sentence(stream), "", "| | |", "|---|---|"]
    lines += [table_row(f"**{name}**", fact) for name, fact in facts(stream) if fact]
    lines += ["", "## Columns", "", "| Column | Type | Meaning |", "|---|---|---|"]
    lines += [column_row(name, schema) for name, schema in properties.items()]
    for name, schema in properties.items():
        if inner := list(attributes_of(schema)):
            lines += ["", f"### Inside {name} {{ #{anchor(name)} }}", "", "| Attribute | Type | Meaning |"]
            lines += ["|---|---|---|", *(column_row(path, each, linked=False) for path, each in inner)]
    return "\n".join([*lines, ""])


def stream_columns(stream: type[SageStream]) -> dict[str, Schema]:
    """Read the columns that a target gets, with their schemas."""
    properties: dict[str, Schema] = schemas.load(stream.name, stream.primary_keys)["properties"]
    if "business_id" not in stream.primary_keys:
        properties = {name: schema for name, schema in properties.items() if name != "business_id"}
    return properties


def facts(stream: type[SageStream]) -> Iterator[tuple[str, str]]:
    """Return how a stream is read, where it exists and who may read it."""
    yield "Key", code(stream.primary_keys)
    if stream.collected:
        yield "Replication", "none: rows are written when they are known, and no request is sent for them"
        how = "not by default: see [runs as rows](../operations/monitoring.md#runs-as-rows)"
        yield "Selected", how if stream.opt_in else "by default"
        return
    yield (
        "Replication",
        "[incremental](../changes.md#changes), by `updated_at`"
        if stream.changed_since
        else "full: read whole each time",
    )
    yield "Deletions", f"[{deletions(stream)}](../changes.md#deletions)"
    yield "Rights needed", rights(stream)
    yield "Offered in", "all editions, in CA, GB and IE" if offered_in(stream) == "all" else offered_in(stream)
    yield (
        "Selected",
        {"no": "not by default: only in other countries or older versions of Sage's API"}.get(
            selected(stream), f"by default; meant to be read {selected(stream)}"
        ),
    )
    yield "Sent along", code(stream.flags)


def column_row(name: str, schema: Schema, *, linked: bool = True) -> str:
    """Write a row of a table of columns."""
    type_name = kind(schema)
    if linked and any(attributes_of(schema)):
        type_name = f"[{type_name}](#{anchor(name)})"
    return table_row(f"`{name}`", type_name, str(schema.get("description", "")))


def anchor(name: str) -> str:
    """Name the place of a column's attributes; dashes, for underscores are set apart in addresses."""
    return f"inside-{name.replace('_', '-')}"


def kind(schema: Schema) -> str:
    """Name the type of a value as a reader would."""
    of = [each for each in ([schema["type"]] if isinstance(schema["type"], str) else schema["type"]) if each != "null"]
    if of == ["object"]:
        return "[reference](index.md#references)" if set(schema.get("properties", ())) == REFERENCE else "object"
    if of == ["array"]:
        return f"list of {plural(kind(schema['items']))}"
    return FORMATS.get(schema.get("format", "")) or " or ".join(KINDS[each] for each in of)


def plural(name: str) -> str:
    """Make a type's name one of several."""
    return name.replace("reference]", "references]") if name.startswith("[") else f"{name}s"


def attributes_of(schema: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield everything inside an object or a list of them, by its path; references stay closed."""
    inner = schema.get("items", schema)
    properties: dict[str, Schema] = inner.get("properties", {})
    if set(properties) == REFERENCE:
        return
    for name, each in properties.items():
        yield prefix + name, each
        dots = "[]." if "items" in each else "."
        yield from attributes_of(each, f"{prefix}{name}{dots}")


# Settings


def settings_reference() -> str:
    """Write all settings of the tap, group by group.

    Raises:
        PluginError: the groups and the declared settings differ.
    """
    declared: dict[str, Schema] = CONFIG_JSONSCHEMA["properties"]
    grouped = [name for names in SETTING_GROUPS.values() for name in names]
    if sorted(grouped) != sorted(declared):
        raise PluginError(f"SETTING_GROUPS must hold each setting once: {set(grouped) ^ set(declared)}")
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
