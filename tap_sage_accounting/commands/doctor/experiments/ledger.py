"""Experiments with the ledger, the trial balance and what else adds up."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.commands.doctor.experiments.changes import changed_at, moment_of
from tap_sage_accounting.commands.doctor.findings import (
    Finding,
    decided,
    experiment,
    undecided,
)
from tap_sage_accounting.commands.doctor.subject import SAMPLE, amount, reference
from tap_sage_accounting.settings import HIGHEST_PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_sage_accounting.commands.doctor.subject import Answer, Row, Subject

DOCUMENTS = ("sales_invoices", "purchase_invoices", "sales_credit_notes", "purchase_credit_notes")
VOIDED = ("sales_invoices", "sales_credit_notes")
FEW_PAGES = 3
"""Pages of ledger entries of a month that are added up, unless the look is deep."""
MANY_PAGES = 25
TOGETHER = timedelta(seconds=10)
"""How far apart what one void does is, by its times."""
CENT, ZERO = Decimal("0.01"), Decimal(0)
WHOLE_PAGE: dict[str, Any] = {"items_per_page": HIGHEST_PAGE_SIZE, "attributes": "all"}
NO_ENTRIES = "The ledger cannot be read, is empty, or does not honour the filter."


def _net(entries: Iterable[Row]) -> Decimal:
    return sum(((amount(each.get("debit")) or ZERO) - (amount(each.get("credit")) or ZERO) for each in entries), ZERO)


@experiment("ledger.voids")
def voids(subject: Subject) -> Finding:
    """Look at the ledger entries of a void document, and at those of the day on which it was voided."""
    for name in VOIDED:
        void = subject.get(name, items_per_page=SAMPLE, attributes="transaction,updated_at,status", status_id="VOID")
        found = [
            row
            for row in void.rows
            if reference(row.get("status")) == "VOID" and reference(row.get("transaction")) and changed_at(row)
        ]
        if not void.ok or not found:
            continue
        newest = max(found, key=lambda row: str(row["updated_at"]))
        transaction = reference(newest["transaction"])
        entries = subject.get("ledger_entries", transaction_id=transaction, **WHOLE_PAGE)
        if not entries.ok or {reference(row.get("transaction")) for row in entries.rows} != {transaction}:
            return undecided(NO_ENTRIES)
        flagged = sum(row.get("deleted") is True for row in entries.rows)
        taken_back = _is_taken_back(subject, entries, newest)
        others = "others take them back" if taken_back else "none take them back"
        evidence = f"Of {len(entries.rows)} entries of a void document, {flagged} are flagged; {others}."
        return decided(holds=flagged == len(entries.rows) and not taken_back, evidence=evidence)
    return undecided("No sales document is void.")


def _is_taken_back(subject: Subject, entries: Answer, document: Row) -> bool:
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
    answer = subject.get("transactions", items_per_page=SAMPLE, attributes="all", transaction_type_id="CORRECTION")
    if not answer.rows:
        return undecided("There is no correction.")
    named = sum(bool(reference(row.get("origin"))) for row in answer.rows)
    return decided(holds=named == len(answer.rows), evidence=f"{named} of {len(answer.rows)} do.")


def _accounts(subject: Subject) -> list[Row]:
    fields = subject.month.fields
    found = fields.get("ledger_accounts")
    if found is None and isinstance(fields.get("trial_balance"), dict):
        found = fields["trial_balance"].get("ledger_accounts")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


@experiment("ledger.trial_balance_ids")
def trial_balance_ids(subject: Subject) -> Finding:
    """Look for the ids of accounts in the trial balance of last month."""
    accounts = _accounts(subject)
    if not accounts:
        return undecided("The trial balance of last month is empty or refused.")
    named = sum(bool(each.get("id")) for each in accounts)
    return decided(holds=named == len(accounts), evidence=f"{named} of {len(accounts)} accounts have one.")


@experiment("ledger.trial_balance_net")
def trial_balance_net(subject: Subject) -> Finding:
    """Count the accounts with both a debit and a credit."""
    moved = [each for each in _accounts(subject) if amount(each.get("debit")) or amount(each.get("credit"))]
    if not moved:
        return undecided("Nothing moved last month.")
    both = sum(bool(amount(each.get("debit")) and amount(each.get("credit"))) for each in moved)
    return decided(holds=not both, evidence=f"{both} of {len(moved)} accounts have both.")


@experiment("ledger.ties")
def ties(subject: Subject) -> Finding:
    """Add up the ledger entries of last month by account, and compare with the trial balance."""
    first, last = subject.closed_month
    accounts = {str(each.get("id") or ""): _net([each]) for each in _accounts(subject)}
    if not accounts or "" in accounts:
        return undecided("The trial balance of last month is empty, refused, or without ids.")
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    most, number, seen = MANY_PAGES if subject.deep else FEW_PAGES, 0, 0
    while True:
        number += 1
        page = subject.get(
            "ledger_entries",
            page=number,
            from_date=first,
            to_date=last,
            **WHOLE_PAGE,
        )
        if not page.ok or page.total is None:
            return undecided(NO_ENTRIES)
        if page.total > most * HIGHEST_PAGE_SIZE:
            return undecided("Last month has too many entries for this depth.")
        for row in page.rows:
            if row.get("deleted") is not True:
                sums[reference(row.get("ledger_account"))] += _net([row])
        seen += len(page.rows)
        if seen >= page.total or not page.rows or number >= most:
            break
    if seen < page.total:
        return undecided("Not all entries of last month were seen.")
    apart = sum(abs(sums[key] - accounts.get(key, ZERO)) >= CENT for key in {*sums, *accounts})
    evidence = f"{seen} entries; {apart} of {len({*sums, *accounts})} accounts differ."
    return decided(holds=not apart, evidence=evidence)


@experiment("ledger.exchange_rate")
def exchange_rate(subject: Subject) -> Finding:
    """Multiply and divide the amounts of documents in foreign currency by their rate, and see which fits."""
    multiplied = divided = 0
    for name in DOCUMENTS:
        for row in subject.sample(name).rows:
            own, base = amount(row.get("total_amount")), amount(row.get("base_currency_total_amount"))
            rate = amount(row.get("exchange_rate"))
            if not own or not base or not rate or rate == 1:
                continue
            off, off_divided = abs(own * rate - base), abs(own / rate - base)
            multiplied += off < off_divided
            divided += off_divided < off
    if not multiplied + divided:
        return undecided("No document in the samples is in a foreign currency.")
    evidence = f"The amounts of {multiplied} documents fit this, and those of {divided} the opposite."
    return decided(holds=not divided, evidence=evidence)
