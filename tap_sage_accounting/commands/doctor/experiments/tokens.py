"""Experiments with what Sage states of the tokens that a look uses; none spends a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_sage_accounting.commands.doctor.findings import Finding, decided, experiment, undecided

if TYPE_CHECKING:
    from tap_sage_accounting.commands.doctor.subject import Subject

ACCESS, REFRESH = 300, 31 * 24 * 60 * 60
"""Seconds that Sage documents."""
NOT_KNOWN = "No token was renewed here yet."


@experiment("tokens.access_lifetime")
def access_lifetime(subject: Subject) -> Finding:
    """Compare the stated lifetime of the access token."""
    if subject.lifetimes is None:
        return undecided(NOT_KNOWN)
    seconds = round(subject.lifetimes[0])
    return decided(holds=seconds == ACCESS, evidence=f"Sage states {seconds} s.")


@experiment("tokens.refresh_lifetime")
def refresh_lifetime(subject: Subject) -> Finding:
    """Compare the stated lifetime of the refresh token."""
    if subject.lifetimes is None:
        return undecided(NOT_KNOWN)
    seconds = round(subject.lifetimes[1])
    return decided(holds=seconds == REFRESH, evidence=f"Sage states {seconds} s.")
