"""Ends of profiles looked at once more, from what the other profiles have seen.

A profile is followed from the best fit. Where the likelihood has several ridges another side may have come upon one
that is higher at this side's end, or goes on beyond it: all points of all sides are starts, and those that foretell
more are tried.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from ...optimization.objective import Score
from .path import AT_LIMIT, HIGHER, Point, Side, Task, predicted

# How many other points a side gets from the beginning.
OTHERS = 3


def others_for(known: Sequence[Point], index: int, direction: int, target: float) -> list[Point]:
    """Of other points those that a side gets: its farthest above the target, and the highest."""
    # a place from where the data are hardly less probable, or a different optimum altogether
    highest_first = sorted((point for point in known if np.isfinite(point.score.value)), key=lambda point: point.r)
    above = [point for point in highest_first if point.r < target]
    farthest = sorted(above, key=lambda point: -direction * point.x[index])[:1]
    return [*farthest, *(point for point in highest_first if all(point is not each for each in farthest))][:OTHERS]


def starts_beyond[Key: tuple[str, int]](
    tasks: Mapping[Key, Task], sides: Mapping[Key, Side], seen: Mapping[str, Sequence[Point]]
) -> dict[Key, Float[np.ndarray, " k"]]:
    """From where sides may go on, by the key of the side; of all that have an end.

    Args:
        tasks, sides: by the same keys, of which the first is the name of what is profiled.
        seen: name -> points of all sides, in its coordinates.
    """
    found = {}
    for key, side in sides.items():
        if np.isfinite(side.end):
            start = _start(tasks[key], side, [point for point in seen[key[0]] if np.isfinite(point.score.value)])
            if start is not None:
                found[key] = start
    return found


def _start(task: Task, side: Side, seen: Sequence[Point]) -> Float[np.ndarray, " k"] | None:
    """The nearest point above the target that lies beyond the end; else where the point leads that foretells most."""
    k, allowed = task.index, AT_LIMIT * task.box.scale[task.index]
    ahead = [
        point
        for point in seen
        if task.direction * (point.x[k] - side.end) > allowed and (task.target**2 - point.r**2) / 2 > HIGHER
    ]
    if ahead:
        return min(ahead, key=lambda point: abs(point.x[k] - side.end)).x
    most, chosen = side.closest.score.value + HIGHER + task.slack, None
    held = np.arange(len(task.box.scale)) == k
    for point in seen:
        start = predicted(point.x, point.score, task.box, np.where(held, side.end - point.x[k], 0.0), held)
        if (value := foretold(point.x, point.score, start)) > most:
            most, chosen = value, start
    return chosen


def foretold(at: Float[np.ndarray, " k"], score: Score, x: Float[np.ndarray, " k"]) -> float:
    """The log density at x to second order, from the score at another point."""
    step = x - at
    change = score.root @ step
    return float(score.value + score.gradient @ step - 0.5 * change @ change)
