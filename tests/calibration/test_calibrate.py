import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logit

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.calibration.pymc_model import pymc_model
from uqbench.likelihoods import likelihood_of

from ..conftest import decay_observe


def level(theta, design, key):
    return {"y": theta["m"] + 0 * design.times}


def unit_level(theta, design, key):
    return {"y": theta["a"] + 0 * design.times}


def table(values):
    return pd.DataFrame({"experiment": "e", "output": "y", "time": np.arange(1.0, len(values) + 1), "value": values})


def test_a_conjugate_posterior_is_recovered():
    space = uq.Space(m=uq.epistemic(uq.Normal(0.0, 2.0)))
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", 0.5)}, name="level")
    values = np.array([0.9, 1.4, 1.1, 0.7])
    study = uq.Study("level", model, {"e": uq.Design()}, table(values))
    tree = uq.calibrate(study, draws=500, tune=300, seed=0)
    precision = 1 / 4 + 4 / 0.25
    mean, sd = values.sum() / 0.25 / precision, precision**-0.5
    draws = tree["posterior"].to_dataset()["m"]
    error = float(az.mcse(draws.to_dataset(name="m"))["m"])
    assert abs(float(draws.mean()) - mean) < 4 * error
    assert float(draws.std()) == pytest.approx(sd, rel=0.1)
    assert bool(tree["convergence"]["resolved"].all())
    # 2000 draws of a predictive normal
    predictive = tree["posterior_predictive"].to_dataset()["y"]
    assert float(predictive.std()) == pytest.approx(np.hypot(sd, 0.5), rel=0.1)
    assert tree["log_likelihood"].to_dataset()["y"].shape == (4, 500, 4)
    expected = stats.norm.logpdf(values, draws.values[..., None], 0.5)
    np.testing.assert_allclose(tree["log_likelihood"].to_dataset()["y"], expected, rtol=1e-8)


def hierarchical_study(per_unit):
    rng = np.random.default_rng(1)
    space = uq.Space(
        m=uq.epistemic(uq.Normal(0.0, 3.0)),
        w=uq.epistemic(uq.HalfNormal(2.0)),
        a=uq.aleatory(uq.Normal("m", "w")),
    )
    model = uq.Model.from_function(space, unit_level, {"y": ""}, {"y": uq.Normal("y", 0.5)})
    level_of = {f"u{i}": rng.normal(1.0, 0.8) for i in range(6)}
    rows = [("e", "y", float(t), v + 0.5 * rng.normal(), u) for u, v in level_of.items() for t in range(per_unit)]
    data = pd.DataFrame(rows, columns=["experiment", "output", "time", "value", "who"])
    return uq.Study("hierarchy", model, {"e": uq.Design()}, data, unit="who")


def test_the_pymc_model_has_the_density_of_the_study():
    """Log density up to a constant, in whatever coordinates: prior times likelihood at random points."""
    study = hierarchical_study(3)
    model = pymc_model(likelihood_of(study))
    compiled = model.compile_logp(jacobian=False)
    expand = model.compile_fn(model["a."], inputs=model.free_RVs, on_unused_input="ignore")
    density = log_likelihood(study)
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(3):
        m, w, z = rng.normal(), rng.uniform(0.3, 2), rng.normal(size=(6, 1))
        a = expand({"m.": m, "w.": w, "unit_latents": z})
        from_pymc = compiled({"m.": m, "w._log__": np.log(w), "unit_latents": z})
        prior = stats.norm.logpdf(m, 0, 3) + stats.halfnorm.logpdf(w, scale=2) + stats.norm.logpdf(a, m, w).sum()
        # a is a line in z: the density of z is that of `a` times its slope, the sd given three values of sd .5
        change = 6 * -0.5 * np.log(1 / w**2 + 3 / 0.25)
        differences.append(from_pymc - prior - change - float(density({"m": m, "w": w, "a": a})))
    # PyMC keeps the logarithm of its half-normal constant in single precision: the same 1.3e-8 at every point
    np.testing.assert_allclose(differences, 0.0, atol=1e-7)
    assert np.ptp(differences) < 1e-10


def explosive_initial(p, inputs):
    return {"C": 1.0 + 0 * p["k"]}


def explosive_rhs(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def test_failed_solves_are_rejected_and_counted():
    """C = 1 / (1 - k t) has no value at t = 1 for k >= 1, and the data pull k there."""
    space = uq.Space(k=uq.epistemic(uq.Normal(0.3, 0.5)))
    model = uq.Model(
        space, uq.Ode(explosive_initial, explosive_rhs), decay_observe, {"C": ""}, {"C": uq.Normal("C", 3.0)}
    )
    data = pd.DataFrame({"experiment": "e", "output": "C", "time": [0.5, 1.0], "value": [2.0, 20.0]})
    tree = uq.calibrate(uq.Study("explosive", model, {"e": uq.Design()}, data), draws=100, tune=100, chains=2, seed=0)
    attributes = tree["posterior"].attrs
    assert attributes["failed_solves_warmup"] + attributes["failed_solves_sampling"] > 0
    assert attributes["failed_solves_sampling"] <= attributes["divergences_sampling"]
    assert np.all(tree["posterior"]["k"] < 1.0)


def test_wrong_settings_are_named_together(decay_study):
    with pytest.raises(uq.InputError) as caught:
        uq.calibrate(decay_study, draws=1, tune=0, chains=0, target_accept=1.5)
    assert len(caught.value.findings) == 4


@pytest.mark.parametrize(
    "verb, settings, expected",
    [
        (uq.calibrate, {"seed": -1}, "seed is -1; it must be at least 0"),
        (uq.calibrate, {"seed": None}, "seed is None; give a whole number, 0 or more"),
        (uq.calibrate, {"seed": 2**63}, "it must be less than 2^63"),
        (uq.calibrate, {"chains": 2.0}, "chains is 2.0; give a whole number, 1 or more"),
        (uq.calibrate, {"draws": True}, "draws is True; give a whole number"),
        (uq.calibrate, {"target_accept": "high"}, "target_accept is 'high'; it must lie in"),
        (uq.decompose, {"n": "a"}, "n is 'a'; give a whole number, 16 or more"),
        (uq.decompose, {"runs": 300.0}, "runs is 300.0; give a whole number"),
        (uq.decompose, {"confidence": None}, "confidence is None; give a number between 0 and 1"),
        (uq.decompose, {"seed": -1}, "seed is -1"),
        (uq.identify, {"seed": None}, "seed is None"),
        (uq.identify, {"budget": "long"}, "budget is 'long'; give a number of seconds"),
        (uq.identify, {"scale": "logarithmic"}, "scale is 'logarithmic'; give 'log' or 'natural'"),
        (uq.run, {"n": "a"}, "n is 'a'"),
        (uq.run, {"chains": 2.0}, "chains is 2.0"),
        (uq.run, {"target_accept": 2}, "target_accept is 2"),
        (uq.run, {"seed": None}, "seed is None"),
    ],
)
def test_a_setting_that_is_none_is_a_sentence(decay_study, verb, settings, expected):
    with pytest.raises(uq.InputError) as caught:
        verb(decay_study, **settings)
    assert expected in str(caught.value) and len(caught.value.findings) == 1


@pytest.mark.slow
def test_the_bound_of_a_prior_may_be_a_parameter():
    """log a is uniform between log .1 and log b: the density of the PyMC model is the prior of the space."""
    space = uq.Space(b=uq.epistemic(uq.LogUniform(1.0, 10.0)), m=uq.epistemic(uq.LogUniform(0.1, "b")))
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", 0.5)})
    study = uq.Study("bound", model, {"e": uq.Design()}, table([1.0, 1.2]))
    compiled = pymc_model(likelihood_of(study)).compile_logp(jacobian=False)
    density = log_likelihood(study)
    for b, m in ((2.0, 0.5), (9.0, 3.0)):
        # the variables of PyMC are logarithms, mapped to the line: without the jacobian their densities are uniform
        values = {
            "b_log_interval__": logit(np.log(b) / np.log(10)),
            "m_log_interval__": logit(np.log(10 * m) / np.log(10 * b)),
        }
        expected = -np.log(np.log(10)) - np.log(np.log(10 * b)) + float(density({"b": b, "m": m}))
        assert float(compiled(values)) == pytest.approx(expected, rel=1e-9)
    draws = uq.calibrate(study, draws=20, tune=20, chains=1)["posterior"]
    assert np.all(draws["m"] < draws["b"])


@pytest.mark.slow
def test_noise_may_name_a_fixed_parameter():
    space = uq.Space(m=uq.epistemic(uq.Normal(0.0, 2.0)), s=uq.fixed(0.5))
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.Normal("y", "s")})
    tree = uq.calibrate(uq.Study("fixed", model, {"e": uq.Design()}, table([1.0, 1.2])), draws=20, tune=20, chains=2)
    assert tree["posterior_band"]["y"].notnull().all()


def test_a_start_without_density_is_reported():
    space = uq.Space(m=uq.epistemic(uq.LogNormal(0.0, 1.0)))
    model = uq.Model.from_function(space, level, {"y": ""}, {"y": uq.LogNormal(median="y", sigma=0.2)})
    study = uq.Study("zero", model, {"e": uq.Design()}, table([1.0, 0.0]))
    with pytest.raises(uq.InputError, match=r"1 values of 'y' \(the first is 0, .* have no density"):
        uq.calibrate(study)


def test_a_solve_that_fails_at_the_start_is_reported():
    space = uq.Space(k=uq.epistemic(uq.Normal(5.0, 0.5)))
    model = uq.Model(
        space, uq.Ode(explosive_initial, explosive_rhs), decay_observe, {"C": ""}, {"C": uq.Normal("C", 3.0)}
    )
    data = pd.DataFrame({"experiment": "e", "output": "C", "time": [0.5, 1.0], "value": [2.0, 20.0]})
    with pytest.raises(uq.InputError, match="at the prior medians:\n  - 1 of 1 runs fail"):
        uq.calibrate(uq.Study("explosive", model, {"e": uq.Design()}, data))


def test_wrong_numbers_of_units_are_reported():
    study = hierarchical_study(1)
    with pytest.raises(uq.InputError, match="6 units"):
        log_likelihood(study)({"m": 0.0, "w": 1.0, "a": np.ones(4)})
