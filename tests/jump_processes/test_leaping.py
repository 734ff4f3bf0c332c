"""Tau-leaping against the exact process, and the Poisson numbers that it takes."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from uqbench.errors import InputError, Result
from uqbench.jump_processes import exact, leaping
from uqbench.jump_processes.poisson import poisson

from .networks import BIRTH_DEATH, birth_death, p_value, streams

N = 20_000


@pytest.mark.parametrize("mean", [0.0, 0.3, 9.9, 10.0, 47.0, 1e4])
def test_poisson_numbers(mean):
    draws = np.asarray(poisson(streams(N), jnp.uint32(3), jnp.full(N, mean)))
    low = int(max(0, draws.min() - 1))
    law = stats.poisson.pmf(np.arange(low, int(draws.max()) + 2), mean)
    assert np.all(draws == np.round(draws))
    if mean == 0.0:
        assert np.all(draws == 0)
    else:
        # the tails beyond what was drawn belong to the outermost values
        law[0] += stats.poisson.cdf(low - 1, mean)
        law[-1] += stats.poisson.sf(low + len(law) - 1, mean)
        assert p_value(draws - low, law) > 1e-3


def decaying(t, y):
    return 200.0, 0.1 * y[0], 1e-4 * y[0] * (y[0] - 1) / 2


CHANGES = np.array([[1, 0], [-1, 0], [-2, 1]])


@pytest.mark.parametrize("epsilon", [0.03, 0.01])
def test_moments_are_those_of_the_exact_process(epsilon):
    n, begin = 2000, jnp.array([3000.0, 0.0])
    start, times = jnp.tile(begin, (n, 1)), [0.5, 3.0]
    leaps = leaping.simulate(decaying, CHANGES, start, times, streams(n), max_events=20_000, epsilon=epsilon)
    paths = exact.simulate(decaying, CHANGES, start, times, streams(n, seed=1), max_events=100_000)
    assert np.all(leaps.code == Result.SUCCESS) and np.all(leaps.counts == jnp.round(leaps.counts))
    mean = paths.counts.mean(0)
    error = np.sqrt((np.var(paths.counts, 0) + np.var(leaps.counts, 0)) / n)
    # a propensity that changes by epsilon in each leap is wrong by half of that on average, and so is what it changes
    assert np.all(np.abs(leaps.counts.mean(0) - mean) < 4 * error + 0.5 * epsilon * np.abs(mean - begin))
    # standard errors of two variances are each sqrt(2 / n) = 3 %
    np.testing.assert_allclose(np.var(leaps.counts, 0), np.var(paths.counts, 0), rtol=4 * 0.032 * 2**0.5)


def test_few_molecules_are_simulated_exactly():
    paths = leaping.simulate(birth_death, BIRTH_DEATH, jnp.zeros((N, 1)), [0.3, 1.0], streams(N), max_events=10_000)
    assert np.all(paths.code == Result.SUCCESS)
    for place, time in enumerate((0.3, 1.0)):
        law = stats.poisson.pmf(np.arange(40), 10 * (1 - np.exp(-time)))
        assert p_value(paths.counts[:, place, 0], law) > 1e-3


def test_counts_never_become_negative():
    """1000 molecules decay until none is left: leaps first, single events in the end."""
    start = jnp.full((200, 1), 1000.0)
    paths = leaping.simulate(lambda t, y: (y[0],), [[-1]], start, [1.0, 3.0, 30.0], streams(200), max_events=5000)
    assert np.all(paths.code == Result.SUCCESS) and np.all(paths.counts >= 0) and np.all(paths.counts[:, 2] == 0)
    assert np.all(paths.events == 1000)
    for place, time in enumerate((1.0, 3.0)):
        p = np.exp(-time)
        assert abs(paths.counts[:, place].mean() - 1000 * p) < 4 * np.sqrt(1000 * p * (1 - p) / 200) + 0.03 * 1000 * p


def test_codes_and_what_is_refused():
    def codes(rates, change, most=1000):
        return leaping.simulate(rates, [[change]], jnp.full((3, 1), 5.0), [0.1, 50.0], streams(3), max_events=most)

    assert np.all(codes(lambda t, y: (1.0,), -1).code == Result.BAD_PROPENSITY)
    assert np.all(codes(lambda t, y: (3.0 - y[0],), 1).code == Result.BAD_PROPENSITY)
    assert np.all(codes(lambda t, y: (y[0] ** 2,), 1, most=100).code == Result.EVENT_LIMIT)
    with pytest.raises(InputError, match="depends on time"):
        codes(lambda t, y: (t,), 1)
