from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.postgres, pytest.mark.waits]

SCRIPT = Path(__file__).parents[2] / "scripts" / "kill_runs.py"


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_killed_and_stopped_runs_lose_no_grant_although_their_store_fails(store: str) -> None:
    options = ("--runs=16", "--lanes=4", "--lifetime=0.8", "--processes=10", "--seconds=3")
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), f"--store={store}", *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    figures = json.loads(finished.stdout)
    killed, shared = figures["killed"], figures["shared"]
    assert (killed["runs"], killed["stopped"], killed["store_failed"]) == (16, 8, 4)
    assert (killed["lost"], killed["dead_tokens_sent"], killed["wrong_exit_codes"]) == (0, 0, 0)
    assert (shared["finished"], shared["dead_tokens_sent"]) == (10, 0)
    assert shared["refreshes"] >= 1
    if shared["refreshes"] > 1:
        # Runs renew a token from a fifth of its lifetime before its end. A request may be late by half of that.
        # Runs that did not share their tokens would all renew at once.
        assert shared["shortest_time_between_refreshes"] > 0.8 * 0.8 / 2
