#!/usr/bin/env python
"""Work in the books, run, kill and compare for thousands of steps.

The machine is the one of the test suite. A seed makes the same steps again; a failure is reported as the shortest
series of steps that fails.

    python scripts/long_check.py --steps 5000 --seed 1
"""

from __future__ import annotations

import argparse
import time

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from sage_workbench.books_in_motion import BooksInMotion
from tap_sage_accounting.api import outages

STEPS_AT_A_TIME = 40
"""Steps in one series, which begins with new books."""


def main() -> None:
    """Run as many series as it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    outages.FIRST_DELAY = 0.001  # passing faults pass quickly here
    began = time.monotonic()
    machine = seed(arguments.seed)(BooksInMotion)
    chosen = settings(
        max_examples=max(1, arguments.steps // STEPS_AT_A_TIME),
        stateful_step_count=STEPS_AT_A_TIME,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
    print(
        f"{arguments.steps} steps, seed {arguments.seed}: {machine.runs} runs, {machine.compared} comparisons, "
        f"all equal, in {time.monotonic() - began:.0f} s."
    )


if __name__ == "__main__":
    main()
