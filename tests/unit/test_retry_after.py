"""`Retry-After`, whatever a server writes there."""

from __future__ import annotations

import pytest

from tap_sage_accounting.transport.faults import LONGEST_WAIT, retry_after

SIX = "Tue, 30 Jun 2026 18:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("0.25", 0.25),
        ("86400", 86400.0),
        ("Tue, 30 Jun 2026 18:02:00 GMT", 120.0),
        ("Tuesday, 30-Jun-26 18:02:00 GMT", 120.0),
        ("Tue Jun 30 18:02:00 2026", 120.0),
        ("Tue, 30 Jun 2026 20:02:00 +0200", 120.0),
        ("Tue, 30 Jun 2026 18:02:00 -0000", 120.0),
        ("Tue, 30 Jun 2026 17:00:00 GMT", 0.0),
    ],
)
def test_seconds_and_dates_are_seconds_to_wait(text: str, seconds: float) -> None:
    assert retry_after({"Retry-After": text, "Date": SIX}) == seconds


@pytest.mark.parametrize("text", ["9" * 400, "99999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_beyond_every_calendar_is_a_long_one(text: str) -> None:
    assert retry_after({"Retry-After": text, "Date": SIX}) == LONGEST_WAIT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "inf",
        "nan",
        "-1",
        "1e9",
        "0x10",
        "\u0667",
        "Fri, 31 Dec 9999 23:59:59 -1200",
        "Tue, 30 Jun 99999 18:02:00 GMT",
        "Tue, 31 Feb 2026 18:02:00 GMT",
        f"Tue, 30 Jun 2026 18:02:00 +{'9' * 30}",
        "Tue, 30 Jun 2026",
    ],
)
def test_what_makes_no_sense_is_as_if_it_were_not_there(text: str) -> None:
    assert retry_after({"Retry-After": text, "Date": SIX}) is None


def test_without_a_date_of_the_servers_ours_counts() -> None:
    for headers in ({}, {"Date": "long ago"}):
        assert retry_after({"Retry-After": "Fri, 31 Dec 2100 00:00:00 GMT", **headers}) == LONGEST_WAIT
        assert retry_after({"Retry-After": SIX.replace("2026", "2020"), **headers}) == 0.0
