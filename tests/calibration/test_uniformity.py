"""The test of uniformity: it has its level, and sees what it should."""

import numpy as np
import pytest

from uqbench.calibration.uniformity import band, p_value, rank_p_value, replications_needed


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


@pytest.mark.parametrize("ranks, tests", [(63, 1), (63, 8), (31, 4)])
def test_a_spread_that_is_wrong_by_a_fifth_is_seen_after_as_many_ranks_as_said(ranks, tests):
    """Of a posterior whose sd is too small, by draws from it, at the level of one of several tests."""
    level = 0.05 / tests
    needed = replications_needed(0.2, 0.8, 1 - level, ranks)
    rng = np.random.default_rng(2)

    def power(count):
        truth, draws = rng.normal(size=(200, count)), 0.8 * rng.normal(size=(200, count, ranks))
        within = (np.sum(draws < truth[..., None], axis=-1) + rng.uniform(size=truth.shape)) / (ranks + 1)
        return np.mean([rank_p_value(each) <= level for each in within])

    assert power(needed) > 0.7 > power(needed // 3)
    assert replications_needed(0.4, 0.8, 1 - level, ranks) < needed


def test_the_test_of_ranks_has_its_level():
    rng = np.random.default_rng(3)
    found = np.array([rank_p_value(rng.uniform(size=60)) for _ in range(600)])
    for level in (0.05, 0.2):
        # two tests share the level, and are not independent
        assert level / 2 < np.mean(found <= level) < level + 4 * np.sqrt(level * (1 - level) / 600)


def test_values_that_are_missing_do_not_count():
    values = np.append((np.arange(20) + 0.5) / 20, np.nan)
    assert p_value(values) == p_value(values[:-1]) and np.isnan(p_value(np.array([np.nan, 0.5])))
