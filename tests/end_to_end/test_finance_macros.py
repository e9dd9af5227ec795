"""What differs between warehouses stands in macros: each gives the same in Postgres and in DuckDB."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import psycopg
import pytest
import yaml

from sage_workbench.dbt_process import TRANSFORM, Dbt
from sage_workbench.embedded_postgres import postgres_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.postgres

ITEM = {"a": {"b": "x"}, "amount": "12.34", "nothing": None}
LIST = [{"name": "first", "a": {"b": 1}, "c": [{"d": "deep"}]}, {"name": "second", "c": []}]
KINDS = {
    "id": "text",
    "item": "object",
    "list": "objects",
    "amount": "number",
    "exchange_rate": "number",
    "times": "integer",
    "is_it": "boolean",
    "day": "date",
    "moment": "timestamp",
    "absent_amount": "number",
    "absent_list": "objects",
    "_sdc_extracted_at": "timestamp",
    "deleted_at": "timestamp",
}
SOURCES = {
    "version": 2,
    "sources": [
        {
            "name": "sage",
            "schema": "sage",
            "tables": [
                {"name": name, "columns": [{"name": each, "data_type": kind} for each, kind in KINDS.items()]}
                for name in ("things", "of_another_edition")
            ],
        }
    ],
}
COLUMNS = [name for name in KINDS if name not in {"_sdc_extracted_at", "deleted_at"}]
VALUES = {
    "amount": ("amount", Decimal("1.2346")),
    "rate": ("exchange_rate", Decimal("0.7549313959")),
    "times": ("times", 7),
    "is_it": ("is_it", True),
    "day": ("day", date(2024, 2, 29)),
    "moment": ("moment", datetime(2024, 2, 29, 12, 30)),  # noqa: DTZ001 - as both warehouses keep it
    "extracted_at": ("extracted_at", datetime(2024, 3, 1)),  # noqa: DTZ001
    "absent_amount": ("absent_amount", None),
    "absent_element": ("{{ sage_text(sage_element('absent_list', 0), 'name') }}", None),
    "text": ("{{ sage_text('item', ['a', 'b']) }}", "x"),
    "absent_text": ("{{ sage_text('item', ['a', 'c']) }}", None),
    "null_text": ("{{ sage_text('item', 'nothing') }}", None),
    "number": ("{{ sage_number('item', 'amount') }}", Decimal("12.34")),
    "element": ("{{ sage_text(sage_element('list', 1), 'name') }}", "second"),
    "no_element": ("{{ sage_text(sage_element('list', 2), 'name') }}", None),
    "month": ("{{ sage_month('day') }}", date(2024, 2, 1)),
    "month_end": ("{{ sage_month_end('day') }}", date(2024, 2, 29)),
    "later": ("{{ sage_plus_months('day', 12) }}", date(2025, 2, 28)),
    "year": ("{{ sage_financial_year_end('day', \"cast('2020-04-05' as date)\") }}", date(2024, 4, 5)),
    "next_year": ("{{ sage_financial_year_end('day', \"cast('2021-02-14' as date)\") }}", date(2025, 2, 14)),
    "leap_year": ("{{ sage_financial_year_end('day', \"cast('2023-02-28' as date)\") }}", date(2024, 2, 29)),
    "cents": ("{{ sage_cents('2.675') }}", Decimal("2.68")),
    "negative_cents": ("{{ sage_cents('-2.675') }}", Decimal("-2.68")),
    "not_due": ("{{ sage_age_band(0) }}", "not due"),
    "due": ("{{ sage_age_band(1) }}", "1 to 30 days"),
    "long_due": ("{{ sage_age_band(91) }}", "over 90 days"),
    "in_list": ("id in ({{ sage_list(['one', 'two']) }})", True),
    "numbers": ("(select count(*) from {{ sage_numbers() }} as numbers where n between 0 and 1199)", 1200),
    "numeric_of_bigquery": ("'{{ bigquery__sage_decimal(28, 4) }}'", "numeric(28, 4)"),
    "rate_of_bigquery": ("'{{ bigquery__sage_decimal(28, 10) }}'", "bignumeric(28, 10)"),
    "wide_of_bigquery": ("'{{ bigquery__sage_decimal(38, 2) }}'", "bignumeric(38, 2)"),
}
"""By name: what a model selects of the one row, and what it must be."""
FIELDS = "{'name': 'name', 'nested': ['a', 'b'], 'deep': ['c', 0, 'd']}"
MODELS = {
    "row": f"select {', '.join(f'{what} as {name}' for name, (what, _) in VALUES.items())}"
    f" from ({{{{ sage_source('things', {COLUMNS}) }}}}) as things",
    "elements": f"""with things as ({{{{ sage_source('things', {COLUMNS}) }}}})
        select * from ({{{{ sage_element_fields('things', 'list', ['id'], {FIELDS}) }}}}) as elements""",
    "nothing": f"select * from ({{{{ sage_source('of_another_edition', {COLUMNS}) }}}}) as nothing",
}
ELEMENTS = [("one", 1, "first", "1", "deep"), ("one", 2, "second", None, None)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the package's name with its macros, and models that do nothing but call them."""
    project = tmp_path_factory.mktemp("macros")
    (project / "macros").symlink_to(TRANSFORM / "macros")
    (project / "models").mkdir()
    (project / "models" / "sources.yml").write_text(yaml.safe_dump(SOURCES))
    for name, text in MODELS.items():
        (project / "models" / f"{name}.sql").write_text(text)
    (project / "dbt_project.yml").write_text(
        yaml.safe_dump({"name": "sage_accounting", "version": "1.0.0", "profile": "sage"})
    )
    return project


def table(types: dict[str, str]) -> str:
    """Write the statement that makes the table of things."""
    columns = [f'"{name}" {types[name]}' for name in KINDS if not name.startswith("absent")]
    return f"create schema sage; create table sage.things ({', '.join(columns)})"


def insertion(list_of_items: str) -> str:
    """Write the statement that fills it, with one row that Sage has deleted."""
    rows = ", ".join(
        f"('{name}', '{json.dumps(ITEM)}', {list_of_items}, '1.23456', '0.7549313959', '7', 'true', '2024-02-29',"
        f" '2024-02-29 12:30:00', '2024-03-01', {deleted})"
        for name, deleted in {"one": "null", "deleted": "'2024-03-01'"}.items()
    )
    return f"insert into sage.things values {rows}"


def check(row: tuple[Any, ...], elements: list[tuple[Any, ...]], nothing: list[tuple[Any, ...]]) -> None:
    assert dict(zip(VALUES, row, strict=True)) == {name: value for name, (_, value) in VALUES.items()}
    assert elements == ELEMENTS
    assert nothing == []


def test_macros_read_what_target_postgres_writes(project: Path, tmp_path: Path) -> None:
    types = dict.fromkeys(KINDS, "text") | {"item": "jsonb", "list": "jsonb[]", "amount": "numeric", "day": "date"}
    types |= {"exchange_rate": "numeric", "times": "bigint", "is_it": "boolean"}
    types |= dict.fromkeys(("moment", "_sdc_extracted_at", "deleted_at"), "timestamp")
    items = "array[" + ", ".join(f"'{json.dumps(each)}'::jsonb" for each in LIST) + "]"
    with postgres_server() as url, psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(table(types))
        connection.execute(insertion(items))
        parts = urlsplit(url)
        variables = {
            "DBT_POSTGRES_HOST": parse_qs(parts.query)["host"][0],
            "DBT_POSTGRES_USER": parts.netloc.removesuffix("@"),
            "DBT_POSTGRES_DATABASE": parts.path[1:],
        }
        with Dbt(tmp_path / "dbt", variables, project) as dbt:
            dbt.run("run")
        of = {name: connection.execute(f'select * from sage_finance."{name}"').fetchall() for name in MODELS}
        check(of["row"][0], sorted(of["elements"]), of["nothing"])


def test_macros_read_what_target_duckdb_writes(project: Path, tmp_path: Path) -> None:
    types = dict.fromkeys(KINDS, "varchar") | {"item": "json", "list": "json"}
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(file) as connection:
        connection.execute(table(types))
        connection.execute(insertion(f"'{json.dumps(LIST)}'"))
    with Dbt(tmp_path / "dbt", {"DBT_TARGET": "duckdb", "DBT_DUCKDB_PATH": str(file)}, project) as dbt:
        dbt.run("run")
    with duckdb.connect(file) as connection:
        of = {name: connection.execute(f'select * from sage_finance."{name}"').fetchall() for name in MODELS}
    check(of["row"][0], sorted(of["elements"]), of["nothing"])
