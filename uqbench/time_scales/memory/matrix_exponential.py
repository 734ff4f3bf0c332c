"""Matrix exponentials: linear systems after any time, without a step or a tolerance.

u' = M u has the solution e^(M t) u(0). The exponential is found by scaling and squaring (Moler & Van Loan 2003): M t is
halved until a Taylor series of it needs few terms, and the result is squared as often. A constant source is one more
state, which never changes.

Two things keep the digits where fast and slow rates differ by many decades. The states are first measured in units in
which rows and columns of M weigh the same. And e^(M t) - 1 is squared instead of e^(M t), for beside the 1 a slow rate
that has been halved often would be rounded away.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Halvings of a matrix before its exponential, for times up to 1e19 of the fastest scale (NaN beyond), and terms of its
# series, for a norm of 1/2.
HALVINGS, TAYLOR = 64, 15
# Sweeps that bring units which differ by 1e12 within a factor of two.
BALANCING_SWEEPS = 32


class Affine(eqx.Module):
    """u' = matrix u + source from u(0) = start, the size of each `(n, n)`, `(n,)`, `(n,)`."""

    matrix: Float[Array, "n n"]
    source: Float[Array, " n"]
    start: Float[Array, " n"]

    def at(self, times) -> Float[Array, "times n"]:
        """The states after the times `(times,)`, by the matrix exponential: no step, no tolerance."""
        size = len(self.start)
        bordered = jnp.zeros((size + 1, size + 1)).at[:size].set(jnp.column_stack([self.matrix, self.source]))
        return (exponentials(bordered, times) @ jnp.append(self.start, 1.0))[:, :size]


@jax.jit
def exponentials(matrix, times) -> Array:
    """e^(matrix t) at the times `(times,)`: `(times, n, n)`; traceable, NaN where it is too fast for any digit."""
    scale = _balance(matrix)
    balanced = matrix * scale / scale[:, None]
    found = jax.vmap(lambda t: _exponential(balanced * t))(jnp.atleast_1d(jnp.asarray(times, float)))
    return found * scale[:, None] / scale


def _exponential(matrix) -> Array:
    """By halving, a Taylor series and squaring, all of e^M - 1, in which slow rates keep their digits beside fast ones.

    (That of jax.scipy.linalg halves once too little: its e^-10 is wrong from the eighth digit on.)
    """
    norm = jnp.abs(lax.stop_gradient(matrix)).sum(axis=0).max(initial=0.0)
    halvings = jnp.maximum(jnp.ceil(jnp.log2(jnp.maximum(norm, 1e-300))) + 1, 0)
    small, one = matrix * 2.0**-halvings, jnp.eye(len(matrix))
    series = one
    for k in range(TAYLOR, 1, -1):
        series = one + small @ series / k

    def double(less_one, k):
        return jnp.where(k < halvings, 2 * less_one + less_one @ less_one, less_one), None

    less_one, _ = lax.scan(double, small @ series, jnp.arange(HALVINGS))
    return jnp.where(halvings <= HALVINGS, one + less_one, jnp.nan)


def _balance(matrix) -> Array:
    """Sizes of the states `(n,)` in which rows and columns weigh the same, so that units cost no digits.

    By damped sweeps (Osborne 1960). A constant, whose row is zero, is measured so that its column is no larger than the
    rates.
    """
    size = jnp.abs(lax.stop_gradient(matrix))
    diagonal, size = jnp.diag(size).max(initial=0.0), size * (1 - jnp.eye(len(size)))

    def sweep(scale, _):
        scaled = size * scale / scale[:, None]
        row, column = scaled.sum(axis=1), scaled.sum(axis=0)
        factor = (row / jnp.where(column > 0, column, 1.0)) ** 0.25
        factor = jnp.where((row == 0) & (diagonal > 0), diagonal / jnp.where(column > 0, column, 1.0), factor)
        return scale * jnp.where((column > 0) & (factor > 0), factor, 1.0), None

    return lax.scan(sweep, jnp.ones(len(size)), length=BALANCING_SWEEPS)[0]
