"""How this Sage behaves where the real one is unknown: a switch for each assumption of a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Behaviour:
    """How this Sage behaves; `Faults` has what goes wrong with it. The defaults are what is thought likely.

    Attributes:
        echo_business: Responses carry the `X-Business` that they are about.
        next_present: `$next` is filled where there is a next page.
        totals: Lists count their rows in `$total`.
        next_keeps_filters: `$next` carries the change and date filters too, not only `attributes` and `sort`.
        items_per_page_over_200: A larger page is cut down to 200 (`clamp`) or refused (`error`).
        beyond_last: The response for a page beyond the last one: the last one, a page without rows, or a 404.
        decimals: Decimals travel as strings, as Sage does, or as JSON numbers.
        gzip: Responses are compressed for clients that accept it.
        fractional_seconds: A change filter may carry fractions of a second.
        tombstones: What `deleted_since` lists: the whole record, its id with `deleted_at`, or only the id,
            `displayed_as` and `$path`. With `flagged_id`, a flag `deleted` is there, too.
        changed_since: The filter for changes lets the second of its moment through (`inclusive`) or not
            (`exclusive`), or is ignored.
        deleted_since: The filter for deletions keeps the second of its moment out (`honoured`) or lets it through
            (`inclusive`), or is ignored.
        sort: The parameter is honoured, or ignored: the rows come newest first.
        short_pages: Records on a page at most, whatever was requested and the page states; None for no such
            limit.
        changed_and_deleted: Both change filters at once give tombstones only, or changed records and tombstones.
        detail_flags_on_lists: Lists honour the opt-in flags that are described for single records only.
        opt_ins: What needs a flag is absent without it, or shown in any case (`shown`).
        lists_in_full: Lists show the lines of documents, or only single records do.
        object_ids: Single objects, such as settings, have an `id`.
        file_content: The content of an attached file comes as it is, or as text in base64.
        file_place: The content of an attached file comes from its own path (`sage`), or by a redirect: to another
            address of this host (`moved`), or to a signed one of a storage host (`storage`).
        undated_before: Ledger entries of days before this one have null in `created_at` and `updated_at`; "" for none.
        last_paid: The day of the last payment is in the country's format (`local`) or in that of all dates (`iso`).
        exchange_rates: A document's rate is the price of a unit: of its currency (`price`), or of the base currency
            (`inverse`).
        detail_marks_sent: Reading a sales document without `mark_as_sent=false` marks it as sent.
        inactive_items: Inactive products, services and stock items are listed, or hidden unless `active=false`, or
            listed whatever `active` says (`unfiltered`).
        flagged_entries: Ledger entries that are flagged as deleted are listed, or hidden.
        trial_balance: An account's debit and credit in a period are net, or what was debited and credited (`gross`).
        trial_balance_ids: Whether the accounts of a trial balance come with their id.
        foreign_business: Status for a business that the user does not have; 200 serves the first one in its place.
        edition_refusal: Status for a path that the business's edition or country does not have: 401 with "No active
            subscription", or 404.
        start_has_purchases: The edition Start has purchase invoices, credit notes and quick entries.
        lists_without_offer: Lists that edition, country, subscription or role do not offer are refused, or come as
            empty ones. Their single records are refused in either case.
        expired_body: What comes with a 401 for a dead access token: Sage's error list, an OAuth error object, a
            gateway's HTML page, or nothing.
        businesses_attributes: Whether the list of businesses takes `attributes`.
        businesses_paged: Whether the list of businesses comes in pages of 25 to 500, as since 2025, or all at once.
        businesses_size_key: What the list of businesses calls the size of its pages.
        clock_offsets: Seconds by which the `Date` of a response is off; several are those of servers that respond in
            turn. The records keep the world's time.
        date_header: `Date` says the time, is left out, says something that is no date, or says the beginning of 1970.
        etags: Responses carry an `ETag`.
        limit_headers: Responses carry headers that speak of limits (`X-RateLimit-Limit`, ...).
        line_changes_move_time: Whether a change of a document's lines moves its `updated_at` (`edit_lines` of the
            server).
        reuse_kills_grant: A refresh token that is used twice takes the newest one with it.
        access_token_lifetime: Seconds.
        refresh_token_lifetime: Seconds.
        code_lifetime: Seconds an authorization code lives.
        rate_limit: Requests a minute; None for no limit.
        rate_limit_per: The limit is the application's, or each business's own.
        rate_window: The limit holds in any minute (`sliding`), in each clock minute (`fixed`), or as a bucket that
            refills steadily (`bucket`).
        retry_after: What a 429 of the limits says: whole seconds, an exact fraction (for shortened minutes), an HTTP
            date, or nothing.
        concurrency_limit: Requests in flight beyond which the response is a 429.
        big_pages: Glob over paths -> the most records with `attributes=all` in a page; more give a 504.
    """

    echo_business: bool = True
    next_present: bool = True
    totals: bool = True
    next_keeps_filters: bool = False
    items_per_page_over_200: Literal["clamp", "error"] = "clamp"
    beyond_last: Literal["last", "empty", "refused"] = "last"
    decimals: Literal["strings", "numbers"] = "strings"
    gzip: bool = False
    fractional_seconds: bool = True
    tombstones: Literal["full", "dated_id", "flagged_id", "id_only"] = "full"
    changed_since: Literal["inclusive", "exclusive", "ignored"] = "inclusive"
    deleted_since: Literal["honoured", "inclusive", "ignored"] = "honoured"
    sort: Literal["honoured", "ignored"] = "honoured"
    short_pages: int | None = None
    changed_and_deleted: Literal["tombstones", "union"] = "tombstones"
    detail_flags_on_lists: bool = False
    opt_ins: Literal["absent", "shown"] = "absent"
    lists_in_full: bool = True
    object_ids: bool = False
    file_content: Literal["bytes", "base64"] = "bytes"
    file_place: Literal["sage", "moved", "storage"] = "sage"
    undated_before: str = ""
    last_paid: Literal["local", "iso"] = "local"
    exchange_rates: Literal["price", "inverse"] = "price"
    detail_marks_sent: bool = False
    inactive_items: Literal["listed", "hidden", "unfiltered"] = "listed"
    flagged_entries: Literal["listed", "hidden"] = "listed"
    trial_balance: Literal["net", "gross"] = "net"
    trial_balance_ids: bool = True
    foreign_business: Literal[200, 401, 403, 404] = 403
    edition_refusal: Literal[401, 404] = 401
    start_has_purchases: bool = False
    lists_without_offer: Literal["refused", "empty"] = "refused"
    expired_body: Literal["errors", "oauth", "html", "empty"] = "errors"
    businesses_attributes: Literal["ignored", "honoured"] = "ignored"
    businesses_paged: bool = True
    businesses_size_key: Literal["$items_per_page", "$itemsPerPage"] = "$items_per_page"
    clock_offsets: list[float] = field(default_factory=list)
    date_header: Literal["time", "absent", "garbled", "unset"] = "time"
    etags: bool = False
    limit_headers: bool = False
    line_changes_move_time: bool = True
    reuse_kills_grant: bool = False
    access_token_lifetime: float = 300
    refresh_token_lifetime: float = 2_678_400
    code_lifetime: float = 60
    rate_limit: int | None = None
    rate_limit_per: Literal["app", "business"] = "app"
    rate_window: Literal["sliding", "fixed", "bucket"] = "sliding"
    retry_after: Literal["seconds", "fraction", "date", "absent"] = "seconds"
    concurrency_limit: int = 150
    big_pages: dict[str, int] = field(default_factory=dict)
