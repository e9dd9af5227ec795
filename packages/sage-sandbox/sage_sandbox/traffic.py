"""What passes through the simulated Sage: the log of requests, how many are in flight, and the limits on them."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sage_sandbox.faults import Faults

_KEPT_REQUESTS = 500_000


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One served request. Secrets (headers, bodies of token requests) are never part of it.

    `path` is whole (`/v3.1/contacts`, `/token`). `status` is 0 where no response was sent. `start` and `end` are
    `time.monotonic()` seconds.
    """

    method: str
    path: str
    params: dict[str, str]
    business: str | None
    status: int
    start: float
    end: float


class RequestLog:
    """The requests served so far, in the order of their responses; threads may read it while the server writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=_KEPT_REQUESTS)

    def append(self, request: LoggedRequest) -> None:
        """Add a served request."""
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        """Forget everything so far."""
        with self._lock:
            self._requests.clear()

    def of(self, name: str) -> list[LoggedRequest]:
        """List the API requests of one path, its single records included: `of("contacts")`."""
        prefix = f"/v3.1/{name}"
        return [each for each in self if each.path == prefix or each.path.startswith(f"{prefix}/")]

    def __iter__(self) -> Iterator[LoggedRequest]:
        with self._lock:
            return iter(list(self._requests))

    def __len__(self) -> int:
        with self._lock:
            return len(self._requests)

    def __getitem__(self, index: int) -> LoggedRequest:
        with self._lock:
            return self._requests[index]

    def stats(self) -> dict[str, Any]:
        """Count by path and status: `{"total": 3, "by_path": {"/v3.1/user": {"200": 3}}, "by_status": {"200": 3}}`."""
        requests = list(self)
        by_path: dict[str, Counter[str]] = {}
        for each in requests:
            by_path.setdefault(each.path, Counter())[str(each.status)] += 1
        return {
            "total": len(requests),
            "by_path": {path: dict(counts) for path, counts in sorted(by_path.items())},
            "by_status": dict(Counter(str(each.status) for each in requests)),
        }


class RateLimiter:
    """Refuses what exceeds the limit of a minute, for the application or for each business. Refusals do not count."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._passed: dict[str, deque[float]] = {}
        self._full_at: dict[str, float] = {}

    def refuse_for(self, owner: str) -> float | None:
        """Return for how many seconds this request must wait; None, and count it, where it may pass."""
        limit, minute = self._faults.rate_limit, self._faults.minute
        if limit is None:
            return None
        now = time.monotonic()
        if self._faults.rate_window == "bucket":
            return self._take_from_bucket(owner, now, minute / limit, minute) if limit else minute
        passed = self._passed.setdefault(owner, deque())
        start = now - minute if self._faults.rate_window == "sliding" else now - now % minute
        while passed and passed[0] <= start:
            passed.popleft()
        if len(passed) < limit:
            passed.append(now)
            return None
        if self._faults.rate_window == "fixed":
            return start + minute - now
        return (passed[0] if limit else now) + minute - now

    def _take_from_bucket(self, owner: str, now: float, drop: float, capacity: float) -> float | None:
        """Take the share of one request out of a bucket, in seconds after which it is full again."""
        full_at = max(self._full_at.get(owner, now), now) + drop
        if full_at - now > capacity + 1e-9:
            return full_at - now - capacity
        self._full_at[owner] = full_at
        return None


def retry_after(faults: Faults, seconds: float, now: datetime) -> str | None:
    """Write a `Retry-After` in the way that is switched on; `now` is the simulated time of its date."""
    match faults.retry_after:
        case "absent":
            return None
        case "fraction":
            return f"{seconds:.3f}"
        case "date":
            return format_datetime((now + timedelta(seconds=math.ceil(seconds))).astimezone(UTC), usegmt=True)
        case "seconds":
            return str(max(1, math.ceil(seconds)))
