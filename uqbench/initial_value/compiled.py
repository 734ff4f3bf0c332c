"""Solves by the native engine: the model's functions as kernels, one call of the engine from compiled JAX.

What is known beforehand (the functions, the names and shapes) is a `Task`; what changes from call to call are rows of
numbers. The initial state, doses and switches are computed by JAX, the right-hand side, events and outputs by kernels.
Derivatives with respect to parameters and inputs come from sensitivities that the engine integrates under its error
control; as they are stored, the derivative is linear in the tangents and serves both modes. A derivative of a
derivative, or one with respect to times, is left to the solver in JAX (`odes`).
"""

import ctypes
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jaxtyping import Array, Float, Int

from ..design import Design
from ..errors import Result
from ..kernels import NotAKernel, Sources, build
from ..kernels.elimination_code import elimination_kernels
from ..native import foreign_call
from ..native.engine import calls, group, point, records
from ..native.engine.elimination import Elimination, eliminate
from ..native.language import record_fields
from ..native.library import PackedRecord, compile_library, pack
from ..system import METHODS, Ode, Theta
from .schedule import absolute_tolerances, schedule

DIRECTIONS = {"both": 0, "rising": 1, "falling": -1}
# Times that differ by this part of themselves are one time: what rounding makes of a sum of many intervals.
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
    """Outputs `(times, outputs)` in the order of the task, and how the solve went.

    Args:
        result, steps, implicit_steps: code, steps, and accepted implicit steps.
        time, state: where it ended, which says why where it failed; `(states,)`, without derivative.
    """

    values: Float[Array, "times outputs"]
    result: Int[Array, ""]
    steps: Int[Array, ""]
    implicit_steps: Int[Array, ""]
    time: Float[Array, ""]
    state: Float[Array, " states"]


def _outcome(values, report) -> Rows:
    code, steps, _, implicit_steps = report[:4].astype(int)
    return Rows(values, code, steps, implicit_steps, report[4], report[records.REPORT :])


def _report_size(task: "Task") -> int:
    return records.REPORT + len(task.states)


def engine_runs() -> bool:
    """Whether this machine has the engine, and what is compiled here can call it."""
    return foreign_call.supported() and jax.default_backend() == "cpu"


@lru_cache(maxsize=256)
def task_of(
    system: Ode,
    observe: Callable | None,
    outputs: tuple[str, ...],
    parameters: tuple[str, ...],
    inputs: tuple[tuple[str, tuple[int, ...]], ...],
) -> Task | None:
    """The task, or None where its functions cannot become kernels or this machine has no engine for them."""
    if not engine_runs():
        return None
    task = Task(system, observe, parameters, inputs, state_names(system, parameters, inputs), outputs)
    task = task if outputs else task._replace(outputs=task.states)
    return None if compiled(task, ()) is None else task


def obstacle(task: Task) -> str:
    """Why a task is left to the solver in JAX; empty where it is not."""
    if not foreign_call.supported():
        return "this version of JAX has another interface for native code"
    if jax.default_backend() != "cpu":
        return f"JAX runs on {jax.default_backend()}"
    try:
        build(_sources(task))
    except NotAKernel as error:
        return error.reason
    return ""


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
    # keeps what the record points to for large batches
    wide: object


@lru_cache(maxsize=512)
def compiled(task: Task, active: tuple[tuple[str, int], ...]) -> Compiled | None:
    """Kernels with derivatives in the `active` entries (name, flat index) of parameters and inputs."""
    try:
        kernels = build(_sources(task), active)
    except NotAKernel:
        return None
    # everything in the record that does not follow from the kernels belongs to the name
    directions = "".join("brf"[DIRECTIONS[event.direction]] for event in task.system.events)
    target = f"uqbench_{kernels.digest}{directions and '_' + directions}"
    # XLA keeps a name for ever, and with it the first kernels under that name
    if target not in _named:
        elimination = eliminate(len(task.states), _entries(kernels))
        record = _record(task, kernels, active, elimination)
        _named[target] = Compiled(target, record, kernels, _offer_wide(record, kernels, elimination))
        foreign_call.register(target, _named[target].record.address, engine())
    return _named[target]


_named: dict[str, Compiled] = {}


def _offer_wide(record: PackedRecord, kernels, elimination: Elimination) -> object:
    """Lets the engine have kernels for several members at once, compiled when a batch first asks for them.

    Returns:
        What has to stay in memory as long as the record.
    """
    fields = list(record_fields(records.Model))
    kept: list[object] = []
    lock = threading.Lock()

    def make() -> None:
        with lock:
            if not kept:
                places = [elimination.places[entry] for entry in _entries(kernels)]
                addresses, engines = kernels.compile_wide(elimination_kernels(elimination, places))
                words = record.words.copy()
                for name, address in addresses.items():
                    words[fields.index(name)] = address
                kept.extend([words, engines])
                # last what says that all of it is there
                record.words[fields.index("side_by_side")] = group_engine().address(group.solve_group.__name__)
                record.words[fields.index("wide")] = words.ctypes.data

    function = ctypes.CFUNCTYPE(None)(make)
    record.words[fields.index("make_wide")] = ctypes.cast(function, ctypes.c_void_p).value
    return function, kept


@lru_cache(maxsize=1)
def engine():
    """The integrator as machine code: compiled once for each installation, read back afterwards."""
    return foreign_call.build(calls.solve_member, group.suits_group)


@lru_cache(maxsize=1)
def group_engine():
    """The same for several members of a batch at once; compiled when the first large batch comes."""
    return compile_library([group.solve_group], "group")


@lru_cache(maxsize=1)
def point_engine():
    """The same for right-hand sides and Jacobians at single points."""
    return foreign_call.build(point.linearise_member)


def _sources(task: Task) -> Sources:
    system, names = task.system, [name for name, _ in task.inputs]

    def split(q):
        return {name: q[name] for name in task.parameters}, {name: q[INPUT + name] for name in names}

    def whole(y, q):
        return {**y, **{name: q[PAST][k] for k, name in enumerate(system.delays)}}

    def rate(t, y, q):
        return system.rhs(t, whole(y, q), *split(q))

    def observe(t, y, q):
        found = task.observe(t, whole(y, q), *split(q))
        return {name: found[name] for name in task.outputs}

    def event(each):
        def root(t, y, q):
            return each.root(t, y, *split(q))

        def change(t, y, q):
            return each.change(t, y, *split(q))

        return root, None if each.change is None else change

    def delays(t, y, q):
        return {name: delay.length(*split(q)) for name, delay in system.delays.items()}

    def history(t, y, q):
        return {name: delay.before(t, y, *split(q)) for name, delay in system.delays.items()}

    shapes = dict.fromkeys(task.parameters, ()) | {INPUT + name: shape for name, shape in task.inputs}
    events = tuple(event(each) for each in system.events)
    sources = Sources(rate, task.states, shapes, None if task.observe is None else observe, events)
    if not system.delays:
        return sources
    delayed = tuple(delay.state for delay in system.delays.values())
    shapes = {**shapes, PAST: (2 * len(delayed),)}
    return replace(sources, q_shapes=shapes, delayed=delayed, past=PAST, delays=delays, history=history)


# Parameters and inputs share one row, and an input may have the name of a parameter.
INPUT = "input "
# What delays see stands behind the inputs in the same row; no parameter has a space in its name.
PAST = "past "


def _entries(kernels) -> list[tuple[int, int]]:
    """Rows and columns of the entries of the Jacobian."""
    return list(zip(kernels.jacobian_rows.tolist(), kernels.jacobian_columns.tolist(), strict=True))


def _cyclic(kernels, n: int) -> np.ndarray:
    """1 for the entries of the Jacobian whose two states depend on each other, by whatever way: a cycle of states."""
    reached = np.eye(n, dtype=np.float32)
    reached[kernels.jacobian_rows, kernels.jacobian_columns] = 1.0
    # paths of twice the length each time
    for _ in range(n.bit_length()):
        reached = np.minimum(reached @ reached, 1.0)
    return reached[kernels.jacobian_columns, kernels.jacobian_rows] > 0.0


def _record(task: Task, kernels, active, elimination: Elimination) -> PackedRecord:
    n = len(task.states)
    places = [elimination.places[entry] for entry in _entries(kernels)]
    offsets, position = {}, 0
    for name, shape in [(name, ()) for name in task.parameters] + [(INPUT + name, s) for name, s in task.inputs]:
        offsets[name] = position
        position += int(np.prod(shape, dtype=int))

    def indices(values):
        return np.ascontiguousarray(values, dtype=np.int64)

    values = {
        "settings": records.SETTINGS,
        "busy": foreign_call.CALLS_UNDER_WAY,
        "wide": None,
        "side_by_side": None,
        "factors": None,
        "substitution": None,
        "make_wide": None,
        "states": n,
        "parameters": position + 2 * len(task.system.delays),
        "delays": len(task.system.delays),
        "delayed_states": indices([task.states.index(delay.state) for delay in task.system.delays.values()]),
        "directions": len(active),
        "outputs": len(task.outputs),
        "events": len(task.system.events),
        "conditions": kernels.conditions,
        "switches": kernels.switches,
        "uses_time": int(kernels.uses_time),
        "unlocated": int(kernels.unlocated),
        "scratch": max(1, kernels.scratch),
        "observes": int(task.observe is not None),
        "event_directions": indices([DIRECTIONS[event.direction] for event in task.system.events]),
        "direction_parameters": indices([offsets[name] + index for name, index in active]),
        "jacobian_places": indices(places),
        "jacobian_cyclic": indices(_cyclic(kernels, n)),
        "factor_size": elimination.size,
        "lower_count": len(elimination.lower_rows),
        "upper_count": len(elimination.upper_rows),
    }
    values |= {
        name: getattr(kernels, name)
        for name in (
            *("rate", "linearise", "variation", "curvature", "rounding", "observe", "observe_variation", "roots"),
            *("roots_variation", "modes", "change", "change_variation", "switch_times", "switch_variation"),
            *("delay_times", "delay_variation", "history", "history_variation"),
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
        ("delay", kernels.delay_rows, kernels.delay_columns),
        ("history", kernels.history_rows, kernels.history_columns),
    ):
        values |= {f"{name}_count": len(rows), f"{name}_rows": indices(rows), f"{name}_columns": indices(columns)}
    values |= {
        name: getattr(elimination, name)
        for name in (
            *("order", "lower_starts", "lower_rows", "lower_sources", "upper_rows", "upper_sources"),
            *("update_starts", "updates", "update_lower", "update_upper"),
        )
    }
    return pack(records.Model, **values)


def solve_compiled(task: Task, theta: Theta, design: Design, method: str) -> Rows:
    """Solves a task; traceable, batched by `jax.vmap` on all cores, never raises.

    Returns:
        values that are NaN from where the solve failed.
    """
    rows, report = _rows(task, method, dict(theta), design)
    return _outcome(rows, report)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _rows(task: Task, method: str, theta: Theta, design: Design):
    operands = _operands(task, method, theta, design)
    shapes = [(len(design.times), len(task.outputs)), (_report_size(task),)]
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
    slopes = jnp.where(report[0] == Result.SUCCESS, slopes, 0.0)
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
    count, outputs = len(design.times), len(task.outputs)
    if p:
        operands = _operands(task, method, theta, design, _start_slopes(task, active, theta, design))
        results = [(count, outputs), (_report_size(task),), (count, outputs, p)]
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


def _start_slopes(task: Task, active: tuple[tuple[str, int], ...], theta: Theta, design: Design) -> list[Array]:
    """Derivatives of `_start` in the active directions, which are the last axis; most directions do not enter there."""
    entering = names_of_start(task)
    places = np.array([k for k, (name, _) in enumerate(active) if name in entering], dtype=int)
    few = [active[k] for k in places]

    def begin(values):
        parameters, inputs = dict(theta), dict(design.inputs)
        for k, (name, index) in enumerate(few):
            if name.startswith(INPUT):
                given = inputs[name.removeprefix(INPUT)]
                inputs[name.removeprefix(INPUT)] = given.ravel().at[index].set(values[k]).reshape(given.shape)
            else:
                parameters[name] = values[k]
        return _start(task, parameters, inputs, design.start)

    def entry(name, index):
        return jnp.ravel(design.inputs[name.removeprefix(INPUT)] if name.startswith(INPUT) else theta[name])[index]

    if not few:
        return [jnp.zeros((*part.shape, len(active))) for part in jax.eval_shape(begin, jnp.zeros(0))]
    values = jnp.stack([jnp.asarray(entry(*each), float) for each in few])
    wide = jnp.asarray(np.eye(len(active))[places])
    return [slopes @ wide for slopes in jax.jacfwd(begin)(values)]


@lru_cache(maxsize=256)
def names_of_start(task: Task) -> frozenset[str]:
    """Those of `used_names` on which the initial state and the schedule depend."""
    return _names_of(task, [lambda theta, inputs, t, y: _start(task, theta, inputs, t)])


@lru_cache(maxsize=256)
def used_names(task: Task) -> frozenset[str]:
    """Parameters and inputs (with `INPUT` before their names) that a solve depends on."""
    system = task.system
    functions = [
        lambda theta, inputs, t, y: _start(task, theta, inputs, t),
        lambda theta, inputs, t, y: dict(system.rhs(t, system.at_rest(y), theta, inputs)),
        lambda theta, inputs, t, y: [delay.length(theta, inputs) for delay in system.delays.values()],
        lambda theta, inputs, t, y: [delay.before(t, y, theta, inputs) for delay in system.delays.values()],
        *(lambda theta, inputs, t, y, f=event.root: f(t, y, theta, inputs) for event in system.events),
        *(lambda theta, inputs, t, y, f=event.change: dict(f(t, y, theta, inputs)) for event in system.events
          if event.change is not None),
    ]  # fmt: skip
    if task.observe is not None:
        functions.append(lambda theta, inputs, t, y: dict(task.observe(t, system.at_rest(y), theta, inputs)))
    return _names_of(task, functions)


def _names_of(task: Task, functions) -> frozenset[str]:
    """Parameters and inputs that functions of (theta, inputs, t, y) read for what they return."""
    theta, inputs = _shapes(task.parameters, task.inputs)
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


@_slopes.defjvp
def _slopes_derivative(task, method, moved, primals, tangents):
    """Second derivatives: those of the solver in JAX."""
    from .odes import rows_of

    def slopes(theta, design):
        def rows(part):
            parameters = {**theta, **{name: value for name, value in part.items() if not name.startswith(INPUT)}}
            inputs = {name: part.get(INPUT + name, value) for name, value in design.inputs.items()}
            moved_design = eqx.tree_at(lambda design: design.inputs, design, inputs)
            return rows_of(task.system, task.observe, task.outputs, parameters, moved_design)

        given = {name: theta[name] if name in theta else design.inputs[name.removeprefix(INPUT)] for name in moved}
        by = jax.jacfwd(rows)(given)
        count, outputs = len(design.times), len(task.outputs)
        return jnp.concatenate([by[name].reshape(count, outputs, -1) for name in moved], axis=2)

    out = _slopes(task, method, moved, *primals)
    _, change = jax.jvp(slopes, primals, tangents)
    given = tangents[0] | {INPUT + name: value for name, value in tangents[1].inputs.items()}
    along = jnp.concatenate([jnp.ravel(given[name]) for name in moved])
    return out, (out[2] @ along, jnp.zeros_like(out[1]), change)


def _start(task: Task, theta: Mapping, inputs: Mapping, start):
    """Initial state `(n,)`, its time, times `(events,)` and amounts `(events, n)` of the schedule."""
    system = task.system
    initial = system.initial(theta, inputs)
    y = jnp.stack([jnp.asarray(initial[name], float) for name in task.states])
    begin = jnp.asarray(start if system.start is None else system.start(theta, inputs), float)
    return (y, begin, *schedule(system, task.states, theta, inputs))


def _operands(task: Task, method: str, theta: Theta, design: Design, derivatives=()) -> list[Array]:
    y, start, event_times, dose_amounts = _start(task, theta, design.inputs, design.start)
    return [
        _parameter_row(task, theta, design.inputs),
        y,
        jnp.asarray(absolute_tolerances(task.system, task.states)),
        design.times,
        event_times,
        dose_amounts,
        *derivatives,
        _settings(task.system, method, start),
    ]


def _parameter_row(task: Task, theta: Mapping, inputs: Mapping) -> Array:
    """`(m,)`: parameters and inputs as the kernels read them."""
    row = [jnp.ravel(jnp.asarray(theta[name], float)) for name in task.parameters]
    row += [jnp.ravel(jnp.asarray(inputs[name], float)) for name, _ in task.inputs]
    row += [jnp.zeros(2 * len(task.system.delays))]
    return jnp.concatenate(row)


def _settings(system: Ode, method: str, start) -> Array:
    """The last operand of a solve."""
    limits = [
        system.rtol,
        NO_LIMIT if system.max_step is None else system.max_step,
        system.max_steps,
        METHODS.index(method or system.method),
        SAME_TIME,
    ]
    return jnp.concatenate([jnp.asarray(start, float)[None], jnp.asarray(limits, float)])


def solve_adjoint(task: Task, theta: Theta, design: Design, method: str) -> Rows:
    """`solve_compiled` for reverse mode: a gradient costs a few solves, however many parameters there are.

    Its derivative by parameters and inputs is that of the discrete solution (`native.engine.adjoint`); `jax.jvp` is
    refused. A failed solve has the derivative zero. Where the steps do not resolve the derivative, or slopes of the
    right-hand side are not finite, sensitivities take its place; where these fail for the latter reason the solve has
    their code. With delays the derivative is the transpose of the sensitivities.
    """
    if task.system.delays:
        return solve_compiled(task, theta, design, method)
    rows, report = _reversible_rows(task, method, dict(theta), design)
    return _outcome(rows, report)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _reversible_rows(task: Task, method: str, theta: Theta, design: Design):
    return _rows(task, method, theta, design)


@jax.tree_util.register_static
class _Moved(tuple):
    """Names with respect to which a gradient is wanted, handed on as part of no array."""


def _reversible_forward(task, method, theta, design):
    def is_input(leaf):
        return isinstance(leaf, CustomVJPPrimal)

    def values(tree):
        return jax.tree.map(lambda leaf: leaf.value, tree, is_leaf=is_input)

    moved = [name for name in task.parameters if theta[name].perturbed]
    moved += [INPUT + name for name, _ in task.inputs if design.inputs[name].perturbed]
    if design.times.perturbed or design.start.perturbed:
        raise TypeError("gradients are found for parameters and inputs only; those of times are found by odes.solve.")
    theta, design = values(theta), values(design)
    active = active_entries(task, tuple(moved))
    if not active:
        return _rows(task, method, theta, design), (_Moved(moved), theta, design, jnp.zeros(()))
    shapes = [(len(design.times), len(task.outputs)), (_report_size(task),)]
    # an operand for the adjoint with nothing in it: the solve says whether it has a derivative
    operands = _adjoint_operands(task, method, active, theta, design, jnp.zeros(0))
    rows, report = foreign_call.call_model(compiled(task, active).target, operands, shapes)
    return (rows, report), (_Moved(moved), theta, design, report[0])


# Numbers of a member's schedule times directions on which it depends, up to which its derivatives are handed over.
MOST_START_SLOPES = 1_000_000


def _adjoint_operands(task, method, active, theta: Theta, design: Design, rows_bar) -> list[Array]:
    """Operands with cotangents of the rows, and what sensitivities need where the adjoint is not enough.

    These are: 1 where the rest is given, then the places of those directions on which the start and the schedule
    depend; the derivatives in these directions.
    """
    operands = _operands(task, method, theta, design)
    entering = names_of_start(task)
    places = [k for k, (name, _) in enumerate(active) if name in entering]
    if operands[5].size * len(places) > MOST_START_SLOPES:
        given = [jnp.zeros(1), *[jnp.zeros(0)] * 4]
    else:
        slopes = _start_slopes(task, tuple(active[k] for k in places), theta, design)
        given = [jnp.asarray([1.0, *places]), *slopes]
    return [*operands[:-1], rows_bar, *given, operands[-1]]


def _reversible_backward(task, method, saved, cotangents):
    moved, theta, design, code = saved
    active = active_entries(task, moved)
    theta_bar = {name: jnp.zeros(jnp.shape(value)) for name, value in theta.items()}
    design_bar = jax.tree.map(jnp.zeros_like, design)
    rows_bar = cotangents[0]
    if not active or isinstance(rows_bar, SymbolicZero):
        return theta_bar, design_bar
    n, p = len(task.states), len(active)

    def begin(theta, inputs):
        return _start(task, theta, inputs, design.start)

    (_, _, event_times, _), pull = jax.vjp(begin, dict(theta), dict(design.inputs))
    count = len(event_times)
    sizes = np.cumsum([p, n, 1, count])
    shapes = [(len(design.times), len(task.outputs)), (_report_size(task) + 2,), (sizes[-1] + count * n, 2)]
    # no NaN of a caller may come from times that a failed solve has not reached
    rows_bar = jnp.where(code == Result.SUCCESS, rows_bar, 0.0)
    operands = _adjoint_operands(task, method, active, theta, design, rows_bar)
    _, report, found = foreign_call.call_model(compiled(task, active).target, operands, shapes)
    unknown = jnp.where(report[0] == Result.SUCCESS, 0.0, jnp.nan)
    found = jnp.where(code == Result.SUCCESS, found[:, 0] + unknown, 0.0)
    entries, y, start, event_times, dose_amounts = jnp.split(found, sizes)
    theta_bar, inputs_bar = pull((y, start[0], event_times, dose_amounts.reshape(count, n)))
    theta_bar, inputs_bar = dict(theta_bar), dict(inputs_bar)
    for k, (name, index) in enumerate(active):
        part, key = (inputs_bar, name.removeprefix(INPUT)) if name.startswith(INPUT) else (theta_bar, name)
        part[key] = jnp.ravel(part[key]).at[index].add(entries[k]).reshape(part[key].shape)
    # a failed start has no derivative either
    theta_bar, inputs_bar = jax.tree.map(
        lambda bar: jnp.where(code == Result.SUCCESS, bar, 0.0), (theta_bar, inputs_bar)
    )
    return theta_bar, eqx.tree_at(lambda design: design.inputs, design_bar, inputs_bar)


_reversible_rows.defvjp(_reversible_forward, _reversible_backward, symbolic_zeros=True)


def active_entries(task: Task, moved: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """The entries (name, flat index) of those names of `moved`, inputs with `INPUT` before them, that are used."""
    shapes = dict.fromkeys(task.parameters, ()) | {INPUT + name: shape for name, shape in task.inputs}
    wanted = {name: shape for name, shape in shapes.items() if name in moved and name in used_names(task)}
    return tuple((name, k) for name, shape in wanted.items() for k in range(int(np.prod(shape, dtype=int))))


def shifted(active: tuple[tuple[str, int], ...], theta: Theta, inputs: Mapping, change) -> tuple[Theta, dict]:
    """Parameters and inputs of which the `active` entries are changed by `(active,)`."""
    theta, inputs = dict(theta), dict(inputs)
    for k, (name, index) in enumerate(active):
        part, key = (inputs, name.removeprefix(INPUT)) if name.startswith(INPUT) else (theta, name)
        value = jnp.asarray(part[key], float)
        moved = jnp.ravel(value).at[index].add(change[k]).reshape(value.shape) if value.shape else value + change[k]
        part[key] = moved
    return theta, inputs


def advance(
    task: Task, active: tuple[tuple[str, int], ...], theta: Theta, inputs: Mapping, y, y_d, span, atol
) -> tuple[Array, Array, Array, Array]:
    """The state `span` after a given one, by the implicit method; for tasks whose rates do not use the time.

    Args:
        active: entries with respect to which derivatives are wanted, from `active_entries`; the result itself has no
            derivative in JAX.
        y, y_d: the state `(n,)` and its derivatives `(n, active)`.
        span: how long.
        atol: absolute tolerances `(n,)`, 0 where the engine finds its own.

    Returns:
        state `(n,)` and derivatives `(n, active)`, NaN where they were not reached; code; steps.
    """
    n, p = len(task.states), len(active)
    operands = [_parameter_row(task, theta, inputs), y, atol, jnp.asarray(span)[None], jnp.zeros(0), jnp.zeros((0, n))]
    results = [(1, n), (_report_size(task),)]
    if p:
        operands += [y_d, jnp.zeros(p), jnp.zeros((0, p)), jnp.zeros((0, n, p))]
        results += [(1, n, p)]
    operands += [_settings(task.system, "implicit", 0.0)]
    rows, report, *slopes = foreign_call.call_model(compiled(task, active).target, operands, results)
    return rows[0], slopes[0][0] if p else jnp.zeros((n, 0)), report[0].astype(int), report[1].astype(int)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def linearised(
    task: Task, active: tuple[tuple[str, int], ...], theta: Theta, inputs: Mapping, y
) -> tuple[Array, Array, Array]:
    """Right-hand side `(n,)` at time 0, its slopes by the states `(n, n)` and by the `active` entries `(n, active)`."""
    n, p = len(task.states), len(active)
    model = compiled(task, active)
    target = model.target.replace("uqbench_", "uqbench_point_")
    foreign_call.register(target, model.record.address, point_engine())
    operands = [_parameter_row(task, theta, inputs), y, jnp.zeros(records.SETTINGS)]
    found = foreign_call.call_model(target, operands, [(n,), (n, n), (n, p)][: 3 if p else 2])
    return (*found, jnp.zeros((n, 0))) if not p else found


@linearised.defjvp
def _linearised_derivative(task, active, primals, tangents):
    """Second derivatives: those of JAX."""
    size = len(active)

    def slopes(theta, inputs, y):
        def slope(y, entries):
            given = shifted(active, theta, inputs, entries)
            rates = task.system.rhs(jnp.zeros(()), dict(zip(task.states, y, strict=True)), *given)
            return jnp.stack([jnp.asarray(rates[name], float) for name in task.states])

        nothing = jnp.zeros(size)
        return slope(y, nothing), *jax.jacfwd(slope, argnums=(0, 1))(y, nothing)

    return linearised(task, active, *primals), jax.jvp(slopes, primals, tangents)[1]


@lru_cache(maxsize=1)
def _inversion() -> str:
    """The name of the engine's matrix inversion."""
    record = pack(
        foreign_call.Model, settings=1, busy=foreign_call.CALLS_UNDER_WAY, wide=None, side_by_side=None, make_wide=None
    )
    foreign_call.register("uqbench_inverse", record.address, foreign_call.build(point.invert_member))
    _kept.append(record)
    return "uqbench_inverse"


_kept: list[PackedRecord] = []


@jax.custom_jvp
def inverse(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The inverse of a small matrix; not finite where it has none. LAPACK's takes five times as long to compile."""
    if not engine_runs():
        return jnp.linalg.inv(matrix)
    size = jnp.full(1, float(len(matrix)))
    return foreign_call.call_model(_inversion(), [matrix, size], [matrix.shape])[0]


@inverse.defjvp
def _inverse_derivative(primals, tangents):
    found = inverse(primals[0])
    return found, -found @ tangents[0] @ found


def rates_on_host(task: Task, times: np.ndarray, states: np.ndarray, parameters: Mapping, inputs: Mapping):
    """Right-hand sides at many points, without JAX.

    Args:
        times: `(points,)`.
        states: `(points, n)`.
        parameters, inputs: name -> values with a leading axis of points.

    Returns:
        `(points, n)`.
    """
    kernels = compiled(task, ()).kernels
    count, n = states.shape
    q = [np.reshape(parameters[name], (count, -1)) for name in task.parameters]
    q += [np.reshape(inputs[name], (count, -1)) for name, _ in task.inputs]
    x = np.concatenate([times[:, None], states, *q, np.zeros((count, kernels.conditions + n + 1))], axis=1)
    out, scratch = np.zeros((count, n)), np.zeros(max(1, kernels.scratch))
    modes = np.zeros(max(1, kernels.conditions))
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    first = 1 + n + kernels.parameters
    for row, found in zip(x, out, strict=True):
        if kernels.conditions:
            kernel(kernels.modes)(row.ctypes.data, modes.ctypes.data, scratch.ctypes.data)
            row[first : first + kernels.conditions] = modes[: kernels.conditions]
        kernel(kernels.rate)(row.ctypes.data, found.ctypes.data, scratch.ctypes.data)
    return out
