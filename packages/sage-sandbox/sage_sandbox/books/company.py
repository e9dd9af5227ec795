"""A business together with what its bookkeeper knows: accounts, contacts, open items, numbers to give out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.editions import offered
from sage_sandbox.books.values import ZERO, Mint, dice
from sage_sandbox.store import Business, Collection, Row

if TYPE_CHECKING:
    from random import Random

    from sage_sandbox.books.artefacts import Artefact, Payment, Settlement
    from sage_sandbox.books.chart import Account
    from sage_sandbox.books.conventions import Conventions, Practice
    from sage_sandbox.books.documents import Document
    from sage_sandbox.books.master_data import Bank, Item, Party
    from sage_sandbox.books.places import Country
    from sage_sandbox.books.transactions import TransactionRow
    from sage_sandbox.store import Body

_SMALL = Decimal(250)
"""Less than what is always left in an account."""
_MORNING = 8
"""The hour (UTC) at which a business does what falls due on a day."""


@dataclass(frozen=True)
class Size:
    """How much of everything a business has, and how much happens to it on one day.

    `routine` is for how many of the last days of its history there are payroll, loan and depreciation; `capital` is
    what a business of this size brought with it, as a share of the usual.
    """

    contacts: int
    items: int
    events: int
    daily: int
    routine: int
    capital: Decimal


@dataclass(frozen=True)
class Move:
    """Money on its way from one bank account to another: what leaves and what arrives, each in its own currency."""

    source: Bank
    target: Bank
    leaves: Decimal
    arrives: Decimal

    @property
    def reversible(self) -> bool:
        """Whether it can be taken back without an account having been overdrawn since."""
        return self.arrives < _SMALL and self.target.balance >= self.arrives


@dataclass
class TaxReturn:
    """A tax return: the tax on sales and purchases of a period, and the turnover that stands beside it.

    `output` and `input` are what the ledger holds; `due` is what is to be paid, which differs under the flat rate
    scheme.
    """

    start: date
    end: date
    output: Decimal = ZERO
    input: Decimal = ZERO
    sales: Decimal = ZERO
    purchases: Decimal = ZERO
    due: Decimal = ZERO
    id: str = ""
    draft_id: str = ""
    paid: bool = False
    boxes: dict[str, Decimal] = field(default_factory=dict)


@dataclass
class Funding:
    """What the business owns and owes in the long run: the loan, all that was ever borrowed, assets by account."""

    loan: Decimal = ZERO
    borrowed: Decimal = ZERO
    assets: dict[int, Decimal] = field(default_factory=dict)
    tax_owed: Decimal = ZERO


@dataclass
class Payroll:
    """What payroll remembers from month to month: the margin that wages follow, and what is owed for the last month."""

    usual_margin: Decimal = ZERO
    margin_before: Decimal = ZERO
    taxes_owed: Decimal = ZERO
    pensions_owed: Decimal = ZERO


@dataclass(kw_only=True)
class Company(Business):
    """A business with its bookkeeper's working memory.

    `books` are all of its lists; `collections` are those that its country and edition let one read. `offers`
    are quotes and estimates that may yet become invoices. `in_use` holds the ids of items that some line names, so
    that nothing in use is deleted. `appointments` say on which day an open item is dealt with next. `taxed` are the
    transactions that no filed return holds yet, up to `filed_until`; `declared` is what returns hold of entries that
    are not wholly paid, under cash accounting. `margin` is what trade has earned, before wages. `busy` businesses sell
    and buy in small lots, many a day.
    """

    profile: Country
    size: Size
    seed: str
    opened: datetime
    routine_from: date
    practice: Practice
    conventions: Conventions
    rng: Random = field(init=False)
    mint: Mint = field(init=False)
    books: dict[str, Collection] = field(default_factory=dict)
    accounts: dict[int, Account] = field(default_factory=dict)
    parties: dict[str, Party] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    banks: list[Bank] = field(default_factory=list)
    artefacts: dict[str, Artefact] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    allocations: dict[str, list[Settlement]] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)
    offers: dict[str, Document] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    numbers: Counter[str] = field(default_factory=Counter)
    days_lived: int = 0
    busy: bool = False
    habits: Random = field(init=False)
    next_morning: datetime = field(init=False)
    appointments: list[tuple[date, int, str]] = field(default_factory=list)
    taxed: list[TransactionRow] = field(default_factory=list)
    declared: dict[str, Decimal] = field(default_factory=dict)
    filed_until: date = field(init=False)
    returns: list[TaxReturn] = field(default_factory=list)
    margin: Decimal = ZERO
    payroll: Payroll = field(default_factory=Payroll)
    funding: Funding = field(default_factory=Funding)
    control_journals: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = dice(self.seed)
        self.mint = Mint(self.seed)
        self.habits = dice(self.seed, "habits")
        self.filed_until = self.opened.date() - timedelta(days=1)
        self.next_morning = datetime(*self.opened.timetuple()[:3], _MORNING, tzinfo=UTC) + timedelta(days=1)

    def book(self, name: str) -> Collection:
        """Find a list of the books, readable or not."""
        if name not in self.books:
            self.books[name] = Collection(name)
            if offered(name, self.country, self.edition):
                self.collections[name] = self.books[name]
        return self.books[name]

    def open_book(self, name: str) -> None:
        """Let a list be read that the edition keeps in the books only."""
        self.collections.setdefault(name, self.book(name))

    def insert(self, name: str, row_id: str, body: Body, at: datetime | None) -> Row:
        """Add a record to a list; without a moment, the list keeps no timestamps."""
        return self.book(name).add(Row(row_id, body, at, at))

    def publish(self, name: str, body: Body) -> None:
        """Serve a single object, if the country and edition have it."""
        if offered(name, self.country, self.edition):
            self.objects[name] = body

    def next_number(self, series: str) -> int:
        """Give out the next number of a series, starting at 1."""
        self.numbers[series] += 1
        return self.numbers[series]

    @property
    def currency(self) -> str:
        """The base currency."""
        return self.profile.currency

    @property
    def multi_currency(self) -> bool:
        """Whether the edition lets the business trade in foreign currencies."""
        return self.edition == "Plus"

    @property
    def accounts_for_tax_of_suppliers(self) -> bool:
        """Whether purchases from abroad fall under the reverse charge, and imports under postponed accounting."""
        return self.multi_currency and self.country in {"GB", "IE"} and self.practice.scheme == "STANDARD"

    def bank_account(self, code: int) -> Bank:
        """Find a bank account by its nominal code."""
        return next(bank for bank in self.banks if bank.account.nominal.code == code)

    def bank(self, currency: str) -> Bank:
        """Find the account that money of a currency goes through."""
        return next(bank for bank in self.banks if bank.currency == currency)
