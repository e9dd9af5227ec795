"""What a user gives a command, files and variables, checked before anything is made of it."""

from __future__ import annotations

import codecs
import json
import logging
import os
from pathlib import Path

import click

from tap_sage_accounting.printable import printable

LOG_LEVEL_VARIABLES = ("TAP_SAGE_ACCOUNTING_LOGLEVEL", "LOGLEVEL")


def require_json_objects(ctx: click.Context, param: click.Parameter, paths: tuple[str, ...]) -> None:
    """Refuse a file that holds no JSON object, as settings, a state and a catalog are. `ENV` is no file.

    Raises:
        BadParameter: naming the file and what is wrong with it.
    """
    for path in paths:
        if path.upper() != "ENV" and (problem := json_problem(Path(path))):
            raise click.BadParameter(f"{printable(path)}: {problem}", ctx, param)


def json_problem(path: Path) -> str | None:
    """Say why a file holds no JSON object; None where it does."""
    try:
        content = path.read_bytes()
        problem = _problem_before_parsing(content)
        is_object = problem is None and isinstance(json.loads(content.decode()), dict)
    except OSError as error:
        return f"{(error.strerror or 'cannot be read').lower()}."
    except UnicodeDecodeError:
        return "the file is not encoded in UTF-8. Save it as UTF-8."
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg.lower()} in line {error.lineno}, column {error.colno}."
    except RecursionError:
        return "no JSON that makes sense: it is nested too deeply."
    return problem or (None if is_object else "it holds no JSON object: begin it with { and end it with }.")


def _problem_before_parsing(content: bytes) -> str | None:
    if not content.strip():
        return "the file is empty."
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "the file begins with a byte order mark. Save it as UTF-8 without one."
    return None


def require_log_level() -> None:
    """Refuse a log level that there is not.

    Raises:
        UsageError: naming the variable.
    """
    levels = logging.getLevelNamesMapping()
    for variable in LOG_LEVEL_VARIABLES:
        level = os.environ.get(variable)
        if level and level.upper() not in levels:
            raise click.UsageError(f"{variable} is {printable(level)!r}: set it to DEBUG, INFO, WARNING or ERROR.")
        if level == "":
            del os.environ[variable]  # as if it were not set
