"""Formulas of a manifest: arithmetic over names, evaluated by walking the syntax tree, never by Python's `eval`.

Allowed are numbers, texts, truth values, names, + - * / // % ** @, comparisons, and/or/not, `x if c else y`, subscripts
with slices, and calls of the listed functions. Attributes, lambdas, comprehensions and everything else are refused when
the manifest is read.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tesserabench.bench.dtypes import ITEMSIZE

MOST_CHARACTERS = 2000
MOST_NODES = 400
MOST_BITS = 256
"""Whole numbers beyond this are refused, so that no formula can fill the memory."""

ELEMENT_SIZES = {**ITEMSIZE, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4}
ELEMENT_SIZES |= {"int64": 8, "uint64": 8}
_C_TYPES = {
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "float32": "float",
    "float64": "double",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
}

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SHAPES = (ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp, ast.Call, ast.Subscript)
_PARTS = (ast.Slice, ast.Tuple, ast.keyword, ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)


class ExpressionError(ValueError):
    """A formula that cannot be read or has no value; the text says why."""


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _itemsize(dtype: str) -> int:
    return ELEMENT_SIZES[dtype]


def _ctype(dtype: str) -> str:
    return _C_TYPES[dtype]


ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "ceil_div": _ceil_div,
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "log2": math.log2,
    "sqrt": math.sqrt,
    "itemsize": _itemsize,
    "ctype": _ctype,
}
"""What formulas of parameters may call; `itemsize` and `ctype` take the name of a dtype."""

ARRAY_FUNCTIONS = (
    *("sum", "prod", "mean", "min", "max", "maximum", "minimum", "abs", "exp", "expm1", "log", "log1p", "log2"),
    *("sqrt", "tanh", "sin", "cos", "where", "cumsum", "sort", "argsort", "transpose", "reshape", "matmul", "dot"),
    *("einsum", "clip", "floor", "ceil", "sign", "take", "roll", "concatenate", "arange"),
)
"""What references may call, by NumPy's names; axis=, keepdims= and the like may be given by keyword."""


def array_functions() -> Mapping[str, Callable[..., Any]]:
    """Return the functions of references; imports NumPy."""
    import numpy as np  # noqa: PLC0415 - listing a bundle needs no NumPy

    return {**{name: getattr(np, name) for name in ARRAY_FUNCTIONS}, "ceil_div": _ceil_div, "itemsize": _itemsize}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A formula that was read and found harmless; `names` are those it needs."""

    text: str
    names: frozenset[str]
    tree: ast.expr

    @classmethod
    def read(cls, text: str | float, functions: frozenset[str] = frozenset(ARITHMETIC)) -> "Expression":
        """Read a formula; raise ExpressionError saying what is not allowed in it."""
        source = str(text).strip()
        if not source or len(source) > MOST_CHARACTERS:
            raise ExpressionError(f"must be a formula of 1 to {MOST_CHARACTERS} characters")
        try:
            tree = ast.parse(source, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ExpressionError(f"is no formula ({getattr(error, 'msg', error)})") from None
        nodes = list(ast.walk(tree))
        if len(nodes) > MOST_NODES:
            raise ExpressionError(f"has {len(nodes)} parts; at most {MOST_NODES} are allowed")
        for node in nodes:
            _check(node, functions)
        called = {node.func for node in nodes if isinstance(node, ast.Call)}
        names = {node.id for node in nodes if isinstance(node, ast.Name) and node not in called}
        return cls(text=source, names=frozenset(names), tree=tree)

    def value(self, names: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]] = ARITHMETIC) -> Any:
        """Return the value with these names; raise ExpressionError when there is none."""
        try:
            return _evaluate(self.tree, names, functions)
        except ExpressionError:
            raise
        except (ArithmeticError, TypeError, ValueError, LookupError) as error:
            raise ExpressionError(f"{self.text!r} has no value: {type(error).__name__}: {error}") from None

    def integer(self, names: Mapping[str, Any]) -> int:
        """Return the value as a whole number; a float with no fraction counts as one."""
        found = self.value(names)
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int):
            raise ExpressionError(f"{self.text!r} is {found!r}; it must be a whole number, try // or round()")
        return found


def _check(node: ast.AST, functions: frozenset[str]) -> None:
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in functions:
            raise ExpressionError(f"calls {ast.unparse(node.func)}; allowed are: {', '.join(sorted(functions))}")
        if any(word.arg is None for word in node.keywords):
            raise ExpressionError("passes ** arguments, which are not allowed")
    elif isinstance(node, ast.Constant):
        if not isinstance(node.value, bool | int | float | str | type(None)):
            raise ExpressionError(f"contains {node.value!r}; only numbers, texts and truth values are allowed")
    elif not isinstance(node, (*_SHAPES, *_PARTS)):
        raise ExpressionError(f"contains {type(node).__name__}, which is not allowed in a formula")
    unknown = isinstance(node, ast.BinOp) and type(node.op) not in _BINARY
    unknown |= isinstance(node, ast.UnaryOp) and type(node.op) not in _UNARY
    unknown |= isinstance(node, ast.Compare) and any(type(op) not in _COMPARE for op in node.ops)
    if unknown:
        raise ExpressionError(f"contains {ast.unparse(node)!r}, an operator that is not allowed in a formula")


def _evaluate(node: ast.AST, names: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:  # noqa: PLR0911, C901 - one branch for each shape of node
    def sub(part: ast.AST) -> Any:
        return _evaluate(part, names, functions)

    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                raise ExpressionError(f"names {name!r}, which is unknown here; known: {known}")
            return names[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, sub(left), sub(right))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](sub(operand))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _compare(sub(left), ops, [sub(item) for item in comparators])
        case ast.BoolOp(op=op, values=values):
            results = (sub(item) for item in values)
            return all(results) if isinstance(op, ast.And) else any(results)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return sub(body) if sub(test) else sub(orelse)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            return functions[name](*map(sub, args), **{str(word.arg): sub(word.value) for word in keywords})
        case ast.Subscript(value=value, slice=index):
            return sub(value)[sub(index)]
        case ast.Slice(lower=lower, upper=upper, step=step):
            return slice(*(None if part is None else sub(part) for part in (lower, upper, step)))
        case ast.Tuple(elts=parts):
            return tuple(map(sub, parts))
    raise ExpressionError(f"contains {type(node).__name__}, which is not allowed in a formula")


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(left, str) or isinstance(right, str):
        raise ExpressionError(f"calculates with a text ({left!r}, {right!r}); texts can only be compared")
    whole = isinstance(left, int) and isinstance(right, int)
    if whole and isinstance(op, ast.Pow) and right > 0 and left.bit_length() * right > MOST_BITS:
        raise ExpressionError(f"{left} ** {right} is larger than a formula may become")
    found = _BINARY[type(op)](left, right)
    if isinstance(found, int) and found.bit_length() > MOST_BITS:
        raise ExpressionError("is larger than a formula may become")
    return found


def _compare(left: Any, ops: list[ast.cmpop], others: list[Any]) -> Any:
    result: Any = True
    for op, right in zip(ops, others, strict=True):
        held = _COMPARE[type(op)](left, right)
        result = held if result is True else result & held
        left = right
    return result
