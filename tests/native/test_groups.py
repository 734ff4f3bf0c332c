"""Members of a batch that are solved side by side: to the bits of single calls, whatever happens to the others."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.initial_value.machine_code import group_engine
from uqbench.native.engine import group
from uqbench.native.language import WIDTH

from ..initial_value.stiff_problems import HIRES_PROBLEM, ROBERTSON, VAN_DER_POL, Problem
from ..solves.problems import model

TIMES = np.array([0.2, 0.5, 1.0, 1.7, 2.5, 4.0, 6.0])


def start(p, inputs):
    return {"a": p["a0"], "b": 0.0}


def chain(t, y, p, inputs):
    return {"a": -p["k"] * y["a"], "b": p["k"] * y["a"] - p["d"] * y["b"] / (0.1 + y["b"])}


def switching(t, y, p, inputs):
    """A jump at a time, one at a level, and a power."""
    feed = jnp.where(t < 1.0 + 0.1 * p["d"], p["k"], 0.0)
    loss = jnp.where(y["b"] > 0.4 * p["a0"], 2.0 * p["d"], p["d"])
    return {"a": feed - p["k"] * y["a"] ** 1.3, "b": p["k"] * y["a"] - loss * y["b"]}


def driven(t, y, p, inputs):
    return {"a": p["k"] * jnp.sin(3.0 * t) - p["d"] * y["a"], "b": 100.0 * p["k"] * (y["a"] - y["b"]) + jnp.exp(-t)}


def fed_by_a_curve(t, y, p, inputs):
    known = jnp.interp(t, jnp.array([0.0, 1.0, 2.0, 5.0]), jnp.array([1.0, 0.2, 2.0, p["k"]]))
    return {"a": known - p["k"] * y["a"], "b": 50.0 * (y["a"] - y["b"]) * p["d"]}


def growing(t, y, p, inputs):
    """Finite time to infinity where k is large."""
    return {"a": p["k"] * y["a"] ** 2 - p["d"] * y["a"], "b": y["a"] - p["d"] * y["b"]}


def fading(t, y, p, inputs):
    """Falls far below what is resolved."""
    return {"a": -60.0 * p["k"] * y["a"], "b": p["k"] * y["a"] - p["d"] * y["b"] / (1e-3 + y["b"])}


def returning(t, y, p, inputs):
    """Grows again from below what is resolved."""
    growth = 200.0 * p["k"] * y["a"]
    return {"a": growth * (y["b"] - 0.5), "b": p["d"] - growth * y["b"]}


def injections(p, inputs):
    return {"a": (jnp.array([0.5, 2.0]), jnp.stack([p["a0"], 3.0 * p["d"]]))}


def half_left(t, y, p, inputs):
    return y["a"] - 0.5 * p["a0"]


def refill(t, y, p, inputs):
    return {"a": y["a"] + p["a0"]}


VALUES = {"a0": 1.0, "k": 1.2, "d": 0.7}
MODELS = {
    "autonomous": (chain, {}),
    "implicit": (chain, {"method": "implicit"}),
    "explicit": (chain, {"method": "explicit"}),
    "events": (chain, {"events": (uq.Event(half_left, refill, "falling"),)}),
    "conditions": (switching, {}),
    "forced": (driven, {}),
    "curve": (fed_by_a_curve, {}),
    "poles": (growing, {}),
    "fading": (fading, {}),
    "returning": (returning, {}),
    "few steps": (driven, {"max_steps": 90}),
    "doses": (chain, {"doses": injections}),
}


@cache
def case(name: str) -> uq.Model:
    rhs, settings = MODELS[name]
    return model(start, rhs, VALUES, ("a", "b"), **settings)


def values(members: int) -> dict[str, np.ndarray]:
    """Spread over orders of magnitude, one of them no number."""
    rng = np.random.default_rng(2)
    found = {name: value * np.exp(rng.normal(size=members)) for name, value in VALUES.items()}
    found["k"][members // 2] = np.nan
    return found


def same(one: uq.Run, k: int, many: uq.Run) -> None:
    assert int(one.result) == int(many.result[k])
    assert int(one.steps) == int(many.steps[k])
    for name in one.outputs:
        np.testing.assert_array_equal(one.outputs[name], many.outputs[name][k])


def compare(under_test: uq.Model, thetas: dict[str, np.ndarray], design: uq.Design, sizes) -> uq.Run:
    """Batches of several sizes against single calls; the largest one."""
    alone = jax.jit(lambda theta: uq.evaluate(under_test, theta, design))
    members = len(next(iter(thetas.values())))
    singles = [alone({name: row[k] for name, row in thetas.items()}) for k in range(members)]
    for size in sizes:
        run = uq.evaluate_many(under_test, {name: jnp.asarray(row[-size:]) for name, row in thetas.items()}, design)
        for k in range(size):
            same(singles[members - size + k], k, run)
    return run


@pytest.mark.parametrize("name", MODELS)
def test_members_have_the_bits_of_single_calls(name):
    run = compare(case(name), values(5 * WIDTH + 3), uq.Design(TIMES), (WIDTH - 1, WIDTH, WIDTH + 1, 5 * WIDTH + 3))
    codes = np.asarray(run.result)
    assert np.sum(codes == 0) >= WIDTH
    assert np.any(codes != 0)


@pytest.mark.parametrize("name", MODELS)
def test_derivatives_have_the_bits_of_single_calls(name):
    thetas = values(2 * WIDTH + 1)

    def outputs(theta):
        run = uq.evaluate(case(name), theta, uq.Design(TIMES))
        return jnp.stack([*run.outputs.values()])

    slopes = jax.jacfwd(outputs)
    together = jax.jit(jax.vmap(slopes))({n: jnp.asarray(v) for n, v in thetas.items()})
    alone = jax.jit(slopes)
    for k in range(2 * WIDTH + 1):
        for n, single in alone({n: v[k] for n, v in thetas.items()}).items():
            np.testing.assert_array_equal(single, together[n][k])


def spread(problem: Problem, members: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    varied = {name: float(problem.theta[name]) * np.exp(0.3 * rng.normal(size=members)) for name in problem.free}
    return {name: np.full(members, float(value)) for name, value in problem.theta.items()} | varied


@pytest.mark.parametrize("problem", [ROBERTSON, HIRES_PROBLEM, VAN_DER_POL], ids=str)
def test_members_that_switch_methods(problem):
    run = compare(problem.at(1e-6), spread(problem, 2 * WIDTH), problem.design, (WIDTH, 2 * WIDTH))
    assert np.all(np.asarray(run.result) == 0)


def test_a_limit_of_steps_ends_one_member_only():
    system = dataclasses.replace(VAN_DER_POL.at(1e-6).system, max_steps=300)
    limited = dataclasses.replace(VAN_DER_POL.at(1e-6), system=system)
    thetas = spread(VAN_DER_POL, 2 * WIDTH)
    run = compare(limited, thetas, VAN_DER_POL.design, (2 * WIDTH,))
    assert set(np.asarray(run.result).tolist()) == {0, 1}


def test_the_order_of_a_batch_changes_nothing():
    thetas = values(4 * WIDTH)
    order = np.random.default_rng(3).permutation(4 * WIDTH)
    run = uq.evaluate_many(case("conditions"), {n: jnp.asarray(v) for n, v in thetas.items()}, uq.Design(TIMES))
    moved = uq.evaluate_many(
        case("conditions"), {n: jnp.asarray(v[order]) for n, v in thetas.items()}, uq.Design(TIMES)
    )
    for name in run.outputs:
        np.testing.assert_array_equal(np.asarray(run.outputs[name])[order], moved.outputs[name])


def test_the_engine_of_groups_can_be_compiled():
    """Where it cannot, members are solved one by one, and all other tests of this file would pass."""
    assert group_engine().address(group.solve_group.__name__)


def oscillator_rhs(t, y, p, inputs):
    return {"a": y["b"], "b": p["k"] * (1 - y["a"] ** 2) * y["b"] - p["d"] * y["a"]}


def oscillator_doses(p, inputs):
    return {"a": (jnp.array([0.5, 1.0, 2.0, 3.7]), jnp.stack([p["a0"], p["d"], p["k"], p["a0"]]))}


def test_the_limit_of_steps_is_the_same_alone_and_together():
    """Outputs at the times of doses; where a stretch began was a matter of rounding, for single members only."""
    thetas = {name: np.exp(0.7 * np.random.default_rng(k).normal(size=64)) for k, name in enumerate(("a0", "k", "d"))}
    dosed = model(
        lambda p, inputs: {"a": p["a0"], "b": 0.0},
        oscillator_rhs,
        dict.fromkeys(thetas, 1.0),
        "ab",
        doses=oscillator_doses,
        max_steps=40,
    )
    run = compare(dosed, thetas, uq.Design([0.5, 1.0, 2.0, 3.7, 5.0]), (64,))
    assert set(np.asarray(run.result).tolist()) == {0, 1}
