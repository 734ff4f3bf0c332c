"""Averages over correlated samples of several chains, with their standard error.

The integrated autocorrelation time is that of Geyer's initial monotone sequence (1992, doi:10.1214/ss/1177011137) with
the variance between chains in it (Vehtari et al. 2021, doi:10.1214/20-BA1221): chains that stay in wells of their own
have few effective samples, however many draws.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray

# With fewer effective samples a standard error is no more than a guess.
LEAST_EFFECTIVE = 30.0


class Average(NamedTuple):
    """A mean, its standard error (NaN: not resolved) and the number of independent samples that it is worth."""

    value: Float[Array, ""]
    error: Float[Array, ""]
    effective: Float[Array, ""]


def mean_with_error(series: Float[AnyArray, "chains draws"]) -> Average:
    """Mean of a quantity along chains.

    Args:
        series: at least two chains of at least four draws.

    Returns:
        value, standard error, effective number; the error is NaN where fewer than 30 are effective.

    Example:
        >>> average = mean_with_error(jax.random.normal(jax.random.key(0), (4, 1000)))
        >>> bool(abs(average.value) < 4 * average.error)
        True
    """
    series = jnp.asarray(series, float)
    effective, variance = _effective(series)
    resolved = effective >= LEAST_EFFECTIVE
    return Average(jnp.mean(series), jnp.where(resolved, jnp.sqrt(variance / effective), jnp.nan), effective)


def mean_covariance(series: Float[AnyArray, "chains draws terms"]) -> Float[Array, "terms terms"]:
    """Covariance of the means of several quantities along the same chains; NaN where one of them is not resolved.

    That of independent samples, with the autocorrelation time of each quantity (the geometric mean of two).
    """
    series = jnp.asarray(series, float)
    errors = jax.vmap(mean_with_error, in_axes=2)(series).error
    flat = series.reshape(-1, series.shape[-1])
    covariance = jnp.atleast_2d(jnp.cov(flat, rowvar=False))
    deviation = jnp.sqrt(jnp.diag(covariance))
    constant = deviation == 0
    scale = jnp.where(constant, 0.0, errors / jnp.where(constant, 1.0, deviation))
    return covariance * jnp.outer(scale, scale)


def _effective(series: Array) -> tuple[Array, Array]:
    """Effective number of samples, and the variance of one."""
    chains, draws = series.shape
    apart = series - jnp.mean(series, axis=1, keepdims=True)
    transform = jnp.fft.rfft(apart, n=2 * draws, axis=1)
    covariance = jnp.mean(jnp.fft.irfft(jnp.abs(transform) ** 2, n=2 * draws, axis=1)[:, :draws], axis=0) / draws
    within = covariance[0] * draws / (draws - 1)
    variance = covariance[0] + jnp.var(jnp.mean(series, axis=1), ddof=1)
    correlation = 1.0 - (within - covariance) / jnp.where(variance == 0, 1.0, variance)
    pairs = correlation[: draws // 2 * 2].reshape(-1, 2).sum(axis=1).at[0].set(1.0 + correlation[1])
    positive = jnp.cumprod(pairs > 0)
    time = -1.0 + 2.0 * jnp.sum(positive * jax.lax.cummin(pairs))
    count = chains * draws
    # samples that repel one another are not counted as more than that many times log10 of their number
    time = jnp.maximum(time, 1.0 / jnp.log10(count))
    return jnp.where(variance == 0, 0.0, count / time), variance
