"""Studies of time series through the verbs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.calibration import simulation_based_calibration
from uqbench.likelihoods import simulate_data

from . import cells

TIMES = np.linspace(0.5, 5.0, 6)
TRUTH = {"k": jnp.asarray(90.0), "g": jnp.asarray(0.8)}


@pytest.fixture(scope="module")
def study():
    plan = cells.planned(cells.counted, ("x",), TIMES, 3, restart=True)
    return cells.study_of(cells.counted, simulate_data(plan, TRUTH, jax.random.key(3)), restart=True)


@pytest.mark.slow
def test_a_few_cells_are_calibrated(study):
    tree = uq.calibrate(study, draws=150, tune=150, chains=2)
    posterior = tree["posterior"]
    for name, truth in TRUTH.items():
        assert abs(float(posterior[name].mean() - truth)) < 4 * float(posterior[name].std())
    # the data say more than the prior, whose standard deviation is .3 of the median
    assert float(posterior["k"].std()) < 0.15 * 80.0
    assert tree["log_likelihood"].attrs["term"] == "run"
    assert tree["log_likelihood"]["series"].sizes["series_run"] == 3
    uq.report(study, tree)


@pytest.mark.slow
def test_what_a_few_cells_tell_is_identified(study):
    tree = uq.identify(study, starts=4)
    assert np.all(np.linalg.eigvalsh(tree["fisher"].matrix) > 0)
    profile = tree["profile"].to_dataset()
    for name, truth in TRUTH.items():
        assert float(profile.lower.sel(parameter=name)) < truth < float(profile.upper.sel(parameter=name))


@pytest.mark.slow
@pytest.mark.parametrize("repetitions, restart", [(20, True), (200, True), (200, False)])
def test_calibration_gives_back_what_linear_noise_was_given(repetitions, restart):
    study = cells.planned(cells.counted, ("x",), TIMES[:3], 1, restart=restart)
    found = simulation_based_calibration(study, repetitions=repetitions, draws=200, tune=200, ranks=31)
    assert found.failed == 0 and found.sizes["repetition"] >= 0.9 * repetitions
    assert found.uniform
    off = abs(found.coverage - found.level) / found.coverage_standard_error
    assert float(off.max()) < 4
