"""The declaration of a stream: the list of Sage's that it reads, and what that list offers."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

UPDATED_AT = "updated_at"
CREATED_AT = "created_at"
DELETED_AT = "deleted_at"
ADDITIONAL = "additional_attributes"
"""The column that keeps, as JSON text, what the schema has no place for."""


class Area(StrEnum):
    """The areas in which Sage gives a user rights: full access, read only, restricted, none."""

    SALES = "Sales"
    PURCHASES = "Purchases"
    CONTACTS = "Contacts"
    BANK = "Bank"
    PRODUCTS = "Products & Services"
    JOURNALS = "Journals"
    SETTINGS = "Settings"
    STATUTORY_REPORTING = "Statutory reporting"


class StreamDeclaration:
    """A list in Sage, read business by business.

    Attributes:
        name: the stream's name, and the path of the list.
        primary_keys: the columns that identify a row.
        key_reference: the reference whose id is the key of records that have none of their own.
        added_properties: columns that do not come from Sage's record.
        changed_since: the list takes `updated_or_created_since`, so it is read incrementally.
        deleted_since: the list reports deletions through `deleted_since`.
        sortable: the list takes `sort`, so that a long read of it may go on where it was cut short.
        deletable: records can be deleted through Sage's API.
        deletion_flag: the attribute that marks deleted records, where they stay in the list.
        flags: query parameters that make the list show more.
        detail_params: query parameters for a single record, such as those that keep Sage from changing it.
        areas: any one of these rights lets a user read it; none: everybody may.
        full_access: the right must be full access.
        editions: the editions of Sage Accounting that have it.
        countries: the countries whose businesses have it.
        retired: no longer in Sage's description, or for other countries only; not selected by default.
        opt_in: not selected by default, though every business has it.
        collected: nothing is requested; its rows are what the tap finds while it reads other streams.
        static: reference data that hardly ever changes.
        master_data: what other records refer to, so that the first run reads all of it, whatever `start_date` says.
        per_business: read once per business; otherwise once per user.
        in_books: part of a business's books, and not what Sage says of businesses and users.
        unposted: nothing is posted when one of its records goes.
        dated: its documents can be read by their date, with `from_date`.
        parts: query parameters of the lists that together hold all records.
        whole: a read that is not by change brings every row.
    """

    name: str
    primary_keys: ClassVar[tuple[str, ...]] = ("business_id", "id")
    key_reference: ClassVar[str | None] = None
    added_properties: ClassVar[frozenset[str]] = frozenset(("business_id", ADDITIONAL))
    changed_since: ClassVar[bool] = False
    deleted_since: ClassVar[bool] = False
    sortable: ClassVar[bool] = False
    deletable: ClassVar[bool] = False
    deletion_flag: ClassVar[str | None] = None
    flags: ClassVar[tuple[str, ...]] = ()
    detail_params: ClassVar[Mapping[str, str]] = {}
    areas: ClassVar[tuple[Area, ...]] = ()
    full_access: ClassVar[bool] = False
    editions: ClassVar[tuple[str, ...]] = ("Start", "Standard", "Plus")
    countries: ClassVar[tuple[str, ...]] = ("CA", "GB", "IE")
    retired: ClassVar[bool] = False
    opt_in: ClassVar[bool] = False
    collected: ClassVar[bool] = False
    static: ClassVar[bool] = False
    master_data: ClassVar[bool] = False
    per_business: ClassVar[bool] = True
    in_books: ClassVar[bool] = True
    unposted: ClassVar[bool] = False
    dated: ClassVar[bool] = False
    parts: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    whole: ClassVar[bool] = True
