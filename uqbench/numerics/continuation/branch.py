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

from ...errors import InputError
from ...system import Inputs, Ode, Theta
from ..equilibrium import Given
from ..roots import newton
from ..steady_state import NO_STEADY_STATE, NO_STEADY_STATE_TEXT, steady_state
from .curves import CLOSED, Curve, Point, bordered
from .folds import FLOOR, Balance, balance_of

# Singular values of the equations below this leave the branch undetermined.
SINGULAR = 1e-12
NOT_ISOLATED = (
    "the equilibria at the start do not form a single curve: two branches cross there, or something is conserved that "
    "is no sum of states with constant coefficients. Start elsewhere, or write one state as the total less the others."
)
SUBJECT = "equilibrium_branch"
RESERVED = ("arclength", "largest_real_part", "frequency", "kind", "point")


def equilibrium_branch(
    system: Ode, theta: Theta, inputs: Inputs, *, parameter: str, between: tuple[float, float],
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
    curve, first = curve_from(balance, given, (float(between[0]), float(between[1])), at, start)
    settings = {"largest_step": float(largest_step), "max_points": int(max_points)}
    after, last_end = curve.follow(first, 1.0, **settings)
    before, first_end = ([], CLOSED) if last_end == CLOSED else curve.follow(first, -1.0, **settings)
    return _dataset(curve, [*before[::-1], replace(first, kind="start"), *after], first_end, last_end)


@partial(jax.jit, static_argnums=0)
def _equilibrium(balance: Balance, z, value, sizes, given: Given):
    """The equilibrium `(n,)` near the states z, and whether there is one."""

    def rates(scaled, given):
        return balance.rates(scaled * sizes, *given)

    root = newton(rates, z / sizes, (value, given), floor=FLOOR)
    return root.value * sizes, root.converged


def curve_from(balance: Balance, given: Given, bounds, at: float, start) -> tuple[Curve, Point]:
    """The branch through the equilibrium near `start`, or through the steady state, at a value; and that point."""
    system, names = balance.flow.system, balance.flow.names
    value, least = np.array([at]), system.atol / system.rtol
    if start is None:
        rest = steady_state(system, *balance.at(value, given))
        if int(rest.result):
            reason = NO_STEADY_STATE_TEXT if int(rest.result) == NO_STEADY_STATE else "the solve failed."
            raise InputError(SUBJECT, [f"at {balance.parameters[0]} = {at:g} {reason} Or give `start`, states nearby."])
        start = rest.states
    z = np.array([float(start[names[k]]) for k in balance.independent])
    width = bounds[1] - bounds[0]
    curve = Curve(balance, given, bounds, np.append(np.full(len(z), least), width))
    jacobian, _ = curve.slopes(np.append(z, value))
    sizes = curve.sizes(np.append(z, value))
    slopes, _ = bordered(jacobian, np.zeros(len(z) + 1), sizes)
    if not np.all(np.isfinite(slopes)):
        raise InputError(SUBJECT, ["the rates or their slopes at the start are not finite; check the signs of states."])
    if np.linalg.svd(slopes[:-1], compute_uv=False)[-1] < SINGULAR:
        raise InputError(SUBJECT, [NOT_ISOLATED])
    z, found = _equilibrium(balance, z, value, sizes[:-1], given)
    if not found:
        raise InputError(SUBJECT, [f"there is no equilibrium near the start at {balance.parameters[0]} = {at:g}."])
    first = np.append(np.asarray(z), value)
    jacobian, _ = curve.slopes(first)
    # a state that starts at zero is as large as the parameter makes it, as far as that is known
    growth = np.abs(np.linalg.lstsq(jacobian[:, :-1], jacobian[:, -1])[0]) * width
    curve = replace(curve, floor=np.append(np.maximum(system.atol, np.minimum(least, growth)), width))
    sizes = curve.sizes(first)
    tangent = np.linalg.svd(bordered(jacobian, np.zeros(len(first)), sizes)[0][:-1])[2][-1]
    tangent = tangent * (np.sign(tangent[-1]) or 1.0)
    return curve, Point(first, tangent * sizes, jacobian)


def _setting_findings(theta, inputs, parameter, between, at, largest_step, max_points) -> list[str]:
    findings = []
    bounds = np.asarray(between, float)
    fine = bounds.shape == (2,) and bool(np.all(np.isfinite(bounds))) and bool(bounds[0] < bounds[1])
    if not fine:
        findings.append(f"between is {between}; give the lowest and the highest value of {parameter!r}.")
    at = {**theta, **inputs}.get(parameter) if at is None else at
    if fine and at is not None and np.ndim(at) == 0 and not bounds[0] <= float(at) <= bounds[1]:
        findings.append(
            f"the start, {parameter} = {float(at):g}, lies outside the interval from {bounds[0]:g} to {bounds[1]:g}; "
            "give `at`, a value inside."
        )
    if not 0 < largest_step <= 1:
        findings.append(f"largest_step is {largest_step}; it must be above 0 and at most 1.")
    if not (isinstance(max_points, int) and max_points > 0):
        findings.append(f"max_points is {max_points!r}; it must be a positive integer.")
    return findings


def _dataset(curve: Curve, points: list[Point], first_end: str, last_end: str) -> xr.Dataset:
    balance = curve.balance
    table = np.stack([point.unknowns for point in points])
    states = np.asarray(_all_states(balance, table, curve.given))
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
def _all_states(balance: Balance, table, given: Given):
    return jax.vmap(lambda row: balance.states(row[:-1], row[-1:], given))(table)
