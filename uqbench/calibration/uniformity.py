"""Are probabilities uniform? A test that looks everywhere at once, and the band that belongs to it.

The numbers of values below each of many points are binomial where values are uniform. How unlikely the most unlikely of
them is has a distribution that is simulated, so that the test, and a band for the whole curve of the empirical
distribution function, have the level that they claim (Saeilynoja, Burkner & Vehtari 2022,
doi:10.1007/s11222-022-10090-6).

Where a spread is in question that test is weak: the squares of the normal scores of uniform values add up to a
chi-squared variable (Cook, Gelman & Rubin 2006, doi:10.1198/106186006X136976), which sees a spread that is wrong by a
fifth in about half as many values. `rank_p_value` takes both tests as one.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

# Where curves are looked at, whatever the number of values.
POINT = np.arange(1, 100) / 100
TABLES, SEED = 2000, 0
LEVEL = 0.95
# A value no nearer to 0 or 1 than this: its normal score is a number.
TINY = 1e-12


class Band(NamedTuple):
    """The empirical distribution function less the uniform one at `POINT`, and where it lies as a whole.

    Args:
        difference, lower, upper: `(points,)` each.
    """

    difference: Float[np.ndarray, " points"]
    lower: Float[np.ndarray, " points"]
    upper: Float[np.ndarray, " points"]


def p_value(values: Float[np.ndarray, " n"]) -> float:
    """Probability of values that look no more uniform than these, were they uniform and independent; NaN of fewer than
    two.

    Example:
        >>> p_value((np.arange(50) + 0.5) / 50) > 0.5, p_value(np.linspace(0, 0.5, 50)) < 0.01
        (True, True)
    """
    values = values[np.isfinite(values)]
    return float(_by_curve(values[None])[0]) if len(values) > 1 else np.nan


def band(values: Float[np.ndarray, " n"], level: float = LEVEL) -> Band:
    """The curve of these values, and the band in which it lies as a whole with probability `level`."""
    values = values[np.isfinite(values)]
    count = max(len(values), 1)
    outside = np.quantile(_null(count), 1 - level, method="lower")
    found = np.array([np.mean(values <= each) if len(values) else np.nan for each in POINT])
    lower, upper = (stats.binom.ppf(each, count, POINT) / count for each in (outside / 2, 1 - outside / 2))
    return Band(found - POINT, lower - POINT, upper - POINT)


def spread_p_value(values: Float[np.ndarray, " n"]) -> float:
    """Probability of a spread around 1/2 that is at least as far from that of uniform values; NaN of fewer than two.

    Example:
        >>> spread_p_value((np.arange(50) + 0.5) / 50) > 0.5, spread_p_value(np.linspace(0.4, 0.6, 50)) < 0.01
        (True, True)
    """
    values = values[np.isfinite(values)]
    return float(_by_spread(values[None])[0]) if len(values) > 1 else np.nan


def rank_p_value(values: Float[np.ndarray, " n"]) -> float:
    """Probability of values that look no more uniform, by the whole curve or by the spread; NaN of fewer than two."""
    return float(np.minimum(1.0, 2 * np.minimum(p_value(values), spread_p_value(values))))


@lru_cache(maxsize=64)
def replications_needed(error: float = 0.2, power: float = 0.8, level: float = LEVEL, ranks: int = 63) -> int:
    """Replications after which ranks of a posterior whose sd is too small by `error` are no longer taken for uniform.

    Of a normal posterior, by `rank_p_value`.

    Args:
        ranks: draws among which a truth is ranked; the fewer, the less is known of truths in the tails.
    """
    rng, count = np.random.default_rng(SEED), 32
    while True:
        below = stats.norm.cdf(rng.normal(size=(400, count)) / (1 - error))
        values = (rng.binomial(ranks, below) + rng.uniform(size=below.shape)) / (ranks + 1)
        found = 2 * np.minimum(_by_curve(values), _by_spread(values))
        if np.mean(found <= 1 - level) >= power:
            return count
        count = int(np.ceil(1.1 * count))


def _by_curve(values: Float[np.ndarray, "tables n"]) -> Float[np.ndarray, " tables"]:
    """`p_value` of several tables."""
    count = values.shape[-1]
    least = _least(np.sum(values[..., None] <= POINT, axis=1), count)
    return (1 + np.searchsorted(np.sort(_null(count)), least, side="right")) / (TABLES + 1)


def _by_spread(values: Float[np.ndarray, "tables n"]) -> Float[np.ndarray, " tables"]:
    """`spread_p_value` of several tables."""
    squares, count = np.sum(stats.norm.ppf(np.clip(values, TINY, 1 - TINY)) ** 2, axis=1), values.shape[-1]
    return 2 * np.minimum(stats.chi2.cdf(squares, count), stats.chi2.sf(squares, count))


def _least(below: np.ndarray, count: int) -> np.ndarray:
    """The smallest two-sided probability over the points, of numbers `(..., points)` of values below them."""
    low, high = stats.binom.cdf(below, count, POINT), stats.binom.sf(below - 1, count, POINT)
    return 2 * np.minimum(low, high).min(axis=-1)


@lru_cache(maxsize=64)
def _null(count: int) -> np.ndarray:
    """`_least` of tables of uniform values."""
    shares = np.diff(np.concatenate([[0.0], POINT, [1.0]]))
    below = np.cumsum(np.random.default_rng(SEED).multinomial(count, shares, TABLES), axis=1)[:, :-1]
    return _least(below, count)
