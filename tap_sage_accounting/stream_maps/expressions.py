"""Expressions of stream maps: what of a record each of them reads."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

RECORD = frozenset(("record", "_"))
"""Names for the whole record."""
CONFIG = "config"
SELF = "self"


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
