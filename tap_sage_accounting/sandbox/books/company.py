"""A business together with what its bookkeeper knows: accounts, contacts, open items, numbers to give out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tap_sage_accounting.sandbox.books.editions import offered
from tap_sage_accounting.sandbox.books.values import ZERO, Mint, dice, ref
from tap_sage_accounting.sandbox.store import Business, Collection, Row

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from random import Random

    from tap_sage_accounting.sandbox.books.artefacts import Artefact, Payment, Settlement
    from tap_sage_accounting.sandbox.books.chart import Account
    from tap_sage_accounting.sandbox.books.documents import Document
    from tap_sage_accounting.sandbox.books.places import Country, TaxRate
    from tap_sage_accounting.sandbox.store import Body


@dataclass(frozen=True)
class Size:
    """How much of everything a business has, and how much happens to it on one day."""

    contacts: int
    items: int
    events: int
    daily: int


@dataclass
class Party:
    """A customer or supplier, and the base-currency balance of what is open between us."""

    id: str
    name: str
    reference: str
    customer: bool
    currency: str
    city: tuple[str, str, str]
    street: str
    address_id: str
    person_id: str
    active: bool = True
    documents: int = 0
    balance: Decimal = ZERO

    @property
    def ref(self) -> Body:
        """The contact as documents refer to it."""
        return ref("contacts", self.id, f"{self.name} ({self.reference})")


@dataclass(frozen=True)
class Item:
    """A product, service or stock item that lines can sell or buy."""

    id: str
    kind: str
    description: str
    price: Decimal
    cost: Decimal
    rate: TaxRate

    @property
    def ref(self) -> Body:
        """The item as lines refer to it: stock items pass for products there."""
        return ref("services" if self.kind == "SERVICE" else "products", self.id, self.description)


@dataclass
class Bank:
    """A bank account; `balance` is in its own currency."""

    id: str
    account: Account
    currency: str
    balance: Decimal = ZERO

    @property
    def ref(self) -> Body:
        """The bank account as payments refer to it."""
        return ref("bank_accounts", self.id, self.account.ref["displayed_as"])


@dataclass(kw_only=True)
class Company(Business):
    """A business with its bookkeeper's working memory.

    `books` are all of its lists; `collections` are those that its country and edition let one read. `offers`
    are quotes and estimates that may yet become invoices. `in_use` holds the ids of items that some line names, so
    that nothing in use is deleted.
    """

    profile: Country
    size: Size
    seed: str
    opened: datetime
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
    offers: dict[str, Document] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    numbers: Counter[str] = field(default_factory=Counter)
    days_lived: int = 0

    def __post_init__(self) -> None:
        self.rng = dice(self.seed)
        self.mint = Mint(self.seed)

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

    def bank(self, currency: str) -> Bank:
        """Find the account that money of a currency goes through."""
        return next(bank for bank in self.banks if bank.currency == currency)
