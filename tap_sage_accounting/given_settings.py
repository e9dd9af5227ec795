"""Settings as they are given: read from environment variables, and checked before any request is sent."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dotenv import load_dotenv
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_sage_accounting import timestamps
from tap_sage_accounting.printable import did_you_mean
from tap_sage_accounting.settings import API_URL, parse_start_date

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from jsonschema import ValidationError  # type: ignore[import-untyped]

EARLIEST_START = datetime(1970, 1, 1, tzinfo=UTC)
_TRUE, _FALSE = frozenset(("true", "1", "yes", "on")), frozenset(("false", "0", "no", "off"))
_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}


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
            problems.append(f"{variable} {error}: {_first_sentence(declared)}")
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


def problems_of(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Find what is wrong with settings; a sentence each."""
    known = schema["properties"]
    problems = unknown_settings(config, known) + _start_date_problems(config)
    if in_maps := stream_map_problems(config):
        return problems + in_maps  # with these, values cannot be checked against the schema
    return problems + value_problems(config, schema) + _text_problems(config, known)


def unknown_settings(config: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Name every setting that the tap does not have, with the one that was probably meant."""
    otherwise = "; see --about for the settings that there are."
    return [
        f"Setting '{name}' does not exist{did_you_mean(name, known, otherwise)}" for name in config if name not in known
    ]


def _text_problems(config: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Find what no request can carry, and credentials that were copied with something around them."""
    sent = ("client_id", "user_agent")
    texts = {name: config.get(name) for name, declared in known.items() if declared.get("secret") or name in sent}
    ids = config.get("business_ids")
    texts |= {f"business_ids[{place}]": each for place, each in enumerate(ids if isinstance(ids, list) else ())}
    problems = [
        f"Setting '{name}' holds a line break, a control character or a blank at one end: copy it again."
        for name, text in texts.items()
        if isinstance(text, str) and not (text.isprintable() and text == text.strip())
    ]
    user_agent = config.get("user_agent")
    if isinstance(user_agent, str) and user_agent.encode("latin-1", "replace").decode("latin-1") != user_agent:
        problems.append("Setting 'user_agent' must consist of Latin-1 characters: HTTP headers have no others.")
    return problems


def version_problems(api_url: str) -> list[str]:
    """Check that the address of the API names its version; a gateway's may have a path of its own."""
    address = urlsplit(api_url)
    path = address.path.rstrip("/")
    if path and (path == "/v3.1" or address.hostname != urlsplit(API_URL).hostname):
        return []
    return [f"Setting 'api_url' must end with the API's version: {API_URL}"]


def _start_date_problems(config: Mapping[str, Any]) -> list[str]:
    """Check the start date, whose form no JSON schema validator checks."""
    text = config.get("start_date")
    if not text or not isinstance(text, str):
        return []
    try:
        moment = parse_start_date(text)
    except (OverflowError, ValueError):
        return [f"Setting 'start_date' is no date: {text!r}. Write it like 2026-01-31 or 2026-01-31T18:00:00Z."]
    if moment < EARLIEST_START:
        return [f"Setting 'start_date' lies before 1970: {text!r}. Leave it out to read everything."]
    if moment > timestamps.now() + timedelta(days=1):
        return [f"Setting 'start_date' lies in the future: {text!r}. Nothing would be read before then."]
    return []


def stream_map_problems(config: Mapping[str, Any]) -> list[str]:
    """Check what the schema of stream maps cannot: the SDK's part of it for `__else__` is none itself."""
    stream_maps = config.get("stream_maps")
    maps = [stream_maps, *stream_maps.values()] if isinstance(stream_maps, dict) else []
    values = [each["__else__"] for each in maps if isinstance(each, dict) and "__else__" in each]
    if all(value in (None, "__NULL__") for value in values):
        return []
    return ["Setting 'stream_maps': '__else__' must be null."]


def value_problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Check every value against its declaration, and say what would be right, without showing secrets."""
    declared = schema["properties"]
    found = DEFAULT_JSONSCHEMA_VALIDATOR(schema).iter_errors(dict(config))
    required = schema.get("required", ())
    problems = [_in_words(error, declared, required) for error in found if error.path]
    missing = [name for name in required if name not in config]
    return problems + [_missing(name, declared[name]) for name in missing]


def _missing(name: str, declared: Mapping[str, Any]) -> str:
    """Say what a required setting is, and which ways there are to give it."""
    return (
        f"Setting '{name}' is missing: {_first_sentence(declared)} Set TAP_SAGE_ACCOUNTING_{name.upper()}, or put it "
        "into the file of --config. Beside a file, variables count with --config=ENV only."
    )


def _in_words(error: ValidationError, declared: Mapping[str, Any], required: Collection[str]) -> str:
    place = list(error.path)
    name = str(place[0])
    inside = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place[1:])
    shown = "" if declared[name].get("secret") or error.instance == "" else f", not {repr(error.instance)[:60]}"
    said = f"Setting '{name}{inside}' {_demand(error)}{shown}: {_first_sentence(declared[name])}"
    if error.instance != "" or name not in required:
        return said
    return (
        f"{said} Fill it in where it is empty: TAP_SAGE_ACCOUNTING_{name.upper()}, in .env too, or a file of --config."
    )


def _demand(error: ValidationError) -> str:
    """Say what a value must be."""
    match error.validator:
        case "minimum" | "maximum":
            lowest, highest = error.schema.get("minimum"), error.schema.get("maximum")
            return f"must be {lowest} to {highest}" if highest is not None else f"must be {lowest} or more"
        case "enum":
            return f"must be {' or '.join(map(repr, error.validator_value))}"
        case "minLength":
            return "must not be empty"
        case "type":
            kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
            return f"must be {' or '.join(_KINDS[kind] for kind in kinds if kind != 'null')}"
        case _:
            return f"does not fit ({error.validator} {error.validator_value})"


def _first_sentence(declared: Mapping[str, Any]) -> str:
    """Return the first sentence of a setting's description."""
    return str(declared.get("description", "")).partition(". ")[0].rstrip(".") + "."
