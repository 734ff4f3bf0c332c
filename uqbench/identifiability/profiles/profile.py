"""Profile likelihoods: how far each parameter may go, the others following, before the data contradict it."""

import time
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import chi2

from ...annotations import Values
from ...errors import InputError, nearest
from ...optimization.ascent import Peak, ascend, predicted_gain
from ...optimization.best_fit import BY_HAND, FINER, everywhere, values_findings
from ...optimization.objective import TOGETHER, Objective, finer_objective_of, objective_of
from ...optimization.rounds import in_rounds
from ...progress import progress
from ...settings import is_number
from ...study import Study
from .crosscheck import starts_beyond
from .path import Point, Side, Task, follow
from .relations import relations

LEVEL, BUDGET = 0.95, 120.0
# An end is certain if finer solves move it by no more than this share of the interval's width.
CERTAIN = 0.005
# How often a better fit that a profile finds becomes the best, from where all begins again.
BETTER = 3
# Other points from which ends are looked at once more, and how far they are from one another in units of steps.
OTHERS, APART = 3, 0.1
# How often ends are looked at once more from the points of all sides.
SWEEPS = 3
SIDES = ("lower", "upper")


def profile_likelihood(
    study: Study,
    theta_hat: Values | xr.Dataset,
    parameters: str | list[str] | tuple[str, ...] | None = None,
    *,
    level: float = LEVEL,
    prior: bool = False,
    budget: float = BUDGET,
) -> xr.Dataset:
    """Profile likelihood of parameters, and the confidence intervals that it gives (Raue et al. 2009,
    doi:10.1093/bioinformatics/btp358).

    The likelihood is maximised with the parameter held, further and further from the best fit on both sides, until it
    has fallen by half the quantile of chi-squared with one degree of freedom. All parameters and sides are followed
    together.

    Args:
        study: with data; its likelihood has a gradient and an information.
        theta_hat: the best fit or a point near it, epistemic parameters by name, from where an ascent begins; or what
            `find_map` returns, whose other optima are then starts at the ends, where the profile may change to another
            branch.
        parameters: whose profiles; None for all epistemic ones.
        level: of the intervals.
        prior: whether the prior counts, as in `find_map`: the profile posterior.
        budget: seconds; sides that have not ended by then are "stopped".

    Returns:
        by `parameter`: `value` of the best fit; `lower` and `upper`, in units, NaN where a side is not bounded, never
        the end of the search; `verdict_lower`, `verdict_upper`: "bounded", "several optima" (bounded, on another branch
        than the one that leaves the best fit), "open at the bound" of the prior, "open" as far as it was followed,
        "flat", "unsolved" (the model cannot be solved further out), "unresolved" (the path was lost), "better fit" (one
        that is better than the best was found there again and again), "stopped"; `reached_lower`, `reached_upper`: how
        far it was followed, `fallen_lower` and `fallen_upper`: by how much the log density had fallen there;
        `certificate_lower`, `certificate_upper`: by how much finer solves move the end, as a share of the interval (of
        the distance from the best fit where the other side is open); `certificate`, the larger; `relation`: what the
        others do along the profile, in words. By `parameter`, `side`, `point` (from the best fit outwards, NaN
        beyond the last): `path_value`, `path_log_density` and, by `other` too, `path`: all parameters. Attributes:
        `log_density` of the best fit, `level`, `threshold`, `better` (by how much it is better than `theta_hat`),
        `scores`, `stopped`.

    Raises:
        InputError: with every finding: unknown parameters, settings, no data; a model that cannot be solved at
            `theta_hat`.

    Example:
        >>> from studies.two_scale_cascade import study
        >>> found = profile_likelihood(study, study.model.space.nominal(), ["ks"])
        >>> str(found.verdict_lower.values[0])
        'bounded'
    """
    asked = (parameters,) if isinstance(parameters, str) else parameters
    names = tuple(dict.fromkeys(study.model.space.epistemic if asked is None else asked))
    findings = _findings(study, theta_hat, names, level, budget)
    if findings:
        raise InputError(f"profile_likelihood of study {study.name!r}", findings)
    objective = objective_of(study, prior)
    until = time.monotonic() + budget
    best, others = best_near(study, objective, theta_hat)
    given, scores = objective(start_at(study, objective, theta_hat)[None])[0].value, 0
    for _ in range(BETTER + 1):
        sides, used, stopped = _followed(objective, best, others, names, level, until)
        scores += used
        better = max((point for side in sides.values() for point in side.points), key=lambda point: point.score.value)
        if stopped or not any(side.verdict == "better fit" for side in sides.values()):
            break
        # what was the best is another optimum now
        others, best = [*others, best.x], peak_from(objective, better.x)
    try:
        certificates = _certificates(objective, finer_objective_of(study, prior, FINER), best, sides, level)
    except KeyboardInterrupt:
        certificates, stopped = {}, BY_HAND
    dataset = _dataset(objective, names, best, sides, certificates)
    return dataset.assign_attrs(
        log_density=float(best.score.value),
        level=level,
        threshold=float(chi2.ppf(level, 1) / 2),
        better=float(best.score.value - given),
        prior=prior,
        scores=scores,
        stopped=stopped,
    )


def _findings(study: Study, theta_hat, names, level, budget) -> list[str]:
    known = study.model.space.epistemic
    findings = [f"unknown parameter {name!r}; {nearest(name, known)}" for name in names if name not in known]
    if not names:
        findings.append("no parameter is asked for; name some, or give None for all.")
    return findings + setting_findings(study, theta_hat, level, budget)


def setting_findings(study: Study, theta_hat: Values | xr.Dataset, level: float, budget: float) -> list[str]:
    """What is wrong with the settings of profiles."""
    findings = []
    if not isinstance(theta_hat, xr.Dataset):
        findings += values_findings(study, "theta_hat", theta_hat)
    elif set(theta_hat.parameter.values.tolist()) != set(study.model.space.epistemic):
        findings.append(f"theta_hat is of the parameters {theta_hat.parameter.values.tolist()}, not of this study's.")
    if not is_number(level) or not 0 < level < 1:
        findings.append(f"level is {level!r}; give a number between 0 and 1.")
    if not is_number(budget) or not budget > 0:
        findings.append(f"budget is {budget!r}; give a number of seconds above 0.")
    return findings


def best_near(study: Study, objective: Objective, theta_hat) -> tuple[Peak, list[np.ndarray]]:
    """The best fit near the given one, and where else ascents of `find_map` have ended, each place once."""
    coordinates = objective.coordinates
    others: list[np.ndarray] = []
    if isinstance(theta_hat, xr.Dataset):
        names = [str(name) for name in theta_hat.parameter.values]
        for row in theta_hat.ended.values[theta_hat.optimum.values >= 0]:
            x = coordinates.at(dict(zip(names, row, strict=True)))
            if all(np.linalg.norm((x - other) / coordinates.scale) > APART for other in others):
                others.append(x)
        # the first of them is the best fit itself
        others = others[1:]
    x = start_at(study, objective, theta_hat)
    peak = peak_from(objective, x)
    if not np.isfinite(peak.score.value):
        raise InputError(f"the profiles of study {study.name!r} at theta_hat", objective.findings(x))
    return peak, others


def start_at(study: Study, objective: Objective, theta_hat: Values | xr.Dataset) -> Float[np.ndarray, " k"]:
    """x at the given best fit, what is missing of it at its prior median."""
    if isinstance(theta_hat, xr.Dataset):
        return objective.coordinates.at(dict(zip(theta_hat.parameter.values, theta_hat.value.values, strict=True)))
    return objective.coordinates.at({**study.model.space.nominal(), **theta_hat})


def peak_from(objective: Objective, x: Float[np.ndarray, " k"]) -> Peak:
    """Where an ascent from x ends."""
    search = ascend(x, everywhere(objective.coordinates), slack=objective.slack)
    (peak,), interrupted = in_rounds([search], objective, TOGETHER)
    if peak is None or interrupted:
        # there is nothing to be kept yet
        raise KeyboardInterrupt
    return peak


def _followed(objective, best: Peak, others, names, level, until) -> tuple[dict[tuple[str, int], Side], int, str]:
    """Every side, by parameter and direction; how many scores they took; why they were stopped."""
    start = Point(best.x, best.score, 0.0)
    known = [start.to(x, score) for x, score in zip(others, objective(np.stack(others)), strict=True)] if others else []
    tasks = _tasks(objective, start, known, names, float(np.sqrt(chi2.ppf(level, 1))))

    def searched(searches, update=lambda count: None):
        return in_rounds(searches, objective, TOGETHER, done=update, enough=lambda: time.monotonic() > until)

    with progress("profiles: sides", len(tasks)) as update:
        found, interrupted = searched([follow(task) for task in tasks.values()], update)
        sides = {
            key: side or Side(task.index, [start], "stopped")
            for (key, task), side in zip(tasks.items(), found, strict=True)
        }
        for _ in range(SWEEPS):
            begun, ends = starts_beyond(tasks, sides), {key: side.end for key, side in sides.items()}
            if interrupted or not begun:
                break
            _, interrupted = searched([follow(tasks[key], sides[key], start) for key, start in begun.items()])
            if all(sides[key].end == ends[key] for key in begun):
                # nothing has changed that could foretell more
                break
    late = time.monotonic() > until and any(side.verdict == "stopped" for side in sides.values())
    stopped = BY_HAND if interrupted else "at the end of its budget" if late else ""
    return sides, sum(side.scores for side in sides.values()), stopped


def _tasks(objective: Objective, best: Point, known: list[Point], names, target: float) -> dict[tuple[str, int], Task]:
    """What each side is followed from; `known` are other points."""
    coordinates, tasks = objective.coordinates, {}
    lowest, highest = coordinates.range_around(best.x)
    for name in names:
        k = coordinates.names.index(name)
        for direction, limit, bound in ((-1, lowest[k], coordinates.lower[k]), (1, highest[k], coordinates.upper[k])):
            others = others_for(known, k, direction, target)
            tasks[name, direction] = Task(
                best, k, direction, limit, limit == bound, target, everywhere(coordinates), others, objective.slack
            )
    return tasks


def others_for(known: Sequence[Point], index: int, direction: int, target: float) -> list[Point]:
    """Of other points those that a side gets: its farthest above the target, and the highest."""
    # a place from where the data are hardly less probable, or a different optimum altogether
    highest_first = sorted((point for point in known if np.isfinite(point.score.value)), key=lambda point: point.r)
    above = [point for point in highest_first if point.r < target]
    farthest = sorted(above, key=lambda point: -direction * point.x[index])[:1]
    return [*farthest, *(point for point in highest_first if all(point is not each for each in farthest))][:OTHERS]


def _certificates(objective: Objective, finer: Objective | None, best: Peak, sides, level: float) -> dict:
    """By how much each end moves, in its coordinate, where it is found from finer solves; 0 where there are none.

    At the same points finer solves give another r, to which a step in the other parameters would add what it is
    predicted to gain; the slope of r says how far that moves the end.
    """
    ends = {key: side for key, side in sides.items() if np.isfinite(side.end)}
    if finer is None or not ends:
        return dict.fromkeys(ends, 0.0)
    target = np.sqrt(chi2.ppf(level, 1))
    points = [side.closest for side in ends.values()]
    scores = finer(np.stack([best.x, *(point.x for point in points)]))
    box, shifts = everywhere(objective.coordinates), {}
    top = scores[0].value + predicted_gain(scores[0], best.x, box)
    for (key, side), point, score in zip(ends.items(), points, scores[1:], strict=True):
        if not (np.isfinite(score.value) and np.isfinite(top) and side.slope > 0):
            shifts[key] = np.inf
            continue
        value = score.value + predicted_gain(score, point.x, box.holding(side.index))
        r = np.sqrt(max(2 * (top - value), 0.0))
        shifts[key] = abs(point.x[side.index] + key[1] * (target - r) / side.slope - side.end)
    return shifts


def _dataset(objective: Objective, names, best: Peak, sides, shifts) -> xr.Dataset:
    coordinates = objective.coordinates
    most = max(len(side.points) for side in sides.values())
    k = len(coordinates.names)
    path = np.full((len(names), 2, most, k), np.nan)
    density = np.full((len(names), 2, most), np.nan)
    columns: dict[str, list] = {}
    for row, name in enumerate(names):
        index = coordinates.names.index(name)
        pair = [sides[name, direction] for direction in (-1, 1)]
        ends = [side.end for side in pair]
        width = abs(np.nansum([abs(end - best.x[index]) for end in ends]))
        for column, (label, side) in enumerate(zip(SIDES, pair, strict=True)):
            path[row, column, : len(side.points)] = coordinates.natural(np.stack([point.x for point in side.points]))
            density[row, column, : len(side.points)] = [point.score.value for point in side.points]
            last = side.points[-1]
            shift = shifts.get((name, (-1, 1)[column]), np.nan)
            columns.setdefault(label, []).append(_natural(coordinates, index, side.end))
            columns.setdefault(f"verdict_{label}", []).append(_verdict(side))
            columns.setdefault(f"reached_{label}", []).append(_natural(coordinates, index, last.x[index]))
            columns.setdefault(f"fallen_{label}", []).append(float(best.score.value - last.score.value))
            columns.setdefault(f"certificate_{label}", []).append(shift / width if width else np.nan)
    found = xr.Dataset(
        {
            "value": ("parameter", coordinates.natural(best.x)[[coordinates.names.index(name) for name in names]]),
            **{key: ("parameter", values) for key, values in columns.items()},
            "path": (("parameter", "side", "point", "other"), path),
            "path_log_density": (("parameter", "side", "point"), density),
        },
        coords={
            "parameter": list(names),
            "side": list(SIDES),
            "other": list(coordinates.names),
            "point": np.arange(most),
        },
    )
    own = [path[row, ..., coordinates.names.index(name)] for row, name in enumerate(names)]
    found["path_value"] = (("parameter", "side", "point"), np.stack(own))
    both = np.stack([found.certificate_lower.values, found.certificate_upper.values])
    largest = np.where(np.all(np.isnan(both), axis=0), np.nan, np.max(np.nan_to_num(both), axis=0))
    return found.assign(
        certificate=("parameter", largest),
        relation=("parameter", [relations(coordinates, name, [sides[name, way] for way in (-1, 1)]) for name in names]),
    )


def _natural(coordinates, index: int, x: float) -> float:
    return float(np.exp(x)) if coordinates.logarithmic[index] else float(x)


def _verdict(side: Side) -> str:
    return "several optima" if side.verdict == "bounded" and side.several else side.verdict
