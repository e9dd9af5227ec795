#!/usr/bin/env python
"""Hold the places that describe the tap's settings and selections together.

Settings are declared once, in `tap_sage_accounting/settings.py`, and what a stream is in
`tap_sage_accounting/streams`. From there, `--write` renews the tables of README.md, docs/settings.md and
docs/streams/index.md, the definitions in meltano.yml and plugin.yaml, and .env.example. The latter also names the
settings of meltano.yml's loaders. Without `--write`, the script reports which are stale, and exits with 1 if any is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import settings_page
import stream_table
import yaml

from tap_sage_accounting.settings import CONFIG_JSONSCHEMA
from tap_sage_accounting.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
Settings = dict[str, dict[str, Any]]
_KINDS = {"integer": "integer", "number": "decimal", "boolean": "boolean", "array": "array", "object": "object"}
SDK_SETTINGS: list[dict[str, Any]] = [
    {
        "name": "stream_maps",
        "label": "Stream maps",
        "kind": "object",
        "description": "How to change, hash, drop or filter attributes and records before they leave the tap.",
    },
    {
        "name": "stream_map_config",
        "label": "Values for stream maps",
        "kind": "object",
        "description": "Values that the expressions of stream_maps may use, such as the seed of a hash.",
    },
    {
        "name": "flattening_enabled",
        "label": "Flatten",
        "kind": "boolean",
        "description": "Make columns of nested attributes; for targets that cannot store objects.",
    },
    {
        "name": "flattening_max_depth",
        "label": "Depth of flattening",
        "kind": "integer",
        "description": "How many levels of nested attributes become columns.",
    },
    {
        "name": "batch_config",
        "label": "Batch files",
        "kind": "object",
        "description": "Write records to files of JSON lines below `storage.root`, and name them in BATCH messages.",
    },
]
"""Settings that the Singer SDK gives to every tap, as far as this tap's users need them."""


def declared() -> Settings:
    """Read the declaration: JSON schema by the setting's name."""
    settings: Settings = CONFIG_JSONSCHEMA["properties"]
    return settings


def meltano_setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a setting as Meltano wants it."""
    setting: dict[str, Any] = {"name": name, "label": schema["title"], "kind": _kind(name, schema)}
    if "enum" in schema:
        setting["options"] = [{"label": str(value).capitalize(), "value": value} for value in schema["enum"]]
    if schema.get("secret"):
        setting["sensitive"] = True
    if "default" in schema:
        setting["value"] = schema["default"]
    return {**setting, "description": schema["description"]}


def _kind(name: str, schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "options"
    if name.endswith("_date"):
        return "date_iso8601"  # Meltano then also takes "6 months ago"
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return next((_KINDS[each] for each in types if each in _KINDS), "string")


def meltano_block(settings: Settings, indent: str) -> str:
    """Write the settings as a block of a YAML list."""
    entries = [*(meltano_setting(name, schema) for name, schema in settings.items()), *SDK_SETTINGS]
    text = yaml.safe_dump(entries, sort_keys=False, width=10_000, allow_unicode=True)
    return "".join(f"{indent}{line}\n" for line in text.splitlines())


def selections() -> dict[str, list[str]]:
    """Name the selections of meltano.yml: Meltano's selection rules by the name of the markers."""
    current = [stream for stream in STREAMS if stream.selected_by_default]
    return {
        "select": ["*.*", *(f"!{stream.name}.*" for stream in STREAMS if not stream.selected_by_default)],
        "transactional": [f"{stream.name}.*" for stream in current if not stream.static],
        "reference": [f"{stream.name}.*" for stream in current if stream.static or stream.collected],
    }


def selection(name: str, indent: str) -> str:
    """Write one of the selections as a block of a YAML list."""
    return "".join(f"{indent}- '{rule}'\n" for rule in selections()[name])


def project_definition(text: str) -> str:
    """Renew the tap's definition in meltano.yml: its settings and the selections."""
    text = between(text, "# settings:begin", "# settings:end", meltano_block(declared(), "    "))
    for name in selections():
        text = between(text, f"# {name}:begin", f"# {name}:end", selection(name, "    "))
    return text


def plugin_definition(text: str) -> str:
    """Renew plugin.yaml. Its own keys are the marks, for `meltano add` would copy comments into the user's project."""
    text = between(text, "select:", "settings_group_validation:", selection("select", ""))
    return between(text, "settings:", "commands:", meltano_block(declared(), ""))


IN_README = ("client_id", "client_secret", "business_ids", "start_date", "decimals", "token_store")
"""Settings that most people need; the documentation has all."""


def readme_block(settings: Settings) -> str:
    """Write the settings that most people need as a Markdown table."""
    required = CONFIG_JSONSCHEMA.get("required", [])
    lines = ["| Setting | Default | Meaning |", "|---|---|---|"]
    for name in IN_README:
        schema = settings[name]
        default = f"`{schema['default']}`" if "default" in schema else "required" if name in required else ""
        meaning = f"{schema['description']}{' Secret.' if schema.get('secret') else ''}"
        lines.append(f"| `{name}` | {default} | {meaning.replace('|', chr(92) + '|')} |")
    return "".join(f"{line}\n" for line in ["", *lines, ""])


def environment_example(settings: Settings) -> str:
    """Write a `.env` to fill in: what must be set, and what may be."""
    required = CONFIG_JSONSCHEMA.get("required", [])
    lines = ["# Copy to .env and fill in. Meltano reads it; it stays out of the repository."]
    for name, schema in settings.items():
        comment = "" if name in required else "# "
        lines += ["", f"# {schema['description']}"]
        lines.append(f"{comment}TAP_SAGE_ACCOUNTING_{name.upper()}={_example(schema.get('default'))}")
    return "\n".join([*lines, *_loaders_example()]) + "\n"


def _loaders_example() -> Iterator[str]:
    """Name the variables of each loader's settings that have no value yet."""
    plugins = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))["plugins"]
    for loader in plugins["loaders"]:
        if unset := [setting for setting in loader["settings"] if "value" not in setting]:
            yield f"\n# {loader['name']}"
        for setting in unset:
            yield f"# {setting['description']}."
            yield f"# {loader['name'].upper().replace('-', '_')}_{setting['name'].upper()}="


def _example(default: Any) -> str:
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def between(text: str, begin: str, end: str, block: str) -> str:
    """Replace the lines between the one that holds a mark first and the next that holds the other.

    Raises:
        ValueError: A mark is missing.
    """
    head, found_begin, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"Mark {begin!r} or {end!r} is missing.")
    indent = head.rpartition("\n")[2]
    return f"{head}{begin}\n{block}{indent}{end}{tail}"


def marked(**blocks: str) -> Callable[[str], str]:
    """Renew the parts of a page that stand between marks of their names."""

    def renew(text: str) -> str:
        for name, block in blocks.items():
            text = between(text, f"<!-- {name}:begin -->", f"<!-- {name}:end -->", f"\n{block.strip()}\n\n")
        return text

    return renew


RENEWALS: dict[str, Callable[[str], str]] = {
    "README.md": marked(settings=readme_block(declared()), streams=stream_table.markdown()),
    "docs/settings.md": marked(settings=settings_page.settings_reference(), sdk=settings_page.sdk_settings()),
    "docs/streams/index.md": marked(streams=stream_table.stream_list()),
    "meltano.yml": project_definition,
    "plugin.yaml": plugin_definition,
    ".env.example": lambda _: environment_example(declared()),
}
"""How each file's text is renewed."""


@click.command()
@click.option("--write", is_flag=True, help="Renew the files instead of reporting which are stale.")
def main(*, write: bool) -> None:
    """Hold README, pages of settings and streams, meltano.yml, plugin.yaml and .env.example together with the code."""
    stale = []
    for name, renew in RENEWALS.items():
        file = ROOT / name
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        renewed = renew(text)
        if renewed != text:
            stale.append(name)
            if write:
                file.write_text(renewed, encoding="utf-8")
    if stale:
        click.echo(f"{'Renewed' if write else 'Stale'}: {', '.join(stale)}")
    if stale and not write:
        click.echo("Run: uv run python scripts/sync_settings.py --write", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
