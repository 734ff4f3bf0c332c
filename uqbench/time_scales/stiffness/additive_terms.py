"""The additive terms of a right-hand side, read from its traced code: which addend of which equation does what.

x' = (L (1 - x) - Kd x) / eps says, as a modeller reads it, three things: production L/eps, and the losses L x/eps and
Kd x/eps. The walker below follows the traced function down its sums and differences, through calls, signs and whatever
is multiplied or divided by something that holds no state; there it stops. The terms that hold a state add up to the
Jacobian, term by term.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jaxtyping import Array, Float

from ...annotations import Values
from ...system import Inputs, Ode

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat": "jaxpr",
         "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}  # fmt: skip
IDENTITIES = ("convert_element_type", "copy", "stop_gradient", "optimization_barrier")
# Not written, but not looked through either: what is inside may be an array, and a term is a number.
RESHAPED = ("squeeze", "reshape", "broadcast_in_dim")
SUMS = {"add": (1, 1), "add_any": (1, 1), "sub": (1, -1), "neg": (-1,)}
INFIX = {"add": (" + ", 1), "add_any": (" + ", 1), "sub": (" - ", 1), "mul": ("*", 2), "div": ("/", 2), "pow": ("^", 4)}
SUM, PRODUCT, POWER, ATOM = 1, 2, 4, 5
LONGEST_TEXT = 100


@dataclass(frozen=True, eq=False)
class Operation:
    """One primitive applied to expressions; the outputs of it share this object."""

    primitive: Any
    params: dict
    operands: tuple["Expression", ...]


@dataclass(frozen=True, eq=False)
class Expression:
    """A symbol, a constant, or an output of an operation.

    Args:
        varies: whether it holds a state.
        leaf: name of a symbol, or the value of a constant; None for the output `index` of `operation`.
    """

    varies: bool
    leaf: Any = None
    operation: Operation | None = None
    index: int = 0

    @property
    def kind(self) -> str:
        return "" if self.operation is None else self.operation.primitive.name

    @property
    def operands(self) -> tuple["Expression", ...]:
        return () if self.operation is None else self.operation.operands


@dataclass(frozen=True, eq=False)
class Term:
    """sign * product of factors / product of divisors, an addend of `equation` that holds a state; and its text."""

    equation: str
    sign: int
    factors: tuple[Expression, ...]
    divisors: tuple[Expression, ...]
    text: str


class Terms:
    """The additive terms of a system that hold a state, in the order of its equations.

    Args:
        system: any; functions other than + - * / are kept whole inside a term, and so is an element of an array.
        names: the states. theta, inputs: only their names and shapes are read.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> [f"{term.equation}: {term.text}" for term in Terms(model.system, ("x", "y"), model.space.nominal(), {}).all]
        ['x: -L*x/eps', 'x: -Kd*x/eps', 'y: beta*x', 'y: -delta*y']
    """

    def __init__(self, system: Ode, names: Sequence[str], theta: Values, inputs: Inputs):
        def rates(t, y, theta, inputs):
            out = system.rhs(t, y, theta, inputs)
            return [jnp.asarray(out[name], float) for name in names]

        scalar = jnp.zeros(())
        arguments = (scalar, dict.fromkeys(names, scalar), theta, inputs)
        closed = jax.make_jaxpr(rates)(*arguments)
        states = sorted(names)
        labels = ["t", *states, *sorted(theta), *sorted(inputs)]
        self._symbols = [Expression(0 < k <= len(states), label) for k, label in enumerate(labels)]
        outputs = _read(closed.jaxpr, closed.consts, self._symbols)
        self.all = [
            term for name, output in zip(names, outputs, strict=True) for term in _split(name, output, 1, (), ())
        ]
        self._names = tuple(names)

    def slopes(self, t, y: Float[Array, " states"], theta: Values, inputs: Inputs) -> Float[Array, "terms states"]:
        """The derivative of each term by each state; those of one equation add up to its row of the Jacobian."""

        def values(y):
            arguments = (t, dict(zip(self._names, y, strict=True)), theta, inputs)
            known = dict(zip(map(id, self._symbols), jax.tree.leaves(arguments), strict=True))
            return jnp.stack([_value(term, known) for term in self.all])

        return jax.jacfwd(values)(y) if self.all else jnp.zeros((0, len(self._names)))


def _read(jaxpr, constants, operands) -> list[Expression]:
    known = {var: Expression(False, value) for var, value in zip(jaxpr.constvars, constants, strict=True)}
    known |= dict(zip(jaxpr.invars, operands, strict=True))

    def read(atom):
        return Expression(False, atom.val) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        given, name = tuple(map(read, equation.invars)), equation.primitive.name
        if name in CALLS:
            inner = equation.params[CALLS[name]]
            outputs = _read(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given)
        else:
            operation, varies = Operation(equation.primitive, equation.params, given), any(e.varies for e in given)
            outputs = [Expression(varies, None, operation, k) for k in range(len(equation.outvars))]
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _split(name: str, expression: Expression, sign: int, factors: tuple, divisors: tuple) -> list[Term]:
    """The terms of an expression times `sign * factors / divisors`, which hold no state."""
    kind, operands = expression.kind, expression.operands
    if not expression.varies:
        return []
    if kind in SUMS:
        parts = zip(SUMS[kind], operands, strict=True)
        return [term for s, part in parts for term in _split(name, part, sign * s, factors, divisors)]
    if kind in IDENTITIES:
        return _split(name, operands[0], sign, factors, divisors)
    if kind == "mul" and not all(operand.varies for operand in operands):
        plain, varying = sorted(operands, key=lambda operand: operand.varies)
        return _split(name, varying, sign, (*factors, plain), divisors)
    if kind == "div" and not operands[1].varies:
        return _split(name, operands[0], sign, factors, (*divisors, operands[1]))
    return [_term(name, sign, (*factors, expression), divisors)]


def _term(name: str, sign: int, factors: tuple, divisors: tuple) -> Term:
    signs, plain = zip(*map(_unsigned, factors), strict=True)
    written = [factor for factor in plain if not (_is_number(factor) and _number(factor) == 1)]
    minus = sign * int(np.prod(signs)) < 0
    text = "*".join(_text(factor, PRODUCT) for factor in written) or "1"
    text = ("-" if minus else "") + "".join([text, *("/" + _text(divisor, PRODUCT + 1) for divisor in divisors)])
    return Term(name, sign, factors, divisors, text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "...")


def _unsigned(expression: Expression) -> tuple[int, Expression]:
    """A factor without its sign."""
    if expression.kind == "neg":
        sign, inner = _unsigned(expression.operands[0])
        return -sign, inner
    if _is_number(expression) and _number(expression) < 0:
        return -1, Expression(False, -_number(expression))
    return 1, expression


def _is_number(expression: Expression) -> bool:
    leaf = expression.leaf
    return expression.operation is None and not isinstance(leaf, str) and np.ndim(leaf) == 0


def _number(expression: Expression) -> float:
    return float(expression.leaf)


def _text(expression: Expression, outer: int) -> str:
    """An expression as a modeller writes it; in parentheses where it binds less than `outer`."""
    kind, operands, binding = expression.kind, expression.operands, ATOM
    if expression.operation is None:
        leaf = expression.leaf
        text = f"{_number(expression):g}" if _is_number(expression) else leaf if isinstance(leaf, str) else "array"
        binding = SUM if text.startswith("-") else ATOM
    elif kind in IDENTITIES + RESHAPED:
        return _text(operands[0], outer)
    elif kind in INFIX:
        sign, binding = INFIX[kind]
        # a - (b - c), a / (b c)
        right = binding + (kind in ("sub", "div", "pow"))
        text = _text(operands[0], binding + (kind == "pow")) + sign + _text(operands[1], right)
    elif kind == "neg":
        text, binding = "-" + _text(operands[0], PRODUCT), SUM
    elif kind in ("integer_pow", "square"):
        text, binding = f"{_text(operands[0], ATOM)}^{expression.operation.params.get('y', 2)}", POWER
    elif kind == "slice":
        parts = zip(*(expression.operation.params[name] for name in ("start_indices", "limit_indices")), strict=True)
        places = ", ".join(f"{first}" if last == first + 1 else f"{first}:{last}" for first, last in parts)
        text = f"{_text(operands[0], ATOM)}[{places}]"
    else:
        text = f"{kind}({', '.join(_text(operand, 0) for operand in operands)})"
    return f"({text})" if binding < outer else text


def _value(term: Term, known: dict[int, Any]) -> Array:
    value = jnp.asarray(float(term.sign))
    for factor in term.factors:
        value = value * _evaluate(factor, known)
    for divisor in term.divisors:
        value = value / _evaluate(divisor, known)
    return value


def _evaluate(expression: Expression, known: dict[int, Any]):
    """The value of an expression; `known` remembers symbols and what each operation gave."""
    if expression.operation is None:
        return known.get(id(expression), expression.leaf)
    operation = expression.operation
    if id(operation) not in known:
        values = [_evaluate(operand, known) for operand in operation.operands]
        outputs = operation.primitive.bind(*values, **operation.params)
        known[id(operation)] = outputs if operation.primitive.multiple_results else [outputs]
    return known[id(operation)][expression.index]
