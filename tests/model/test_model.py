from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench import model as model_module
from uqbench.check import Check

from ..conftest import decay_initial, decay_observe, decay_rhs, decay_space

DESIGN = uq.Design([0.5, 1.0, 3.0], inputs={"dose": 2.0})


def blow_up_rhs(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def wrong_rhs(t, y, p, inputs):
    return {"D": -p["k"] * y["C"]}


def test_outputs_are_the_closed_form(decay):
    run = uq.evaluate(decay, {"k": 0.7, "sigma": 1.0}, DESIGN)
    assert int(run.result) == 0
    np.testing.assert_allclose(run.outputs["C"], 2.0 * np.exp(-0.7 * np.array([0.5, 1.0, 3.0])), rtol=1e-7)


@pytest.mark.parametrize(
    "mode, differentiate", [("value", jax.jacfwd), ("forward", jax.jacfwd), ("reverse", jax.jacrev)]
)
def test_derivatives_are_the_closed_form(decay, mode, differentiate):
    def outputs(k):
        return uq.evaluate(decay, {"k": k, "sigma": 1.0}, DESIGN, mode=mode).outputs["C"]

    times = np.array([0.5, 1.0, 3.0])
    np.testing.assert_allclose(differentiate(outputs)(0.7), -times * 2.0 * np.exp(-0.7 * times), rtol=1e-6)


def test_new_values_trace_nothing():
    traced = []

    def rhs(t, y, p, inputs):
        traced.append(1)
        return decay_rhs(t, y, p, inputs)

    model = uq.Model(
        decay_space(), uq.Ode(decay_initial, rhs), decay_observe, {"C": "mg/L"}, {"C": uq.Normal("C", "sigma")}
    )
    uq.evaluate(model, {"k": 0.5, "sigma": 1.0}, DESIGN)
    uq.evaluate_many(model, {"k": jnp.linspace(0.1, 1.0, 7), "sigma": 1.0}, DESIGN)
    before = len(traced)
    assert before > 0
    uq.evaluate(model, {"k": 0.9, "sigma": 2}, uq.Design([0.1, 0.2, 0.3], inputs={"dose": 5}))
    uq.evaluate_many(model, {"k": jnp.linspace(0.2, 2.0, 6), "sigma": 3.0}, DESIGN)
    assert len(traced) == before


def test_a_failed_member_is_nan_with_a_reason_and_leaves_the_others():
    model = uq.Model(decay_space(), uq.Ode(decay_initial, blow_up_rhs), decay_observe, {"C": "mg/L"})
    # C = 1 / (1/dose - k t) blows up at t = .5 / k
    run = uq.evaluate_many(model, {"k": jnp.array([0.01, 5.0, 0.05]), "sigma": 1.0}, DESIGN)
    assert np.asarray(run.result).tolist()[0::2] == [0, 0]
    assert int(run.result[1]) in uq.RESULTS and int(run.result[1]) != 0
    assert np.all(np.isnan(run.outputs["C"][1]))
    np.testing.assert_allclose(run.outputs["C"][0], 1 / (0.5 - 0.01 * DESIGN.times), rtol=1e-6)


def test_batches_equal_single_runs_and_designs_can_be_stacked(decay):
    k = jnp.array([0.2, 0.5, 1.1])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(DESIGN.at(DESIGN.times + s) for s in (0.0, 1.0, 2.0)))
    run = uq.evaluate_many(decay, {"k": k, "sigma": 1.0}, stacked)
    expected = 2.0 * np.exp(-np.asarray(k)[:, None] * np.asarray(stacked.times))
    np.testing.assert_allclose(run.outputs["C"], expected, rtol=1e-7)


def test_stochastic_simulators_need_a_key():
    def simulate(theta, design, key):
        return {"C": theta["k"] + jax.random.normal(key, design.times.shape)}

    model = uq.Model.from_function(decay_space(), simulate, {"C": "mg/L"}, stochastic=True)
    with pytest.raises(uq.InputError, match="key"):
        uq.evaluate(model, {"k": 1.0, "sigma": 1.0}, DESIGN)
    runs = uq.evaluate_many(model, {"k": jnp.zeros(2), "sigma": 1.0}, DESIGN, jax.random.split(jax.random.key(0), 2))
    assert not np.allclose(runs.outputs["C"][0], runs.outputs["C"][1])


def test_wrong_models_name_every_finding():
    with pytest.raises(uq.InputError) as caught:
        uq.Model(
            decay_space(),
            uq.Ode(decay_initial, decay_rhs),
            decay_observe,
            {"C": "mg/furlong2x", "k": "1/h"},
            {"D": uq.Normal("C", "sigmaa"), "C": uq.Normal(0.0, "sigma")},
            gradient="perfect",
        )
    text = str(caught.value)
    for part in (
        "mg/furlong2x",
        "noise is given for 'D'",
        "'sigmaa'",
        "names no output",
        "both a parameter and an output",
        "'perfect'",
    ):
        assert part in text


@pytest.mark.parametrize(
    "rhs, observe, units, expected",
    [
        (decay_rhs, decay_observe, {"C": "mg/L", "D": "mg"}, "'D', which is not among the outputs"),
        (decay_rhs, lambda y, p: {"C": y["C"], "E": y["C"]}, {"C": "mg/L"}, "'E' has no unit"),
        (wrong_rhs, decay_observe, {"C": "mg/L"}, "no derivative for the state 'C'"),
        (lambda t, y, p, inputs: {"C": -p["kk"] * y["C"]}, decay_observe, {"C": "mg/L"}, "reads 'kk'"),
    ],
)
def test_functions_that_do_not_fit_are_refused_before_solving(rhs, observe, units, expected):
    model = uq.Model(decay_space(), uq.Ode(decay_initial, rhs), observe, units)
    with pytest.raises(uq.InputError, match=expected):
        uq.evaluate(model, {"k": 1.0, "sigma": 1.0}, DESIGN)


def test_designs_name_every_finding():
    for times, part in (
        ([2.0, 1.0], "not sorted"),
        ([-1.0, 1.0], "before the start"),
        ([0.0, np.nan], "not finite"),
        ([["a"]], "not numbers"),
        ([[1.0]], "shape"),
    ):
        with pytest.raises(uq.InputError, match=part):
            uq.Design(times)
    assert float(uq.Design.linspace(-1.0, 1.0, 3).start) == -1.0


def test_digest_follows_content_not_objects(decay):
    again = uq.Model(
        decay_space(), uq.Ode(decay_initial, decay_rhs), decay_observe, {"C": "mg/L"}, {"C": uq.Normal("C", "sigma")}
    )
    other = uq.Model(
        decay_space(), uq.Ode(decay_initial, blow_up_rhs), decay_observe, {"C": "mg/L"}, {"C": uq.Normal("C", "sigma")}
    )
    assert model_module.digest(decay, DESIGN) == model_module.digest(again, DESIGN)
    assert model_module.digest(decay, DESIGN) != model_module.digest(other, DESIGN)


def variant(rhs):
    return uq.Model(decay_space(), uq.Ode(decay_initial, rhs), decay_observe, {"C": "mg/L"})


def test_digest_is_of_the_formula_not_of_what_jax_makes_of_it(monkeypatch):
    """Another version of JAX lists the same formula in another way; stored results are still those of this model."""
    plain = variant(lambda t, y, p, inputs: {"C": -p["k"] * y["C"] + y["C"] ** 2})
    nested = variant(jax.jit(lambda t, y, p, inputs: {"C": jnp.square(y["C"]) - 1 * p["k"] * y["C"]}))
    same = variant(jax.jit(lambda t, y, p, inputs: {"C": -p["k"] * y["C"] + jnp.square(y["C"])}))
    design = uq.Design([1.0], inputs={"dose": 1.0})
    assert model_module.digest(plain, design) == model_module.digest(same, design)
    # another order of operations is another program: it rounds differently
    assert model_module.digest(plain, design) != model_module.digest(nested, design)
    known = model_module.digest(plain, design)
    monkeypatch.setattr(jax.extend.core.ClosedJaxpr, "__str__", lambda self: "as another version prints it")
    assert model_module.digest(plain, design) == known


def test_digest_sees_the_time_and_the_inputs():
    """Also where they are zero in the design at hand."""
    design = uq.Design([1.0], inputs={"a": 0.0, "dose": 0.0})
    given = [
        variant(rhs)
        for rhs in (
            lambda t, y, p, inputs: {"C": -p["k"] * y["C"]},
            lambda t, y, p, inputs: {"C": -p["k"] * y["C"] + t * p["k"]},
            lambda t, y, p, inputs: {"C": -p["k"] * y["C"] + inputs["a"] * p["k"]},
            lambda t, y, p, inputs: {"C": -p["k"] * jnp.abs(y["C"])},
        )
    ]
    assert len({model_module.digest(one, design) for one in given}) == len(given)


def simulated(simulate, **more):
    return uq.Model.from_function(decay_space(), simulate, {"C": "mg/L"}, name="simulated", **more)


def test_digest_sees_what_an_algebra_does_not():
    """A cube root is no power, a callback is its code, and random outputs are others."""

    def called(factor):
        def simulate(theta, design, key):
            shape = jax.ShapeDtypeStruct(design.times.shape, float)
            return {"C": jax.pure_callback(lambda k, t: np.asarray(factor * k * t), shape, theta["k"], design.times)}

        return simulated(simulate)

    def plain(theta, design, key):
        return {"C": theta["k"] * design.times}

    design = uq.Design([1.0, 2.0], inputs={"dose": 1.0})
    root = variant(lambda t, y, p, inputs: {"C": -p["k"] * jnp.cbrt(y["C"])})
    power = variant(lambda t, y, p, inputs: {"C": -p["k"] * y["C"] ** (1 / 3)})
    given = [root, power, called(1.0), called(5.0), simulated(plain), simulated(plain, stochastic=True)]
    assert len({model_module.digest(one, design) for one in given}) == len(given)
    assert model_module.digest(called(1.0), design) == model_module.digest(called(1.0), design)


def test_a_simulator_hands_its_code_on():
    def simulate(theta, design, key):
        return {"C": theta["k"] * design.times}, jnp.where(theta["k"] > 1.0, 137, 0)

    model = simulated(simulate, results={137: "k is too large."})
    runs = uq.evaluate_many(model, {"k": np.array([0.5, 2.0]), "sigma": np.ones(2)}, uq.Design([1.0]))
    assert runs.result.tolist() == [0, 137] and np.isnan(runs.outputs["C"][1]).all()
    assert model.dynamics.failures(runs.result) == {"k is too large.": 1}


@pytest.mark.parametrize("code", [np.nan, 0.5, True, np.array([0, 1])], ids=str)
def test_what_is_no_code_is_refused(code):
    model = simulated(lambda theta, design, key: ({"C": theta["k"] * design.times}, code))
    with pytest.raises(uq.InputError, match="one integer"):
        uq.evaluate(model, {"k": 1.0, "sigma": 1.0}, uq.Design([1.0]))


@pytest.mark.parametrize("results", [{1: "mine"}, {"100": "mine"}, {100.5: "mine"}], ids=str)
def test_own_codes_are_integers_from_a_hundred_on(results):
    with pytest.raises(uq.InputError, match="from 100 on"):
        simulated(lambda theta, design, key: {"C": theta["k"]}, results=results)


def test_the_method_follows_the_time_scales_while_solving():
    from forward_models.receptor_tf import model

    theta = model.space.nominal() | {"eps": 1e-6}
    early, late = (uq.evaluate(model, theta, uq.Design([end])) for end in (1e-7, 5.0))
    assert int(early.result) == int(late.result) == 0
    assert int(early.implicit_steps) == 0 < int(late.implicit_steps)


def test_models_can_be_shipped_after_use():
    import pickle

    from forward_models.theophylline import model

    model.space.nominal()
    assert pickle.loads(pickle.dumps(model)).space.names == model.space.names


@pytest.mark.parametrize("settings", [{"method": "Kvaerno5"}, {"rtol": 0.0}, {"atol": float("nan")}])
def test_wrong_solver_settings_are_refused(settings):
    with pytest.raises(uq.InputError):
        uq.Ode(decay_initial, decay_rhs, **settings)


def test_batches_must_have_one_length(decay):
    with pytest.raises(uq.InputError, match="one length"):
        uq.evaluate_many(decay, {"k": jnp.ones(3), "sigma": jnp.ones(2)}, DESIGN)
    assert uq.evaluate_many(decay, {"k": 1.0, "sigma": 1.0}, DESIGN).result.shape == (1,)


def test_the_first_run_may_be_inside_a_trace():
    """The method is chosen from numbers even where everything around is traced."""
    from forward_models import receptor_tf

    fresh = replace(receptor_tf.model)
    theta = fresh.space.nominal()
    inside = jax.jit(lambda theta: uq.evaluate(fresh, theta, uq.Design([1.0, 5.0])).outputs["y"])(theta)
    np.testing.assert_allclose(inside, uq.evaluate(receptor_tf.model, theta, uq.Design([1.0, 5.0])).outputs["y"])


def test_outputs_come_in_the_order_of_the_units():
    def both(y, p):
        return {"b": 2 * y["C"], "a": y["C"]}

    system = uq.Ode(decay_initial, decay_rhs)
    model = uq.Model(decay_space(), system, both, {"b": "mg/L", "a": "mg/L"})
    theta = model.space.nominal()
    assert list(uq.evaluate(model, theta, DESIGN).outputs) == ["b", "a"]
    assert list(uq.evaluate_many(model, theta, DESIGN).outputs) == ["b", "a"]


@pytest.mark.parametrize("name, called", [("", "the model passes"), ("decay", "the model 'decay' passes")])
def test_a_model_that_passes_is_called_by_its_name_if_it_has_one(name, called):
    assert str(Check(name, "exact", 0.0, 0.0, 0, 1, ())).startswith(f"{called} every check")


@pytest.mark.parametrize("units", [None, {}, ["C"]])
def test_a_model_without_units_says_how_to_write_them(units):
    space, system = decay_space(), uq.Ode(decay_initial, decay_rhs)
    for make in (
        lambda: uq.Model(space, system, decay_observe, units),
        lambda: uq.Model.from_function(space, decay_observe, units),
    ):
        with pytest.raises(uq.InputError, match=r"give a unit for every output, as in \{'C': 'mg/L'\}"):
            make()
    with pytest.raises(uq.InputError, match="give a unit for every output"):
        uq.Model(space, system, decay_observe)
