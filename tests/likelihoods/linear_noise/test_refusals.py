"""What a Kalman filter under linear noise refuses, and what is refused in its favour."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.likelihoods import Independent, LinearNoise, likelihood_of, log_likelihood

from ...systems.reactions.networks import dimerisation, two_stage
from . import cells


def refusal(model, outputs=("x",), times=(1.0, 2.0), likelihood=LinearNoise.of) -> str:
    data = pd.concat([cells.table(output, times, 1.0) for output in outputs], ignore_index=True)
    study = uq.Study("cells", model, {"e": uq.Design()}, data, likelihood=likelihood)
    with pytest.raises(uq.InputError) as refused:
        likelihood_of(study)
    return str(refused.value)


def seen(y, p):
    return {"a": y["A"], "product": y["A"] * y["B"], "root": jnp.sqrt(y["B"]), "b": y["B"], "variance": y["var_B"]}


NOISES = {
    "a": uq.LogNormal(median="a", sigma=0.2),
    "product": uq.Normal("product", 1.0),
    "root": uq.Normal("root", 1.0),
    "b": uq.Normal("b", "sqrt(variance + sigma**2)"),
}
UNITS = dict.fromkeys((*NOISES, "variance"), "")


def test_all_that_is_not_linear_and_normal_is_named_at_once():
    model = uq.Model(cells.dimers.space, dimerisation.linear_noise(), seen, UNITS, NOISES)
    said = refusal(model, tuple(NOISES))
    assert "'a' has the noise LogNormal" in said
    assert "the mean of 'product' is not linear in A, B" in said
    assert "the mean of 'root' is not linear in B" in said
    assert "the measurement of 'b' depends on var_B" in said


def test_other_systems_are_refused():
    def model_of(system):
        return uq.Model(cells.dimers.space, system, cells.pairs, {"a": "", "all": ""}, cells.dimers.noise)

    assert "without means and covariances of species" in refusal(model_of(dimerisation.ode()), ("a",))
    assert "var_B, as in a closure of moments" in refusal(model_of(dimerisation.moments()), ("a",))
    assert "leave the time inf out" in refusal(cells.turnover, times=(1.0, np.inf))


def test_linear_noise_does_not_guess_whose_the_rows_are():
    said = refusal(cells.turnover, likelihood=None)
    for way in ("`LinearNoise.of`", "`Independent.of`", "sqrt(variance + sigma**2)"):
        assert way in said
    study = uq.Study(
        "means", cells.turnover, {"e": uq.Design()}, cells.table("x", [1.0], 1.0), likelihood=Independent.of
    )
    assert isinstance(likelihood_of(study), Independent)


def protein(y, p):
    return {"protein": y["P"], "variance": y["var_P"]}


def test_snapshots_are_rows_of_their_own_with_the_variance_of_the_fluctuations():
    model = uq.Model(
        cells.space(km=2.0, gm=0.2, kp=1.0, gp=0.05), two_stage.linear_noise(), protein,
        {"protein": "", "variance": ""}, {"protein": uq.Normal("protein", "sqrt(variance + sigma**2)")},
    )  # fmt: skip
    values = np.array([180.0, 230.0, 150.0])
    study = uq.Study("cells", model, {"e": uq.Design()}, cells.table("protein", [400.0] * 3, values))
    mean, fano = 2.0 * 1.0 / (0.2 * 0.05), 1 + 1.0 / (0.2 + 0.05)
    expected = stats.norm(mean, np.sqrt(mean * fano + 16.0)).logpdf(values).sum()
    assert float(log_likelihood(study)(model.space.nominal())) == pytest.approx(expected, rel=1e-6)


def test_jumps_are_refused_with_the_likelihoods_that_fit():
    model = uq.Model(cells.turnover.space, cells.birth_death.jumps(), cells.molecules, {"x": ""}, cells.NOISE)
    said = refusal(model, likelihood=None)
    assert "a jump process has no density of its outputs" in said
    assert "`master_equation()`" in said and "snapshots" in said
    assert "LinearNoise.of" in said and "time series" in said


def explosion(y, p, inputs):
    return {"grow": p["c"] * y["A"] ** 2}


def test_a_failed_solve_has_a_code_and_leaves_no_slope():
    network = uq.Reactions({"A": 10}, {"grow": {"A": 1}}, explosion)
    model = uq.Model(cells.space(c=0.001), network.linear_noise(), lambda y, p: {"x": y["A"]}, {"x": ""}, cells.NOISE)
    study = cells.study_of(model, cells.table("x", [1.0, 2.0], [10.0, 11.0]), restart=True)
    likelihood, density = likelihood_of(study), log_likelihood(study)
    well, ill = ({"c": jnp.asarray(c), "sigma": jnp.asarray(1.0)} for c in (0.001, 5.0))
    assert np.isfinite(float(density(well))) and likelihood.density_findings(well) == []
    assert float(density(ill)) == -np.inf
    assert all(float(slope) == 0.0 for slope in jax.grad(density)(ill).values())
    assert "1 of 1 runs fail" in likelihood.density_findings(ill)[0]
    assert np.all(np.isnan(likelihood.simulate(ill, jax.random.key(0))["x"]))
