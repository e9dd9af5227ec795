"""This tap's command; a limit's minute may be shortened as the simulated Sage shortens it."""

from __future__ import annotations

import os
from functools import cached_property

from typing_extensions import override

from tap_sage_accounting.cli import save_time_and_memory

save_time_and_memory()  # as the command does it

from tap_sage_accounting.api.closure import MINUTE  # noqa: E402
from tap_sage_accounting.api.request_gate import RequestGate  # noqa: E402
from tap_sage_accounting.tap import TapSageAccounting  # noqa: E402


class HastyTap(TapSageAccounting):
    """The tap, with a minute of another length."""

    @cached_property
    @override
    def gate(self) -> RequestGate:
        return RequestGate(
            concurrency=self.config["concurrency"],
            per_minute=self.config.get("requests_per_minute"),
            minute=float(os.environ.get("BENCHMARK_MINUTE", MINUTE)),
        )


if __name__ == "__main__":
    HastyTap.cli()
