"""Runs of the tap itself, for those who watch how fresh their tables are."""

from __future__ import annotations

from tap_sage_accounting.client import CollectedStream


class Runs(CollectedStream):
    """Runs of this tap, one row each: how they ended, what they read, and what that took of Sage."""

    name = "runs"
    primary_keys = ("run_id",)
    per_business = False
    opt_in = True
    moment = "started_at"


class RunReads(CollectedStream):
    """Reads of those runs, one row for each stream of each business: how they ended, and how many rows came."""

    name = "run_reads"
    primary_keys = ("run_id", "business_id", "stream")
    per_business = False
    opt_in = True
    moment = "started_at"
