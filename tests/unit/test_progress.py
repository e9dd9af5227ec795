"""A person can follow a run, and standard output stays free for the data."""

from __future__ import annotations

import logging
import os
import select
import time
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.api.request_gate import RequestGate
from tap_sage_accounting.run.progress import Progress
from tap_sage_accounting.run.report import RunReport

if TYPE_CHECKING:
    import pytest

logger = logging.getLogger("tap-sage-accounting")


def half_done(**options: Any) -> Progress:
    report, gate = RunReport(), RequestGate(concurrency=8)
    report.complete = 20
    report.records["contacts"] = 12_345
    for _ in range(30):
        with gate.acquire("b"):
            pass
    return Progress(report=report, gate=gate, planned=lambda: 40, logger=logger, **options)


def test_the_log_says_now_and_then_how_far_the_run_is(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO), half_done(between_lines=0.01).shown():
        deadline = time.monotonic() + 60
        while len(caplog.messages) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(caplog.messages) >= 3
    assert "20 of 40 reads done; 12,345 records; 30 requests" in caplog.messages[0]
    assert "0 refused; about 0 s left." in caplog.messages[0]
    assert capsys.readouterr().out == ""


def test_a_short_run_is_not_talked_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), half_done().shown():
        pass
    assert caplog.messages == []


def test_a_terminal_shows_a_live_line_and_the_log_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    controller, worker = os.openpty()
    with open(worker, "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a descriptor, no path
        handler = logging.StreamHandler(terminal)
        logger.addHandler(handler)
        try:
            with half_done(terminal=terminal).shown():
                logger.warning("something to know")
            assert handler.stream is terminal
        finally:
            logger.removeHandler(handler)
        shown = ""
        while not all(text in shown for text in ("20 of 40 reads done", "something to know")):
            assert select.select([controller], [], [], 60)[0], shown  # a terminal passes on what it gets when it likes
            shown += os.read(controller, 1 << 16).decode()
    os.close(controller)
    assert capsys.readouterr().out == ""
