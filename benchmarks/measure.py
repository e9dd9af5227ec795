"""Run one command, count the records that it writes, and print what it cost. Standard library only.

The kernel counts the memory of a starting process towards the peak of the one that it starts. So this small program
starts the commands, not the harness. It reads from standard input
`{"command", "environment", "directory", "keep", "timeout"}`, and answers with one line of JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

RECORD = (b'{"type":"RECORD"', b'{"type": "RECORD"')
"""How RECORD messages begin; inside a record's strings the quotes would be escaped."""
AT_ONCE = 1 << 20
"""Bytes that are read at once, and of a pipe's buffer: counting must not slow the measured program down."""


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Run the command of an order to its end.

    Returns:
        `code`; wall `seconds` from start to end; `cpu`, user plus system seconds of the process and whatever processes
        it waited for; `peak_mb`, its largest resident memory in MiB; `records`, lines that are RECORD messages.
    """
    directory = Path(order["directory"])
    keep = (directory / "stdout").open("wb") if order["keep"] else None
    records = 0
    with (directory / "stderr").open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - the harness's own commands
            order["command"],
            env=order["environment"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        watchdog = threading.Timer(order["timeout"], process.kill)
        watchdog.start()
        pipe = process.stdout.fileno() if process.stdout else -1
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, AT_ONCE)
        rest = b""
        while taken := os.read(pipe, AT_ONCE):
            if keep is not None:
                keep.write(taken)
            lines, _, rest = (rest + taken).rpartition(b"\n")
            records += sum(map(lines.count, RECORD))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        watchdog.cancel()
    if keep is not None:
        keep.close()
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "records": records,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(json.load(sys.stdin))))
