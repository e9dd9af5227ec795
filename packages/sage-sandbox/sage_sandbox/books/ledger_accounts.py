"""The ledger accounts that a new business opens its books with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_sandbox.books.chart import OPENING_BALANCES, Account, nominals

if TYPE_CHECKING:
    from sage_sandbox.books.company import Company
    from sage_sandbox.store import Body


def open_chart(company: Company) -> None:
    """Create the ledger accounts of a new business, all in one second as Sage does."""
    for nominal in nominals(company.profile):
        account = Account(company.mint.new_id(), nominal)
        company.accounts[nominal.code] = account
        company.insert("ledger_accounts", account.id, _body(company, account), company.opened)


def _body(company: Company, account: Account) -> Body:
    nominal = account.nominal
    income, expense = nominal.income, nominal.expense
    free = nominal.control is None
    scopes = {
        "banking": nominal.kind == "BANK",
        "expenses": expense,
        "journals": True,
        "other_payments": expense and free,
        "other_receipts": income and free,
        "reporting": True,
        "sales": nominal.kind == "SALES",
    }
    return {
        **account.ref,
        "ledger_account_group": nominal.group,
        "name": nominal.name,
        "display_name": nominal.name,
        "visible_scopes": [scope for scope, visible in scopes.items() if visible],
        "included_in_chart": None if nominal.code == OPENING_BALANCES else True,
        "nominal_code": nominal.code,
        "ledger_account_type": nominal.type_ref,
        "ledger_account_classification": nominal.classification,
        "tax_rate": company.profile.standard.ref if nominal.taxed else None,
        "fixed_tax_rate": False,
        **{f"visible_in_{scope}": visible for scope, visible in scopes.items()},
        "balance_details": None,
        "is_control_account": not free,
        "control_name": nominal.control,
        "display_formatted": f"{nominal.code} - {nominal.name}",
        "tax_recoverable": None,
        "recoverable_percentage": None,
        "non_recoverable_ledger_account": None,
        "cis_materials": False,
        "tax_instalment": False,
        "cis_labour": False,
        "gifi_code": nominal.code + 1000 if company.country == "CA" else None,
        "ui_visible": True,
        "bank_attached": nominal.kind == "BANK",
    }
