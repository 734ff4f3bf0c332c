"""The four processes of the Discrete Stochastic Models Test Suite (Evans, Gillespie & Wilkinson 2008,
doi:10.1093/bioinformatics/btm566) by its criteria, from 10 000 trajectories at the times 0, 1, ..., 50; and four
networks against their master equations by chi-squared, from 100 000.

Of 10 000 trajectories with the mean m and the standard deviation s, sqrt(n) (mean - m) / s is to lie within 3, and
sqrt(n / 2) (variance / s^2 - 1) within 5; the suite allows for two or three of the fifty means to lie outside, as a
hundred and fifty normal numbers would now and then.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from uqbench.jump_processes.exact import simulate
from uqbench.master_equation import distribution

from .networks import BIRTH_DEATH, DIMERISATION, birth_death, dimerisation, p_value, streams

TIMES = np.arange(51.0)
N, MANY = 10_000, 100_000


def growth(t):
    """Births at .1 X and deaths at .11 X from 100."""
    difference = np.exp(-0.01 * t)
    return 100 * difference, 100 * 0.21 / -0.01 * difference * (difference - 1)


def immigration(t):
    """Immigration at 1 and deaths at .1 X from 0: Poisson."""
    mean = 10 * (1 - np.exp(-0.1 * t))
    return mean, mean


def in_batches(t):
    """Five immigrants at a time at 1, deaths at .2 X."""
    mean = 25 * (1 - np.exp(-0.2 * t))
    # dV/dt = -.4 V + 25 + .2 mean
    return mean, 75 * (1 - np.exp(-0.4 * t)) - 25 * (np.exp(-0.2 * t) - np.exp(-0.4 * t))


def pairs(t):
    """100 molecules that meet at .001 P (P - 1) / 2 and part at .01 P2: their numbers, from the master equation."""
    found = distribution(meeting, DIMERISATION, [100, 0], t, (101, 51))
    molecules = jnp.sum(found.probability, axis=2)
    mean = molecules @ np.arange(101.0)
    return np.asarray(mean), np.asarray(molecules @ np.arange(101.0) ** 2 - mean**2)


def meeting(t, y):
    return 0.001 * y[0] * (y[0] - 1) / 2, 0.01 * y[1]


SUITE = {
    "birth and death": (lambda t, y: (0.1 * y[0], 0.11 * y[0]), BIRTH_DEATH, [100.0], growth),
    "immigration and death": (lambda t, y: (1.0, 0.1 * y[0]), BIRTH_DEATH, [0.0], immigration),
    "dimerisation": (meeting, DIMERISATION, [100.0, 0.0], pairs),
    "immigration in batches": (lambda t, y: (1.0, 0.2 * y[0]), [[5], [-1]], [0.0], in_batches),
}


def criteria(rates, changes, start, moments):
    paths = simulate(rates, changes, jnp.tile(jnp.array(start), (N, 1)), TIMES, streams(N, 11), max_events=100_000)
    counts = np.asarray(paths.counts[:, 1:, 0])
    mean, variance = (each[1:] for each in moments(TIMES))
    means = np.sqrt(N) * (counts.mean(0) - mean) / np.sqrt(variance)
    return means, np.sqrt(N / 2) * (counts.var(0, ddof=1) / variance - 1)


@pytest.mark.parametrize("name", SUITE)
def test_means_and_deviations(name):
    rates, changes, start, moments = SUITE[name]
    means, deviations = criteria(rates, changes, start, moments)
    assert np.sum(np.abs(means) > 3) <= 3
    assert np.all(np.abs(deviations) < 5)


def test_the_criteria_find_rates_that_are_two_percent_off():
    _, changes, start, moments = SUITE["immigration in batches"]
    means, _ = criteria(lambda t, y: (1.0, 0.204 * y[0]), changes, start, moments)
    assert np.sum(np.abs(means) > 3) > 10


def telegraph(t, y):
    """Promoter and messenger RNA."""
    return 0.5 * (1 - y[0]), y[0], 20.0 * y[0], y[1]


def toggle(t, y):
    return 50.0 / (1 + (y[1] / 15.0) ** 2), y[0], 50.0 / (1 + (y[0] / 15.0) ** 2), y[1]


TWO_SPECIES = [[1, 0], [-1, 0], [0, 1], [0, -1]]
# the network, where it starts, the box of the master equation, the species that is looked at
AGAINST_THE_MASTER_EQUATION = {
    "birth and death": (birth_death, BIRTH_DEATH, [0], (50,), 0),
    "dimerisation": (dimerisation, DIMERISATION, [30, 0], (31, 16), 1),
    "telegraph": (telegraph, TWO_SPECIES, [0, 0], (2, 90), 1),
    "toggle": (toggle, TWO_SPECIES, [20, 20], (110, 110), 0),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in ("telegraph", "toggle"))) for n in AGAINST_THE_MASTER_EQUATION],
)
def test_chi_squared_of_many_trajectories(name):
    rates, changes, start, shape, species = AGAINST_THE_MASTER_EQUATION[name]
    times = [0.5, 2.0]
    begin = jnp.tile(jnp.array(start, float), (MANY, 1))
    paths = simulate(rates, changes, begin, times, streams(MANY, 12), max_events=100_000)
    law = distribution(rates, changes, start, times, shape)
    assert np.all(paths.code == 0) and law.code == 0
    others = tuple(1 + k for k in range(len(shape)) if k != species)
    for place in range(len(times)):
        marginal = np.asarray(law.probability.sum(axis=others))[place]
        counts = paths.counts[:, place, species]
        assert p_value(counts, marginal) > 1e-3
        # and it would be found if every second cell had a molecule more
        assert p_value(counts, 0.5 * marginal + 0.5 * np.roll(marginal, 1)) < 1e-3
