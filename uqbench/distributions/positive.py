"""Families on the positive numbers: scales, rates, waiting times, concentrations.

Relative size is what counts for such quantities, so tails are kept accurate down to the smallest numbers, and a
numerical quantile works with the logarithm. A density that is zero or infinite at zero excludes that bound.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from .arguments import POSITIVE, REAL
from .base import Distribution
from .location_scale import Normal
from .matrices import matrix
from .special import trigamma


class HalfLine(Distribution):
    """A family on the positive numbers."""

    @staticmethod
    def _support(*primary):
        return jnp.zeros_like(primary[0]), jnp.full_like(primary[0], jnp.inf)


class LogNormal(HalfLine):
    """LogNormal(mu, sigma): the logarithm is Normal(mu, sigma). LogNormal(median=, sigma=): `mu` is log(median).

    With `median` the name of an output this is multiplicative noise around it.

    Example:
        >>> LogNormal(median="C", sigma="sigma")
        LogNormal(median='C', sigma='sigma')
    """

    parametrisations = (("mu", "sigma"), ("median", "sigma"))
    domains: ClassVar = {"mu": REAL, "median": POSITIVE, "sigma": POSITIVE}
    _includes_bounds = False

    @staticmethod
    def _to_primary(arguments):
        mu = jnp.log(arguments["median"]) if "median" in arguments else arguments["mu"]
        return mu, arguments["sigma"]

    @staticmethod
    def _logpdf(x, mu, sigma):
        return Normal._logpdf(jnp.log(x), mu, sigma) - jnp.log(x)

    @staticmethod
    def _tails(x, mu, sigma):
        return Normal._tails(jnp.log(x), mu, sigma)

    @classmethod
    def _log_tails(cls, x, mu, sigma):
        return Normal._log_tails(jnp.log(x), mu, sigma)

    @staticmethod
    def _quantile(u, mu, sigma):
        return jnp.exp(mu + sigma * special.ndtri(u))

    @staticmethod
    def _mean(mu, sigma):
        return jnp.exp(mu + sigma**2 / 2)

    @staticmethod
    def _variance(mu, sigma):
        return jnp.expm1(sigma**2) * jnp.exp(2 * mu + sigma**2)

    @staticmethod
    def _information(mu, sigma):
        return Normal._information(mu, sigma)


class HalfNormal(HalfLine):
    """HalfNormal(sigma): the absolute value of a Normal(0, sigma).

    Example:
        >>> round(float(HalfNormal(1).mean()), 6)
        0.797885
    """

    parametrisations = (("sigma",),)
    domains: ClassVar = {"sigma": POSITIVE}

    @staticmethod
    def _logpdf(x, sigma):
        return 0.5 * np.log(2 / np.pi) - jnp.log(sigma) - 0.5 * (x / sigma) ** 2

    @staticmethod
    def _tails(x, sigma):
        z = x / (sigma * np.sqrt(2))
        return special.erf(z), special.erfc(z)

    @classmethod
    def _log_tails(cls, x, sigma):
        return jnp.log(special.erf(x / (sigma * np.sqrt(2)))), np.log(2) + special.log_ndtr(-x / sigma)

    @staticmethod
    def _quantile(u, sigma):
        return sigma * np.sqrt(2) * special.erfinv(u)

    @staticmethod
    def _mean(sigma):
        return sigma * np.sqrt(2 / np.pi)

    @staticmethod
    def _variance(sigma):
        return sigma**2 * (1 - 2 / np.pi)

    @staticmethod
    def _information(sigma):
        return matrix([[2 * sigma**-2]])


class HalfCauchy(HalfLine):
    """HalfCauchy(beta): the absolute value of a Cauchy(0, beta), so `beta` is the median; its mean is infinite.

    Example:
        >>> round(float(HalfCauchy(3).ppf(0.5)), 12)
        3.0
    """

    parametrisations = (("beta",),)
    domains: ClassVar = {"beta": POSITIVE}

    @staticmethod
    def _logpdf(x, beta):
        return jnp.log(2 / (np.pi * beta)) - jnp.log1p((x / beta) ** 2)

    @staticmethod
    def _tails(x, beta):
        return 2 / np.pi * jnp.arctan2(x, beta), 2 / np.pi * jnp.arctan2(beta, x)

    @staticmethod
    def _quantile(u, beta):
        # the tangent of a small angle, or the cotangent of its complement: no cancellation in either tail
        angle = np.pi / 2 * jnp.minimum(u, 1 - u)
        return beta * jnp.where(u < 0.5, jnp.tan(angle), 1 / jnp.tan(angle))

    @staticmethod
    def _mean(beta):
        return jnp.full_like(beta, jnp.inf)

    @staticmethod
    def _variance(beta):
        return jnp.full_like(beta, jnp.inf)

    @staticmethod
    def _information(beta):
        return matrix([[0.5 * beta**-2]])


class Exponential(HalfLine):
    """Exponential(lam): waiting time of a rate `lam`, so the mean is 1 / lam.

    Example:
        >>> float(Exponential(4).mean())
        0.25
    """

    parametrisations = (("lam",),)
    domains: ClassVar = {"lam": POSITIVE}

    @staticmethod
    def _logpdf(x, lam):
        return jnp.log(lam) - lam * x

    @staticmethod
    def _tails(x, lam):
        return -jnp.expm1(-lam * x), jnp.exp(-lam * x)

    @classmethod
    def _log_tails(cls, x, lam):
        return jnp.log(-jnp.expm1(-lam * x)), -lam * x

    @staticmethod
    def _quantile(u, lam):
        return -jnp.log1p(-u) / lam

    @staticmethod
    def _mean(lam):
        return 1 / lam

    @staticmethod
    def _variance(lam):
        return lam**-2

    @staticmethod
    def _information(lam):
        return matrix([[lam**-2]])


class Gamma(HalfLine):
    """Gamma(alpha, beta): shape `alpha`, rate `beta`. Gamma(mu=, sigma=): by mean and standard deviation.

    Example:
        >>> [round(float(value), 12) for value in Gamma(mu=2, sigma=1).canonical().values()]
        [4.0, 2.0]
    """

    parametrisations = (("alpha", "beta"), ("mu", "sigma"))
    domains: ClassVar = {"alpha": POSITIVE, "beta": POSITIVE, "mu": POSITIVE, "sigma": POSITIVE}
    _includes_bounds = False

    @staticmethod
    def _to_primary(arguments):
        if "alpha" in arguments:
            return arguments["alpha"], arguments["beta"]
        mu, sigma = arguments["mu"], arguments["sigma"]
        return (mu / sigma) ** 2, mu / sigma**2

    @staticmethod
    def _logpdf(x, alpha, beta):
        return alpha * jnp.log(beta) + (alpha - 1) * jnp.log(x) - beta * x - special.gammaln(alpha)

    @staticmethod
    def _tails(x, alpha, beta):
        return special.gammainc(alpha, beta * x), special.gammaincc(alpha, beta * x)

    # Coordinate, and a first guess there, for the numerical quantile.
    _decode = staticmethod(jnp.exp)

    @staticmethod
    def _guess(u, alpha, beta):
        # A small shape has nearly F = (beta x)^alpha / Gamma(1 + alpha); a large one is nearly normal in the cube root
        # (Wilson and Hilferty 1931, doi:10.1073/pnas.17.12.684).
        root = 1 - 1 / (9 * alpha) + special.ndtri(u) / (3 * jnp.sqrt(alpha))
        power = (jnp.log(u) + special.gammaln(1 + alpha)) / alpha
        cube = jnp.log(alpha) + 3 * jnp.log(jnp.maximum(root, 1e-3))
        return jnp.where(root > 0.1, cube, power) - jnp.log(beta)

    @staticmethod
    def _draw(key, alpha, beta):
        return jnp.exp(jax.random.loggamma(key, alpha) - jnp.log(beta))

    @staticmethod
    def _mean(alpha, beta):
        return alpha / beta

    @staticmethod
    def _variance(alpha, beta):
        return alpha / beta**2

    @staticmethod
    def _information(alpha, beta):
        return matrix([[trigamma(alpha), -1 / beta], [-1 / beta, alpha / beta**2]])
