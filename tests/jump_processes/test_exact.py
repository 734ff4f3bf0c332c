"""Exact simulation against closed forms and the master equation, and what does not depend on the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, poisson

from uqbench.errors import InputError, Result
from uqbench.jump_processes import exact
from uqbench.jump_processes.exact import simulate

from .networks import BIRTH_DEATH, DIMERISATION, birth_death, dimerisation, master_equation, p_value, streams

N = 20_000


def test_birth_and_death_is_poisson_at_each_time():
    paths = simulate(birth_death, BIRTH_DEATH, jnp.zeros((N, 1)), [0.0, 0.3, 1.0], streams(N), max_events=10_000)
    assert np.all(paths.code == Result.SUCCESS) and np.all(paths.counts[:, 0] == 0)
    for place, time in ((1, 0.3), (2, 1.0)):
        law = poisson.pmf(np.arange(40), 10 * (1 - np.exp(-time)))
        assert p_value(paths.counts[:, place, 0], law) > 1e-3


def test_the_number_of_events_is_counted():
    """Of pure births it is Poisson and equals the count."""
    paths = simulate(lambda t, y: (40.0,), [[1]], jnp.zeros((N, 1)), [0.5, 2.0], streams(N, 1), max_events=10_000)
    assert np.array_equal(paths.events, paths.counts[:, -1, 0])
    assert p_value(paths.events, poisson.pmf(np.arange(140), 80.0)) > 1e-3


def test_immigration_and_death_from_many():
    """Survivors of 30 are binomial, newcomers Poisson: the law at the end is their convolution."""

    def rates(t, y):
        return 1.0, 0.1 * y[0]

    paths = simulate(rates, BIRTH_DEATH, jnp.full((N, 1), 30.0), [5.0], streams(N, 2), max_events=10_000)
    law = master_equation(rates, BIRTH_DEATH, (30,), (80,), 5.0)
    assert p_value(paths.counts[:, 0, 0], law) > 1e-3


def test_dimerisation_against_the_master_equation():
    start = jnp.tile(jnp.array([30.0, 0.0]), (N, 1))
    paths = simulate(dimerisation, DIMERISATION, start, [0.2, 1.0], streams(N, 3), max_events=10_000)
    assert np.all(paths.counts[..., 0] + 2 * paths.counts[..., 1] == 30)
    for place, time in enumerate((0.2, 1.0)):
        law = master_equation(dimerisation, DIMERISATION, (30, 0), (31, 16), time).sum(0)
        assert p_value(paths.counts[:, place, 1], law) > 1e-3


def test_immigration_in_batches():
    def rates(t, y):
        return 1.0, 0.2 * y[0]

    changes = [[5], [-1]]
    paths = simulate(rates, changes, jnp.zeros((N, 1)), [4.0], streams(N, 4), max_events=10_000)
    law = master_equation(rates, changes, (0,), (120,), 4.0)
    assert p_value(paths.counts[:, 0, 0], law) > 1e-3


def test_a_trajectory_is_the_same_in_any_batch(monkeypatch):
    def run(n, first=0):
        start = jnp.tile(jnp.array([30.0, 0.0]), (n, 1))
        return simulate(dimerisation, DIMERISATION, start, [0.1, 0.5, 2.0], streams(n, 6, first), max_events=10_000)

    whole = run(70)
    # fewer places than trajectories, so that places take a second and third one
    monkeypatch.setattr(exact, "LANES", 16)
    for paths, part in [(run(70), slice(0, 70)), (run(1), slice(0, 1)), (run(33, first=20), slice(20, 53))]:
        assert all(np.array_equal(a, b[part]) for a, b in zip(paths, whole, strict=True))
    # times of the grid that are added change nothing at the others
    more = simulate(
        dimerisation,
        DIMERISATION,
        jnp.tile(jnp.array([30.0, 0.0]), (70, 1)),
        [0.1, 0.2, 0.3, 0.5, 1.0, 2.0],
        streams(70, 6),
        max_events=10_000,
    )
    assert np.array_equal(more.counts[:, [0, 3, 5]], whole.counts)


def test_vectorises_over_parameters_and_drops_derivatives():
    def mean(k):
        def rates(t, y):
            return k, y[0]

        paths = simulate(rates, BIRTH_DEATH, jnp.zeros((50, 1)), [1.0, 2.0], streams(50), max_events=1000)
        return paths.counts.mean()

    ks = jnp.array([1.0, 10.0, 100.0])
    together = jax.jit(jax.vmap(mean))(ks)
    np.testing.assert_array_equal(together, [mean(k) for k in ks])
    assert together[0] < together[1] < together[2]
    assert jax.grad(mean)(10.0) == 0.0 and jax.jvp(mean, (10.0,), (1.0,))[1] == 0.0


def codes(rates, changes, start, times=(0.5, 50.0), max_events=1000):
    return simulate(rates, changes, jnp.full((4, 1), start), times, streams(4), max_events=max_events)


def test_a_propensity_that_fails_has_a_code_from_where_it_is_reached():
    negative = codes(lambda t, y: (1.0, y[0] - 3.0), BIRTH_DEATH, 0.0)
    assert np.all(negative.code == Result.BAD_PROPENSITY) and np.all(np.isnan(negative.counts))
    # decay that goes on below zero: the count itself is impossible
    below = codes(lambda t, y: (1.0,), [[-1]], 2.0)
    assert np.all(below.code == Result.BAD_PROPENSITY) and np.all(np.isnan(below.counts[:, 1]))
    # not a number only at 7, which is reached after .5 by most
    later = codes(lambda t, y: (jnp.where(y[0] == 7.0, jnp.nan, 1.0),), [[1]], 0.0)
    assert np.all(later.code == Result.BAD_PROPENSITY) and np.all(later.counts[:, 0] < 7)
    # the same beyond the last time is no matter
    assert np.all(codes(lambda t, y: (jnp.where(y[0] == 7.0, jnp.nan, 1.0),), [[1]], 0.0, (1e-3,)).code == 0)


def test_an_explosion_is_given_up():
    paths = codes(lambda t, y: (y[0] ** 2,), [[1]], 2.0)
    assert np.all(paths.code == Result.EVENT_LIMIT) and np.all(np.isnan(paths.counts[:, 1]))


def test_a_state_that_nothing_leaves_lasts():
    paths = codes(lambda t, y: (y[0],), [[-1]], 5.0)
    assert np.all(paths.code == Result.SUCCESS)
    assert np.all(paths.counts[:, 1] == 0) and np.all(paths.events == 5)


def test_what_cannot_be_simulated_is_refused_all_at_once():
    with pytest.raises(InputError) as raised:
        simulate(lambda t, y: (1.0,), [[1.5]], [[-1.0]], [2.0, 1.0], streams(2), max_events=0)
    assert len(raised.value.findings) == 5
    with pytest.raises(InputError, match="2 propensities for 1"):
        simulate(birth_death, [[1]], [[0.0]], [1.0], streams(1), max_events=10)


def salt_pulse(t, y):
    return 10.0 * (1.0 + jnp.sin(2 * t)) + jnp.where((t > 0.37) & (t < 0.81), 40.0, 0.0), 0.5 * y[0]


def test_propensities_that_depend_on_time():
    """Births with rate b(t) and independent deaths: Poisson with the mean m' = b(t) - m/2."""
    n, times = 5000, np.array([0.5, 1.0, 2.0])
    paths = simulate(salt_pulse, BIRTH_DEATH, jnp.zeros((n, 1)), times, streams(n, 7), max_events=10_000)
    assert np.all(paths.code == Result.SUCCESS)

    def mean(time):
        s = (np.arange(200_000) + 0.5) / 200_000 * time
        births = np.asarray(salt_pulse(s, (s,))[0])
        return np.mean(births * np.exp(-0.5 * (time - s))) * time

    for place, time in enumerate(times):
        assert p_value(paths.counts[:, place, 0], poisson.pmf(np.arange(120), mean(time))) > 1e-3


@pytest.mark.slow
def test_waiting_times_of_a_growing_hazard_are_weibull():
    """a(t) = 2 t: the first event comes at sqrt(E)."""
    fine = np.linspace(0.01, 4.0, 400)
    paths = simulate(lambda t, y: (2 * t * y[0],), [[-1]], jnp.ones((2000, 1)), fine, streams(2000, 8), max_events=10)
    alive = np.asarray(paths.counts[:, :, 0])
    first = fine[np.argmin(alive, axis=1)]
    # the grid rounds up, by one interval at most
    assert kstest(first - 0.005, lambda t: -np.expm1(-(np.clip(t, 0, None) ** 2))).pvalue > 1e-3


def test_time_dependent_codes():
    negative = codes(lambda t, y: (1.0 - t,), [[1]], 0.0)
    assert np.all(negative.code == Result.BAD_PROPENSITY)
    assert np.all(np.isfinite(negative.counts[:, 0])) and np.all(np.isnan(negative.counts[:, 1]))
    explosion = codes(lambda t, y: ((1.0 + 0.1 * jnp.sin(t)) * y[0] ** 2,), [[1]], 2.0, max_events=100)
    assert np.all(explosion.code == Result.EVENT_LIMIT)


def test_a_propensity_of_minus_zero_is_none():
    """Of A (A - 1) where no A is left."""

    def rates(t, y):
        return y[0] * (y[0] - 1), 0.1 * y[1]

    start = np.tile([4.0, 0.0], (200, 1))
    paths = simulate(rates, [[-2, 1], [2, -1]], start, [50.0], streams(200), max_events=10_000)
    assert not np.any(paths.code)
    np.testing.assert_array_equal(paths.counts[:, 0] @ np.array([1.0, 2.0]), 4.0)
    assert {0.0, 2.0} <= set(np.asarray(paths.counts[:, 0, 0]))


def test_a_single_reaction_that_ends_at_minus_zero_lasts():
    def rates(t, y):
        return (y[0] * (y[0] - 1),)

    start = np.tile([3.0], (50, 1))
    paths = simulate(rates, [[-3]], start, [1.0, 100.0], streams(50), max_events=1000)
    assert not np.any(paths.code)
    np.testing.assert_array_equal(paths.counts[:, -1], 0.0)
    np.testing.assert_array_equal(paths.events, 1)
