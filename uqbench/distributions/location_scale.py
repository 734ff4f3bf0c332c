"""Families on all numbers: a shape, moved by a location and stretched by a scale.

A formula is written in z = (x - location) / scale; the two tails mirror each other, so each is computed from its own
side and stays accurate however thin it is.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from .arguments import POSITIVE, REAL
from .base import Distribution
from .matrices import matrix
from .special import incomplete_beta, log_beta, trigamma

# StudentT's information about nu is nu^-4 times this polynomial in 1 / nu, highest power first (from the asymptotic
# series of trigamma).
_STUDENT_TAIL = (59047 / 2, -9763.0, 6559 / 2, -1101.0, 727 / 2, -119.0, 79 / 2, -13.0, 7 / 2)


class Normal(Distribution):
    """Normal(mu, sigma): mean `mu`, standard deviation `sigma`.

    Example:
        >>> Normal(0, "sigma")
        Normal(mu=0, sigma='sigma')
    """

    parametrisations = (("mu", "sigma"),)
    domains: ClassVar = {"mu": REAL, "sigma": POSITIVE}

    @staticmethod
    def _logpdf(x, mu, sigma):
        return -0.5 * ((x - mu) / sigma) ** 2 - jnp.log(sigma) - 0.5 * np.log(2 * np.pi)

    @staticmethod
    def _tails(x, mu, sigma):
        z = (x - mu) / sigma
        return special.ndtr(z), special.ndtr(-z)

    @classmethod
    def _log_tails(cls, x, mu, sigma):
        z = (x - mu) / sigma
        return special.log_ndtr(z), special.log_ndtr(-z)

    @staticmethod
    def _quantile(u, mu, sigma):
        return mu + sigma * special.ndtri(u)

    @staticmethod
    def _mean(mu, sigma):
        return mu

    @staticmethod
    def _variance(mu, sigma):
        return sigma**2

    @staticmethod
    def _information(mu, sigma):
        return matrix([[sigma**-2, 0.0], [0.0, 2 * sigma**-2]])


class Cauchy(Distribution):
    """Cauchy(alpha, beta): median `alpha`, half of the interquartile range `beta`; it has no mean.

    Example:
        >>> float(Cauchy(1, 2).cdf(3.0))
        0.75
    """

    parametrisations = (("alpha", "beta"),)
    domains: ClassVar = {"alpha": REAL, "beta": POSITIVE}

    @staticmethod
    def _logpdf(x, alpha, beta):
        return -jnp.log(np.pi * beta) - jnp.log1p(((x - alpha) / beta) ** 2)

    @staticmethod
    def _tails(x, alpha, beta):
        # The angle to the point seen from one unit away: no cancellation in either tail.
        z = (x - alpha) / beta
        return jnp.arctan2(1.0, -z) / np.pi, jnp.arctan2(1.0, z) / np.pi

    @staticmethod
    def _quantile(u, alpha, beta):
        # The cotangent of the smaller tail, again without cancellation.
        return alpha + beta * jnp.where(u < 0.5, -1.0, 1.0) / jnp.tan(np.pi * jnp.minimum(u, 1 - u))

    @staticmethod
    def _mean(alpha, beta):
        return jnp.full_like(alpha, jnp.nan)

    @staticmethod
    def _variance(alpha, beta):
        return jnp.full_like(alpha, jnp.nan)

    @staticmethod
    def _information(alpha, beta):
        return matrix([[0.5 * beta**-2, 0.0], [0.0, 0.5 * beta**-2]])


class Laplace(Distribution):
    """Laplace(mu, b): median `mu`, mean absolute deviation `b`; noise for which the best fit is that of least absolute
    deviations.

    Fisher information: the density has a corner at `mu`, where the score jumps from -1 / b to 1 / b; its square is 1 /
    b^2 on both sides (Kotz, Kozubowski and Podgorski 2001, doi:10.1007/978-1-4612-0173-1).

    Example:
        >>> float(Laplace("C", 0.5).variance({"C": 3.0}))
        0.5
    """

    parametrisations = (("mu", "b"),)
    domains: ClassVar = {"mu": REAL, "b": POSITIVE}

    @staticmethod
    def _logpdf(x, mu, b):
        return -jnp.abs(x - mu) / b - jnp.log(2 * b)

    @staticmethod
    def _tails(x, mu, b):
        z = (x - mu) / b
        tail = 0.5 * jnp.exp(-jnp.abs(z))
        rest = 0.5 - 0.5 * jnp.expm1(-jnp.abs(z))
        return jnp.where(z < 0, tail, rest), jnp.where(z < 0, rest, tail)

    @classmethod
    def _log_tails(cls, x, mu, b):
        z = (x - mu) / b
        tail, rest = -jnp.abs(z) - np.log(2), jnp.log1p(-0.5 * jnp.exp(-jnp.abs(z)))
        return jnp.where(z < 0, tail, rest), jnp.where(z < 0, rest, tail)

    @staticmethod
    def _quantile(u, mu, b):
        # the logarithm of twice the smaller tail
        return mu + b * jnp.where(u < 0.5, 1.0, -1.0) * jnp.log(2 * jnp.minimum(u, 1 - u))

    @staticmethod
    def _mean(mu, b):
        return mu

    @staticmethod
    def _variance(mu, b):
        return 2 * b**2

    @staticmethod
    def _information(mu, b):
        return matrix([[b**-2, 0.0], [0.0, b**-2]])


class StudentT(Distribution):
    """StudentT(nu, mu, sigma): `nu` degrees of freedom around `mu` with scale `sigma`.

    Fisher information: Lange, Little and Taylor 1989, doi:10.1080/01621459.1989.10478852. That of `nu` itself decays as
    nu^-4 by cancellation between terms of order 1 / nu, so from nu = 60 on its expansion in 1 / nu is used.

    Example:
        >>> float(StudentT(4, 1, 3).variance())
        18.0
    """

    parametrisations = (("nu", "mu", "sigma"),)
    domains: ClassVar = {"nu": POSITIVE, "mu": REAL, "sigma": POSITIVE}
    _decode = staticmethod(jnp.sinh)

    @staticmethod
    def _logpdf(x, nu, mu, sigma):
        z = (x - mu) / sigma
        scale = log_beta(0.5, nu / 2) + 0.5 * jnp.log(nu) + jnp.log(sigma)
        return -(nu + 1) / 2 * jnp.log1p(z**2 / nu) - scale

    @staticmethod
    def _tails(x, nu, mu, sigma):
        # Around the centre half of the beta integral in z^2 / (nu + z^2) is what F differs by from 1/2, and it can be
        # subtracted; further out its complement is the tail. Powers of z below 1e-150 underflow, and the centre is a
        # branch point in z^2, though not of F: the linear term there restores the value and the gradient.
        z = (x - mu) / sigma
        tiny = jnp.abs(z) < 1e-150
        square = jnp.where(tiny, 1.0, z) ** 2
        central, half = square < 4, jnp.full_like(nu, 0.5)
        near, far = jnp.where(central, half, nu / 2), jnp.where(central, nu / 2, half)
        share = jnp.where(central, square, nu) / (nu + square)
        part = 0.5 * incomplete_beta(near, far, share)
        tail = jnp.where(central, 0.5 - part, part)
        slope = jnp.exp(-log_beta(0.5, nu / 2) - 0.5 * jnp.log(nu))
        lower = jnp.where(tiny, 0.5 + z * slope, jnp.where(z < 0, tail, 1 - tail))
        upper = jnp.where(tiny, 0.5 - z * slope, jnp.where(z < 0, 1 - tail, tail))
        return lower, upper

    @staticmethod
    def _guess(u, nu, mu, sigma):
        return jnp.arcsinh(mu + sigma * special.ndtri(u))

    @staticmethod
    def _draw(key, nu, mu, sigma):
        # A normal number over the root of an independent mean square: a Gamma of shape and rate nu / 2.
        for_normal, for_spread = jax.random.split(key)
        log_square = jax.random.loggamma(for_spread, nu / 2) - jnp.log(nu / 2)
        return mu + sigma * jax.random.normal(for_normal, nu.shape, dtype=nu.dtype) * jnp.exp(-0.5 * log_square)

    @staticmethod
    def _mean(nu, mu, sigma):
        return jnp.where(nu > 1, mu, jnp.nan)

    @staticmethod
    def _variance(nu, mu, sigma):
        finite = sigma**2 * nu / jnp.where(nu > 2, nu - 2, 1.0)
        return jnp.where(nu > 2, finite, jnp.where(nu > 1, jnp.inf, jnp.nan))

    @staticmethod
    def _information(nu, mu, sigma):
        few = jnp.minimum(nu, 60.0)
        digammas = trigamma(few / 2) - trigamma((few + 1) / 2)
        exact = digammas / 4 - (few + 5) / (2 * few * (few + 1) * (few + 3))
        many = 1 / jnp.maximum(nu, 60.0)
        expanded = many**4 * jnp.polyval(jnp.array(_STUDENT_TAIL), many)
        shape = jnp.where(nu < 60, exact, expanded)
        cross = -2 / (sigma * (nu + 1) * (nu + 3))
        location, scale = ((nu + 1) / ((nu + 3) * sigma**2), 2 * nu / ((nu + 3) * sigma**2))
        return matrix([[shape, 0.0, cross], [0.0, location, 0.0], [cross, 0.0, scale]])
