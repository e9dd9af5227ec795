"""A day later the finance models tie, however the books are kept; `scripts/check_days.py` lets ten pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sage_workbench.finance_days import PLANS, verdicts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.postgres

CERTAIN = {"trial_balance", "double_entry", "balance_sheet", "earnings", "cash_flow", "payments", "document_lines"}


@pytest.mark.slow
def test_a_day_later_everything_ties_however_the_books_are_kept(tmp_path: Path) -> None:
    found = list(verdicts(tmp_path, days=1, with_duckdb=False))
    assert [each for each in found if each.verdict == "differs"] == []
    for day in (0, 1):
        of_day = [each for each in found if each.day == day and each.verdict in {"ties", "explained"}]
        for check in CERTAIN:
            # A year and more, but for a month in which a business made no document.
            assert sum(each.count for each in of_day if each.check == check) >= 11 * len(PLANS), check


def test_each_switch_of_what_is_not_known_of_sage_stands_both_ways() -> None:
    switches = [vars(plan.conventions) for plan in PLANS]
    untried = {"trial_balance_lag"}
    for name in switches[0].keys() - untried:
        assert len({each[name] for each in switches}) > 1, name
    assert {each["voids"] for each in switches} == {"flag", "reverse", "both"}
    assert {each["tax_settlement"] for each in switches} == {"journal", "transaction", "none"}
