"""Are probabilities uniform? A test that looks everywhere at once, and the band that belongs to it.

The numbers of values below each of many points are binomial where values are uniform. How unlikely the most unlikely of
them is has a distribution that is simulated, so that the test, and a band for the whole curve of the empirical
distribution function, have the level that they claim (Saeilynoja, Burkner & Vehtari 2022,
doi:10.1007/s11222-022-10090-6).
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
    count = len(values)
    if count < 2:
        return np.nan
    least = _least(np.sum(values[:, None] <= POINT, axis=0), count)
    return float((1 + np.sum(_null(count) <= least)) / (TABLES + 1))


def band(values: Float[np.ndarray, " n"], level: float = LEVEL) -> Band:
    """The curve of these values, and the band in which it lies as a whole with probability `level`."""
    values = values[np.isfinite(values)]
    count = max(len(values), 1)
    outside = np.quantile(_null(count), 1 - level, method="lower")
    found = np.array([np.mean(values <= each) if len(values) else np.nan for each in POINT])
    lower, upper = (stats.binom.ppf(each, count, POINT) / count for each in (outside / 2, 1 - outside / 2))
    return Band(found - POINT, lower - POINT, upper - POINT)


def replications_needed(error: float = 0.2, power: float = 0.8, level: float = LEVEL) -> int:
    """Replications after which ranks of a posterior whose sd is too small by `error` are no longer taken for uniform.

    Of a normal posterior: values are those of a normal distribution that is wider by the factor 1 / (1 - error).
    """
    rng, count = np.random.default_rng(SEED), 32
    while True:
        z = rng.normal(size=(200, count)) / (1 - error)
        counts = np.sum(stats.norm.cdf(z)[..., None] <= POINT, axis=1)
        found = np.array([np.mean(_null(count) <= each) for each in _least(counts, count)])
        if np.mean(found <= 1 - level) >= power:
            return count
        count = int(np.ceil(1.25 * count))


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
