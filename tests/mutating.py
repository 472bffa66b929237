"""
Small changes of a module, one at a time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

_OPERATORS: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.FloorDiv],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.Mult],
    ast.LShift: [ast.RShift],
    ast.RShift: [ast.LShift],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
}

_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}

_REMOVABLE = (
    ast.Assign,
    ast.AugAssign,
    ast.Break,
    ast.Continue,
    ast.Delete,
    ast.Expr,
    ast.Raise,
)

_SCOPES = (ast.AsyncFunctionDef, ast.ClassDef, ast.FunctionDef)

# Code for type checkers, and code without influence on the behaviour.
_SKIPPED_FIELDS = {"annotation", "returns", "format_spec"}
_SKIPPED_NODES = (ast.Assert, ast.Import, ast.ImportFrom)
_SKIPPED_TARGETS = {"__all__", "__slots__"}


class Mutant(NamedTuple):
    """
    A changed module.

    @ivar line: The number of the line where the changed statement begins.

    @ivar before: The line of code that differs.

    @ivar after: The same line after the change.
    """

    line: int
    before: str
    after: str


def mutate(tree: ast.Module) -> Iterator[Mutant]:
    """
    Change a module in one place after the other.

    Operators, constants, conditions and default arguments are replaced.  Return values
    and the statements of functions and classes are removed.

    @param tree: The module.  It contains one change at each C{yield}, and is restored
        afterwards.
    """
    yield from _mutateIn(tree, tree.body[0], False)


def _mutateIn(parent: ast.AST, statement: ast.stmt, isInside: bool) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(parent):
        isList = isinstance(value, list)
        container: Any = value if isList else vars(parent)
        for key in range(len(value)) if isList else [field]:
            node = container[key]
            if field in _SKIPPED_FIELDS or _isSkipped(node, parent, field):
                continue
            around = node if isinstance(node, ast.stmt) else statement
            before = ast.unparse(around).splitlines()
            for replacement in _replacements(node, parent, field, isInside):
                container[key] = replacement
                # A replaced statement is no longer part of the tree.
                now = replacement if around is node else around
                after = ast.unparse(now).splitlines()
                for lines in zip(before, after):
                    if lines[0] != lines[1]:
                        yield Mutant(around.lineno, *map(str.strip, lines))
                        break
            container[key] = node
            isDeeper = isInside or isinstance(node, _SCOPES)
            yield from _mutateIn(node, around, isDeeper)


def _isSkipped(node: Any, parent: ast.AST, field: str) -> bool:
    if not isinstance(node, ast.AST) or isinstance(node, _SKIPPED_NODES):
        return True
    match parent:
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="_log"))):
            return field == "args"
    match node:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in _SKIPPED_TARGETS
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Subscript(value=ast.Name(id="Callable")):
            return True
    return False


def _replacements(
    node: Any, parent: ast.AST, field: str, isInside: bool
) -> Iterator[ast.AST]:
    """
    Generate the replacements of a node.

    @param parent: The node that contains it.

    @param field: The field of the parent that contains it.

    @param isInside: C{True} if the node is in a class or a function.
    """
    if isinstance(node, _REMOVABLE) and isInside:
        yield ast.Pass()
    if field in ("test", "ifs"):
        yield ast.Constant(False)
        # An endless loop would only use up the time of the run.
        if not isinstance(parent, ast.While):
            yield ast.Constant(True)
    if field in ("defaults", "kw_defaults") and not isinstance(node, ast.Constant):
        yield ast.Constant(None)
    for operator in _OPERATORS.get(type(node), []):
        yield operator()
    match node:
        case ast.Constant(value=value):
            yield from map(ast.Constant, _otherValues(value))
        case ast.UnaryOp():
            yield node.operand
        case ast.Return(value=value) if value and not _isNone(value):
            yield ast.Return(ast.Constant(None))
        case ast.Name(id=name) if field == "func" and name in _NAMES:
            yield ast.Name(_NAMES[name])


def _isNone(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _otherValues(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 2, value / 2]
    if isinstance(value, str | bytes):
        return [value[:0] if value else "other" if isinstance(value, str) else b"x"]
    return []
