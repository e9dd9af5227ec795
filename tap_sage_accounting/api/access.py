"""What a business's subscription and the user's role let one read, as Sage says it beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tap_sage_accounting.api.endpoint import Endpoint
from tap_sage_accounting.declaration import Area
from tap_sage_accounting.exceptions import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_sage_accounting.api.http_client import HttpClient
    from tap_sage_accounting.api.request import Response
    from tap_sage_accounting.declaration import StreamDeclaration


EDITIONS = {
    "START": "Start",
    "MICRO": "Start",
    "ACCOUNTS": "Standard",
    "ACCOUNTING_10": "Standard",
    "ACCOUNTING": "Plus",
}
"""Sage's subscription ids of the editions of its accounting product; others (payroll) have nothing to do with it."""
AREAS = {
    "accounting_sales": Area.SALES,
    "accounting_purchases": Area.PURCHASES,
    "accounting_contacts": Area.CONTACTS,
    "accounting_bank": Area.BANK,
    "accounting_catalogs": Area.PRODUCTS,
    "accounting_journals": Area.JOURNALS,
    "accounting_settings": Area.SETTINGS,
    "accounting_statutory_reporting": Area.STATUTORY_REPORTING,
}
"""Sage's names in `user_permissions` for the areas."""
EXPIRED = "expired"
FULL_ACCESS = "full_access"
NO_ACCESS = frozenset({"no_access", "none"})
RESTRICTED = frozenset({"restricted_access", "restricted"})


@dataclass(frozen=True, slots=True)
class BusinessAccess:
    """What a user has in one business.

    Attributes:
        country: its code, `GB`; "" where Sage does not say.
        edition: `Start`, `Standard` or `Plus`; "" where Sage names no subscription that is known.
        subscription: the edition's subscription as Sage words it, with its state.
        has_ended: whether Sage calls the subscription over; it does so of some that work, too.
        roles: the user's role by area; empty where Sage does not say.
    """

    country: str
    edition: str
    subscription: str
    has_ended: bool
    roles: Mapping[Area, str]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> BusinessAccess:
        """Read the body of `/businesses/{id}`. Recorded responses, not Sage's description, have `user_permissions`."""
        found = {
            EDITIONS[str(each.get("id"))]: each
            for each in body.get("subscriptions") or ()
            if each.get("id") in EDITIONS
        }
        edition = next((name for name in ("Plus", "Standard", "Start") if name in found), "")
        subscription = found.get(edition, {})
        state = "" if subscription.get("active", True) else ", not active"
        return cls(
            country=str((body.get("country") or {}).get("id") or ""),
            edition=edition,
            subscription=f"{edition} ({subscription.get('status') or 'state unknown'}{state})"
            if edition
            else "unknown edition",
            has_ended=subscription.get("active") is False or subscription.get("status") == EXPIRED,
            roles={
                AREAS[str(each.get("area"))]: str(each.get("role"))
                for each in body.get("user_permissions") or ()
                if each.get("area") in AREAS
            },
        )

    @property
    def rights(self) -> str:
        """The user's roles in words."""
        roles = ", ".join(f"{area} {role.replace('_', ' ')}" for area, role in self.roles.items())
        return f"Rights: {roles or 'Sage does not say'}"

    def lacks(self, stream: type[StreamDeclaration]) -> str:
        """Name the country or the edition that has no such stream; "" where none is known to lack it."""
        if self.country and self.country not in stream.countries:
            return self.country
        return self.edition if self.edition and self.edition not in stream.editions else ""

    def refusal(self, stream: type[StreamDeclaration]) -> str:
        """Say why Sage will refuse a stream here; "" where it will not, as far as one can know."""
        if lacking := self.lacks(stream):
            return f"not in {lacking}"
        roles = [(area, self.roles[area]) for area in stream.areas if area in self.roles]
        if len(roles) < len(stream.areas) or any(_suffices(stream, area, role) for area, role in roles):
            return ""
        needed = " or ".join(stream.areas)
        return f"needs {'full access to' if stream.full_access else 'rights in'} {needed}" if stream.areas else ""

    def refused(self, streams: Iterable[type[StreamDeclaration]]) -> dict[str, list[str]]:
        """List those of some streams that Sage will refuse here, by reason; retired ones are left out."""
        reasons: dict[str, list[str]] = {}
        for stream in streams:
            if stream.per_business and not stream.retired and (reason := self.refusal(stream)):
                reasons.setdefault(reason, []).append(stream.name)
        return reasons


def request_access(client: HttpClient, business_id: str, label: str) -> BusinessAccess:
    """Request what a business's subscription and the user's role let one read."""

    def parse(response: Response) -> BusinessAccess:
        found = response.json()
        if not isinstance(found, dict) or found.get("id") != business_id:
            raise MalformedResponseError(f"{response.label}: the response is no record.")
        return BusinessAccess.parse(found)

    return Endpoint(client=client, path=f"/businesses/{quote(business_id, safe='')}", label=label).get(parse)


def _suffices(stream: type[StreamDeclaration], area: Area, role: str) -> bool:
    """Journals need more than a restricted role; elsewhere any role but none lets one read."""
    if stream.full_access:
        return role == FULL_ACCESS
    return role not in NO_ACCESS and not (area is Area.JOURNALS and role in RESTRICTED)
