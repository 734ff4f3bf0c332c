"""Is a system stiff, which term and which parameter makes it so, and what does that cost each method?

Two things go by one name. *Numerical stiffness*: an explicit method must take small steps for the sake of stability
where the solution itself is slow, because some mode decays fast that is no longer visible (Curtiss & Hirschfelder
1952). Whether that is so depends on the solution: an oscillation that is excited has to be resolved by every method,
however fast; one at rest has not. *Physical stiffness*: a material resists deformation, as a spring of many N/m or a
tissue of many Pa does. Each may come without the other: a stiff spring that swings undamped is not numerically stiff,
and a fast chemical rate is stiff with nothing material about it.

The report follows the trajectory, compares the step of stability (eigenvalues of the Jacobian J and the stability
function of the method) with that of accuracy (from the derivatives of the trajectory), and takes the fastest mode
apart: with its left and right eigenvectors, lambda = w'Jv / w'v is a sum over the terms of the right-hand side, and
its derivative by a parameter is w'(dJ/dp)v / w'v.
"""

import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.integrate import LSODA
from scipy.linalg import eig

from ...annotations import Values
from ...design import Design
from ...errors import InputError
from ...initial_value.given import checked
from ...initial_value.schedule import events_between
from ...space import Space
from ...system import Inputs, Ode
from .cause import Cause, as_columns, cause_of, parameters_behind, physical_stiffness, sentence
from .slopes import jacobian_at, slope_at
from .stability import METHODS, stable_steps

# The method that speaks for explicit ones in the verdict, and how many times more steps are "far more".
REFERENCE, FAR = "Tsitouras", 10.0
# The trajectory is followed this much more sharply than its tolerance, so that its noise is not taken for a change.
SHARPER, SHARPEST = 1e-2, 1e-12
MOST_EVALUATIONS = 100_000
MOST_POINTS = 300
# A mode oscillates where it loses less than 1 % in a period.
DAMPING = 1e-3
EPS = float(np.finfo(float).eps)
# Of the derivatives that the errors of the methods are made of.
ORDERS = tuple(sorted({method.order for method in METHODS.values()}))


class Trajectory(NamedTuple):
    """What the rough run saw: `time` `(n,)`, `states` `(n, states)`, the size of derivatives in units of the tolerance
    (order -> `(n,)`), the `piece` between events that a point is of `(n,)`, and why it ended early ("" when it did
    not). At an event there are two points, before and after it."""

    time: np.ndarray
    states: np.ndarray
    derivatives: dict[int, np.ndarray]
    piece: np.ndarray
    failure: str


def stiffness_report(system: Ode, theta: Values, design: Design, *, space: Space | None = None) -> xr.Dataset:
    """Eigenvalues along the trajectory, the steps that stability and accuracy ask for, and the cause of the fastest.

    Args:
        system: any; its `rtol` and `atol` say what accuracy means.
        theta: every parameter, scalars; with `space` its fixed parameters may be left out.
        design: the last time is the end; inputs as in every run.
        space: gives the units that tell a material property from a rate constant.

    Returns:
        by `time` and `mode`, the fastest first: `eigenvalue` (complex, 1 / time), `kind` ("decaying", "oscillating",
        "growing", "zero"); by `solver` and `time`: `stability_step`, `accuracy_step` and their `ratio` (accuracy over
        stability); by `solver`: `steps_for_stability`, `steps_for_accuracy`, `steps`, `evaluations` to the end; at the
        time `at` in the middle of the stability steps, for the mode that limits them: `entry_share` by `equation` and
        `state`, `term_share` by `term` (each adds up to 1), and `sensitivity` d log abs(lambda) / d log p by
        `parameter`, at fixed states. Attributes: `verdict`, a sentence; `numerical_stiffness` and `physical_stiffness`
        ("yes", "no", "not resolved"); `not_resolved`, what could not be resolved, and why. An oscillating mode is to
        grow no more than e-fold over the whole run. Steps of accuracy are those of a linear problem with the same
        derivatives: where the right-hand side is strongly curved the library's solver takes two to three times as many.
        A run that fails is reported up to where it came.

    Raises:
        InputError: with everything that is wrong: parameters missing or no scalars, a design without an end.

    Example:
        >>> from forward_models.receptor_tf import model
        >>> theta = model.space.nominal() | {"eps": 1e-6}
        >>> report = stiffness_report(model.system, theta, Design([5.0]), space=model.space)
        >>> report.attrs["numerical_stiffness"], report.attrs["cause"]
        ('yes', 'eps')
    """
    theta, inputs, names = _checked(system, theta, design, space)
    run = _follow(system, names, theta, design)
    span = max(float(np.max(np.asarray(design.times))) - float(design.start), EPS)
    picked = _thinned(run.piece)
    time, states = run.time[picked], run.states[picked]
    scale = np.max(np.abs(run.states), axis=0, initial=0.0)
    # a state that stays below the tolerance has no size
    scale = np.maximum(scale, system.least_atol)
    matrices = np.array([jacobian_at(system, names, theta, design, t, y) for t, y in zip(time, states, strict=True)])
    with np.errstate(all="ignore"):
        matrices = matrices.reshape(-1, len(names), len(names)) * scale / scale[:, None]
    finite = np.all(np.isfinite(matrices), axis=(1, 2))
    time, states, matrices, picked = time[finite], states[finite], matrices[finite], picked[finite]
    eigenvalue, kind = _spectra(matrices)
    by_mode = {name: stable_steps(name, _bounding(eigenvalue, kind, span)) for name in METHODS}
    stability = np.array([np.min(by_mode[name], axis=1, initial=np.inf) for name in METHODS])
    accuracy = np.array([_accuracy_step(run.derivatives, name, picked, span) for name in METHODS])
    counts = _counts(run, picked, stability, span)
    failure = run.failure or ("" if np.all(finite) and len(time) > 1 else "the Jacobian is not finite")
    cause, at = None, float("nan")
    if len(time):
        middle = _middle(time, stability[[*METHODS].index(REFERENCE)])
        mode, at = int(np.argmin(by_mode[REFERENCE][middle])), float(time[middle])
        cause = cause_of(system, names, theta, inputs, at, states[middle], scale, matrices[middle], mode)
    columns = _columns(eigenvalue, kind, stability, accuracy, counts) | as_columns(cause, names, theta)
    coordinates = {"time": time, "mode": np.arange(len(names)), "solver": [*METHODS], "parameter": [*theta],
                   "equation": [*names], "state": [*names], "term": list(cause.terms if cause else ())}  # fmt: skip
    tolerances = {"rtol": system.rtol, "atol": system.least_atol, "at": at}
    return xr.Dataset(columns, coordinates, tolerances | _verdict(columns, cause, failure, space))


def _checked(system: Ode, theta: Values, design: Design, space: Space | None) -> tuple[Values, Inputs, tuple[str, ...]]:
    findings, given = [], (theta, design.inputs, ())
    times = np.asarray(design.times)
    if times.ndim != 1 or times.size == 0 or not np.all(np.isfinite(times)):
        findings.append("the design needs one row of finite times; the last is where the report ends.")
    elif times.max() <= float(design.start):
        findings.append(f"the design ends at its start {float(design.start):g}; give a later time.")
    try:
        given = checked("stiffness_report", system, theta if space is None else space.complete(theta), design.inputs)
    except InputError as error:
        findings += error.findings
    if findings:
        raise InputError("stiffness_report", findings)
    return given


def _follow(system: Ode, names, theta: Values, design: Design) -> Trajectory:
    """The trajectory from event to event; a failure ends it, whatever was reached is kept."""
    start, end = float(design.start), float(np.max(np.asarray(design.times)))
    added = events_between(system, names, theta, design.inputs, start, end)
    inside = [time for time in added if time > start]
    initial = system.initial(theta, design.inputs)
    y = np.array([float(initial[name]) for name in names])
    pieces, failure, left = [], "", MOST_EVALUATIONS
    for t0, t1 in zip([start, *inside], [*inside, end], strict=True):
        y = y + added.get(t0, 0.0)
        if not np.all(np.isfinite(y)):
            failure = f"the state at {t0:g} is not finite"
            break
        time, states, failure, used = _segment(system, names, theta, design, t0, t1, y, left)
        pieces.append((time, states, _derivatives(time, states, system)))
        y, left = states[-1], left - used
        if failure:
            break
    if not pieces:
        empty = np.zeros(0)
        return Trajectory(empty, np.zeros((0, len(names))), dict.fromkeys(ORDERS, empty), empty.astype(int), failure)
    times, states, derivatives = zip(*pieces, strict=True)
    joined = {order: np.concatenate([piece[order] for piece in derivatives]) for order in ORDERS}
    piece = np.repeat(np.arange(len(times)), [len(time) for time in times])
    return Trajectory(np.concatenate(times), np.concatenate(states), joined, piece, failure)


def _thinned(piece: np.ndarray) -> np.ndarray:
    """Indices of about `MOST_POINTS` points, among them the first and the last of each piece: between two of one piece
    a rate may be interpolated, across an event it may not."""
    share, kept = min(MOST_POINTS / max(len(piece), 1), 1.0), []
    for which in np.unique(piece):
        (inside,) = np.nonzero(piece == which)
        count = min(max(round(share * len(inside)), 2), len(inside))
        kept.append(inside[np.linspace(0, len(inside) - 1, count).astype(int)])
    return np.concatenate(kept) if kept else np.zeros(0, int)


def _segment(system: Ode, names, theta: Values, design: Design, t0: float, t1: float, y, most: int):
    """Times and states of LSODA's steps (Petzold 1983, doi:10.1137/0904010), why it ended early, evaluations."""
    # at an event the right-hand side has its value from this side
    first, last = np.nextafter(t0, np.inf), np.nextafter(t1, -np.inf)

    def slope(t, y):
        return np.asarray(slope_at(system, names, theta, design, np.clip(t, first, last), y))

    def jacobian(t, y):
        return np.asarray(jacobian_at(system, names, theta, design, np.clip(t, first, last), y))

    sharper = max(SHARPER * system.rtol, SHARPEST) / system.rtol
    time, states, failure = [t0], [y], ""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # LSODA says by a warning why it gave up; the report says that it did
        warnings.simplefilter("ignore")
        solver = LSODA(slope, t0, y, t1, rtol=sharper * system.rtol, atol=sharper * system.least_atol, jac=jacobian)
        while solver.status == "running":
            if solver.nfev > most:
                failure = f"it took more than {MOST_EVALUATIONS} evaluations to come to the time {time[-1]:g}"
                break
            solver.step()
            if solver.status == "failed" or solver.t <= time[-1] or not np.all(np.isfinite(solver.y)):
                failure = f"the rough run stopped at the time {time[-1]:g}"
                break
            time.append(solver.t)
            states.append(solver.y.copy())
    return np.array(time), np.array(states), failure, solver.nfev


def _derivatives(time: np.ndarray, states: np.ndarray, system: Ode) -> dict[int, np.ndarray]:
    """Size of the derivatives of the trajectory in units of the tolerance, from divided differences of its points."""
    found, table = {}, states
    for order in range(1, max(ORDERS) + 1):
        if order < len(time):
            table = np.diff(table, axis=0) / (time[order:] - time[:-order])[:, None] * order
            window = np.clip(np.arange(len(time)) - order // 2, 0, len(table) - 1)
            derivative = table[window]
        else:
            derivative = np.zeros_like(states)
        if order in ORDERS:
            weight = system.least_atol + system.rtol * np.abs(states)
            found[order] = np.sqrt(np.mean(np.square(derivative / weight), axis=1))
    return found


def _accuracy_step(derivatives: dict[int, np.ndarray], name: str, picked, span: float) -> np.ndarray:
    """The step at which constant h^order y^(order) is the tolerance, at most the whole span."""
    method = METHODS[name]
    size = method.constant * derivatives[method.order][picked]
    return np.minimum(np.maximum(size, 1e-300) ** (-1.0 / method.order), span)


def _spectra(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `(time, mode)`, the fastest first, and what each mode does."""
    size = matrices.shape[-1]
    values, bounds = np.zeros((len(matrices), size), complex), np.zeros((len(matrices), size))
    for k, matrix in enumerate(matrices):
        value, left, right = eig(matrix, left=True)
        order = np.argsort(-np.abs(value), kind="stable")
        # the least norm and condition in any units of the states: those at hand may be of a state that is hardly there
        norm = np.max(np.abs(np.linalg.eigvals(np.abs(matrix))), initial=0.0)
        products = left.conj() * right
        condition = np.sum(np.abs(products), axis=0) / np.maximum(np.abs(np.sum(products, axis=0)), 1e-300)
        # what rounding does to an eigenvalue, or to one of several that coincide
        values[k], bounds[k] = value[order], np.minimum(100 * size * EPS * condition, np.sqrt(EPS))[order] * norm
    zero = np.abs(values) <= bounds
    oscillating = np.abs(values.real) <= np.maximum(DAMPING * np.abs(values.imag), bounds)
    kind = np.select([zero, oscillating, values.real > 0], ["zero", "oscillating", "growing"], "decaying")
    return values, kind


def _bounding(eigenvalue: np.ndarray, kind: np.ndarray, span: float) -> np.ndarray:
    """The eigenvalues as they bound the step: what does not decay by itself may grow e-fold over the span, which is
    to ask of it what one asks of a mode that decays e-fold; what grows or stays bounds nothing."""
    damped = np.minimum(eigenvalue.real, -1.0 / span) + 1j * eigenvalue.imag
    return np.where(np.isin(kind, ("decaying", "oscillating")), damped, 0.0)


def _counts(run: Trajectory, picked: np.ndarray, stability: np.ndarray, span: float) -> dict[str, np.ndarray]:
    """Steps from the start to the last point picked. What accuracy asks for changes fast after a dose, so it is summed
    over all points; between those picked, the rate of stability steps is interpolated."""
    every = np.arange(picked[-1] + 1 if len(picked) else 0)
    time = run.time[every]
    accuracy = np.array([_accuracy_step(run.derivatives, name, every, span) for name in METHODS])
    between = [np.interp(every, picked, 1.0 / row) if len(picked) else every for row in stability]
    rates = {"steps_for_stability": np.array(between), "steps_for_accuracy": 1.0 / accuracy}
    rates["steps"] = np.maximum(*rates.values())
    return {name: np.trapezoid(rate, time, axis=1) for name, rate in rates.items()}


def _middle(time: np.ndarray, step: np.ndarray) -> int:
    """The point at which half of the stability steps are taken."""
    taken = np.concatenate([[0.0], np.cumsum(np.diff(time) * (1 / step[1:] + 1 / step[:-1]) / 2)])
    return int(np.searchsorted(taken, taken[-1] / 2)) if len(time) and taken[-1] > 0 else 0


def _columns(eigenvalue, kind, stability, accuracy, counts) -> dict:
    evaluations = counts["steps"] * np.array([method.evaluations for method in METHODS.values()])
    return {
        "eigenvalue": (("time", "mode"), eigenvalue),
        "kind": (("time", "mode"), kind),
        "stability_step": (("solver", "time"), stability),
        "accuracy_step": (("solver", "time"), accuracy),
        "ratio": (("solver", "time"), accuracy / stability),
        **{name: ("solver", count) for name, count in counts.items()},
        "evaluations": ("solver", evaluations),
    }


def _verdict(columns: dict, cause: Cause | None, failure: str, space: Space | None) -> dict[str, str]:
    """The attributes: what is stiff, why, and what could not be resolved."""
    at = [*METHODS].index(REFERENCE)
    stability, accuracy = (float(columns[f"steps_for_{what}"][1][at]) for what in ("stability", "accuracy"))
    numerical = "not resolved" if failure else "yes" if stability >= FAR * max(accuracy, 1.0) else "no"
    lost = [f"the run: {failure}; what is said holds up to there"] if failure else []
    physical, reason, why, first = "not resolved", "", "", ""
    if cause is None:
        lost.append("the cause: there is no mode, or its eigenvectors fall together (a multiple eigenvalue)")
    else:
        physical, reason = physical_stiffness(cause, space)
        why, first = sentence(cause, space), next(iter(parameters_behind(cause, space)), "")
        lost += [f"physical stiffness: {reason}"] if physical == "not resolved" else []
    steps = f"stability asks the explicit pair for {stability:.3g} steps, accuracy for {accuracy:.3g}"
    openings = {"yes": "numerically stiff", "no": "not numerically stiff", "not resolved": "whether stiff not resolved"}
    closing = {"yes": f"a physical stiffness: {reason}", "no": f"not a physical stiffness: {reason}"}.get(physical)
    parts = (f"{openings[numerical]}: {steps}", why and f"the mode that limits it is {why}", closing)
    return {
        "numerical_stiffness": numerical,
        "physical_stiffness": physical,
        "cause": first,
        "verdict": "; ".join(part for part in parts if part),
        "not_resolved": "; ".join(lost),
    }
