"""Where the tap's log goes, in which form, and what is left out of it."""

from __future__ import annotations

import logging
import logging.config
import os
import sys
import warnings
from pathlib import Path

import singer_sdk
from singer_sdk.logging import ConsoleFormatter
from singer_sdk.metrics import METRICS_LOGGER_NAME

from tap_sage_accounting.console.command_line import log_level
from tap_sage_accounting.printable import printable
from tap_sage_accounting.redaction import all_handlers, install

LOG_CONFIG_VARIABLE = "SINGER_SDK_LOG_CONFIG"
SDK_DIRECTORY = str(Path(singer_sdk.__file__).parent)

logger = logging.getLogger("tap-sage-accounting")


def set_up_logging() -> None:
    """Write the log to the standard error, or where the file says that `SINGER_SDK_LOG_CONFIG` names."""
    root = logging.getLogger()
    root.setLevel(log_level("INFO"))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("{asctime} {levelname:8s} {message}", "%H:%M:%S", style="{")
        if sys.stderr.isatty()  # where a line is short, and somebody looks at it now
        else ConsoleFormatter()
    )
    root.addHandler(handler)
    logging.captureWarnings(capture=True)
    warnings.filterwarnings("once", category=DeprecationWarning)
    if path := os.environ.get(LOG_CONFIG_VARIABLE):
        _follow(Path(path))
    filter_handlers()


def filter_handlers() -> None:
    """Let every handler that there is now leave out what only a search for faults needs, mask secrets, and escape."""
    for handler in all_handlers():
        handler.addFilter(_without_sdk_details)
    install(())


def _without_sdk_details(record: logging.LogRecord) -> bool:
    """Drop the SDK's lines about its own work, one for each stream and more, unless the level is `DEBUG`."""
    return (
        record.levelno > logging.INFO
        or record.name == METRICS_LOGGER_NAME
        or not record.pathname.startswith(SDK_DIRECTORY)
        or logging.getLogger().isEnabledFor(logging.DEBUG)
    )


def _follow(path: Path) -> None:
    try:
        import yaml  # noqa: PLC0415 - few runs have such a file

        logging.config.dictConfig(yaml.safe_load(path.read_text(encoding="utf-8")))
    except Exception as error:  # noqa: BLE001 - a log elsewhere is no reason not to run
        logger.warning(
            "%s names %s, which is no configuration of a log (%s). The log goes to the standard error.",
            LOG_CONFIG_VARIABLE,
            printable(str(path)),
            type(error).__name__,
        )
