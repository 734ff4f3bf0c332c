"""Solves by the native engine: the model's functions as kernels, one call of the engine from compiled JAX.

What is known beforehand (the functions, the names and shapes) is a `Task`; what changes from call to call are rows of
numbers. The initial state, doses and switches are computed by JAX, the right-hand side, events and outputs by kernels.
Derivatives with respect to parameters and inputs come from sensitivities that the engine integrates under its error
control; as they are stored, the derivative is linear in the tangents and serves both modes. A derivative of a
derivative, or one with respect to times, is left to the solver in JAX (`odes`).
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jaxtyping import Array, Float, Int

from ..annotations import Values
from ..design import Design
from ..errors import Result
from ..native import foreign_call
from ..native.engine import records
from .machine_code import compiled
from .schedule import absolute_tolerances
from .task import (
    INPUT,
    Task,
    active_entries,
    names_of_start,
    parameter_row,
    report_size,
    settings_of,
    start_of,
    used_names,
)


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


def solve_compiled(task: Task, theta: Values, design: Design, method: str) -> Rows:
    """Solves a task; traceable, batched by `jax.vmap` on all cores, never raises.

    Returns:
        values that are NaN from where the solve failed.
    """
    rows, report = _rows(task, method, dict(theta), design)
    return _outcome(rows, report)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _rows(task: Task, method: str, theta: Values, design: Design):
    operands = _operands(task, method, theta, design)
    shapes = [(len(design.times), len(task.outputs)), (report_size(task),)]
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
def _slopes(task: Task, method: str, moved: tuple[str, ...], theta: Values, design: Design):
    """Outputs, report, and `(times, outputs, directions)` slopes with respect to the entries of `moved`."""
    used = used_names(task)
    wanted = [name for name in moved if name in used]
    shapes = dict.fromkeys(task.parameters, ()) | {INPUT + name: shape for name, shape in task.inputs}
    active = tuple((name, k) for name in wanted for k in range(int(np.prod(shapes[name], dtype=int))))
    p = len(active)
    count, outputs = len(design.times), len(task.outputs)
    if p:
        operands = _operands(task, method, theta, design, _start_slopes(task, active, theta, design))
        results = [(count, outputs), (report_size(task),), (count, outputs, p)]
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


def _start_slopes(task: Task, active: tuple[tuple[str, int], ...], theta: Values, design: Design) -> list[Array]:
    """Derivatives of `start_of` in the active directions, the last axis; most directions do not enter there."""
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
        return start_of(task, parameters, inputs, design.start)

    def entry(name, index):
        return jnp.ravel(design.inputs[name.removeprefix(INPUT)] if name.startswith(INPUT) else theta[name])[index]

    if not few:
        return [jnp.zeros((*part.shape, len(active))) for part in jax.eval_shape(begin, jnp.zeros(0))]
    values = jnp.stack([jnp.asarray(entry(*each), float) for each in few])
    wide = jnp.asarray(np.eye(len(active))[places])
    return [slopes @ wide for slopes in jax.jacfwd(begin)(values)]


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


def _operands(task: Task, method: str, theta: Values, design: Design, derivatives=()) -> list[Array]:
    y, start, event_times, dose_amounts = start_of(task, theta, design.inputs, design.start)
    return [
        parameter_row(task, theta, design.inputs),
        y,
        jnp.asarray(absolute_tolerances(task.system, task.states)),
        design.times,
        event_times,
        dose_amounts,
        *derivatives,
        settings_of(task.system, method, start),
    ]


def solve_adjoint(task: Task, theta: Values, design: Design, method: str) -> Rows:
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
def _reversible_rows(task: Task, method: str, theta: Values, design: Design):
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
    shapes = [(len(design.times), len(task.outputs)), (report_size(task),)]
    # an operand for the adjoint with nothing in it: the solve says whether it has a derivative
    operands = _adjoint_operands(task, method, active, theta, design, jnp.zeros(0))
    rows, report = foreign_call.call_model(compiled(task, active).target, operands, shapes)
    return (rows, report), (_Moved(moved), theta, design, report[0])


# Numbers of a member's schedule times directions on which it depends, up to which its derivatives are handed over.
MOST_START_SLOPES = 1_000_000


def _adjoint_operands(task, method, active, theta: Values, design: Design, rows_bar) -> list[Array]:
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
        return start_of(task, theta, inputs, design.start)

    (_, _, event_times, _), pull = jax.vjp(begin, dict(theta), dict(design.inputs))
    count = len(event_times)
    sizes = np.cumsum([p, n, 1, count])
    shapes = [(len(design.times), len(task.outputs)), (report_size(task) + 2,), (sizes[-1] + count * n, 2)]
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


def advance(
    task: Task, active: tuple[tuple[str, int], ...], theta: Values, inputs: Mapping, y, y_d, span, atol
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
    operands = [parameter_row(task, theta, inputs), y, atol, jnp.asarray(span)[None], jnp.zeros(0), jnp.zeros((0, n))]
    results = [(1, n), (report_size(task),)]
    if p:
        operands += [y_d, jnp.zeros(p), jnp.zeros((0, p)), jnp.zeros((0, n, p))]
        results += [(1, n, p)]
    operands += [settings_of(task.system, "implicit", 0.0)]
    rows, report, *slopes = foreign_call.call_model(compiled(task, active).target, operands, results)
    return rows[0], slopes[0][0] if p else jnp.zeros((n, 0)), report[0].astype(int), report[1].astype(int)
