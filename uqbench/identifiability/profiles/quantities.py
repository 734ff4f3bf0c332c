"""Profile likelihoods of predictions and of other functions of the parameters."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import chi2

from ...annotations import Values
from ...errors import InputError, nearest
from ...optimization.ascent import Box, Peak
from ...optimization.best_fit import FINER, everywhere
from ...optimization.objective import TOGETHER, Objective, objective_of
from ...optimization.rounds import in_rounds
from ...progress import progress
from ...study import Quantity, Study
from .path import FLAT, WIDE, Point, Side, Task, follow, predicted
from .profile import BETTER, BUDGET, LEVEL, best_near, peak_from, predicted_gain, setting_findings
from .steering import LEAST, SHARE, Predicted, Steering, Value, answers, searched, steered

# The name of a single quantity that is given without one.
SINGLE = "quantity"
# Points of the prior at which is looked whether a quantity has one sign.
LOOKED = 16
# Where phi stays so many delta behind what it is steered to and no bound is met, it has an extreme.
BEHIND = 10.0

Quantities = str | Quantity | Sequence[str] | Mapping[str, Quantity] | None


class Subject(NamedTuple):
    """A quantity to be followed.

    Args:
        name: of it.
        steering: how.
        box: of x, as far as parameters are followed, and of c.
        best: the best fit `(k + 1,)`, where c is phi of the quantity.
        reach: how far c is followed: by how much phi would change at most if it were linear.
    """

    name: str
    steering: Steering
    box: Box
    best: Point
    reach: float


def profile_quantities(
    study: Study,
    theta_hat: Values | xr.Dataset,
    quantities: Quantities = None,
    *,
    level: float = LEVEL,
    prior: bool = False,
    budget: float = BUDGET,
) -> xr.Dataset:
    """Profile likelihood of predictions and of functions of the parameters, and the confidence intervals that it gives
    (Kreutz, Raue & Timmer 2012, doi:10.1186/1752-0509-6-120).

    The likelihood is maximised under the condition that the quantity has a value, further and further from its value at
    the best fit, until it has fallen by half the quantile of chi-squared with one degree of freedom. That a quantity is
    well known says nothing of single parameters, and the other way round.

    Args:
        study: with data; its likelihood has a gradient and an information.
        theta_hat: as for `profile_likelihood`.
        quantities: names of quantities of the study, None for all; or others, a `uq.Quantity` or name -> `uq.Quantity`.
            They are differentiated: one that is true or false has no profile. With aleatory parameters they are those
            of the median unit.
        level: of the intervals.
        prior: whether the prior counts, as in `find_map`.
        budget: seconds; sides that have not ended by then are "stopped".

    Returns:
        by `quantity` what `profile_likelihood` says by parameter: `value`, `lower`, `upper`, `verdict_lower`,
        `verdict_upper`, `reached_...`, `fallen_...`, `certificate_...`, `certificate`, and along the path `path_value`,
        `path_log_density` and `path`, all parameters; and `unit`. "open at the bound": parameters are at the bounds of
        their priors there; "open": as far as they were followed; "extreme": the quantity goes no further, whatever the
        parameters are nearby. Attributes as there, and `of`: "the median unit" where units differ.

    Raises:
        InputError: with every finding: no quantities, unknown ones, some that cannot be differentiated, settings, no
            data; a model that cannot be solved at `theta_hat`, or for a prediction there; a quantity that does not
            change with the parameters.

    Example:
        >>> from studies.two_scale_cascade import study
        >>> found = profile_quantities(study, study.model.space.nominal())
        >>> str(found.verdict_upper.values[0])
        'bounded'
    """
    study, names = _with(study, quantities)
    findings = _findings(study, names) + setting_findings(study, theta_hat, level, budget)
    if findings:
        raise InputError(f"profile_quantities of study {study.name!r}", findings)
    objective = objective_of(study, prior)
    parts = [Predicted.of(objective.target, study.quantities[name]) for name in names]
    best, others = best_near(study, objective, theta_hat)
    given, until, scores = best.score.value, time.monotonic() + budget, 0
    for _ in range(BETTER + 1):
        subjects = _subjects(study, objective, names, parts, best)
        sides, stopped = _followed(objective, subjects, parts, others, level, until)
        scores += sum(side.scores for side in sides.values())
        better = max((point for side in sides.values() for point in side.points), key=lambda point: point.score.density)
        if stopped or not any(side.verdict == "better fit" for side in sides.values()):
            break
        best = peak_from(objective, better.x[:-1])
    shifts = _certificates(study, objective, subjects, sides, level)
    return _dataset(study, objective, subjects, sides, shifts, level).assign_attrs(
        log_density=float(best.score.value),
        level=level,
        threshold=float(chi2.ppf(level, 1) / 2),
        better=float(best.score.value - given),
        prior=prior,
        scores=scores,
        stopped=stopped,
        of="the median unit" if study.model.space.aleatory else "",
    )


def _with(study: Study, quantities: Quantities) -> tuple[Study, list[str]]:
    """The study with these quantities, checked as its own are, and their names."""
    if quantities is None or isinstance(quantities, str):
        return study, list(study.quantities) if quantities is None else [quantities]
    if isinstance(quantities, Quantity):
        quantities = {SINGLE: quantities}
    if isinstance(quantities, Mapping):
        return replace(study, quantities=quantities), [str(name) for name in quantities]
    return study, list(quantities)


def _findings(study: Study, names: Sequence[str]) -> list[str]:
    if not names:
        return ["there are no quantities; give the study some, or `quantities`."]
    findings = []
    for name in dict.fromkeys(names):
        if name not in study.quantities:
            findings.append(f"unknown quantity {name!r}; {nearest(name, study.quantities)}")
            continue
        quantity = study.quantities[name]
        kind = jax.eval_shape(quantity.value, *quantity.arguments(study.model)).dtype
        if not np.issubdtype(kind, np.floating):
            what = "true or false" if kind == bool else "a whole number"
            findings.append(f"{name!r} is {what} and has no derivative; give the number that decides about it.")
    return findings


def _subjects(study: Study, objective: Objective, names, parts: Sequence[Predicted], best: Peak) -> list[Subject]:
    """How each quantity is followed from the best fit."""
    coordinates, findings, subjects = objective.coordinates, [], []
    lower, upper = coordinates.range_around(best.x)
    points = np.concatenate([best.x[None], np.clip(coordinates.starts(LOOKED, 0), lower, upper)])
    for name, part in zip(names, parts, strict=True):
        found = part(points)
        if not np.isfinite([found[0].value, *found[0].gradient]).all():
            findings.append(
                f"{name!r} or its gradient is not a number at the best fit: its run fails there, or the function "
                "does; give another design or function."
            )
        elif not np.any(found[0].gradient):
            findings.append(
                f"{name!r} does not change with any epistemic parameter at the best fit; leave it out, or give "
                "a function without steps."
            )
        else:
            subjects.append(_subject(name, best, found, coordinates.scale, lower, upper))
    if findings:
        raise InputError(f"profile_quantities of study {study.name!r}", findings)
    return subjects


def _subject(name: str, best: Peak, found: Sequence[Value], scale, lower, upper) -> Subject:
    values = np.array([each.value for each in found])
    values = values[np.isfinite(values)]
    sign = int(np.sign(values[0])) if np.all(values * np.sign(values[0]) > 0) else 0
    steering = Steering(sign, 1.0)
    gradient = found[0].gradient * steering.slope(found[0].value)
    unit = 1.0 if sign else float(np.linalg.norm(gradient * scale))
    steering = Steering(sign, min(LEAST * unit, SHARE * _standard_error(best.score.root * scale, gradient * scale)))
    box = Box(np.append(lower, -np.inf), np.append(upper, np.inf), np.ones(len(scale) + 1, bool), np.append(scale, unit))
    x = np.append(best.x, steering.phi(found[0].value))
    reach = float(np.abs(gradient) @ np.maximum(upper - best.x, best.x - lower))
    return Subject(name, steering, box, Point(x, steered(best.score, found[0], x, steering, box), 0.0), reach)


def _standard_error(root: Float[np.ndarray, "k k"], gradient: Float[np.ndarray, " k"]) -> float:
    """That of a linear function of the parameters; infinite where the information says nothing of it."""
    _, values, right = np.linalg.svd(root)
    parts = right @ gradient
    known = values > 1e-12 * values[0]
    if np.any(np.abs(parts[~known]) > 1e-8 * np.linalg.norm(gradient)):
        return np.inf
    return float(np.linalg.norm(parts[known] / values[known]))


def _followed(
    objective: Objective, subjects: Sequence[Subject], parts: list[Predicted], others, level: float, until: float
) -> tuple[dict[tuple[str, int], Side], str]:
    """Every side, by quantity and direction, and why they were stopped."""
    searches, starts = {}, {}
    target = float(np.sqrt(chi2.ppf(level, 1)))
    for number, subject in enumerate(subjects):
        index = len(subject.best.x) - 1
        # c of another optimum is that of the end at which it is tried
        also = [np.append(other, np.nan) for other in others]
        for direction in (-1, 1):
            limit = float(subject.best.x[index] + direction * subject.reach)
            task = Task(subject.best, index, direction, limit, False, target, subject.box, also, objective.slack)
            starts[subject.name, direction] = subject.best
            searches[subject.name, direction] = searched(follow(task), number, subject.steering, subject.box)
    with progress("profiles of quantities: sides", len(searches)) as update:
        found, interrupted = in_rounds(
            list(searches.values()),
            lambda points: answers(objective, parts, points),
            TOGETHER,
            done=update,
            enough=lambda: time.monotonic() > until,
        )
    stopped = "by Ctrl-C" if interrupted else "at the end of its budget" if time.monotonic() > until else ""
    sides = {
        key: side or Side(len(starts[key].x) - 1, [starts[key]], "stopped")
        for key, side in zip(searches, found, strict=True)
    }
    return sides, stopped


def _end(subject: Subject, side: Side, direction: int, target: float) -> tuple[float, float]:
    """phi where r has its target, from the point closest to it to first order, and the slope of r there."""
    if side.verdict != "bounded":
        return np.nan, np.nan
    point = min(side.points, key=lambda point: abs(point.r - target))
    slope = -direction * point.score.rise / point.r
    return point.score.phi + direction * (target - point.r) / slope, slope


def _certificates(study: Study, objective: Objective, subjects, sides, level: float) -> dict:
    """By how much each end moves, in phi, where solves are finer; 0 where there are none.

    At the same point finer solves give another score and another value of the quantity; a step of the other parameters
    adds what it is predicted to, and the slope of r says how far the end is from there.
    """
    finer = objective_of(study, objective.prior, FINER)
    bounded = [key for key, side in sides.items() if side.verdict == "bounded"]
    if finer is None or not bounded:
        return dict.fromkeys(bounded, 0.0)
    target, shifts, by_name = float(np.sqrt(chi2.ppf(level, 1))), {}, {each.name: each for each in subjects}
    best = subjects[0].best.x[:-1]
    score = finer(best[None])[0]
    top = score.value + predicted_gain(score, best, everywhere(objective.coordinates), None)
    for name, direction in bounded:
        subject, side = by_name[name], sides[name, direction]
        point = min(side.points, key=lambda point: abs(point.r - target))
        end, slope = _end(subject, side, direction, target)
        x, part = point.x, Predicted.of(finer.target, study.quantities[name])
        again = steered(finer(x[None, :-1])[0], part(x[None, :-1])[0], x, subject.steering, subject.box)
        if not np.isfinite(again.value):
            shifts[name, direction] = np.inf
            continue
        held = np.arange(len(x)) == side.index
        step = (predicted(x, again, subject.box, np.zeros_like(x), held) - x)[:-1]
        row = again.root[-1, :-1] * subject.steering.delta
        # what the step adds to L alone
        gradient = again.gradient[:-1] + row * again.rise
        change = again.root[:-1, :-1] @ step
        density = again.density + gradient @ step - 0.5 * change @ change
        r = np.sqrt(max(2.0 * (top - density), 0.0))
        shifts[name, direction] = abs(again.phi + row @ step + direction * (target - r) / slope - end)
    return shifts


def _verdict(objective: Objective, subject: Subject, side: Side) -> str:
    """That of a side; c may have gone on where the quantity could not."""
    last, coordinates = side.points[-1], objective.coordinates
    x, box = last.x[:-1], subject.box
    if side.verdict == "bounded":
        return "several optima" if side.several else "bounded"
    if side.verdict not in ("open", "flat"):
        return side.verdict
    moved = abs(last.score.phi - subject.best.score.phi)
    if max(point.r for point in side.points) < FLAT and moved > WIDE * box.scale[-1]:
        return "flat"
    if np.any((x <= coordinates.lower) | (x >= coordinates.upper)):
        return "open at the bound"
    behind = abs(last.score.phi - last.x[-1]) / subject.steering.delta
    return "open" if behind < BEHIND or _at_the_end(subject, last) else "extreme"


def _at_the_end(subject: Subject, point: Point) -> bool:
    """Whether a parameter is as far as it is followed."""
    x, box = point.x[:-1], subject.box
    return bool(np.any((x <= box.lower[:-1]) | (x >= box.upper[:-1])))


def _dataset(study: Study, objective: Objective, subjects, sides, shifts, level: float) -> xr.Dataset:
    coordinates, target = objective.coordinates, float(np.sqrt(chi2.ppf(level, 1)))
    most = max(len(side.points) for side in sides.values())
    shape = (len(subjects), 2, most)
    path = np.full((*shape, len(coordinates.names)), np.nan)
    density, value = np.full(shape, np.nan), np.full(shape, np.nan)
    columns: dict[str, list] = {}
    for row, subject in enumerate(subjects):
        natural, pair = subject.steering.natural, {way: sides[subject.name, way] for way in (-1, 1)}
        ends = {way: _end(subject, side, way, target)[0] for way, side in pair.items()}
        width = np.nansum([abs(end - subject.best.score.phi) for end in ends.values()])
        for column, (label, way) in enumerate((("lower", -1), ("upper", 1))):
            points = pair[way].points
            path[row, column, : len(points)] = coordinates.natural(np.stack([point.x[:-1] for point in points]))
            density[row, column, : len(points)] = [point.score.density for point in points]
            value[row, column, : len(points)] = [natural(point.score.phi) for point in points]
            shift = shifts.get((subject.name, way), np.nan)
            columns.setdefault(label, []).append(natural(ends[way]))
            columns.setdefault(f"verdict_{label}", []).append(_verdict(objective, subject, pair[way]))
            columns.setdefault(f"reached_{label}", []).append(value[row, column, len(points) - 1])
            fallen = subject.best.score.density - points[-1].score.density
            columns.setdefault(f"fallen_{label}", []).append(float(fallen))
            columns.setdefault(f"certificate_{label}", []).append(shift / width if width else np.nan)
    names = [subject.name for subject in subjects]
    both = np.array([columns["certificate_lower"], columns["certificate_upper"]])
    return xr.Dataset(
        {
            "value": ("quantity", [subject.steering.natural(subject.best.score.phi) for subject in subjects]),
            **{key: ("quantity", values) for key, values in columns.items()},
            "certificate": ("quantity", np.where(np.isnan(both).all(axis=0), np.nan, np.nanmax(np.append(both, both * 0 - 1, 0), axis=0, initial=0.0))),
            "unit": ("quantity", [study.quantities[name].unit for name in names]),
            "path_value": (("quantity", "side", "point"), value),
            "path_log_density": (("quantity", "side", "point"), density),
            "path": (("quantity", "side", "point", "other"), path),
        },
        coords={"quantity": names, "side": ["lower", "upper"], "other": list(coordinates.names), "point": np.arange(most)},
    )
