"""Arguments of a noise distribution that are formulas of names, as text: `Normal("C", "a + b*C")`.

The text is read once, as an expression of Python, of which only arithmetic and a few functions are allowed: nothing is
ever executed. A formula is kept under its own text, so that distributions go on to know numbers and names only.
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

FUNCTIONS: dict[str, Callable] = {
    **{name: getattr(jnp, name) for name in ("sqrt", "exp", "log", "log10", "abs")},
    "min": jnp.minimum,
    "max": jnp.maximum,
}
INVERTIBLE = ("sqrt", "exp", "log", "log10")
# functions of two arguments; the others have one
PAIRS = ("min", "max")
OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


@dataclass(frozen=True)
class Expression:
    """A formula of names, such as that of a standard deviation.

    Args:
        text: as it was written: numbers, names, + - * / **, parentheses, and the functions in `FUNCTIONS`.

    Example:
        >>> sd = Expression("sqrt(a**2 + (b*C)**2)")
        >>> sd.names
        ('a', 'b', 'C')
        >>> float(sd({"a": 3.0, "b": 2.0, "C": 2.0}))
        5.0
    """

    text: str

    @property
    def names(self) -> tuple[str, ...]:
        """What it is computed from, in order."""
        body = _parsed(self.text)
        called = {id(node.func) for node in ast.walk(body) if isinstance(node, ast.Call)}
        found = [node for node in ast.walk(body) if isinstance(node, ast.Name) and id(node) not in called]
        nodes = sorted(found, key=lambda node: (node.lineno, node.col_offset))
        return tuple(dict.fromkeys(node.id for node in nodes))

    def __call__(self, values: Mapping[str, ArrayLike]) -> Array:
        """Its value, traceable, where the names have these; they are broadcast."""
        return jnp.asarray(_value(_parsed(self.text), values), float)

    def with_error(self, values: Mapping[str, ArrayLike], errors: Mapping[str, ArrayLike]) -> tuple[Array, Array]:
        """Its value, and by how much it may be wrong where values are, to first order.

        Args:
            errors: name -> by how much its values may be wrong, broadcasting with them; without an entry, not at all.
        """
        value = self(values)
        error = jnp.zeros(value.shape)
        for name in self.names:
            if name in errors:
                at = jnp.asarray(values[name], float)
                by = jnp.broadcast_to(jnp.asarray(errors[name], float), at.shape)
                error += jnp.abs(jax.jvp(lambda moved, name=name: self({**values, name: moved}), (at,), (by,))[1])
        return value, error

    def degree(self, names: Collection[str]) -> float:
        """As a polynomial of these names together, at most; infinite where it may be none.

        Example:
            >>> Expression("scale*(C + offset)").degree(["scale"]), Expression("s*(C + a)").degree(["s", "a"])
            (1, 2)
        """
        return _degree(_parsed(self.text), names)

    @property
    def told(self) -> "Expression":
        """A formula that is known where this one is: without a root, exponential or logarithm around all of it."""
        body = _parsed(self.text)
        while isinstance(body, ast.Call) and isinstance(body.func, ast.Name) and body.func.id in INVERTIBLE:
            body = body.args[0]
        return Expression(ast.unparse(body))

    def renamed(self, new: Mapping[str, str | float]) -> "Expression":
        """The same formula of other names, or of numbers in their place."""

        class Renamed(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.expr:
                value = new.get(node.id, node.id)
                return ast.Name(value) if isinstance(value, str) else ast.Constant(float(value))

        return Expression(ast.unparse(Renamed().visit(ast.parse(self.text.strip(), mode="eval"))))


def expression_of(text: str) -> Expression | None:
    """The formula that a text is; None where it is none, or a single name.

    Example:
        >>> expression_of("C 1") is None and expression_of("C") is None
        True
    """
    try:
        body = _parsed(text)
    except SyntaxError:
        return None
    return None if isinstance(body, ast.Name) else Expression(text)


def expression_findings(expression: Expression) -> list[str]:
    """What a formula has that is not allowed in one."""
    body, findings = _parsed(expression.text), []
    called = {id(node.func) for node in ast.walk(body) if isinstance(node, ast.Call)}
    for node in ast.walk(body):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            findings.append("a power is written **, not ^")
        elif isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) not in OPERATORS:
            findings.append(f"{ast.unparse(node)!r} is no arithmetic")
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            count = 2 if name in PAIRS else 1
            if name not in FUNCTIONS:
                findings.append(f"the function {name!r} is none of {', '.join(FUNCTIONS)}")
            elif len(node.args) != count or node.keywords:
                findings.append(f"{name!r} takes {count} argument{'s' * (count > 1)}")
        elif isinstance(node, ast.Name) and node.id in FUNCTIONS and id(node) not in called:
            findings.append(f"{node.id!r} is a function; give its argument")
        elif isinstance(node, ast.Constant) and type(node.value) not in (int, float):
            findings.append(f"{node.value!r} is no number")
        elif isinstance(node, ast.expr) and not isinstance(
            node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Name | ast.Constant
        ):
            findings.append(f"{ast.unparse(node)!r} is no arithmetic")
    return list(dict.fromkeys(findings))


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def _degree(node: ast.expr, names: Collection[str]) -> float:
    if isinstance(node, ast.Name):
        return int(node.id in names)
    if isinstance(node, ast.UnaryOp):
        return _degree(node.operand, names)
    if isinstance(node, ast.Call):
        return np.inf if any(_degree(each, names) for each in node.args) else 0
    if not isinstance(node, ast.BinOp):
        return 0
    left, right = (_degree(each, names) for each in (node.left, node.right))
    if isinstance(node.op, ast.Add | ast.Sub):
        return max(left, right)
    if isinstance(node.op, ast.Mult):
        return left + right
    # a power and a divisor
    return np.inf if right or (left and isinstance(node.op, ast.Pow)) else left


def _value(node: ast.expr, values: Mapping[str, ArrayLike]):
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](_value(node.operand, values))
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)  # `expression_findings` has looked
        return FUNCTIONS[node.func.id](*(_value(argument, values) for argument in node.args))
    if isinstance(node, ast.Name):
        return jnp.asarray(values[node.id], float)
    assert isinstance(node, ast.Constant)
    return node.value
