"""Whatever happens in Sage and to the runs, the warehouse agrees in the end."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from sage_workbench.books_in_motion import BooksInMotion

TestBooksInMotion = pytest.mark.slow(BooksInMotion.TestCase)
TestBooksInMotion.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
