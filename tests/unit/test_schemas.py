"""Every readable object has a schema that lands unchanged in any warehouse and says to an analyst what it means."""

from __future__ import annotations

import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from support.every import each
from support.sage_bodies import BODIES
from support.scripts import load_script
from tap_sage_accounting import schemas
from tap_sage_accounting.records.converter import RecordConverter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    Schema = dict[str, Any]

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tap_sage_accounting" / "schemas").glob("*.json"))
STREAMS = [path.stem for path in FILES if path.stem != "shared"]
every_schema = each(STREAMS)


def names(text: str) -> list[str]:
    return text.split()


SINGLE_OBJECTS = names("""
    business_settings cis_settings datev_settings email_settings financial_settings invoice_settings migrations
    trial_balance user
""")
LISTS = names("""
    address_regions address_types addresses analysis_type_categories analysis_types artefact_statuses
    attachment_context_types attachments bank_account_types bank_accounts bank_deposits bank_opening_balances
    bank_reconciliations bank_transfers business_activity_types business_exchange_rates business_types businesses
    catalog_item_types coa_accounts coa_templates contact_allocations contact_opening_balance_types
    contact_opening_balances contact_payments contact_person_types contact_persons contact_types contacts
    corrective_reason_codes countries countries_of_registration country_groups currencies draft_tax_returns
    eu_goods_services_types eu_sales_descriptions exchange_rates hosted_artefact_payment_settings journal_code_types
    journal_codes journals ledger_account_classifications ledger_account_opening_balances ledger_account_types
    ledger_accounts ledger_entries legal_form_types live_exchange_rates migration_tax_returns opening_balance_journals
    other_payments payment_methods product_sales_price_types products purchase_corrective_invoices
    purchase_credit_notes purchase_invoices purchase_quick_entries quick_entry_types sales_corrective_invoices
    sales_credit_notes sales_estimates sales_invoices sales_quick_entries sales_quotes service_rate_types services
    stock_items stock_movements tax_offices tax_profiles tax_rates tax_return_frequencies tax_returns tax_schemes
    tax_types transaction_types transactions unallocated_artefacts
""")

DELETION_TOLD = names("""
    addresses attachments bank_accounts bank_deposits bank_transfers contact_allocations contact_opening_balances
    contact_payments contact_persons contacts journals other_payments products purchase_corrective_invoices
    purchase_credit_notes purchase_invoices purchase_quick_entries sales_corrective_invoices sales_credit_notes
    sales_invoices sales_quick_entries services stock_items
""")
DELETION_UNTOLD = names("""
    analysis_type_categories bank_opening_balances business_exchange_rates draft_tax_returns
    hosted_artefact_payment_settings journal_codes ledger_account_opening_balances opening_balance_journals
    product_sales_price_types sales_estimates sales_quotes service_rate_types stock_movements tax_rates
""")

SCALARS = {"string", "number", "integer", "boolean"}
KEYWORDS = {
    "object": {"type", "description", "properties"},
    "array": {"type", "description", "items"},
    "string": {"type", "description", "format", "x-empty-is-null"},
    "number": {"type", "description"},
    "integer": {"type", "description"},
    "boolean": {"type", "description"},
}


def kind(part: Schema) -> str:
    declared = part["type"]
    return str(declared if isinstance(declared, str) else next(name for name in declared if name != "null"))


def parts(schema: Schema, place: str = "") -> Iterator[tuple[str, Schema]]:
    """Every part of a schema with its place: properties at all levels, and what arrays hold."""
    for name, part in schema.get("properties", {}).items():
        here = f"{place}.{name}" if place else name
        yield here, part
        yield from parts(part, here)
    if "items" in schema:
        yield f"{place}[]", schema["items"]
        yield from parts(schema["items"], f"{place}[]")


def test_every_readable_object_has_a_schema() -> None:
    assert len(SINGLE_OBJECTS) + len(LISTS) == 89
    assert schemas.names() == sorted([*SINGLE_OBJECTS, *LISTS, "deletions", "run_reads", "runs"])


@every_schema
def test_every_schema_is_typed_at_every_level(stream: str) -> None:
    for place, part in parts(schemas.load(stream, ())):
        assert isinstance(part["type"], list), place
        assert part["type"] == [kind(part), "null"], place
        if kind(part) == "object":
            assert part["properties"], place
        elif kind(part) == "array":
            assert part["items"]["type"], place
        else:
            assert kind(part) in SCALARS, place
        assert part.get("format", "date") in {"date", "date-time"}, place


@every_schema
def test_every_schema_uses_no_keyword_that_a_target_could_refuse_a_record_for(stream: str) -> None:
    for place, part in parts(schemas.load(stream, ())):
        assert part.keys() <= KEYWORDS[kind(part)], place


@every_schema
def test_every_schema_names_columns_that_every_warehouse_takes(stream: str) -> None:
    for place, _ in parts(schemas.load(stream, ())):
        name = place.rpartition(".")[2].removesuffix("[]")
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name), place


@every_schema
def test_every_schema_describes_every_property_in_a_short_sentence(stream: str) -> None:
    schema = schemas.load(stream, ())
    assert re.fullmatch(r"[A-Z].{15,138}\.", schema["description"])
    for place, part in parts(schema):
        if not place.endswith("[]"):
            assert re.fullmatch(r"[A-Z0-9].{5,138}\.", part["description"]), place


@every_schema
def test_every_schema_names_the_currency_or_unit_of_every_amount(stream: str) -> None:
    units = re.compile(r"currency|[Pp]ercent|\bunits?\b|one (moved )?unit|pounds|euros|Reciprocal|[Ee]xchange rate")
    for place, part in parts(schemas.load(stream, ())):
        if kind(part) == "number":
            assert units.search(part["description"]), place


@every_schema
def test_every_schema_refers_to_other_records_by_id_label_and_path(stream: str) -> None:
    for place, part in parts(schemas.load(stream, ())):
        if kind(part) == "object" and "path" in part["properties"]:
            assert list(part["properties"])[:3] == ["id", "displayed_as", "path"], place


@every_schema
def test_every_schema_stands_alone_with_the_columns_that_all_streams_have(stream: str) -> None:
    schema = schemas.load(stream, ())
    columns = list(schema["properties"])
    assert "$ref" not in json.dumps(schema)
    assert (columns[0], columns[-1]) == ("business_id", "additional_attributes")
    assert schema["properties"]["additional_attributes"]["type"] == ["string", "null"]


@each(FILES, lambda path: path.stem)
def test_no_property_stands_twice_in_a_file(path: Path) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> Schema:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), names
        return dict(pairs)

    json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)


def test_every_shared_part_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FILES)
    for part in json.loads((FILES[0].parent / "shared.json").read_text(encoding="utf-8"))["$defs"]:
        assert f'"shared.json#/$defs/{part}"' in text


@each(DELETION_TOLD + DELETION_UNTOLD)
def test_streams_whose_records_can_be_deleted_say_when(stream: str) -> None:
    assert schemas.load(stream, ())["properties"]["deleted_at"]["format"] == "date-time"


@pytest.mark.parametrize("stream", ["ledger_entries", "transactions"])
def test_streams_that_keep_deleted_records_flag_them(stream: str) -> None:
    assert kind(schemas.load(stream, ())["properties"]["deleted"]) == "boolean"


@pytest.mark.parametrize(
    ("stream", "place", "expected"),
    [
        ("sales_invoices", "date", ("string", "date")),
        ("sales_invoices", "updated_at", ("string", "date-time")),
        ("stock_movements", "date", ("string", "date-time")),
        ("stock_items", "cost_price_last_updated", ("string", "date-time")),
        ("stock_movements", "movement_number", ("integer", None)),
        ("stock_movements", "stock_item.sales_prices[].price", ("number", None)),
        ("transactions", "audit_trail_id", ("integer", None)),
        ("transactions", "number_of_attachments", ("integer", None)),
        ("analysis_types", "analysis_type_level.id", ("integer", None)),
        ("journals", "journal_lines[].journal_line_foreign_currency.exchange_rate", ("number", None)),
        ("journals", "journal_lines[].ledger_account.nominal_code", ("integer", None)),
        ("purchase_credit_notes", "inverse_exchange_rate", ("number", None)),
        ("purchase_corrective_invoices", "inverse_exchange_rate", ("number", None)),
        ("sales_invoices", "invoice_lines[].tax_breakdown[].amount", ("number", None)),
        ("sales_invoices", "payments_allocations[].contact_payment.links[].href", ("string", None)),
        ("sales_invoices", "corrections[].base_currency_total_amount", ("number", None)),
        ("contacts", "default_sales_ledger_account.ledger_account_group.id", ("string", None)),
        ("contacts", "main_contact_person.contact_person_types[].id", ("string", None)),
        ("contact_payments", "payment_on_account.outstanding_amount", ("number", None)),
        ("tax_rates", "component_tax_rates[].percentages[].from_date", ("string", "date")),
        ("businesses", "user_permissions[].role", ("string", None)),
        ("trial_balance", "closing_balance_credit", ("number", None)),
        ("migration_tax_returns", "ie.box_es1", ("number", None)),
        ("attachments", "file_path", ("string", None)),
    ],
)
def test_types_are_what_sage_sends(stream: str, place: str, expected: tuple[str, str | None]) -> None:
    part = dict(parts(schemas.load(stream, ())))[place]
    assert (kind(part), part.get("format")) == expected


def test_the_date_of_the_last_payment_stays_text_whose_emptiness_means_never() -> None:
    found = [schemas.load(stream, ())["properties"].get("last_paid") for stream in DELETION_TOLD]
    dates = [part for part in found if part is not None]
    assert len(dates) >= 4
    assert all((part["type"], part["x-empty-is-null"]) == (["string", "null"], True) for part in dates)


class TestLoading:
    def test_keys_are_never_null_and_everything_else_may_be(self) -> None:
        properties = schemas.load("exchange_rates", ("business_id", "currency_id"))["properties"]
        assert [name for name, part in properties.items() if "null" not in part["type"]] == [
            "business_id",
            "currency_id",
        ]
        assert properties["currency_id"]["type"] == "string"

    def test_what_is_loaded_can_be_changed_without_changing_what_is_loaded_next(self) -> None:
        changed = schemas.load("sales_invoices", ("business_id", "id"))
        changed["properties"]["contact"]["properties"]["id"]["type"].append("integer")
        changed["properties"]["business_id"]["description"] = "changed"
        del changed["properties"]["invoice_lines"]["items"]["properties"]["quantity"]
        again = schemas.load("sales_invoices", ("business_id", "id"))["properties"]
        assert again["contact"]["properties"]["id"]["type"] == ["string", "null"]
        assert again["currency"]["properties"]["id"]["type"] == ["string", "null"]
        assert again["business_id"]["description"] != "changed"
        assert "quantity" in again["invoice_lines"]["items"]["properties"]

    def test_a_shared_part_is_described_by_what_it_is_used_for(self) -> None:
        properties = schemas.load("bank_transfers", ())["properties"]
        described = {
            properties[name]["description"] for name in ("from_bank_account", "to_bank_account", "transaction")
        }
        assert len(described) == 3

    def test_a_key_that_is_no_property_is_refused(self) -> None:
        with pytest.raises(KeyError, match="colour"):
            schemas.load("currencies", ("colour",))

    def test_an_unknown_stream_is_refused(self) -> None:
        with pytest.raises(FileNotFoundError, match="tax_determinations"):
            schemas.load("tax_determinations", ())

    def test_all_schemas_load_in_less_than_60_milliseconds(self) -> None:
        def once() -> float:
            started = time.process_time()  # of this process, however busy the machine is
            for stream in schemas.names():
                schemas.load(stream, ("business_id",))
            return time.process_time() - started

        assert min(once() for _ in range(5)) < 0.06


def places_told(value: object, place: str = "") -> Iterator[str]:
    """Every place at which a body says something."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from places_told(part, f"{place}.{name.lower().lstrip('$')}")
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from places_told(part, f"{place}[{position}]")
    elif value is not None:
        yield place


@each(BODIES)
def test_what_sage_really_sends_fits_the_schema_without_losing_an_attribute(what: str) -> None:
    stream, body = BODIES[what]
    added = frozenset(("business_id", "additional_attributes", "currency_id"))
    cleaner = RecordConverter(schemas.load(stream, ()), added)
    cleaned = cleaner.clean(json.loads(json.dumps(body), parse_float=Decimal))
    unfilled = {".last_paid", ".mtd_authenticated_date"}
    assert "additional_attributes" not in cleaned
    assert set(places_told(body)) - set(places_told(cleaned)) <= unfilled


@each(BODIES)
def test_what_sage_really_sends_is_accepted_by_a_target_that_validates(what: str) -> None:
    stream, body = BODIES[what]
    schema = schemas.load(stream, ())
    cleaned = RecordConverter(schema, frozenset(("business_id", "additional_attributes"))).clean(body)
    Draft7Validator(schema).validate({"business_id": "b" * 32, **cleaned})


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("compare_schemas")


CODE: Schema = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "displayed_as", "$path")}}
DEPOSIT: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "displayed_as": {"type": "string"},
        "$path": {"type": "string"},
        "created_at": {"type": "string", "format": "date-time"},
        "updated_at": {"type": "string", "format": "date-time"},
        "deleted_at": {"type": "string", "format": "date-time"},
        "transaction": {"$ref": "#/definitions/Base"},
        "transaction_type": {"$ref": "#/definitions/Base"},
        "from_bank_account": {"$ref": "#/definitions/BankAccount"},
        "to_bank_account": {"$ref": "#/definitions/BankAccount"},
        "date": {"type": "string", "format": "date"},
        "reference": {"type": "string"},
        "cash_amount": {"type": "number", "format": "double"},
        "cheque_amount": {"type": "number", "format": "double"},
        "total_amount": {"type": "number", "format": "double"},
    },
}


def swagger(**changes: Schema | None) -> Schema:
    """Sage's description, Swagger 2.0, of two lists; changes to the deposits' attributes, None to leave one out."""
    properties = {**DEPOSIT["properties"], **changes}
    deposit = {**DEPOSIT, "properties": {name: part for name, part in properties.items() if part is not None}}

    def listing(definition: str) -> Schema:
        items = {"$ref": f"#/definitions/{definition}"}
        return {"get": {"responses": {"200": {"schema": {"type": "array", "items": items}}}}}

    return {
        "swagger": "2.0",
        "paths": {
            "/bank_deposits": listing("BankDeposit"),
            "/bank_deposits/{key}": listing("Base"),
            "/bank_accounts": listing("BankAccount"),
            "/payment_methods": listing("Base"),
            "/tax_determinations": listing("Base"),
        },
        "definitions": {
            "Base": CODE,
            "BankDeposit": deposit,
            "BankAccount": {"type": "object", "properties": {**CODE["properties"], "iban": {"type": "string"}}},
        },
    }


def openapi(**changes: Schema | None) -> Schema:
    """The same as OpenAPI 3.1, the lists in Sage's envelope and with null where 3.1 says so."""
    old = json.loads(json.dumps(swagger(**changes)).replace("#/definitions/", "#/components/schemas/"))
    paths = {}
    for path, operations in old["paths"].items():
        items = operations["get"]["responses"]["200"]["schema"]
        envelope = {"type": "object", "properties": {"$total": {"type": "integer"}, "$items": items}}
        paths[path] = {"get": {"responses": {"200": {"content": {"application/json": {"schema": envelope}}}}}}
    deposit = old["definitions"]["BankDeposit"]["properties"]
    deposit["transaction"] = {"oneOf": [{"type": "null"}, deposit["transaction"]]}
    deposit["date"]["type"] = ["null", "string"]
    return {"openapi": "3.1.0", "paths": paths, "components": {"schemas": old["definitions"]}}


def compact(**changes: Schema | None) -> Schema:
    """The same in the compact form."""

    def form(part: Schema) -> str:
        if "$ref" in part:
            return "@" + str(part["$ref"]).rpartition("/")[2]
        dated = part.get("format", "").startswith("date")
        return f"{part['type']}:{part['format']}" if dated else str(part["type"])

    old = swagger(**changes)
    return {
        "paths": {
            path: {
                "kind": "detail" if "{" in path else "list",
                "definition": operations["get"]["responses"]["200"]["schema"]["items"]["$ref"].rpartition("/")[2],
            }
            for path, operations in old["paths"].items()
        },
        "definitions": {
            name: {attribute: form(part) for attribute, part in definition["properties"].items()}
            for name, definition in old["definitions"].items()
        },
    }


@pytest.mark.parametrize("describe", [swagger, openapi, compact])
class TestComparingWithSagesDescription:
    @pytest.fixture
    def compare(
        self,
        script: ModuleType,
        describe: Callable[..., Schema],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> Callable[..., tuple[int, str]]:
        """Compare a description with the schemas of two streams; give exit code and report."""
        monkeypatch.setattr(schemas, "names", lambda: ["bank_deposits", "payment_methods"])

        def compare(*arguments: str, drop: str = "/bank_accounts", **changes: Schema | None) -> tuple[int, str]:
            described = describe(**changes)
            described["paths"].pop(drop, None)
            file = tmp_path / "description.json"
            file.write_text(json.dumps(described), encoding="utf-8")
            code = script.main([str(file), *arguments])
            return code, capsys.readouterr().out

        return compare

    def test_agreement_is_reported_as_such(self, compare: Callable[..., tuple[int, str]]) -> None:
        bank = {"from_bank_account": DEPOSIT["properties"]["transaction"]}
        code, report = compare(**bank, to_bank_account=DEPOSIT["properties"]["transaction"])
        assert report == "0 unexplained differences, 2 explained.\n"
        assert code == 0

    def test_new_gone_and_retyped_attributes_are_named(self, compare: Callable[..., tuple[int, str]]) -> None:
        code, report = compare(
            drop="",
            colour={"type": "string"},
            cheque_amount=None,
            date={"type": "string", "format": "date-time"},
        )
        assert code == 1
        assert report.splitlines() == [
            "bank_accounts",
            "  new   the whole stream (stream)",
            "bank_deposits",
            "  type  date: described as string:date-time, string:date in the schema",
            "  new   colour (string)",
            "  gone  cheque_amount (number)",
            "4 unexplained differences, 2 explained.",
        ]

    def test_a_stream_that_is_no_longer_described_is_named(self, compare: Callable[..., tuple[int, str]]) -> None:
        code, report = compare(drop="/payment_methods")
        assert code == 1
        assert "payment_methods\n  gone  the whole stream (stream)" in report

    def test_attributes_of_parts_that_no_stream_delivers_are_compared(
        self, compare: Callable[..., tuple[int, str]]
    ) -> None:
        code, report = compare()
        assert code == 1
        assert "  new   from_bank_account.iban (string)" in report

    def test_references_to_what_another_stream_delivers_are_not(self, compare: Callable[..., tuple[int, str]]) -> None:
        _, report = compare(drop="")
        assert "iban" not in report

    def test_reasons_for_explained_differences_can_be_shown(self, compare: Callable[..., tuple[int, str]]) -> None:
        _, report = compare("--explained")
        assert "gone  legacy_id (integer) [sent on request, undeclared]" in report
        assert "tax_determinations\n  new   the whole stream (stream) [answers a question" in report


def test_comparing_with_something_else_ends_with_a_message(script: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"other\.json is not a description of an API"):
        script.main([str(file)])


def test_known_differences_explain_only_what_the_schemas_have(script: ModuleType) -> None:
    entries = json.loads(script.KNOWN_DIFFERENCES.read_text(encoding="utf-8"))
    loaded = {stream: dict(parts(schemas.load(stream, ()))) for stream in schemas.names()}
    for entry in entries:
        assert entry["reason"]
        assert entry["described"] != entry["schema"]
        for stream in entry["streams"]:
            for attribute in entry["attributes"]:
                if stream in loaded and attribute:
                    here = attribute in loaded[stream]
                    assert here == (entry["schema"] is not None), (stream, attribute)
