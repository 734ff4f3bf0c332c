"""Tails of the standard normal however far out, each relative to the tail from its own start.

With Q(z) the probability of more than z, everything here is Q(start + s) / Q(start) for start >= 0. By Mills' ratio
M(z) = Q(z) / phi(z) its logarithm is -s (2 start + s) / 2 + log M(start + s) - log M(start), where nothing large
cancels; and where s is short, 1 minus the ratio is an integral over the short stretch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy import special

# From here on M(z) is its asymptotic series, z M(z) = sum of (-1)^k (2k - 1)!! / z^2k (Abramowitz and Stegun 1964,
# 26.2.12); the first term left out is below rounding. Highest k first.
ASYMPTOTIC = 12.0
SERIES = (*(float((-1) ** k * np.prod(np.arange(1.0, 2 * k, 2))) for k in range(15, 0, -1)), 0.0)
# Up to this probability a stretch is integrated, by a Gauss-Legendre rule that is then exact to rounding.
SHORT = 0.5
STRETCH_NODES, STRETCH_WEIGHTS = np.polynomial.legendre.leggauss(8)
NEWTON_STEPS = 8


def log_mills_ratio(z: Array) -> Array:
    """Logarithm of Q(z) / phi(z) for z >= 0."""
    near, far = jnp.minimum(z, ASYMPTOTIC), jnp.maximum(z, ASYMPTOTIC)
    direct = jnp.log(special.erfc(near / np.sqrt(2))) + near**2 / 2 + 0.5 * np.log(np.pi / 2)
    series = jnp.log1p(jnp.polyval(jnp.array(SERIES), far**-2)) - jnp.log(far)
    return jnp.where(z < ASYMPTOTIC, direct, series)


def _short(start: Array, s: Array) -> Array:
    return s * (start + s) < SHORT


def _short_fraction(start: Array, s: Array) -> Array:
    """`tail_fraction` of a short stretch, the integral over it."""
    nodes = s[..., None] * (1 + jnp.asarray(STRETCH_NODES)) / 2
    integrand = jnp.exp(-nodes * (start[..., None] + nodes / 2))
    integral = jnp.sum(jnp.asarray(STRETCH_WEIGHTS) * integrand, axis=-1) * s / 2
    return integral * jnp.exp(-log_mills_ratio(start))


def _long_log_ratio(start: Array, s: Array) -> Array:
    return -0.5 * s * (2 * start + s) + log_mills_ratio(start + s) - log_mills_ratio(start)


def log_tail_ratio(start: Array, s: Array) -> Array:
    """Logarithm of Q(start + s) / Q(start) for start, s >= 0."""
    short = _short(start, s)
    few = jnp.log1p(-_short_fraction(start, jnp.where(short, s, 0.0)))
    return jnp.where(short, few, _long_log_ratio(start, jnp.where(short, 1.0, s)))


def tail_fraction(start: Array, s: Array) -> Array:
    """1 - Q(start + s) / Q(start) for start, s >= 0."""
    short = _short(start, s)
    few = _short_fraction(start, jnp.where(short, s, 0.0))
    return jnp.where(short, few, -jnp.expm1(_long_log_ratio(start, jnp.where(short, 1.0, s))))


def normal_mass(p: Array, q: Array) -> Array:
    """Probability that a standard normal lies between p <= q, to its own relative accuracy."""
    right = p + q > 0
    low, high = jnp.where(right, p, -q), jnp.where(right, q, -p)
    across = (special.erf(high / np.sqrt(2)) - special.erf(low / np.sqrt(2))) / 2
    start = jnp.maximum(low, 0.0)
    width = jnp.where(low >= 0, high - low, 1.0)
    return jnp.where(low >= 0, special.ndtr(-start) * tail_fraction(start, width), across)


@jax.custom_jvp
def tail_distance(depth: Array, start: Array) -> Array:
    """The s >= 0 with log Q(start + s) - log Q(start) = -depth, for start, depth >= 0.

    Newton's method on the cumulative hazard, which is convex. The hazard 1 / M grows by less than s over s, so the
    first guess is below the root, and every step from the second on comes from above it.
    """
    hazard = jnp.exp(-log_mills_ratio(start))
    s = 2 * depth / (hazard + jnp.sqrt(hazard**2 + 2 * depth))
    for _ in range(NEWTON_STEPS):
        s = jnp.maximum(s - (-log_tail_ratio(start, s) - depth) * jnp.exp(log_mills_ratio(start + s)), 0.0)
    return s


@tail_distance.defjvp
def _tail_distance_jvp(primals, tangents):
    depth, start = primals
    s = tail_distance(depth, start)
    # the hazards at both ends are the derivatives of the depth
    mills = jnp.exp(log_mills_ratio(start + s))
    return s, tangents[0] * mills - tangents[1] * -jnp.expm1(jnp.log(mills) - log_mills_ratio(start))
