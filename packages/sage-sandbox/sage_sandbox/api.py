"""The simulated API v3.1: the response to a request, from the user's rights to the bytes of the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sage_sandbox.books import behind, trial_balance
from sage_sandbox.books.company import Company
from sage_sandbox.books.editions import PURCHASES_NOT_ON_START
from sage_sandbox.endpoints import ENDPOINTS, Endpoint
from sage_sandbox.pages import Pages, encode
from sage_sandbox.query import ListQuery, Params, is_on, list_query, read_date, record_view
from sage_sandbox.refusals import (
    RefusalError,
    forbidden,
    invalid,
    method_not_allowed,
    no_subscription,
    not_found,
    unauthorised,
    unexpected,
)
from sage_sandbox.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from sage_sandbox.faults import Faults
    from sage_sandbox.storage import Storage
    from sage_sandbox.store import Body, Business, Row, World

PREFIX = "/v3.1/"
_FILE = "application/octet-stream"
_OF_FILE = "/file"
_MOVED = "moved"
_WITHOUT_BUSINESS = frozenset({"businesses", "user"})
_SENT_BY_READING = frozenset({"sales_invoices", "sales_credit_notes", "sales_corrective_invoices"})
EDITIONS = {
    "ACCOUNTING": "Plus",
    "ACCOUNTS": "Standard",
    "ACCOUNTING_10": "Standard",
    "START": "Start",
    "MICRO": "Start",
}
"""Subscriptions of the accounting product, and the editions that they stand for."""
_EVERYTHING = 2_147_483_647
_KEPT_REPORTS = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One API request, without its secrets. `path` is what follows `/v3.1/`; `business` is the header, if any."""

    method: str
    path: str
    params: Params
    business: str | None
    accept: str = ""

    @property
    def name(self) -> str:
        """The requested list or object."""
        return self.path.partition("/")[0]

    @property
    def key(self) -> str:
        """The requested record, if it is a single one."""
        return self.path.partition("/")[2]

    @property
    def page(self) -> int:
        """The requested page, 1 by default."""
        text = self.params.get("page", "1")
        return int(text) if text.isascii() and text.isdecimal() else 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: bytes, of JSON unless they are a file's, and the business that they are about (for the echo)."""

    status: int
    body: bytes
    business: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


class Api:
    """Serves requests from a world. Not thread-safe: the caller holds the world still meanwhile."""

    def __init__(self, world: World, faults: Faults, storage: Storage) -> None:
        self.on_request: Callable[[Call], None] | None = None
        self._world = world
        self._faults = faults
        self._storage = storage
        self._pages = Pages(faults)
        self._reports: Shelf[bytes] = Shelf(_KEPT_REPORTS)

    def business_of(self, call: Call) -> str | None:
        """Return which business a request is about: the header's, else the lead; None where there is no such thing."""
        if call.name in _WITHOUT_BUSINESS:
            return None
        return call.business or next(iter(self._world.businesses), None)

    def answer(self, call: Call) -> Answer:
        """Respond to a request of a user who was let in."""
        business: Business | None = None
        try:
            endpoint = self._endpoint(call)
            if self.on_request is not None:
                self.on_request(call)
            if endpoint.name in _WITHOUT_BUSINESS:
                return Answer(200, self._without_business(call))
            business = self._business(call)
            body = self._with_business(business, endpoint, call)
            if not _wants_file(endpoint, call):
                return Answer(200, body, business.id)
            if place := self._place_of_file(business, call):
                return Answer(302, b"", business.id, {"Location": place})
            return Answer(200, body, business.id, media_type=_FILE)
        except RefusalError as refusal:
            echo = business.id if business is not None else None
            return Answer(refusal.status, encode(refusal.body), echo, refusal.headers)

    @staticmethod
    def _endpoint(call: Call) -> Endpoint:
        endpoint = ENDPOINTS.get(call.name)
        if endpoint is None or (call.key and endpoint.kind == "object"):
            raise not_found("The path")
        if call.method != "GET":
            raise method_not_allowed()
        return endpoint

    def _business(self, call: Call) -> Business:
        business = self._world.businesses.get(self.business_of(call) or "")
        if business is None and self._faults.foreign_business == 200:  # noqa: PLR2004 - a status code explains itself
            business = next(iter(self._world.businesses.values()))
        if business is not None:
            return business
        refusals = {401: unauthorised(), 403: forbidden(), 404: not_found("The business")}
        raise refusals[self._faults.foreign_business]

    def _check_offer(self, business: Business, endpoint: Endpoint) -> None:
        if not business.subscribed:
            raise no_subscription()
        edition = business.edition
        if self._faults.start_has_purchases and edition == "Start" and endpoint.name in PURCHASES_NOT_ON_START:
            edition = "Plus"
            if isinstance(business, Company):
                business.open_book(endpoint.name)
        if not endpoint.offered(edition, business.country):
            raise no_subscription() if self._faults.edition_refusal == 401 else not_found("The path")  # noqa: PLR2004
        if not endpoint.readable(business.permissions):
            raise forbidden()

    def _with_business(self, business: Business, endpoint: Endpoint, call: Call) -> bytes:
        try:
            self._check_offer(business, endpoint)
        except RefusalError:
            if self._faults.lists_without_offer == "refused" or endpoint.kind == "object" or call.key:
                raise
            return _nothing(list_query(endpoint, call.params, self._faults))
        if endpoint.name == "trial_balance":
            return self._trial_balance(business, call.params)
        if endpoint.kind == "object":
            if endpoint.name not in business.objects:
                raise not_found(f"The {endpoint.name}")
            shown = {"id": business.id} if self._faults.object_ids else {}
            return encode({**shown, **business.objects[endpoint.name]})
        if call.key:
            return self._record(business, endpoint, call)
        query = list_query(endpoint, call.params, self._faults)
        limit = self._faults.page_limit(endpoint.name)
        if limit is not None and query.view.full and query.per_page > limit:
            raise unexpected(504)
        return self._pages.page(business, endpoint, query)

    def _record(self, business: Business, endpoint: Endpoint, call: Call) -> bytes:
        if not endpoint.single:
            raise not_found("The path")
        if _wants_file(endpoint, call):
            row = self._pages.find(business, endpoint, call.key.removesuffix(_OF_FILE))
            return self._storage.content(row.render())
        row = self._pages.find(business, endpoint, call.key)
        view = record_view(endpoint, call.params)
        self._mark_as_sent(business, endpoint, row, call.params)
        if endpoint.name == "transactions" and is_on(call.params, "expand_origin"):
            return self._pages.expand_origin(business, row, view)
        return self._pages.record(business, endpoint, row, view)

    def _place_of_file(self, business: Business, call: Call) -> str | None:
        """Return where the content of a file is; None for here."""
        if self._faults.file_place == "storage":
            return self._storage.sign(business.id, call.key.removesuffix(_OF_FILE))
        is_elsewhere = self._faults.file_place == "moved" and _MOVED not in call.params
        return f"{PREFIX}{call.path}?{_MOVED}=1" if is_elsewhere else None

    def _mark_as_sent(self, business: Business, endpoint: Endpoint, row: Row, params: Params) -> None:
        """Do what Sage's description says that reading a sales document does unless the request says not to."""
        if not self._faults.detail_marks_sent or endpoint.name not in _SENT_BY_READING:
            return
        if params.get("mark_as_sent", "true").lower() != "false" and not row.render().get("sent"):
            business.collection(endpoint.name).change(row.id, {"sent": True}, self._world.clock.now())

    def _trial_balance(self, business: Business, params: Params) -> bytes:
        from_date, to_date = read_date(params, "from_date"), read_date(params, "to_date")
        if from_date is None or to_date is None:
            raise invalid("from_date" if from_date is None else "to_date", "This field is required.")
        versions = tuple(business.collection(name).version for name in ("ledger_entries", "ledger_accounts"))
        as_of = behind(business, self._world.clock.now())
        return self._reports.get(
            (
                business.id,
                versions,
                from_date,
                to_date,
                as_of,
                self._faults.trial_balance,
                self._faults.trial_balance_ids,
            ),
            lambda: encode(self._report(business, from_date, to_date, as_of)),
        )

    def _report(self, business: Business, from_date: date, to_date: date, as_of: datetime | None) -> Body:
        gross = self._faults.trial_balance == "gross"
        body = trial_balance(business, from_date, to_date, as_of, gross=gross)
        if not self._faults.trial_balance_ids:
            for account in body["ledger_accounts"]:
                account["id"] = None
        return body

    def _without_business(self, call: Call) -> bytes:
        if call.name == "user":
            return encode(self._world.user)
        if not call.key:
            return encode(self._business_list(call))
        key = next(iter(self._world.businesses), "") if call.key == "lead" else call.key
        if key not in self._world.businesses:
            raise not_found(f"The business {key}")
        attributes = record_view(ENDPOINTS["businesses"], call.params).attributes
        body = _business_body(self._world.businesses[key])
        return encode({name: value for name, value in body.items() if attributes is None or name in attributes})

    def _business_list(self, call: Call) -> Body:
        """List the user's businesses, in pages of their own size, or everything at once."""
        params = call.params
        wanted = params.get("name", "").casefold()
        businesses = [
            each
            for each in self._world.businesses.values()
            if wanted in each.name.casefold() and (each.subscribed or not is_on(params, "active_only"))
        ]
        shown_params = params if self._faults.businesses_attributes == "honoured" else {}
        attributes = list_query(ENDPOINTS["businesses"], shown_params, self._faults).view.attributes
        page, size, last = 1, _EVERYTHING, 1
        if self._faults.businesses_paged:
            asked = params.get("items_per_page", "25")
            size = min(max(int(asked) if asked.isascii() and asked.isdecimal() else 25, 25), 500)
            last = max(1, -(-len(businesses) // size))
            page = min(max(call.page, 1), last)
        following, previous = (
            f"/businesses?page={number}&items_per_page={size}" if 1 <= number <= last else None
            for number in (page + 1, page - 1)
        )
        items = [
            {name: value for name, value in _business_body(each).items() if attributes is None or name in attributes}
            for each in businesses[(page - 1) * size : page * size]
        ]
        return {
            "$total": len(businesses),
            "$page": page,
            "$next": following,
            "$back": previous,
            self._faults.businesses_size_key: size,
            "$items": items,
        }


def _wants_file(endpoint: Endpoint, call: Call) -> bool:
    """Return whether the content of a file is requested."""
    return endpoint.files and call.key.endswith(_OF_FILE) and call.accept == _FILE


def _nothing(query: ListQuery) -> bytes:
    """Respond as an empty list does."""
    links = {"$next": None, "$back": None}
    return encode({"$total": 0, "$page": 1, **links, "$itemsPerPage": query.per_page, "$items": []})


def _business_body(business: Business) -> Body:
    """Show a business with its subscription and the rights that its user has now."""
    body: dict[str, Any] = {"$path": f"/businesses/{business.id}", **business.body}
    if "subscriptions" in body:
        body["subscriptions"] = [_subscription(business, each) for each in body["subscriptions"]]
    shown = {f"accounting_{area}": role for area, role in business.permissions.items()}
    if "user_permissions" in body:
        others = [each for each in body["user_permissions"] if each["area"] not in shown]
        body["user_permissions"] = [*({"area": area, "role": role} for area, role in shown.items()), *others]
    return body


def _subscription(business: Business, body: Body) -> Body:
    """Show a subscription as it is now; Sage was seen to call one that ended `expired` and yet active."""
    edition = EDITIONS.get(body["id"])
    if edition is None:
        return body
    if edition != business.edition:
        new = next(each for each, name in EDITIONS.items() if name == business.edition)
        body = {**body, "id": new, "displayed_as": f"Accounting {business.edition}"}
    return body if business.subscribed else {**body, "status": "expired"}
