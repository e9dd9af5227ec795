"""Who the books belong to, and who reads them."""

from __future__ import annotations

from typing_extensions import override

from tap_sage_accounting.client import SingleObjectStream


class Businesses(SingleObjectStream):
    """The businesses that the user may see, with their address, subscriptions and the user's rights in them."""

    # One request for each: the list has no more than names (businesses.attributes).
    name = "businesses"
    primary_keys = ("business_id", "id")
    in_books = False

    @override
    def path_of(self, business_id: str | None) -> str:
        return f"/businesses/{business_id or 'lead'}"


class User(SingleObjectStream):
    """The person on whose behalf the books are read."""

    name = "user"
    primary_keys = ("id",)
    per_business = False
    in_books = False
