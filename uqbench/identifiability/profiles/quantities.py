"""Profile likelihoods of predictions and of other functions of the parameters."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import numpy as np
import xarray as xr
from scipy.stats import chi2

from ...annotations import Values
from ...errors import InputError, nearest
from ...optimization.ascent import Peak, predicted_gain
from ...optimization.best_fit import BY_HAND, FINER, everywhere
from ...optimization.objective import TOGETHER, Objective, finer_objective_of, objective_of
from ...optimization.rounds import in_rounds
from ...progress import progress
from ...study import Quantity, Study
from .path import Side, Task, follow
from .profile import BETTER, BUDGET, LEVEL, best_near, others_for, peak_from, setting_findings
from .steering import Predicted, answers, score_at, searched, steered
from .subject import Subject

# The name of a single quantity that is given without one.
SINGLE = "quantity"
# Points of the prior at which is looked whether a quantity has one sign.
LOOKED = 16
SIDES = {"lower": -1, "upper": 1}
# The verdicts of sides that have an end.
BOUNDED = ("bounded", "several optima")

Quantities = str | Quantity | Sequence[str] | Mapping[str, Quantity] | None
Sides = dict[tuple[str, int], Side]


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

    Ends are followed from the best fit and the other optima that are known. Unlike those of `profile_likelihood` they
    are not looked at once more from what other sides have seen: where the best fit lies on a plateau, with a higher
    ridge elsewhere, an interval may be too short.

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
    known = _known(study)
    findings = _findings(study, names) + setting_findings(study, theta_hat, level, budget)
    if findings:
        raise InputError(f"profile_quantities of study {study.name!r}", findings)
    objective = objective_of(study, prior)
    parts = [Predicted.of(objective.target, known[name]) for name in names]
    until, target = time.monotonic() + budget, float(np.sqrt(chi2.ppf(level, 1)))
    best, others = best_near(study, objective, theta_hat)
    given, scores = best.score.value, 0
    for _ in range(BETTER + 1):
        subjects = _subjects(study, objective, names, parts, best)
        sides, stopped = _followed(objective, subjects, parts, others, target, until)
        scores += sum(side.scores for side in sides.values())
        better = max((point for side in sides.values() for point in side.points), key=lambda point: point.score.density)
        if stopped or not any(side.verdict == "better fit" for side in sides.values()):
            break
        # what was the best is another optimum now
        others, best = [*others, best.x], peak_from(objective, better.x[:-1])
    try:
        shifts = _certificates(study, objective, subjects, sides, target)
    except KeyboardInterrupt:
        shifts, stopped = {}, BY_HAND
    return _dataset(study, subjects, sides, shifts, target).assign_attrs(
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


def _known(study: Study) -> dict[str, Quantity]:
    """The quantities of a study, which has made one of each plain function."""
    return {name: each for name, each in study.quantities.items() if isinstance(each, Quantity)}


def _findings(study: Study, names: Sequence[str]) -> list[str]:
    if not names:
        return ["there are no quantities; give the study some, or `quantities`."]
    findings, known = [], _known(study)
    for name in dict.fromkeys(names):
        if name not in known:
            findings.append(f"unknown quantity {name!r}; {nearest(name, [*known])}")
            continue
        quantity = known[name]
        kind = jax.eval_shape(quantity.value, *quantity.arguments(study.model)).dtype
        if not np.issubdtype(kind, np.floating):
            what = "true or false" if np.issubdtype(kind, np.bool_) else "a whole number"
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
            subjects.append(Subject.of(name, coordinates, best, found))
    if findings:
        raise InputError(f"profile_quantities of study {study.name!r}", findings)
    return subjects


def _followed(
    objective: Objective, subjects: Sequence[Subject], parts: Sequence[Predicted], others, target: float, until: float
) -> tuple[Sides, str]:
    """Every side, by quantity and direction, and why they were stopped."""
    searches, starts = {}, {}
    scores = objective(np.stack(others)) if others else []
    for number, (subject, part) in enumerate(zip(subjects, parts, strict=True)):
        index = len(subject.best.x) - 1
        found = part(np.stack(others)) if others else []
        known = [subject.known(*each) for each in zip(others, scores, found, strict=True)]
        for way in SIDES.values():
            limit, also = float(subject.best.x[index] + way * subject.reach), others_for(known, index, way, target)
            task = Task(subject.best, index, way, limit, False, target, subject.box, also, objective.slack)
            starts[subject.name, way] = Side(index, [subject.best], "stopped")
            searches[subject.name, way] = searched(follow(task), number, subject.steering, subject.box)
    with progress("profiles of quantities: sides", len(searches)) as update:
        ended, interrupted = in_rounds(
            list(searches.values()),
            lambda points: answers(objective, parts, points),
            TOGETHER,
            done=update,
            enough=lambda: time.monotonic() > until,
        )
    sides = {key: side or starts[key] for key, side in zip(searches, ended, strict=True)}
    late = time.monotonic() > until and any(side.verdict == "stopped" for side in sides.values())
    return sides, BY_HAND if interrupted else "at the end of its budget" if late else ""


def _certificates(
    study: Study, objective: Objective, subjects: Sequence[Subject], sides: Sides, target: float
) -> dict[tuple[str, int], float]:
    """By how much each end moves, in phi, where solves are finer; 0 where there are none."""
    finer = finer_objective_of(study, objective.prior, FINER)
    bounded = [key for key, side in sides.items() if side.verdict == "bounded"]
    if finer is None or not bounded:
        return dict.fromkeys(bounded, 0.0)
    known = _known(study)
    by_name = {subject.name: subject for subject in subjects}
    best, shifts = subjects[0].best.x[:-1], {}
    points = [best, *(by_name[name].end(sides[name, way], way, target)[0].x[:-1] for name, way in bounded)]
    top, *scores = finer(np.stack(points))
    highest = top.value + predicted_gain(top, best, everywhere(objective.coordinates))
    for (name, way), x, score in zip(bounded, points[1:], scores, strict=True):
        subject, side = by_name[name], sides[name, way]
        found = Predicted.of(finer.target, known[name])(x[None])[0]
        c = subject.end(side, way, target)[0].x[-1]
        again = steered(score, found, np.append(x, c), subject.steering, subject.box)
        shifts[name, way] = subject.moved(again, side, way, target, highest)
    return shifts


def _dataset(study: Study, subjects: Sequence[Subject], sides: Sides, shifts, target: float) -> xr.Dataset:
    names = [subject.name for subject in subjects]
    parameters = subjects[0].coordinates.names
    shape = (len(subjects), 2, max(len(side.points) for side in sides.values()))
    value, density, path = (np.full(each, np.nan) for each in (shape, shape, (*shape, len(parameters))))
    columns: dict[str, list] = {}
    for row, subject in enumerate(subjects):
        natural, best, found = subject.steering.natural, score_at(subject.best), {}
        for label, way in SIDES.items():
            side = sides[subject.name, way]
            verdict = subject.verdict(side)
            found[label] = verdict, subject.end(side, way, target)[1] if verdict in BOUNDED else np.nan
        width = np.nansum([abs(end - best.phi) for _, end in found.values()])
        for column, (label, way) in enumerate(SIDES.items()):
            points, (verdict, end) = sides[subject.name, way].points, found[label]
            value[row, column, : len(points)] = [natural(score_at(point).phi) for point in points]
            density[row, column, : len(points)] = [point.score.density for point in points]
            path[row, column, : len(points)] = subject.coordinates.natural(np.stack([each.x[:-1] for each in points]))
            share = shifts.get((subject.name, way), np.nan) / width if np.isfinite(end) else np.nan
            each = {
                label: natural(end),
                f"verdict_{label}": verdict,
                f"reached_{label}": natural(score_at(points[-1]).phi),
                f"fallen_{label}": float(best.density - points[-1].score.density),
                f"certificate_{label}": share,
            }
            for key, entry in each.items():
                columns.setdefault(key, []).append(entry)
    return xr.Dataset(
        {
            "value": ("quantity", [subject.steering.natural(score_at(subject.best).phi) for subject in subjects]),
            **{key: ("quantity", values) for key, values in columns.items()},
            # the larger of both, or the only one
            "certificate": ("quantity", np.fmax(columns["certificate_lower"], columns["certificate_upper"])),
            "unit": ("quantity", [_known(study)[name].unit for name in names]),
            "path_value": (("quantity", "side", "point"), value),
            "path_log_density": (("quantity", "side", "point"), density),
            "path": (("quantity", "side", "point", "other"), path),
        },
        coords={"quantity": names, "side": [*SIDES], "other": list(parameters), "point": np.arange(shape[-1])},
    )
