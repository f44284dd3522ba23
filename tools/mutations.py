"""Changes to Python source, each of which a test should notice.

Decorators, annotations and docstrings are left alone.
"""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

# Each operator with what takes its place. A bound moves by one, then the comparison turns around.
_OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Add: (ast.Sub,), ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,), ast.Div: (ast.Mult,), ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,), ast.BitOr: (ast.BitAnd,), ast.BitAnd: (ast.BitOr,),
}  # fmt: skip
_FUNCTIONS = {"any": "all", "all": "any", "min": "max", "max": "min"}
# Methods whose call is replaced by what they are called on.
_METHODS = {"lower", "upper", "strip"}
_UNCHANGED = {"decorator_list", "annotation", "returns", "type_params", "ctx"}

Put = Callable[[ast.AST], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """The source of a module with one change.

    `key` names the change by module, function, text of the line and what is changed there: it
    stays the same when the line or the module moves.
    """

    key: str
    source: str


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of the `source` of `module`."""
    tree, lines = ast.parse(source), source.splitlines()
    seen: Counter[str] = Counter()
    for put, node, scope, line in _nodes(tree, module, 0):
        for new in _replacements(node):
            change = _text(new) if isinstance(node, ast.stmt) else f"{_text(node)} -> {_text(new)}"
            key = f"{scope} | {lines[line - 1].strip()} | {change}"
            seen[key] += 1
            put(new)
            yield Mutant(f"{key} (#{seen[key]})" if seen[key] > 1 else key, ast.unparse(tree))
            put(node)


def _nodes(node: ast.AST, scope: str, line: int) -> Iterator[tuple[Put, ast.AST, str, int]]:
    """All nodes below `node`: what puts another in its place, itself, its scope and line."""
    for field, value in ast.iter_fields(node):
        if field in _UNCHANGED:
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            match child:
                case ast.Expr(value=ast.Constant()):
                    continue
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    inner = f"{scope}.{name}"
                case ast.AsyncFunctionDef(name=name):
                    inner = f"{scope}.{name}"
                case ast.AST():
                    inner = scope
                case _:
                    continue
            at = getattr(child, "lineno", line)
            put: Put = (
                partial(value.__setitem__, index)
                if isinstance(value, list)
                else partial(setattr, node, field)
            )
            yield put, child, inner, at
            yield from _nodes(child, inner, at)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    for operator in _OPERATORS.get(type(node), ()):
        yield operator()
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(number)):
            yield ast.Constant(number + 1)
        case ast.Constant(value=str(text)):
            yield ast.Constant(f"{text}XX")
        case ast.Constant(value=bytes(content)):
            yield ast.Constant(content + b"XX")
        case ast.Name(id=name) if name in _FUNCTIONS:
            yield ast.Name(_FUNCTIONS[name])
        case ast.Call(func=ast.Attribute(value=called, attr=name)) if name in _METHODS:
            yield called
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BoolOp(op=op, values=values):
            for rest in _each_left_out(values):
                yield ast.BoolOp(op, rest) if len(rest) > 1 else rest[0]
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            # Comparisons and what holds several are changed by themselves.
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
                yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=tests):
            for rest in _each_left_out(tests):
                yield _with(node, ifs=rest)
        case ast.ExceptHandler(type=ast.Tuple(elts=types)):
            for rest in _each_left_out(types):
                yield _with(node, type=ast.Tuple(rest, ast.Load()))
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]) | ast.AugAssign():
            yield ast.Pass()
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Expr():
            yield ast.Pass()


def _each_left_out(nodes: list[ast.expr]) -> Iterator[list[ast.expr]]:
    for index in range(len(nodes)):
        yield nodes[:index] + nodes[index + 1 :]


def _with(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _text(node: ast.AST) -> str:
    """`node` on one line; operators by their name."""
    text = ast.unparse(node).strip()
    return text.splitlines()[0] if text else type(node).__name__
