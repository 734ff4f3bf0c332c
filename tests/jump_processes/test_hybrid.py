"""Piecewise deterministic processes against closed forms: the integrated hazard, its errors and its codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta, kstest

from uqbench.errors import InputError, Result
from uqbench.jump_processes.hybrid import simulate

from .networks import streams

# a promoter G and mRNA M
CHANGES = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
ON, OFF, MAKE, LOSE, FEEDBACK = 0.5, 1.0, 20.0, 1.0, 0.2
N = 4000


def telegraph(t, y):
    return ON * (1 - y[0]), OFF * y[0], MAKE * y[0], LOSE * y[1]


def with_feedback(t, y):
    return ON * (1 - y[0]), OFF * (1 + FEEDBACK * y[1]) * y[0], MAKE * y[0], LOSE * y[1]


def at_rest(q):
    """Distribution function of M at rest with feedback f.

    Nothing flows in both states together, p0 d m = p1 (r - d m) = J with
    J' = J (k_on / (d m) - k_off (1 + f m) / (r - d m)), so that
    J = m^(k_on / d) (r - d m)^(k_off / d (1 + f r / d)) exp(k_off f m / d).
    """
    root = np.linspace(0.0, 1.0, 200_001)[1:-1]
    m = root**2 * MAKE / LOSE
    x = m * LOSE / MAKE
    power = OFF / LOSE * (1 + FEEDBACK * MAKE / LOSE)
    flow = x ** (ON / LOSE) * (1 - x) ** power * np.exp(OFF * FEEDBACK * m / LOSE)
    # of the root, which has no singularity at 0
    density = (flow / (LOSE * m) + flow / (MAKE - LOSE * m)) * root
    distribution = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
    return np.interp(q, m, distribution / distribution[-1], left=0.0, right=1.0)


def run(rates, n, times, seed=0, first=0, changes=CHANGES, discrete=(True, False), start=(0.0, 0.0), **limits):
    limits = {"max_events": 10_000, **limits}
    start = jnp.tile(jnp.array(start), (n, 1))
    return jax.jit(lambda s: simulate(rates, changes, discrete, start, times, s, **limits))(streams(n, seed, first))


def frozen(n, time, seed):
    """M with feedback at a time, if the hazard were held between jumps at its value after the last one."""
    random = np.random.default_rng(seed)
    g, m, now = np.zeros(n), np.zeros(n), np.zeros(n)
    while np.any(now < time):
        hazard = np.where(g > 0, OFF * (1 + FEEDBACK * m), ON)
        wait = np.minimum(random.exponential(size=n) / hazard, time - now)
        m = g * MAKE / LOSE + (m - g * MAKE / LOSE) * np.exp(-LOSE * wait)
        now = now + wait
        g = np.where(now < time, 1 - g, g)
    return m


def test_without_feedback_the_mrna_at_rest_is_beta_distributed():
    paths, _ = run(telegraph, N, [25.0])
    assert np.all(paths.code == Result.SUCCESS)
    m = np.asarray(paths.counts[:, 0, 1])
    assert kstest(m * LOSE / MAKE, beta(ON / LOSE, OFF / LOSE).cdf).pvalue > 1e-3
    spread = np.sqrt((((m - m.mean()) ** 2).var()) / N)
    assert abs(m.mean() - 20 / 3) < 3 * m.std() / np.sqrt(N) and abs(m.var() - 320 / 9) < 3 * spread


def test_the_hazard_follows_the_mrna_and_a_frozen_one_would_be_found():
    m = np.asarray(run(with_feedback, N, [25.0], 1)[0].counts[:, 0, 1])
    assert kstest(m, at_rest).pvalue > 1e-3
    assert kstest(frozen(N, 25.0, 1), at_rest).pvalue < 1e-10


def test_a_first_jump_at_a_hazard_that_grows():
    """dx/dt = 1 and the hazard x: the first waiting time is a Rayleigh number, and x at a jump is that time."""
    changes = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    paths, _ = run(lambda t, y: (1.0 * (y[0] < 1), y[1] * (y[0] < 1), 0.0 * t), N, [20.0], 2, changes=changes,
                   discrete=(True, False, False), start=(0.0, 0.0, 0.0))  # fmt: skip
    assert kstest(np.asarray(paths.counts[:, 0, 1]), "rayleigh").pvalue > 1e-3


@pytest.mark.slow
def test_errors_of_a_path_go_with_the_tolerance():
    """Along paths with the same jumps."""
    found = [run(with_feedback, 200, [1.0, 5.0], 3, rtol=rtol)[0] for rtol in (1e-10, 1e-4, 1e-6)]
    exact, *others = (np.asarray(paths.counts[:, :, 1]) for paths in found)
    same = np.logical_and.reduce([np.asarray(paths.events) == np.asarray(found[0].events) for paths in found])
    errors = [np.sqrt(np.mean((other - exact)[same] ** 2)) for other in others]
    assert same.mean() > 0.95 and errors[0] < 1e-2 and errors[1] < 0.1 * errors[0]


@pytest.mark.slow
def test_a_trajectory_is_the_same_in_any_batch():
    times = [0.5, 2.0, 9.0]
    whole, _ = run(with_feedback, 40, times, 4)
    for n, first in ((1, 39), (7, 20)):
        part, _ = run(with_feedback, n, times, 4, first)
        np.testing.assert_array_equal(part.events, whole.events[first : first + n])
        np.testing.assert_allclose(part.counts, whole.counts[first : first + n], rtol=1e-9, atol=1e-9)
    more, _ = run(with_feedback, 40, [0.0, 0.1, 0.5, 2.0, 4.0, 9.0], 4)
    np.testing.assert_allclose(more.counts[:, [2, 3, 5]], whole.counts, rtol=1e-4, atol=1e-4)
    assert np.all(more.counts[:, 0] == 0.0)


def test_fast_loss_costs_little():
    """Protein a million times as fast as the promoter follows its mRNA; an explicit method would take 1e7 steps."""
    fast = 1e6
    changes = np.zeros((6, 3), int)
    changes[:4, :2], changes[4:, 2] = CHANGES, (1, -1)

    def rates(t, y):
        return *with_feedback(t, (y[0], y[2])), fast * y[1], fast * y[2]

    def of_mrna(t, y):
        switch_on, switch_off, make, _, translate, lose = rates(t, y)
        return switch_on, switch_off, make, LOSE * y[1], translate, lose

    paths, steps = run(of_mrna, 500, [20.0], 5, changes=changes, discrete=(True, False, False), start=(0.0, 0.0, 0.0))
    assert np.all(paths.code == Result.SUCCESS) and np.max(steps) < 2000
    np.testing.assert_allclose(paths.counts[:, 0, 2], paths.counts[:, 0, 1], rtol=1e-4, atol=1e-4)
    assert kstest(np.asarray(paths.counts[:, 0, 1]), at_rest).pvalue > 1e-3


def test_a_jump_changes_continuous_species_by_its_stoichiometry():
    """Bursts of 50 at a constant rate, lost at rate 1: the mean at rest is 50 and the variance 50^2 / 2."""
    changes = np.array([[1, 50], [0, -1]])
    m = np.asarray(run(lambda t, y: (1.0 + 0.0 * y[0], y[1]), N, [15.0], 6, changes=changes)[0].counts[:, 0, 1])
    spread = np.sqrt((((m - m.mean()) ** 2).var()) / N)
    assert abs(m.mean() - 50) < 3 * m.std() / np.sqrt(N) and abs(m.var() - 1250) < 3 * spread


def test_pulses_in_time_are_seen():
    """A hazard that is there from 2.3 to 2.8 alone."""
    hazard = 3.0
    paths, _ = run(lambda t, y: (hazard * ((t > 2.3) & (t < 2.8)) * (1 - y[0]), 0.0 * t, y[0], y[1]), N, [5.0], 7)
    none = float(np.mean(np.asarray(paths.events) == 0))
    expected = np.exp(-hazard * 0.5)
    assert abs(none - expected) < 3 * np.sqrt(expected * (1 - expected) / N)


def code(rates, **more):
    paths, _ = run(rates, 2, [1.0, 10.0], **more)
    (found,) = set(np.asarray(paths.code).tolist())
    return found, np.asarray(paths.counts)


def test_codes():
    explodes, counts = code(lambda t, y: (0.1 * (1 - y[0]), 0.0 * t, y[1] ** 2 + 1.0, 0.0 * t))
    assert (
        explodes in (Result.NO_STEP, Result.BLOW_UP)
        and np.isfinite(counts[:, 0]).all()
        and np.isnan(counts[:, 1]).all()
    )
    assert code(lambda t, y: (1.0 - y[0], y[0], 1.0 * t, 3.0 * t))[0] == Result.BAD_PROPENSITY
    assert code(lambda t, y: (1.0 - 2 * y[0], 0.0 * t, y[0], y[1]))[0] == Result.BAD_PROPENSITY
    assert code(lambda t, y: (jnp.log(y[1] - 1.0) + y[0], y[0], y[0], y[1]))[0] == Result.BAD_PROPENSITY
    assert code(lambda t, y: (50.0 * (1 - y[0]), 50.0 * y[0], y[0], y[1]), max_events=20)[0] == Result.EVENT_LIMIT
    assert code(telegraph, start=(0.5, 0.5))[0] == Result.BAD_PROPENSITY
    assert code(telegraph, max_steps=1)[0] == Result.STEP_LIMIT


def test_a_jump_that_takes_more_than_there_is_ends_the_trajectory():
    found, _ = code(lambda t, y: (5.0 * (1 - y[0]), 0.0 * t, 0.0 * t, 0.0 * t),
                    changes=np.array([[1, -1], [-1, 1], [0, 1], [0, -1]]), start=(0.0, 0.4))  # fmt: skip
    assert found == Result.BAD_PROPENSITY


def test_every_wrong_argument_at_once():
    with pytest.raises(InputError) as raised:
        run(telegraph, 3, [1.0], discrete=(True, True), max_steps=0, rtol=0.5)
    assert len(raised.value.findings) == 3
    with pytest.raises(InputError, match="not whole"):
        simulate(telegraph, CHANGES, [True, False], jnp.full((3, 2), 0.5), [1.0], streams(3), max_events=10)


@pytest.mark.slow
def test_a_batch_of_parameters_is_one_loop():
    def mean(k):
        def rates(t, y):
            return k * (1 - y[0]), y[0], 5.0 * y[0], y[1]

        return run(rates, 5, [3.0], 8)[0].counts[:, 0, 1].mean()

    ks = jnp.array([0.2, 1.0, 4.0])
    np.testing.assert_allclose(jax.vmap(mean)(ks), [mean(k) for k in ks], rtol=1e-9)
