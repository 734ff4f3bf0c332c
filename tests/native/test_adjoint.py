"""Gradients in reverse mode against forward sensitivities, which have their own tests against closed forms.

Both are derivatives of discrete solutions, of different steps: the forward mode's follow the sensitivities too. At a
tight tolerance they agree to a small multiple of it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.initial_value.task import active_entries

from ..solves import random_networks
from ..solves.problems import model

RTOL = 1e-9
# Adjoint and forward sensitivities, relative to the largest entry of each gradient by logarithms.
AGREEMENT = 1e-6
NOT_DIFFERENTIABLE = 6


class Problem(NamedTuple):
    initial: Callable
    rhs: Callable
    theta: Mapping[str, float]
    outputs: tuple[str, ...]
    end: float
    settings: Mapping = {}
    observe: Callable | None = None
    inputs: Mapping = {}


# --- smooth right-hand sides


def preys(p, inputs):
    return {"prey": p["prey0"], "predator": 1.0}


def volterra(t, y, p, inputs):
    met = p["b"] * y["prey"] * y["predator"]
    return {"prey": p["a"] * y["prey"] - met, "predator": 0.5 * met - p["d"] * y["predator"]}


VOLTERRA = Problem(preys, volterra, {"a": 1.1, "b": 0.4, "d": 0.4, "prey0": 6.0}, ("prey", "predator"), 8.0)


def robertson_initial(p, inputs):
    return {"A": 1.0, "B": 0.0, "C": 0.0}


def robertson(t, y, p, inputs):
    first, second, third = p["k1"] * y["A"], p["k2"] * y["B"] ** 2, p["k3"] * y["B"] * y["C"]
    return {"A": third - first, "B": first - second - third, "C": second}


ROBERTSON = Problem(robertson_initial, robertson, {"k1": 0.04, "k2": 3e7, "k3": 1e4}, ("A", "B", "C"), 1e4)


def receptor_initial(p, inputs):
    return {"R": p["R0"], "LR": 0.0, "TF": 0.0}


def receptor(t, y, p, inputs):
    binding = (inputs["ligand"] * y["R"] - p["Kd"] * y["LR"]) / p["eps"]
    return {"R": -binding, "LR": binding, "TF": p["ks"] * y["LR"] / (1.0 + y["LR"]) - p["kd"] * y["TF"]}


RECEPTOR = Problem(
    receptor_initial,
    receptor,
    {"R0": 2.0, "Kd": 0.8, "eps": 1e-4, "ks": 1.5, "kd": 0.7},
    ("R", "LR", "TF"),
    6.0,
    inputs={"ligand": 0.9},
)


def pool_initial(p, inputs):
    return {"C": p["C0"]}


def circadian(t, y, p, inputs):
    return {"C": p["k"] * (1.0 + p["depth"] * jnp.sin(p["w"] * t)) - y["C"] ** 2}


FORCED = Problem(pool_initial, circadian, {"C0": 0.3, "k": 1.2, "depth": 0.7, "w": 2.3}, ("C",), 9.0)


def ratio_of(y, p, t):
    return {"level": p["gain"] * jnp.log(y["C"] + p["offset"]) + 0.1 * t}


OBSERVED = Problem(
    pool_initial,
    circadian,
    {"C0": 0.3, "k": 1.2, "depth": 0.7, "w": 2.3, "gain": 1.7, "offset": 0.2},
    ("level",),
    9.0,
    observe=ratio_of,
)

# --- times that are known


def decay(t, y, p, inputs):
    return {"C": -p["k"] * y["C"] / (1.0 + y["C"])}


def two_doses(p, inputs):
    return {"C": (jnp.stack([p["when"], 2.5 * p["when"]]), jnp.stack([p["amount"], 0.5 * p["amount"]]))}


DOSES = Problem(
    pool_initial, decay, {"C0": 1.0, "k": 0.6, "when": 1.3, "amount": 2.0}, ("C",), 7.0, {"doses": two_doses}
)


def infused(t, y, p, inputs):
    return {"C": jnp.where(t < p["stop"], p["rate"], 0.0) - p["k"] * y["C"]}


def stop_of(p, inputs):
    return jnp.stack([p["stop"]])


INFUSION = Problem(
    pool_initial, infused, {"C0": 1.0, "k": 0.6, "stop": 2.3, "rate": 1.4}, ("C",), 7.0, {"switches": stop_of}
)
FOUND_SWITCH = INFUSION._replace(settings={})


def lit(t, y, p, inputs):
    return {"C": jnp.where(jnp.mod(t - p["dawn"], p["day"]) < 0.5 * p["day"], p["rate"], 0.0) - p["k"] * y["C"]}


LIGHT = Problem(pool_initial, lit, {"C0": 1.0, "k": 0.6, "rate": 1.4, "dawn": 0.4, "day": 1.9}, ("C",), 7.0)


def begin_at(p, inputs):
    return p["begin"]


STARTED = Problem(
    pool_initial, circadian, {"C0": 0.3, "k": 1.2, "depth": 0.7, "w": 2.3, "begin": 0.37}, ("C",), 9.0,
    {"start": begin_at},
)  # fmt: skip

# --- times that the states decide


def ball_initial(p, inputs):
    return {"height": p["height0"], "speed": p["speed0"]}


def fall(t, y, p, inputs):
    return {"height": y["speed"], "speed": -p["g"] - p["drag"] * y["speed"]}


def on_the_ground(t, y, p, inputs):
    return y["height"]


def bounce(t, y, p, inputs):
    return {"speed": -p["restitution"] * y["speed"]}


BALL = Problem(
    ball_initial,
    fall,
    {"height0": 2.0, "speed0": 1.0, "g": 9.81, "restitution": 0.8, "drag": 0.1},
    ("height", "speed"),
    3.1,
    {"events": (uq.Event(on_the_ground, bounce, "falling"),)},
)


def too_little(t, y, p, inputs):
    return y["C"] - p["low"]


def one_more(t, y, p, inputs):
    return {"C": y["C"] + p["amount"]}


REFILLED = Problem(
    pool_initial,
    decay,
    {"C0": 3.0, "k": 0.8, "low": 1.0, "amount": 2.5},
    ("C",),
    9.0,
    {"events": (uq.Event(too_little, one_more, "falling"),)},
)


def saturating(t, y, p, inputs):
    return {"C": jnp.where(y["C"] > p["threshold"], -p["fast"] * y["C"], -p["slow"] * y["C"] ** 2) + p["source"] * t}


CONDITION = Problem(
    pool_initial,
    saturating,
    {"C0": 3.0, "threshold": 1.7, "fast": 1.2, "slow": 0.3, "source": 0.1},
    ("C",),
    6.0,
)

# --- arrays


def driven(t, y, p, inputs):
    drive = inputs["weights"] @ jnp.stack([1.0, jnp.exp(-t), jnp.exp(-2.0 * t)])
    return {"C": drive * p["k"] - y["C"] ** 2}


ARRAYS = Problem(
    pool_initial, driven, {"C0": 0.3, "k": 1.2}, ("C",), 5.0, inputs={"weights": np.array([0.7, 1.1, 0.4])}
)

# --- many parameters


LENGTH = 10


def chain(length: int, parameters: int) -> Problem:
    """Saturable steps along a chain, `parameters` constants in all: one of each step, then more feedbacks."""
    states = [f"x{k}" for k in range(length)]

    def initial(p, inputs):
        return {name: jnp.asarray(1.0 if k == 0 else 0.1) for k, name in enumerate(states)}

    def rhs(t, y, p, inputs):
        slopes = dict.fromkeys(states, 0.02)
        for k in range(parameters):
            source, target = states[k % length], states[(k + 1 + 3 * (k // length)) % length]
            flow = p[f"k{k}"] * y[source] / (1.0 + 0.3 * y[target])
            slopes[source] = slopes[source] - flow
            slopes[target] = slopes[target] + flow
        return slopes

    theta = {f"k{k}": 0.2 + 0.8 * float(np.sin(1.0 + 7.0 * k) ** 2) for k in range(parameters)}
    return Problem(initial, rhs, theta, tuple(states), 4.0)


CHAIN = chain(LENGTH, 100)

PROBLEMS = {
    "nonstiff": VOLTERRA,
    "nonstiff, implicit": VOLTERRA._replace(settings={"method": "implicit"}),
    "stiff: Robertson": ROBERTSON,
    "stiff: receptor": RECEPTOR,
    "forced": FORCED,
    "forced, implicit": FORCED._replace(settings={"method": "implicit"}),
    "observed": OBSERVED,
    "observed, implicit": OBSERVED._replace(settings={"method": "implicit"}),
    "doses": DOSES,
    "switch": INFUSION,
    "switch that the engine finds": FOUND_SWITCH,
    "periodic switches": LIGHT,
    "start": STARTED,
    "ball": BALL,
    "ball, implicit": BALL._replace(settings={"method": "implicit"}),
    "dose at a threshold": REFILLED,
    "condition": CONDITION,
    "array input": ARRAYS,
    "100 parameters": CHAIN,
}


class Prepared(NamedTuple):
    """`score(logarithms or values, mode)` of a problem, and where it is differentiated."""

    score: Callable
    at: tuple
    design: uq.Design
    model: uq.Model


def prepared(problem: Problem, rtol: float = RTOL) -> Prepared:
    """A random combination of all outputs, as a function of the logarithms of parameters and of the inputs."""
    settings = {"rtol": rtol, **problem.settings}
    if problem.observe is not None:
        settings["observe"] = problem.observe
    under_test = model(problem.initial, problem.rhs, problem.theta, problem.outputs, **settings)
    design = uq.Design(np.linspace(0.0, problem.end, 8), problem.inputs)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(len(problem.outputs), 8)))

    def score(logarithms, inputs, mode):
        theta = {name: jnp.exp(value) for name, value in zip(problem.theta, logarithms, strict=True)}
        new = design if not inputs else _with(design, inputs)
        run = uq.evaluate(under_test, theta, new, mode=mode)
        return jnp.sum(weights * jnp.stack([run.outputs[name] for name in problem.outputs])), run.result

    at = (jnp.log(jnp.array([*problem.theta.values()])), {name: jnp.asarray(v) for name, v in design.inputs.items()})
    return Prepared(score, at, design, under_test)


def _with(design: uq.Design, inputs) -> uq.Design:
    return eqx.tree_at(lambda design: design.inputs, design, inputs)


def gradients(case: Prepared):
    forward, code = jax.jit(jax.jacfwd(lambda *at: case.score(*at, "forward"), argnums=(0, 1), has_aux=True))(*case.at)
    back, code_back = jax.jit(jax.grad(lambda *at: case.score(*at, "reverse"), argnums=(0, 1), has_aux=True))(*case.at)
    assert (int(code), int(code_back)) == (0, 0)
    return [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (forward, back)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_adjoint_is_what_forward_sensitivities_give(name):
    case = prepared(PROBLEMS[name])
    assert case.model.dynamics.task(case.model, case.design) is not None
    forward, back = gradients(case)
    print(f"{name}: {np.abs(back - forward).max() / np.abs(forward).max():.1e}")
    assert np.abs(back - forward).max() < AGREEMENT * np.abs(forward).max()


def test_a_batch_of_gradients_is_that_of_its_members():
    case = prepared(RECEPTOR)
    logarithms, inputs = case.at
    batch = logarithms + jnp.linspace(-0.2, 0.2, 5)[:, None]
    one = jax.jit(jax.grad(lambda values: case.score(values, inputs, "reverse")[0]))
    together = jax.jit(jax.vmap(one))(batch)
    np.testing.assert_array_equal(together, np.stack([one(each) for each in batch]))


def test_a_jacobian_by_rows():
    case = prepared(VOLTERRA)

    def outputs(values, mode):
        theta = dict(zip(VOLTERRA.theta, values, strict=True))
        run = uq.evaluate(case.model, theta, case.design, mode=mode)
        return jnp.stack([run.outputs[name] for name in VOLTERRA.outputs])

    at = jnp.array([*VOLTERRA.theta.values()])
    found, right = jax.jacrev(outputs)(at, "reverse"), jax.jacfwd(outputs)(at, "forward")
    np.testing.assert_allclose(found, right, rtol=0, atol=AGREEMENT * np.abs(right).max())


def test_tangents_are_refused():
    case = prepared(VOLTERRA)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jacfwd(lambda values: case.score(values, {}, "reverse")[0])(case.at[0])


def explodes(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def test_a_failed_solve_has_a_code_and_no_gradient():
    case = prepared(Problem(pool_initial, explodes, {"C0": 1.0, "k": 1.0}, ("C",), 3.0))
    values = jnp.log(jnp.array([[1.0, 1.0], [1.0, 0.1]]))
    every = jax.jit(jax.vmap(jax.value_and_grad(lambda each: case.score(each, {}, "reverse"), has_aux=True)))
    (scores, codes), slopes = every(values)
    assert int(codes[0]) != 0 and int(codes[1]) == 0
    assert np.isnan(scores[0]) and np.isfinite(scores[1])
    np.testing.assert_array_equal(slopes[0], 0.0)
    assert np.all(np.isfinite(slopes[1])) and np.any(slopes[1] != 0)


def grazing_root(t, y, p, inputs):
    return y["height"] - p["ceiling"]


def test_a_crossing_that_only_touches_has_a_code():
    """At the top of its flight a ball has no speed: the time of the crossing has no derivative."""

    def clock_initial(p, inputs):
        return {"height": 0.0 * p["g"], "hits": 0.0}

    def clock(t, y, p, inputs):
        return {"height": p["g"] * (t - 1.0) ** 2, "hits": 0.0}

    def counted(t, y, p, inputs):
        return {"hits": y["hits"] + 1.0}

    settings = {"events": (uq.Event(grazing_root, counted, "rising"),)}
    # height(1) = g / 3, where its rate is zero
    case = prepared(Problem(clock_initial, clock, {"g": 3.0, "ceiling": 1.0}, ("height", "hits"), 3.0, settings))
    _, code = jax.grad(lambda each: case.score(each, {}, "forward"), has_aux=True)(case.at[0])
    slopes, code_back = jax.grad(lambda each: case.score(each, {}, "reverse"), has_aux=True)(case.at[0])
    assert int(code_back) == int(code)
    assert int(code) == 0 or np.all(slopes == 0.0)


# --- the steps follow the states; whether they resolve the gradient has to be found out


def resting(t, y, p, inputs):
    """A state at rest whose sensitivity to `target` oscillates: no step of the states sees it."""
    return {"C": y["D"], "D": -(p["w"] ** 2) * (y["C"] - p["target"])}


def resting_initial(p, inputs):
    return {"C": 1.0, "D": 0.0}


@pytest.mark.parametrize("method", ["explicit", "implicit"])
def test_a_gradient_is_right_where_the_states_are_at_rest(method):
    case = prepared(Problem(resting_initial, resting, {"target": 1.0, "w": 3.0}, ("C", "D"), 29.0, {"method": method}))
    forward, _ = jax.jacfwd(lambda each: case.score(each, {}, "forward"), has_aux=True)(case.at[0])
    back, _ = jax.grad(lambda each: case.score(each, {}, "reverse"), has_aux=True)(case.at[0])
    error = float(np.abs(back - forward).max() / np.abs(forward).max())
    print(f"{method}: {error:.1e}")
    assert error < 1e-3


@pytest.mark.parametrize("problem", [ROBERTSON, CHAIN], ids=["Robertson", "chain"])
def test_what_is_conserved_has_the_gradient_zero_and_no_warning(problem):
    case = prepared(problem)

    def total(values):
        theta = {name: jnp.exp(value) for name, value in zip(problem.theta, values, strict=True)}
        run = uq.evaluate(case.model, theta, case.design, mode="reverse")
        return sum(run.outputs[name][-1] - 0.02 * problem.end * (problem is CHAIN) for name in problem.outputs)

    slopes = jax.grad(total)(case.at[0])
    assert np.abs(slopes).max() < 1e-8


def test_a_gradient_that_is_zero_at_an_optimum_is_trusted():
    case = prepared(VOLTERRA)
    data = uq.evaluate(case.model, VOLTERRA.theta, case.design).outputs["prey"]

    def misfit(values):
        theta = {name: jnp.exp(value) for name, value in zip(VOLTERRA.theta, values, strict=True)}
        run = uq.evaluate(case.model, theta, case.design, mode="reverse")
        # opposite residuals at the same time cancel to rounding
        return (
            jnp.sum(run.outputs["prey"] - data)
            - jnp.sum(run.outputs["prey"])
            + jnp.sum((run.outputs["prey"] - data) ** 2)
        )

    assert np.abs(jax.grad(misfit)(case.at[0])).max() < 1e-5


def kinked(t, y, p, inputs):
    return {"C": p["a"] + jnp.maximum(y["C"] - p["threshold"], 0.0)}


@pytest.mark.parametrize("rtol", [1e-6, 1e-8])
def test_a_kink_that_the_states_hardly_notice(rtol):
    """The error of a state across a kink is of second order in the step, that of its sensitivity of first."""
    case = prepared(Problem(pool_initial, kinked, {"C0": 0.5, "a": 1.0, "threshold": 1.5}, ("C",), 4.1), rtol)
    forward, _ = jax.jacfwd(lambda each: case.score(each, {}, "forward"), has_aux=True)(case.at[0])
    back, _ = jax.grad(lambda each: case.score(each, {}, "reverse"), has_aux=True)(case.at[0])
    assert np.abs(back - forward).max() < 1e-3 * np.sqrt(rtol / 1e-6) * np.abs(forward).max()


def test_parameters_without_effect_have_the_gradient_zero():
    case = prepared(VOLTERRA._replace(theta={**VOLTERRA.theta, "nothing": 1.0}))
    slopes = jax.grad(lambda each: case.score(each, {}, "reverse")[0])(case.at[0])
    assert float(slopes[-1]) == 0.0
    task = case.model.dynamics.task(case.model, case.design)
    assert active_entries(task, ("nothing",)) == ()


# --- where the adjoint is not enough, sensitivities take its place, with their codes


def hill_initial(p, inputs):
    return {"A": inputs["dose"] * p["share"], "B": 0.5}


def hill(t, y, p, inputs):
    bound = y["A"] ** p["n"]
    return {"A": p["a"] - p["d"] * y["A"], "B": p["v"] * bound / (p["K"] ** p["n"] + bound) - p["e"] * y["B"]}


def dose_of_a(p, inputs):
    return {"A": (jnp.stack([p["when"]]), jnp.stack([p["amount"]]))}


HILL = Problem(
    hill_initial,
    hill,
    {**{"a": 1.0, "d": 0.4, "v": 2.0, "K": 0.7, "n": 0.8, "e": 0.3}, **{"share": 0.7, "when": 1.3, "amount": 2.0}},
    ("A", "B"),
    8.0,
    {"doses": dose_of_a},
    inputs={"dose": 0.0},
)
# A stays at zero, where its power has an infinite slope, until there is a dose
WAITING = HILL._replace(theta={**HILL.theta, "a": 1e-300})


@pytest.mark.parametrize("method", ["auto", "explicit"])
def test_a_hill_power_below_one_from_zero(method):
    case = prepared(HILL._replace(settings={**HILL.settings, "method": method}), 1e-7)
    logarithms, inputs = case.at
    forward, code = jax.jacfwd(lambda each: case.score(each, inputs, "forward"), has_aux=True)(logarithms)
    back, code_back = jax.grad(lambda each: case.score(each, inputs, "reverse"), has_aux=True)(logarithms)
    assert (int(code), int(code_back)) == (0, 0)
    np.testing.assert_allclose(back, forward, rtol=0, atol=1e-12 * np.abs(forward).max())


def test_a_member_with_infinite_slopes_in_a_batch():
    case = prepared(HILL, 1e-7)
    doses = jnp.array([0.0, 1.0, 0.0, 2.0])

    def every(mode, transformation):
        def score(logarithms, dose):
            return case.score(logarithms, {"dose": dose}, mode)

        one = transformation(score, has_aux=True)
        return jax.jit(jax.vmap(one, (None, 0)))(case.at[0], doses)

    forward, codes = every("forward", jax.jacfwd)
    back, codes_back = every("reverse", jax.grad)
    np.testing.assert_array_equal(codes, 0)
    np.testing.assert_array_equal(codes_back, 0)
    np.testing.assert_allclose(back, forward, rtol=0, atol=1e-3 * np.abs(forward).max())


def tank_initial(p, inputs):
    return {"y": p["y0"], "level": p["y0"]}


def tank(t, y, p, inputs):
    return {"y": -p["k"] * jnp.sqrt(jnp.maximum(y["y"], 0.0)), "level": -p["k"] * y["level"]}


def emptied(t, y, p, inputs):
    return y["A"] - 1.0


def power_of_nothing(t, y, p, inputs):
    return {"A": y["B"] ** 0.8 + p["d"]}


def growth(t, y, p, inputs):
    return {"A": p["a"], "B": -p["e"] * y["B"]}


def nothing_beside(p, inputs):
    return {"A": 0.0, "B": 0.0}


def root_initial(p, inputs):
    return {"C": jnp.sqrt(p["C0"])}


def late(t, y, p, inputs):
    return {"C": jnp.where(t < 1.0 + jnp.sqrt(p["shift"]), p["rate"], 0.0) - y["C"]}


def decays(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


SINGULAR = {
    "empty tank": (Problem(tank_initial, tank, {"y0": 1.0, "k": 0.5}, ("y", "level"), 20.0)),
    "Hill": HILL,
    "Hill, nothing until a dose": WAITING,
    "event": Problem(
        nothing_beside,
        growth,
        {"a": 1.0, "d": 0.1, "e": 0.5},
        ("A", "B"),
        3.0,
        {"events": (uq.Event(emptied, power_of_nothing, "rising"),)},
    ),
    "initial state": Problem(root_initial, decays, {"C0": 0.0, "k": 0.5}, ("C",), 3.0),
    "time of a switch": Problem(pool_initial, late, {"C0": 1.0, "shift": 0.0, "rate": 2.0}, ("C",), 3.0),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_slopes_that_are_not_finite_are_right_or_have_the_code_of_the_forward_mode(name):
    problem = SINGULAR[name]
    case = prepared(problem, 1e-7)
    inputs = case.at[1]
    values = jnp.array([*problem.theta.values()])

    def score(values, mode):
        # parameters themselves, since some are zero
        theta = dict(zip(problem.theta, values, strict=True))
        run = uq.evaluate(case.model, theta, _with(case.design, inputs), mode=mode)
        return sum((1.0 + k) * jnp.sum(run.outputs[output]) for k, output in enumerate(problem.outputs)), run.result

    forward, code = jax.jacfwd(lambda values: score(values, "forward"), has_aux=True)(values)
    back, code_back = jax.grad(lambda values: score(values, "reverse"), has_aux=True)(values)
    print(f"{name}: {int(code)}, {int(code_back)}")
    assert int(code_back) == int(code)
    if int(code) == 0:
        np.testing.assert_allclose(back, forward, rtol=0, atol=1e-6 * np.abs(forward).max())


def test_a_gradient_that_shorter_steps_do_not_better():
    """A network of ten Hill functions whose gradient five solves do not resolve."""
    outcome = random_networks.examine(17)
    assert outcome.codes == (0, 0, 0)
    assert outcome.reverse <= 1.0
