"""Quasi-steady states: closed forms, implicit ones, conserved totals, the first order of the error, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models import receptor_tf
from uqbench.systems.reduced import is_implicit, reduction
from uqbench.time_scales.slow_fast import quasi_steady_state, reduction_error, separation

RECEPTOR = {"L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
RATES = {"kon": 1.0, "koff": 1.0, "kcat": 1.0}
PRIOR = uq.epistemic(uq.LogNormal(0.0, 0.2))


def model(initial, rhs, names, outputs, **settings):
    space = uq.Space(dict.fromkeys(names, PRIOR))
    return uq.Model(space, uq.Ode(initial, rhs, **settings), observe, dict.fromkeys(outputs, ""), name="test")


def observe(y, p):
    return y


# an enzyme whose free form is a state of its own, so that E + C is conserved
def enzyme_start(p, inputs):
    return {"S": jnp.ones(()), "E": p["E0"], "C": jnp.zeros(()), "P": jnp.zeros(())}


def enzyme(t, y, p, inputs):
    binding, release, product = p["kon"] * y["E"] * y["S"], p["koff"] * y["C"], p["kcat"] * y["C"]
    return {"S": release - binding, "E": release + product - binding, "C": binding - release - product, "P": product}


# a fast variable whose equation is of fifth order in it: no closed form
def quintic_start(p, inputs):
    return {"x": jnp.zeros(()), "y": jnp.ones(())}


def quintic(t, y, p, inputs):
    return {"x": (y["y"] - y["x"] - y["x"] ** 5) / p["eps"], "y": -p["k"] * y["x"]}


def square(t, y, p, inputs):
    """The same with a square: the equilibrium is a formula."""
    return {"x": (y["y"] - y["x"] - y["x"] ** 2) / p["eps"], "y": -p["k"] * y["x"]}


# relaxation oscillator: three branches, two folds
def oscillator_start(p, inputs):
    return {"x": -2.0 * jnp.ones(()), "y": jnp.zeros(())}


def oscillator(t, y, p, inputs):
    return {"x": (y["x"] - y["x"] ** 3 / 3 + y["y"]) / p["eps"], "y": -y["x"]}


def oscillating_fast(t, y, p, inputs):
    """The fast pair goes round a circle (Hopf) instead of resting."""
    u, v, radius = y["u"], y["v"], y["u"] ** 2 + y["v"] ** 2
    return {
        "u": (u * (1 - radius) - v) / p["eps"],
        "v": (v * (1 - radius) + u) / p["eps"],
        "y": u**2 - y["y"],
    }


def oscillating_start(p, inputs):
    return {"u": 0.5 * jnp.ones(()), "v": jnp.zeros(()), "y": jnp.zeros(())}


# quasi-steady states --------------------------------------------------------------------------------------------------


def test_the_reduced_receptor_is_its_closed_form():
    run = uq.evaluate(receptor_tf.reduced, {**RECEPTOR, "sigma": 0.1}, uq.Design([5.0]))
    # SYSTEMS.md: y(5) of the quasi-steady state
    assert float(run.outputs["y"][0]) == pytest.approx(1.2238866685014682, abs=1e-9)
    assert float(run.outputs["x"][0]) == pytest.approx(2 / 3, rel=1e-14)


def test_a_conserved_total_of_the_fast_states_is_kept():
    slow = quasi_steady_state(uq.Ode(enzyme_start, enzyme), ["E", "C"])
    p = {**RATES, "E0": 0.3}
    for substrate in (0.1, 1.0, 20.0):
        found = slow.algebraic(0.0, {"S": jnp.asarray(substrate), "P": jnp.zeros(())}, p, {})
        bound = 0.3 * substrate / (2.0 + substrate)
        assert float(found["C"]) == pytest.approx(bound, rel=1e-13)
        assert float(found["E"]) == pytest.approx(0.3 - bound, rel=1e-13)


@pytest.mark.parametrize("y", [1e-6, 0.3, 2.0, 50.0, 1e6])
def test_an_implicit_equilibrium_and_its_derivatives(y):
    slow = quasi_steady_state(uq.Ode(quintic_start, quintic), ["x"])

    def x(y):
        return slow.algebraic(0.0, {"y": y}, {"eps": 1e-3, "k": 1.0}, {})["x"]

    found = float(x(jnp.asarray(y)))
    assert found + found**5 == pytest.approx(y, rel=1e-13)
    assert float(jax.grad(x)(y)) == pytest.approx(1 / (1 + 5 * found**4), rel=1e-12)
    assert float(jax.jacfwd(jax.grad(x))(y)) == pytest.approx(-20 * found**3 / (1 + 5 * found**4) ** 3, rel=1e-10)


@pytest.mark.parametrize("rhs, implicit", [(quintic, True), (square, False)])
def test_whether_an_equilibrium_is_found_by_iteration(rhs, implicit):
    slow = quasi_steady_state(uq.Ode(quintic_start, rhs), ["x"])
    assert is_implicit(slow, {"eps": 1e-3, "k": 0.7}, uq.Design([1.0])) is implicit


@pytest.mark.slow
def test_an_implicit_reduction_is_solved_with_gradients():
    """y' = -k x with y = x + x^5: t = (ln x0 - ln x + (5/4)(x0^4 - x^4)) / k, inverted by bisection."""
    reduced = model(quintic_start, quintic, ["eps", "k"], ["x", "y"]).reduced(["x"])
    theta = {"eps": 1e-3, "k": 0.7}
    run = uq.evaluate(reduced, theta, uq.Design([1.0]), mode="forward")
    from scipy.optimize import brentq

    def end(k):
        start = brentq(lambda x: x + x**5 - 1, 0, 1, xtol=1e-15)
        return brentq(lambda x: np.log(start / x) + 1.25 * (start**4 - x**4) - k, 1e-6, start, xtol=1e-15)

    assert float(run.outputs["x"][0]) == pytest.approx(end(0.7), abs=1e-8)

    def out(k):
        return uq.evaluate(reduced, {"eps": 1e-3, "k": k}, uq.Design([1.0]), mode="forward").outputs["x"][0]

    assert float(jax.jacfwd(out)(0.7)) == pytest.approx((end(0.7 + 1e-5) - end(0.7 - 1e-5)) / 2e-5, rel=1e-5)


def test_only_a_stable_root_of_a_parabola_counts():
    """x' = y + b x - x^2 rests stably at the larger root, and nowhere for y < -b^2/4."""

    def start(p, inputs):
        return {"x": jnp.zeros(()), "y": -jnp.ones(())}

    def rhs(t, y, p, inputs):
        return {"x": y["y"] + p["b"] * y["x"] - y["x"] ** 2, "y": -0.1 * y["y"]}

    slow = quasi_steady_state(uq.Ode(start, rhs), ["x"])
    for b, y in ((1.0, 0.3), (-3.0, 1e-9), (2.0, 0.0)):
        x = float(slow.algebraic(0.0, {"y": jnp.asarray(y)}, {"b": b}, {})["x"])
        larger = max(np.roots([1.0, -b, -y]).real)
        assert x == pytest.approx(larger, rel=1e-9)
    assert np.isnan(slow.algebraic(0.0, {"y": jnp.asarray(-1.0)}, {"b": 1.0}, {})["x"])


def test_no_equilibrium_is_a_reason_not_a_curve():
    """x' = (x^2 + y - 1)(1 + x^4) / eps has its stable and its unstable root meet at x = 0 when y reaches 1."""

    def start(p, inputs):
        return {"x": -2.0 * jnp.ones(()), "y": jnp.zeros(())}

    def rhs(t, y, p, inputs):
        return {"x": (y["x"] ** 2 + y["y"] - 1.0) * (1.0 + y["x"] ** 4) / p["eps"], "y": p["k"]}

    reduced = model(start, rhs, ["eps", "k"], ["x", "y"]).reduced(["x"])
    runs = uq.evaluate_many(reduced, {"eps": 1e-3, "k": np.array([0.5, 2.0])}, uq.Design([1.0]))
    assert runs.result.tolist() == [0, uq.Result.NO_EQUILIBRIUM]
    assert float(runs.outputs["x"][0, 0]) == pytest.approx(-(0.5**0.5), rel=1e-9)
    assert np.isnan(runs.outputs["x"][1, 0]) and "stable equilibrium" in uq.RESULTS[uq.Result.NO_EQUILIBRIUM]


def test_a_reduction_knows_what_it_was_made_of():
    made = reduction(receptor_tf.reduced.system)
    assert made.full is receptor_tf.model.system and made.fast == ("x",)
    assert reduction(receptor_tf.model.system) is None and reduction(None) is None


# the error ------------------------------------------------------------------------------------------------------------


def test_the_error_is_of_first_order():
    found = reduction_error(receptor_tf.model.system, ["x"], {**RECEPTOR, "eps": 0.1}, uq.Design([5.0]))
    assert float(found.slope[0]) == pytest.approx(1.0, abs=0.01)
    # SYSTEMS.md: (y - QSSA) / eps
    assert float(found.constant[0, 0]) / 0.1 == pytest.approx(-0.0182411, abs=1e-7)
    assert float(found.constant_error[0, 0]) < 1e-8 and found.attrs["resolved"]
    # and at scale 1 it is the difference of the two solutions: y(5) of SYSTEMS.md
    assert float(found.difference[0, 0, 0]) == pytest.approx(1.222031640283979 - 1.2238866685014682, abs=1e-9)


@pytest.mark.parametrize("rhs, start, fast, p", [
    (enzyme, enzyme_start, ["E", "C"], {**RATES, "E0": 0.1}),
    (enzyme, enzyme_start, ["E", "C"], {**RATES, "E0": 3.0}),
    (quintic, quintic_start, ["x"], {"eps": 0.3, "k": 1.0}),
])  # fmt: skip
def test_the_slope_is_one_for_other_systems(rhs, start, fast, p):
    found = reduction_error(uq.Ode(start, rhs), fast, p, uq.Design.linspace(0.0, 5.0, 6))
    np.testing.assert_allclose(found.slope, 1.0, atol=0.01)
    assert np.all(found.slope_standard_error < 0.01)


def test_nothing_to_compare_is_not_resolved():
    """x does not feel y, so leaving out y changes nothing in what is left."""
    found = reduction_error(receptor_tf.model.system, ["y"], {**RECEPTOR, "eps": 0.1}, uq.Design([5.0]))
    assert np.isnan(found.slope[0]) and not found.attrs["resolved"]


def test_a_wrong_fast_set_errs_at_scale_one():
    """The substrate taken for the fast state: any system has that limit, but this one is far from it."""
    design, p = uq.Design.linspace(0.0, 20.0, 5), {**RATES, "E0": 0.1}
    found = reduction_error(uq.Ode(enzyme_start, enzyme), ["S"], p, design)
    assert float(found.error.sel(scale=1.0).max()) > 0.05
    assert separation(uq.Ode(enzyme_start, enzyme), ["S"], p, design).attrs["verdict"] == "absent"


@pytest.mark.parametrize("eps", [1e-6, 1e-9, 1e-13])
def test_the_full_receptor_comes_to_the_reduced_one(eps):
    theta, design = {**RECEPTOR, "sigma": 0.1}, uq.Design([0.5, 5.0])
    full = uq.evaluate(receptor_tf.model, theta | {"eps": eps}, design).outputs["y"]
    reduced = uq.evaluate(receptor_tf.reduced, theta, design).outputs["y"]
    # -.0182411 eps at t = 5; the rest is the tolerance of the solves
    np.testing.assert_allclose(full - reduced, 0.0, atol=1e-9 + 0.3 * eps)


# the diagnosis --------------------------------------------------------------------------------------------------------


def test_a_strong_separation():
    found = separation(receptor_tf.model.system, ["x"], {**RECEPTOR, "eps": 1e-3}, uq.Design([5.0]))
    assert found.attrs["verdict"] == "strong" and found.attrs["warning"] == ""
    assert np.all(found.stable_equilibria == 1)
    np.testing.assert_allclose(found.fast_rate, 3e3, rtol=1e-10)
    # the slow state starts with the speed beta x / y(5), faster than its own relaxation
    assert float(found.epsilon.max()) == pytest.approx(2 / 3 / 1.2238684 / 3e3, rel=1e-4)
    assert float(found.error[0]) < 1e-3


def test_slow_fast_states_are_no_fast_states():
    found = separation(receptor_tf.model.system, ["x"], {**RECEPTOR, "eps": 1.0}, uq.Design([5.0]))
    assert found.attrs["verdict"] == "absent" and "must be small" in found.attrs["warning"]


def test_several_equilibria_are_weak_and_say_where():
    found = separation(uq.Ode(oscillator_start, oscillator), ["x"], {"eps": 1e-3}, uq.Design([3.0]))
    assert found.attrs["verdict"] == "weak" and "2 stable equilibria" in found.attrs["reason"]
    inside = np.abs(found.slow_state[:, 0]) < 2 / 3 - 1e-2
    outside = np.abs(found.slow_state[:, 0]) > 2 / 3 + 1e-2
    assert np.all(found.stable_equilibria[inside] == 2) and np.all(found.stable_equilibria[outside] == 1)


def test_a_fast_oscillation_is_weak():
    found = separation(uq.Ode(oscillating_start, oscillating_fast), ["u", "v"], {"eps": 1e-2}, uq.Design([2.0]))
    assert found.attrs["verdict"] == "weak" and "no stable equilibrium" in found.attrs["reason"]


def test_a_design_at_rest_is_followed_to_rest():
    found = separation(receptor_tf.model.system, ["x"], {**RECEPTOR, "eps": 1e-3}, uq.Design([np.inf]))
    assert found.attrs["verdict"] == "strong"
    assert float(found.slow_state[-1, 0]) == pytest.approx(4 / 3, rel=1e-6)


# bad input ------------------------------------------------------------------------------------------------------------

BAD = [
    ([], "no fast state is named"),
    (["x", "x"], "named twice"),
    (["z"], "the fast state 'z' is no state"),
    (["x", "y"], "every state is named as fast"),
]


@pytest.mark.parametrize("fast, message", BAD)
def test_a_wrong_set_of_fast_states_is_refused(fast, message):
    theta, design = {**RECEPTOR, "eps": 1e-3}, uq.Design([5.0])
    with pytest.raises(uq.InputError, match=message):
        separation(receptor_tf.model.system, fast, theta, design)
    with pytest.raises(uq.InputError, match=message):
        reduction_error(receptor_tf.model.system, fast, theta, design)
    with pytest.raises(uq.InputError, match=message):
        receptor_tf.model.reduced(fast)
    with pytest.raises(uq.InputError, match=message):
        quasi_steady_state(receptor_tf.model.system, fast).initial(theta, {})


def test_errors_need_scales_and_finite_times():
    with pytest.raises(uq.InputError) as caught:
        reduction_error(receptor_tf.model.system, ["x"], {**RECEPTOR, "eps": 1e-3}, uq.Design([np.inf]), scales=[1, -1])
    assert "a time is inf" in str(caught.value) and "at least three positive" in str(caught.value)


def test_a_dose_into_a_fast_state_is_refused():
    def doses(p, inputs):
        return {"x": (jnp.array([1.0]), jnp.array([0.1]))}

    full = uq.Ode(receptor_tf.initial, receptor_tf.rhs, doses=doses)
    broken = uq.Model(receptor_tf.space, full, observe, {"x": "", "y": ""}, name="dosed").reduced(["x"])
    with pytest.raises(uq.InputError, match="a dose is given to the fast state 'x'"):
        uq.evaluate(broken, {**RECEPTOR, "eps": 1e-3, "sigma": 0.1}, uq.Design([5.0]))


def test_a_simulator_cannot_be_reduced():
    from forward_models.secretion import steady

    with pytest.raises(uq.InputError, match="without a system"):
        steady.reduced(["C"])


def test_another_root_than_that_of_the_system_is_detected():
    """x (1 - x) (x + 3): Newton's steps from .4 lead to 1, as the flow; a fast state that starts at -2 sinks to -3."""

    def start(p, inputs):
        return {"x": -2.0 * jnp.ones(()), "y": jnp.ones(())}

    def rhs(t, y, p, inputs):
        x = y["x"]
        return {"x": x * (1 - x) * (x + 3) / p["eps"], "y": x - y["y"]}

    found = separation(uq.Ode(start, rhs), ["x"], {"eps": 1e-3}, uq.Design([1.0]))
    assert found.attrs["verdict"] == "weak" and "2 stable equilibria" in found.attrs["reason"]
    np.testing.assert_allclose(found.taken, -3.0, rtol=1e-12)


# what is not to be called strong --------------------------------------------------------------------------------------


def dosed_enzyme(t, y, p, inputs):
    binding = 100.0 * (1.0 - y["C"]) * y["S"]
    return {"S": 100.0 * y["C"] - binding, "C": binding - 101.0 * y["C"]}


def nothing_yet(p, inputs):
    return {"S": jnp.zeros(()), "C": jnp.zeros(())}


def dose_at_one(p, inputs):
    return {"S": (jnp.array([1.0]), jnp.array([1.0]))}


def test_a_dose_begins_a_layer():
    """As much enzyme as substrate: half of what is given is bound at once, whether at the start or by a dose."""
    system = uq.Ode(nothing_yet, dosed_enzyme, doses=dose_at_one)
    found = separation(system, ["C"], {}, uq.Design([1.5, 2.0, 5.0]))
    assert found.attrs["verdict"] == "absent" and float(found.layer[0]) > 0.4 and found.attrs["error"] > 0.4


def rest_at_zero(p, inputs):
    return {"x": jnp.zeros(()), "y": jnp.zeros(())}


def driven(t, y, p, inputs):
    return {"x": (jnp.sin(t / 0.01) - y["x"]) / 0.01, "y": y["x"] ** 2 - y["y"]}


def test_a_drive_as_fast_as_the_fast_states_is_detected():
    found = separation(uq.Ode(rest_at_zero, driven), ["x"], {}, uq.Design([5.0]))
    assert found.attrs["verdict"] == "absent" and found.attrs["epsilon"] > 0.5


def at_a_threshold(p, inputs):
    return {"x": jnp.ones(()), "y": -0.02 * jnp.ones(())}


def threshold(t, y, p, inputs):
    return {"x": -y["x"] / 0.01, "y": y["y"] - y["y"] ** 3 + 5 * y["x"]}


def test_a_large_error_is_never_strong():
    """What the fast state does in its layer decides on which side of a threshold the slow one starts."""
    found = separation(uq.Ode(at_a_threshold, threshold), ["x"], {}, uq.Design([10.0]))
    assert found.attrs["verdict"] == "absent" and found.attrs["error"] > 1 and "errs by" in found.attrs["reason"]


def runs(initial, rhs, fast, times=(3.0,)):
    names = tuple(initial({}, {}))
    made = uq.Model(uq.Space(k=PRIOR), uq.Ode(initial, rhs), observe, dict.fromkeys(names, ""), name="t").reduced(fast)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", uq.SeparationWarning)
        return uq.evaluate(made, {"k": 1.0}, uq.Design(times))


def toggle_start(p, inputs):
    return {"u": 1.2 * jnp.ones(()), "v": jnp.ones(()), "y": jnp.zeros(())}


def toggle(t, y, p, inputs):
    u, v = y["u"], y["v"]
    return {"u": (4 / (1 + v**2) - u) / 1e-3, "v": (4 / (1 + u**2) - v) / 1e-3, "y": u - y["y"]}


def test_two_fast_states_rest_where_the_flow_leads_not_at_the_saddle():
    run = runs(toggle_start, toggle, ["u", "v"])
    high = 2 + 3**0.5
    assert int(run.result) == 0 and float(run.outputs["u"][0]) == pytest.approx(high, rel=1e-9)
    assert float(run.outputs["y"][0]) == pytest.approx(-high * np.expm1(-3.0), rel=1e-6)


def one_unstable(t, y, p, inputs):
    return {"x": (y["x"] - y["y"] / 2) / 1e-2, "y": -y["y"] + y["x"]}


def two_start(p, inputs):
    return {"a": jnp.zeros(()), "b": jnp.zeros(()), "y": jnp.ones(())}


def two_unstable(t, y, p, inputs):
    a, b = y["a"], y["b"]
    return {"a": (a - 5 * b - y["y"]) / 1e-2, "b": (5 * a + 0.5 * b) / 1e-2, "y": -y["y"] + a}


def vdp_start(p, inputs):
    return {"u": jnp.ones(()), "v": jnp.zeros(()), "y": jnp.zeros(())}


def fast_van_der_pol(t, y, p, inputs):
    u, v = y["u"], y["v"]
    return {"u": v / 1e-2, "v": ((1 - u**2) * v - u + 0.1 * y["y"]) / 1e-2, "y": u**2 - y["y"]}


@pytest.mark.parametrize("initial, rhs, fast", [
    (quintic_start, one_unstable, ["x"]), (two_start, two_unstable, ["a", "b"]),
    (vdp_start, fast_van_der_pol, ["u", "v"]),
], ids=["one", "two", "oscillating"])  # fmt: skip
def test_an_unstable_equilibrium_is_no_place_to_rest(initial, rhs, fast):
    run = runs(initial, rhs, fast, times=(0.5, 1.0))
    assert int(run.result) == uq.Result.NO_EQUILIBRIUM and np.all(np.isnan(run.outputs["y"]))


@pytest.mark.parametrize("k", [0.0, 1e-17, 1e-3, -1e-3])
def test_a_parabola_may_be_a_line(k):
    def start(p, inputs):
        return {"x": jnp.zeros(()), "y": jnp.zeros(())}

    def rhs(t, y, p, inputs):
        return {"x": (2 * (1 - y["x"]) - y["x"] - p["k"] * y["x"] ** 2) / 1e-3, "y": y["x"] - y["y"]}

    slow = quasi_steady_state(uq.Ode(start, rhs), ["x"])
    x = float(slow.algebraic(0.0, {"y": jnp.zeros(())}, {"k": jnp.asarray(k)}, {})["x"])
    assert 2 - 3 * x - k * x**2 == pytest.approx(0.0, abs=1e-14) and x == pytest.approx(2 / 3, rel=1e-3)


def test_a_pivot_that_vanishes_is_passed_over():
    def rhs(t, y, p, inputs):
        a, b = y["a"], y["b"]
        return {"a": (-p["q"] * a + b - y["y"]) / 1e-2, "b": (-a - b) / 1e-2, "y": -y["y"]}

    slow = quasi_steady_state(uq.Ode(two_start, rhs), ["a", "b"])
    found = slow.algebraic(0.0, {"y": jnp.asarray(0.7)}, {"q": jnp.zeros(())}, {})
    assert float(found["b"]) == pytest.approx(0.7) and float(found["a"]) == pytest.approx(-0.7)


def switched(t, y, p, inputs):
    x = y["x"]
    return {"x": (y["y"] + 3 * x**2 / (1 + x**2) - x) / 1e-3, "y": 0.3 * jnp.cos(t)}


def test_where_it_is_weak_is_reported_to_its_end():
    """The slow state turns: from then on the reduced system is on the other branch, below zero, until the end."""
    found = separation(uq.Ode(rest_at_zero, switched), ["x"], {}, uq.Design([6.0]))
    assert found.attrs["verdict"] == "weak" and found.attrs["weak_to"] > 5.5


def test_what_is_missing_is_reported():
    with pytest.raises(uq.InputError, match="the system reads 'delta'"):
        separation(receptor_tf.model.system, ["x"], {"eps": 1.0, "L": 1.0, "Kd": 1.0, "beta": 1.0}, uq.Design([1.0]))
    with pytest.raises(uq.InputError, match="has the shape"):
        reduction_error(receptor_tf.model.system, ["x"], {**RECEPTOR, "eps": np.ones(3)}, uq.Design([1.0]))
    with pytest.raises(uq.InputError, match="no times"):
        separation(receptor_tf.model.system, ["x"], {**RECEPTOR, "eps": 1.0}, uq.Design([]))


# equations that are not what they seem at one point -------------------------------------------------------------------


def bent(t, y, p, inputs):
    x = y["x"]
    return {"x": (p["u"] * y["y"] - x - 5 * jnp.maximum(x - 0.5, 0.0)) * 1e3, "y": 0.1 - 0.1 * x}


def stepped(t, y, p, inputs):
    x, q = y["x"], y["q"]
    return {"x": (p["u"] * y["y"] - x) * 1e3, "q": (jnp.where(x > 0.5, 1.0, 0.1) - q) * 1e3, "y": 0.1 - 0.1 * q}


def three_start(p, inputs):
    return {"x": jnp.zeros(()), "q": jnp.zeros(()), "y": jnp.ones(())}


@pytest.mark.parametrize(
    "initial, rhs, fast",
    [pytest.param(quintic_start, bent, ["x"], marks=pytest.mark.slow), (three_start, stepped, ["x", "q"])],
)
def test_a_bend_or_a_step_is_no_line(initial, rhs, fast):
    full, p = uq.Ode(initial, rhs), {"u": jnp.asarray(3.0)}
    found = separation(full, fast, p, uq.Design([2.0]))
    assert found.attrs["error"] < 0.01


def test_what_is_turned_on_later_is_not_conserved():
    def start(p, inputs):
        return {"a": jnp.zeros(()), "b": jnp.ones(()), "s": jnp.zeros(())}

    def rhs(t, y, p, inputs):
        gain = jnp.where(t > p["on"], 1.0, 0.0) * 1e4 * (1 - y["a"])
        exchange = 1e4 * (y["a"] - y["b"])
        return {"a": gain - exchange, "b": exchange, "s": -y["s"] + y["a"]}

    slow = quasi_steady_state(uq.Ode(start, rhs), ["a", "b"])
    given = {"on": jnp.asarray(1.0)}
    assert slow.algebraic.rates(given, {}).laws == ()


def test_a_control_without_input_is_no_weak_case():
    """x rests at nothing, where the roots that are found differ by rounding only."""
    found = separation(receptor_tf.model.system, ["x"], {**RECEPTOR, "L": 0.0, "eps": 1e-3}, uq.Design([1.0, 5.0]))
    assert found.attrs["verdict"] == "strong"


def test_early_times_of_a_long_design_are_looked_at():
    """y rises and falls within a thousandth of the time that is looked at."""

    def start(p, inputs):
        return {"x": jnp.ones(()), "s": jnp.ones(()), "y": jnp.zeros(())}

    def rhs(t, y, p, inputs):
        return {"x": (y["s"] - y["x"]) * 1e4, "s": -y["s"], "y": y["x"] - y["y"]}

    found = separation(uq.Ode(start, rhs), ["x"], {}, uq.Design([0.5, 1.0, 2.0, 1e3]))
    assert found.attrs["verdict"] == "strong" and found.attrs["error"] < 1e-3


def test_reducing_twice():
    """A cascade of three time scales: the fastest first, then the next."""

    def start(p, inputs):
        return {"a": jnp.zeros(()), "b": jnp.zeros(()), "c": jnp.zeros(())}

    def rhs(t, y, p, inputs):
        return {"a": (1 - y["a"]) * 1e6, "b": (y["a"] - y["b"]) * 1e3, "c": p["k"] * y["b"] - y["c"]}

    once = model(start, rhs, ["k"], ["a", "b", "c"]).reduced(["a"])
    twice = once.reduced(["b"])
    for each in (once, twice):
        run = uq.evaluate(each, {"k": 2.0}, uq.Design([1.0]))
        assert int(run.result) == 0
        assert float(run.outputs["c"][0]) == pytest.approx(-2 * np.expm1(-1.0), abs=2e-3)
        assert float(run.outputs["a"][0]) == pytest.approx(1.0, abs=1e-9)


def logistic_start(p, inputs):
    return {"x": 0.1 * jnp.ones(()), "y": jnp.zeros(())}


def logistic(t, y, p, inputs):
    return {"x": p["r"] * y["x"] * (1 - y["x"] / p["K"]) * 1e3, "y": y["x"] - y["y"]}


@pytest.mark.slow
def test_a_fast_logistic_can_be_read():
    reduced = model(logistic_start, logistic, ["r", "K"], ["x", "y"]).reduced(["x"])
    assert uq.check_model(reduced, uq.Design([1.0, 2.0])).symbol_error < 1e-14
