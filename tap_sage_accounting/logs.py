"""Where the tap's log goes, and in which form."""

from __future__ import annotations

import logging
import logging.config
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from singer_sdk.logging import ConsoleFormatter

from tap_sage_accounting.command_line import log_level
from tap_sage_accounting.printable import printable

LOG_CONFIG_VARIABLE = "SINGER_SDK_LOG_CONFIG"

logger = logging.getLogger("tap-sage-accounting")


def set_up_logging() -> None:
    """Write the log to the standard error, or where the file says that `SINGER_SDK_LOG_CONFIG` names."""
    root = logging.getLogger()
    root.setLevel(log_level("INFO"))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ConsoleFormatter())
    root.addHandler(handler)
    logging.captureWarnings(capture=True)
    warnings.filterwarnings("once", category=DeprecationWarning)
    if path := os.environ.get(LOG_CONFIG_VARIABLE):
        _follow(Path(path))


def _follow(path: Path) -> None:
    try:
        logging.config.dictConfig(_read_yaml(path))
    except Exception as error:  # noqa: BLE001 - a log elsewhere is no reason not to run
        logger.warning(
            "%s names %s, which is no configuration of a log (%s). The log goes to the standard error.",
            LOG_CONFIG_VARIABLE,
            printable(str(path)),
            type(error).__name__,
        )


def _read_yaml(path: Path) -> Any:
    import yaml  # noqa: PLC0415 - few runs have such a file

    return yaml.safe_load(path.read_text(encoding="utf-8"))
