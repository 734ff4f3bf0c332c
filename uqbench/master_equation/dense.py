"""The exponential of a small generator as a matrix, for reactions so fast that products would be too many.

exp(h A) = exp(h A / 2^s)^(2^s) with the uniformised series for the small exponential: sums and products of nonnegative
matrices, so that here too nothing cancels and what is left out is lost from the sums of the columns.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .box import Box
from .codes import Ending

# Doublings of the small step: 2^40 jumps of the fastest state, or as many as rounding allows.
DOUBLINGS = 40
ROUNDING = 1e-6
# Terms of the series at a mean of at most one jump; the tail is below 1e-19.
TERMS = 20


def dense_rows(box: Box, rates: Float[Array, "groups states"], start: Array, elapsed: Float[Array, " times"]):
    """Distributions `(times, states)`, the number of products of matrices, a bound of rounding `(times,)`, the code."""
    matrix = dense_generator(box, rates)
    fastest = lax.stop_gradient(jnp.max(-jnp.diagonal(matrix)))
    gaps = jnp.diff(elapsed, prepend=0.0)

    @jax.checkpoint
    def over(q, gap):
        q = _exponential(matrix * gap, fastest * gap) @ q
        return q, q

    _, rows = lax.scan(over, start, gaps)
    # each squaring doubles the relative error and adds that of the sums
    rounding = fastest * elapsed * (len(matrix) + TERMS) * jnp.finfo(float).eps
    fits = (fastest * jnp.max(gaps, initial=0.0) <= 2.0**DOUBLINGS) & jnp.all(rounding <= ROUNDING)
    products = jnp.asarray(len(gaps) * (TERMS + DOUBLINGS))
    return rows, products, rounding, jnp.where(fits, Ending.SUCCESS, Ending.PRODUCTS)


def dense_generator(box: Box, rates: Float[Array, "groups states"]) -> Float[Array, "states states"]:
    """A, with p' = A p."""
    states = np.arange(box.states)
    matrix = jnp.diag(-jnp.sum(rates, axis=0))
    for group, by in enumerate(box.shifts):
        source = states[box.inside[group]]
        matrix = matrix.at[source + by, source].add(rates[group, source])
    return matrix


def _exponential(matrix: Array, mean: Array) -> Array:
    doublings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(mean, 1.0))), 0, DOUBLINGS)
    scale = 2.0**-doublings
    small = mean * scale
    identity = jnp.eye(len(matrix))
    step = small * identity + matrix * scale

    def term(carry, k):
        # the sum of step^k / k! exp(-small), from its end
        return identity + step @ carry / k, None

    series, _ = lax.scan(term, identity, jnp.arange(TERMS, 0, -1.0))

    @jax.checkpoint
    def double(power, k):
        return jnp.where(k < doublings, power @ power, power), None

    power, _ = lax.scan(double, series * jnp.exp(-small), jnp.arange(DOUBLINGS))
    return power
