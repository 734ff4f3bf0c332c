"""Families between two bounds, which are arguments (Uniform, LogUniform, TruncatedNormal) or 0 and 1 (Beta).

An argument that moves the support has no Fisher information: its score has no zero mean. Such rows are NaN, not 0, so
that nobody takes "undefined" for "tells nothing".
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy import special

from .arguments import LOWER, LOWER_OR_NONE, POSITIVE, POSITIVE_UPPER, REAL, UPPER, UPPER_OR_NONE
from .base import Distribution
from .location_scale import Normal
from .matrices import elementwise_jacobian, matrix
from .special import NODES, WEIGHTS, beta_tails, log_beta, trigamma


class Uniform(Distribution):
    """Uniform(lower, upper): constant density between two numbers. Its bounds have no Fisher information (NaN).

    Example:
        >>> float(Uniform(2, 4).variance())
        0.3333333333333333
    """

    parametrisations = (("lower", "upper"),)
    domains: ClassVar = {"lower": LOWER, "upper": UPPER}

    @staticmethod
    def _support(lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, lower, upper):
        return -jnp.log(upper - lower)

    @staticmethod
    def _tails(x, lower, upper):
        return (x - lower) / (upper - lower), (upper - x) / (upper - lower)

    @staticmethod
    def _quantile(u, lower, upper):
        return lower + u * (upper - lower)

    @staticmethod
    def _mean(lower, upper):
        return (lower + upper) / 2

    @staticmethod
    def _variance(lower, upper):
        return (upper - lower) ** 2 / 12

    @staticmethod
    def _information(lower, upper):
        return matrix([[jnp.full_like(lower, jnp.nan)] * 2] * 2)


class LogUniform(Distribution):
    """LogUniform(lower, upper): the logarithm is uniform. Its bounds have no Fisher information (NaN).

    Example:
        >>> round(float(LogUniform(1, 100).ppf(0.5)), 12)
        10.0
    """

    parametrisations = (("lower", "upper"),)
    domains: ClassVar = {"lower": POSITIVE, "upper": POSITIVE_UPPER}

    @staticmethod
    def _support(lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, lower, upper):
        return -jnp.log(x) - jnp.log(jnp.log(upper / lower))

    @staticmethod
    def _tails(x, lower, upper):
        width = jnp.log(upper / lower)
        return jnp.log(x / lower) / width, jnp.log(upper / x) / width

    @staticmethod
    def _quantile(u, lower, upper):
        # Rounding of the exponential may leave the support by a unit in the last place.
        return jnp.clip(lower * jnp.exp(u * jnp.log(upper / lower)), lower, upper)

    @staticmethod
    def _mean(lower, upper):
        return (upper - lower) / jnp.log(upper / lower)

    @staticmethod
    def _variance(lower, upper):
        width, mean = jnp.log(upper / lower), LogUniform._mean(lower, upper)
        return (upper - lower) * (upper + lower) / (2 * width) - mean**2

    @staticmethod
    def _information(lower, upper):
        return Uniform._information(lower, upper)


class Beta(Distribution):
    """Beta(alpha, beta): a proportion, with mean alpha / (alpha + beta).

    Example:
        >>> float(Beta(1, 3).mean())
        0.25
    """

    parametrisations = (("alpha", "beta"),)
    domains: ClassVar = {"alpha": POSITIVE, "beta": POSITIVE}
    _includes_bounds = False
    _decode = staticmethod(special.expit)

    @staticmethod
    def _support(alpha, beta):
        return jnp.zeros_like(alpha), jnp.ones_like(alpha)

    @staticmethod
    def _logpdf(x, alpha, beta):
        return (alpha - 1) * jnp.log(x) + (beta - 1) * jnp.log1p(-x) - log_beta(alpha, beta)

    @staticmethod
    def _tails(x, alpha, beta):
        return beta_tails(alpha, beta, x, 1 - x)

    @staticmethod
    def _guess(u, alpha, beta):
        return jnp.log(alpha / beta)

    @staticmethod
    def _draw(key, alpha, beta):
        # The share of one of two Gammas; their logarithms keep tiny shapes from underflowing to 0 / 0.
        for_one, for_other = jax.random.split(key)
        return special.expit(jax.random.loggamma(for_one, alpha) - jax.random.loggamma(for_other, beta))

    @staticmethod
    def _mean(alpha, beta):
        return alpha / (alpha + beta)

    @staticmethod
    def _variance(alpha, beta):
        total = alpha + beta
        return alpha / total * beta / total / (total + 1)

    @staticmethod
    def _information(alpha, beta):
        shared = -trigamma(alpha + beta)
        return matrix([[trigamma(alpha) + shared, shared], [shared, trigamma(beta) + shared]])


class TruncatedNormal(Distribution):
    """TruncatedNormal(mu, sigma, lower=-inf, upper=inf): a Normal(mu, sigma) known to lie between two bounds.

    `mu` and `sigma` are those of the Normal before truncation. The quantile is in closed form and holds while a bound
    lies within 37 sigma of `mu`. The bounds have no Fisher information (NaN); that of `mu` and `sigma` is by
    quadrature.

    Example:
        >>> TruncatedNormal("mu", 1, lower=0)
        TruncatedNormal(mu='mu', sigma=1, lower=0, upper=inf)
    """

    parametrisations = (("mu", "sigma", "lower", "upper"),)
    domains: ClassVar = {"mu": REAL, "sigma": POSITIVE, "lower": LOWER_OR_NONE, "upper": UPPER_OR_NONE}
    defaults: ClassVar = {"lower": -np.inf, "upper": np.inf}

    @staticmethod
    def _support(mu, sigma, lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, mu, sigma, lower, upper):
        return Normal._logpdf(x, mu, sigma) - _log_normal_mass(*_standard_bounds(mu, sigma, lower, upper))

    @staticmethod
    def _tails(x, mu, sigma, lower, upper):
        z, (a, b) = (x - mu) / sigma, _standard_bounds(mu, sigma, lower, upper)
        mass = _log_normal_mass(a, b)
        return jnp.exp(_log_normal_mass(a, z) - mass), jnp.exp(_log_normal_mass(z, b) - mass)

    @staticmethod
    def _quantile(u, mu, sigma, lower, upper):
        # Interpolate the probabilities of the bounds in both tails, and invert the smaller of the two.
        a, b = (jnp.clip(bound, -39, 39) for bound in _standard_bounds(mu, sigma, lower, upper))
        below = (1 - u) * special.ndtr(a) + u * special.ndtr(b)
        above = (1 - u) * special.ndtr(-a) + u * special.ndtr(-b)
        tail = special.ndtri(jnp.minimum(below, above))
        return jnp.clip(mu + sigma * jnp.where(below < above, tail, -tail), lower, upper)

    @staticmethod
    def _mean(mu, sigma, lower, upper):
        return mu + sigma * _truncated_moments(mu, sigma, lower, upper)[0]

    @staticmethod
    def _variance(mu, sigma, lower, upper):
        first, second = _truncated_moments(mu, sigma, lower, upper)
        return sigma**2 * (second - first**2)

    @staticmethod
    def _information(mu, sigma, lower, upper):
        u = jnp.asarray(NODES[(NODES > 1e-16) & (NODES < 1 - 1e-16)])
        weights = jnp.asarray(WEIGHTS[(NODES > 1e-16) & (NODES < 1 - 1e-16)])
        inner = tuple(jnp.broadcast_to(value[..., None], (*value.shape, u.size)) for value in (mu, sigma, lower, upper))
        x = TruncatedNormal._quantile(u, *inner)

        def log_density(free):
            return (TruncatedNormal._logpdf(x, free["mu"], free["sigma"], inner[2], inner[3]),)

        score = elementwise_jacobian(log_density, {"mu": inner[0], "sigma": inner[1]})[0]
        block = jnp.einsum("...qi,...qj,q->...ij", score, score, weights)
        information = jnp.full((*mu.shape, 4, 4), jnp.nan)
        return information.at[..., :2, :2].set(block)


def _standard_bounds(mu: Array, sigma: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Bounds in units of sigma from mu, with an infinite one put so far out that nothing is left beyond it."""

    def standard(bound):
        infinite = jnp.isinf(bound)
        distance = (jnp.where(infinite, 0.0, bound) - mu) / sigma
        return jnp.clip(jnp.where(infinite, jnp.sign(bound) * 1e8, distance), -1e8, 1e8)

    return standard(lower), standard(upper)


def _log_normal_mass(a: Array, b: Array) -> Array:
    """Log-probability that a standard normal lies between a < b, in whichever tail is thinner."""
    right = a + b > 0
    low, high = jnp.where(right, -b, a), jnp.where(right, -a, b)
    log_high = special.log_ndtr(high, series_order=10)
    return log_high + jnp.log1p(-jnp.exp(special.log_ndtr(low, series_order=10) - log_high))


def _truncated_moments(mu: Array, sigma: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """First and second moment of a standard normal between bounds (Johnson, Kotz and Balakrishnan 1994, ch. 13)."""
    a, b = _standard_bounds(mu, sigma, lower, upper)
    mass = _log_normal_mass(a, b)
    at_a, at_b = (jnp.exp(Normal._logpdf(bound, 0.0, 1.0) - mass) for bound in (a, b))
    return at_a - at_b, 1 + a * at_a - b * at_b
