"""Families of counts: events, events whose rate itself varies, successes among trials.

The distribution function of a count is an incomplete gamma or beta function of the continuous argument, which makes it
differentiable there. A rate or a probability of exactly zero is possible: then only the count zero is.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from .arguments import COUNT, NON_NEGATIVE, POSITIVE, PROBABILITY
from .base import Distribution
from .matrices import matrix
from .positive import Gamma
from .special import NODES, WEIGHTS, beta_tails, log_beta, times_log


class Poisson(Distribution):
    """Poisson(mu): a count of independent events, `mu` expected; `mu` = 0 allows nothing but zero.

    Example:
        >>> float(Poisson(3).ppf(0.5))
        3.0
    """

    discrete = True
    parametrisations = (("mu",),)
    domains: ClassVar = {"mu": NON_NEGATIVE}

    @staticmethod
    def _support(mu):
        return jnp.zeros_like(mu), jnp.where(mu > 0, jnp.inf, 0.0)

    @staticmethod
    def _logpdf(x, mu):
        return times_log(x, mu) - mu - special.gammaln(x + 1)

    @staticmethod
    def _tails(x, mu):
        some = jnp.where(mu > 0, mu, 1.0)
        return special.gammaincc(x + 1, some), special.gammainc(x + 1, some)

    @staticmethod
    def _draw(key, mu):
        return jax.random.poisson(key, mu).astype(mu.dtype)

    @staticmethod
    def _mean(mu):
        return mu

    @staticmethod
    def _variance(mu):
        return mu

    @staticmethod
    def _information(mu):
        return matrix([[1 / mu]])


class NegativeBinomial(Distribution):
    """NegativeBinomial(mu, alpha): a count with mean `mu` and variance mu + mu^2 / alpha; Poisson for a large `alpha`.

    Fisher information: `mu` and `alpha` are orthogonal; that of `alpha` is trigamma(alpha) - E[trigamma(alpha + K)]
    - mu / (alpha (alpha + mu)) (Lawless 1987, doi:10.2307/3314912). Written with the integral of trigamma, the
    expectation is the generating function of the counts, so one quadrature replaces a sum over all of them.

    Example:
        >>> float(NegativeBinomial(10, 5).variance())
        30.0
    """

    discrete = True
    parametrisations = (("mu", "alpha"),)
    domains: ClassVar = {"mu": NON_NEGATIVE, "alpha": POSITIVE}

    @staticmethod
    def _support(mu, alpha):
        return Poisson._support(mu)

    @staticmethod
    def _logpdf(x, mu, alpha):
        ways = -log_beta(alpha, x + 1) - jnp.log(alpha + x)
        return ways - alpha * jnp.log1p(mu / alpha) + times_log(x, mu / (alpha + mu))

    @staticmethod
    def _tails(x, mu, alpha):
        some = jnp.where(mu > 0, mu, 1.0)
        return beta_tails(alpha, x + 1, alpha / (alpha + some), some / (alpha + some))

    @staticmethod
    def _draw(key, mu, alpha):
        # A Poisson whose rate is itself a Gamma of mean mu and shape alpha.
        for_rate, for_count = jax.random.split(key)
        return Poisson._draw(for_count, Gamma._draw(for_rate, alpha, alpha) * mu)

    @staticmethod
    def _mean(mu, alpha):
        return mu

    @staticmethod
    def _variance(mu, alpha):
        return mu + mu**2 / alpha

    @staticmethod
    def _information(mu, alpha):
        # trigamma(a) = integral over t > 0 of t e^(-a t) / (1 - e^-t), here with t = v / alpha, v = -log(node).
        v = jnp.asarray(-np.log(NODES))
        t = v / alpha[..., None]
        missing = -jnp.expm1(-t)
        none = -jnp.expm1(-alpha[..., None] * jnp.log1p(mu[..., None] / alpha[..., None] * missing))
        kernel = jnp.where(t > 0, t / jnp.where(t > 0, missing, 1.0), 1.0)
        integral = jnp.sum(jnp.asarray(WEIGHTS) * kernel * none, axis=-1) / alpha
        return matrix([[1 / (mu + mu**2 / alpha), 0.0], [0.0, integral - mu / (alpha * (alpha + mu))]])


class Binomial(Distribution):
    """Binomial(n, p): successes in `n` trials of probability `p`. `n` is known: its Fisher information is zero.

    Example:
        >>> float(Binomial(10, 0.2).mean())
        2.0
    """

    discrete = True
    parametrisations = (("n", "p"),)
    domains: ClassVar = {"n": COUNT, "p": PROBABILITY}
    ends = ("n",)

    @staticmethod
    def _support(n, p):
        return jnp.where(p == 1, n, 0.0), jnp.where(p == 0, 0.0, n)

    @staticmethod
    def _logpdf(x, n, p):
        ways = -jnp.log1p(n) - log_beta(n - x + 1, x + 1)
        return ways + times_log(x, p) + times_log(n - x, 1 - p)

    @staticmethod
    def _tails(x, n, p):
        # At least one failure is left wherever the caller uses the result.
        some, failures = jnp.where((p > 0) & (p < 1), p, 0.5), jnp.maximum(n - x, 1.0)
        return beta_tails(failures, x + 1, 1 - some, some)

    @staticmethod
    def _draw(key, n, p):
        return jax.random.binomial(key, n, p)

    @staticmethod
    def _mean(n, p):
        return n * p

    @staticmethod
    def _variance(n, p):
        return n * p * (1 - p)

    @staticmethod
    def _information(n, p):
        return matrix([[0.0, 0.0], [0.0, n / (p * (1 - p))]])
