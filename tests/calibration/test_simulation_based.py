"""Simulation-based calibration: uniform where all fits together, and not where it does not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from studies import receptor_tf
from uqbench import results
from uqbench.calibration import sbc, simulation_based_calibration
from uqbench.calibration.simulation_based import LIKELIHOOD
from uqbench.calibration.uniformity import p_value


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


def test_censored_values_are_simulated_as_such():
    """Values below .2 are only known to be so, in half of the rows; taken for values they would be too near to it."""
    data = pd.DataFrame(
        {"experiment": "e", "output": "y", "time": [1.0, 1.5, 2.0, 3.0], "value": [0.5, 0.4, "<0.2", 0.3]}
    )
    data["lower_limit"] = [0.2, np.nan, 0.2, np.nan]
    study = replace(level_study(0.5), data=data)
    tree = sbc(study, repetitions=40, draws=150, tune=150, ranks=31)
    found = tree["simulation_based_calibration"].to_dataset()
    assert results.GROUPS["simulation_based_calibration"].findings(found, "sbc") == []
    assert found.attrs["uniform"] and "all ranks are uniform" in found.attrs["meaning"]
    assert f"takes {found.attrs['needed']}" in found.attrs["meaning"] and 100 < found.attrs["needed"] < 250
    coverage = found.coverage.sel(quantity="m")
    assert np.all(np.abs(coverage - coverage.level) < 3.5 * found.coverage_standard_error)
    inside = (found.difference >= found.lower) & (found.difference <= found.upper)
    assert inside.mean("point").min() > 0.9


def test_a_noise_that_is_wrong_by_a_fifth_is_seen_in_enough_tables():
    """The posterior of each table is known, so that many can be ranked: sds that are a fifth too small pile up."""
    rng, count = np.random.default_rng(0), 200
    truth = rng.normal(size=count)
    ranks = np.sum(0.8 * rng.normal(size=(count, 63)) < truth[:, None], axis=1)
    within = (ranks + rng.uniform(size=count)) / 64
    assert p_value(within) < 0.05 < p_value(stats.norm.cdf(truth))


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
