"""Reading a request's parameters: which rows, in which order, which page of them, and what of each row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from sage_sandbox.refusals import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sage_sandbox.endpoints import Endpoint
    from sage_sandbox.faults import Faults

Params = dict[str, str]
_LARGEST_PAGE = 200
_DEFAULT_PAGE = 20
_ALWAYS = frozenset({"id", "displayed_as", "$path"})
_MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:T(?P<time>\d\d:\d\d:\d\d)?(?P<fraction>\.\d{1,6})?(?P<zone>Z|[+-]\d\d:\d\d)?)?"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a list, and in which order. Moments are thresholds: a row's moment must not be before them."""

    changed_from: datetime | None = None
    changed_to: datetime | None = None
    deleted_from: datetime | None = None
    from_date: str = ""
    to_date: str = ""
    equals: tuple[tuple[str, str], ...] = ()
    search: str = ""
    active_only: bool = False
    unflagged_only: bool = False
    sort: str = ""
    descending: bool = False

    @property
    def by_content(self) -> bool:
        """Rows must be looked into, not only at their timestamps."""
        return bool(
            self.from_date or self.to_date or self.equals or self.search or self.active_only or self.unflagged_only
        )


@dataclass(frozen=True, slots=True)
class View:
    """What of a row is shown: `attributes` None means all; `period` is the one of balance details."""

    attributes: frozenset[str] | None
    named: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    nested: bool = False
    period: tuple[date, date] | None = None
    without_deleted: bool = False

    @property
    def full(self) -> bool:
        """Every attribute was requested."""
        return self.attributes is None

    @property
    def summary(self) -> bool:
        """Nothing was requested beyond what is always there."""
        return self.attributes == _ALWAYS


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A whole request for a page. `kept` is the part of the query string that `$next` repeats."""

    page: int
    per_page: int
    selection: Selection
    view: View
    kept: str = ""


def is_on(params: Mapping[str, str], name: str) -> bool:
    """Return whether a flag is set."""
    return params.get(name, "").lower() in {"true", "1"}


def read_moment(name: str, text: str, *, fractions: bool) -> datetime:
    """Read a date, or a date and time with an offset; UTC where none is given.

    Raises:
        RefusalError: The text is neither.
    """
    match = _MOMENT.fullmatch(text)
    if match is None or (match["fraction"] and not (fractions and match["time"])):
        raise invalid(name, f"{name} must be a date or a date-time with an offset.")
    moment = f"{match['day']}T{match['time'] or '00:00:00'}{match['fraction'] or ''}{match['zone'] or '+00:00'}"
    try:
        return datetime.fromisoformat(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(name, f"{name} is not a date of the calendar.") from None


def read_date(params: Mapping[str, str], name: str) -> date | None:
    """Read a date parameter; None where it is absent.

    Raises:
        RefusalError: It is not a date.
    """
    text = params.get(name)
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise invalid(name, f"{name} must be a date (YYYY-MM-DD).") from None


def list_query(endpoint: Endpoint, params: Params, faults: Faults) -> ListQuery:
    """Read the parameters of a list.

    Raises:
        RefusalError: A known parameter has an impossible value.
    """
    per_page = _whole(params, "items_per_page", _DEFAULT_PAGE)
    if per_page > _LARGEST_PAGE and faults.items_per_page_over_200 == "error":
        raise invalid("items_per_page", "items_per_page must be between 1 and 200.")
    return ListQuery(
        page=_whole(params, "page", 1),
        per_page=min(per_page, _LARGEST_PAGE),
        selection=_selection(endpoint, params, faults),
        view=_view(params, _attributes(params, _ALWAYS), nested=endpoint.nested_list),
        kept=_kept(params, faults),
    )


def record_view(endpoint: Endpoint, params: Params) -> View:
    """Read the parameters of a single record, which is shown in full unless it is narrowed."""
    return _view(params, _attributes(params, None), nested=endpoint.nested)


def _whole(params: Params, name: str, default: int) -> int:
    text = params.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise invalid(name, f"{name} must be a whole number of at least 1.")
    return int(text)


def _attributes(params: Params, default: frozenset[str] | None) -> frozenset[str] | None:
    text = params.get("attributes", "").strip()
    if not text:
        return default
    names = frozenset(name.strip() for name in text.split(","))
    return None if "all" in names else names | _ALWAYS


def _view(params: Params, attributes: frozenset[str] | None, *, nested: bool) -> View:
    return View(
        attributes=attributes,
        named=frozenset(params.get("attributes", "").split(",")) - {""},
        flags=frozenset(name for name in params if name.startswith("show_") and is_on(params, name)),
        nested=nested and bool(params.get("nested_attributes")),
        period=_balance_period(params),
        without_deleted=is_on(params, "exclude_deleted_entries"),
    )


def _balance_period(params: Params) -> tuple[date, date] | None:
    """Read the period that balance details are for; without both ends Sage gives none."""
    if not is_on(params, "show_balance_details"):
        return None
    first, final = read_date(params, "from_date"), read_date(params, "to_date")
    return None if first is None or final is None else (first, final)


def _selection(endpoint: Endpoint, params: Params, faults: Faults) -> Selection:
    changed_from, changed_to = _change_window(endpoint, params, faults)
    sort, descending = _order(endpoint, params) if faults.sort == "honoured" else ("created_at", True)
    dead_from = _since if faults.deleted_since == "inclusive" else _after
    takes_deleted_since = endpoint.deleted_since and faults.deleted_since != "ignored"
    from_date, to_date = (read_date(params, name) if endpoint.dated else None for name in ("from_date", "to_date"))
    hides_inactive = faults.inactive_items == "hidden" and "active" in endpoint.equals and "active" not in params
    return Selection(
        changed_from=changed_from,
        changed_to=changed_to,
        deleted_from=dead_from(params, "deleted_since", faults) if takes_deleted_since else None,
        from_date=from_date.isoformat() if from_date else "",
        to_date=to_date.isoformat() if to_date else "",
        equals=tuple(
            (attribute, params[name])
            for name, attribute in endpoint.equals.items()
            if params.get(name) and not (name == "active" and faults.inactive_items == "unfiltered")
        ),
        search=params.get("search", "").casefold(),
        active_only=hides_inactive or any(is_on(params, name) for name in _ACTIVE_FILTERS.get(endpoint.name, ())),
        unflagged_only=endpoint.name == "ledger_entries" and faults.flagged_entries == "hidden",
        sort=sort,
        descending=descending,
    )


_ACTIVE_FILTERS = {"contacts": ("filter_inactive_contacts",), "bank_accounts": ("filter_inactive_bank_accounts",)}


def _change_window(endpoint: Endpoint, params: Params, faults: Faults) -> tuple[datetime | None, datetime | None]:
    """Read the change filter, and the bounded window that only the list of transactions has."""
    first = _after if faults.changed_since == "exclusive" else _since
    takes_changed_since = endpoint.changed_since and faults.changed_since != "ignored"
    lower = first(params, "updated_or_created_since", faults) if takes_changed_since else None
    if endpoint.name != "transactions":
        return lower, None
    window = _since(params, "updated_from_date", faults)
    return max(filter(None, (lower, window)), default=None), _after(params, "updated_to_date", faults)


def _since(params: Params, name: str, faults: Faults) -> datetime | None:
    """Give the first moment that an inclusive filter lets through; timestamps count in whole seconds."""
    if not params.get(name):
        return None
    moment = read_moment(name, params[name], fractions=faults.fractional_seconds)
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)


def _after(params: Params, name: str, faults: Faults) -> datetime | None:
    """Give the first moment that an exclusive filter lets through; timestamps count in whole seconds."""
    if not params.get(name):
        return None
    moment = read_moment(name, params[name], fractions=faults.fractional_seconds)
    return moment.replace(microsecond=0) + timedelta(seconds=1)


def _order(endpoint: Endpoint, params: Params) -> tuple[str, bool]:
    """Read `sort=key[:asc|desc]`; a list that does not take it ignores it."""
    text = params.get("sort", "")
    if not (endpoint.sort and text):
        return "", False
    key, _, direction = text.partition(":")
    if key not in endpoint.sort or direction not in {"", "asc", "desc"}:
        raise invalid("sort", f"sort must be one of {', '.join(endpoint.sort)}, with :asc or :desc.")
    return key, direction == "desc"


def _kept(params: Params, faults: Faults) -> str:
    names = ["attributes", "sort"]
    if faults.next_keeps_filters:
        names += [name for name in params if name not in {"page", "items_per_page", *names}]
    return "".join(f"&{name}={quote(params[name], safe=':,')}" for name in names if params.get(name))
