"""The dimers of STAT5: what is conserved, what was published, and which rates the data bound on one side only."""

import jax
import numpy as np
import pytest

import uqbench as uq
from forward_models import boehm
from studies.boehm import study
from uqbench.calibration import log_likelihood
from uqbench.identifiability import profile_likelihood
from uqbench.optimization import find_map

from .published_boehm import LOG_LIKELIHOOD, measured_study

ONE_SIDED = {"k_exp_hetero": ("open at the bound", "bounded"), "k_imp_homo": ("bounded", "open at the bound")}


def verdicts(profile):
    sides = zip(profile.verdict_lower.values, profile.verdict_upper.values, strict=True)
    return dict(zip(profile.parameter.values, sides, strict=True))


def test_both_kinds_of_stat5_are_conserved():
    """Amounts, not concentrations: those of the nucleus count by its volume."""
    theta = {**boehm.model.space.nominal(), "k_imp_homo": 0.3}
    start = boehm.initial(theta, {})
    # any other state will do: all dimers there
    y = {name: value + 7.0 + k for k, (name, value) in enumerate(start.items())}
    slope = boehm.rhs(2.0, y, theta, {})
    share = boehm.NUCLEUS / boehm.CYTOPLASM
    total_a = slope["STAT5A"] + 2 * slope["pApA"] + slope["pApB"] + share * (2 * slope["nucpApA"] + slope["nucpApB"])
    total_b = slope["STAT5B"] + 2 * slope["pBpB"] + slope["pApB"] + share * (2 * slope["nucpBpB"] + slope["nucpApB"])
    largest = max(abs(float(each)) for each in slope.values())
    assert abs(float(total_a)) < 1e-12 * largest
    assert abs(float(total_b)) < 1e-12 * largest


def test_before_the_stimulus_the_antibody_sees_its_preference():
    run = uq.evaluate(boehm.model, boehm.model.space.nominal(), uq.Design([0.0]))
    bound_a, bound_b = 0.107 * 0.693, (1 - 0.107) * (1 - 0.693)
    assert float(run.outputs["rSTAT5A_rel"][0]) == pytest.approx(100 * bound_a / (bound_a + bound_b), rel=1e-12)
    assert float(run.outputs["pSTAT5A_rel"][0]) == float(run.outputs["pSTAT5B_rel"][0]) == 0.0


@pytest.mark.slow
def test_the_simulated_data_leave_the_same_sides_open_as_the_published_ones():
    profile = profile_likelihood(study, boehm.PUBLISHED, [*ONE_SIDED, "k_phos"])
    assert verdicts(profile) == {**ONE_SIDED, "k_phos": ("bounded", "bounded")}
    k_phos = profile.sel(parameter="k_phos")
    assert k_phos.lower < k_phos.value < k_phos.upper
    assert np.isnan(profile.lower.sel(parameter="k_exp_hetero")) and np.isnan(profile.upper.sel(parameter="k_imp_homo"))


def test_the_published_table_has_the_published_log_likelihood():
    value = jax.jit(log_likelihood(measured_study()))(boehm.PUBLISHED)
    assert float(value) == pytest.approx(LOG_LIKELIHOOD, abs=5e-4)


@pytest.mark.slow
def test_best_fit_and_profiles_of_the_published_table():
    measured = measured_study()
    fit = find_map(measured, starts=16, prior=False)
    assert fit.verdict.values[0] == "converged"
    assert fit.attrs["log_density"] == pytest.approx(LOG_LIKELIHOOD, abs=5e-4)
    profile = profile_likelihood(measured, fit)
    both = dict.fromkeys(boehm.model.space.epistemic, ("bounded", "bounded"))
    assert verdicts(profile) == both | ONE_SIDED
    assert float(profile.certificate.max()) < 0.005
