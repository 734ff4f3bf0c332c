"""What a gradient costs in values: the adjoint against forward sensitivities, as parameters become many.

One output at several times is fitted; times are the best of several in one process, compiled, without the first call.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uqbench.initial_value.compiled import _adjoint_operands
from uqbench.initial_value.machine_code import compiled
from uqbench.initial_value.task import active_entries, start_of
from uqbench.native import foreign_call
from uqbench.native.engine import records

from ..native.test_adjoint import RECEPTOR, ROBERTSON, VOLTERRA, Prepared, chain, prepared

pytestmark = pytest.mark.bench

CASES = {
    "nonstiff, 4": VOLTERRA,
    "Robertson, 3": ROBERTSON,
    "receptor, 5": RECEPTOR,
    "10 states, 10": chain(10, 10),
    "10 states, 30": chain(10, 30),
    "10 states, 100": chain(10, 100),
    "30 states, 30": chain(30, 30),
    "100 states, 100": chain(100, 100),
    "10 states, 100, implicit": chain(10, 100)._replace(settings={"method": "implicit"}),
    "100 states, 100, implicit": chain(100, 100)._replace(settings={"method": "implicit"}),
}
# A gradient for a hundred parameters, in values.
MOST_VALUES = 20.0


def seconds(call, repeats: int = 7) -> tuple[float, float]:
    """Best time of a call in a loop, and the time of the first call, with compilation."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    first = time.perf_counter() - start
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - start)
    return min(found), first


def trials(case: Prepared) -> tuple[int, float]:
    """How many solves an adjoint took, and the difference of its two gradients in units of what is trusted."""
    task = case.model.dynamics.task(case.model, case.design)
    theta = dict(zip(task.parameters, np.exp(case.at[0]), strict=True))
    active = active_entries(task, task.parameters)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(len(case.design.times), len(task.outputs))))
    operands = _adjoint_operands(task, case.model.system.method, active, theta, case.design, weights)
    _, _, event_times, _ = start_of(task, theta, case.design.inputs, case.design.start)
    size = len(active) + len(task.states) + 1 + len(event_times) * (1 + len(task.states))
    shapes = [weights.shape, (records.REPORT + len(task.states) + 2,), (size, 2)]
    _, report, _ = foreign_call.call_model(compiled(task, active).target, operands, shapes)
    return int(report[-2]), float(report[-1])


@pytest.mark.parametrize("name", CASES)
def test_the_price_of_a_gradient(name):
    case = prepared(CASES[name], rtol=1e-8)
    logarithms, inputs = case.at
    value = jax.jit(lambda at: case.score(at, inputs, "value")[0])
    forward = jax.jit(jax.grad(lambda at: case.score(at, inputs, "forward")[0]))
    back = jax.jit(jax.grad(lambda at: case.score(at, inputs, "reverse")[0]))
    one, _ = seconds(lambda: value(logarithms))
    by_forward, compile_forward = seconds(lambda: forward(logarithms))
    by_back, compile_back = seconds(lambda: back(logarithms))
    difference = np.abs(back(logarithms) - forward(logarithms)).max() / np.abs(forward(logarithms)).max()
    solves, distrust = trials(case)
    print(
        f"\n{name:26s} value {1e6 * one:8.0f} us; gradient in values: adjoint {by_back / one:6.1f}, "
        f"forward {by_forward / one:6.1f}; difference {difference:.0e}; {solves} solve(s), "
        f"estimate of the error {1e-3 * distrust:.0e}; first call {compile_back:.1f} s and {compile_forward:.1f} s"
    )
    assert difference < 1e-5
    assert by_back < MOST_VALUES * one
