"""Scores of exactly simulated trajectories, in closed form where all propensities are constant."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

from uqbench.errors import InputError, Result
from uqbench.jump_processes.likelihood_ratio import simulate_with_score

from .networks import BIRTH_DEATH, p_value, streams

N = 10_000


def rates(t, y, p):
    return p[0], p[1] * y[0]


def run(values, changes=BIRTH_DEATH, given=rates, start=0.0, times=(0.3, 1.0), n=N, most=10_000):
    begin = jnp.full((n, np.shape(changes)[1]), start)
    return simulate_with_score(given, values, changes, begin, times, streams(n), max_events=most)


def test_the_law_is_that_of_the_process_and_scores_have_mean_zero():
    paths, scores = run([10.0, 1.0])
    assert np.all(paths.code == Result.SUCCESS)
    for place, time in enumerate((0.3, 1.0)):
        assert p_value(paths.counts[:, place, 0], poisson.pmf(np.arange(40), 10 * (1 - np.exp(-time)))) > 1e-3
        own = np.asarray(scores[:, place])
        assert np.all(np.abs(own.mean(0)) < 4 * own.std(0) / N**0.5)
        # Fisher information of a trajectory: int E[a_j] / theta_j^2 dt
        deaths = 10 * (time - 1 + np.exp(-time))
        information = [10 * time / 100, deaths]
        np.testing.assert_allclose(own.var(0), information, rtol=0.1)


def test_the_score_of_a_poisson_process_is_known_for_each_trajectory():
    paths, scores = run([7.0], [[1]], lambda t, y, p: (p[0],))
    expected = np.asarray(paths.counts[..., 0]) / 7.0 - np.array([0.3, 1.0])
    np.testing.assert_allclose(scores[..., 0], expected, rtol=0, atol=1e-12)


def test_codes_and_what_is_refused():
    def code(given, changes, start):
        return run([1.0], changes, given, start, times=(0.1, 50.0), n=3, most=100)

    paths, scores = code(lambda t, y, p: (p[0] * y[0] ** 2,), [[1]], 2.0)
    assert np.all(paths.code == Result.EVENT_LIMIT) and np.all(np.isnan(scores[:, 1]))
    assert np.all(code(lambda t, y, p: (p[0],), [[-1]], 2.0)[0].code == Result.BAD_PROPENSITY)
    emptied, _ = code(lambda t, y, p: (p[0] * y[0],), [[-1]], 3.0)
    assert np.all(emptied.code == Result.SUCCESS) and np.all(emptied.counts[:, 1] == 0)
    with pytest.raises(InputError, match="depends on time"):
        code(lambda t, y, p: (p[0] * t,), [[1]], 0.0)
