"""Hysteresis: what a slow rise of a parameter and its slow fall leave behind, where the two differ.

At each value the system is left alone until it comes to rest, from the rest at the value before (`quasi_static`). As
long as its equilibrium lasts it stays with it; behind a fold it moves to wherever the trajectory leads, and on the way
back it does so behind another fold. The rests on the way up and on the way down then enclose a loop.

A change from one value to the next is no jump because it is large: near a fold an equilibrium moves as the square root
of the distance. So the branch through the rest at one value is followed (`curves`) to see whether it leads to the rest
at the next; where it leads elsewhere, the two values bracket a jump. Where it cannot be followed to an end, which
happened between them is not known, and is said to be so.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import lax
from jaxtyping import Array, Float

from ...annotations import Values
from ...errors import InputError, Result
from ...initial_value.given import stacked
from ...system import Inputs, Ode
from ..equilibrium import START, Given, continued
from ..steady_state import SteadyState, steady_state
from .balance import Balance, balance_of
from .branch import curve_from, row_of
from .curves import CLOSED, LEFT

# Steps of the branch between two values, in units of its sizes and of the interval between them; states that differ
# by less than this, relative to their size, are the same: a steady state is good to about the tolerances of a solve.
LARGEST_STEP, MAX_POINTS, SAME = 0.5, 200, 1e-4
RESERVED = (
    "direction", "value", "result", "area", "area_error", "jump", "jump_direction", "jump_lower", "jump_upper",
    "undecided", "undecided_direction", "undecided_lower", "undecided_upper",
)  # fmt: skip
DIRECTIONS, SUBJECT = ("up", "down"), "hysteresis"
# What a step from one value to the next was; the last where the branch between them could not be followed to an end.
STAYED, JUMPED, UNDECIDED = "stayed", "jumped", "undecided"


def quasi_static(
    system: Ode, theta: Values, inputs: Inputs, *, parameter: str, values: Float[Array, " values"],
    start: Mapping[str, Array] | None = None,
) -> SteadyState:  # fmt: skip
    """The states of rest along a slow passage through values of a parameter or input; traceable.

    Derivatives by theta and inputs are those of the branch on which the state rests. There is none through a jump.

    Args:
        theta: every parameter, scalars. inputs: what the experimenter sets.
        parameter: the name, in theta or inputs, of what moves slowly.
        values: `(values,)` in the order in which they are passed.
        start: states from which the system comes to rest at the first value; its own start when left out.

    Returns:
        states `(values,)`, a code of `RESULTS` for each, and steps. Where no rest is found the states are NaN, and the
        next value is tried from the last rest before. Conserved totals are those of the start.

    Raises:
        InputError: while tracing, with every finding: names, a schedule, a right-hand side that uses time, a parameter
            that moves nothing but conserved totals.

    Example:
        >>> from forward_models.bistable_switch import model
        >>> theta, inputs = model.space.nominal() | {"basal": 0.0, "b": 3.0}, {"a": 0.0, "x0": 0.0}
        >>> passed = quasi_static(model.system, theta, inputs, parameter="a", values=jnp.array([0.0, 0.2, 0.0]))
        >>> [round(float(x), 4) for x in passed.states["x"]]
        [0.0, 2.8765, 2.618]
    """
    balance, given, y = _slow("quasi_static", system, theta, inputs, parameter, start)
    return _passage(balance, y, jnp.asarray(values, float), given)


def hysteresis(
    system: Ode, theta: Values, inputs: Inputs, *, parameter: str, values: Sequence[float],
    start: Mapping[str, float] | None = None,
) -> xr.Dataset:  # fmt: skip
    """A slow rise of a parameter or input and its slow fall, the loop between them, and the jumps that make it.

    Args:
        theta, inputs, parameter, start: as for `quasi_static`.
        values: `(values,)`, increasing: passed upwards from the first, then downwards from the last.

    Returns:
        by `direction` ("up", "down") and `value`: every state, NaN where no rest was found, and `result`, a code of
        `RESULTS`. By `state`: `area` between the two ways (units of the state times the parameter; positive where the
        way down is higher; trapezoids) and `area_error`, by how much the unknown place of each jump within its bracket
        may change it. By `jump`: `jump_direction`, `jump_lower`, `jump_upper`, two values between which the state left
        its branch. By `undecided`: the same three of steps of which it is not known whether the state left its branch,
        because that could not be followed; their change counts in `area_error`. attrs: `loop` ("none", "closed",
        "open" where the two ways still differ at an end, "unknown" where rests are missing) and `not_resolved`.
        No unit of a state matters to what is a jump; a state below the `atol` of the system is known to `atol` only,
        and one that should be negative there may come out as zero (`steady_state`).

    Raises:
        InputError: as `quasi_static`, also of values that do not increase or are fewer than two.

    Example:
        >>> from forward_models.bistable_switch import model
        >>> theta, inputs = model.space.nominal() | {"basal": 0.0, "b": 3.0}, {"a": 0.0, "x0": 0.0}
        >>> loop = hysteresis(model.system, theta, inputs, parameter="a", values=[-0.8, -0.5, -0.2, 0.1, 0.4])
        >>> loop.jump_lower.values, loop.jump_upper.values
        (array([-0.2, -0.8]), array([ 0.1, -0.5]))
    """
    balance, given, y = _slow(SUBJECT, system, theta, inputs, parameter, start, _value_findings(values))
    values = np.asarray(values, float)
    names = balance.flow.names
    passes = []
    for row in (values, values[::-1]):
        passed = _passage(balance, y, jnp.asarray(row), given)
        table = np.stack([np.asarray(passed.states[name]) for name in names], axis=-1)
        passes.append((row, table, np.asarray(passed.result)))
        found = table[passes[-1][2] == Result.SUCCESS]
        y = jnp.asarray(found[-1]) if len(found) else y
    steps = [step for k, each in enumerate(passes) for step in _steps(balance, given, DIRECTIONS[k], *each)]
    return _dataset(names, parameter, values, passes, steps)


def _slow(subject, system, theta, inputs, parameter, start, findings=()) -> tuple[Balance, Given, Array]:
    """The system started where parameters say, which are in what is given, and the first of its states."""
    balance, given = balance_of(
        subject, system, theta, inputs, (parameter,),
        guess=start, findings=findings, reserved=RESERVED, totals_move=False,
    )  # fmt: skip
    names = balance.flow.names
    y = balance.flow.start(given) if start is None else stacked(start, names)
    theta, inputs = _from(names, y, given)
    balance, given = balance_of(subject, continued(system, names), theta, inputs, (parameter,))
    return balance, given, y


def _from(names: tuple[str, ...], y, given: Given) -> Given:
    theta, inputs = given
    return theta | {START + name: value for name, value in zip(names, y, strict=True)}, inputs


@partial(jax.jit, static_argnums=0)
def _passage(balance: Balance, y, values, given: Given) -> SteadyState:
    system, names = balance.flow.system, balance.flow.names

    def settle(y, value):
        rest = steady_state(system, *balance.at(value[None], _from(names, y, given)))
        row = jnp.stack([rest.states[name] for name in names])
        return jnp.where(rest.result == Result.SUCCESS, row, y), (row, rest.result, rest.steps)

    _, (table, result, steps) = lax.scan(settle, y, values)
    return SteadyState({name: table[:, k] for k, name in enumerate(names)}, result, steps)


def _value_findings(values) -> list[str]:
    row = row_of(values)
    if row is None or row.ndim != 1 or row.size < 2 or np.any(np.diff(row) <= 0):
        return ["values must be one row of two or more finite numbers that increase; the way down is added."]
    return []


class Step(NamedTuple):
    """A passage from one value to the next on which the state may have left its branch, and its change `(states,)`."""

    direction: str
    lower: float
    upper: float
    change: np.ndarray
    outcome: str


def _steps(balance: Balance, given: Given, direction: str, values, table, result) -> list[Step]:
    """The steps of one way that have left their branch, or of which it is not known."""
    steps = []
    for k, n in pairwise(np.flatnonzero(result == Result.SUCCESS)):
        outcome = _outcome(balance, given, values[k], table[k], values[n], table[n])
        if outcome != STAYED:
            steps.append(Step(direction, *sorted((values[k], values[n])), table[n] - table[k], outcome))
    return steps


def _outcome(balance: Balance, given: Given, value, y, target, y_target) -> str:
    """Whether the branch through the rest at one value leads to the rest at the other."""
    names, bounds = balance.flow.names, tuple(sorted((value, target)))
    given = _from(names, jnp.asarray(y), given)
    try:
        curve, first = curve_from(SUBJECT, balance, given, bounds, value, dict(zip(names, y, strict=True)))
    except InputError:
        return UNDECIDED
    points, ended = curve.follow(first, np.sign(target - value), largest_step=LARGEST_STEP, max_points=MAX_POINTS)
    if ended == CLOSED:
        return JUMPED
    if ended != LEFT or not points or not points[-1].resolved:
        return UNDECIDED
    end, rest = points[-1].unknowns, np.append(y_target[list(balance.independent)], target)
    # where the branch has turned it ends at the value from which it came
    if end[-1] != target:
        return JUMPED
    # what a steady state leaves of a state below the absolute tolerance is not yet an equilibrium
    wanted, tolerance = curve.at_rest(rest), balance.flow.system.least_atol
    if wanted is None or np.any(np.abs(wanted - rest) > SAME * curve.sizes(rest) + tolerance):
        return UNDECIDED
    sizes = np.maximum(curve.sizes(end), curve.sizes(wanted))
    return STAYED if np.all(np.abs(end - wanted) <= SAME * sizes) else JUMPED


def _dataset(names, parameter, values, passes, steps) -> xr.Dataset:
    up, down = passes[0][1], passes[1][1][::-1]
    codes = np.stack([passes[0][2], passes[1][2][::-1]])
    area = np.trapezoid(down - up, values, axis=0)
    error = sum((np.abs(step.change) * (step.upper - step.lower) / 2 for step in steps), np.zeros(len(names)))
    states = {name: (("direction", "value"), np.stack([up[:, k], down[:, k]])) for k, name in enumerate(names)}
    size = np.nanmax(np.abs(np.stack([up, down])), axis=(0, 1), initial=1e-300)
    apart = [bool(np.any(np.abs(down[k] - up[k]) > SAME * size)) for k in range(len(values))]
    loop = "open" if apart[0] or apart[-1] else ("closed" if any(apart) else "none")
    missing = int(np.sum(codes != Result.SUCCESS))
    if missing and loop != "open":
        loop = "unknown"
    unresolved = ["loops and jumps between two neighbouring values"]
    doubtful = sum(step.outcome == UNDECIDED for step in steps)
    if doubtful:
        unresolved.append(f"whether {doubtful} steps from one value to the next, those by `undecided`, are jumps")
    if missing:
        unresolved.append(f"{missing} of {codes.size} values, at which no rest was found")
    if loop == "open":
        unresolved.append("the part of the loop beyond the ends of the values")
    columns = {
        "result": (("direction", "value"), codes),
        "area": ("state", area),
        "area_error": ("state", error),
    }
    for name, outcome in (("jump", JUMPED), ("undecided", UNDECIDED)):
        rows = [step for step in steps if step.outcome == outcome]
        columns[f"{name}_direction"] = name, np.array([step.direction for step in rows], dtype=str)
        columns[f"{name}_lower"] = name, np.array([step.lower for step in rows], dtype=float)
        columns[f"{name}_upper"] = name, np.array([step.upper for step in rows], dtype=float)
    coords = {"direction": list(DIRECTIONS), "value": values, "state": list(names)}
    attrs = {"parameter": parameter, "loop": loop, "not_resolved": "; ".join(unresolved)}
    return xr.Dataset(states | columns, coords, attrs)
