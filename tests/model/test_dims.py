"""Outputs that are no series: one number for a run, a row at each time, a distribution over counts."""

import functools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.decomposition import output_gradients
from uqbench.model import digest

COUNTS = np.arange(4)
FACTORIALS = np.array([1.0, 1.0, 2.0, 6.0])
TIMES = np.array([0.5, 1.0, 2.0])
SPACE = uq.Space(k=uq.epistemic(uq.LogNormal(median=1.5, sigma=0.3)), sigma=uq.epistemic(uq.HalfNormal(0.2)))


def decays(theta, design, key):
    """Events at the rate k: their mean number, the probability of each of the first numbers, the time between two."""
    mean = theta["k"] * design.times
    share = jnp.exp(-mean)[:, None] * mean[:, None] ** COUNTS / FACTORIALS
    code = jnp.where(theta["k"] < 0, 100, 0)
    return {
        "count": share,
        "interval": 1 / theta["k"],
        "table": jnp.outer(COUNTS, COUNTS) * theta["k"],
        "mean": mean,
    }, code


DIMS = {"count": ("time", "count"), "interval": (), "table": ("row", "column")}
UNITS = {"count": "", "interval": "h", "table": "", "mean": ""}
NOISE = {"interval": uq.Normal("interval", "sigma"), "mean": uq.Normal("mean", "sigma")}


def counted(dims=DIMS, noise=NOISE, simulate=decays):
    return uq.Model.from_function(
        SPACE, simulate, UNITS, noise, name="counted", time_unit="h", results={100: "k is negative."}, dims=dims
    )


def share(k, times):
    return np.exp(-k * times)[:, None] * (k * times[:, None]) ** COUNTS / FACTORIALS


@pytest.mark.parametrize("mode", ["value", "forward", "reverse"])
def test_a_run_has_outputs_of_the_shapes_that_dims_say(mode):
    def run(k):
        return uq.evaluate(counted(), {"k": k, "sigma": 0.1}, uq.Design(TIMES), mode=mode).outputs

    # at concrete values, and traced
    for outputs in (run(1.2), jax.jit(run)(1.2)):
        np.testing.assert_allclose(outputs["count"], share(1.2, TIMES), rtol=1e-12)
        np.testing.assert_allclose(outputs["table"], 1.2 * np.outer(COUNTS, COUNTS), rtol=1e-12)
        assert outputs["interval"].shape == ()
        assert float(outputs["interval"]) == pytest.approx(1 / 1.2)
        np.testing.assert_allclose(outputs["mean"], 1.2 * TIMES)
    slope = jax.jacfwd(run)(1.2) if mode != "reverse" else jax.jacrev(run)(1.2)
    # d/dk of the Poisson probabilities
    expected = share(1.2, TIMES) * (COUNTS / 1.2 - TIMES[:, None])
    np.testing.assert_allclose(slope["count"], expected, atol=1e-10)
    assert float(slope["interval"]) == pytest.approx(-1 / 1.2**2)


def test_a_batch_comes_first_and_failed_runs_are_nan_in_all_outputs():
    k = np.array([1.2, -1.0, 0.4])
    designs = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), uq.Design(TIMES))
    for design in (uq.Design(TIMES), designs):
        run = uq.evaluate_many(counted(), {"k": k, "sigma": 0.1}, design)
        assert run.result.tolist() == [0, 100, 0]
        assert {name: each.shape for name, each in run.outputs.items()} == {
            "count": (3, 3, 4), "interval": (3,), "table": (3, 4, 4), "mean": (3, 3),
        }  # fmt: skip
        for each in run.outputs.values():
            assert np.all(np.isnan(each[1]))
        np.testing.assert_allclose(run.outputs["count"][2], share(0.4, TIMES), rtol=1e-12)
        np.testing.assert_allclose(run.outputs["interval"][2], 2.5)


def most_likely(outputs, design):
    return jnp.argmax(outputs["count"][-1]) + 0.0 * outputs["interval"]


def interval(outputs, design):
    return outputs["interval"]


@functools.cache
def study():
    data = pd.DataFrame(
        {"experiment": "one", "output": ["interval", "interval", "mean"], "time": [0.0, 3.0, 2.0],
         "value": [0.8, 0.7, 2.6]}
    )  # fmt: skip
    design = uq.Design(TIMES)
    quantities = {"interval": uq.Quantity(interval, design, "h"), "likely": uq.Quantity(most_likely, design)}
    return uq.Study("counted", counted(), {"one": uq.Design()}, data, quantities)


def test_one_number_is_measured_at_any_time():
    density = log_likelihood(study())
    theta = {"k": jnp.asarray(1.25), "sigma": jnp.asarray(0.1)}
    residuals = (np.array([0.8, 0.7, 2.6]) - np.array([0.8, 0.8, 2.5])) / 0.1
    expected = np.sum(-(residuals**2) / 2 - math.log(0.1 * math.sqrt(2 * math.pi)))
    assert float(density(theta)) == pytest.approx(expected)
    assert np.isfinite(jax.grad(density)(theta)["k"])


@pytest.mark.slow
def test_verbs_and_quantities_take_them():
    found = uq.decompose(study(), n=32, runs=256)
    spread = found["variance"].total.sel(quantity="interval")
    # the prior of 1/k: log-normal with the median 1/1.5
    assert float(spread) == pytest.approx((np.exp(0.09) - 1) * np.exp(0.09) / 1.5**2, rel=0.6)
    assert set(found["variance_over_time"].output.values) <= {"interval", "mean"}
    tree = uq.calibrate(study(), draws=50, tune=100, chains=2, seed=0)
    band = tree["posterior_band"]["interval"].isel(run=0)
    # the same at every time, but for the noise
    assert band.sel(quantile=0.5).std() < 0.2 * band.sel(quantile=0.5).mean()
    values, gradients = output_gradients(counted(), {"k": np.array([1.0, 2.0]), "sigma": 0.1}, uq.Design(TIMES), ["k"])
    assert values.output.values.tolist() == ["interval", "mean"]
    np.testing.assert_allclose(gradients.sel(output="interval", parameter="k"), [[-1.0] * 3, [-0.25] * 3])


def test_dims_belong_to_the_digest():
    design = uq.Design(TIMES)
    other = counted(DIMS | {"table": ("row", "place")})
    assert digest(counted(), design) != digest(other, design)


def test_what_is_measured_is_a_series():
    with pytest.raises(uq.InputError, match=r"'count' is measured and has the dims \('time', 'count'\); what is measu"):
        counted(noise={"count": uq.Normal("count", "sigma")})


@pytest.mark.parametrize(
    "dims, sentence",
    [
        ({"cuont": ()}, "dims are given for 'cuont', which has no unit; did you mean 'count'?"),
        (DIMS | {"table": ("row", "time")}, "\"time\" comes first"),
        (DIMS | {"interval": "time"}, "'interval' has the dims 'time'; give a tuple of names"),
        (DIMS | {"interval": ("time", "")}, "'interval' has the dims ('time', ''); give a tuple of names"),
        ({"interval": (), "table": ("row", "column")}, "'count' has the shape (3, 4) at 3 times, and its dims are "
         "('time',); return an axis for each of them, or name its axes, as in dims={'count': ('time', 'x')}."),
        ({"interval": (), "count": ("time",), "table": ("row",)}, "'table' has the shape (4, 4) at 3 times"),
        (DIMS | {"table": ("time", "column")}, "'table' has the shape (4, 4) at 3 times"),
    ],
)  # fmt: skip
def test_dims_that_do_not_fit_are_said(dims, sentence):
    with pytest.raises(uq.InputError) as error:
        uq.evaluate(counted(dims), {"k": 1.0, "sigma": 0.1}, uq.Design(TIMES))
    assert sentence in str(error.value)


# --- an Ode whose states are arrays


def initial(p, inputs):
    return {"u": jnp.arange(1.0, 7.0).reshape(2, 3) * p["k"]}


def rhs(t, y, p, inputs):
    return {"u": -p["k"] * y["u"]}


def observe(y, p):
    return {"u": y["u"], "sum": y["u"].sum(), "rows": y["u"].sum(axis=1)}


@functools.cache
def fading(observe=observe, rhs=rhs):
    units = {"u": "", "sum": "", "rows": ""}
    noise = {"sum": uq.Normal("sum", "sigma")}
    dims = {"u": ("time", "x", "y"), "rows": ("time", "x")}
    return uq.Model(SPACE, uq.Ode(initial, rhs), observe, units, noise, name="fading", dims=dims)


def uncompiled(t, y, p, inputs):
    """The number of passes depends on the values, so the solver in JAX has to serve."""
    once = jax.lax.while_loop(lambda n: n < p["k"] - p["k"], lambda n: n + 1.0, 1.0)
    return {"u": -p["k"] * y["u"] * once}


@pytest.mark.parametrize("rates, solver", [(rhs, "native engine"), (uncompiled, "JAX")])
def test_fields_over_time(rates, solver):
    model, design = fading(rhs=rates), uq.Design(TIMES)
    assert model.dynamics.solver(model, design)[0].startswith(solver)
    field = np.arange(1.0, 7.0).reshape(2, 3) * 1.2 * np.exp(-1.2 * TIMES)[:, None, None]
    run = uq.evaluate(model, {"k": 1.2, "sigma": 0.1}, design)
    many = uq.evaluate_many(model, {"k": [1.2, 0.3], "sigma": 0.1}, design)
    for outputs in (run.outputs, {name: each[0] for name, each in many.outputs.items()}):
        np.testing.assert_allclose(outputs["u"], field, rtol=1e-6)
        np.testing.assert_allclose(outputs["rows"], field.sum(axis=2), rtol=1e-6)
        np.testing.assert_allclose(outputs["sum"], field.sum(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_gradients_of_fields(mode):
    def total(k):
        return uq.evaluate(fading(), {"k": k, "sigma": 0.1}, uq.Design(TIMES), mode=mode).outputs["u"].sum()

    slope = 21 * np.sum((1 - 1.2 * TIMES) * np.exp(-1.2 * TIMES))
    assert float(jax.grad(total)(jnp.asarray(1.2))) == pytest.approx(slope, rel=1e-6)


def test_check_and_likelihood_of_a_model_with_fields():
    found = uq.check_model(fading(), uq.Design(TIMES))
    assert found.symbol_error < 1e-13 and found.gradient_error < 1e-6
    data = pd.DataFrame({"experiment": "one", "output": "sum", "time": TIMES, "value": 0.0})
    theta = {"k": jnp.asarray(1.2), "sigma": jnp.asarray(2.0)}
    density = log_likelihood(uq.Study("fading", fading(), {"one": uq.Design()}, data))(theta)
    sums = 21 * 1.2 * np.exp(-1.2 * TIMES)
    assert float(density) == pytest.approx(
        np.sum(-((sums / 2) ** 2) / 2 - math.log(2 * math.sqrt(2 * math.pi))), rel=1e-6
    )


def test_a_steady_state_of_a_field():
    run = uq.evaluate(fading(), {"k": 1.2, "sigma": 0.1}, uq.Design([0.5, np.inf]))
    assert run.outputs["u"].shape == (2, 2, 3)
    np.testing.assert_allclose(run.outputs["u"][1], 0.0, atol=1e-7)


@pytest.mark.parametrize("rates", [rhs, uncompiled])
def test_an_output_is_not_named_like_an_entry_of_another(rates):
    def observe(y, p):
        return {"u": y["u"][0], "u_0": y["u"].sum()}

    model = uq.Model(SPACE, uq.Ode(initial, rates), observe, {"u": "", "u_0": ""}, dims={"u": ("time", "x")})
    with pytest.raises(uq.InputError, match="an entry of the array 'u' is solved under the name 'u_0', which 'u_0' ha"):
        uq.evaluate(model, {"k": 1.0, "sigma": 0.1}, uq.Design(TIMES))


def test_an_array_without_dims_is_said():
    with pytest.raises(uq.InputError, match=r"'u' has the shape \(3, 2, 3\) at 3 times"):
        uq.evaluate(replace(fading(), dims={"rows": ("time", "x")}), {"k": 1.0, "sigma": 0.1}, uq.Design(TIMES))


NUMBERED = DIMS | {"count": ("time", "number")}


def test_axes_have_coordinates():
    coords = {"number": [0, 1, 2, 3], "row": ["a", "b", "c", "d"], "column": [10.0, 20.0, 30.0, 40.0]}
    model, design = replace(counted(NUMBERED), coords=coords), uq.Design(TIMES)
    one = model.dataset(uq.evaluate(model, {"k": 1.2, "sigma": 0.1}, design), design)
    assert one["count"].sel(time=1.0, number=2).item() == pytest.approx(share(1.2, TIMES)[1, 2])
    assert one["table"].sel(row="d", column=30.0).item() == pytest.approx(3 * 2 * 1.2)
    assert one["interval"].attrs["units"] == "h" and one["interval"].dims == ()
    run = uq.evaluate_many(model, {"k": np.array([1.2, -1.0]), "sigma": 0.1}, design)
    many = model.dataset(run, design)
    assert many["table"].dims == ("run", "row", "column") and many["result"].values.tolist() == [0, 100]
    np.testing.assert_allclose(many["count"].isel(run=0), one["count"], rtol=1e-12)
    # what else an axis means is another model
    assert digest(model, design) != digest(counted(NUMBERED), design)
    assert set(model.only(["count"]).coords) == {"number"}


def test_wrong_coordinates_are_named_all_at_once():
    with pytest.raises(uq.InputError) as error:
        replace(counted(NUMBERED), coords={"nubmer": [0, 1], "row": [1.0, 1.0], "column": [[1.0]]})
    text = str(error.value)
    assert "coords are given for 'nubmer', which is no axis in `dims`; did you mean 'number'?" in text
    assert "the coords of 'row' name a place twice" in text and "give a row of numbers or names" in text
    with pytest.raises(uq.InputError, match=r"'count' has 4 entries along 'number', whose coords are 3"):
        uq.evaluate(
            replace(counted(NUMBERED), coords={"number": [0, 1, 2]}), {"k": 1.2, "sigma": 0.1}, uq.Design(TIMES)
        )
    with pytest.raises(uq.InputError, match="'count' has coords and is called like an output"):
        replace(counted(), coords={"count": COUNTS})
