"""How fast requests may be sent: what Sage's refusals show of its limits.

Sage does not say which limit applies (limits.minute), (limits.scope), (limits.window), nor does any header
(limits.headers). Figures of 60, 100 and 900 requests a minute are in circulation, for an application or for each
business. So nothing is held back until Sage refuses several requests in a row. A refusal alone shows nothing. More than
a known limit is tried from time to time: others may have used a part of it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from tap_sage_accounting.api.closure import MINUTE
from tap_sage_accounting.api.permit import Permit
from tap_sage_accounting.api.rate_window import ANSWERED_WITHIN, IN_A_ROW, SHORT, RateWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_sage_accounting.api.shared_limit import Usage

DAILY_LIMIT = 1_296_000
"""Requests a day: Sage's published limit for an application."""
MINUTES_OF_A_DAY = 1440
SAFE_MINUTE = 1.02
"""The minute in which a user's ceiling holds, in Sage's minutes: requests take their time on the way."""
LONE_DELAY = 1.0
"""Seconds for which a request that was refused alone waits at least: no list may be asked for again and again."""


class Budget:
    """Allows a number of requests in any period of one length.

    Args:
        limit: requests.
        length: seconds.
        grain: seconds within which requests are counted together.
    """

    def __init__(self, limit: float, length: float, grain: float = 0.0) -> None:
        self._limit = limit
        self._length = length
        self._grain = grain
        self._counts: deque[tuple[float, int]] = deque()
        self._sum = 0

    def wait(self, now: float) -> float:
        """Return for how many seconds no request may be sent; 0 for none."""
        while self._counts and self._counts[0][0] + self._length <= now:
            self._sum -= self._counts.popleft()[1]
        return self._counts[0][0] + self._length - now if self._sum >= self._limit else 0.0

    def send(self, now: float) -> None:
        """Count a request."""
        self._sum += 1
        if self._counts and now < self._counts[-1][0] + self._grain:
            self._counts[-1] = (self._counts[-1][0], self._counts[-1][1] + 1)
        else:
            self._counts.append((now, 1))


class Limiter:
    """Decides when a request may be sent; pure bookkeeping, without threads or clocks of its own.

    Refusals in a row about one business show a limit of its own. When requests about several businesses are refused,
    and none is answered in between, it is the application's limit. A request about another business checks that: if
    Sage answers it, the limits are those of the businesses.

    Args:
        ceiling: requests of any minute that the user allows; None for no such ceiling.
        minute: seconds that Sage's minute has.
    """

    def __init__(self, ceiling: int | None = None, minute: float = MINUTE) -> None:
        self.application = RateWindow(minute)
        self._minute = minute
        self._second = minute / MINUTE
        self._budgets = [Budget(DAILY_LIMIT, MINUTES_OF_A_DAY * minute, minute)]
        if ceiling is not None:
            self._budgets.append(Budget(ceiling, SAFE_MINUTE * minute))
        self._businesses: dict[str | None, RateWindow] = {}
        self._refused: set[str | None] = set()
        self._scope_check: Permit | None = None
        self._is_scope_unknown = False

    def business(self, business_id: str | None) -> RateWindow:
        """Return the window of a business; unlimited until it is refused."""
        window = self._businesses.get(business_id)
        if window is None:
            known = [each for each in self._businesses if each is not None]
            is_lone = len(known) == 1 and business_id is not None and not self.application.is_shared
            if is_lone:  # what a lone business taught may be about itself
                self._businesses[known[0]].adopt(self.application)
            window = self._businesses[business_id] = RateWindow(self._minute)
        return window

    def wait(self, business_id: str | None, now: float) -> float:
        """Return for how many seconds a request about a business must wait; infinity for until one is answered."""
        own = self.business(business_id).wait(now)
        wait = min(self.application.wait(now), self._wait_to_check_scope(business_id, now))
        return max(own, wait, self._wait_for_budgets(now))

    def wait_for_all(self, now: float) -> float:
        """Return for how many seconds a request about any business must wait."""
        return max(self.application.wait(now), self._wait_for_budgets(now))

    def _wait_for_budgets(self, now: float) -> float:
        return max(budget.wait(now) for budget in self._budgets)

    def _wait_to_check_scope(self, business_id: str | None, now: float) -> float:
        """Return for how many seconds a request about a business must wait to show if a limit is the application's.

        It shows that only while the application's limit would certainly be full: infinity where that is over.
        """
        closure = self.application.closure
        if closure is None or not self._is_scope_unknown or business_id is None or business_id in self._refused:
            return math.inf
        short = SHORT * self._second
        begin, end = closure.since + short, closure.since + 2 * short
        if closure.retry_after is not None:
            end = closure.resume_at - short
        if self._scope_check is not None:
            begin = max(begin, self._scope_check.sent_at + ANSWERED_WITHIN * self._second)
        return max(begin - now, 0.0) if max(begin, now) < end else math.inf

    def usage(self, beat: int, now: float) -> Usage:
        """Return what other runs of the application must know of this one.

        One that a ceiling holds needs no places, and finds nothing out.
        """
        usage = self.application.usage(beat, now)
        return usage._replace(is_waiting=False, is_closed=False) if self._wait_for_budgets(now) else usage

    def share(self, name: str, published: Mapping[str, Usage], now: float) -> None:
        """Leave other runs of the application their part of its limit."""
        self.application.share(name, published, now)

    def send(self, business_id: str | None, now: float) -> Permit:
        """Count a request that is sent now."""
        permit = Permit(business_id, now)
        if self._wait_to_check_scope(business_id, now) == 0:
            self._scope_check = permit
        for budget in self._budgets:
            budget.send(now)
        self.application.send(permit, now)
        self.business(business_id).send(permit, now)
        return permit

    def land(self, permit: Permit, now: float) -> None:
        """Count a request that is no longer in flight; it was accepted, refused, or failed."""
        self.application.land(permit, now)
        self.business(permit.business_id).land(permit, now)

    def accept(self, permit: Permit, now: float) -> None:
        """Learn from a response that was no refusal."""
        closure = self.application.closure
        if permit is self._scope_check and closure is not None:
            self._is_scope_unknown, self._scope_check = False, None
            self.application.forget()
            for business_id in self._refused:
                self.business(business_id).close(permit, now, max(0.0, closure.resume_at - now))
        self.application.accept(permit, now)
        self.business(permit.business_id).accept(permit, now)

    def refuse(self, permit: Permit, now: float, retry_after: float | None) -> float:
        """Learn from a refusal; return for how many seconds this request alone must wait."""
        if permit is self._scope_check:
            self._is_scope_unknown, self._scope_check = False, None
        own = self.business(permit.business_id)
        self._refused.add(permit.business_id)
        is_explained = self.application.refuse(permit, now, retry_after)
        if own.refuse(permit, now, retry_after) or is_explained:
            return 0.0
        refused = {each.business_id for each in self.application.refused}
        is_general = len(refused) > 1 or len(self._businesses.keys() - {None}) <= 1
        if is_general and len(self.application.refused) >= IN_A_ROW:
            for window in self._businesses.values():
                window.forget()
            self._refused, self._is_scope_unknown = refused, self.application.limit is None
            self.application.close(permit, now, retry_after)
        elif len(own.refused) >= IN_A_ROW:
            own.close(permit, now, retry_after)
        else:
            return max(LONE_DELAY * self._second, retry_after or 0.0)
        return 0.0
