"""The forms of a state: as it is, or wrapped by an orchestrator, a platform or a log."""

from __future__ import annotations

import codecs
import json
import logging
from typing import TYPE_CHECKING, Any

from tap_sage_accounting.exceptions import SettingsError
from tap_sage_accounting.printable import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

BOOKMARKS = "bookmarks"
WRAPPERS = ("singer_state", "value", "state", "data")
"""Keys under which a state stands alone: of `meltano state get`, STATE messages, and Airbyte."""
HALVES = (("completed", "partial"), ("completed_state", "partial_state"))
"""Keys under which Meltano's stores keep two states, the newer one second."""
BESIDES = frozenset(("type", "time_extracted"))
"""Keys that may stand beside one."""
OTHERS = frozenset((BOOKMARKS, "currently_syncing"))
"""Keys that Singer knows beside each other."""
STATE_TYPES = ("STATE", "STREAM", "GLOBAL", "LEGACY")
"""Types of messages that hold a state, in Singer and in Airbyte."""
MOST_NAMES = 5
WHAT_TO_DO = "Hand over the value of the last STATE message, or no state at all to read everything from the beginning."

logger = logging.getLogger("tap-sage-accounting.state")


def read_state(content: bytes) -> Any:
    """Read a file that holds a state, or several of them in lines, of which the last one counts.

    Raises:
        SettingsError: it holds none.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
        if not text.strip():
            raise SettingsError(f"The state is empty. {WHAT_TO_DO}")
        try:
            return json.loads(text)
        except ValueError:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise SettingsError(f"The state cannot be read as JSON. {WHAT_TO_DO}") from None
    states = [each for each in found if not isinstance(each, dict) or each.get("type", "STATE") in STATE_TYPES]
    if not states:
        raise SettingsError(f"The state holds messages, and no STATE is among them. {WHAT_TO_DO}")
    return states if _is_airbytes(states) else states[-1]


def bookmarks_of(found: Any, streams: Collection[str]) -> Any:
    """Return the bookmarks of a parsed state, in any of its forms.

    Raises:
        SettingsError: it is not a state of this tap.
    """
    state = _unwrapped(found, streams)
    if BOOKMARKS not in state:
        return {}
    bookmarks = state[BOOKMARKS]
    if isinstance(bookmarks, dict) and bookmarks and not bookmarks.keys() & set(streams):
        raise SettingsError(
            f"The state names none of this tap's streams ({_names(bookmarks)}): it is another tap's. {WHAT_TO_DO}"
        )
    if others := state.keys() - OTHERS:
        logger.warning("The state has parts that this tap does not know, and leaves out: %s.", _names(sorted(others)))
    return bookmarks


def airbyte_states(found: Any) -> Iterator[tuple[str, Any]]:
    """Go through the states of streams in any of the forms in which Airbyte may hand them over."""
    for each in found if isinstance(found, list) else [found]:
        match each:
            case {"type": "STATE", "state": dict(state)}:  # a line of its log
                yield from airbyte_states(state)
            case {"stream": {"stream_descriptor": {"name": str(name)}, **rest}}:
                yield name, rest.get("stream_state")
            case {"global": {"stream_states": list(states)}}:
                yield from airbyte_states([{"stream": state} for state in states])
            case {"data": {"bookmarks": dict(states)}} | {"bookmarks": dict(states)}:  # as Singer has it
                yield from states.items()
            case {"data": dict(states)} | dict(states):
                yield from states.items()


def _unwrapped(found: Any, streams: Collection[str]) -> dict[str, Any]:
    if _is_airbytes(found):
        return {BOOKMARKS: {name: state for name, state in airbyte_states(found) if state is not None}}
    match found:
        case None | []:
            return {}
        case [*_, last]:
            return _unwrapped(last, streams)
        case dict() if not found or BOOKMARKS in found:
            return found
        case dict() if inside := _inside(found):
            return _united(inside, streams)
        case dict() if found.keys() & set(streams):
            return {BOOKMARKS: found}
    label = f"an object with {_names(found)}" if isinstance(found, dict) and found else "no object"
    raise SettingsError(f"The state is in no form that this tap knows: {label}. {WHAT_TO_DO}")


def _inside(found: dict[str, Any]) -> list[Any]:
    """Return the states in a wrapper: one, or Meltano's two."""
    for halves in HALVES:
        if found.keys() <= {*halves}:
            return [found.get(half) for half in halves]
    return [found[wrapper] for wrapper in WRAPPERS if found.keys() - BESIDES == {wrapper}]


def _united(states: list[Any], streams: Collection[str]) -> dict[str, Any]:
    """Let the newer of Meltano's two states win, stream by stream; its database holds them as text."""
    found = [_unwrapped(read_state(each.encode()) if isinstance(each, str) else each, streams) for each in states]
    if len(found) == 1:
        return found[0]
    known = [state[BOOKMARKS] for state in found if isinstance(state.get(BOOKMARKS), dict)]
    return {BOOKMARKS: {name: state for bookmarks in known for name, state in bookmarks.items()}}


def _is_airbytes(found: Any) -> bool:
    match found[0] if isinstance(found, list) and found else found:
        case {"stream": dict()} | {"global": dict()} | {"state": {"stream": _} | {"global": _} | {"data": _}}:
            return True
    return False


def _names(names: Iterable[Any]) -> str:
    shown = [printable(str(name))[:40] for name in names]
    return ", ".join(shown[:MOST_NAMES]) + (f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else "")
