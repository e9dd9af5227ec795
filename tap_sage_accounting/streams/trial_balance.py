"""The trial balance, month by month: what the ledger is checked against."""

from __future__ import annotations

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.extraction.monthly_read import MonthlyRead


class TrialBalance(SageStream):
    """What every ledger account held at the start and the end of each month, and what moved in it."""

    name = "trial_balance"
    primary_keys = ("business_id", "from_date", "ledger_account_id")
    whole = False  # a run reads the months that may have changed
    read_class = MonthlyRead
