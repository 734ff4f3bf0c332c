"""Windows of a lognormal medium in two dimensions: the median in the limit, self-averaging, and slopes of a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models.stochastic_homogenization import apparent, levels, medium, model
from uqbench.random_media import (
    apparent_values,
    cheapest_ensemble,
    estimate_with_controls,
    multilevel_estimate,
    window_errors,
)

WINDOWS, REALISATIONS, SD = (6, 8, 12, 16), 160, 0.7


@pytest.fixture(scope="module")
def found():
    """Apparent diffusivities, and means of ln D, of every window."""
    found = []
    for window in WINDOWS:
        embedding = medium(window)

        def of(key, embedding=embedding):
            field = embedding.field(embedding.noise(key), jnp.array([1.0, 1.0]))
            return jnp.stack([jnp.trace(apparent(1.0, SD, key, embedding)[0]) / 2, SD * jnp.mean(field)])

        found.append(np.asarray(apparent_values(of, jax.random.key(window), REALISATIONS)))
    return found


@pytest.mark.slow
def test_the_median_is_the_limit_and_windows_average_themselves(found):
    errors = window_errors(WINDOWS, [each[:, 0] for each in found], order=2)
    assert abs(errors.effective - 1.0) < 3 * errors.effective_error < 0.1
    # the law is that of windows much longer than a correlation length
    assert abs(errors.slope + 2) < 0.15 + 2 * errors.slope_error
    # the mean of ln D is known to be 0: most of what windows differ by
    controlled = estimate_with_controls(found[-1][:, 0], found[-1][:, 1:], [0.0])
    assert controlled.gain > 5
    assert abs(controlled.value - 1.0) < 4 * controlled.error + 2 * abs(errors.systematic) / WINDOWS[-1] ** 2


@pytest.mark.slow
def test_intervals_of_the_fitted_value_cover(found):
    """Ensembles of 40 realisations of each window out of all that there are, whose fit is then the truth."""
    ensembles = [each[:, 0] for each in found]
    truth, random = window_errors(WINDOWS, ensembles, order=2).effective, np.random.default_rng(0)
    fits = [window_errors(WINDOWS, [random.choice(each, 40) for each in ensembles], order=2) for _ in range(1000)]
    covered = np.mean([abs(fit.effective - truth) < 1.96 * fit.effective_error for fit in fits])
    # three standard deviations are .021; errors from 40 realisations make them some tenths of a per cent too short
    assert 0.92 < covered < 0.97


def test_the_cheapest_ensemble_reaches_its_accuracy(found):
    ensembles, accuracy, random = [each[:, 0] for each in found], 0.04, np.random.default_rng(1)
    errors = window_errors(WINDOWS, ensembles, order=2)
    plan = cheapest_ensemble(errors, accuracy, lambda window: window**2, WINDOWS)
    assert np.hypot(plan.systematic, plan.random) <= accuracy
    pool = ensembles[WINDOWS.index(plan.window)]
    means = np.array([random.choice(pool, plan.realisations).mean() for _ in range(500)])
    # the exact value is 1; the systematic error was taken with two of its standard errors added
    assert 0.4 * accuracy < np.sqrt(np.mean((means - 1.0) ** 2)) < 1.15 * accuracy


def test_two_grids_of_the_same_medium_cost_less_than_one(found):
    coarse, fine, control, expected = levels(1.0, SD, medium(8))
    wanted = float(found[1][:, 0].std()) / np.sqrt(500)
    estimate = multilevel_estimate(
        [coarse, fine], jax.random.key(1), error=wanted, controls=control, expected=expected, pilot=16
    )
    assert estimate.error <= wanted
    assert estimate.gain > 5
    # the plain ensemble of these windows has an error of its own
    plain = found[1][:, 0]
    assert abs(estimate.value - plain.mean()) < 4 * np.hypot(estimate.error, plain.std() / np.sqrt(len(plain)))


def test_a_run_has_the_slopes_of_its_realisation():
    key, design = jax.random.key(3), uq.Design([0.0])

    def effective(median, sd):
        run = uq.evaluate(model, {"median": median, "sd": sd}, design, key=key)
        return run.outputs["D_eff"]

    slopes = jax.grad(lambda x: effective(*x))(jnp.array([3.0, 0.5]))
    value = float(effective(3.0, 0.5))
    # the tensor is proportional to the median
    assert np.isclose(float(slopes[0]), value / 3.0, rtol=1e-6)
    h = 1e-5
    assert np.isclose(float(slopes[1]), float(effective(3.0, 0.5 + h) - effective(3.0, 0.5 - h)) / (2 * h), rtol=1e-5)
