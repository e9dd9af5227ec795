"""How moments and spans of time are shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tap_sage_accounting.timestamps import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.6, "60 s"),
        (119, "119 s"),
        (120, "2 minutes"),
        (3600, "60 minutes"),
        (7200, "2 hours"),
        (86_400, "24 hours"),
        (13_046_690, "151 days"),
    ],
)
def test_a_span_is_shown_in_its_largest_unit(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
