"""Standard input, output and error of a program, also where they are closed, or nobody reads them.

This module is light: programs call it before anything else is imported.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper


def repair_streams() -> None:
    """Let a closed input be empty, a closed output refuse every write, and a closed error output drop them.

    No file or connection takes a number of theirs then. What cannot be encoded for the output is escaped.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - a descriptor
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115 - a descriptor
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115 - a descriptor
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

    import atexit  # noqa: PLC0415 - see the top of this module

    atexit.register(drop_unwritable, "stderr")


def drop_unwritable(name: str) -> OSError | None:
    """Flush `stdout` or `stderr`; return why it cannot be written, None where it can.

    Where it cannot, it is closed and replaced, so that Python does not complain at its end.
    """
    stream = getattr(sys, name)
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError):
            stream.close()  # the descriptor stays open; what could not be written is dropped
        setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for as long as we live
        return error
    return None
