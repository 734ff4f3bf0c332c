"""Solves by the native engine: the model's functions as kernels, one call of the engine from compiled JAX.

What is known beforehand (the functions, the names and shapes) is a `Task`; what changes from call to call are rows of
numbers. The initial state, doses and switches are computed by JAX, the right-hand side, events and outputs by kernels.
Derivatives with respect to parameters and inputs come from sensitivities that the engine integrates under its error
control; as they are stored, the derivative is linear in the tangents and serves both modes. A derivative of a
derivative, or one with respect to times, is left to the solver in JAX (`odes`).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from ..design import Design
from ..kernels import NotAKernel, Sources, build
from ..native import foreign_call
from ..native.engine import problem, records
from ..native.engine.codes import SUCCESS
from ..native.engine.elimination import eliminate
from ..native.library import PackedRecord, pack
from ..system import METHODS, Ode, Theta
from .schedule import schedule

DIRECTIONS = {"rising": 1, "falling": -1, "both": 0}
# Times within this part of the time span are one time: what rounding makes of a sum of many intervals.
SAME_TIME = 1e-12
NO_LIMIT = 1e300


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


class Rows(NamedTuple):
    """Outputs `(times, outputs)` in the order of the task, code, steps, and accepted implicit steps."""

    values: Float[Array, "times outputs"]
    result: Int[Array, ""]
    steps: Int[Array, ""]
    implicit_steps: Int[Array, ""]


@lru_cache(maxsize=256)
def task_of(
    system: Ode,
    observe: Callable | None,
    outputs: tuple[str, ...],
    parameters: tuple[str, ...],
    inputs: tuple[tuple[str, tuple[int, ...]], ...],
) -> Task | None:
    """The task, or None where its functions cannot become kernels or this machine has no engine for them."""
    if not foreign_call.supported() or jax.default_backend() != "cpu":
        return None
    task = Task(system, observe, parameters, inputs, state_names(system, parameters, inputs), outputs)
    task = task if outputs else task._replace(outputs=task.states)
    return None if compiled(task, ()) is None else task


@lru_cache(maxsize=256)
def state_names(system: Ode, parameters: tuple[str, ...], inputs) -> tuple[str, ...]:
    """Names of the states in the author's order, by tracing `initial`."""
    order: list[str] = []

    def initial(theta, given):
        state = system.initial(theta, given)
        order[:] = list(state)
        return {name: jnp.asarray(value) for name, value in state.items()}

    jax.eval_shape(initial, *_shapes(parameters, inputs))
    return tuple(order)


def _shapes(parameters, inputs):
    return (
        {name: jax.ShapeDtypeStruct((), float) for name in parameters},
        {name: jax.ShapeDtypeStruct(shape, float) for name, shape in inputs},
    )


class Compiled(NamedTuple):
    """A task's kernels under the name by which compiled JAX calls them."""

    target: str
    record: PackedRecord
    kernels: object


@lru_cache(maxsize=512)
def compiled(task: Task, active: tuple[tuple[str, int], ...]) -> Compiled | None:
    """Kernels with derivatives in the `active` entries (name, flat index) of parameters and inputs."""
    try:
        kernels = build(_sources(task), active)
    except NotAKernel:
        return None
    target = f"uqbench_{kernels.digest}"
    # XLA keeps a name for ever, and with it the first kernels under that name
    if target not in _named:
        _named[target] = Compiled(target, _record(task, kernels, active), kernels)
        foreign_call.register(target, _named[target].record.address, engine())
    return _named[target]


_named: dict[str, Compiled] = {}


@lru_cache(maxsize=1)
def engine():
    """The integrator as machine code: compiled once for each installation, read back afterwards."""
    return foreign_call.build(problem.solve_member)


def _sources(task: Task) -> Sources:
    system, names = task.system, [name for name, _ in task.inputs]

    def split(q):
        return {name: q[name] for name in task.parameters}, {name: q[INPUT + name] for name in names}

    def rate(t, y, q):
        return system.rhs(t, y, *split(q))

    def observe(t, y, q):
        found = task.observe(t, y, *split(q))
        return {name: found[name] for name in task.outputs}

    def event(each):
        def root(t, y, q):
            return each.root(t, y, *split(q))

        def change(t, y, q):
            return each.change(t, y, *split(q))

        return root, None if each.change is None else change

    shapes = dict.fromkeys(task.parameters, ()) | {INPUT + name: shape for name, shape in task.inputs}
    events = tuple(event(each) for each in system.events)
    return Sources(rate, task.states, shapes, None if task.observe is None else observe, events)


# Parameters and inputs share one row, and an input may have the name of a parameter.
INPUT = "input "


def _record(task: Task, kernels, active) -> PackedRecord:
    n = len(task.states)
    elimination = eliminate(n, zip(kernels.jacobian_rows.tolist(), kernels.jacobian_columns.tolist(), strict=True))
    places = [
        elimination.places[entry]
        for entry in zip(kernels.jacobian_rows.tolist(), kernels.jacobian_columns.tolist(), strict=True)
    ]
    offsets, position = {}, 0
    for name, shape in [(name, ()) for name in task.parameters] + [(INPUT + name, s) for name, s in task.inputs]:
        offsets[name] = position
        position += int(np.prod(shape, dtype=int))

    def indices(values):
        return np.ascontiguousarray(values, dtype=np.int64)

    values = {
        "settings": records.SETTINGS,
        "states": n,
        "parameters": position,
        "directions": len(active),
        "outputs": len(task.outputs),
        "events": len(task.system.events),
        "conditions": kernels.conditions,
        "switches": kernels.switches,
        "uses_time": int(kernels.uses_time),
        "scratch": max(1, kernels.scratch),
        "observes": int(task.observe is not None),
        "event_directions": indices([DIRECTIONS[event.direction] for event in task.system.events]),
        "direction_parameters": indices([offsets[name] + index for name, index in active]),
        "jacobian_places": indices(places),
        "factor_size": elimination.size,
    }
    values |= {
        name: getattr(kernels, name)
        for name in (
            *("rate", "linearise", "variation", "curvature", "rounding", "observe", "observe_variation", "roots"),
            *("roots_variation", "modes", "change", "change_variation", "switch_times", "switch_variation"),
        )
    }
    for name, rows, columns in (
        ("jacobian", kernels.jacobian_rows, kernels.jacobian_columns),
        # the engine counts directions after the states
        ("forcing", kernels.forcing_rows, kernels.forcing_columns + n),
        ("curvature", kernels.curvature_rows, kernels.curvature_columns),
        ("observe", kernels.observe_rows, kernels.observe_columns),
        ("roots", kernels.roots_rows, kernels.roots_columns),
        ("change", kernels.change_rows, kernels.change_columns),
        ("switch", kernels.switch_rows, kernels.switch_columns),
    ):
        values |= {f"{name}_count": len(rows), f"{name}_rows": indices(rows), f"{name}_columns": indices(columns)}
    values |= {
        name: getattr(elimination, name)
        for name in (
            *("order", "lower_starts", "lower_rows", "lower_places"),
            *("upper_starts", "upper_columns", "upper_places", "updates"),
        )
    }
    return pack(records.Model, **values)


def solve_compiled(task: Task, theta: Theta, design: Design, method: str) -> Rows:
    """Solves a task; traceable, batched by `jax.vmap` on all cores, never raises.

    Returns:
        values that are NaN from where the solve failed.
    """
    rows, report = _rows(task, method, dict(theta), design)
    return Rows(rows, report[0].astype(int), report[1].astype(int), report[3].astype(int))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _rows(task: Task, method: str, theta: Theta, design: Design):
    operands = _operands(task, method, theta, design)
    shapes = [(len(design.times), len(task.outputs)), (records.REPORT,)]
    return tuple(foreign_call.call_model(compiled(task, ()).target, operands, shapes))


@partial(_rows.defjvp, symbolic_zeros=True)
def _rows_derivative(task, method, primals, tangents):
    theta, design = primals
    theta_dot, design_dot = tangents
    parts = {name: theta_dot[name] for name in task.parameters}
    parts |= {INPUT + name: design_dot.inputs[name] for name, _ in task.inputs}
    moved = tuple(name for name, tangent in parts.items() if not isinstance(tangent, SymbolicZero))
    if any(not isinstance(leaf, SymbolicZero) for leaf in (design_dot.times, design_dot.start)):
        raise TypeError(
            "sensitivities are kept for parameters and inputs only; those of times are found by odes.solve."
        )
    rows, report, slopes = _slopes(task, method, moved, theta, design)
    # a failed solve has no derivative, and no NaN of it may reach the others
    slopes = jnp.where(report[0] == SUCCESS, slopes, 0.0)
    along = jnp.concatenate([jnp.ravel(parts[name]) for name in moved]) if moved else jnp.zeros(0)
    return (rows, report), (slopes @ along, jnp.zeros_like(report))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _slopes(task: Task, method: str, moved: tuple[str, ...], theta: Theta, design: Design):
    """Outputs, report, and `(times, outputs, directions)` slopes with respect to the entries of `moved`."""
    used = used_names(task)
    wanted = [name for name in moved if name in used]
    shapes = dict.fromkeys(task.parameters, ()) | {INPUT + name: shape for name, shape in task.inputs}
    active = tuple((name, k) for name in wanted for k in range(int(np.prod(shapes[name], dtype=int))))
    p = len(active)
    given = {name: theta[name] if name in theta else design.inputs[name.removeprefix(INPUT)] for name in wanted}
    sizes = np.cumsum([0, *(int(np.prod(shapes[name], dtype=int)) for name in wanted)])

    def begin(vector):
        new = {
            name: vector[a:b].reshape(shapes[name]) for name, a, b in zip(wanted, sizes[:-1], sizes[1:], strict=True)
        }
        parameters = {**theta, **{name: value for name, value in new.items() if not name.startswith(INPUT)}}
        inputs = {name: new.get(INPUT + name, value) for name, value in design.inputs.items()}
        return _start(task, parameters, inputs, design.start)

    count, outputs = len(design.times), len(task.outputs)
    if p:
        vector = jnp.concatenate([jnp.ravel(jnp.asarray(given[name], float)) for name in wanted])
        initial_d, start_d, stops_d, kicks_d = jax.jacfwd(begin)(vector)
        operands = _operands(task, method, theta, design, (initial_d, start_d, stops_d, kicks_d))
        results = [(count, outputs), (records.REPORT,), (count, outputs, p)]
        rows, report, slopes = foreign_call.call_model(compiled(task, active).target, operands, results)
    else:
        rows, report = _rows(task, method, theta, design)
        slopes = jnp.zeros((count, outputs, 0))
    # the directions that nothing depends on
    columns, position = [], 0
    for name in moved:
        size = int(np.prod(shapes[name], dtype=int))
        if name in used:
            columns.append(slopes[:, :, position : position + size])
            position += size
        else:
            columns.append(jnp.zeros((count, outputs, size)))
    slopes = jnp.concatenate(columns, axis=2) if columns else slopes
    return rows, report, slopes


@lru_cache(maxsize=256)
def used_names(task: Task) -> frozenset[str]:
    """Parameters and inputs (with `INPUT` before their names) that a solve depends on."""
    theta, inputs = _shapes(task.parameters, task.inputs)
    state = {name: jax.ShapeDtypeStruct((), float) for name in task.states}
    time = jax.ShapeDtypeStruct((), float)
    system = task.system
    functions = [
        lambda theta, inputs, t, y: _start(task, theta, inputs, t),
        lambda theta, inputs, t, y: dict(system.rhs(t, y, theta, inputs)),
        *(lambda theta, inputs, t, y, f=event.root: f(t, y, theta, inputs) for event in system.events),
        *(lambda theta, inputs, t, y, f=event.change: dict(f(t, y, theta, inputs)) for event in system.events
          if event.change is not None),
    ]  # fmt: skip
    if task.observe is not None:
        functions.append(lambda theta, inputs, t, y: dict(task.observe(t, y, theta, inputs)))
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


@_slopes.defjvp
def _slopes_derivative(task, method, moved, primals, tangents):
    """Second derivatives: those of the solver in JAX."""
    from .odes import rows_of

    def slopes(theta, design):
        def rows(part):
            parameters = {**theta, **{name: value for name, value in part.items() if not name.startswith(INPUT)}}
            inputs = {name: part.get(INPUT + name, value) for name, value in design.inputs.items()}
            return rows_of(task, parameters, Design.of(design.times, inputs, design.start, design.settles))

        given = {name: theta[name] if name in theta else design.inputs[name.removeprefix(INPUT)] for name in moved}
        by = jax.jacfwd(rows)(given)
        count, outputs = len(design.times), len(task.outputs)
        return jnp.concatenate([by[name].reshape(count, outputs, -1) for name in moved], axis=2)

    out = _slopes(task, method, moved, *primals)
    _, change = jax.jvp(slopes, primals, tangents)
    theta_dot = {name: tangents[0][name] for name in moved if name in tangents[0]}
    first = sum((out[2][..., k] * theta_dot[name] for k, name in enumerate(moved) if name in theta_dot), jnp.zeros(()))
    return out, (jnp.broadcast_to(first, out[0].shape), jnp.zeros_like(out[1]), change)


def _start(task: Task, theta: Mapping, inputs: Mapping, start):
    """Initial state `(n,)`, its time, times `(stops,)` and amounts `(stops, n)` of the schedule."""
    system = task.system
    initial = system.initial(theta, inputs)
    y = jnp.stack([jnp.asarray(initial[name], float) for name in task.states])
    begin = jnp.asarray(start if system.start is None else system.start(theta, inputs), float)
    return (y, begin, *schedule(system, task.states, theta, inputs))


def _operands(task: Task, method: str, theta: Theta, design: Design, derivatives=()) -> list[Array]:
    system = task.system
    y, start, stops, kicks = _start(task, theta, design.inputs, design.start)
    q = [jnp.ravel(jnp.asarray(theta[name], float)) for name in task.parameters]
    q += [jnp.ravel(design.inputs[name]) for name, _ in task.inputs]
    limits = [
        system.rtol,
        NO_LIMIT if system.max_step is None else system.max_step,
        system.max_steps,
        METHODS.index(method or system.method),
        SAME_TIME,
    ]
    return [
        jnp.concatenate(q) if q else jnp.zeros(0),
        y,
        jnp.asarray(absolute_tolerances(system, task.states)),
        design.times,
        stops,
        kicks,
        *derivatives,
        jnp.concatenate([start[None], jnp.asarray(limits, float)]),
    ]


def absolute_tolerances(system: Ode, states: tuple[str, ...]) -> np.ndarray:
    """`(states,)`: what the author gave, 0 where the engine finds its own."""
    if isinstance(system.atol, Mapping):
        return np.array([float(system.atol.get(name, 0.0)) for name in states])
    return np.full(len(states), 0.0 if system.atol is None else float(system.atol))
