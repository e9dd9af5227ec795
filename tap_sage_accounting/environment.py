"""Settings in environment variables: texts, which are turned into what the settings' declarations say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from dotenv import load_dotenv
from singer_sdk.exceptions import ConfigValidationError

from tap_sage_accounting.settings import first_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE, _FALSE = frozenset(("true", "1", "yes", "on")), frozenset(("false", "0", "no", "off"))


def load_env_file(path: str) -> None:
    """Add the variables of a file that the environment does not have; there may be no such file.

    Raises:
        ConfigValidationError: it holds none.
    """
    try:
        load_dotenv(path, override=False)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is no text in UTF-8"
        problem = f"The file {path} in the working directory cannot be used ({reason}). Correct or remove it."
        raise ConfigValidationError("The settings are not right", errors=[problem]) from None


def read_settings(schema: Mapping[str, Any], prefix: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Read the settings that the environment has, in variables whose names begin with a prefix.

    Raises:
        ConfigValidationError: naming each variable whose text is nothing of its setting's kind.
    """
    settings, problems = {}, []
    for name, declared in schema["properties"].items():
        variable = f"{prefix}{name.upper()}"
        if (text := environ.get(variable)) is None:
            continue
        try:
            settings[name] = _value(text, declared)
        except ValueError as error:
            problems.append(f"{variable} {error}: {first_sentence(declared)}")
    if problems:
        raise ConfigValidationError("The settings are not right", errors=problems)
    return settings


def _value(text: str, declared: Mapping[str, Any]) -> Any:
    """Turn a text into a value of a declared kind, or raise a `ValueError` that says what it must be."""
    kinds = _kinds(declared)
    if "integer" in kinds:
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text):
            raise ValueError("must be a whole number")
        return int(text)
    if "boolean" in kinds:
        if text.strip().lower() not in _TRUE | _FALSE:
            raise ValueError("must be true or false")
        return text.strip().lower() in _TRUE
    if "array" in kinds:
        found = _json(text)
        return found if isinstance(found, list) else [part.strip() for part in text.split(",") if part.strip()]
    if "object" in kinds:
        found = _json(text)
        if not isinstance(found, dict):
            raise ValueError("must be a JSON object")
        return found
    return text


def _kinds(declared: Mapping[str, Any]) -> set[str]:
    """List the types of a declaration, those of its alternatives among them."""
    own = declared.get("type", [])
    kinds = {own} if isinstance(own, str) else set(own)
    return kinds.union(*map(_kinds, declared.get("anyOf", ())))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
