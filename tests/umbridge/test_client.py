"""A foreign code as a model: its values and derivatives are those of its closed form, in every way of calling it."""

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.identifiability import fisher_information
from uqbench.model.digest import digest
from uqbench.umbridge import foreign_function, foreign_model

from .foreign_server import TIMES, foreign_server, outputs, slopes
from .models import DESIGN, THETA, UNITS, decay, space


@pytest.fixture(scope="module")
def server():
    with foreign_server() as running:
        yield running


@pytest.fixture(scope="module")
def model(server):
    return decay(server.url)


def test_a_run_has_the_numbers_of_the_server(model):
    run = uq.evaluate(model, THETA, DESIGN)
    series, area = outputs(2.0, 0.5)
    assert int(run.result) == 0
    np.testing.assert_array_equal(run.outputs["C"], [series[1], series[3]])
    assert float(run.outputs["area"]) == area[0]


def test_the_model_is_well_formed(model):
    found = uq.check_model(model, DESIGN)
    assert found.gradient == "exact" and found.failed == 0 and found.gradient_error < 1e-6


@pytest.mark.parametrize("derivatives", [("Gradient",), ("ApplyJacobian",), ("Gradient", "ApplyJacobian")])
@pytest.mark.parametrize("name, inputs", [("decay", [["x0", "k"]]), ("split", [["x0"], "k"])])
def test_derivatives_are_those_of_the_closed_form(derivatives, name, inputs):
    with foreign_server(derivatives) as running:
        model = decay(running.url, name, inputs=inputs)

        def both(theta):
            run = uq.evaluate(model, theta, DESIGN)
            return jnp.append(run.outputs["C"], run.outputs["area"])

        series, area = slopes(2.0, 0.5)
        expected = np.array([series[1], series[3], area[0]])
        for found in (jax.jacfwd(both)(THETA), jax.jacrev(both)(THETA)):
            np.testing.assert_allclose(np.stack([found["x0"], found["k"]], axis=-1), expected, rtol=1e-13)
            assert not np.any(found["sigma"])
        assert {"Gradient", "ApplyJacobian"} & {*running.counts} <= {*derivatives}


def test_a_jacobian_is_had_by_the_fewest_requests(server, model):
    def change(model, *names):
        before = dict(server.counts)
        jax.jacfwd(lambda part: uq.evaluate(model, {**THETA, **part}, DESIGN).outputs)(dict.fromkeys(names, 1.0))
        return {kind: count - before.get(kind, 0) for kind, count in server.counts.items()}

    # two output vectors by two parameters, or by one of them; there would be five rows
    assert (both := change(model, "x0", "k"))["ApplyJacobian"] == 4 and not both.get("Gradient")
    assert change(model, "k")["ApplyJacobian"] == 2
    # of the second output vector alone there is one row
    assert (row := change(decay(server.url, outputs=[None, "area"], units={"area": ""}, noise={}), "x0", "k"))
    assert (row["Gradient"], row["ApplyJacobian"]) == (1, 0)


def test_a_batch_asks_once_for_equal_inputs_and_for_several_at_a_time(server):
    model = decay(server.url, connections=4)
    x0 = np.array([1.0, 2.0, 3.0, 2.0, 2.0])
    before = server.counts.get("Evaluate", 0)
    run = uq.evaluate_many(model, {**THETA, "x0": x0}, DESIGN)
    # padded to eight
    assert server.counts["Evaluate"] - before == 3
    np.testing.assert_allclose(run.outputs["C"], x0[:, None] * np.exp([-0.5, -2.0]), rtol=1e-14)
    assert not np.any(run.result)


def test_derivatives_of_a_batch(model):
    def total(x0):
        return uq.evaluate_many(model, {**THETA, "x0": x0}, DESIGN).outputs["C"].sum()

    np.testing.assert_allclose(
        jax.jit(jax.grad(total))(jnp.array([1.0, 3.0])), np.full(2, np.exp([-0.5, -2.0]).sum()), rtol=1e-13
    )


def test_without_derivatives_the_status_says_so_and_nothing_is_made_up():
    with foreign_server(derivatives=()) as running:
        model = decay(running.url)
        assert model.gradient == "none" and "gradient none" in repr(model)
        with pytest.raises(uq.InputError, match="neither Gradient nor ApplyJacobian"):
            jax.grad(lambda k: uq.evaluate(model, {**THETA, "k": k}, DESIGN).outputs["area"])(0.5)
        evaluations = running.counts.get("Evaluate", 0)
        assert evaluations == 0


def test_there_is_no_derivative_by_times_that_are_looked_up(model):
    with pytest.raises(uq.InputError, match="no derivatives by times"):
        jax.jacfwd(lambda design: uq.evaluate(model, THETA, design).outputs["C"])(DESIGN)


def test_times_that_are_not_served_are_a_code(model):
    run = uq.evaluate(model, THETA, uq.Design([1.0, 3.0]))
    assert int(run.result) == uq.Result.TIME_NOT_SERVED and np.all(np.isnan(run.outputs["C"]))
    assert "Observe at its `times`" in uq.RESULTS[int(run.result)]


def dose_config(times, inputs):
    return {"at": times.tolist(), "dose": float(inputs["dose"])}


def test_a_config_may_be_made_from_the_design(server):
    # four times, of which the server says nothing
    model = foreign_model(
        server.url, "decay", space=space, units=UNITS, inputs=[["x0", "k"]], outputs=["C", ["area"]], config=dose_config
    )
    uq.evaluate(model, THETA, uq.Design([1.0, 2.0, 3.0, 5.0], inputs={"dose": 7.0}))
    assert server.configs[-1] == {"at": [1.0, 2.0, 3.0, 5.0], "dose": 7.0}
    # answers of other sizes than those of the design
    run = uq.evaluate(model, THETA, uq.Design([1.0], inputs={"dose": 7.0}))
    assert int(run.result) == uq.Result.BAD_ANSWER


def test_inputs_of_a_design_and_numbers_stand_in_input_vectors(server):
    model = foreign_model(
        *(server.url, "split"),
        space=space,
        inputs=["dose", [0.5]],
        outputs=["C", None],
        units={"C": "mg/L"},
        times=TIMES,
    )
    run = uq.evaluate(model, THETA, uq.Design([1.0], inputs={"dose": 3.0}))
    np.testing.assert_allclose(run.outputs["C"], 3.0 * np.exp(-0.5), rtol=1e-14)
    with pytest.raises(uq.InputError, match="'dose', which is neither a parameter"):
        uq.evaluate(model, THETA, uq.Design([1.0]))
    with pytest.raises(uq.InputError, match=r"sizes \[2, 1\] are given; it takes the sizes \[1, 1\]"):
        uq.evaluate(model, THETA, uq.Design([1.0], inputs={"dose": [3.0, 4.0]}))


def test_times_of_a_design_may_be_an_input_vector():
    with foreign_server(["Gradient"]) as running:
        model = foreign_model(running.url, "at", space=space, inputs=["k", "times"], outputs=["C"], units={"C": ""})
        times = np.array([0.1, 0.7, 3.0])
        run = uq.evaluate(model, THETA, uq.Design(times))
        np.testing.assert_allclose(run.outputs["C"], np.exp(-0.5 * times), rtol=1e-14)
        with pytest.raises(uq.InputError, match=r"the sizes \[1, 2\] are given; it takes the sizes \[1, 3\]"):
            uq.evaluate(model, THETA, uq.Design([1.0, 2.0]))
        slope = jax.jacrev(lambda design: uq.evaluate(model, THETA, design).outputs["C"])(uq.Design(times)).times
        np.testing.assert_allclose(slope, np.diag(-0.5 * np.exp(-0.5 * times)), rtol=1e-14)


def test_a_whole_vector_may_have_an_axis_of_its_own(server):
    model = decay(server.url, outputs=["profile", "area"], times=None, noise={}, units={"profile": "", "area": ""},
                  dims={"profile": ("x",)}, coords={"x": TIMES})  # fmt: skip
    found = model.dataset(uq.evaluate(model, THETA, DESIGN), DESIGN)
    np.testing.assert_allclose(found.profile.sel(x=2.0), 2.0 * np.exp(-1.0), rtol=1e-14)
    assert found.area.dims == () and float(found.area) == 4.0


def test_the_content_of_a_model_is_what_it_asks_for_and_not_where(server, model):
    with foreign_server() as elsewhere:
        same = decay(elsewhere.url, timeout=3.0)
    assert digest(same, DESIGN) == digest(model, DESIGN)
    assert digest(decay(server.url, config={"level": 2}), DESIGN) != digest(model, DESIGN)
    swapped = decay(server.url, inputs=[["k", "x0"]])
    assert digest(swapped, DESIGN) != digest(model, DESIGN)


def test_a_model_works_in_another_process(model, tmp_path):
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    code = (
        "import pickle, sys, uqbench as uq\n"
        "model = pickle.load(open(sys.argv[1], 'rb'))\n"
        "run = uq.evaluate(model, {'x0': 2.0, 'k': 0.5, 'sigma': 0.1}, uq.Design([1.0]))\n"
        "print(int(run.result), float(run.outputs['area']))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.pickle")], capture_output=True, text=True)
    assert ran.stdout.split() == ["0", "4.0"], ran.stderr


def test_a_function_is_called_in_any_code(server):
    foreign = foreign_function(server.url, "split", connections=3)
    assert foreign.differentiable and foreign.input_sizes == (1, 1)

    @jax.jit
    def area(x0, k):
        return foreign([x0], k)[1][0] ** 2

    assert float(area(2.0, 0.5)) == 16.0
    # d(x0/k)^2/dk = -2 x0^2 / k^3
    np.testing.assert_allclose(jax.grad(area, argnums=1)(2.0, 0.5), -64.0, rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(area, in_axes=(None, 0))(2.0, jnp.array([0.5, 1.0])), [16.0, 4.0], rtol=1e-14)


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"name": "dekay"}, ["no model 'dekay'; did you mean 'decay'"]),
        ({"name": None}, ["there are several models; known are 'decay', 'split', 'other', 'long', 'at'"]),
        ({"inputs": None}, ["input vector 0 has 2 entries on the server, and 3 here (x0, k, sigma)"]),
        ({"inputs": [["x0"], ["k"]]}, ["the server takes 1 input vectors, of the sizes [2], and `inputs` says", "2."]),
        ({"inputs": [["x0", None]]}, ["input vector 0 has None in it"]),
        ({"outputs": ["C"]}, ["the server gives 2 output vectors, of the sizes [4, 1]", "'area', which is not among"]),
        ({"outputs": [["C", "D"], "area"]}, ["vector 0 has 4 entries on the server, and 2 names", "'D' has no unit"]),
        ({"times": None}, ["output 'C' has 4 entries on the server, and nothing says at which times"]),
        ({"times": [1.0, 2.0]}, ["output 'C' has 4 entries on the server, and there are 2 `times`"]),
        ({"times": [2.0, 1.0]}, ["give numbers that rise"]),
        ({"times": "soon"}, ["times are 'soon'"]),
        ({"dims": {"C": ()}}, ["output 'C' has 4 entries on the server, and its dims are ()"]),
        ({"timeout": 0, "connections": 0}, ["timeout is 0", "connections is 0"]),
        ({"timeout": float("inf")}, ["timeout is inf"]),
        ({"config": {"f": len}}, ["config cannot be sent as JSON"]),
        ({"config": [1]}, ["config is [1]; give a dict"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_at_once(server, settings, expected):
    with pytest.raises(uq.InputError) as caught:
        decay(server.url, **settings)
    for part in expected:
        assert part in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:4242", "ftp://localhost", "http://", "http://localhost:port", None])
def test_a_url_that_is_none(url):
    with pytest.raises(uq.InputError, match="write it as in 'http://localhost:4242'"):
        decay(url)


def test_a_study_goes_through_a_verb(model):
    study = uq.Study("foreign", model, {"one": DESIGN}, quantities={"area": area, "late": late})
    found = uq.decompose(study, n=16, runs=256)
    # the area is x0/k of two lognormals with the same spread
    indices = found["sobol"].ST.sel(quantity="area")
    assert [*indices.parameter.values] == ["x0", "k"]
    np.testing.assert_allclose(indices, 0.5, atol=0.2)
    # C at 4 h goes with exp(-4 k): mostly k
    assert float(found["sobol"].ST.sel(quantity="late", parameter="k")) > 0.5


def own(theta, design, key):
    return {"C": theta["x0"] * jnp.exp(-theta["k"] * design.times), "area": theta["x0"] / theta["k"]}


@pytest.fixture(scope="module")
def studies(model):
    """A study of the foreign code, and one of the same model in JAX."""
    times = np.array(TIMES)
    disturbed = 2.0 * np.exp(-0.5 * times) + [0.03, -0.02, 0.02, -0.03]
    data = pd.DataFrame({"experiment": "one", "output": "C", "time": times, "value": disturbed})
    here = uq.Model.from_function(space, own, UNITS, dict(model.noise), name="decay", time_unit="h", dims={"area": ()})
    return [uq.Study("foreign", each, {"one": uq.Design()}, data) for each in (model, here)]


@pytest.mark.slow
def test_a_foreign_code_is_fitted_like_our_own(studies):
    foreign, here = (uq.identify(study, starts=3) for study in studies)
    np.testing.assert_allclose(foreign["fit"].value, here["fit"].value, rtol=1e-4)
    for side in ("lower", "upper"):
        np.testing.assert_allclose(foreign["profile"][side], here["profile"][side], rtol=1e-3)


@pytest.mark.slow
def test_a_foreign_code_is_calibrated_like_our_own(studies):
    foreign, here = (uq.calibrate(study, draws=200, tune=300, chains=2)["posterior"] for study in studies)
    for name in ("x0", "k"):
        spread = float(here[name].std())
        assert abs(float(foreign[name].mean() - here[name].mean())) < 0.5 * spread
        assert 0.6 < float(foreign[name].std()) / spread < 1.6


def test_long_vectors_pass():
    with foreign_server() as running:
        foreign = foreign_function(running.url, "long", timeout=30.0)
        found = jax.jit(lambda x: foreign(jnp.sin(x))[0])(jnp.arange(100_000.0))
        np.testing.assert_array_equal(found, -np.sin(np.arange(100_000.0)))


def area(outputs, design):
    return outputs["area"]


def late(outputs, design):
    return outputs["C"][-1]


def test_a_study_is_identified_from_the_derivatives_of_the_server(model):
    times = np.array([0.5, 1.0, 2.0, 4.0])
    data = pd.DataFrame({"experiment": "one", "output": "C", "time": times, "value": 2.1 * np.exp(-0.45 * times)})
    study = uq.Study("foreign", model, {"one": uq.Design()}, data)
    found = fisher_information(study, {"x0": 2.0, "k": 0.5, "sigma": 0.1})
    # by the logarithms of the parameters
    rows = np.array(slopes(2.0, 0.5)[0]) * [2.0, 0.5]
    expected = rows.T @ rows / 0.01
    block = found.matrix.sel(parameter=["x0", "k"], parameter_=["x0", "k"])
    np.testing.assert_allclose(block, expected, rtol=1e-9)
