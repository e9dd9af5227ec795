"""The experiments, a module for each topic."""

from __future__ import annotations

from tap_sage_accounting.commands.doctor.experiments import (  # noqa: F401 - imported for what they declare
    balances,
    businesses,
    changes,
    deletions,
    ledger,
    pages,
    records,
    requests,
    rights,
    tokens,
)
