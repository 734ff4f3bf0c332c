"""Channels with streams of their own: the same law, and the shares of the variance of birth and death."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

from uqbench.errors import InputError, Result
from uqbench.jump_processes.channels import channel_indices, channel_streams, exchanged, simulate_channels
from uqbench.jump_processes.coupling import coupled, coupled_difference
from uqbench.jump_processes.exact import simulate

from .networks import BIRTH_DEATH, DIMERISATION, birth_death, dimerisation, master_equation, p_value, streams

N = 10_000


def at_end(counts):
    return counts[:, -1, 0]


@pytest.mark.slow
def test_the_law_is_that_of_exact_simulation():
    start = jnp.tile(jnp.array([30.0, 0.0]), (N, 1))
    paths = simulate_channels(
        dimerisation, DIMERISATION, start, [0.2, 1.0], channel_streams(streams(N), 2), max_events=10_000
    )
    assert np.all(paths.code == Result.SUCCESS)
    for place, time in enumerate((0.2, 1.0)):
        law = master_equation(dimerisation, DIMERISATION, (30, 0), (31, 16), time).sum(0)
        assert p_value(paths.counts[:, place, 1], law) > 1e-3


@pytest.mark.slow
def test_births_are_those_of_their_stream():
    """With the births' stream exchanged all changes but the death process; with both, the other trajectory is left."""
    a, b = channel_streams(streams(50), 2), channel_streams(streams(50, seed=1), 2)
    # a species for each reaction, to count it
    counted = [[1, 1, 0], [-1, 0, 1]]

    def run(given):
        return simulate_channels(birth_death, counted, jnp.zeros((50, 3)), [1.0], given, max_events=1000).counts[:, 0]

    of_b, births_of_b = run(b), run(exchanged(a, b, [0]))
    assert np.array_equal(births_of_b[:, 1], of_b[:, 1])
    assert not np.array_equal(births_of_b[:, 2], of_b[:, 2])
    assert np.array_equal(run(exchanged(a, b, [0, 1])), of_b)


def test_indices_of_birth_and_death():
    """Given the births the deaths make what is left: k int exp(-2 g s) ds of k int exp(-g s) ds."""
    found = channel_indices(birth_death, BIRTH_DEATH, [0.0], [1.0], streams(80_000), at_end, max_events=1000)
    births = 0.5 * (1 - np.exp(-2.0)) / (1 - np.exp(-1.0))
    assert abs(births - 0.6839) < 1e-4
    assert np.all(found.paths.code == Result.SUCCESS) and np.all(found.first_error < 0.01)
    assert abs(found.first[0] - births) < 3 * found.first_error[0]
    assert abs(found.total[1] - (1 - births)) < 3 * found.total_error[1]
    # the rest: deaths alone, and both together
    assert found.first[1] < found.total[1] and found.first[0] < found.total[0]
    assert abs(found.variance / (10 * (1 - np.exp(-1.0))) - 1) < 0.03


def test_what_channels_cannot_do_is_refused():
    with pytest.raises(InputError, match="depends on time"):
        simulate_channels(lambda t, y: (t,), [[1]], [[0.0]], [1.0], channel_streams(streams(1), 1), max_events=10)
    with pytest.raises(InputError, match="even number"):
        channel_indices(birth_death, BIRTH_DEATH, [0.0], [1.0], streams(5), at_end, max_events=10)


def test_codes_of_channels():
    def codes(rates, changes, start):
        given = channel_streams(streams(3), len(changes))
        return simulate_channels(rates, changes, jnp.full((3, 1), start), [0.1, 50.0], given, max_events=100)

    assert np.all(codes(lambda t, y: (1.0,), [[-1]], 2.0).code == Result.BAD_PROPENSITY)
    assert np.all(codes(lambda t, y: (y[0] ** 2,), [[1]], 2.0).code == Result.EVENT_LIMIT)
    emptied = codes(lambda t, y: (y[0],), [[-1]], 3.0)
    assert np.all(emptied.code == Result.SUCCESS) and np.all(emptied.counts[:, 1] == 0)


def autoregulation(k, g):
    return lambda t, y: (k / (1.0 + y[0] / 20.0), g * y[0])


def test_each_of_two_coupled_processes_keeps_its_law():
    rates, changes = coupled(birth_death, lambda t, y: (12.0, y[0]), BIRTH_DEATH)
    paths = simulate(rates, changes, jnp.zeros((N, 2)), [1.0], streams(N), max_events=1000)
    for place, k in enumerate((10.0, 12.0)):
        law = poisson.pmf(np.arange(40), k * (1 - np.exp(-1.0)))
        assert p_value(paths.counts[:, 0, place], law) > 1e-3
    # independent ones would differ by 13.9 in variance
    assert np.var(paths.counts[:, 0, 1] - paths.counts[:, 0, 0]) < 2.0


def test_derivatives_of_an_expectation():
    """Negative autoregulation with k = 40 and g = 1 up to t = 5; the truths are those of its master equation."""
    start = jnp.zeros((N, 1))
    for make, value, step, truth in (
        (lambda k: autoregulation(k, 1.0), 40.0, 0.4, 0.334645),
        (lambda g: autoregulation(40.0, g), 1.0, 0.02, -13.317769),
    ):
        found = coupled_difference(
            make, value, BIRTH_DEATH, start, [5.0], streams(N), at_end, step=step, max_events=10_000
        )
        assert np.all(found.paths.code == Result.SUCCESS)
        assert abs(found.value - truth) < 3 * found.error
        assert found.error < 0.05 * abs(truth)
