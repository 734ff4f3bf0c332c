"""Branches of equilibria: all of them that hang together as one parameter moves, stable or not, and around every fold.

A solver that is asked for the equilibrium at one value of the parameter after the other fails at a fold, where there is
none any more on that side. The branch itself is a smooth curve in the space of states and parameter, and is followed
along its own length (`curves`), from one equilibrium in both directions. The loop runs in numpy over one compiled
kernel for each system.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import xarray as xr

from ...annotations import Values
from ...errors import RESULTS, InputError
from ...solvers.roots import newton
from ...system import Inputs, Ode
from ..equilibrium import Given
from ..steady_state import steady_state
from .balance import Balance, balance_of
from .curves import CLOSED, SAME, Curve, Point, bordered
from .folds import FLOOR

# Singular values of the equations below this leave the branch undetermined.
SINGULAR = 1e-12
NOT_ISOLATED = (
    "the equilibria at the start do not form a single curve: two branches cross there, or something is conserved that "
    "is no sum of states with constant coefficients. Start elsewhere, or write one state as the total less the others."
)
SUBJECT = "equilibrium_branch"
# Shares of the interval over which sizes are looked for, the largest that a branch passes first; the least size, in
# units of what a state is the difference of, of which Newton's method finds its last step; halvings of wrong scales.
SHARES, ROUNDING, EQUILIBRATIONS = (1e-2, 1e-3, 1e-4, 1e-6), 1e-7, 30
RESERVED = ("arclength", "largest_real_part", "frequency", "kind", "point")


def equilibrium_branch(
    system: Ode, theta: Values, inputs: Inputs, *, parameter: str, between: tuple[float, float],
    at: float | None = None, start: Mapping[str, float] | None = None, largest_step: float = 0.05,
    max_points: int = 2000,
) -> xr.Dataset:  # fmt: skip
    """Follows the branch of equilibria through one of them, both ways, as a parameter or input moves.

    Args:
        theta: every parameter. inputs: what the experimenter sets.
        parameter: the name, in theta or inputs, of what moves.
        between: its lowest and highest value; the branch is cut where it leaves this interval.
        at: value at which to start; that in theta or inputs when left out.
        start: states near an equilibrium there, stable or not; when left out, the steady state that the system reaches.
        largest_step: length of a step at most, in units of the largest size of a state and of the interval.
        max_points: in each of the two directions.

    Returns:
        by `point`, along the curve: the parameter and every state in their units; `arclength` from the start in units
        of the largest sizes and the interval; `largest_real_part` of the eigenvalues (1/time; stable where negative),
        and `frequency`, the imaginary part of the same eigenvalue (radians/time); `kind`: "regular", "start", "fold",
        "hopf", "branch point". Conserved totals are those of the start of the system and count for no eigenvalue.
        attrs: `first_end`, `last_end`, how it ended at either end ("left the interval", "closed", "step too small",
        "too many points"); `unresolved`, the points whose equations could not be solved to rounding.
        No unit of a state matters, nor its being below `atol`, as long as it is not lost in the rounding of what it is
        the difference of. Only one that is zero at the start and moved by nothing there has the size `atol`. Points
        run from lower to higher values at the start; at a fold, towards more of the state that moves most.

    Raises:
        InputError: with every finding: names, an interval that does not contain the start, no equilibrium there, a
            schedule or a right-hand side that uses time, equilibria that are not isolated.

    Example:
        >>> from forward_models.bistable_switch import model
        >>> theta, inputs = model.space.nominal() | {"basal": 0.0, "b": 3.0}, {"a": 0.0, "x0": 0.0}
        >>> branch = equilibrium_branch(model.system, theta, inputs, parameter="a", between=(-1.0, 0.5))
        >>> branch.a.values[branch.kind == "fold"].round(9).tolist()
        [0.085868312, -0.587230851]
    """
    balance, given = balance_of(
        SUBJECT, system, theta, inputs, (parameter,), guess=start, reserved=RESERVED,
        findings=_setting_findings(theta, inputs, parameter, between, at, largest_step, max_points),
    )  # fmt: skip
    at = float(balance.values(given)[0]) if at is None else float(at)
    curve, first = curve_from(SUBJECT, balance, given, (float(between[0]), float(between[1])), at, start)
    follow = partial(curve.follow, largest_step=float(largest_step), max_points=int(max_points))
    after, last_end = follow(first, 1.0)
    before, first_end = ([], CLOSED) if last_end == CLOSED else follow(first, -1.0)
    return _dataset(curve, [*before[::-1], replace(first, kind="start"), *after], first_end, last_end)


@partial(jax.jit, static_argnums=0)
def _equilibrium(balance: Balance, z, value, sizes, given: Given):
    """The equilibrium `(n,)` near the states z, and whether there is one."""

    def rates(scaled, given):
        return balance.rates(scaled * sizes, *given)

    root = newton(rates, z / sizes, (value, given), floor=FLOOR)
    return root.value * sizes, root.converged


def curve_from(subject: str, balance: Balance, given: Given, bounds, at: float, start) -> tuple[Curve, Point]:
    """The branch through the equilibrium near `start`, or through the steady state, at a value; and that point.

    Raises:
        InputError: about the subject: no equilibrium, rates that are no numbers, equilibria that are not isolated.
    """
    if start is None:
        start = _rest(subject, balance, given, at)
    names, width = balance.flow.names, bounds[1] - bounds[0]
    guess = np.array([*(float(start[names[k]]) for k in balance.independent), at])
    least = np.append(np.full(len(guess) - 1, balance.flow.system.least_atol / balance.flow.system.rtol), width)
    curve = Curve(balance, given, bounds, least)
    slopes = equilibrated(curve.slopes(guess)[0])
    if not np.all(np.isfinite(slopes)):
        raise InputError(subject, ["the rates or their slopes at the start are not finite; check the signs of states."])
    if np.linalg.svd(slopes, compute_uv=False)[-1] < SINGULAR:
        raise InputError(subject, [NOT_ISOLATED])
    first = _equilibrium_near(curve, guess)
    if first is None:
        raise InputError(subject, [f"there is no equilibrium near the start at {balance.parameters[0]} = {at:g}."])
    curve = replace(curve, floor=np.append(least_sizes(curve, first), width))
    jacobian, sizes = curve.slopes(first)[0], curve.sizes(first)
    tangent = np.linalg.svd(bordered(jacobian, np.zeros(len(first)), sizes)[0][:-1])[2][-1]
    # towards higher values; at a fold, where the parameter stands still, towards more of the state that moves most
    leading = tangent[-1] if abs(tangent[-1]) > SAME else tangent[np.argmax(np.abs(tangent))]
    return curve, Point(first, np.sign(leading) * tangent * sizes, jacobian)


def _rest(subject: str, balance: Balance, given: Given, at: float) -> dict:
    """The steady state that the system reaches at a value of the parameter."""
    rest = steady_state(balance.flow.system, *balance.at(np.array([at]), given))
    if int(rest.result):
        raise InputError(
            subject,
            [f"at {balance.parameters[0]} = {at:g} {RESULTS[int(rest.result)]} Or give `start`, states nearby."],
        )
    return rest.states


def _equilibrium_near(curve: Curve, guess) -> np.ndarray | None:
    """The equilibrium near a guess `(n + 1,)` at its value of the parameter."""
    sizes = curve.sizes(guess)[:-1]
    z, found = _equilibrium(curve.balance, guess[:-1], guess[-1:], sizes, curve.given)
    if not found:
        return curve.at_rest(guess)
    found = np.append(np.asarray(z), guess[-1])
    # what is far less than a size that was guessed is not there yet; at a fold full steps settle no more
    steady = curve.at_rest(found)
    return found if steady is None else steady


def least_sizes(curve: Curve, first) -> np.ndarray:
    """`(n,)`: how far each state moves as the parameter passes a small share of its interval, from an equilibrium.

    No unit enters. A state that nothing moves has the size below which it is rounding, of what it is the difference
    of; and the absolute tolerance of the system where that is zero too.
    """
    width, z = curve.floor[-1], first[:-1]
    inward = 1.0 if first[-1] - curve.bounds[0] < curve.bounds[1] - first[-1] else -1.0
    values = (first[-1] + sense * share * width for share in SHARES for sense in (inward, -inward))
    probes = (curve.at_rest(np.append(z, value)) for value in values)
    there = next((probe for probe in probes if probe is not None), None)
    sizes = np.zeros(len(z)) if there is None else np.maximum(np.abs(there[:-1] - z), ROUNDING * rounded(curve, there))
    return np.where(sizes > 0, sizes, curve.balance.flow.system.least_atol)


def rounded(curve: Curve, there) -> np.ndarray:
    """`(n,)`: sums of which each state of an equilibrium is the difference, to whose rounding it is known."""
    slopes = curve.slopes(there)[0][:, :-1]
    try:
        return np.abs(np.linalg.inv(slopes)) @ (np.abs(slopes) @ np.abs(there[:-1]))
    except np.linalg.LinAlgError:
        return np.zeros(len(slopes))


def equilibrated(matrix) -> np.ndarray:
    """The matrix with rows and columns scaled until the largest entry of each is 1 (Ruiz 2001)."""
    for _ in range(EQUILIBRATIONS):
        for axis in (0, 1):
            largest = np.abs(matrix).max(axis=axis, keepdims=True)
            matrix = matrix / np.sqrt(np.where(largest > 0, largest, 1.0))
    return matrix


def _setting_findings(theta, inputs, parameter, between, at, largest_step, max_points) -> list[str]:
    findings = []
    bounds = row_of(between)
    if bounds is None or bounds.shape != (2,) or not bounds[0] < bounds[1]:
        findings.append(f"between is {between!r}; give the lowest and the highest value of {parameter!r}.")
        bounds = None
    where = row_of({**theta, **inputs}.get(parameter) if at is None else at)
    if at is not None and (where is None or where.shape != ()):
        findings.append(f"at is {at!r}; give one finite number.")
    elif bounds is not None and where is not None and where.shape == () and not bounds[0] <= where <= bounds[1]:
        findings.append(
            f"the start, {parameter} = {where:g}, lies outside the interval from {bounds[0]:g} to {bounds[1]:g}; "
            "give `at`, a value inside."
        )
    step = row_of(largest_step)
    if step is None or step.shape != () or not 0 < step <= 1:
        findings.append(f"largest_step is {largest_step!r}; it must be above 0 and at most 1.")
    if not (isinstance(max_points, int) and max_points > 0):
        findings.append(f"max_points is {max_points!r}; it must be a positive integer.")
    return findings


def row_of(values) -> np.ndarray | None:
    """The values as an array; None where they are no finite numbers."""
    try:
        row = np.asarray(values, float)
    except (TypeError, ValueError):
        return None
    return row if np.all(np.isfinite(row)) else None


def _dataset(curve: Curve, points: list[Point], first_end: str, last_end: str) -> xr.Dataset:
    balance = curve.balance
    table = np.stack([point.unknowns for point in points])
    # one by one, because a table would be compiled for each number of points
    states = np.stack([_states(balance, row, curve.given) for row in table])
    leading = np.array([max(point.eigenvalues, key=lambda value: (value.real, value.imag)) for point in points])
    kinds = [point.kind for point in points]
    sizes = np.maximum(np.abs(table).max(axis=0), curve.floor)
    sizes[-1] = curve.floor[-1]
    lengths = np.linalg.norm(np.diff(table, axis=0) / sizes, axis=1)
    arclength = np.append(0.0, np.cumsum(lengths))
    columns = {balance.parameters[0]: table[:, -1], **dict(zip(balance.flow.names, states.T, strict=True))}
    columns |= {
        "arclength": arclength - arclength[kinds.index("start")],
        "largest_real_part": leading.real,
        "frequency": np.abs(leading.imag),
        "kind": kinds,
    }
    attrs = {
        "parameter": balance.parameters[0],
        "first_end": first_end,
        "last_end": last_end,
        "unresolved": sum(not point.resolved for point in points),
        "conserved_totals": len(balance.dependent),
        "not_resolved": "two special points of one kind within one step, and branches that do not meet this one",
    }
    return xr.Dataset({name: ("point", column) for name, column in columns.items()}, attrs=attrs)


@partial(jax.jit, static_argnums=0)
def _states(balance: Balance, unknowns, given: Given):
    return balance.states(unknowns[:-1], unknowns[-1:], given)
