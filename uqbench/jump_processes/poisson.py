"""Poisson numbers from counter-based streams."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import gammaln

from .paths import any_anywhere
from .streams import LOWER_HALF, Streams, random_bits, uniform

# Below this mean by inversion of the distribution function, from here on by rejection.
SMALL = 10.0
# Numbers of a stream that one Poisson number may take; an attempt is accepted in 9 of 10 cases.
ATTEMPTS = 64
# Terms of the distribution function: with a mean of 10 the rest is below 1e-25.
TERMS = 70


def poisson(streams: Streams, number: Array, mean: Array) -> Array:
    """A Poisson number for each element, as float64.

    Args:
        streams: of the shape of `mean`.
        number: which numbers of the streams: `ATTEMPTS number` and the following ones; uint32, below 2^26.
        mean: 0 or more.
    """
    first = jnp.broadcast_to(jnp.asarray(number, jnp.uint32) * np.uint32(ATTEMPTS), mean.shape)
    few = _by_inversion(uniform(random_bits(streams, first)), jnp.where(mean < SMALL, mean, 0.0))
    many = _by_rejection(streams, first, jnp.where(mean < SMALL, SMALL, mean), mean >= SMALL)
    return jnp.where(mean < SMALL, few, many)


def _by_inversion(u: Array, mean: Array) -> Array:
    """The least k whose distribution function exceeds u."""
    probability = jnp.exp(-mean)

    def unfinished(state):
        k, _, below = state
        return any_anywhere(u >= below) & (k < TERMS)

    def next_term(state):
        k, term, below = state
        term = term * mean / (k + 1.0)
        return k + 1.0, term, below + term

    def count(state):
        found, rest = state
        k, term, below = rest
        return found + (u >= below), next_term((k, term, below))

    start = (jnp.zeros_like(mean), (jnp.zeros(()), probability, probability))
    return lax.while_loop(lambda state: unfinished(state[1]), count, start)[0]


def _by_rejection(streams: Streams, first: Array, mean: Array, wanted: Array) -> Array:
    """Transformed rejection with a squeeze, algorithm PTRS (Hormann 1993, doi:10.1016/0167-6687(93)90997-4)."""
    width = 0.931 + 2.53 * jnp.sqrt(mean)
    slope = -0.059 + 0.02483 * width
    scale = 1.1239 + 1.1328 / (width - 3.4)
    squeeze = 0.9277 - 3.6224 / (width - 2.0)

    def attempt(state):
        tries, accepted, result = state
        bits = random_bits(streams, first + tries)
        u = uniform(bits) - 0.5
        v = ((bits & LOWER_HALF).astype(jnp.float64) + 0.5) * 2.0**-32
        edge = 0.5 - jnp.abs(u)
        # u = -1/2 has no image
        edge = jnp.maximum(edge, 2.0**-54)
        k = jnp.floor((2.0 * slope / edge + width) * u + mean + 0.43)
        quickly = (edge >= 0.07) & (v <= squeeze)
        inside = (k >= 0.0) & ((edge >= 0.013) | (v <= edge))
        density = k * jnp.log(mean) - mean - gammaln(jnp.maximum(k, 0.0) + 1.0)
        good = quickly | (inside & (jnp.log(v * scale / (slope / edge**2 + width)) <= density))
        return tries + np.uint32(1), accepted | good, jnp.where(accepted, result, k)

    start = (jnp.zeros((), jnp.uint32), ~wanted, mean)
    return lax.while_loop(lambda state: any_anywhere(~state[1]) & (state[0] < ATTEMPTS), attempt, start)[2]
