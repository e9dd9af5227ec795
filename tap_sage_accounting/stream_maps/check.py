"""The users' stream maps, checked before any request: a slip in one delivers what it should leave out."""

from __future__ import annotations

import ast
import difflib
from collections import defaultdict
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    CustomStreamMap,
    RemoveRecordTransform,
)

from tap_sage_accounting.printable import did_you_mean
from tap_sage_accounting.stream_maps.mapping import Expression, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from singer_sdk import Stream
    from singer_sdk.mapper import StreamMap

    from tap_sage_accounting.records.conformance import Conformer

    Definition = Mapping[str, Any]

OPTIONS = (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
)
NAMES = frozenset(("__stream_name__", "__original_stream_name__", "True", "False", "None"))
"""What an expression may read besides columns and functions."""
FAKE = "fake"
NEAR = 0.84
"""Likeness of two names from which one is taken for a slip of the other; `emails` and `email` have 0.91."""
_NOTHING = (None, NULL_STRING)


class StreamMapCheck:
    """Checks the setting `stream_maps`, with the values of `stream_map_config`.

    Attributes:
        problems: what is not right, a sentence each.
    """

    def __init__(
        self,
        definitions: Mapping[str, Any],
        values: Mapping[str, Any],
        streams: Mapping[str, Stream],
        conformers: Mapping[str, Conformer],
    ) -> None:
        self.problems: list[str] = []
        self._values = values
        self._streams = streams
        self._conformers = conformers
        self._language = CustomStreamMap("", {}, {}, {"properties": {}}, [], {}, None)
        for name, definition in definitions.items():
            self._check_entry(name, definition)

    def require(self) -> None:
        """Refuse what is not right.

        Raises:
            ConfigValidationError: naming it.
        """
        if self.problems:
            raise ConfigValidationError("The stream maps are not right", errors=list(dict.fromkeys(self.problems)))

    def require_own_tables(self, stream_maps: Mapping[str, Sequence[StreamMap]]) -> None:
        """Refuse two streams that would end in one table."""
        tables: defaultdict[str, list[str]] = defaultdict(list)
        for stream, maps in stream_maps.items():
            for each in maps:
                if not isinstance(each, RemoveRecordTransform):
                    tables[each.stream_alias.lower()].append(stream)
        for table, streams in tables.items():
            if len(streams) > 1:
                named = " and ".join(map(repr, streams))
                self.problems.append(f"Stream maps lead {named} to the same table, {table!r}: give each its own name.")
        self.require()

    # Entries

    def _check_entry(self, name: str, definition: Any) -> None:
        if name == MAPPER_ELSE_OPTION:
            return
        if name.startswith("__"):
            self.problems.append(f"Stream maps: there is no option {name!r}{did_you_mean(name, [MAPPER_ELSE_OPTION])}")
            return
        source = source_of(name, definition)
        matched = [stream for stream in self._streams if isinstance(source, str) and fnmatch(stream, source)]
        if not matched:
            self.problems.append(f"Stream map {name!r} is about no stream{did_you_mean(str(source), self._streams)}")
        elif isinstance(definition, dict):
            self._check_definition(name, definition, matched)

    def _check_definition(self, name: str, definition: Definition, matched: list[str]) -> None:
        say = self._speaker(name)
        known = {column for stream in matched for column in self._columns(stream)}
        chosen = [stream for stream in matched if self._streams[stream].selected] or matched[:1]
        for column, text in definition.items():
            if column.startswith("__"):
                self._check_option(say, column, text)
            elif text in _NOTHING:
                if column not in known:
                    say(f"removes {column!r}, which is no column{did_you_mean(column, known)}")
                continue
            elif column not in known and (near := self._near(column, known, definition)):
                say(
                    f"{column!r} is no column, and {near!r} would be sent as it is{did_you_mean(near, [near])} To send "
                    f'both on purpose, add "{near}": "{near}".'
                )
            if isinstance(text, str) and (column == MAPPER_FILTER_OPTION or not column.startswith("__")):
                self._check_expression(say, column, text, chosen, known)
        for stream in chosen:
            self._check_keys(say, definition, stream)

    def _speaker(self, name: str) -> Callable[[str], None]:
        return lambda text: self.problems.append(f"Stream map {name!r}: {text}")

    def _columns(self, stream: str) -> list[str]:
        """Name the columns that a stream has, the deselected ones too."""
        own = self._streams[stream].schema["properties"]
        if (conformer := self._conformers.get(stream)) is None:
            return list(own)
        return [name for name in [*own, *conformer.added] if name not in conformer.missing]

    def _check_option(self, say: Callable[[str], None], option: str, value: Any) -> None:
        match option:
            case _ if option not in OPTIONS:
                say(f"there is no option {option!r}{did_you_mean(option, OPTIONS)}")
            case "__alias__" | "__source__" | "__filter__" if not isinstance(value, str) or not value.strip():
                say(f"{option!r} must be a text.")

    @staticmethod
    def _near(column: str, known: Iterable[str], definition: Definition) -> str | None:
        """Return the column of which a new name looks like a slip, if that would be sent unchanged."""
        if definition.get(MAPPER_ELSE_OPTION, ...) in _NOTHING:
            return None
        words = set(column.split("_"))
        for other in known:
            if other not in definition and not words > set(other.split("_")):
                if sorted(column.replace("_", "").lower()) == sorted(other.replace("_", "").lower()):
                    return other
                if difflib.SequenceMatcher(None, column, other).ratio() >= NEAR:
                    return other
        return None

    # Expressions

    def _check_expression(
        self, say: Callable[[str], None], column: str, text: str, chosen: list[str], known: set[str]
    ) -> None:
        try:
            expression = Expression.parse(text)
        except (SyntaxError, ValueError):
            say(f"the text for {column!r} is no expression.")
            return
        if unavailable := self._unavailable(expression.tree):
            say(f"the expression for {column!r} has {unavailable}, which stream maps do not know.")
        if FAKE in expression.names and self._language.fake is None:
            say(f"the expression for {column!r} needs the package 'faker'; install singer-sdk[faker].")
        for name in sorted(expression.config - self._values.keys()):
            hint = did_you_mean(name, self._values)
            say(f"the expression for {column!r} reads config[{name!r}], which stream_map_config lacks{hint}")
        functions = self._language.functions.keys() | NAMES | {FAKE, "self"}
        own = None if column == MAPPER_FILTER_OPTION else column
        for stream in chosen:
            one = self._streams[stream]
            visible = {name for name in self._columns(stream) if not one.selected or one.mask["properties", name]}
            read = expression.reads(own) - expression.optional
            unknown = sorted(read - visible - functions) + sorted(expression.optional - known)
            if expression.reads_itself and own is None:
                unknown.append("self")
            for name in unknown:
                selectable = name in known and name in self._columns(stream)
                hint = "; it is not selected." if selectable else did_you_mean(name, [*visible, *functions])
                say(f"the expression for {column!r} reads {name!r}, which is no column of {stream!r}{hint}")

    def _unavailable(self, tree: ast.expr) -> str | None:
        """Name the first thing in an expression that the SDK does not evaluate."""
        evaluator = self._language.expr_evaluator
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                return repr(node.attr)
            if isinstance(node, ast.expr) and type(node) not in evaluator.nodes:
                return type(node).__name__
            if isinstance(node, ast.operator | ast.unaryop | ast.cmpop) and type(node) not in evaluator.operators:
                return type(node).__name__
        return None

    # Keys

    def _check_keys(self, say: Callable[[str], None], definition: Definition, stream: str) -> None:
        """See that rows keep a key, and not all the same one."""
        own = list(self._streams[stream].primary_keys)
        keys = definition.get(MAPPER_KEY_PROPERTIES_OPTION, own) or []
        lists_all = definition.get(MAPPER_ELSE_OPTION, ...) in _NOTHING
        constant = []
        for key in keys:
            text = definition.get(key, ...)
            if text in _NOTHING:
                say(f"removes {key!r}, which is in the key. Give another key with '__key_properties__'.")
            elif text is ... and lists_all:
                say(f'\'__else__\' leaves {key!r} out, which is in the key. Add "{key}": "{key}".')
            elif text is ... and key not in self._columns(stream):
                say(f"the key {key!r} is no column{did_you_mean(key, [*self._columns(stream), *definition])}")
            elif isinstance(text, str) and _is_constant(text):
                constant.append(key)
        if keys and (constant == keys or keys[-1:] == own[-1:] == constant[-1:]):
            say(f"gives rows the same {constant[-1]!r}, which is in the key; the target would keep one of them.")


def _is_constant(text: str) -> bool:
    try:
        return all(
            isinstance(node, ast.Constant)
            for node in ast.walk(Expression.parse(text).tree)
            if isinstance(node, ast.expr)
        )
    except (SyntaxError, ValueError):
        return False
