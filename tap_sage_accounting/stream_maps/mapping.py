"""The users' stream maps: what they read of records, and which of their expressions fails on one."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalAPIError
from singer_sdk.mapper import MAPPER_FILTER_OPTION, MAPPER_SOURCE_OPTION, CustomStreamMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_sdk.helpers.types import Record
    from singer_sdk.mapper import StreamMap

    Definitions = Mapping[str, Any]
    """The setting `stream_maps`, as the user wrote it."""

RECORD = frozenset(("record", "_"))
"""Names for the whole record."""
CONFIG = "config"
SELF = "self"


class StreamMapError(FatalAPIError):
    """An expression of a stream map fails on a record."""


class OnDemandStreamMaps(dict[str, "list[StreamMap]"]):
    """The stream maps of each stream, made at the first look-up: making all takes a tenth of the start."""

    def __init__(self, make: Callable[[str], None]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> list[StreamMap]:
        self._make(name)
        return self[name]


@dataclass(slots=True)
class Expression:
    """What an expression reads.

    Attributes:
        tree: its syntax tree.
        names: the names in it, of columns and of functions.
        columns: columns that it reads as `record['name']`.
        optional: columns that it reads as `record.get('name')`.
        config: values that it reads as `config['name']`.
        reads_itself: whether it reads the column that it is assigned to, as `self`.
        reads_all: whether it uses the record as a whole.
    """

    tree: ast.expr
    names: set[str] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)
    config: set[str] = field(default_factory=set)
    reads_itself: bool = False
    reads_all: bool = False

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read an expression as the SDK does.

        Raises:
            SyntaxError: it is none.
        """
        match ast.parse(text).body:
            case [ast.Expr(value=tree)]:
                expression = cls(tree)
                _Reader(expression).visit(tree)
                return expression
            case _:
                raise SyntaxError(text)

    def reads(self, own_name: str | None) -> set[str]:
        """Return the names that it reads, of columns and functions; `own_name` is the column it is assigned to."""
        own = {own_name} if self.reads_itself and own_name else set()
        return self.names | self.columns | self.optional | own


class _Reader(ast.NodeVisitor):
    """Fills in what an expression reads."""

    def __init__(self, expression: Expression) -> None:
        self._found = expression
        targets = [each.target for each in ast.walk(expression.tree) if isinstance(each, ast.comprehension)]
        self._bound = {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}

    def visit_Subscript(self, node: ast.Subscript) -> None:
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if name in RECORD:
                self._found.columns.add(key)
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if name == CONFIG:
                self._found.config.add(key)
            case _:
                self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=[ast.Constant(value=str(key)), *others]
            ) if name in RECORD:
                self._found.optional.add(key)
                for other in others:
                    self.visit(other)
            case _:
                self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in RECORD:
            self._found.reads_all = True
        elif node.id == SELF:
            self._found.reads_itself = True
        elif node.id != CONFIG and node.id not in self._bound:
            self._found.names.add(node.id)


def source_of(name: str, definition: Any) -> Any:
    """Return the stream that an entry of `stream_maps` is about, or the pattern of its name."""
    return definition.get(MAPPER_SOURCE_OPTION, name) if isinstance(definition, dict) else name


def is_about(stream: str, name: str, definition: Any) -> bool:
    """Return whether an entry of `stream_maps` is about a stream."""
    return fnmatch(stream, source_of(name, definition))


def expressions(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a stream map, with the column or the option that each is for."""
    for name, text in definition.items():
        if isinstance(text, str) and (name == MAPPER_FILTER_OPTION or not name.startswith("__")):
            yield name, text


def columns_read(stream: str, definitions: Definitions) -> set[str]:
    """Name what the expressions of a stream's maps read, functions among them."""
    return {
        column
        for name, definition in definitions.items()
        if isinstance(definition, dict) and is_about(stream, name, definition)
        for own_name, text in expressions(definition)
        for column in Expression.parse(text).reads(own_name)
    }


def map_failure(
    stream: str, definitions: Definitions, stream_maps: Sequence[StreamMap], record: Record, error: Exception
) -> StreamMapError:
    """Describe what failed on a record, without a word of the record."""
    custom = [each for each in stream_maps if isinstance(each, CustomStreamMap)]
    for name, definition in definitions.items():
        if not isinstance(definition, dict) or not is_about(stream, name, definition):
            continue
        for column, text in expressions(definition):
            try:
                custom[0]._eval(text, ast.parse(text).body[0], record, column)  # type: ignore[arg-type] # noqa: SLF001
            except Exception as reason:  # noqa: BLE001 - any may come out of an expression
                cause = type(reason.__cause__ or reason).__name__
                return StreamMapError(
                    f"the stream map '{name}' fails on a record: the expression for '{column}' ends in {cause}. "
                    "Correct it, such as with 'if column else None' where a column may be empty, and run again."
                )
    return StreamMapError(f"a stream map fails on a record ({type(error).__name__}).")


def require_key(stream_map: StreamMap, record: Record) -> None:
    """See that a record has a key when it leaves a stream map.

    Raises:
        StreamMapError: naming what is empty.
    """
    for name in stream_map.transformed_key_properties or ():
        if record.get(name) is None:
            raise StreamMapError(
                f"a stream map leaves '{name}' empty in a record of '{stream_map.stream_alias}', and it is in the key."
            )
