"""Experiments with what records hold, mostly in samples that are requested anyway."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.commands.doctor.findings import Finding, counted, decided, experiment, undecided
from tap_sage_accounting.commands.doctor.looker import SAMPLE
from tap_sage_accounting.commands.doctor.shapes import hidden_names, new_names, properties_of, shape_of
from tap_sage_accounting.commands.doctor.subject import LISTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_sage_accounting.commands.doctor.response import Response, Row
    from tap_sage_accounting.commands.doctor.subject import Subject

DOCUMENTS = ("sales_invoices", "purchase_invoices", "sales_credit_notes", "purchase_credit_notes")
WITH_AMOUNTS = (*DOCUMENTS[:2], "ledger_entries", "contact_payments", "journals")
WITH_LINES = {
    "purchase_invoices": "invoice_lines",
    "contact_payments": "allocated_artefacts",
    "journals": "journal_lines",
}
"""Lists whose single records are safe to read: reading a sales document might mark it as sent."""
WITH_TIMES = ("ledger_entries", "transactions", "contacts", "sales_invoices", "ledger_accounts")
SETTINGS = ("financial_settings", "business_settings", "invoice_settings")
DETAIL_FLAGS = {
    "sales_invoices": {"show_corrections": "corrections", "show_recurring_invoice": "recurring_invoice"},
    "purchase_invoices": {"show_corrections": "corrections"},
}
"""Flags that Sage describes for the single record only, and the attributes that they show."""
CATALOGUE = ("products", "services", "stock_items")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
DATES = {"date": DAY, "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")}
"""How values of a schema's formats are written."""
NO_ROWS = "No list with such an attribute has rows."


@experiment("records.attributes")
def attributes(subject: Subject) -> Finding:
    """Count the attributes that the schemas do not know, in the lists that other experiments look at, too."""
    rows, names = 0, 0
    for name, response in subject.responses_of(*DOCUMENTS, *WITH_AMOUNTS, *WITH_TIMES, *CATALOGUE).items():
        rows += len(response.rows)
        shape = shape_of(response.rows, properties_of(name))
        names += len({*new_names(shape)}) + hidden_names(shape)
    if not rows:
        return undecided("No list has rows.")
    return decided(holds=not names, evidence=counted("Attributes besides, in {} rows: {}.", rows, names))


@experiment("records.decimals")
def decimals(subject: Subject) -> Finding:
    """Count how amounts, quantities and rates are written in documents and the ledger."""
    kinds: Counter[bool] = Counter()
    for name, response in subject.responses_of(*WITH_AMOUNTS).items():
        properties = properties_of(name)
        for row in response.rows:
            kinds.update(isinstance(value, str) for value in _numbers(row, properties))
    if not kinds:
        return undecided(NO_ROWS)
    evidence = counted("{} are strings, and {} are numbers.", kinds[True], kinds[False])
    return decided(holds=not kinds[False], evidence=evidence)


def _numbers(row: Row, properties: Mapping[str, Any]) -> Iterator[object]:
    for name, schema in properties.items():
        value = row.get(name)
        if isinstance(value, list):
            for each in value:
                if isinstance(each, dict):
                    yield from _numbers(each, schema.get("items", {}).get("properties", {}))
        elif "number" in schema["type"] and isinstance(value, str | int | Decimal) and value != "":
            yield value


@experiment("records.last_paid")
def last_paid(subject: Subject) -> Finding:
    """See how the day of the last payment is written."""
    texts = [text for row in subject.rows_of(*DOCUMENTS) if isinstance(text := row.get("last_paid"), str) and text]
    if not texts:
        return undecided("No document in the samples was ever paid.")
    usual = sum(bool(DAY.match(text)) for text in texts)
    return decided(holds=not usual, evidence=counted("{} are written like all other dates.", (usual, len(texts))))


@experiment("records.timestamps")
def moments(subject: Subject) -> Finding:
    """See how the times of records are written."""
    names = ("created_at", "updated_at")
    texts = [text for row in subject.rows_of(*WITH_TIMES) for name in names if isinstance(text := row.get(name), str)]
    if not texts:
        return undecided(NO_ROWS)
    usual = sum(bool(MOMENT.fullmatch(text)) for text in texts)
    return decided(holds=usual == len(texts), evidence=counted("{} are.", (usual, len(texts))))


@experiment("records.dates")
def dates(subject: Subject) -> Finding:
    """Name the attributes of documents and master data whose dates and moments have another form."""
    seen, others = 0, set()
    for name, response in subject.responses_of(*DOCUMENTS, *WITH_AMOUNTS, *WITH_TIMES).items():
        properties = properties_of(name)
        formats = {each: DATES[part["format"]] for each, part in properties.items() if part.get("format") in DATES}
        for row in response.rows:
            texts = {each: str(row[each]) for each in formats.keys() & row.keys() if row[each]}
            seen += len(texts)
            others |= {f"{name}.{each}" for each, text in texts.items() if not formats[each].fullmatch(text)}
    if not seen:
        return undecided(NO_ROWS)
    evidence = counted(f"Of {{}} values, others are in: {', '.join(sorted(others)) or 'none'}.", seen)
    return decided(holds=not others, evidence=evidence)


@experiment("records.times")
def times(subject: Subject) -> Finding:
    """Count the rows without a time of their last change; a list of ledger entries begins with the newest."""
    rows = subject.rows_of(*WITH_TIMES)
    if not rows:
        return undecided(NO_ROWS)
    without = sum(not row.get("updated_at") for row in rows)
    return decided(holds=not without, evidence=counted("{} rows have none.", (without, len(rows))))


@experiment("records.object_ids")
def object_ids(subject: Subject) -> Finding:
    """Look for ids in the settings."""
    found = [response.fields for response in subject.responses_of(*SETTINGS).values()]
    with_id = sum("id" in fields for fields in found)
    return decided(holds=not with_id, evidence=f"{with_id} of {len(found)} have one.")


@experiment("records.complete")
def complete(subject: Subject) -> Finding:
    """Compare a row of a list with the same record by itself, for documents and journals."""
    compared, lacking = 0, set()
    for name, sample in subject.responses_of(*WITH_LINES).items():
        if not sample.ids:
            continue
        lines = WITH_LINES[name]
        key, row = next((str(row["id"]), row) for row in sample.rows if isinstance(row.get("id"), str))
        flags = dict.fromkeys(LISTS[name].flags, "true")
        single = subject.find(f"{name}/{key}", **flags, **LISTS[name].detail_params)
        if single is not None:
            compared += 1
            known = properties_of(name)
            absent = (single.fields.keys() - row.keys() - {*DETAIL_FLAGS.get(name, {}).values()}) & known.keys()
            absent |= {lines} if len(row.get(lines) or ()) < len(single.fields.get(lines) or ()) else set()
            lacking |= {f"{name}.{each}" for each in absent}
    if not compared:
        return undecided("There are no documents and no journals.")
    evidence = f"{compared} records compared; lists lack: {', '.join(sorted(lacking)) or 'nothing'}."
    return decided(holds=not lacking, evidence=evidence)


@experiment("records.opt_ins")
def opt_ins(subject: Subject) -> Finding:
    """Request contacts without the flag that their balance needs."""
    with_flag = sum("balance" in row for row in subject.rows_of("contacts"))
    if not with_flag:
        return undecided("No contact shows a balance.")
    rows = subject.get("contacts", items_per_page=SAMPLE, attributes="all").rows
    without = sum("balance" in row for row in rows)
    evidence = counted("With the flag, {} contacts show a balance; without it, {}.", with_flag, (without, len(rows)))
    return decided(holds=not without, evidence=evidence)


@experiment("records.detail_flags")
def detail_flags(subject: Subject) -> Finding:
    """Look in lists for what flags show that are for single records."""
    rows = {name: response.rows for name, response in subject.responses_of(*DETAIL_FLAGS).items()}
    if not any(rows.values()):
        return undecided(NO_ROWS)
    shown = sum(name in row for each in rows for name in DETAIL_FLAGS[each].values() for row in rows[each])
    evidence = counted("They show {} attributes in {} rows.", shown, sum(map(len, rows.values())))
    return decided(holds=not shown, evidence=evidence)


@experiment("records.inactive")
def inactive(subject: Subject) -> Finding:
    """Look for an inactive one among all, or count the active and the inactive ones, and compare with all."""
    reason = "No product, service or stock item is inactive."
    for name, response in subject.responses_of(*CATALOGUE).items():
        hidden = subject.find(name, items_per_page=SAMPLE, active="false") if response.rows else None
        if hidden is None or not hidden.rows:
            continue
        if (active := subject.find(name, items_per_page=SAMPLE, active="true")) is None:
            continue
        if {*active.ids} & {*hidden.ids} or active.at_least == hidden.at_least == response.at_least:
            reason = "The lists ignore the filter by what is active."
            continue
        return _shows_inactive(response, active, hidden)
    return undecided(reason)


def _shows_inactive(response: Response, active: Response, hidden: Response) -> Finding:
    if response.is_whole:
        holds = bool({*hidden.ids} & {*response.ids})
        return decided(holds=holds, evidence=f"A list without filter {'has' if holds else 'lacks'} one of them.")
    if response.total is None:
        return undecided("Sage does not count the rows of its lists.")
    holds = response.total >= active.at_least + hidden.at_least  # some are neither
    return decided(holds=holds, evidence=f"A list without filter has {'' if holds else 'not '}all, by its total.")
