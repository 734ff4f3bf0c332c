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


def starts_beyond[Key](tasks: Mapping[Key, Task], sides: Mapping[Key, Side]) -> dict[Key, Float[np.ndarray, " k"]]:
    """From where sides may go on, by the key of the side; of all that have an end.

    Args:
        tasks, sides: by the same keys.
    """
    found = {}
    for key, side in sides.items():
        if np.isfinite(side.end):
            seen = [point for other, each in sides.items() if other != key for point in each.points]
            start = _start(tasks[key], side, seen)
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
    most, chosen = side.closest.score.density + HIGHER + task.slack, None
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
