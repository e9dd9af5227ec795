"""An environment of the tests' own: no setting of a developer reaches them, and they reach nothing of a developer's."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

OUTSIDE = dict(os.environ)
"""The developer's own environment, for what installs packages: it knows from where, and keeps what it fetched."""

_KEPT = {"CI", "DEBUG", "LANG", "PATH", "TMPDIR", "UPDATE_SNAPSHOTS", "SSL_CERT_DIR", "SSL_CERT_FILE"}
_KEPT_ON_WINDOWS = {"COMSPEC", "NUMBER_OF_PROCESSORS", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "WINDIR"}
_KEPT_PREFIXES = ("COV_", "COVERAGE_", "DYLD_", "LC_", "LD_", "NIX_", "PYTEST_", "UV_")


def leave_the_developers_environment() -> None:
    """Forget all variables but those by which programs are found and run."""
    for name in [*os.environ]:
        if name.upper() not in _KEPT | _KEPT_ON_WINDOWS and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]


def pass_no_ignored_signal_on() -> None:
    """Let programs under test begin with signals that end them, also where the tests run under nohup or behind `&`.

    What a process ignores is ignored by the programs that it starts, what it handles is not.
    """

    def ignore(_number: int, _frame: FrameType | None) -> None: ...

    for name in ("SIGHUP", "SIGINT", "SIGQUIT"):
        number = getattr(signal, name, None)  # Windows has only one of them
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, ignore)


@contextmanager
def a_place_of_its_own(directory: Path) -> Iterator[None]:
    """Live in an empty directory, where there is no `.env`, with another one as home."""
    (home := directory / "home").mkdir()
    (here := directory / "here").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        patch.chdir(here)
        yield
