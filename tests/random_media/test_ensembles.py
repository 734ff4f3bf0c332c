"""Ensembles of windows in one dimension, where a lognormal medium has the effective property median exp(-sd^2/2)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.random_media import (
    Correlation,
    apparent_values,
    cheapest_ensemble,
    embed,
    estimate,
    estimate_with_controls,
    harmonic_mean,
    lognormal,
    window_errors,
    window_means,
)

LENGTH, SD = 4.0, 0.6
EFFECTIVE = np.exp(-(SD**2) / 2)
WINDOWS = (32, 64, 128, 256)


def medium(cells):
    embedding = embed((cells,), (1.0,), Correlation("exponential"), (LENGTH,))

    def log_field(key):
        return SD * embedding.field(embedding.noise(key), jnp.array([LENGTH]))

    return log_field


def apparent_of(cells):
    field = medium(cells)
    return lambda key: harmonic_mean(jnp.exp(field(key)))


@pytest.fixture(scope="module")
def values():
    return [apparent_values(apparent_of(cells), jax.random.key(cells), 400) for cells in WINDOWS]


@pytest.fixture(scope="module")
def errors(values):
    return window_errors(WINDOWS, values, order=1.0)


def test_variance_of_window_averages_is_that_of_the_closed_form():
    """2/a^2 (a - 1 + exp(-a)) of the variance of a point, with a the window in correlation lengths."""
    embedding = embed((4096,), (1.0,), Correlation("exponential"), (20.0,))
    keys = jax.random.split(jax.random.key(0), 100)
    fields = jax.vmap(lambda key: embedding.field(embedding.noise(key), jnp.array([20.0])))(keys)
    for ratio, expected in [(1.0, 0.7357588823), (2.5, 0.5062671996), (5.0, 0.3205390358), (10.0, 0.1800009079)]:
        assert 2 / ratio**2 * (ratio - 1 + np.exp(-ratio)) == pytest.approx(expected, abs=1e-10)
        squares = jnp.mean(jax.vmap(lambda field, r=ratio: window_means(field, (int(20 * r),)))(fields) ** 2, axis=1)
        found = estimate(np.asarray(squares))
        # cells of a twentieth of a length are points to 1e-3
        assert abs(found.value - expected) < 4 * found.error + 1e-3
        assert found.error < 0.05 * expected


@pytest.mark.slow
def test_effective_property_by_the_law_of_the_windows(errors):
    assert abs(errors.effective - EFFECTIVE) < 4 * errors.effective_error
    assert errors.effective_error < 0.01 * EFFECTIVE
    assert errors.systematic > 4 * errors.systematic_error
    assert errors.probability > 1e-3


def test_self_averaging_in_one_dimension(errors):
    assert abs(errors.slope + 1) < 0.15
    assert 2 * errors.slope_error < 0.15


def test_intervals_with_and_without_controls_cover():
    """The control explains most of the variance: its gain is measured, and its interval as sure as the plain one."""
    field = medium(64)

    def both(key):
        logarithm = field(key)
        return jnp.stack([harmonic_mean(jnp.exp(logarithm)), jnp.mean(logarithm)])

    drawn = np.asarray(apparent_values(both, jax.random.key(1), 40_000, batch_size=500)).reshape(1000, 40, 2)
    truth = drawn[..., 0].mean()
    plain = [estimate(each[:, 0]) for each in drawn]
    found = [estimate_with_controls(each[:, 0], each[:, 1:], (0.0,)) for each in drawn]
    for each in (plain, found):
        # of 1000 intervals; three standard deviations are .021
        assert abs(np.mean([one.lower < truth < one.upper for one in each]) - 0.95) < 0.021
    apart = np.var([one.value for one in plain]) / np.var([one.value for one in found])
    assert apart > 5 and np.median([one.gain for one in found]) == pytest.approx(apart, rel=0.35)


@pytest.mark.slow
def test_derivatives_of_realisations_are_an_ensemble_too():
    embedding = embed((256,), (1.0,), Correlation("exponential"), (LENGTH,))

    def apparent(key, sd):
        return harmonic_mean(lognormal(embedding.field(embedding.noise(key), jnp.array([LENGTH])), 1.0, sd))

    found = estimate(apparent_values(lambda key: jax.grad(apparent, 1)(key, SD), jax.random.key(3), 300))
    # the window of 64 correlation lengths adds a few per cent
    assert abs(found.value + SD * EFFECTIVE) < 4 * found.error + 0.06 * SD * EFFECTIVE


@pytest.mark.slow
def test_the_cheapest_ensemble_reaches_its_accuracy(errors):
    candidates = (64.0, 128.0, 256.0, 512.0, 1024.0)
    plan = cheapest_ensemble(errors, 0.02, lambda window: window**1.2, candidates)
    assert np.hypot(plan.systematic, plan.random) <= 0.02
    # by trial: no other window is cheaper at that accuracy
    others = [cheapest_ensemble(errors, 0.02, lambda window: window**1.2, (each,)) for each in candidates[2:]]
    assert plan.cost == min(each.cost for each in others)
    apparent = apparent_of(int(plan.window))
    ensembles = apparent_values(apparent, jax.random.key(8), 60 * plan.realisations, batch_size=64)
    means = np.asarray(ensembles).reshape(60, -1).mean(axis=1)
    assert np.sqrt(np.mean((means - EFFECTIVE) ** 2)) < 0.02 * 1.3


def test_no_plan_without_a_law_or_a_window_that_is_large_enough(errors):
    with pytest.raises(uq.InputError, match="larger windows"):
        cheapest_ensemble(errors, 1e-6, float, (64.0, 128.0))
    with pytest.raises(uq.InputError) as raised:
        cheapest_ensemble(errors._replace(probability=1e-6), -1.0, float, (64.0,))
    assert len(raised.value.findings) == 2
    with pytest.raises(uq.InputError, match="candidates are"):
        cheapest_ensemble(errors, 0.1, float, ())
    with pytest.raises(uq.InputError, match="realisations is 0"):
        apparent_values(apparent_of(32), jax.random.key(0), 0)


def test_what_is_wrong_with_ensembles():
    with pytest.raises(uq.InputError) as raised:
        window_errors([1.0, 2.0], [np.arange(3.0), np.ones(9)], order=0.0)
    assert len(raised.value.findings) == 4
    with pytest.raises(uq.InputError, match="depend on one another"):
        estimate_with_controls(np.arange(9.0), np.ones((9, 1)), (1.0,))
    with pytest.raises(uq.InputError, match="one for each control"):
        estimate_with_controls(np.arange(9.0), np.ones((8, 1)), ())
    assert np.isnan(estimate(np.array([1.0, np.nan, 2.0, 3.0])).value)
