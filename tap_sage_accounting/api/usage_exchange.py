"""Lets runs that share the limit of an application know of one another, from a thread of its own.

That begins with the first refusal: until then no limit is known, and nothing is written or read.
"""

from __future__ import annotations

import logging
import secrets
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tap_sage_accounting.api.shared_limit import Usage
from tap_sage_accounting.auth.database import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_sage_accounting.api.request_gate import RequestGate
    from tap_sage_accounting.auth.usage_table import UsageTable

INTERVAL = 1.0
"""Seconds between two looks at what others published."""
LONGEST_END = 3.0
"""Seconds that the end of a run waits for a database."""

logger = logging.getLogger(__name__)


class UsageExchange:
    """Publishes what a run sends, and learns what others do.

    Args:
        gate: the gate that the requests of the run pass.
        open_table: opens the table of all runs.
    """

    def __init__(self, gate: RequestGate, open_table: Callable[[], UsageTable]) -> None:
        self._gate = gate
        self._open_table = open_table
        self._run = secrets.token_hex(8)
        self._is_over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Exchange for as long as the block lasts."""
        thread = threading.Thread(target=self._exchange, name="usage", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join(LONGEST_END)

    def _exchange(self) -> None:
        while not self._gate.refusals:
            if self._is_over.wait(INTERVAL):
                return
        try:
            table = self._open_table()
        except (DatabaseError, OSError) as error:
            self._give_up(error)
            return
        try:
            self._exchange_through(table)
        except Exception as error:  # noqa: BLE001 - no run may wait for what a thread that is gone knew of others
            self._give_up(error)
        finally:
            table.close()

    def _exchange_through(self, table: UsageTable) -> None:
        beat = 0
        while True:
            beat += 1
            is_over = self._is_over.is_set()
            usage = self._gate.usage(beat)
            table.publish(self._run, usage._replace(is_over=is_over).write())
            if is_over:
                return
            published = {run: Usage.read(text) for run, text in table.read(self._run).items()}
            self._gate.share(self._run, {run: usage for run, usage in published.items() if usage is not None})
            self._is_over.wait(INTERVAL)

    def _give_up(self, error: Exception) -> None:
        """Go on alone."""
        with suppress(ValueError):  # a log that is closed: the run is over
            logger.info("What other runs of this application request is not known (%s).", error)
        self._gate.share(self._run, {})
