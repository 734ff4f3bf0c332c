"""Simulation-based calibration: uniform where all fits together, and not where it does not."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import uqbench as uq
from studies import receptor_tf, secretion
from uqbench import results
from uqbench.calibration import sbc, simulation_based, simulation_based_calibration
from uqbench.calibration.rank_statistics import LIKELIHOOD
from uqbench.calibration.uniformity import rank_p_value
from uqbench.errors import Interrupted

from .sbc_studies import STUDIES, of_cells, of_subjects

FEW = {"draws": 100, "tune": 100, "ranks": 31}


def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}


@functools.cache
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


@pytest.mark.slow
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
    assert found.attrs["uniform"] and not found.attrs["resolved"] and "all ranks are uniform" in found.attrs["meaning"]
    assert "too few to resolve it: to see" in found.attrs["meaning"]
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
    assert rank_p_value(within) < 0.05 < rank_p_value(stats.norm.cdf(truth))


def test_bad_settings_and_simulators_are_reported_at_once():
    other = replace(level_study(0.5), experiments={"e": uq.Design([9.0])})
    with pytest.raises(uq.InputError) as caught:
        simulation_based_calibration(level_study(0.5), simulator=other, repetitions=1, ranks=0)
    text = str(caught.value)
    assert all(part in text for part in ("repetitions is 1", "ranks is 0", "plans other measurements"))
    with pytest.raises(uq.InputError, match="has no parameter 'beta'"):
        simulation_based_calibration(receptor_tf.reduced, simulator=level_study(0.5))


def test_a_study_in_which_nothing_is_measured_says_what_to_give():
    with pytest.raises(uq.InputError, match=r"no output has noise.*such as noise=\{'C': Normal\('C', 0.1\)\}"):
        simulation_based_calibration(secretion.study)


def test_what_is_compiled_for_two_tables_serves_all():
    """A model is traced where something is compiled: not for each table."""

    def traced(repetitions):
        count = 0

        def counted(theta, design, key):
            nonlocal count
            count += 1
            return {"y": theta["m"] + 0 * design.times}

        model = uq.Model.from_function(
            uq.Space(m=uq.epistemic(uq.Normal(0.0, 1.0))), counted, {"y": ""}, {"y": uq.Normal("y", 0.5)}, name="level"
        )
        study = uq.Study("level", model, {"e": uq.Design(np.arange(1.0, 4.0))})
        simulation_based_calibration(study, repetitions=repetitions, **FEW)
        return count

    assert traced(2) == traced(6) > 0


def test_a_run_that_was_stopped_keeps_its_tables_and_goes_on_with_them(tmp_path, monkeypatch):
    study, settings = level_study(0.5), {"repetitions": 8, **FEW}
    undisturbed = simulation_based_calibration(study, **settings)
    rank, done = simulation_based.ranked, []

    def stopped_after_four(*arguments):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(arguments)
        return rank(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(simulation_based, "ranked", stopped_after_four)
        with pytest.raises(Interrupted) as stopped:
            sbc(study, resume=tmp_path / "tables", **settings)
    kept = stopped.value.tree["simulation_based_calibration"]
    lost = undisturbed.attrs["not_converged"]
    assert kept.attrs["partial"].startswith("stopped with") and kept.attrs["partial"].endswith("of 8 tables")
    assert kept.sizes["repetition"] == 4 and not kept.attrs["resolved"] and "too few" in kept.attrs["meaning"]
    with monkeypatch.context() as patched:
        patched.setattr(simulation_based, "ranked", lambda *each: done.append(each) or rank(*each))
        resumed = simulation_based_calibration(study, resume=tmp_path / "tables", **settings)
    assert len(done) == 8 - lost
    xr.testing.assert_equal(resumed, undisturbed)
    # other tables of the same seed are added to these; those of another are not mixed with them
    with pytest.raises(uq.InputError, match="are of seed 0, not 1"):
        simulation_based_calibration(study, resume=tmp_path / "tables", seed=1, **settings)


@pytest.mark.slow
def test_without_a_gradient_tables_are_tempered():
    """The posterior sd of the level is known, and the same tables give the same with a gradient."""
    blind = replace(level_study(0.5), model=replace(level_study(0.5).model, gradient="none"))
    found = simulation_based_calibration(blind, repetitions=6, **FEW)
    assert found.attrs["not_converged"] < 3
    assert float(found.sd.sel(quantity="m").mean()) == pytest.approx(13**-0.5, rel=0.1)
    other = simulation_based_calibration(level_study(0.5), repetitions=6, **FEW)
    shared = np.intersect1d(found.repetition, other.repetition)
    means = [each["mean"].sel(quantity="m", repetition=shared) for each in (found, other)]
    # the same tables; an error of 1 / sqrt(50) of the sd, of either
    assert float(abs(means[0] - means[1]).max()) < 4 * np.sqrt(2 / 50) * 13**-0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    # few draws of few subjects do not converge: the spreads between them are hardly known
    [of_subjects(), of_cells(12)],
    ids=["units", "master equation"],
)
def test_a_few_tables_of_every_kind_know_their_truth(study):
    found = simulation_based_calibration(study, repetitions=3, draws=200, tune=300, ranks=7)
    assert found.attrs["failed"] == 0 and found.sizes["repetition"] >= 2
    assert np.all((found["rank"] >= 0) & (found["rank"] <= 7))
    off = abs(found["truth"] - found["mean"]) / found["sd"]
    assert float(off.drop_sel(quantity=LIKELIHOOD).max()) < 5
    # data tell something of most parameters, and nothing can be told in the wrong direction by much
    assert float(found.contraction.median()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_kind_of_study_is_calibrated(name):
    """As many tables as it takes to see a posterior sd that is too small by a fifth."""
    found = simulation_based_calibration(STUDIES[name](), repetitions=220)
    assert found.attrs["uniform"] and found.attrs["resolved"], found.attrs["meaning"]
    coverage = found.coverage.drop_sel(quantity=LIKELIHOOD)
    assert np.all(np.abs(coverage - coverage.level) < 3.5 * found.coverage_standard_error)


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
