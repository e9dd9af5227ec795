"""Write the sources of the finance models from the tap's schemas: `python scripts/build_sources.py --write`.

Without `--write`, fails if the file is not what it would write.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tap_sage_accounting import schemas
from tap_sage_accounting.streams import STREAMS
from tap_sage_accounting.streams.runs import Runs

if TYPE_CHECKING:
    from tap_sage_accounting.client import SageStream

TARGET = Path(__file__).parent.parent / "transform" / "models" / "staging" / "sources.yml"
HEAD = "# Made by scripts/build_sources.py from tap_sage_accounting/schemas.\n"
FRESHNESS = {
    "loaded_at_field": "cast(ended_at as timestamp)",
    "freshness": {
        "warn_after": {"count": 1, "period": "day"},
        "error_after": {"count": 3, "period": "day"},
        "filter": "status = 'complete'",
    },
}
"""When `dbt source freshness` warns or fails, by the table of runs; a project may set other times."""
FORMATS = {"date": "date", "date-time": "timestamp"}


def main() -> None:
    """Write the file, or compare it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true", help="write the file instead of comparing it")
    text = HEAD + yaml.safe_dump(sources(), sort_keys=False, width=120, allow_unicode=True)
    if arguments.parse_args().write:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET} is out of date: run scripts/build_sources.py --write")


def sources() -> dict[str, Any]:
    """Describe every stream that is not retired as a table of the source."""
    tables = [_table(stream) for stream in STREAMS if not stream.retired]
    source = {
        "name": "sage",
        "description": "What tap-sage-accounting loaded from Sage Business Cloud Accounting.",
        "database": "{{ var('sage_database') or target.database }}",
        "schema": "{{ var('sage_schema') }}",
        "tables": tables,
    }
    return {"version": 2, "sources": [source]}


def _table(stream: type[SageStream]) -> dict[str, Any]:
    schema = schemas.load(stream.name, stream.primary_keys)
    properties = {
        key: part for key, part in schema["properties"].items() if key != "business_id" or key in stream.primary_keys
    }
    columns = [
        {"name": key, "description": part.get("description", ""), "data_type": kind_of(part)}
        for key, part in properties.items()
    ]
    meta = {"area": stream.__module__.rpartition(".")[2], "read": "daily" if stream.static else "hourly"}
    config = {"meta": meta, **(FRESHNESS if stream is Runs else {})}
    return {"name": stream.name, "description": schema["description"], "config": config, "columns": columns}


def kind_of(part: dict[str, Any]) -> str:
    """Name the kind of a column: text, number, integer, boolean, date, timestamp, object, objects or texts."""
    declared = [each for each in part["type"] if each != "null"] if isinstance(part["type"], list) else [part["type"]]
    match declared:
        case ["string"]:
            return FORMATS.get(part.get("format", ""), "text")
        case ["array"]:
            return "objects" if "properties" in part["items"] else "texts"
        case [kind]:
            return str(kind)
        case _:
            raise ValueError(part)


if __name__ == "__main__":
    main()
