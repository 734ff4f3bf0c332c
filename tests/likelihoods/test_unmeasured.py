"""Outputs that are not measured: whatever becomes of them, data of the others have their density."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.identifiability import fisher_information

SPACE = uq.Space(k=uq.epistemic(uq.LogNormal(median=0.5, sigma=0.3)), s=uq.epistemic(uq.HalfNormal(0.2)))
UNITS = {"C": "mg", "log_dose": "", "root": ""}
NOISE = {"C": uq.Normal("C", "s")}
TIMES, VALUES = np.array([1.0, 2.0, 3.0]), np.array([0.7, 0.4, 0.2])


def initial(p, inputs):
    return {"C": 1.0 + 0.0 * p["k"], "product": 0.0}


def decay(t, y, p, inputs):
    return {"C": -p["k"] * y["C"], "product": 0.0 * y["C"]}


def observe(y, p, inputs):
    """The logarithm of an input that is not set, and a root whose slope is infinite where the state stays at zero."""
    return {"C": y["C"], "log_dose": jnp.log(inputs["dose"]), "root": jnp.sqrt(y["product"] * p["k"])}


def simulate(theta, design, key):
    concentration = jnp.exp(-theta["k"] * design.times)
    return {"C": concentration, "log_dose": jnp.log(design.inputs["dose"]), "root": jnp.sqrt(0.0 * theta["k"])}


MODELS = {
    "engine": uq.Model(SPACE, uq.Ode(initial, decay), observe, UNITS, NOISE),
    "simulator": uq.Model.from_function(SPACE, simulate, UNITS, NOISE),
}


def study_of(model):
    data = pd.DataFrame({"experiment": "e", "output": "C", "time": TIMES, "value": VALUES})
    return uq.Study("unmeasured", model, {"e": uq.Design(inputs={"dose": 0.0})}, data)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_an_unmeasured_output_that_is_not_finite_leaves_the_density_and_its_slope(model):
    theta = {"k": jnp.asarray(0.5), "s": jnp.asarray(0.1)}
    density = log_likelihood(study_of(model))
    expected = stats.norm.logpdf(VALUES, np.exp(-0.5 * TIMES), 0.1).sum()
    assert float(density(theta)) == pytest.approx(expected, rel=1e-5)
    slope = jax.grad(density)(theta)["k"]
    mean = np.exp(-0.5 * TIMES)
    assert float(slope) == pytest.approx(np.sum((VALUES - mean) / 0.01 * -TIMES * mean), rel=1e-4)
    information = fisher_information(study_of(model), theta, scale="natural").matrix.sel(parameter="k", parameter_="k")
    assert float(information) == pytest.approx(np.sum((TIMES * mean) ** 2) / 0.01, rel=1e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_run_keeps_the_outputs_that_are_finite_and_says_that_one_is_not(model):
    run = uq.evaluate(model, {"k": 0.5, "s": 0.1}, uq.Design(TIMES, inputs={"dose": 0.0}))
    assert int(run.result) == uq.Result.OUTPUT_NOT_FINITE
    np.testing.assert_allclose(run.outputs["C"], np.exp(-0.5 * TIMES), rtol=1e-5)
    assert np.all(np.isnan(run.outputs["log_dose"]))
    asked = uq.evaluate(model.only(["C"]), {"k": 0.5, "s": 0.1}, uq.Design(TIMES, inputs={"dose": 0.0}))
    assert int(asked.result) == 0 and [*asked.outputs] == ["C"]


@pytest.mark.parametrize("name", MODELS)
def test_the_check_of_a_model_names_unmeasured_outputs_without_a_value(name):
    """It passes: what is asked of a model is what is measured."""
    check = uq.check_model(MODELS[name], uq.Design(TIMES, inputs={"dose": 0.0}))
    assert check.without_value == ("log_dose",) and check.failed == 0
    assert check.gradient_error < 1e-4
    assert "not measured, without a value in places: log_dose" in str(check)
    assert uq.check_model(MODELS[name], uq.Design(TIMES, inputs={"dose": 1.0})).without_value == ()


def observe_late(y, p, inputs):
    return {"C": y["C"], "log_dose": jnp.log(y["C"] - 0.5), "root": y["C"]}


def test_an_unmeasured_output_without_a_value_at_some_times_only():
    """log(C - 1/2) has no real value once C is below 1/2, in the symbols neither."""
    check = uq.check_model(uq.Model(SPACE, uq.Ode(initial, decay), observe_late, UNITS, NOISE), uq.Design(TIMES))
    assert check.without_value == ("log_dose",) and check.symbol_error < 1e-13


def test_a_measured_output_without_a_value_does_not_pass():
    measured = {"C": uq.Normal("C", "s"), "log_dose": uq.Normal("log_dose", "s")}
    referred = {"C": uq.Normal("C", "log_dose")}
    for noise in (measured, referred, {}):
        model = uq.Model(SPACE, uq.Ode(initial, decay), observe, UNITS, noise)
        with pytest.raises(uq.InputError, match="an output has no finite value"):
            uq.check_model(model, uq.Design(TIMES, inputs={"dose": 0.0}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_study_with_an_unmeasured_output_without_a_value_is_calibrated():
    tree = uq.calibrate(study_of(MODELS["simulator"]), draws=30, tune=30, chains=2)
    assert np.isfinite(tree["posterior"].to_dataset().to_array()).all()
    assert set(tree["posterior_predictive"].data_vars) == {"C"}


def test_what_noise_refers_to_stays_with_an_output():
    model = uq.Model(SPACE, uq.Ode(initial, decay), observe, UNITS, {"C": uq.Normal("C", "root")})
    assert model.only(["C"]).outputs == ("C", "root")
    assert model.only(["C"]) is model.only(["root", "C"])


def array_initial(p, inputs):
    return {"u": jnp.stack([1.0 + 0.0 * p["k"], 2.0 + 0.0 * p["k"]])}


def array_decay(t, y, p, inputs):
    return {"u": -p["k"] * y["u"]}


def array_observe(y, p, inputs):
    return {"C": y["u"][0], "log_dose": jnp.log(inputs["dose"]), "root": y["u"][1]}


def test_outputs_of_states_that_are_arrays_can_be_chosen_too():
    model = uq.Model(SPACE, uq.Ode(array_initial, array_decay), array_observe, UNITS, NOISE).only(["root"])
    run = uq.evaluate(model, {"k": 0.5, "s": 0.1}, uq.Design(TIMES, inputs={"dose": 0.0}))
    np.testing.assert_allclose(run.outputs["root"], 2.0 * np.exp(-0.5 * TIMES), rtol=1e-5)


def end(outputs, design):
    return outputs["C"][-1]


def test_a_quantity_that_reads_finite_outputs_is_decomposed():
    design = uq.Design(TIMES, inputs={"dose": 0.0})
    study = uq.Study("unread", MODELS["simulator"], {"e": design}, quantities={"end": end})
    tree = uq.decompose(study, n=16, runs=256)
    assert int(tree["variance"]["n_valid"].item()) > 0 and tree["variance"].attrs["failed_runs"] == "{}"
