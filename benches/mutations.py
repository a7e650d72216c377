"""Small changes to a line of Python, by its syntax tree: what mutants.py tries on every line that carries a tag."""

import ast
import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Mutant(NamedTuple):
    file: str  # below the package
    line: int
    function: str
    tags: tuple[str, ...]
    before: str
    after: str
    source: str  # the whole file, mutated

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.function, self.before, self.after


SWAPPED_OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
TURNED = {ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE)}
OPPOSITES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
# `mean` of weights and values: swapping the first two arguments changes nothing
COMMUTATIVE = {*OPPOSITES, "mean", "dot"}
COUNTERS = {"t", "i"}  # loop variables that index arrays


def changed(node: ast.AST, **fields) -> ast.AST:
    """A copy of a node with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def doubled(node: ast.expr) -> ast.expr:
    return ast.BinOp(left=ast.Constant(2), op=ast.Mult(), right=node)


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may be replaced by."""
    match node:
        case ast.BinOp():
            if type(node.op) in SWAPPED_OPERATORS:
                yield changed(node, op=SWAPPED_OPERATORS[type(node.op)]())
            if isinstance(node.op, ast.Sub | ast.Div):
                yield changed(node, left=node.right, right=node.left)
            if isinstance(node.op, ast.Add | ast.Sub):
                yield changed(node, right=doubled(node.right))
            if isinstance(node.op, ast.Mult | ast.Div):
                yield doubled(node)
        case ast.AugAssign() if type(node.op) in SWAPPED_OPERATORS:
            yield changed(node, op=SWAPPED_OPERATORS[type(node.op)]())
            yield changed(node, value=doubled(node.value))
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield node.operand
        case ast.Compare(ops=[op]) if type(op) in TURNED:
            yield from (changed(node, ops=[other()]) for other in TURNED[type(op)])
        case ast.BoolOp():
            yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.Call():
            yield from call_variants(node)
        case ast.Subscript(slice=ast.Constant(value=int(index))):
            yield changed(node, slice=ast.Constant(index + 1))
        case ast.Subscript(slice=ast.Name(id=name)) if name in COUNTERS:
            yield changed(node, slice=ast.BinOp(left=ast.Name(name), op=ast.Sub(), right=ast.Constant(1)))
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            yield ast.Constant(2 * number if number else 1)


def call_variants(node: ast.Call) -> Iterator[ast.AST]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "where" and len(node.args) == 3:
        yield changed(node, args=[node.args[0], *node.args[:0:-1]])
    elif len(node.args) in (2, 3) and name not in COMMUTATIVE:
        yield changed(node, args=[node.args[1], node.args[0], *node.args[2:]])
    if name in OPPOSITES and isinstance(node.func, ast.Name):
        yield changed(node, func=ast.Name(OPPOSITES[name]))
    elif name in OPPOSITES:
        yield changed(node, func=changed(node.func, attr=OPPOSITES[name]))


def statement_variants(statement: ast.stmt) -> Iterator[tuple[ast.AST, ast.AST]]:
    """What a statement as a whole may become:
    left out where it changes something in place, its value doubled where it is a call.
    """
    match statement:
        case ast.Expr() | ast.AugAssign() | ast.Assign(targets=[ast.Subscript()]):
            yield statement, ast.Pass()
        case ast.Assign(value=ast.Call() as value) | ast.Return(value=ast.Call() as value):
            yield value, doubled(value)
        case ast.Assign(value=ast.Tuple(elts=values)) | ast.Return(value=ast.Tuple(elts=values)):
            yield from ((value, doubled(value)) for value in values if isinstance(value, ast.Call))


def own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement without those of the statements in it: of an `if` or `for` the head."""
    yield statement
    waiting = [child for child in ast.iter_child_nodes(statement) if not isinstance(child, ast.stmt)]
    while waiting:
        node = waiting.pop(0)
        if is_fixed(node):
            continue
        yield node
        waiting += list(ast.iter_child_nodes(node))


def is_fixed(node: ast.AST) -> bool:
    """Names of axes and shapes of output: changing them is an error at once, and says nothing about an equation."""
    return isinstance(node, ast.keyword) and node.arg in ("axis", "keepdims", "dtype", "copy", "out")


def tagged_statements(
    source: str, tags_in: Callable[[str], list[str]]
) -> Iterator[tuple[ast.Module, ast.stmt, str, tuple[str, ...]]]:
    """Each statement with a tag on one of its own lines: tree, statement, function, tags.

    The `if` that it stands under comes with it.
    """
    tree = ast.parse(source)
    tags_of: dict[ast.stmt, list[str]] = defaultdict(list)
    place: dict[ast.stmt, str] = {}
    lines = {number: tags_in(text) for number, text in enumerate(source.splitlines(), 1)}

    def visit(node: ast.AST, function: str, above: ast.stmt | None) -> None:
        for child in ast.iter_child_nodes(node):
            name = child.name if isinstance(child, ast.FunctionDef) else function
            if (
                isinstance(child, ast.stmt)
                and not isinstance(child, ast.FunctionDef | ast.ClassDef)
                and not is_text(child)
            ):
                inner = [x.lineno for x in ast.walk(child) if isinstance(x, ast.stmt) and x is not child]
                last = min(inner) - 1 if inner else child.end_lineno
                for number in range(child.lineno, max(child.lineno, last or 0) + 1):
                    if function and (tags := lines.get(number)):
                        for statement in filter(None, (child, above)):
                            tags_of[statement] += [tag for tag in tags if tag not in tags_of[statement]]
                            place[statement] = function
            visit(child, name, child if isinstance(child, ast.If) else None)

    visit(tree, "", None)
    for statement in sorted(tags_of, key=lambda s: s.lineno):
        yield tree, statement, place[statement], tuple(tags_of[statement])


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def mutants_of(file: str, source: str, tags_in: Callable[[str], list[str]]) -> list[Mutant]:
    """All mutants of one file, in the order of its lines; each is there once."""
    found: dict[str, Mutant] = {}
    for tree, statement, function, tags in tagged_statements(source, tags_in):
        pairs = [(node, new) for node in own_nodes(statement) for new in variants(node)]
        for node, new in [*statement_variants(statement), *pairs]:
            text = ast.unparse(replaced(tree, node, new))
            before, after = (ast.unparse(copy.deepcopy(x)) for x in (node, new))
            found.setdefault(text, Mutant(file, statement.lineno, function, tags, before, after, text))
    found.pop(ast.unparse(ast.parse(source)), None)
    return list(found.values())


def replaced(tree: ast.Module, old: ast.AST, new: ast.AST) -> ast.Module:
    """The tree with one node replaced; the original stays."""

    class Replace(ast.NodeTransformer):
        def visit(self, node):
            if node is old:
                return new
            fresh = copy.copy(node)
            for name, value in ast.iter_fields(node):
                if isinstance(value, list):
                    setattr(fresh, name, [self.visit(x) if isinstance(x, ast.AST) else x for x in value])
                elif isinstance(value, ast.AST):
                    setattr(fresh, name, self.visit(value))
            return fresh

    return Replace().visit(tree)
