"""Experiments with the ledger, the trial balance and what else adds up."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.commands.doctor.experiments.changes import changed_at, moment_of
from tap_sage_accounting.commands.doctor.findings import (
    Finding,
    contradicted,
    counted,
    decided,
    experiment,
    undecided,
)
from tap_sage_accounting.commands.doctor.looker import SAMPLE
from tap_sage_accounting.commands.doctor.subject import amount, reference
from tap_sage_accounting.extraction.months import FIRST_MONTH, Month
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_sage_accounting.commands.doctor.response import Response, Row
    from tap_sage_accounting.commands.doctor.subject import Subject

DOCUMENTS = ("sales_invoices", "purchase_invoices", "sales_credit_notes", "purchase_credit_notes")
VOIDED = ("sales_invoices", "sales_credit_notes")
FEW_PAGES = 3
"""Pages of ledger entries of a month that are added up, unless the look is deep."""
MANY_PAGES = 25
"""Pages that are added up where the look is deep."""
TOGETHER = timedelta(seconds=10)
"""Largest difference of the times of what one void makes."""
CENT, ZERO = Decimal("0.01"), Decimal(0)
WHOLE_PAGE: dict[str, Any] = {"items_per_page": HIGHEST_PAGE_SIZE, "attributes": "all"}
NO_ENTRIES = "The list of ledger entries does not honour the filter."


def _net(entries: Iterable[Row]) -> Decimal:
    return sum(((amount(each.get("debit")) or ZERO) - (amount(each.get("credit")) or ZERO) for each in entries), ZERO)


@experiment("ledger.voids")
def voids(subject: Subject) -> Finding:
    """Look at the ledger entries of a void document, and at those of the day on which it was voided."""
    if not (found := _void_documents(subject)):
        return undecided("No sales document is void.")
    newest = max(found, key=lambda row: str(row["updated_at"]))
    transaction = reference(newest["transaction"])
    entries = _entries_of(subject, transaction)
    if entries is None:
        return undecided(NO_ENTRIES)
    if not entries.rows:
        return _unlisted(subject)
    flagged = sum(row.get("deleted") is True for row in entries.rows)
    opposite = _pairs(entries.rows)
    others = "others take them back" if _is_taken_back(subject, entries, newest) else "no others take them back"
    evidence = counted(
        "Of {} entries of a void document, {} are flagged, and {} reverse them; " + others + ".",
        len(entries.rows),
        flagged,
        opposite,
    )
    return decided(holds=flagged == len(entries.rows) and not opposite and others.startswith("no"), evidence=evidence)


def _void_documents(subject: Subject) -> list[Row]:
    """Return the first void documents that say when they were voided and which transaction is theirs."""
    for name in VOIDED:
        attributes = "transaction,updated_at,status,date"
        void = subject.find(name, items_per_page=SAMPLE, attributes=attributes, status_id="VOID")
        found = [
            row
            for row in (void.rows if void else ())
            if reference(row.get("status")) == "VOID" and reference(row.get("transaction")) and changed_at(row)
        ]
        if found:
            return found
    return []


def _entries_of(subject: Subject, transaction: str) -> Response | None:
    """Return the ledger entries of a transaction; None where others come as well."""
    entries = subject.get("ledger_entries", transaction_id=transaction, **WHOLE_PAGE)
    return entries if {reference(row.get("transaction")) for row in entries.rows} <= {transaction} else None


def _unlisted(subject: Subject) -> Finding:
    """Say that a void document's entries are not listed, where those of another transaction are."""
    others = [reference(row.get("transaction")) for row in subject.rows_of("ledger_entries")]
    if not any(others):
        return undecided("The ledger is empty.")
    entries = _entries_of(subject, next(filter(None, others)))
    if entries is None or not entries.rows:
        return undecided(NO_ENTRIES)
    return contradicted("The entries of a void document are not listed; those of another transaction are.")


def _pairs(entries: Iterable[Row]) -> int:
    """Count the entries that take another one of the same transaction back, where all of them together do."""
    amounts = Counter(map(_own, entries))
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (account, net), count in amounts.items():
        sums[account] += net * count
    return sum(count for (_, net), count in amounts.items() if net > 0) if not any(sums.values()) else 0


def _is_taken_back(subject: Subject, entries: Response, document: Row) -> bool:
    """Return whether a transaction that was made with the void has the opposite entries; a credit note may, too."""
    if (voided_at := changed_at(document)) is None:
        return False
    first, last = ((voided_at + timedelta(days=days)).date().isoformat() for days in (-1, 1))
    around = subject.get("ledger_entries", from_date=first, to_date=last, **WHOLE_PAGE)
    posted: defaultdict[str, set[tuple[str, Decimal]]] = defaultdict(set)
    for row in around.rows:
        made_at = moment_of(row.get("created_at"))
        if made_at is not None and abs(made_at - voided_at) <= TOGETHER:
            posted[reference(row.get("transaction"))].add(_own(row))
    posted.pop(reference(document["transaction"]), None)
    return {(account, -net) for account, net in map(_own, entries.rows)} in posted.values()


def _own(row: Row) -> tuple[str, Decimal]:
    return reference(row.get("ledger_account")), _net([row])


@experiment("ledger.correction_origin")
def correction_origin(subject: Subject) -> Finding:
    """See whether corrections name where they come from."""
    response = subject.get("transactions", items_per_page=SAMPLE, attributes="all", transaction_type_id="CORRECTION")
    if not response.rows:
        return undecided("There is no correction.")
    named = sum(bool(reference(row.get("origin"))) for row in response.rows)
    return decided(holds=named == len(response.rows), evidence=counted("{} do.", (named, len(response.rows))))


def _accounts(subject: Subject, first: str, last: str) -> list[Row]:
    """Return the accounts of a trial balance."""
    fields = subject.get("trial_balance", from_date=first, to_date=last).fields
    found = fields.get("ledger_accounts")
    if found is None and isinstance(fields.get("trial_balance"), dict):
        found = fields["trial_balance"].get("ledger_accounts")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


@experiment("ledger.trial_balance_ids")
def trial_balance_ids(subject: Subject) -> Finding:
    """Look for the ids of accounts in the trial balance of last month."""
    accounts = _accounts(subject, *subject.closed_month)
    if not accounts:
        return undecided("The trial balance of last month is empty.")
    named = sum(bool(each.get("id")) for each in accounts)
    return decided(holds=named == len(accounts), evidence=counted("{} accounts have one.", (named, len(accounts))))


@experiment("ledger.trial_balance_net")
def trial_balance_net(subject: Subject) -> Finding:
    """Count the accounts with both a debit and a credit."""
    accounts = _accounts(subject, *subject.closed_month)
    moved = [each for each in accounts if amount(each.get("debit")) or amount(each.get("credit"))]
    if not moved:
        return undecided("Nothing moved last month.")
    both = sum(bool(amount(each.get("debit")) and amount(each.get("credit"))) for each in moved)
    return decided(holds=not both, evidence=counted("{} accounts have both.", (both, len(moved))))


@experiment("ledger.ties")
def ties(subject: Subject) -> Finding:
    """Add up the ledger entries of a month by account, and compare with the trial balance."""
    first, last = _month_to_compare(subject)
    accounts = {str(each.get("id") or ""): _net([each]) for each in _accounts(subject, first, last)}
    if not accounts or "" in accounts:
        return undecided("The trial balance of that month is empty, or without ids.")
    rows = _entries_between(subject, first, last)
    if isinstance(rows, str):
        return undecided(rows)
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.get("deleted") is not True:
            sums[reference(row.get("ledger_account"))] += _net([row])
    everywhere = {*sums, *accounts}
    apart = sum(abs(sums[key] - accounts.get(key, ZERO)) >= CENT for key in everywhere)
    return decided(
        holds=not apart, evidence=counted("{} entries; {} accounts differ.", len(rows), (apart, len(everywhere)))
    )


def _month_to_compare(subject: Subject) -> tuple[str, str]:
    """Return the newest month that is over and has a void document; else the last that is over."""
    newest = Month.parse(subject.closed_month[0])
    months = [Month.parse(row.get("date")) for row in _void_documents(subject)]
    chosen = max((each for each in months if FIRST_MONTH < each <= newest), default=newest)
    return chosen.first_day, chosen.last_day


def _entries_between(subject: Subject, first: str, last: str) -> list[Row] | str:
    """Return all entries of a span, or why they cannot be had."""
    rows: list[Row] = []
    most = MANY_PAGES if subject.deep else FEW_PAGES
    for number in range(1, most + 1):
        page = subject.get("ledger_entries", page=number, from_date=first, to_date=last, **WHOLE_PAGE)
        if page.total is None:
            return "Sage does not count the rows of its lists."
        if page.total > most * HIGHEST_PAGE_SIZE:
            return "That month has too many entries for this depth."
        rows += page.rows
        if len(rows) >= page.total:
            return rows
    return "Not all entries of that month were seen."


@experiment("ledger.exchange_rate")
def exchange_rate(subject: Subject) -> Finding:
    """Multiply and divide the amounts of documents in foreign currency by their rate, and see which fits."""
    multiplied = divided = 0
    for row in subject.rows_of(*DOCUMENTS):
        own, base = amount(row.get("total_amount")), amount(row.get("base_currency_total_amount"))
        rate = amount(row.get("exchange_rate"))
        if not own or not base or not rate or rate == 1:
            continue
        off, off_divided = abs(own * rate - base), abs(own / rate - base)
        multiplied += off < off_divided
        divided += off_divided < off
    if not multiplied + divided:
        return undecided("No document in the samples is in a foreign currency.")
    evidence = counted("The amounts of {} documents fit this, and those of {} the opposite.", multiplied, divided)
    return decided(holds=not divided, evidence=evidence)
