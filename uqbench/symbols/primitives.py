"""What each primitive of JAX means in a field, or why it means nothing there and what to write instead."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from jax.extend.core import JaxprEqn

from .program import Recorder

FUNCTIONS = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh",
             "atanh", "erf")  # fmt: skip


SWITCH = (
    "it has no single algebraic meaning; write the switch as a smooth function (jax.nn.sigmoid, a Hill function), "
    "or split the experiment at the switch."
)
LOOP = "a loop is not one formula; write the repetition as a Python loop of fixed length."
SOLVE = "a factorisation branches on its pivots; write the solution of the linear system as a formula."
REAL = "only real numbers are read exactly; write it without rounding to integers and without complex numbers."
DRAW = "a draw is no formula; write what varies as a parameter with a distribution."
OTHER = "no algebraic rule is known for it; write it with + - * /, powers, exp, log, sqrt, sin, cos, tanh or erf."
# primitive -> where an author meets it, and what to do about it
REFUSALS = {
    "select_n": ("from jnp.where, jnp.piecewise ...", SWITCH), "max": ("from jnp.maximum, jnp.clip ...", SWITCH),
    "min": ("from jnp.minimum, jnp.clip ...", SWITCH), "clamp": ("from lax.clamp", SWITCH),
    "abs": ("from jnp.abs", SWITCH), "sign": ("from jnp.sign", SWITCH), "floor": ("from jnp.floor, //", SWITCH),
    "ceil": ("from jnp.ceil", SWITCH), "round": ("from jnp.round, // ...", SWITCH), "rem": ("from %, jnp.mod", SWITCH),
    "reduce_max": ("from jnp.max", SWITCH), "reduce_min": ("from jnp.min", SWITCH),
    "argmax": ("from jnp.argmax", SWITCH), "argmin": ("from jnp.argmin", SWITCH), "sort": ("from jnp.sort", SWITCH),
    "SearchSorted": ("from jnp.searchsorted, jnp.interp", SWITCH), "cond": ("from lax.cond, lax.switch", SWITCH),
    "while": ("from lax.while_loop, lax.fori_loop", LOOP), "scan": ("from lax.scan, lax.fori_loop", LOOP),
    "lu": ("from jnp.linalg.solve, inv ...", SOLVE), "triangular_solve": ("from jnp.linalg.solve ...", SOLVE),
    "custom_linear_solve": ("from jnp.linalg.solve ...", SOLVE), "cholesky": ("from jnp.linalg.cholesky", SOLVE),
    "convert_element_type": ("from astype, complex numbers", REAL),
    "random_seed": ("from jax.random", DRAW), "random_wrap": ("from jax.random", DRAW),
    "random_bits": ("from jax.random", DRAW), "threefry2x32": ("from jax.random", DRAW),
    "random_unwrap": ("from jax.random", DRAW),
}  # fmt: skip
COMPARISONS = {
    "lt": lambda x, y: x < y, "le": lambda x, y: x <= y, "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y,
}  # fmt: skip
# Exact for known numbers, without a meaning for symbols.
DECISIONS = {
    "max": max, "min": min, "abs": abs, "floor": math.floor, "ceil": math.ceil, "sign": lambda x: (x > 0) - (x < 0),
    "rem": lambda x, y: x - y * math.trunc(x / y), "round": round, "clamp": lambda low, x, high: min(max(low, x), high),
}  # fmt: skip


def _unary(build: Callable) -> Callable:
    return lambda recorder, equation: lambda x: build(recorder, x)


def _divide(recorder: Recorder, equation: JaxprEqn) -> Callable:
    if np.dtype(equation.outvars[0].aval.dtype).kind == "f":
        return recorder.div
    return lambda x, y: Fraction(math.trunc(recorder.div(x, y)))


ONE, HALF, THIRD = Fraction(1), Fraction(1, 2), Fraction(1, 3)
# primitive -> (recorder, equation) -> operation on entries
ARITHMETIC: dict[str, Callable] = {
    **{name: (lambda r, e, name=name: getattr(r, name)) for name in ("add", "sub", "mul", "neg")},
    **{name: _unary(lambda r, x, name=name: r.function(name, x)) for name in FUNCTIONS},
    "div": _divide,
    "add_any": lambda r, e: r.add,
    "pow": lambda r, e: r.power,
    "integer_pow": lambda r, e: lambda x: r.integer_power(x, e.params["y"]),
    "square": _unary(lambda r, x: r.integer_power(x, 2)),
    "one_minus_square": _unary(lambda r, x: r.sub(ONE, r.integer_power(x, 2))),
    "sqrt": _unary(lambda r, x: r.power(x, HALF)),
    "rsqrt": _unary(lambda r, x: r.power(x, -HALF)),
    "cbrt": _unary(lambda r, x: r.power(x, THIRD)),
    "exp2": _unary(lambda r, x: r.power(Fraction(2), x)),
    "log2": _unary(lambda r, x: r.div(r.function("log", x), r.function("log", Fraction(2)))),
    "expm1": _unary(lambda r, x: r.sub(r.function("exp", x), ONE)),
    "log1p": _unary(lambda r, x: r.function("log", r.add(ONE, x))),
    "logistic": _unary(lambda r, x: r.div(ONE, r.add(ONE, r.function("exp", r.neg(x))))),
    "erfc": _unary(lambda r, x: r.sub(ONE, r.function("erf", x))),
}
