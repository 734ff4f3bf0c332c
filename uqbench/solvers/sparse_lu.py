"""The linear systems of a step as unrolled scalar code over the entries that the right-hand side has.

For the 2 to 30 states of a mechanistic model the price of a linear solve on a CPU is the dispatch of its operations,
not the arithmetic, so the elimination is written out over the entries that the right-hand side has (as the Kinetic
PreProcessor does; Damian et al. 2002, doi:10.1016/S0098-1354(02)00128-X). The code grows with the fill: use it below
`LARGEST_FILL`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from .scalars import Rhs, Scalars, once

# Entries of the factors beyond which unrolled code takes half a minute to compile.
LARGEST_FILL = 256


class SparseLU(NamedTuple):
    """What of the Jacobian can be non-zero, the order in which to eliminate it, and the elimination itself.

    Args:
        entries: (row, column) of what can be non-zero.
        order: the pivots.
        uses_time: whether the right-hand side depends on time.
    """

    entries: tuple[tuple[int, int], ...]
    order: tuple[int, ...]
    uses_time: bool

    @property
    def fill(self) -> tuple[tuple[int, int], ...]:
        """Entries of the factors, the diagonal included."""
        return _fill(len(self.order), self.entries, self.order)

    def jacobian(self, rhs: Rhs, t, y: Scalars) -> tuple:
        """The entries of d rhs / d y, by forward differentiation, one column at a time."""
        values = {}
        for k in range(len(y)):
            rows = [i for i, j in self.entries if j == k]
            if rows:

                def column(yk, k=k, rows=rows):
                    return [rhs(t, [*y[:k], yk, *y[k + 1 :]])[i] for i in rows]

                _, derivatives = jax.jvp(column, (y[k],), (jnp.ones(()),))
                values.update({(i, k): value for i, value in zip(rows, derivatives, strict=True)})
        return once(tuple(values[entry] for entry in self.entries))

    def factorize(self, shift, jacobian: Scalars) -> tuple:
        """LU factors of shift I - J without pivoting, the reciprocals of the pivots on the diagonal."""
        return _factorize(self, shift, jacobian)

    def substitute(self, factors, shift, jacobian, b: Scalars) -> tuple:
        """Solves (shift I - J) x = b with the factors; its derivative is another solve, never that of the factors."""
        return _substitute(self, factors, shift, jacobian, b)


def structure(rhs: Rhs, size: int) -> SparseLU:
    """Reads from the traced right-hand side which derivative depends on which state."""
    scalar = jax.ShapeDtypeStruct((), jnp.float64)
    closed = jax.make_jaxpr(lambda t, *y: tuple(rhs(t, y)))(scalar, *[scalar] * size)
    rows = dependencies(closed.jaxpr, [frozenset([k]) for k in range(size + 1)])
    entries = tuple((i, k - 1) for i, row in enumerate(rows) for k in sorted(row) if k)
    return SparseLU(entries, _markowitz(size, entries), any(0 in row for row in rows))


def dependencies(jaxpr, inputs: list[frozenset]) -> list[frozenset]:
    """What each output of a traced function depends on, from what each of its inputs stands for."""
    known = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(v):
        return frozenset() if isinstance(v, Literal) else known.get(v, frozenset())

    for equation in jaxpr.eqns:
        arguments = [read(v) for v in equation.invars]
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if equation.primitive.name in ("jit", "pjit", "custom_jvp_call", "closed_call", "core_call", "remat"):
            outputs = dependencies(getattr(inner, "jaxpr", inner), arguments)
        else:
            outputs = [frozenset().union(*arguments)] * len(equation.outvars)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _markowitz(size: int, entries) -> tuple[int, ...]:
    """Diagonal pivots, each the one that can cause the least fill (Markowitz 1957, doi:10.1287/mnsc.3.3.255)."""
    filled = {(i, i) for i in range(size)} | set(entries)
    left, order = set(range(size)), []
    while left:
        rows = {k: [i for i in left if i != k and (i, k) in filled] for k in left}
        columns = {k: [j for j in left if j != k and (k, j) in filled] for k in left}
        pivot = min(sorted(left), key=lambda k: len(rows[k]) * len(columns[k]))
        filled |= {(i, j) for i in rows[pivot] for j in columns[pivot]}
        left.remove(pivot)
        order.append(pivot)
    return tuple(order)


def _fill(size, entries, order):
    filled = {(i, i) for i in range(size)} | set(entries)
    for step, k in enumerate(order):
        rest = order[step + 1 :]
        filled |= {(i, j) for i in rest if (i, k) in filled for j in rest if (k, j) in filled}
    return tuple(sorted(filled))


def _factorize(pattern: SparseLU, shift, entries: Scalars) -> tuple:
    order = pattern.order
    w = {(i, i): shift for i in range(len(order))}
    for (i, j), value in zip(pattern.entries, entries, strict=True):
        w[i, j] = w[i, j] - value if (i, j) in w else -value
    for step, k in enumerate(order):
        w[k, k] = 1.0 / w[k, k]
        w = dict(zip(w, once(tuple(w.values())), strict=True))
        rest = order[step + 1 :]
        for i in rest:
            if (i, k) in w:
                w[i, k] = w[i, k] * w[k, k]
                for j in rest:
                    if (k, j) in w:
                        update = w[i, k] * w[k, j]
                        w[i, j] = w[i, j] - update if (i, j) in w else -update
    return tuple(w[entry] for entry in pattern.fill)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _substitute(pattern: SparseLU, factors, shift, entries, b):
    order = pattern.order
    w = dict(zip(pattern.fill, factors, strict=True))
    x = list(once(tuple(b)))
    for step, i in enumerate(order):
        for j in order[:step]:
            if (i, j) in w:
                x[i] = x[i] - w[i, j] * x[j]
    x = list(once(tuple(x)))
    for step in reversed(range(len(order))):
        i = order[step]
        for j in order[step + 1 :]:
            if (i, j) in w:
                x[i] = x[i] - w[i, j] * x[j]
        x[i] = x[i] * w[i, i]
    return tuple(x)


@partial(_substitute.defjvp, symbolic_zeros=True)
def _(pattern, primals, tangents):
    factors, shift, entries, b = primals
    _, shift_dot, entries_dot, b_dot = tangents
    x = _substitute(pattern, factors, shift, entries, b)

    def zero(tangent):
        return type(tangent).__name__ == "SymbolicZero"

    r = [None if zero(value) else value for value in b_dot]
    if not zero(shift_dot):
        r = [-shift_dot * x[i] if r[i] is None else r[i] - shift_dot * x[i] for i in range(len(x))]
    for (i, j), value in zip(pattern.entries, entries_dot, strict=True):
        if not zero(value):
            r[i] = value * x[j] if r[i] is None else r[i] + value * x[j]
    known = tuple(jnp.zeros(()) if value is None else value for value in r)
    return x, _substitute(pattern, factors, shift, entries, known)
