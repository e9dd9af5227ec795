"""`source-sage-accounting spec | check | discover | read`: the commands by which Airbyte runs a source."""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import SingerSDKError

from tap_sage_accounting.airbyte.catalog import Selection, airbyte_catalog
from tap_sage_accounting.airbyte.spec import settings_of, specification
from tap_sage_accounting.airbyte.writer import AirbyteLogHandler, AirbyteWriter
from tap_sage_accounting.console.command_line import (
    UnreadableFileError,
    ending_plainly,
    log_level_problem,
    read_json,
    read_json_object,
    show,
)
from tap_sage_accounting.console.logs import filter_handlers
from tap_sage_accounting.exceptions import IncompleteRunError, RefusedRunError, SettingsError
from tap_sage_accounting.printable import printable
from tap_sage_accounting.redaction import install
from tap_sage_accounting.run.signals import stop_signals
from tap_sage_accounting.run.writer import OutputClosedError
from tap_sage_accounting.settings import SECRETS
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(TapSageAccounting.name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of this process's command line, unless others are given; exit with 0 if it succeeds."""
    with ending_plainly(partial(show, err=True)):
        options = _options(arguments)
    writer = AirbyteWriter()
    _log_to(writer, debug=options.debug)
    with stop_signals.orderly(sent=lambda: writer.sent):
        try:
            _run(_COMMANDS[options.command], options, writer)
        except OutputClosedError as error:
            writer.has_failed = True
            show(str(error), err=True)
    sys.exit(1 if writer.has_failed else 0)


def _run(
    command: Callable[[argparse.Namespace, AirbyteWriter], None], options: argparse.Namespace, writer: AirbyteWriter
) -> None:
    """Run a command and end the streams that it leaves open; as incomplete where a signal ended it."""
    try:
        command(options, writer)
    except IncompleteRunError:
        pass  # each failure was reported when it happened
    except SystemExit:
        writer.finish(aborted=True)
        raise
    except Exception as error:  # noqa: BLE001 - the platform learns of it in its own way
        _report_failure(writer, error)
    writer.finish(aborted=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="source-sage-accounting", description=__doc__)
    parser.add_argument("--debug", action="store_true", help="log more")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about, needs in (
        ("spec", "show which settings there are", ()),
        ("check", "try the settings", ("config",)),
        ("discover", "show which streams there are", ("config",)),
        ("read", "extract", ("config", "catalog", "state")),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("--debug", action="store_true", help=argparse.SUPPRESS, default=argparse.SUPPRESS)
        for each in needs:
            command.add_argument(f"--{each}", required=each != "state", help=f"JSON file: {each}")
    return parser.parse_args(arguments)


def _log_to(writer: AirbyteWriter, *, debug: bool) -> None:
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    root.handlers = [AirbyteLogHandler(writer)]
    filter_handlers()


def _report_failure(writer: AirbyteWriter, error: Exception) -> None:
    """Report what ended a command; streams that are open do not come to their end."""
    from tap_sage_accounting.airbyte.source import failure_type, words_of  # noqa: PLC0415 - `spec` needs none of it

    known = isinstance(error, SingerSDKError)
    message = words_of(error) if known else f"Unexpected {type(error).__name__}: {error}"
    writer.fail(None, message, failure_type(error), error)
    writer.finish(aborted=not isinstance(error, RefusedRunError))  # then every read came to its end


# The commands


def spec(_options: argparse.Namespace, writer: AirbyteWriter) -> None:
    """Write the specification of the settings."""
    writer.write({"type": "SPEC", "spec": specification()})


def check(options: argparse.Namespace, writer: AirbyteWriter) -> None:
    """Try the settings: get a token, and the businesses that Sage lists."""
    from tap_sage_accounting.airbyte.source import AirbyteTap, words_of  # noqa: PLC0415 - `spec` needs none of it

    config = _config(options, writer)
    try:
        tap = AirbyteTap(config, writer)
        with tap.connected():
            logger.info("The login reaches %s.", "; ".join(map(str, tap.businesses)))
    except SingerSDKError as error:
        status = {"status": "FAILED", "message": writer.mask(words_of(error))}
    else:
        status = {"status": "SUCCEEDED"}
    writer.write({"type": "CONNECTION_STATUS", "connectionStatus": status})


def discover(options: argparse.Namespace, writer: AirbyteWriter) -> None:
    """Write the catalog; it is the same for everybody, so nothing is requested from Sage."""
    config = _config(options, writer)
    tap = TapSageAccounting(config=_shape(config), validate_config=False)
    writer.write({"type": "CATALOG", "catalog": airbyte_catalog(tap.discover_streams())})


def read(options: argparse.Namespace, writer: AirbyteWriter) -> None:
    """Extract what the configured catalog selects."""
    from tap_sage_accounting.airbyte.source import AirbyteTap  # noqa: PLC0415 - `spec` needs none of it

    config = _config(options, writer)
    selection = Selection(_read(read_json_object, options.catalog))
    discovered = TapSageAccounting(config=_shape(config), validate_config=False).catalog_dict
    tap = AirbyteTap(
        config,
        writer,
        catalog=selection.catalog(discovered),
        state=selection.state(_state(options.state)),
        replaced=selection.replaced,
    )
    try:
        tap.sync_all()
    finally:
        for stream, count in sorted(writer.left_out.items()):
            logger.warning(
                "%d records of '%s' are known to be deleted, by id only. Their rows stay as they are; the stream "
                "'deletions' lists them.",
                count,
                stream,
            )


# What Airbyte hands over


def _config(options: argparse.Namespace, writer: AirbyteWriter) -> dict[str, Any]:
    """Read the settings, and keep their secrets out of logs and errors from here on."""
    if problem := log_level_problem():
        raise SettingsError(problem)
    config: dict[str, Any] = _read(read_json_object, options.config)
    writer.mask = install(map(config.get, (*SECRETS, "access_token", "token_store"))).shown
    return config


def _state(path: str | None) -> Any:
    """Read a state; none is an empty file too, as some platforms hand over."""
    if path is None or (Path(path).is_file() and not Path(path).stat().st_size):
        return None
    return _read(read_json, path)


def _read(read: Callable[[str], Any], path: str) -> Any:
    try:
        return read(path)
    except UnreadableFileError as error:
        raise SettingsError(f"{printable(path)}: {error}") from None


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings on which the streams' columns depend."""
    settings = settings_of(config)
    return {name: settings[name] for name in ("decimals", "reference_ids", "attachments_url") if name in settings}


_COMMANDS = {"spec": spec, "check": check, "discover": discover, "read": read}
