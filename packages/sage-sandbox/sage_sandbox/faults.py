"""What can go wrong with the simulated Sage, besides how it behaves."""

from __future__ import annotations

import fnmatch
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from sage_sandbox.behaviour import Behaviour

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

Trouble = Literal[
    "drop",
    "lost",
    "cut",
    "cut_chunks",
    "cut_gzip",
    "cut_unframed",
    "chunked",
    "unframed",
    "html",
    "error_page",
    "other_size",
    "wrong_type",
    "no_items",
    "empty_page",
    "odd_rows",
    "odd_access_token",
    "redirect_loop",
    "slow",
    "late",
    "other_business",
    "drip",
    "drip_head",
    "interim",
    "early_hints",
    "endless",
    "bomb",
    "first_page",
    "same_page",
    "fresh_rows",
    "envelope",
]
"""What can happen to one request, besides an error status:

`drop`: the connection is reset before the request is processed. `lost`: the request is processed, and the connection
is reset before the response. A token request has rotated the grant by then. `cut`: the same, but half of the
response's body arrives. `cut_chunks`, `cut_gzip`, `cut_unframed`: half of the body arrives, too, and nothing looks
broken before its end. It lacks chunks, has the announced length but incomplete gzip, or has no length at all.
`chunked`, `unframed`: all of the body, in chunks or without a length; nothing is wrong with it.
`html`: a gateway's HTML page with status 200. `error_page`: an error of Sage's with status 200. `other_size`: a body
that is longer by a byte. `wrong_type`: the right body as `media_type`.
`no_items`: a list without `$items`. `empty_page`: a list with an empty `$items` and an unchanged `$total`.
`odd_rows`: a list with two rows more, which are no objects. `odd_access_token`: new tokens, of which no request can
carry the access token.
`redirect_loop`: a redirect to itself. `slow`: the request is processed after `seconds`. `late`: it is processed at
once, and the response comes after `seconds`. `other_business`: the `X-Business` echo names another business.

`drip`: a byte of the body every `seconds`. `drip_head`: a byte of the status line and the headers every `seconds`.
`interim`: interim responses (100) without end. `early_hints`: an interim response (103) before the final one.
`endless`: a body without end. `bomb`: a body that inflates to so many `megabytes`. `first_page`: page 1, whichever was
requested. `same_page`: the rows of page 1, said to be the requested page, with a next one. `fresh_rows`: the same with
new ids each time, and a total that grows. `envelope`: nothing but what `envelope` says.
"""
TROUBLES: frozenset[str] = frozenset(get_args(Trouble))
Answerer = Literal["sage", "firewall", "gateway", "nobody"]
"""Who responds with an error status.

`sage`: Sage, with its error body. The others do so before Sage sees the request. `firewall`: an HTML page. `gateway`:
an API gateway's `{"message": ...}`. `nobody`: an empty body.
"""
Poison = Literal["full", "record", "always"]
"""Which responses a poisoned record spoils (status 500).

`full`: list pages with attributes. `record`: these, and the record's own path. `always`: every page and path.
"""


@dataclass
class Fault:
    """Something that goes wrong with the requests that it matches.

    Attributes:
        path: Glob over the path below `/v3.1/` (`sales_invoices`, `contacts/*`), or `token`, `revoke`, `authorize`.
        what: A status code (403, 429, 500, 502, 503, 504, ...) or one of `TROUBLES`. For `authorize`, the `error` of
            the redirect.
        by: Who responds with a status code.
        says: What a status code comes with instead, from any server: its reason, message or page, and request id.
        media_type: What the body of a `wrong_type` is said to be.
        location: Where a redirect of others than Sage points to.
        business: Only requests for this business.
        page: Only this page.
        param: Only requests with this query parameter.
        times: How many requests it hits; None for all.
        skip: How many matching requests pass first.
        every: Hits one of so many matching requests.
        retry_after: The `Retry-After` header of an error status; None for no header.
        seconds: How long a `slow` response takes, or a byte of one that drips.
        lasts: For how many seconds from the first request on it hits requests; None for ever.
        megabytes: The size of a `bomb`.
        envelope: What the envelope of a list says instead, by key (`$total`); None takes the key out.
        began: When it hit its first request, by the monotonic clock.
    """

    path: str = "*"
    what: int | str = 500
    by: Answerer = "sage"
    says: str | None = None
    media_type: str = "text/plain"
    location: str = "https://portal.invalid/"
    business: str | None = None
    page: int | None = None
    param: str | None = None
    times: int | None = 1
    skip: int = 0
    every: int = 1
    retry_after: int | str | None = None
    seconds: float = 1.0
    lasts: float | None = None
    megabytes: int = 600
    envelope: dict[str, Any] = field(default_factory=dict)
    began: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no request could ever meet."""
        authorize_error = self.path == "authorize" and isinstance(self.what, str)
        if not (isinstance(self.what, int) or self.what in TROUBLES or authorize_error):
            raise ValueError(f"Unknown fault {self.what!r}: a status code or one of {', '.join(sorted(TROUBLES))}.")
        if self.by not in get_args(Answerer):
            raise ValueError(f"Unknown answerer {self.by!r}: one of {', '.join(get_args(Answerer))}.")
        if self.by != "sage" and not isinstance(self.what, int):
            raise ValueError("Only status codes can be answered by others than Sage.")

    def take(self, path: str, business: str | None, page: int | None, params: Container[str]) -> bool:
        """Return whether this request is hit, and count it."""
        if self.times == 0 or not fnmatch.fnmatchcase(path, self.path):
            return False
        if (self.business is not None and self.business != business) or (self.page is not None and self.page != page):
            return False
        if self.param is not None and self.param not in params:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.lasts is not None:
            self.began = self.began or time.monotonic()
            if time.monotonic() > self.began + self.lasts:
                return False
        if self.times is not None:
            self.times -= 1
        self.skip = self.every - 1
        return True


@dataclass
class Faults(Behaviour):
    """What goes wrong with this Sage, and how fast it is; the switches of `Behaviour` are among its own.

    All may be changed while the server runs. Seconds are real seconds; the simulated clock does not enter.

    Attributes:
        refuse_tokens: Every access token counts as dead.
        token_uses: Requests for which an access token is good, whatever lifetime it came with; None for any number.
        minute: Length of the limit's minute in seconds, to make tests shorter.
        cache_seconds: For how many seconds of the world's time a cache on the way keeps responses; 0 for not at all.
        cache: `honest` gets a new response where a client wants one, and says how old a response is. `stubborn` says
            only how old it is. `lying` presents an old response as new.
        cached_paths: Glob over the paths whose responses it keeps.
        latency: Seconds that a response takes.
        latency_jitter: Seconds more, at most, by chance.
        jitter_seed: The chance.
        poison: Record id -> which responses it spoils.
        raw: Text -> the bytes (as Latin-1) that replace a JSON string with this text in responses.
        script: Faults that hit requests, in order; the first that matches is taken.
    """

    refuse_tokens: bool = False
    token_uses: int | None = None
    minute: float = 60.0
    cache_seconds: float = 0.0
    cache: Literal["honest", "stubborn", "lying"] = "honest"
    cached_paths: str = "*"
    latency: float = 0.0
    latency_jitter: float = 0.0
    jitter_seed: int = 0
    poison: dict[str, Poison] = field(default_factory=dict)
    raw: dict[str, str] = field(default_factory=dict)
    script: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> Fault:
        """Put a fault at the end of the script."""
        self.script.append(fault)
        return fault

    def strike(
        self, path: str, business: str | None = None, page: int | None = None, params: Container[str] = ()
    ) -> Fault | None:
        """Find what goes wrong with this request, and count it."""
        return next((fault for fault in self.script if fault.take(path, business, page, params)), None)

    def page_limit(self, path: str) -> int | None:
        """Return how many full records a page of this path may hold before a 504."""
        limits = [limit for pattern, limit in self.big_pages.items() if fnmatch.fnmatchcase(path, pattern)]
        return min(limits, default=None)

    @property
    def rendering(self) -> tuple[object, ...]:
        """The switches that shape a page's bytes: pages rendered under others are not served."""
        return (
            self.next_present,
            self.next_keeps_filters,
            self.decimals,
            self.tombstones,
            self.totals,
            self.short_pages,
            self.changed_and_deleted,
            self.detail_flags_on_lists,
            self.inactive_items,
            self.opt_ins,
            self.lists_in_full,
            self.undated_before,
            self.last_paid,
            self.exchange_rates,
        )

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set switches by name, as the control endpoint does; `script` is a list of faults as objects.

        Raises:
            ValueError: A name is unknown or a value is of the wrong kind; nothing is changed then.
        """
        known = {each.name for each in fields(self)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f"Unknown switches: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        try:
            read = msgspec.convert({name: value for name, value in changes.items() if name != "script"}, Faults)
            read.script = [Fault(**fault) for fault in changes.get("script", ())]
        except (msgspec.ValidationError, TypeError) as error:
            raise ValueError(str(error)) from error
        for name in changes:
            setattr(self, name, getattr(read, name))
