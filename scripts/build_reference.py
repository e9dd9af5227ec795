"""Write the reference pages of the documentation site from the code, each time that the site is built.

MkDocs loads this file as a hook (see mkdocs.yml). The pages of the streams come from their declarations and schemas, so
none of them can go stale. Pages that read well in the repository get here what only the site can show.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from stream_table import by_area, code, deletions, offered_in, rights, selected, sentence, table_row

from tap_sage_accounting import schemas
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from tap_sage_accounting.client import SageStream

    Schema = Mapping[str, Any]

ROOT = Path(__file__).parent.parent
KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
FORMATS = {"date": "date", "date-time": "timestamp (UTC)"}
REFERENCE = {"id", "displayed_as", "path"}
"""The attributes of a pointer to another record, which is explained once for all streams."""
SHOWN_HERE = re.compile(r"^.*\]\((?:\.\./)+([\w./@-]+)\).*<!-- shown here(?:: (\w+))? -->$", re.MULTILINE)
PAGE_OF = {
    "CHANGELOG.md": "releases.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "transform/README.md": "models.md",
}
"""Pages that show a file which the repository has elsewhere."""
FILE_WITH_PAGE = re.compile(rf"\]\(((?:\.\./)*)\.\./({'|'.join(map(re.escape, PAGE_OF))})")
HIDDEN = {"index.md": ["navigation"], "development/architecture.md": ["toc"], "models/joins.md": ["toc"]}
"""What a page does without, for the sake of its width."""
SCHEMA = re.compile(r"\]\(\.\./\.\./tap_sage_accounting/schemas/(\w+)\.json\)")
TABLE = re.compile("<table>.*?</table>", re.DOTALL)
FEWEST_COLUMNS = 3
"""Of tables that do not fit a phone."""
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


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Show the files that a page links to for readers in the repository, and lead to pages instead of such files."""
    page.meta["hide"] = HIDDEN.get(page.file.src_uri, [])
    markdown = SHOWN_HERE.sub(shown_file, markdown)
    markdown = FILE_WITH_PAGE.sub(lambda found: f"]({found[1]}{PAGE_OF[found[2]]}", markdown)
    return SCHEMA.sub(r"](\1.md)", markdown)


def on_page_content(html: str, **_: object) -> str:
    """Let rows of three or more columns be set as cards where the screen is narrow (see site.css)."""
    return TABLE.sub(lambda found: as_cards(found[0]), html)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Refuse a page that would make the reader's browser ask another host for anything.

    Raises:
        PluginError: it would.
    """
    if foreign := FOREIGN_ASSET.search(output):
        raise PluginError(f"{page.file.src_uri} loads something from elsewhere: {foreign[0]}")
    return output


def shown_file(link: re.Match[str]) -> str:
    """Write what a file holds, in the place of a link to it: a page as it is, anything else as a block of code."""
    text = (ROOT / link[1]).read_text(encoding="utf-8").rstrip("\n")
    return f'```{link[2]} title="{link[1]}"\n{text}\n```' if link[2] else text.replace("](docs/", "](")


def as_cards(table: str) -> str:
    """Mark a table whose rows can be cards, and give each cell after the first the name of its column."""
    names = [re.sub("<.*?>", "", name) for name in re.findall(r"<th.*?>(.*?)</th>", table)]
    if len(names) < FEWEST_COLUMNS:
        return table

    def labelled(row: re.Match[str]) -> str:
        labels = iter(["", *names[1:]])
        return re.sub("<td", lambda _: f'<td data-label="{label}"' if (label := next(labels)) else "<td", row[0])

    return re.sub("<tr>.*?</tr>", labelled, table, flags=re.DOTALL).replace("<table>", "<table data-cards>")


# Streams


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
