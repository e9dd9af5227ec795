"""Complete the pages of the finance models, and let dbt write its own, each time that the site is built.

MkDocs loads this file as a hook (see mkdocs.yml). What stands in `docs/models/` is written by hand: what a model is
for, how it ties, and an example. Columns, keys and origins come from the models' descriptions and from dbt.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from draw_models import diagrams
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from stream_table import code, table_row

from sage_workbench.marts import AREAS, PREFIX, Column, Mart, joins, marts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

TRANSFORM = Path(__file__).parent.parent / "transform"
DBT_PAGE = "dbt.html"
COLUMNS_HERE = re.compile(r"^.*<!-- generated: columns -->$", re.MULTILINE)
MODELS_HERE = re.compile(r"^.*<!-- generated: models -->$", re.MULTILINE)
DIAGRAM = re.compile(r"^!\[[^]]*\]\(\.\./assets/(models-\w+\.svg)\)$", re.MULTILINE)
TYPES = {
    "string": "text",
    "bigint": "whole number",
    "integer": "whole number",
    "boolean": "true or false",
    "date": "date",
    "timestamp": "timestamp (UTC)",
}


# What MkDocs calls


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a page for each model into the navigation, area by area."""
    (entry,) = (entry for entry in config.nav or () if "Finance models" in entry)
    pages = [{area: [f"models/{name}.md" for name in names]} for area, names in AREAS.items()]
    entry["Finance models"] += pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add dbt's own page."""
    files.append(File.generated(config, DBT_PAGE, content=dbt_documentation()[0]))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Fill in the parts that are generated."""
    markdown = MODELS_HERE.sub(lambda _: model_list(), markdown)
    drawn = {file.name: text for file, text in diagrams(linked=True).items()}
    markdown = DIAGRAM.sub(lambda found: f'<div class="diagram">{drawn[found[1]]}</div>', markdown)
    name = Path(page.file.src_uri).stem
    return COLUMNS_HERE.sub(lambda _: "\n".join(model_reference(name)), markdown)


# Pages


def model_list() -> str:
    """List all models, area by area, with their pages."""
    described = marts()
    lines = [
        f"[dbt's own documentation]({DBT_PAGE}) has every model and column, and where each comes from.",
        "",
    ]
    for area, names in AREAS.items():
        lines += [f"### {area}", "", "| Model | What it is |", "|---|---|"]
        lines += [table_row(f"[`{PREFIX}{name}`](models/{name}.md)", described[name].description) for name in names]
        lines.append("")
    return "\n".join(lines)


def model_reference(name: str) -> Iterator[str]:
    """Write the reference of a model: its columns, its key, what it joins and what it is made of."""
    described = marts()
    mart = described[name]
    yield from ("## Columns", "", f"The key: {code(mart.key)}.", "", "| Column | Type | Meaning |", "|---|---|---|")
    yield from (column_row(mart, column) for column in mart.columns)
    if others := joins(mart, described):
        yield from ("", "## Joins", "", "| Model | By |", "|---|---|")
        yield from (table_row(f"[`{PREFIX}{other.name}`]({other.name}.md)", code(other.key)) for other in others)
    models, streams = origins(name)
    yield from ("", "## Made from", "")
    yield f"The models {code(models)}, and through them the streams "
    yield ", ".join(f"[`{stream}`](../streams/{stream}.md)" for stream in streams) + "."


def column_row(mart: Mart, column: Column) -> str:
    """Write a row of the table of columns."""
    name = f"**`{column.name}`**" if column.name in mart.key else f"`{column.name}`"
    kind = TYPES.get(column.type, f"`{column.type}`")
    return table_row(name, kind, column.description)


# dbt


def origins(name: str) -> tuple[list[str], list[str]]:
    """Return the models that a model selects from, and the streams below them."""
    manifest = dbt_documentation()[1]
    parents: dict[str, list[str]] = manifest["parent_map"]
    top = f"model.sage_accounting.{PREFIX}{name}"
    found, waiting = {top}, [top]
    while waiting:
        new = set(parents[waiting.pop()]) - found
        found |= new
        waiting += new
    models = sorted(each.rpartition(".")[2] for each in parents[top] if each.startswith("model."))
    return models, sorted(each.rpartition(".")[2] for each in found if each.startswith("source."))


@cache
def dbt_documentation() -> tuple[str, dict[str, Any]]:
    """Let dbt build the models in an empty DuckDB and document them.

    Returns:
        dbt's page, and its manifest.

    Raises:
        PluginError: dbt failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {
            "DBT_PROJECT_DIR": str(TRANSFORM),
            "DBT_PROFILES_DIR": str(TRANSFORM),
            "DBT_TARGET": "duckdb",
            "DBT_DUCKDB_PATH": str(Path(scratch, "empty.duckdb")),
            "DBT_TARGET_PATH": scratch,
            "DBT_LOG_PATH": scratch,
            # dbt's page asks no other host for anything only if it is so.
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        for command in (["run"], ["docs", "generate", "--static", "--no-compile"]):
            done = subprocess.run(  # noqa: S603 - a fixed program
                [str(Path(sys.executable).with_name("dbt")), "--quiet", *command],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise PluginError(f"dbt {command[0]} failed:\n{done.stdout[-3000:]}")
        manifest = json.loads(Path(scratch, "manifest.json").read_text(encoding="utf-8"))
        return Path(scratch, "static_index.html").read_text(encoding="utf-8"), manifest
