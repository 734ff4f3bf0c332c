"""Simulation-based calibration: uniform where all fits together, and not where it does not."""

from dataclasses import replace

import numpy as np
import pytest

import uqbench as uq
from studies import receptor_tf
from uqbench.calibration import simulation_based_calibration
from uqbench.calibration.simulation_based import LIKELIHOOD


def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}


def level_study(sigma):
    model = uq.Model.from_function(
        uq.Space(m=uq.epistemic(uq.Normal(0.0, 1.0))), level, {"y": ""}, {"y": uq.Normal("y", sigma)}, name="level"
    )
    return uq.Study("level", model, {"e": uq.Design(np.arange(1.0, 4.0))})


def test_a_conjugate_model_is_calibrated():
    found = simulation_based_calibration(level_study(0.5), repetitions=30, draws=150, tune=150, ranks=31)
    assert found.attrs["uniform"] and found.attrs["failed"] == 0
    assert found.sizes["repetition"] + found.attrs["not_converged"] == 30
    # posterior sd (1 + 3/.25)^-1/2, known
    assert float(found.sd.sel(quantity="m").mean()) == pytest.approx(13**-0.5, rel=0.03)
    assert float(found.contraction.sel(quantity="m")) == pytest.approx(12 / 13, abs=0.02)
    coverage = found.coverage.sel(quantity="m")
    assert np.all(np.abs(coverage - coverage.level) < 3.5 * found.coverage_standard_error)


def test_a_wrong_noise_is_detected():
    """Data twice as noisy as the model believes: intervals are too narrow, ranks pile up at the ends."""
    found = simulation_based_calibration(
        level_study(0.25), simulator=level_study(1.0), repetitions=20, draws=150, tune=150, ranks=31
    )
    assert not found.attrs["uniform"]
    assert float(found.coverage.sel(level=0.5, quantity="m")) < 0.4


def test_bad_settings_and_simulators_are_reported_at_once():
    other = replace(level_study(0.5), experiments={"e": uq.Design([9.0])})
    with pytest.raises(uq.InputError) as caught:
        simulation_based_calibration(level_study(0.5), simulator=other, repetitions=1, ranks=0)
    text = str(caught.value)
    assert all(part in text for part in ("repetitions is 1", "ranks is 0", "plans other measurements"))
    with pytest.raises(uq.InputError, match="has no parameter 'beta'"):
        simulation_based_calibration(receptor_tf.reduced, simulator=level_study(0.5))


@pytest.mark.slow
@pytest.mark.parametrize("study", [receptor_tf.study, receptor_tf.reduced], ids=["full", "reduced"])
def test_the_receptor_is_recovered(study):
    found = simulation_based_calibration(study, repetitions=60)
    assert found.attrs["uniform"] and found.attrs["failed"] == 0
    coverage = found.coverage.drop_sel(quantity=LIKELIHOOD)
    assert np.all(np.abs(coverage - coverage.level) < 3.5 * found.coverage_standard_error)


@pytest.mark.slow
def test_the_reduced_model_recovers_what_the_full_one_made():
    """At eps up to .1 the reduction errs by less than a hundredth of the noise."""
    found = simulation_based_calibration(receptor_tf.reduced, simulator=receptor_tf.study, repetitions=60)
    assert found.attrs["uniform"]
