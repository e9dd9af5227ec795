"""A simulated Sage that is made by hand, for tests that are about logins and tokens and need no books."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sage_sandbox.store import Business, Clock, World
from tap_sage_accounting.auth.manager import TokenManager
from tap_sage_accounting.auth.store import TokenStore

if TYPE_CHECKING:
    from pathlib import Path

    from sage_sandbox.server import SandboxServer

ROLES = {
    "sales": "full_access",
    "purchases": "read_only",
    "journals": "restricted_access",
    "bank": "no_access",
    "contacts": "full_access",
    "catalogs": "no_access",
    "settings": "read_only",
    "statutory_reporting": "no_access",
}


def free_port() -> int:
    """Find a port to listen at later, below those that systems give to connections that are made meanwhile."""
    for port in random.sample(range(10_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("No port of a hundred is free.")


def business(number: int, name: str, subscription: str, edition: str, country: str = "GB") -> Business:
    business_id = f"{number:032x}"
    body = {
        "id": business_id,
        "displayed_as": name,
        "name": name,
        "country": {"id": country, "displayed_as": country},
        "subscriptions": [
            {"id": subscription, "displayed_as": edition, "active": True, "status": "paying"},
            {"id": "PAYROLL_25", "displayed_as": "Payroll 25", "active": True, "status": "expired"},
        ],
        "user_roles": [],
        "user_permissions": [],
    }
    return Business(business_id, name, country, edition, body, dict(ROLES))


def small_world() -> World:
    user = {
        "id": "b" * 32,
        "displayed_as": "Jane Example",
        "first_name": "Jane",
        "last_name": "Example",
        "email": "jane@example.com",
        "locale": "en-GB",
    }
    businesses = [
        business(1, "Harbour Bakery", "ACCOUNTING_10", "Standard"),
        business(2, "Harbour Café", "ACCOUNTING", "Plus", country="IE"),
    ]
    clock = Clock(datetime(2026, 6, 30, 18, tzinfo=UTC), frozen=True)
    return World(clock, user, {each.id: each for each in businesses})


def store_at(directory: Path, **options: Any) -> TokenStore:
    store = TokenStore(f"sqlite:///{directory / 'tokens.sqlite'}", **options)
    store.check()
    return store


def manager(server: SandboxServer, store: TokenStore, **options: Any) -> TokenManager:
    settings: dict[str, Any] = {
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "refresh_token": server.refresh_token,
        "token_url": server.token_url,
        "store": store,
        "user_agent": "tests",
        "sleep": lambda _: None,
    }
    return TokenManager(**{**settings, **options})


def token_requests(server: SandboxServer) -> int:
    return sum(request.path == "/token" for request in server.requests)
