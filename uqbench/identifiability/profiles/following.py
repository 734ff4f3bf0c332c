"""All sides of all profiles, followed side by side from the best fit, and again from a better one if they find it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from ...annotations import Values
from ...optimization.ascent import predicted_gain
from ...optimization.best_fit import BY_HAND, FINER, everywhere
from ...optimization.objective import TOGETHER, Objective, finer_objective_of
from ...optimization.rounds import in_rounds
from ...progress import progress
from ...study import Study
from .beginning import best_near, peak_from, start_at, with_curvature
from .crosscheck import starts_beyond
from .path import Point, Side, Task, follow
from .subject import Subject

# How often a better fit that a profile finds becomes the best, from where all begins again.
BETTER = 3
# How often ends are looked at once more from the points of all sides.
SWEEPS = 3
DIRECTIONS = {"lower": -1, "upper": 1}

# A side by the name of its subject and its direction.
Key = tuple[str, int]
Sides = dict[Key, Side]


@dataclass
class Profiles[S: Subject]:
    """What was found.

    Args:
        subjects: what was profiled, from the best fit.
        sides: of each.
        target: of r at the ends.
        shifts: by how much finer solves move each end, as a position; 0 where none are finer.
        scores: evaluations.
        better: by how much the best fit is better than what was given.
        stopped: why sides were stopped, "" where all have ended.
    """

    subjects: list[S]
    sides: Sides
    target: float
    shifts: dict[Key, float]
    scores: int
    better: float
    stopped: str


def profiles[S: Subject](
    study: Study,
    objective: Objective,
    theta_hat: Values | xr.Dataset,
    begun: Callable[..., list[S]],
    evaluate: Callable[[Float[np.ndarray, "n k"]], Sequence],
    target: float,
    budget: float,
) -> Profiles[S]:
    """Profiles from the best fit near the given one.

    Args:
        begun: best fit (a `Peak`) -> subjects to be followed from there.
        evaluate: what the searches of subjects ask for.
        target: of r at the ends.
        budget: seconds.

    Raises:
        InputError: a model that cannot be solved at `theta_hat`.
    """
    until = time.monotonic() + budget
    given = objective(start_at(study, objective, theta_hat)[None])[0].value
    best, others = best_near(study, objective, theta_hat)
    scores = 0
    for _ in range(BETTER + 1):
        best = with_curvature(objective, best)
        subjects = begun(best)
        sides, stopped = _followed(objective, subjects, others, evaluate, target, until)
        scores += len(best.x) + sum(side.scores for side in sides.values())
        if stopped or not any(side.verdict == "better fit" for side in sides.values()):
            break
        seen = [subject.parameters(point) for subject in subjects for point in _points(subject, sides)]
        # what was the best is another optimum now
        others, best = [*others, best.x], peak_from(objective, max(seen, key=lambda each: each[1].value)[0])
    try:
        shifts = _shifts(finer_objective_of(study, objective.prior, FINER), subjects, sides, target)
    except KeyboardInterrupt:
        shifts, stopped = {}, BY_HAND
    return Profiles(subjects, sides, target, shifts, scores, float(best.score.value - given), stopped)


def _points(subject: Subject, sides: Mapping[Key, Side]) -> list[Point]:
    return [point for direction in DIRECTIONS.values() for point in sides[subject.name, direction].points]


def _followed(
    objective: Objective, subjects: Sequence[Subject], others: Sequence[np.ndarray], evaluate, target: float, until
) -> tuple[Sides, str]:
    """Every side, and why they were stopped."""
    known = objective(np.stack(others)) if others else []
    tasks: dict[Key, Task] = {}
    for subject in subjects:
        points = subject.points(others, known)
        for direction in DIRECTIONS.values():
            tasks[subject.name, direction] = subject.task(direction, points, target, objective.slack)
    by_name = {subject.name: subject for subject in subjects}

    def searched(searches, update=lambda count: None):
        asking = [by_name[name].asking(search) for (name, _), search in searches.items()]
        return in_rounds(asking, evaluate, TOGETHER, done=update, enough=lambda: time.monotonic() > until)

    with progress("profiles: sides", len(tasks)) as update:
        found, interrupted = searched({key: follow(task) for key, task in tasks.items()}, update)
        sides = {
            key: side or Side(task.index, [task.best], "stopped")
            for (key, task), side in zip(tasks.items(), found, strict=True)
        }
        for _ in range(SWEEPS):
            if interrupted or time.monotonic() > until:
                break
            begun, ends = starts_beyond(tasks, sides, _seen(subjects, sides)), {key: sides[key].end for key in sides}
            if not begun:
                break
            _, interrupted = searched({key: follow(tasks[key], sides[key], start) for key, start in begun.items()})
            if all(sides[key].end == ends[key] for key in begun):
                # nothing has changed that could foretell more
                break
    late = time.monotonic() > until and any(side.verdict == "stopped" for side in sides.values())
    return sides, BY_HAND if interrupted else "at the end of its budget" if late else ""


def _seen(subjects: Sequence[Subject], sides: Mapping[Key, Side]) -> dict[str, list[Point]]:
    """What all sides have seen, as points of each subject that has an end."""
    places = [subject.parameters(point) for subject in subjects for point in _points(subject, sides)]
    # the best fit is in all sides
    places = list({x.tobytes(): (x, score) for x, score in places}.values())
    xs, scores = [x for x, _ in places], [score for _, score in places]
    ended = {name for (name, _), side in sides.items() if np.isfinite(side.end)}
    return {subject.name: subject.points(xs, scores) for subject in subjects if subject.name in ended}


def _shifts(
    finer: Objective | None, subjects: Sequence[Subject], sides: Mapping[Key, Side], target: float
) -> dict[Key, float]:
    """By how much each end moves, as a position, where it is found from finer solves; 0 where there are none."""
    by_name = {subject.name: subject for subject in subjects}
    ended = {key: side for key, side in sides.items() if np.isfinite(side.end)}
    if finer is None or not ended:
        return dict.fromkeys(ended, 0.0)
    best, _ = subjects[0].parameters(subjects[0].best)
    places = [by_name[name].parameters(side.closest)[0] for (name, _), side in ended.items()]
    at_best, *scores = finer(np.stack([best, *places]))
    top, shifts = at_best.value + predicted_gain(at_best, best, everywhere(finer.coordinates)), {}
    for ((name, direction), side), score in zip(ended.items(), scores, strict=True):
        known = np.isfinite(score.value) and np.isfinite(top)
        moved = by_name[name].moved(finer.target, score, side, direction, target, top) if known else np.inf
        shifts[name, direction] = moved
    return shifts
