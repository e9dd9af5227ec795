"""The books of the simulated Sage: businesses with double entry, made from a seed, that trade day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sage_sandbox.books.banking import open_banks
from sage_sandbox.books.catalogue import add_item, open_price_lists
from sage_sandbox.books.company import Company, Size
from sage_sandbox.books.contacts import add_contact
from sage_sandbox.books.conventions import PLANS, Conventions, Plan, Practice
from sage_sandbox.books.editions import LISTS
from sage_sandbox.books.files import content_of
from sage_sandbox.books.ledger_accounts import open_chart
from sage_sandbox.books.life import live_one_day, live_until
from sage_sandbox.books.opening import bring_forward
from sage_sandbox.books.places import COUNTRIES
from sage_sandbox.books.reference import add_analysis, add_migrated_return, stock_up
from sage_sandbox.books.reports import balance_details, behind, disagreements, trial_balance
from sage_sandbox.books.settings import PERMISSIONS, business_body, settle_in, user_body
from sage_sandbox.books.values import Mint
from sage_sandbox.store import Clock, World

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "PLANS",
    "SIZES",
    "Conventions",
    "Plan",
    "Practice",
    "advance",
    "balance_details",
    "behind",
    "build_world",
    "content_of",
    "disagreements",
    "trial_balance",
]

SIZES = {
    "tiny": Size(contacts=7, items=7, events=40, daily=0, routine=100, capital=Decimal("0.2")),
    "demo": Size(contacts=45, items=40, events=320, daily=10, routine=730, capital=Decimal(1)),
    "large": Size(contacts=600, items=250, events=4200, daily=100, routine=730, capital=Decimal(10)),
}

_CURRENT_COUNTRIES = {"GB", "IE", "CA"}
_HISTORY = timedelta(days=730)
_NOW = datetime(2026, 6, 30, 18, tzinfo=UTC)


def build_world(
    *,
    seed: int = 1,
    size: str = "demo",
    businesses: int = 3,
    now: datetime = _NOW,
    frozen: bool = False,
    ledger_entries: int | None = None,
    plans: Sequence[Plan] = PLANS,
) -> World:
    """Make a world of businesses that have traded for two years until `now`; the same arguments make the same world.

    Args:
        seed: Where all chance and every id comes from.
        size: `tiny` (a handful of each), `demo` (some hundred documents) or `large` (thousands), per business.
        businesses: How many. The first are GB Plus, IE Standard and CA Start. The next are small ones in FR, ES and
            DE, with what only they have. Then countries and editions follow in turn.
        now: The present moment of the world's clock.
        frozen: Whether that clock stands still.
        ledger_entries: The least number of ledger entries of each business in GB, IE and CA. Journals of bulk history
            make up what documents do not.
        plans: Which businesses there are, in turn: country, edition, how each keeps its books, and how Sage does.

    Raises:
        KeyError: No such size.
    """
    user_since = now - _HISTORY - timedelta(days=30)
    world = World(Clock(now, frozen=frozen), user_body(Mint(seed, "user").new_id(), user_since))
    for index in range(businesses):
        company = _found(seed, index, SIZES[size], now, plans)
        _fill(company, now, ledger_entries)
        world.businesses[company.id] = company
    return world


def _found(seed: int, index: int, size: Size, now: datetime, plans: Sequence[Plan]) -> Company:
    """Found the business of this number."""
    plan = plans[index % len(plans)]
    country, edition = plan.country, plan.edition
    profile = COUNTRIES[country]
    identity = Mint(seed, "business", index).new_id()
    name = profile.businesses[index // len(PLANS) % len(profile.businesses)]
    name = f"{name} ({index + 1})" if index >= len(COUNTRIES) else name
    opened = (now - _HISTORY + timedelta(hours=index)).replace(microsecond=0)
    return Company(
        id=identity,
        name=name,
        country=country,
        edition=edition,
        body=business_body(identity, name, profile, edition, opened),
        permissions=dict.fromkeys(PERMISSIONS, "full_access"),
        profile=profile,
        size=(size := size if country in _CURRENT_COUNTRIES else SIZES["tiny"]),
        seed=f"{seed}/{index}",
        opened=opened,
        routine_from=(now - timedelta(days=size.routine)).date(),
        practice=plan.practice,
        conventions=plan.conventions,
    )


def _fill(company: Company, now: datetime, ledger_entries: int | None) -> None:
    """Set a business up, bring its balances forward, and let it trade until now."""
    for name in LISTS:
        company.book(name)
    stock_up(company)
    open_chart(company)
    open_banks(company)
    add_analysis(company)
    open_price_lists(company)
    for _ in range(company.size.contacts):
        add_contact(company, company.rng, company.opened)
    for _ in range(company.size.items):
        add_item(company, company.rng, company.opened)
    settle_in(company)
    bring_forward(company)
    add_migrated_return(company)
    bulk = ledger_entries if company.country in _CURRENT_COUNTRIES else None
    live_until(company, now, bulk)
    _show_last_year(company, now)


def _show_last_year(company: Company, now: datetime) -> None:
    """Give the ledger accounts their opt-in balance details: those of the calendar year before, which is closed."""
    year = now.year - 1
    details = balance_details(company, date(year, 1, 1), date(year, 12, 31))
    for account_id, shown in details.items():
        company.book("ledger_accounts").change(account_id, {"balance_details": shown}, None)


def advance(world: World, *, days: int = 1, seed: int = 0) -> None:
    """Let so many days pass in every business: documents are raised, edited, paid, voided and deleted.

    Whatever changes what a record shows moves its `updated_at`. Deterministic for a world, `days` and `seed`.
    """
    for _ in range(days):
        start = world.clock.now()
        world.clock.advance(timedelta(days=1))
        for business in world.businesses.values():
            if isinstance(business, Company):
                live_one_day(business, start, seed)
