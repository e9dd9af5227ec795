"""The programs that this package installs.

Signals are caught before anything else is imported; hence the imports inside of functions.
"""

from __future__ import annotations

OBJECTS_UNWATCHED = 200_000
"""Objects made, and not yet freed, between two searches for garbage."""
M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` that bounds how many heaps there are (malloc.h)."""


def _begin(*, dies_of_signals: bool = False) -> None:
    """Catch signals, to end with an exit code or by the signal itself, and open missing standard streams."""
    try:
        from tap_sage_accounting.run.signals import die_of_it, stop_signals  # noqa: PLC0415

        stop_signals.install(exit_by=die_of_it if dies_of_signals else None)
    except KeyboardInterrupt:  # Ctrl-C before there was a handler
        import os  # noqa: PLC0415
        import signal  # noqa: PLC0415

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    from tap_sage_accounting.console.standard_streams import repair_streams  # noqa: PLC0415

    repair_streams()


def save_time_and_memory() -> None:
    """Set this process up for what it does; to be called before modules are loaded and threads started.

    Python searches for garbage less often than by default, and not at all at the end. Modules and pages are many
    objects without garbage among them: searching them would take a sixth of a run's time. With glibc, all threads take
    their memory from one heap. By default each has its own, which keeps the size of the largest page that it held.
    """
    import atexit  # noqa: PLC0415
    import ctypes  # noqa: PLC0415
    import gc  # noqa: PLC0415
    from contextlib import suppress  # noqa: PLC0415

    gc.set_threshold(OBJECTS_UNWATCHED)
    atexit.register(gc.freeze)
    with suppress(OSError, AttributeError, TypeError):  # as Windows, macOS and musl complain
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def main() -> None:
    """Run `tap-sage-accounting`."""
    _begin()
    save_time_and_memory()
    from tap_sage_accounting.tap import TapSageAccounting  # noqa: PLC0415 - most objects come with the modules

    TapSageAccounting.cli()


def login() -> None:
    """Run `tap-sage-accounting-login`."""
    _begin()
    from tap_sage_accounting.commands.login import login as command  # noqa: PLC0415

    command()


def status() -> None:
    """Run `tap-sage-accounting-status`."""
    _begin()
    from tap_sage_accounting.commands.status import status as command  # noqa: PLC0415

    command()


def doctor() -> None:
    """Run `tap-sage-accounting-doctor`."""
    _begin()
    from tap_sage_accounting.commands.doctor.command import doctor as command  # noqa: PLC0415

    command()


def state() -> None:
    """Run `tap-sage-accounting-state`."""
    _begin()
    from tap_sage_accounting.commands.state import state as command  # noqa: PLC0415

    command()


def logout() -> None:
    """Run `tap-sage-accounting-logout`."""
    _begin()
    from tap_sage_accounting.commands.logout import logout as command  # noqa: PLC0415

    command()


def source() -> None:
    """Run `source-sage-accounting`."""
    _begin(dies_of_signals=True)  # PyAirbyte takes any other end for a crash
    from tap_sage_accounting.airbyte.cli import main as command  # noqa: PLC0415

    command()
