"""The linear systems of a step as array code, for Jacobians whose unrolled elimination would be too much code.

For some tens of states the inverse, found once a step by Gauss-Jordan elimination and used by eight stages and all
their sensitivities, is faster than triangular solves, whose recurrences leave vector units idle; one step of iterative
refinement restores the accuracy of the latter (Higham 2002, doi:10.1137/1.9780898718027, chapter 12). Nothing calls
LAPACK, which would break the native loop.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .scalars import Rhs, Scalars, once


class DenseInverse(NamedTuple):
    """Solves with a full matrix.

    Args:
        size: number of states.
        uses_time: whether the right-hand side depends on time.
    """

    size: int
    uses_time: bool

    def jacobian(self, rhs: Rhs, t, y: Scalars) -> jax.Array:
        """d rhs / d y, `(d, d)`."""

        def stacked(y):
            return jnp.stack(list(rhs(t, [y[k] for k in range(self.size)])))

        push = partial(jax.jvp, stacked, (jnp.stack(list(y)),))
        return jax.vmap(lambda direction: push((direction,))[1], out_axes=1)(jnp.eye(self.size))

    def factorize(self, shift, jacobian: jax.Array) -> tuple:
        """The inverse of shift I - J with its rows exchanged, and the order of the right-hand side."""
        rows = jnp.arange(self.size)

        def eliminate(k, state):
            w, order = state
            pivot = jnp.argmax(jnp.where(rows >= k, jnp.abs(w[:, k]), -1.0))
            this, other = (rows == k), (rows == pivot)
            w = jnp.where(this[:, None], w[pivot], jnp.where(other[:, None], w[k], w))
            order = jnp.where(this, order[pivot], jnp.where(other, order[k], order))
            scale = 1.0 / w[k, k]
            row = jnp.where(this, scale, w[k] * scale)
            rest = jnp.where(this, 0.0, w) - jnp.where(this, 0.0, w[:, k])[:, None] * row
            return jnp.where(this[:, None], row, rest), order

        return lax.fori_loop(0, self.size, eliminate, (shift * jnp.eye(self.size) - jacobian, rows))

    def substitute(self, factors, shift, jacobian, b: Scalars) -> tuple:
        """Solves (shift I - J) x = b; its derivative is another solve, never that of the inverse."""
        x = _solve(factors, shift, jacobian, jnp.stack(list(b)))
        return tuple(x[k] for k in range(self.size))


@jax.custom_jvp
def _solve(factors, shift, jacobian, b):
    inverse, order = factors
    x = _times(inverse, b[order])
    return x + _times(inverse, (b - (shift * x - _times(jacobian, x)))[order])


def _times(matrix, vector):
    # written as a sum because a dot of a batch of sensitivities would leave the fused loop
    return once(jnp.sum(matrix * once(vector), axis=-1))


@partial(_solve.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    factors, shift, jacobian, b = primals
    _, shift_dot, jacobian_dot, b_dot = tangents
    x = _solve(factors, shift, jacobian, b)

    def zero(tangent):
        return type(tangent).__name__ == "SymbolicZero"

    r = jnp.zeros_like(x) if zero(b_dot) else b_dot
    if not zero(shift_dot):
        r = r - shift_dot * x
    if not zero(jacobian_dot):
        r = r + _times(once(jacobian_dot), x)
    return x, _solve(factors, shift, jacobian, r)
