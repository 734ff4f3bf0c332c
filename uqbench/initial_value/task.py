"""What is solved, as far as it is known before any number, and the rows of numbers that a call adds to it."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..annotations import Values
from ..native.engine import records
from ..system import METHODS, Ode
from .schedule import schedule

# Times that differ by this part of themselves are one time: what rounding makes of a sum of many intervals.
SAME_TIME = 1e-12
NO_LIMIT = 1e300
# Parameters and inputs share one row, and an input may have the name of a parameter.
INPUT = "input "
# What delays see stands behind the inputs in the same row; no parameter has a space in its name.
PAST = "past "


class Task(NamedTuple):
    """What is solved, as far as it is known before any number; hashable.

    Args:
        system: the dynamics.
        observe: `observe(t, y, p, inputs)` -> dict of outputs, or None where the states are wanted.
        parameters: names, in the order of the engine's row.
        inputs: names and shapes, likewise.
        states, outputs: names in order.
    """

    system: Ode
    observe: Callable | None
    parameters: tuple[str, ...]
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    states: tuple[str, ...]
    outputs: tuple[str, ...]


def report_size(task: Task) -> int:
    """Numbers that a solve reports."""
    return records.REPORT + len(task.states)


@lru_cache(maxsize=256)
def state_names(system: Ode, parameters: tuple[str, ...], inputs) -> tuple[str, ...]:
    """Names of the states in the author's order, by tracing `initial`."""
    order: list[str] = []

    def initial(theta, given):
        state = system.initial(theta, given)
        order[:] = list(state)
        return {name: jnp.asarray(value) for name, value in state.items()}

    jax.eval_shape(initial, *shapes_of(parameters, inputs))
    return tuple(order)


def shapes_of(parameters, inputs):
    return (
        {name: jax.ShapeDtypeStruct((), float) for name in parameters},
        {name: jax.ShapeDtypeStruct(shape, float) for name, shape in inputs},
    )


def start_of(task: Task, theta: Mapping, inputs: Mapping, start):
    """Initial state `(n,)`, its time, times `(events,)` and amounts `(events, n)` of the schedule."""
    system = task.system
    initial = system.initial(theta, inputs)
    y = jnp.stack([jnp.asarray(initial[name], float) for name in task.states])
    begin = jnp.asarray(start if system.start is None else system.start(theta, inputs), float)
    return (y, begin, *schedule(system, task.states, theta, inputs))


def parameter_row(task: Task, theta: Mapping, inputs: Mapping) -> Array:
    """`(m,)`: parameters and inputs as the kernels read them."""
    row = [jnp.ravel(jnp.asarray(theta[name], float)) for name in task.parameters]
    row += [jnp.ravel(jnp.asarray(inputs[name], float)) for name, _ in task.inputs]
    row += [jnp.zeros(2 * len(task.system.delays))]
    return jnp.concatenate(row)


def settings_of(system: Ode, method: str, start) -> Array:
    """The last operand of a solve."""
    limits = [
        system.rtol,
        NO_LIMIT if system.max_step is None else system.max_step,
        system.max_steps,
        METHODS.index(method or system.method),
        SAME_TIME,
    ]
    return jnp.concatenate([jnp.asarray(start, float)[None], jnp.asarray(limits, float)])


@lru_cache(maxsize=256)
def used_names(task: Task) -> frozenset[str]:
    """Parameters and inputs (with `INPUT` before their names) that a solve depends on."""
    system = task.system
    functions = [
        lambda theta, inputs, t, y: start_of(task, theta, inputs, t),
        lambda theta, inputs, t, y: dict(system.rhs(t, system.at_rest(y), theta, inputs)),
        lambda theta, inputs, t, y: [delay.length(theta, inputs) for delay in system.delays.values()],
        lambda theta, inputs, t, y: [delay.before(t, y, theta, inputs) for delay in system.delays.values()],
        *(lambda theta, inputs, t, y, f=event.root: f(t, y, theta, inputs) for event in system.events),
        *(lambda theta, inputs, t, y, f=event.change: dict(f(t, y, theta, inputs)) for event in system.events
          if event.change is not None),
    ]  # fmt: skip
    if (observe := task.observe) is not None:
        functions.append(lambda theta, inputs, t, y: dict(observe(t, system.at_rest(y), theta, inputs)))
    return _names_of(task, functions)


@lru_cache(maxsize=256)
def names_of_start(task: Task) -> frozenset[str]:
    """Those of `used_names` on which the initial state and the schedule depend."""
    return _names_of(task, [lambda theta, inputs, t, y: start_of(task, theta, inputs, t)])


def _names_of(task: Task, functions) -> frozenset[str]:
    """Parameters and inputs that functions of (theta, inputs, t, y) read for what they return."""
    theta, inputs = shapes_of(task.parameters, task.inputs)
    state = {name: jax.ShapeDtypeStruct((), float) for name in task.states}
    time = jax.ShapeDtypeStruct((), float)
    names = sorted(theta) + [INPUT + name for name in sorted(inputs)]
    used: set[str] = set()
    for function in functions:
        jaxpr = jax.make_jaxpr(function)(theta, inputs, time, state).jaxpr
        needed = {id(v) for v in jaxpr.outvars}
        for equation in reversed(jaxpr.eqns):
            if any(id(v) in needed for v in equation.outvars):
                needed |= {id(v) for v in equation.invars}
        used |= {name for name, v in zip(names, jaxpr.invars, strict=False) if id(v) in needed}
    return frozenset(used)


def active_entries(task: Task, moved: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """The entries (name, flat index) of those names of `moved`, inputs with `INPUT` before them, that are used."""
    shapes = dict.fromkeys(task.parameters, ()) | {INPUT + name: shape for name, shape in task.inputs}
    wanted = {name: shape for name, shape in shapes.items() if name in moved and name in used_names(task)}
    return tuple((name, k) for name, shape in wanted.items() for k in range(int(np.prod(shape, dtype=int))))


def shifted(active: tuple[tuple[str, int], ...], theta: Values, inputs: Mapping, change) -> tuple[Values, dict]:
    """Parameters and inputs of which the `active` entries are changed by `(active,)`."""
    theta, inputs = dict(theta), dict(inputs)
    for k, (name, index) in enumerate(active):
        part, key = (inputs, name.removeprefix(INPUT)) if name.startswith(INPUT) else (theta, name)
        value = jnp.asarray(part[key], float)
        moved = jnp.ravel(value).at[index].add(change[k]).reshape(value.shape) if value.shape else value + change[k]
        part[key] = moved
    return theta, inputs
