"""The density of a hybrid with few discrete states and one continuous species."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ...annotations import Values
from ...design import Design
from ...errors import InputError
from ...jump_processes.hybrid import Flow
from ...jump_processes.liouville import Process, cell_probabilities
from ...jump_processes.paths import depends_on_time
from ...settings import whole_number_findings
from .hybrid import Hybrid

MOST_STATES = 32
# Doublings and bisections when the range of the continuous species is looked for.
DOUBLINGS, BISECTIONS = 60, 60
# From the difference of two resolutions to the error of the finer one.
SLOWEST = 3.0
# Points of a range at which its end is looked at.
POINTS = 257


def hybrid_density(
    view: Hybrid, theta: Values, design: Design, *, upper: float | None = None, cells: int = 400
) -> xr.Dataset:
    """Density of the continuous species in each discrete state, from the Liouville-master equations.

    Finite volumes of second order. A density that is not smooth (the atom that has not jumped yet, an end where the
    flow rests) is spread over some cells. A start at 0 lies in the first cell, so the mean is off by up to half a cell
    as long as the start is remembered.

    Args:
        view: with one continuous species that no jump changes, and discrete species with few reachable states;
            propensities must not depend on time.
        theta: parameters.
        design: its times; the last one may be inf: at rest.
        upper: end of the range of the continuous species; None: where all flows turn back.
        cells: of the range, an even number.

    Returns:
        `density` (time, state, x) per molecule, whose integral over x is the probability of the state; `error` (time,)
        of the distribution function of x, at `x` plus half a `width` (an attribute): the largest difference to that
        from half as many cells, times three, which is enough down to the order 1/2 of convergence at a singular end;
        the counts of the discrete species by `state`. NaN where rest was not reached.

    Raises:
        InputError: a process of another kind, or one that leaves the range.

    Example:
        >>> import uqbench as uq
        >>> from forward_models.hybrid_gene import network
        >>> theta = {"k_on": 0.5, "k_off": 1.0, "r": 20.0, "d": 1.0, "feedback": 0.0}
        >>> found = hybrid_density(network.hybrid(["G"]), theta, uq.Design([1.0]), cells=100)
        >>> round(float(found.density.sum() * found.width), 6)
        1.0
    """
    flow = _flow(view, theta, design, cells)
    start = np.asarray(view.start(theta, design))
    states = _reachable(flow, start)
    place = flow.continuous[0]
    end = _upper(flow, states, float(start[place])) if upper is None else float(upper)
    if findings := _range_findings(flow, states, start, end):
        raise InputError("hybrid_density", findings)
    times = design.times - design.start
    fine, coarse = (_solved(flow, states, start, end, number, times) for number in (cells, cells // 2))
    distributions = [np.cumsum(each.sum(axis=1), axis=-1) for each in (fine, coarse)]
    width = end / cells
    names = view.network.names
    coords = {"time": np.asarray(design.times), "x": (np.arange(cells) + 0.5) * width}
    counts = {names[k]: ("state", states[:, k]) for k in np.flatnonzero(flow.discrete)}
    found = {
        "density": (("time", "state", "x"), fine / width),
        "error": ("time", SLOWEST * np.max(np.abs(distributions[0][:, 1::2] - distributions[1]), axis=1)),
    }
    return xr.Dataset(found, {**coords, **counts}, {"width": width, "species": names[place]})


def _flow(view: Hybrid, theta: Values, design: Design, cells: int) -> Flow:
    flow = Flow(view.network.rates_from(theta, design), view.network.changes, view.flags, 1.0, view.rtol)
    findings = whole_number_findings({"cells": (cells, 8)})
    if not findings and cells % 2:
        findings.append(f"cells is {cells}; give an even number.")
    if len(flow.continuous) != 1:
        names = [view.network.names[k] for k in flow.continuous]
        findings.append(f"{names} are continuous; densities are of one continuous species.")
    changed = flow.changes[flow.jumps][:, flow.continuous].any(axis=1)
    if changed.any():
        names = [name for name, jumps in zip(view.network.reactions, flow.jumps, strict=True) if jumps]
        names = [name for name, wrong in zip(names, changed, strict=True) if wrong]
        findings.append(f"the jumps {names} change the continuous species; make it discrete, or simulate.")
    if depends_on_time(flow.rates, len(flow.discrete)):
        findings.append("a propensity depends on time; simulate.")
    if findings:
        raise InputError("hybrid_density", findings)
    return flow


def _reachable(flow: Flow, start: np.ndarray) -> np.ndarray:
    """States (states, species) that jumps lead to, wherever the continuous species is; its own column is that of the
    start."""
    known, waiting = {tuple(start)}, [start]
    changes = flow.changes[flow.jumps]
    while waiting:
        state = waiting.pop()
        others = [state + change for change in changes]
        for other in (each for each in others if tuple(each) not in known and np.all(each >= 0)):
            # a jump that is impossible at every count leads nowhere
            if any(_rate(flow, state, j, x) > 0.0 for j in _leading(flow, other - state) for x in (0.0, 1.0, 1e3)):
                known.add(tuple(other))
                waiting.append(other)
        if len(known) > MOST_STATES:
            raise InputError(
                "hybrid_density", [f"the discrete species reach more than {MOST_STATES} states; simulate instead."]
            )
    return np.array(sorted(known))


def _leading(flow: Flow, change: np.ndarray) -> list[int]:
    """The jumps that make this change."""
    return [int(j) for j in np.flatnonzero(flow.jumps) if np.array_equal(flow.changes[j], change)]


def _rate(flow: Flow, state: np.ndarray, reaction: int, x: float) -> float:
    counts = [jnp.asarray(x if k in flow.continuous else count, float) for k, count in enumerate(state)]
    return float(flow.propensities(jnp.zeros(()), counts)[reaction])


def _table(flow: Flow, states: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Propensities (reactions, states, points) at these values of the continuous species."""

    def at(state, x):
        counts = [x if k in flow.continuous else state[k] for k in range(len(flow.discrete))]
        return jnp.stack(flow.propensities(jnp.zeros(()), counts))

    over_points = jax.vmap(at, in_axes=(None, 0), out_axes=-1)
    found = jax.vmap(over_points, in_axes=(0, None), out_axes=1)(jnp.asarray(states, float), jnp.asarray(x, float))
    return np.asarray(found)


def _velocities(flow: Flow, states: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of the continuous species (states, points)."""
    moved = np.where(flow.jumps, 0, flow.changes[:, flow.continuous[0]])
    return np.einsum("r,rsx->sx", moved, _table(flow, states, x))


def _upper(flow: Flow, states: np.ndarray, start: float) -> float:
    """The smallest count above the start, and above all counts in reach of it, from which no flow leads upwards."""

    def rises(x: float) -> bool:
        return bool(np.max(_velocities(flow, states, np.array([x]))) > 0.0)

    low, high = start, max(2.0 * start, 1.0)
    for _ in range(DOUBLINGS):
        if not rises(high):
            break
        low, high = high, 2.0 * high
    else:
        raise InputError("hybrid_density", ["the continuous species grows without bound; give `upper`."])
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rises(middle) else (low, middle)
    return high


def _range_findings(flow: Flow, states: np.ndarray, start: np.ndarray, end: float) -> list[str]:
    at = float(start[flow.continuous[0]])
    if not 0 <= at <= end or not 0 < end < np.inf:
        return [f"upper is {end:g}; the continuous species starts at {at:g}, and must end above."]
    x = np.linspace(0.0, end, POINTS)
    table, velocity = _table(flow, states, x), _velocities(flow, states, x)
    findings = []
    if not np.all(np.isfinite(table)) or np.any(table < 0):
        findings.append("a propensity is negative or not finite within the range.")
    largest = np.max(np.abs(velocity))
    if np.any(velocity[:, -1] > 1e-9 * largest):
        findings.append(f"the continuous species grows beyond upper = {end:g}; give a larger one.")
    if np.any(velocity[:, 0] < -1e-9 * largest):
        findings.append("the continuous species falls below 0.")
    return findings


def _solved(flow: Flow, states: np.ndarray, start: np.ndarray, end: float, cells: int, times) -> np.ndarray:
    """Probabilities (times, states, cells)."""
    faces, width = np.linspace(0.0, end, cells + 1), end / cells
    rates, number = _table(flow, states, 0.5 * (faces[1:] + faces[:-1])), {tuple(s): k for k, s in enumerate(states)}
    transfer = np.zeros((len(states), len(states), cells))
    for j in np.flatnonzero(flow.jumps):
        for place, state in enumerate(states):
            target = number.get(tuple(state + flow.changes[j]))
            if target is not None:
                transfer[place, target] += rates[j, place]
    # in two cells, so that the mean is that of the start where it lies between two centres
    probability = np.zeros((len(states), cells))
    at = np.clip(float(start[flow.continuous[0]]) / width - 0.5, 0.0, cells - 1.0)
    below = min(int(at), cells - 2)
    probability[number[tuple(start)], below : below + 2] = below + 1 - at, at - below
    process = Process(jnp.asarray(_velocities(flow, states, faces)), jnp.asarray(transfer), width)
    return np.asarray(cell_probabilities(process, jnp.asarray(probability), jnp.asarray(times)))
