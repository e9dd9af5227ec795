"""The chart of accounts: one row per nominal account, and how other records refer to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sage_sandbox.books.codes import SMALL_LISTS, pairs
from sage_sandbox.books.places import FOREIGN_PRICES
from sage_sandbox.books.values import ref

if TYPE_CHECKING:
    from sage_sandbox.books.places import Country
    from sage_sandbox.store import Body

_CHART = """
10|Freehold Property|FIXED_ASSETS|
11|Freehold Property - Accumulated Depreciation|FIXED_ASSETS|
20|Plant and Machinery|FIXED_ASSETS|
21|Plant and Machinery - Accumulated Depreciation|FIXED_ASSETS|
30|Office Equipment|FIXED_ASSETS|
31|Office Equipment - Accumulated Depreciation|FIXED_ASSETS|
50|Motor Vehicles|FIXED_ASSETS|
51|Motor Vehicles - Accumulated Depreciation|FIXED_ASSETS|
1000|Stock|CURRENT_ASSETS|
1001|Work in Progress|CURRENT_ASSETS|
1100|Trade Debtors|CURRENT_ASSETS|TRADE_DEBTORS
1101|Sundry Debtors|CURRENT_ASSETS|
1103|Prepayments|CURRENT_ASSETS|
1200|Bank Account|BANK|BANK
1210|Savings Account|BANK|BANK
1220|{first} Account|BANK|BANK
1221|{second} Account|BANK|BANK
1230|Cash in Hand|BANK|BANK
1240|Credit Card|BANK|BANK
1250|Old Deposit Account|BANK|BANK
2100|Trade Creditors|CURRENT_LIABILITIES|TRADE_CREDITORS
2101|Sundry Creditors|CURRENT_LIABILITIES|
2109|Accruals|CURRENT_LIABILITIES|
2200|{tax} on Sales|CURRENT_LIABILITIES|SALES_TAX
2201|{tax} on Purchases|CURRENT_LIABILITIES|PURCHASE_TAX
2202|{tax} Liability|CURRENT_LIABILITIES|TAX_LIABILITY
2210|Payroll Taxes|CURRENT_LIABILITIES|
2220|Net Wages|CURRENT_LIABILITIES|
2230|Pension Fund|CURRENT_LIABILITIES|
2300|Loans|FUTURE_LIABILITIES|
2310|Hire Purchase|FUTURE_LIABILITIES|
2320|Corporation Tax|CURRENT_LIABILITIES|
3000|Ordinary Shares|EQUITY|
3050|Drawings|EQUITY|
3100|Reserves|EQUITY|
3200|Profit and Loss Account|EQUITY|RETAINED_EARNINGS
3260|Dividends|EQUITY|
4000|Sales - Products|SALES|
4009|Discounts Allowed|SALES|
4010|Sales - Services|SALES|
4900|Other Income|OTHER_INCOME|
4905|Bank Interest Received|OTHER_INCOME|
4910|Exchange Rate Gains|OTHER_INCOME|EXCHANGE_GAINS
5000|Cost of Sales - Goods|DIRECT_EXPENSES|
5009|Discounts Taken|DIRECT_EXPENSES|
5010|Cost of Sales - Delivery|DIRECT_EXPENSES|
5100|Carriage|DIRECT_EXPENSES|
6200|Advertising|OVERHEADS|
7000|Gross Wages|OVERHEADS|
7006|Employer's Payroll Taxes|OVERHEADS|
7007|Employer's Pensions|OVERHEADS|
7100|Rent|OVERHEADS|
7103|Business Rates|OVERHEADS|
7200|Electricity|OVERHEADS|
7300|Vehicle Fuel|OVERHEADS|
7400|Travelling|OVERHEADS|
7502|Telephone and Internet|OVERHEADS|
7504|Stationery|OVERHEADS|
7600|Legal Fees|OVERHEADS|
7601|Accountancy Fees|OVERHEADS|
7700|Repairs and Maintenance|OVERHEADS|
7900|Bank Charges|OVERHEADS|
7903|Loan Interest Paid|OVERHEADS|
7905|Exchange Rate Losses|OVERHEADS|EXCHANGE_LOSSES
8000|Depreciation|DEPRECIATION|
8050|Motor Vehicles Depreciation|DEPRECIATION|
8100|Bad Debts|OVERHEADS|
8205|Non-recoverable {tax}|OVERHEADS|
9001|Corporation Tax Charge|OVERHEADS|
9998|Opening Balances|EQUITY|OPENING_BALANCES
9999|Suspense|CURRENT_ASSETS|SUSPENSE
"""

DEBTORS, CREDITORS, OPENING_BALANCES = 1100, 2100, 9998
SALES_TAX, PURCHASE_TAX, TAX_LIABILITY = 2200, 2201, 2202
SALES_PRODUCTS, SALES_SERVICES, OTHER_INCOME, COST_OF_GOODS = 4000, 4010, 4900, 5000
DISCOUNTS_ALLOWED, DISCOUNTS_TAKEN = 4009, 5009
EXCHANGE_GAINS, EXCHANGE_LOSSES, BANK_CHARGES = 4910, 7905, 7900
PREPAYMENTS, ACCRUALS, BAD_DEBTS, TAX_NOT_RECOVERED = 1103, 2109, 8100, 8205
PAYROLL_TAXES, NET_WAGES, PENSIONS, GROSS_WAGES, EMPLOYERS_TAXES, EMPLOYERS_PENSIONS = (
    2210,
    2220,
    2230,
    7000,
    7006,
    7007,
)
LOANS, LOAN_INTEREST, CORPORATION_TAX, CORPORATION_TAX_CHARGE = 2300, 7903, 2320, 9001
SHARES, DRAWINGS, RETAINED_EARNINGS, DIVIDENDS = 3000, 3050, 3200, 3260
PROPERTY, PROPERTY_DEPRECIATED, VEHICLES, VEHICLES_DEPRECIATED = 10, 11, 50, 51
PROPERTY_DEPRECIATION, VEHICLES_DEPRECIATION = 8000, 8050
OVERHEADS = (6200, 7100, 7200, 7300, 7400, 7502, 7504, 7600, 7601, 7700)

_GROUPS = {
    "FIXED_ASSETS": ("ASSET", "Asset"),
    "CURRENT_ASSETS": ("ASSET", "Asset"),
    "BANK": ("ASSET", "Asset"),
    "CURRENT_LIABILITIES": ("LIABILITY", "Liability"),
    "FUTURE_LIABILITIES": ("LIABILITY", "Liability"),
    "EQUITY": ("CAPITAL", "Capital"),
    "SALES": ("INCOME", "Income"),
    "OTHER_INCOME": ("INCOME", "Income"),
}
_TYPE_NAMES = dict(pairs(SMALL_LISTS["ledger_account_types"]))
_CLASSIFICATION_NAMES = dict(pairs(SMALL_LISTS["ledger_account_classifications"]))
_CLASSIFIED = {
    "BANK": "CASH_AND_EQUIVALENTS",
    "TRADE_DEBTORS": "RECEIVABLES",
    "TRADE_CREDITORS": "PAYABLES",
    "SALES_TAX": "TAX",
    "PURCHASE_TAX": "TAX",
    "TAX_LIABILITY": "TAX",
}
_TAXED = {"SALES", "DIRECT_EXPENSES", "OVERHEADS"}
_INCOME = {"SALES", "OTHER_INCOME"}
_EXPENSES = {"DIRECT_EXPENSES", "OVERHEADS", "DEPRECIATION"}


@dataclass(frozen=True)
class Nominal:
    """One line of a chart, before it belongs to a business."""

    code: int
    name: str
    kind: str
    control: str | None

    @property
    def group(self) -> Body:
        """The group of the chart that the account stands in."""
        identity, name = _GROUPS.get(self.kind, ("EXPENSE", "Expenditure"))
        return {"id": identity, "displayed_as": name}

    @property
    def type_ref(self) -> Body:
        """The account's type as a reference."""
        return ref("ledger_account_types", self.kind, _TYPE_NAMES[self.kind])

    @property
    def classification(self) -> Body | None:
        """The account's classification as a reference, or null as for most."""
        code = _CLASSIFIED.get(self.control or "")
        return ref("ledger_account_classifications", code, _CLASSIFICATION_NAMES[code]) if code else None

    @cached_property
    def income(self) -> bool:
        """Whether the account holds sales or other income."""
        return self.kind in _INCOME

    @cached_property
    def expense(self) -> bool:
        """Whether the account holds costs, depreciation among them."""
        return self.kind in _EXPENSES

    @cached_property
    def earning(self) -> bool:
        """Whether the account is part of the profit and loss account."""
        return self.income or self.expense

    @property
    def taxed(self) -> bool:
        """Whether what is booked here usually bears tax."""
        return self.kind in _TAXED


def nominals(country: Country) -> list[Nominal]:
    """List the chart that new businesses of a country start with."""
    first, second = FOREIGN_PRICES[country.currency]
    rows = (
        line.format(tax=country.tax_name, first=first, second=second).split("|") for line in _CHART.split("\n")[1:-1]
    )
    return [Nominal(int(code), name, kind, control or None) for code, name, kind, control in rows]


@dataclass(frozen=True)
class Account:
    """A ledger account of a business."""

    id: str
    nominal: Nominal

    @cached_property
    def ref(self) -> Body:
        """The account as other records refer to it: the code padded to four digits."""
        return ref("ledger_accounts", self.id, f"{self.nominal.name} ({self.nominal.code:04d})")

    @cached_property
    def trial_ref(self) -> Body:
        """The account as the trial balance refers to it: the code as it is."""
        return ref("ledger_accounts", self.id, f"{self.nominal.name} ({self.nominal.code})")
