"""Who the books belong to, and who reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from tap_sage_accounting.client import SingleObjectStream

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context


class Businesses(SingleObjectStream):
    """The businesses that the user may see, with their address, subscriptions and the user's rights in them."""

    name = "businesses"
    primary_keys = ("business_id", "id")
    in_books = False
    static = True

    @override
    def get_url(self, context: Context | None) -> str:
        business_id = context["business_id"] if context else "lead"
        return f"{self.url_base}/businesses/{business_id}"


class User(SingleObjectStream):
    """The person on whose behalf the books are read."""

    name = "user"
    primary_keys = ("id",)
    per_business = False
    in_books = False
    static = True
