"""This tap's command; a limit's minute may be shortened as the simulated Sage shortens it."""

from __future__ import annotations

import os

from tap_sage_accounting import limits
from tap_sage_accounting.tap import TapSageAccounting

if __name__ == "__main__":
    if minute := os.environ.get("BENCHMARK_MINUTE"):
        limits.MINUTE = float(minute)
    TapSageAccounting.cli()
