"""Families between two bounds, which are arguments (Uniform, LogUniform, TruncatedNormal) or 0 and 1 (Beta).

An argument that moves the support has no Fisher information: its score has no zero mean. Such rows are NaN, not 0, so
that nobody takes "undefined" for "tells nothing".
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy import special

from .arguments import LOWER, LOWER_OR_NONE, POSITIVE, POSITIVE_UPPER, REAL, UPPER, UPPER_OR_NONE
from .base import Distribution
from .matrices import elementwise_jacobian, matrix
from .normal_tails import log_mills_ratio, log_tail_ratio, normal_mass, tail_distance, tail_fraction
from .special import NODES, WEIGHTS, beta_tails, log_beta, trigamma


class Uniform(Distribution):
    """Uniform(lower, upper): constant density between two numbers. Its bounds have no Fisher information (NaN).

    Example:
        >>> float(Uniform(2, 4).variance())
        0.3333333333333333
    """

    parametrisations = (("lower", "upper"),)
    domains: ClassVar = {"lower": LOWER, "upper": UPPER}
    ends = ("lower", "upper")

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
    ends = ("lower", "upper")

    @staticmethod
    def _support(lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, lower, upper):
        return -jnp.log(x) - jnp.log(_log_ratio(lower, upper))

    @staticmethod
    def _tails(x, lower, upper):
        width = _log_ratio(lower, upper)
        return _log_ratio(lower, x) / width, _log_ratio(x, upper) / width

    @staticmethod
    def _quantile(u, lower, upper):
        # Rounding of the exponential may leave the support by a unit in the last place.
        return jnp.clip(lower * jnp.exp(u * _log_ratio(lower, upper)), lower, upper)

    @staticmethod
    def _mean(lower, upper):
        return (upper - lower) / _log_ratio(lower, upper)

    @staticmethod
    def _variance(lower, upper):
        width, mean = _log_ratio(lower, upper), LogUniform._mean(lower, upper)
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


class Correlation(Distribution):
    """Correlation(eta): of two quantities, with a density proportional to (1 - x^2)^(eta - 1) between -1 and 1.

    Uniform for eta = 1, the nearer to zero the larger `eta` is: the prior of Lewandowski, Kurowicka and Joe (2009,
    doi:10.1016/j.jmva.2009.04.008).

    Example:
        >>> float(Correlation(1).cdf(0.5))
        0.75
    """

    parametrisations = (("eta",),)
    domains: ClassVar = {"eta": POSITIVE}
    _includes_bounds = False

    @staticmethod
    def _support(eta):
        return -jnp.ones_like(eta), jnp.ones_like(eta)

    @staticmethod
    def _logpdf(x, eta):
        # (1 - x)(1 + x) / 4 is the product of the two shares
        return (eta - 1) * jnp.log(0.25 * (1 - x) * (1 + x)) - log_beta(eta, eta) - np.log(2)

    @staticmethod
    def _tails(x, eta):
        return beta_tails(eta, eta, (1 + x) / 2, (1 - x) / 2)

    @staticmethod
    def _quantile(u, eta):
        return 2 * Beta._quantile(u, eta, eta) - 1

    @staticmethod
    def _draw(key, eta):
        return 2 * Beta._draw(key, eta, eta) - 1

    @staticmethod
    def _mean(eta):
        return jnp.zeros_like(eta)

    @staticmethod
    def _variance(eta):
        return 1 / (2 * eta + 1)

    @staticmethod
    def _information(eta):
        return matrix([[2 * trigamma(eta) - 4 * trigamma(2 * eta)]])


class TruncatedNormal(Distribution):
    """TruncatedNormal(mu, sigma, lower=-inf, upper=inf): a Normal(mu, sigma) known to lie between two bounds.

    `mu` and `sigma` are those of the Normal before truncation. However far `mu` lies outside the bounds, everything is
    counted from the bound that is nearer to it, relative to the tail of the Normal there. The bounds have no Fisher
    information (NaN); that of `mu` and `sigma`, and the moments, are by quadrature.

    Example:
        >>> TruncatedNormal("mu", 1, lower=0)
        TruncatedNormal(mu='mu', sigma=1, lower=0, upper=inf)
        >>> round(float(TruncatedNormal(50, 1, 3, 4).ppf(0.5)), 6)
        3.984941
    """

    parametrisations = (("mu", "sigma", "lower", "upper"),)
    domains: ClassVar = {"mu": REAL, "sigma": POSITIVE, "lower": LOWER_OR_NONE, "upper": UPPER_OR_NONE}
    ends = ("lower", "upper")
    defaults: ClassVar = {"lower": -np.inf, "upper": np.inf}

    @staticmethod
    def _support(mu, sigma, lower, upper):
        return lower, upper

    @staticmethod
    def _logpdf(x, mu, sigma, lower, upper):
        around, beside = _AroundMode.of(mu, sigma, lower, upper), _BesideMode.of(mu, sigma, lower, upper)
        inside = -0.5 * ((x - mu) / sigma) ** 2 - 0.5 * np.log(2 * np.pi) - jnp.log(around.mass)
        return jnp.where(around.holds, inside, beside.log_density(beside.distance(x, sigma))) - jnp.log(sigma)

    @staticmethod
    def _tails(x, mu, sigma, lower, upper):
        around, beside = _AroundMode.of(mu, sigma, lower, upper), _BesideMode.of(mu, sigma, lower, upper)
        z = jnp.where(around.holds, (x - mu) / sigma, 0.0)
        below, above = normal_mass(around.a, z), normal_mass(z, around.b)
        near, far = beside.tails(beside.distance(x, sigma))
        return (
            jnp.where(around.holds, below / around.mass, jnp.where(beside.right, near, far)),
            jnp.where(around.holds, above / around.mass, jnp.where(beside.right, far, near)),
        )

    @staticmethod
    def _quantile(u, mu, sigma, lower, upper):
        around, beside = _AroundMode.of(mu, sigma, lower, upper), _BesideMode.of(mu, sigma, lower, upper)
        distance = sigma * beside.quantile(jnp.where(beside.right, u, 1 - u), jnp.where(beside.right, 1 - u, u))
        outside = jnp.where(beside.right, beside.bound + distance, beside.bound - distance)
        return jnp.clip(jnp.where(around.holds, mu + sigma * around.quantile(u), outside), lower, upper)

    @staticmethod
    def _mean(mu, sigma, lower, upper):
        return _truncated_moments(mu, sigma, lower, upper)[0]

    @staticmethod
    def _variance(mu, sigma, lower, upper):
        return _truncated_moments(mu, sigma, lower, upper)[1]

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


def _log_ratio(smaller: Array, larger: Array) -> Array:
    """log(larger / smaller), to its own relative accuracy where the two are close."""
    return jnp.log1p((larger - smaller) / smaller)


# Standard deviations beyond which a bound makes no difference: to a Normal, and to the tail of one.
FAR, ENDLESS = 40.0, 1e9
# A Gauss-Legendre rule that holds where the density of a Normal is not negligible, from 9 deviations to 9.
MOMENT_NODES, MOMENT_WEIGHTS = np.polynomial.legendre.leggauss(64)


class _AroundMode(NamedTuple):
    """A standard normal between bounds a <= 0 <= b; harmless numbers where the bounds are others."""

    holds: Array
    a: Array
    b: Array
    mass: Array

    @classmethod
    def of(cls, mu: Array, sigma: Array, lower: Array, upper: Array) -> "_AroundMode":
        holds = (lower <= mu) & (mu <= upper)

        def standard(bound, nowhere):
            known = holds & jnp.isfinite(bound)
            return jnp.clip(jnp.where(known, (jnp.where(known, bound, 0.0) - mu) / sigma, nowhere), -FAR, FAR)

        a, b = standard(lower, -FAR), standard(upper, FAR)
        return cls(holds, a, b, normal_mass(a, b))

    def quantile(self, u: Array) -> Array:
        # Near the mode by the error function, which is small there; else invert the thinner of the two tails.
        central = (1 - u) * special.erf(self.a / np.sqrt(2)) + u * special.erf(self.b / np.sqrt(2))
        near = jnp.abs(central) < 0.5
        middle = np.sqrt(2) * special.erfinv(jnp.where(near, central, 0.0))
        below = (1 - u) * special.ndtr(self.a) + u * special.ndtr(self.b)
        above = (1 - u) * special.ndtr(-self.a) + u * special.ndtr(-self.b)
        tail = special.ndtri(jnp.where(near, 0.25, jnp.minimum(below, above)))
        return jnp.where(near, middle, jnp.where(below < above, tail, -tail))


class _BesideMode(NamedTuple):
    """A standard normal between two bounds on one side of 0, counted outwards from the nearer one, `start` > 0.

    Harmless numbers where the bounds are on both sides.
    """

    right: Array  # whether the bounds lie to the right of the mode
    bound: Array  # the nearer one, in natural units
    start: Array
    width: Array

    @classmethod
    def of(cls, mu: Array, sigma: Array, lower: Array, upper: Array) -> "_BesideMode":
        right, left = lower > mu, upper < mu
        bound = jnp.where(right, lower, jnp.where(left, upper, mu))
        endless = ~(jnp.isfinite(lower) & jnp.isfinite(upper)) | ~(right | left)
        width = (jnp.where(endless, 0.0, upper) - jnp.where(endless, 0.0, lower)) / sigma
        start = jnp.where(right, bound - mu, mu - bound) / sigma
        return cls(right, bound, start, jnp.where(endless, ENDLESS, width))

    def distance(self, x: Array, sigma: Array) -> Array:
        """How far `x` lies beyond the nearer bound, in standard deviations; 0 where the mode is between the bounds."""
        return jnp.where(self.start > 0, jnp.where(self.right, x - self.bound, self.bound - x) / sigma, 0.0)

    def log_density(self, s: Array) -> Array:
        mass = jnp.log(tail_fraction(self.start, self.width))
        return -0.5 * s * (2 * self.start + s) - log_mills_ratio(self.start) - mass

    def tails(self, s: Array) -> tuple[Array, Array]:
        """The probability of being nearer to the mode than `s` beyond the bound, and that of being further away."""
        mass, rest = tail_fraction(self.start, self.width), jnp.maximum(self.width - s, 0.0)
        beyond = jnp.exp(log_tail_ratio(self.start, s)) * tail_fraction(self.start + s, rest)
        return tail_fraction(self.start, s) / mass, beyond / mass

    def quantile(self, nearer: Array, further: Array) -> Array:
        """The distance beyond the bound, by the probabilities of smaller and of larger ones."""
        mass = tail_fraction(self.start, self.width)
        by_nearer = jnp.log1p(-jnp.minimum(nearer, 0.5) * mass)
        by_further = jnp.logaddexp(log_tail_ratio(self.start, self.width), jnp.log(further) + jnp.log(mass))
        return tail_distance(-jnp.where(nearer < 0.5, by_nearer, by_further), self.start)


def _truncated_moments(mu: Array, sigma: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """Mean and variance, by Gauss-Legendre quadrature about the point of the support where the density is largest.

    The closed forms (Johnson, Kotz and Balakrishnan 1994, ch. 13) are differences of nearly equal numbers where the
    bounds are close or far out.
    """
    mode = jnp.clip(mu, lower, upper)
    outwards = jnp.abs(mode - mu) / sigma
    # exp(-45) of the density at the mode is below rounding
    reach = 90 / (outwards + jnp.sqrt(outwards**2 + 90))
    first, last = (
        jnp.clip(jnp.where(jnp.isinf(bound), jnp.sign(bound) * FAR, (bound - mode) / sigma), -reach, reach)
        for bound in (lower, upper)
    )
    half = ((last - first) / 2)[..., None]
    z = (first + (last - first) / 2)[..., None] + half * jnp.asarray(MOMENT_NODES)
    offset = ((mode - mu) / sigma)[..., None]
    density = jnp.asarray(MOMENT_WEIGHTS) * jnp.exp(-0.5 * z * (2 * offset + z))
    mass = density.sum(axis=-1)
    mean = (density * z).sum(axis=-1) / mass
    return mode + sigma * mean, sigma**2 * (density * (z - mean[..., None]) ** 2).sum(axis=-1) / mass
