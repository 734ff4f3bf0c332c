"""The test of uniformity: it has its level, and sees what it should."""

import numpy as np
import pytest
from scipy import stats

from uqbench.calibration.uniformity import band, p_value, replications_needed


@pytest.mark.parametrize("count", [10, 60])
def test_the_test_has_its_level(count):
    rng = np.random.default_rng(0)
    found = np.array([p_value(rng.uniform(size=count)) for _ in range(600)])
    for level in (0.05, 0.2):
        assert abs(np.mean(found <= level) - level) < 4 * np.sqrt(level * (1 - level) / 600)


def test_the_band_holds_the_whole_curve():
    rng = np.random.default_rng(1)
    found = [band(rng.uniform(size=80)) for _ in range(400)]
    inside = np.mean([np.all((each.difference >= each.lower) & (each.difference <= each.upper)) for each in found])
    assert abs(inside - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


def test_a_spread_that_is_wrong_by_a_fifth_is_seen_after_as_many_values_as_said():
    needed = replications_needed(0.2, 0.8)
    rng = np.random.default_rng(2)
    powers = [
        np.mean([p_value(stats.norm.cdf(rng.normal(size=count) / 0.8)) <= 0.05 for _ in range(200)])
        for count in (needed // 3, needed)
    ]
    assert powers[1] > 0.7 > powers[0]
    assert replications_needed(0.4) < needed


def test_values_that_are_missing_do_not_count():
    values = np.append((np.arange(20) + 0.5) / 20, np.nan)
    assert p_value(values) == p_value(values[:-1]) and np.isnan(p_value(np.array([np.nan, 0.5])))
