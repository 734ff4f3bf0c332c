"""What a measurement says that is known only to lie beyond a limit: the probability of that.

Censored values are neither left out nor put at their limit, which would bias what is estimated (Beal 2001, his method
M3, doi:10.1023/A:1012299115474).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..annotations import AnyArray
from ..distributions import Distribution

# The first argument of a family is its location, but for these.
NOT_LOCATIONS = ("nu", "n")
# Of a censored value's information: enough to be told from none, for scores to have its gradient.
LEAST_SHARE = 1e-9


class Limits(NamedTuple):
    """Outside of which a value is known only to be so, `(rows,)` each; infinite where there are none."""

    lower: Float[AnyArray, " rows"]
    upper: Float[AnyArray, " rows"]

    def censor(self, values) -> Bool[Array, "... rows"]:
        """Which of the values are beyond their limits; NaN is not."""
        return (values < self.lower) | (values > self.upper)


def log_density(noise: Distribution, values, known, limits: Limits | None) -> Float[Array, "... rows"]:
    """Log density of each value, or the log probability that it is beyond the limit that it exceeds.

    Args:
        known: what the noise refers to, broadcasting with the values.
    """
    density = noise.logpdf(values, known)
    if limits is None:
        return density
    # of counts, less than 5 is at most 4
    most = jnp.ceil(limits.lower) - 1 if noise.discrete else limits.lower
    below, above = noise.logcdf(most, known), noise.logsf(limits.upper, known)
    return jnp.where(values < limits.lower, below, jnp.where(values > limits.upper, above, density))


def probabilities(noise: Distribution, values, known, limits: Limits | None) -> Float[Array, "rows 2"]:
    """Probabilities of less than each value and of at most as much; of a censored one those of its possible ends."""
    below, at_most = noise.cdf(jnp.ceil(values) - 1 if noise.discrete else values, known), noise.cdf(values, known)
    if limits is not None:
        least = noise.cdf(jnp.ceil(limits.lower) - 1 if noise.discrete else limits.lower, known)
        most = noise.cdf(limits.upper, known)
        under, over = values < limits.lower, values > limits.upper
        below = jnp.where(under, 0.0, jnp.where(over, most, below))
        at_most = jnp.where(under, least, jnp.where(over, 1.0, at_most))
    return jnp.stack(jnp.broadcast_arrays(below, at_most), axis=-1)


def information(noise: Distribution, values, known, limits: Limits | None) -> Float[Array, "rows k k"]:
    """Expected information of each row on the arguments of its noise; of a censored one the share that it has of it.

    That share, between 0 and 1, is the curvature of the log probability in the location over the information of a
    value: of normal noise, the share of its variance that is gone once a value is known to be censored.
    """
    expected = noise.fisher_information(known)
    if limits is None:
        return expected
    arguments = noise.resolve(known)
    place, name = next((k, each) for k, each in enumerate(arguments) if each not in NOT_LOCATIONS)
    free = type(noise)(**{each: each for each in arguments})

    def surprise(location):
        return -log_density(free, values, {**arguments, name: location}, limits)

    location = jnp.broadcast_to(arguments[name], jnp.shape(values))
    ones = jnp.ones_like(location)
    _, curvature = jax.jvp(lambda at: jax.jvp(surprise, (at,), (ones,))[1], (location,), (ones,))
    share = curvature / expected[:, place, place]
    share = jnp.clip(jnp.where(jnp.isfinite(share), share, 0.0), LEAST_SHARE, 1.0)
    return jnp.where(limits.censor(values), share, 1.0)[:, None, None] * expected
