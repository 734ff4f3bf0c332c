"""Steady states against closed forms: which one is reached, how it moves, and when there is none."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import lambertw

import uqbench as uq
from forward_models.receptor_tf import model as receptor
from uqbench.dynamics import conservation
from uqbench.dynamics.conservation import conservation_laws
from uqbench.dynamics.steady_state import steady_state
from uqbench.initial_value import odes
from uqbench.initial_value.machine_code import task_of
from uqbench.solvers.extrapolation import follow


def one_initial(p, inputs):
    return {"x": p["x0"]}


def decay(t, y, p, inputs):
    return {"x": p["source"] - p["k"] * y["x"]}


def dimerization(t, y, p, inputs):
    return {"x": -p["k"] * y["x"] ** 2}


def switch(t, y, p, inputs):
    return {"x": p["a"] + p["b"] * y["x"] ** 2 / (1 + y["x"] ** 2) - y["x"]}


def slow_switch(t, y, p, inputs):
    m = y["m"]
    return {"x": p["eps"] * (p["a"] + p["b"] * m**2 / (1 + m**2) - y["x"]), "m": y["x"] - m}


def two_equal(p, inputs):
    return {"x": p["x0"], "m": p["x0"]}


def cycle_initial(p, inputs):
    """Enzyme and substrate; nothing is bound or converted yet."""
    return {"E": p["E0"], "S": inputs["dose"], "ES": 0.0 * p["E0"], "P": 0.0 * p["E0"]}


def cycle(t, y, p, inputs):
    bound = p["kon"] * y["E"] * y["S"] - p["koff"] * y["ES"]
    made, back = p["kcat"] * y["ES"], p["kr"] * y["P"]
    return {"E": made - bound, "S": back - bound, "ES": bound - made, "P": made - back}


def chain_initial(p, inputs):
    return {"a": p["total"], "b": 0.0 * p["total"], "c": 0.0 * p["total"]}


def chain(t, y, p, inputs):
    """a <-> b fast, b <-> c slow, written so that no flux is computed twice."""
    a, b, c, k = y["a"], y["b"], y["c"], p["k"]
    return {"a": k * b - k * a, "b": p["s"] * c - b - k * b + k * a, "c": b - p["s"] * c}


def exchange(t, y, p, inputs):
    """Concentrations in three volumes: the coefficients of what is conserved are parameters."""
    first, second = p["k"] * (y["a"] - y["b"]), p["s"] * (y["b"] - y["c"])
    return {"a": -first / p["v"], "b": (first - second) / (2 * p["v"]), "c": second}


def leaky_initial(p, inputs):
    return {"a": p["x0"], "b": 0.0 * p["x0"]}


def leaky(t, y, p, inputs):
    """Closed unless the leak is larger than any value at which laws are looked for."""
    forth = y["a"] - 2 * y["b"]
    return {"a": -forth, "b": forth - jnp.where(p["leak"] > 100, p["leak"], 0.0) * y["b"]}


def epidemic_initial(p, inputs):
    return {"S": 1.0 - p["I0"], "I": p["I0"], "R": 0.0 * p["I0"]}


def epidemic(t, y, p, inputs):
    infected, recovered = p["beta"] * y["S"] * y["I"], p["gamma"] * y["I"]
    return {"S": -infected, "I": infected - recovered, "R": recovered}


def endemic(t, y, p, inputs):
    infected, recovered = p["beta"] * y["S"] * y["I"], p["gamma"] * y["I"]
    return {"S": 0.02 * (1 - y["S"]) - infected, "I": infected - recovered - 0.02 * y["I"], "R": recovered - y["R"]}


def bystander_initial(p, inputs):
    return {"S": 1.0 - p["I0"], "I": p["I0"], "z": 0.0 * p["I0"]}


def bystander(t, y, p, inputs):
    rates = epidemic(t, y, p, inputs)
    return {"S": rates["S"], "I": rates["I"], "z": p["eps"] * (1.0 - y["z"])}


def memory_initial(p, inputs):
    return {"a": p["a0"], "u": 0.0 * p["a0"], "x": 0.0 * p["a0"]}


def memory(t, y, p, inputs):
    """A pulse u sets a latch x, whose steep response is flat before the pulse and after it."""
    return {
        "a": -0.2 * y["a"],
        "u": y["a"] - y["u"],
        "x": jax.nn.sigmoid(20.0 * (y["x"] - 0.5 + y["u"])) - y["x"],
    }


def exposure_initial(p, inputs):
    return {"C": p["x0"], "AUC": 0.0 * p["x0"]}


def exposure(t, y, p, inputs):
    return {"C": -p["k"] * y["C"], "AUC": y["C"]}


def brusselator_initial(p, inputs):
    return {"x": jnp.ones(()), "y": jnp.ones(())}


def brusselator(t, y, p, inputs):
    x, z = y["x"], y["y"]
    return {"x": 1 - (p["b"] + 1) * x + x * x * z, "y": p["b"] * x - x * x * z}


def spiral(t, y, p, inputs):
    return {"x": y["y"], "y": 1.0 - y["x"] - y["y"] / p["quality"]}


def binding_initial(p, inputs):
    return {"A": p["A0"], "B": p["B0"], "C": 0.0 * p["A0"]}


def binding(t, y, p, inputs):
    net = p["kon"] * y["A"] * y["B"] - p["koff"] * y["C"]
    return {"A": -net, "B": -net, "C": net}


def forced(t, y, p, inputs):
    return {"x": jnp.cos(t) - y["x"]}


def crossing(t, y, p, inputs):
    return y["x"] - 0.5


def population_initial(p, inputs):
    return {"S": p["N"] - p["I0"], "I": p["I0"], "R": 0.0 * p["I0"]}


def looped(t, y, p, inputs):
    """The cycle, its rates passed through a loop whose end is known at run time only."""
    turns = jax.lax.while_loop(lambda k: k < jax.lax.stop_gradient(p["kon"]), lambda k: k + 1, jnp.zeros(()))
    return {name: jnp.where(turns > 1, value, 0.0) for name, value in cycle(t, y, p, inputs).items()}


def given(**values):
    return {name: jnp.asarray(value, float) for name, value in values.items()}


@cache
def rest(system):
    """The compiled search, shared by the tests of one system."""
    return jax.jit(partial(steady_state, system))


@cache
def slopes_of(system, state, mode=jax.jacrev):
    """The compiled derivative of one state with respect to every parameter, and the search itself."""

    def both(theta):
        return mode(lambda theta: steady_state(system, theta, {}).states[state])(theta), steady_state(system, theta, {})

    return jax.jit(both)


def numbers(found):
    return {name: float(value) for name, value in found.states.items()}


DECAY = uq.Ode(one_initial, decay)
SWITCH = uq.Ode(one_initial, switch)
SLOW_SWITCH = uq.Ode(two_equal, slow_switch)
CYCLE = uq.Ode(cycle_initial, cycle)
CHAIN = uq.Ode(chain_initial, chain)
EXCHANGE = uq.Ode(chain_initial, exchange)
EPIDEMIC = uq.Ode(epidemic_initial, epidemic)
EXPOSURE = uq.Ode(exposure_initial, exposure)
BRUSSELATOR = uq.Ode(brusselator_initial, brusselator)
SPIRAL = uq.Ode(brusselator_initial, spiral)
BINDING = uq.Ode(binding_initial, binding)

CYCLE_AT = given(E0=1.0, kon=3.0, koff=1.0, kcat=0.7, kr=0.2)
DOSE = given(dose=5.0)
SWITCH_AT = given(a=0.05, b=2.0)
# the three roots of the switch: its two stable states and the border between their basins
LOW, BORDER, HIGH = (brentq(lambda x: 0.05 + 2 * x**2 / (1 + x**2) - x, *ends, xtol=1e-15) for ends in
                     [(0.0, 0.2), (0.4, 0.8), (1.0, 2.0)])  # fmt: skip


def cycle_by_hand(p, dose):
    """Everything from ES: E = E0 - ES, P = kcat ES / kr, S from its total, and the binding in balance."""

    def parts(bound):
        made = p["kcat"] * bound / p["kr"]
        return p["E0"] - bound, dose - bound - made, bound, made

    def balance(bound):
        enzyme, substrate, _, _ = parts(bound)
        return p["kon"] * enzyme * substrate - (p["koff"] + p["kcat"]) * bound

    return dict(zip(("E", "S", "ES", "P"), parts(brentq(balance, 0.0, p["E0"], xtol=1e-15)), strict=True))


@pytest.mark.parametrize("eps", [1e-1, 1e-6, 1e-13])
def test_a_slow_time_scale_behind_a_fast_one_is_waited_for(eps):
    theta = {**receptor.space.nominal(), **given(eps=eps)}
    found = rest(receptor.system)(theta, {})
    occupied = float(theta["L"] / (theta["L"] + theta["Kd"]))
    exact = {"x": occupied, "y": float(theta["beta"] / theta["delta"]) * occupied}
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("x0", [0.0, 7.0])
@pytest.mark.parametrize("source", [0.0, 2.0])
def test_a_linear_system_comes_to_source_over_loss(source, x0):
    slopes, found = slopes_of(DECAY, "x")(given(x0=x0, source=source, k=0.3))
    assert int(found.result) == 0
    assert float(found.states["x"]) == pytest.approx(source / 0.3, rel=1e-12, abs=1e-12)
    assert float(slopes["source"]) == pytest.approx(1 / 0.3)
    assert float(slopes["k"]) == pytest.approx(-source / 0.3**2, abs=1e-12)
    assert float(slopes["x0"]) == pytest.approx(0.0, abs=1e-12)


def test_an_enzyme_cycle_keeps_the_totals_of_its_start():
    found = rest(CYCLE)(CYCLE_AT, DOSE)
    states = numbers(found)
    assert states == pytest.approx(cycle_by_hand({k: float(v) for k, v in CYCLE_AT.items()}, 5.0), rel=1e-9)
    assert states["E"] + states["ES"] == pytest.approx(1.0, rel=1e-14)
    assert states["S"] + states["ES"] + states["P"] == pytest.approx(5.0, rel=1e-14)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_of_the_cycle_include_those_with_respect_to_initial_amounts(mode):
    """Against central differences of the solution by hand; the dose and E0 act through conserved totals alone."""

    def states(theta, inputs):
        return steady_state(CYCLE, theta, inputs).states

    slopes = jax.jit(mode(states, argnums=(0, 1)))(CYCLE_AT, DOSE)
    at = {**{k: float(v) for k, v in CYCLE_AT.items()}, "dose": 5.0}

    def by_hand(name, change):
        moved = at | {name: at[name] + change}
        return cycle_by_hand(moved, moved["dose"])

    for name in at:
        h = 1e-4 * at[name]
        up, down = by_hand(name, h), by_hand(name, -h)
        for state in up:
            slope = slopes[state][1]["dose"] if name == "dose" else slopes[state][0][name]
            assert float(slope) == pytest.approx((up[state] - down[state]) / (2 * h), rel=2e-7, abs=1e-9)


def test_second_derivatives_forward_over_reverse():
    def product(theta):
        return steady_state(CYCLE, theta, DOSE).states["P"]

    hessian = jax.jit(jax.hessian(product))(CYCLE_AT)
    gradient = jax.jit(jax.grad(product))
    h = 1e-5
    for name in ("kcat", "E0"):
        up, down = (gradient(CYCLE_AT | {"kr": CYCLE_AT["kr"] + change}) for change in (h, -h))
        assert float(hessian[name]["kr"]) == pytest.approx(float(up[name] - down[name]) / (2 * h), rel=1e-6)
        assert float(hessian[name]["kr"]) == pytest.approx(float(hessian["kr"][name]), rel=1e-10)


@pytest.mark.parametrize(
    "x0, root",
    [(0.0, LOW), (BORDER - 1e-2, LOW), (BORDER - 1e-6, LOW), (BORDER + 1e-6, HIGH), (BORDER + 1e-2, HIGH), (9.0, HIGH)],
)
@pytest.mark.parametrize("eps", [1.0, 1e-9])
def test_a_bistable_switch_goes_where_its_start_lies(x0, root, eps):
    theta = SWITCH_AT | given(x0=x0, eps=eps)
    found = rest(SLOW_SWITCH)(theta, {})
    assert int(found.result) == 0
    assert float(found.states["x"]) == pytest.approx(root, rel=1e-10)


@pytest.mark.parametrize("a0, set_by", [(0.0, False), (0.2, False), (2.0, True)])
def test_a_memory_is_set_by_a_pulse_that_is_still_to_come(a0, set_by):
    """At the start Newton's method leads to the empty memory in a few steps."""
    found = rest(uq.Ode(memory_initial, memory))(given(a0=a0), {})
    assert int(found.result) == 0
    assert (float(found.states["x"]) > 0.5) == set_by


@pytest.mark.parametrize("x0, root", [(0.0, LOW), (9.0, HIGH)])
def test_both_branches_of_the_switch_have_their_own_slope(x0, root):
    slope, _ = slopes_of(SWITCH, "x", jax.jacfwd)(SWITCH_AT | given(x0=x0))
    loss = 1 - 2.0 * 2 * root / (1 + root**2) ** 2
    assert float(slope["a"]) == pytest.approx(1 / loss, rel=1e-9)
    assert float(slope["b"]) == pytest.approx(root**2 / (1 + root**2) / loss, rel=1e-9)
    assert float(slope["x0"]) == 0.0


def test_a_start_on_the_border_between_two_basins_is_no_steady_state():
    found = rest(SLOW_SWITCH)(SWITCH_AT | given(x0=BORDER, eps=1.0), {})
    assert int(found.result) == uq.Result.NO_STEADY_STATE
    assert np.isnan(numbers(found)["x"])


@pytest.mark.parametrize("k", [1e0, 1e6, 1e12])
def test_totals_hold_where_the_integration_loses_them_to_rounding(k):
    found = rest(CHAIN)(given(total=3.0, k=k, s=2.0), {})
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx({"a": 1.2, "b": 1.2, "c": 0.6}, rel=1e-12)


def test_what_is_conserved_with_parameters_as_coefficients():
    """v a + 2 v b + c is constant, so all come to v total / (3 v + 1)."""
    theta = given(total=2.0, k=5.0, s=0.1, v=3.0)
    assert len(conservation_laws(EXCHANGE, ("a", "b", "c"), theta, {})) == 0
    slopes, found = slopes_of(EXCHANGE, "c")(theta)
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx(dict.fromkeys("abc", 0.6), rel=1e-8)
    assert float(slopes["v"]) == pytest.approx(2.0 / 10.0**2, rel=1e-6)
    assert float(slopes["total"]) == pytest.approx(0.3, rel=1e-6)
    assert float(slopes["k"]) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("leak, left", [(0.0, 3.0), (200.0, 0.0)])
def test_a_law_that_does_not_hold_everywhere_is_not_believed_everywhere(leak, left):
    system, theta = uq.Ode(leaky_initial, leaky), given(x0=3.0, leak=leak)
    assert len(conservation_laws(system, ("a", "b"), theta, {})) == 1
    found = rest(system)(theta, {})
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx({"a": 2 * left / 3, "b": left / 3}, abs=1e-9)


def final_size(beta, gamma, start):
    """Of S' = -beta S I, I' = -S' - gamma I: log(S / S0) = -beta / gamma (1 - S) (Kermack and McKendrick 1927)."""
    ratio = beta / gamma
    return float((-lambertw(-start * ratio * np.exp(-ratio)) / ratio).real)


def test_an_epidemic_leaves_one_of_a_continuum_of_steady_states():
    slopes, found = slopes_of(EPIDEMIC, "S")(given(beta=2.0, gamma=1.0, I0=0.01))
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx(
        {"S": final_size(2.0, 1.0, 0.99), "I": 0.0, "R": 1 - final_size(2.0, 1.0, 0.99)}, abs=2e-8
    )
    h = 1e-6
    beta = (final_size(2 + h, 1.0, 0.99) - final_size(2 - h, 1.0, 0.99)) / (2 * h)
    start = (final_size(2.0, 1.0, 0.99 - h) - final_size(2.0, 1.0, 0.99 + h)) / (2 * h)
    assert float(slopes["beta"]) == pytest.approx(beta, rel=1e-5)
    assert float(slopes["I0"]) == pytest.approx(start, rel=1e-5)


def test_a_start_at_rest_in_a_continuum_has_the_derivative_of_the_way_it_would_take():
    """Below the threshold, dS/dI0 = -1 - beta / (gamma - beta) at I0 = 0."""
    theta = given(beta=0.5, gamma=1.0, I0=0.0)
    slopes = jax.jit(jax.jacfwd(lambda theta: steady_state(EPIDEMIC, theta, {}).states))(theta)
    assert float(slopes["S"]["I0"]) == pytest.approx(-2.0, rel=1e-6)
    assert float(slopes["R"]["I0"]) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("eps", [1e-2, 1e-15])
def test_a_continuum_hides_no_slow_bystander(eps):
    found = rest(uq.Ode(bystander_initial, bystander))(given(beta=2.0, gamma=1.0, I0=0.01, eps=eps), {})
    assert int(found.result) == 0
    exact = {"S": final_size(2.0, 1.0, 0.99), "I": 0.0, "z": 1.0}
    assert numbers(found) == pytest.approx(exact, abs=2e-8)


@pytest.mark.parametrize("I0, S", [(0.0, 1.0), (1e-3, 0.51)])
def test_a_population_that_is_not_there_does_not_invade(I0, S):
    found = rest(uq.Ode(epidemic_initial, endemic))(given(beta=2.0, gamma=1.0, I0=I0), {})
    assert int(found.result) == 0
    assert float(found.states["S"]) == pytest.approx(S, rel=1e-9)
    assert (float(found.states["I"]) == 0) == (I0 == 0)


def test_the_area_under_a_decay():
    slopes, found = slopes_of(EXPOSURE, "AUC")(given(x0=10.0, k=0.2))
    assert numbers(found) == pytest.approx({"C": 0.0, "AUC": 50.0}, abs=1e-6)
    assert float(slopes["k"]) == pytest.approx(-250.0, rel=1e-6)
    assert float(slopes["x0"]) == pytest.approx(5.0, rel=1e-6)


def test_a_power_law_decay_ends_within_the_tolerance():
    found = rest(uq.Ode(one_initial, dimerization))(given(x0=2.0, k=0.3), {})
    assert int(found.result) == 0
    assert 0 <= float(found.states["x"]) <= 2e-10


@pytest.mark.parametrize(
    "system, theta",
    [
        (BRUSSELATOR, given(b=3.0)),
        (DECAY, given(x0=2.0, source=0.0, k=-0.3)),
        (DECAY, given(x0=2.0, source=1.0, k=0.0)),
        (uq.Ode(one_initial, dimerization), given(x0=1.0, k=-1.0)),
    ],
    ids=["limit cycle", "exponential", "linear", "blow-up"],
)
def test_oscillation_and_growth_are_a_code_with_advice(system, theta):
    found = rest(system)(theta, {})
    assert int(found.result) == uq.Result.NO_STEADY_STATE
    assert all(np.isnan(value) for value in numbers(found).values())
    assert "finite time" in uq.RESULTS[uq.Result.NO_STEADY_STATE]


@pytest.mark.parametrize(
    "theta, code", [(given(x0=1.0, source=0.0, k=np.nan), 2), (given(x0=np.nan, source=0.0, k=1.0), 3)]
)
def test_what_is_no_number_from_the_start_is_distinguished(theta, code):
    assert int(rest(DECAY)(theta, {}).result) == code
    assert code in uq.RESULTS


@pytest.mark.parametrize("quality", [5.0, 20.0])
def test_a_damped_oscillation_is_waited_for(quality):
    found = rest(SPIRAL)(given(quality=quality), {})
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx({"x": 1.0, "y": 0.0}, abs=1e-9)


def test_a_failing_member_leaves_the_others_right():
    b = jnp.array([0.5, 3.0, 1.2, jnp.nan])

    def height(b):
        return steady_state(BRUSSELATOR, {"b": b}, {}).states["y"]

    found, slopes = jax.jit(jax.vmap(lambda b: (steady_state(BRUSSELATOR, {"b": b}, {}), jax.grad(height)(b))))(b)
    assert found.result.tolist() == [0, uq.Result.NO_STEADY_STATE, 0, 2]
    np.testing.assert_allclose(found.states["y"], [0.5, np.nan, 1.2, np.nan], rtol=1e-10)
    np.testing.assert_allclose(np.asarray(slopes)[[0, 2]], 1.0, rtol=1e-10)


@pytest.mark.parametrize(
    "guess, root, integrated", [(1.05 * HIGH, HIGH, False), (BORDER, LOW, True), (np.nan, LOW, True)]
)
def test_a_guess_saves_the_integration_or_is_passed_over(guess, root, integrated):
    theta = SWITCH_AT | given(x0=0.0)
    found = jax.jit(lambda theta, x: steady_state(SWITCH, theta, {}, guess={"x": x}))(theta, jnp.asarray(guess))
    assert float(found.states["x"]) == pytest.approx(root, rel=1e-10)
    assert (int(found.steps) > 0) == integrated


def test_a_guess_has_the_totals_of_the_start():
    theta = CYCLE_AT | given(kcat=0.72)
    cold = rest(CYCLE)(theta, DOSE)
    warm = jax.jit(lambda theta, guess: steady_state(CYCLE, theta, DOSE, guess=guess))(
        theta, rest(CYCLE)(CYCLE_AT, given(dose=5.05)).states
    )
    assert int(warm.steps) == 0 < int(cold.steps)
    assert numbers(warm) == pytest.approx(numbers(cold), rel=1e-9)


def bound(first, second, dissociation):
    """The smaller root of C^2 - (A0 + B0 + K) C + A0 B0 = 0."""
    total = first + second + dissociation
    return 2 * first * second / (total + np.sqrt(total**2 - 4 * first * second))


@pytest.mark.parametrize(
    "A0, B0, kon, koff",
    [(1e-12, 1e-9, 1e9, 1.0), (1e-12, 1e-9, 1e9, 1e-3), (1e-9, 1e-12, 1e9, 1.0), (1e-12, 1e-12, 1e12, 1.0),
     (1e6, 2e6, 1e-6, 1.0), (1e-12, 1e6, 1e-6, 1.0)],
)  # fmt: skip
def test_no_unit_of_the_states_is_preferred(A0, B0, kon, koff):
    slopes, found = slopes_of(BINDING, "C")(given(A0=A0, B0=B0, kon=kon, koff=koff))
    complex_ = bound(A0, B0, koff / kon)
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx({"A": A0 - complex_, "B": B0 - complex_, "C": complex_}, rel=1e-9, abs=0)
    h = 1e-5 * A0
    slope = (bound(A0 + h, B0, koff / kon) - bound(A0 - h, B0, koff / kon)) / (2 * h)
    assert float(slopes["A0"]) == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("unit", [1e-12, 1e6])
def test_a_continuum_in_any_unit(unit):
    theta = given(beta=2.0 / unit, gamma=1.0, N=unit, I0=0.01 * unit)
    system = uq.Ode(population_initial, epidemic)
    slopes, found = slopes_of(system, "S")(theta)
    left = final_size(2.0, 1.0, 0.99)
    assert int(found.result) == 0
    assert float(found.states["S"]) / unit == pytest.approx(left, rel=1e-7)
    h = 1e-6
    by_rate = (final_size(2 + h, 1.0, 0.99) - final_size(2 - h, 1.0, 0.99)) / (2 * h)
    assert float(slopes["beta"]) / unit**2 == pytest.approx(by_rate, rel=1e-5)


def test_production_from_nothing_in_small_units():
    found = rest(DECAY)(given(x0=0.0, source=1e-15, k=0.3), {})
    assert int(found.result) == 0
    assert numbers(found) == pytest.approx({"x": 1e-15 / 0.3}, rel=1e-9, abs=0)


def test_tolerances_by_state():
    system = replace(CYCLE, atol={"E": 1e-9, "P": 1e-9})
    expected = cycle_by_hand({k: float(v) for k, v in CYCLE_AT.items()}, 5.0)
    assert numbers(rest(system)(CYCLE_AT, DOSE)) == pytest.approx(expected, rel=1e-8)


def test_what_has_no_kernels_is_searched_by_jax():
    """A loop without a bound on its length."""
    system = uq.Ode(cycle_initial, looped)
    assert task_of(system, None, (), tuple(CYCLE_AT), (("dose", ()),)) is None
    derivative = jax.jit(jax.grad(lambda theta: steady_state(system, theta, DOSE).states["P"]))(CYCLE_AT)
    exact = jax.jit(jax.grad(lambda theta: steady_state(CYCLE, theta, DOSE).states["P"]))(CYCLE_AT)
    assert numbers(rest(system)(CYCLE_AT, DOSE)) == pytest.approx(numbers(rest(CYCLE)(CYCLE_AT, DOSE)), rel=1e-9)
    for name, slope in exact.items():
        assert float(derivative[name]) == pytest.approx(float(slope), rel=1e-7)


def test_what_has_no_steady_state_by_its_form_is_an_error_at_once():
    with pytest.raises(uq.InputError, match="uses the time"):
        steady_state(uq.Ode(one_initial, forced), given(x0=1.0), {})
    eventful = replace(DECAY, events=(uq.Event(crossing),))
    with pytest.raises(uq.InputError, match="events"):
        steady_state(eventful, given(x0=1.0, source=0.0, k=1.0), {})
    dosed = replace(DECAY, doses=lambda p, inputs: {"x": (jnp.ones(1), jnp.ones(1))})
    with pytest.raises(uq.InputError) as error:
        jax.jit(lambda theta: steady_state(dosed, theta, {}, guess={"z": 1.0}))(given(x0=1.0, source=0.0, k=1.0))
    assert len(error.value.findings) == 3


def test_laws_are_those_of_the_stoichiometry():
    laws = conservation_laws(CYCLE, ("E", "S", "ES", "P"), CYCLE_AT, DOSE)
    rng = np.random.default_rng(1)
    assert laws.shape == (2, 4)
    for _ in range(5):
        y = given(**dict(zip(("E", "S", "ES", "P"), rng.lognormal(size=4), strict=True)))
        slope = np.array([float(value) for value in cycle(0.0, y, CYCLE_AT, DOSE).values()])
        np.testing.assert_allclose(laws @ slope, 0.0, atol=1e-12)
    assert len(conservation_laws(DECAY, ("x",), given(x0=0.0, source=0.0, k=0.0), {})) == 0


def test_laws_are_found_once_for_a_system():
    conservation._laws.cache_clear()
    for dose in (1.0, 2.0):
        conservation_laws(CYCLE, ("E", "S", "ES", "P"), CYCLE_AT, given(dose=dose))
    assert conservation._laws.cache_info().misses == 1


def test_new_values_reuse_the_compiled_search():
    search = jax.jit(partial(steady_state, DECAY))
    for k in (0.1, 0.2, 0.3):
        search(given(x0=1.0, source=1.0, k=k), {})
    assert search._cache_size() == 1


def test_the_search_costs_no_more_steps_than_a_few_transients():
    design = uq.Design([100.0], DOSE)
    transient = int(jax.jit(lambda theta: odes.solve(CYCLE, theta, design, method="implicit"))(CYCLE_AT).steps)
    assert int(rest(CYCLE)(CYCLE_AT, DOSE).steps) < 2 * transient


def test_the_small_integrator_follows_the_matrix_exponential():
    matrix = np.array([[-1e4, 50.0, 0.0], [0.0, -10.0, 3.0], [0.0, 0.0, -0.1]])

    def end(scale):
        return follow(lambda y: scale * (matrix @ y), jnp.ones(3), jnp.asarray(2.0), rtol=1e-9, atol=1e-11)

    value, slope = jax.jit(lambda scale: jax.jvp(end, (scale,), (1.0,)))(1.0)
    exact = expm(2.0 * matrix) @ np.ones(3)
    np.testing.assert_allclose(value, exact, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(slope, 2.0 * matrix @ exact, rtol=1e-6, atol=1e-9)
