"""What all commands share: input is checked before it is used, and a failure is one line."""

from __future__ import annotations

import codecs
import errno
import json
import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from singer_sdk.exceptions import ConfigValidationError, SingerSDKError
from typing_extensions import override

from tap_sage_accounting.console.standard_streams import drop_unwritable
from tap_sage_accounting.printable import printable
from tap_sage_accounting.run.writer import OutputClosedError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Content = TypeVar("Content")
LOG_LEVEL_VARIABLES = ("TAP_SAGE_ACCOUNTING_LOGLEVEL", "LOGLEVEL")

_HALF_OF_A_PAIR = b"\\ud"
"""How JSON spells the beginning of each half of a surrogate pair."""

logger = logging.getLogger("tap-sage-accounting")


# How a command ends


class PlainCommand(click.Command):
    """A command whose failures are a line each, with the exit code 1."""

    def __init__(self, *, say: Callable[[str], object] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._say = say or partial(show, err=True)

    @override
    def main(self, *arguments: Any, **options: Any) -> Any:
        with ending_plainly(self._say):
            return super().main(*arguments, **options)


@contextmanager
def ending_plainly(say: Callable[[str], object]) -> Iterator[None]:
    """End the process with code 1 after a failure. Show a line for each problem, or a traceback if it is unexpected."""
    try:
        try:
            yield
        finally:
            _flush()
    except SingerSDKError as error:
        for line in lines_of(error):
            say(line)
        logger.debug("It happened here:", exc_info=True)
    except Exception as error:
        logger.exception(
            "%s: this is a fault of the tap. Report it to this project with the lines that follow.",
            type(error).__name__,
        )
    else:
        return
    sys.exit(1)


def _flush() -> None:
    """Flush the standard output; end the process where nobody reads it any more."""
    if (problem := drop_unwritable("stdout")) is not None:
        if problem.errno == errno.EPIPE:
            sys.exit(1)
        raise OutputClosedError(reason_of(problem))


def lines_of(error: SingerSDKError) -> list[str]:
    """Return the message of an error, a line for each problem."""
    if isinstance(error, ConfigValidationError) and error.errors:
        return [*error.errors, f"{error}; nothing was sent to Sage."]
    return [str(error)]


def show(*lines: str, err: bool = False) -> None:
    """Write lines to the standard output or error; what is no visible character in them is escaped.

    Raises:
        OutputClosedError: the standard output cannot be written.
    """
    try:
        for line in lines:
            click.echo(printable(line), err=err)
    except OSError as error:
        if err:
            return
        if error.errno == errno.EPIPE:
            raise  # which ends the command silently
        raise OutputClosedError(reason_of(error)) from None


# Files


class UnreadableFileError(ValueError):
    """A file holds nothing of the kind that is needed; the message says why, without the file's name."""


def reading(read: Callable[[str], Content]) -> Callable[[click.Context, click.Parameter, str | None], Content | None]:
    """Return the callback of an option that names a file; it refuses one that cannot be read, and says why."""

    def callback(ctx: click.Context, param: click.Parameter, path: str | None) -> Content | None:
        try:
            return None if path is None else read(path)
        except UnreadableFileError as error:
            raise click.BadParameter(f"{printable(path or '')}: {error}", ctx, param) from None

    return callback


@dataclass
class GivenSettings:
    """The settings of a command line: those in files, and whether the environment has some, too."""

    config: dict[str, Any] = field(default_factory=dict)
    parse_env: bool = False


def read_settings_options(ctx: click.Context, param: click.Parameter, paths: tuple[str, ...]) -> GivenSettings:
    """Read the files that `--config` names, each once: it may be a pipe. A later one wins; `ENV` is the environment.

    Without any, the environment counts, too: there is nothing else.

    Raises:
        BadParameter: naming the file and what is wrong with it.
    """
    given = GivenSettings(parse_env=not paths)
    for path in paths:
        if path.upper() == "ENV":
            given.parse_env = True
        else:
            given.config |= reading(read_json_object)(ctx, param, path) or {}
    return given


def read_json_object(path: str) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        UnreadableFileError: it does not.
    """
    found = read_json(path, strict=True)
    if not isinstance(found, dict):
        raise UnreadableFileError("it holds no JSON object: begin it with { and end it with }.")
    return found


def read_json(path: str, *, strict: bool = False) -> Any:
    """Read a file that holds JSON, numbers with a fraction as exact decimals; `-` is the standard input.

    Where `strict`, halves of surrogate pairs, which no message can hold, make it unreadable.

    Raises:
        UnreadableFileError: it does not, or cannot be read.
    """
    content = read_bytes(path)
    if not content.strip():
        raise UnreadableFileError("the file is empty.")
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UnreadableFileError("the file begins with a byte order mark. Save it as UTF-8 without one.")
    try:
        found = json.loads(content.decode(), parse_float=Decimal)
        if strict and _HALF_OF_A_PAIR in content.lower():
            json.dumps(found, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        problem = "no JSON that makes sense: it holds half of a surrogate pair."
    except UnicodeDecodeError:
        problem = "the file is not encoded in UTF-8. Save it as UTF-8."
    except json.JSONDecodeError as error:
        problem = f"no JSON: {error.msg.lower()} in line {error.lineno}, column {error.colno}."
    except RecursionError:
        problem = "no JSON that makes sense: it is nested too deeply."
    except ValueError:
        problem = "no JSON that makes sense: a number has too many digits."
    else:
        return found
    raise UnreadableFileError(problem)


def read_bytes(path: str) -> bytes:
    """Read a file, whatever it holds; `-` is the standard input.

    Raises:
        UnreadableFileError: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:  # such as a name with a null character
        reason = error.strerror if isinstance(error, OSError) else None
        raise UnreadableFileError(f"{(reason or 'cannot be read').lower()}.") from None


# Variables


def require_log_level() -> None:
    """Refuse a log level that there is not.

    Raises:
        UsageError: naming the variable.
    """
    for variable in LOG_LEVEL_VARIABLES:
        if os.environ.get(variable) == "":
            del os.environ[variable]  # as if it were not set
    if problem := log_level_problem():
        raise click.UsageError(problem)


def log_level_problem() -> str | None:
    """Say which variable names a log level that there is not; None where all do."""
    levels = logging.getLevelNamesMapping()
    for variable in LOG_LEVEL_VARIABLES:
        level = os.environ.get(variable)
        if level and level.upper() not in levels:
            return f"{variable} is {printable(level)!r}: set it to DEBUG, INFO, WARNING or ERROR."
    return None


def log_level(otherwise: str) -> str:
    """Return the level that the environment names, if there is one."""
    named = next((level for variable in LOG_LEVEL_VARIABLES if (level := os.environ.get(variable))), otherwise).upper()
    return named if named in logging.getLevelNamesMapping() else otherwise
