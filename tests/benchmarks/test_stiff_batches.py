"""Batches of stiff solves: cheaper by the piece than one by one, and not held up by members that fail.

256 parameter vectors, each constant log-normal with a spread of 20 % about the values of the reference. Times are those
of the processor, all threads together: a batch takes so long that a busy machine interrupts it.
"""

import dataclasses
from functools import cache, partial
from time import process_time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from ..initial_value.stiff_problems import (
    CASCADE_PROBLEM,
    HIRES_PROBLEM,
    POLLUTION_PROBLEM,
    RECEPTORS,
    ROBERTSON,
    VAN_DER_POL,
    Problem,
)
from .reference_solvers import best

pytestmark = pytest.mark.bench

MEMBERS = 256
EVERY_TENTH = np.arange(0, MEMBERS, 10)
RECEPTOR = RECEPTORS[2]
# Few enough steps between two observations that a member gives up soon, enough for the well-behaved ones.
LIMIT = 1024


def members(problem: Problem) -> dict[str, np.ndarray]:
    """Parameter values, `(members,)` each; those that the problem does not vary keep one value."""
    rng = np.random.default_rng(0)
    factors = np.exp(0.2 * rng.normal(size=(len(problem.free), MEMBERS)))
    values = {name: np.full(MEMBERS, float(value)) for name, value in problem.theta.items()}
    return values | {name: values[name] * row for name, row in zip(problem.free, factors, strict=True)}


@cache
def limited(problem: Problem) -> uq.Model:
    """A tight tolerance with a step limit that the well-behaved members do not meet."""
    model = problem.at(1e-8)
    return dataclasses.replace(model, system=dataclasses.replace(model.system, max_steps=LIMIT))


def batch(model: uq.Model, problem: Problem, values: dict[str, np.ndarray]):
    """The batch as a call that waits for its run."""
    thetas = {name: jnp.asarray(row) for name, row in values.items()}
    return lambda: jax.block_until_ready(uq.evaluate_many(model, thetas, problem.design))


@pytest.mark.parametrize("problem", [RECEPTOR, ROBERTSON, HIRES_PROBLEM, CASCADE_PROBLEM, POLLUTION_PROBLEM], ids=str)
def test_a_batch_is_three_times_faster_by_the_piece(problem, capsys):
    model, values = problem.at(1e-6), members(problem)
    together = batch(model, problem, values)
    run = together()
    compiled = jax.jit(partial(uq.evaluate, model, design=problem.design))
    pieces = [{name: jnp.asarray(row[k]) for name, row in values.items()} for k in range(MEMBERS)]

    def one_by_one():
        return jax.block_until_ready([compiled(theta) for theta in pieces])

    singles = one_by_one()
    seconds = best({"together": together, "one by one": one_by_one}, rounds=20, burst=2, budget=4.0, clock=process_time)
    factor = seconds["one by one"] / seconds["together"]
    steps = np.asarray(run.steps)
    with capsys.disabled():
        print(f"\n{problem.name:14s} 256 solves: one by one {1e6 * seconds['one by one'] / MEMBERS:.1f} us each, "
              f"in a batch {1e6 * seconds['together'] / MEMBERS:.1f} us each, {factor:.1f} times faster; "
              f"steps {steps.min()} to {steps.max()}, mean {steps.mean():.0f}")  # fmt: skip
    assert np.all(np.asarray(run.result) == 0)
    for name in problem.states:
        alone = np.stack([np.asarray(single.outputs[name]) for single in singles])
        np.testing.assert_allclose(run.outputs[name], alone, rtol=1e-4, atol=1e-4 * problem.floor)
    assert factor >= 3


def changed(values: dict[str, np.ndarray], name: str, change) -> dict[str, np.ndarray]:
    """The same members with one parameter changed in every tenth."""
    row = values[name].copy()
    row[EVERY_TENTH] = change(row[EVERY_TENTH])
    return values | {name: row}


# what fails: problem, parameter, what becomes of it in every tenth member, model
FAILURES = {
    "receptor, NaN": (RECEPTOR, "L", lambda row: np.nan * row, None),
    "HIRES, NaN": (HIRES_PROBLEM, "k_plus", lambda row: np.nan * row, None),
    "receptor, exponential growth": (RECEPTOR, "eps", np.negative, None),
    "Robertson, exponential growth": (ROBERTSON, "k1", np.negative, None),
    "Robertson, pole": (ROBERTSON, "k2", np.negative, None),
    "HIRES, pole": (HIRES_PROBLEM, "k_plus", np.negative, None),
    "van der Pol, step limit": (VAN_DER_POL, "mu", np.ones_like, limited),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_tenth_of_failing_members_costs_at_most_half_as_much_again(failure, capsys):
    problem, name, change, model = FAILURES[failure]
    model = problem.at(1e-6) if model is None else model(problem)
    values = members(problem)
    sound = batch(model, problem, values)
    failing = batch(model, problem, changed(values, name, change))
    before, after = sound(), failing()
    seconds = best({"sound": sound, "failing": failing}, rounds=20, burst=2, budget=4.0, clock=process_time)
    ratio = seconds["failing"] / seconds["sound"]
    codes, steps = np.asarray(after.result), np.asarray(after.steps)
    rest = np.setdiff1d(np.arange(MEMBERS), EVERY_TENTH)
    with capsys.disabled():
        kinds = ", ".join(f"{np.sum(codes == code)} with code {code}" for code in np.unique(codes))
        print(f"\n{failure:30s} sound {1e6 * seconds['sound'] / MEMBERS:.1f} us each, with failing members "
              f"{1e6 * seconds['failing'] / MEMBERS:.1f}, ratio {ratio:.2f}; {kinds}; steps of the sound "
              f"{steps[rest].mean():.0f}, of the failing {steps[EVERY_TENTH].mean():.0f}")  # fmt: skip
    assert np.all(np.asarray(before.result) == 0)
    assert np.all(codes[EVERY_TENTH] != 0)
    assert np.all(codes[rest] == 0)
    for output in problem.states:
        assert np.all(np.isnan(np.asarray(after.outputs[output])[EVERY_TENTH]))
        np.testing.assert_allclose(
            np.asarray(after.outputs[output])[rest], np.asarray(before.outputs[output])[rest], rtol=1e-10
        )
    assert ratio <= 1.5
