"""One side of a profile: the best log density with a parameter held, followed until it has fallen far enough.

Along the path r = sqrt(2 (L(best) - L)) is the signed root of the likelihood ratio: nearly linear in the parameter
where this is well known, so that few points reach the end. The next point begins where the tangent leads (how the other
parameters answer to first order), an ascent corrects it, and its gradient gives the slope of r for the next step and
for Newton's method at the end.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ...optimization.ascent import MOST, Box, Peak, ascend, predicted_gain
from ...optimization.objective import Score
from ...optimization.rounds import Stopped

# Steps aim at this change of r and grow by no more than a factor; one that changed r by more than AGAIN is halved.
ADVANCE, GROWTH, AGAIN = 0.5, 2.5, 1.0
# r at an end differs from its target by no more.
CLOSE = 1e-3
# What ascents along the path and at its end may leave, in log density.
ON_THE_WAY, AT_THE_END = 1e-4, 1e-6
# A higher point than the best by so much is another optimum; below FLAT a whole side says nothing.
HIGHER, FLAT = 0.01, 0.1
# Points of a side, and halvings of a step behind which the model cannot be solved.
MOST_POINTS, MOST_HALVINGS = 100, 8
# How often a side may go on from another branch.
MOST_CHANGES = 5
# Ascents on the way are short: a path whose others are far away is followed in smaller steps instead. A side that needs
# more scores in all is along the edge of what can be solved, and every further step would be as short.
MOST_SCORES, MOST_OF_A_SIDE = 60, 800
# A side is flat only if it was followed as far, in units of `scale`.
WIDE = 1.0
# Of the largest singular value, or of the largest curvature: what is less tells nothing of where a tangent leads.
TOLD = 1e-6
# What is as close to the limit, in units of `scale`, is at it; and to where the model cannot be solved.
AT_LIMIT, EDGE = 1e-9, 1e-3


class Point(NamedTuple):
    """A point of a path: x `(k,)`, the score there and r; and the curvature that ascents have found to be missing."""

    x: Float[np.ndarray, " k"]
    score: Score
    r: float
    missing: Float[np.ndarray, "k k"] | None = None

    def to(self, x: Float[np.ndarray, " k"], score: Score, missing=None) -> "Point":
        """Another point, with its r if this one is the best fit."""
        return Point(x, score, float(np.sqrt(max(2.0 * (self.score.density - score.density), 0.0))), missing)


@dataclass
class Side:
    """One side of a profile.

    Args:
        index: which coordinate is held.
        points: from the best fit outwards, in the order of the coordinate.
        verdict: "bounded"; "open at the bound" of the prior, or "open" as far as it was followed; "flat" where it is
            open and nothing changes; "better fit" where a point is higher than the best; "unsolved" where the model
            cannot be solved further out; "unresolved" where r jumps over its target, which no likelihood does that is
            followed rightly; "stopped" at the end of what it may cost.
        end: the coordinate where r has its target; not a number where it is not bounded.
        slope: of r there.
        several: whether the path changed to another optimum.
        scores: evaluations.
    """

    index: int
    points: list[Point] = field(default_factory=list)
    verdict: str = ""
    end: float = np.nan
    slope: float = np.nan
    several: bool = False
    scores: int = 0

    @property
    def closest(self) -> Point:
        """The point closest to the end."""
        return min(self.points, key=lambda point: abs(point.x[self.index] - self.end))


@dataclass(frozen=True)
class Task:
    """What a side is followed from, and how far.

    Args:
        best: the best fit.
        index, direction: the coordinate, and +1 or -1.
        limit: how far it is followed; `bound` says whether the prior ends there.
        target: of r.
        box: of the ascents.
        others: other points that are known, most of them optima: from them the ends are looked at once more, and where
            one beyond an end is above the target, too, the side goes on from there.
        slack: by how much values of the log density err.
    """

    best: Point
    index: int
    direction: int
    limit: float
    bound: bool
    target: float
    box: Box
    others: Sequence[Point]
    slack: float


def follow(
    task: Task, side: Side | None = None, start: Float[np.ndarray, " k"] | None = None
) -> Generator[Float[np.ndarray, " k"], Score, Side]:
    """A search for `in_rounds` that returns the `Side`.

    Args:
        side: one that has an end, to go on with from `start` if that is higher than its end, or beyond it.
    """
    if side is None or start is None:
        side = Side(task.index, [task.best])
        search = _followed(task, side, task.best, _first_step(task))
    else:
        search = _resumed(task, side, start)
    try:
        x = next(search)
        while side.scores < MOST_OF_A_SIDE:
            score = yield x
            side.scores += 1
            x = search.send(score)
        side.verdict = "stopped"
    except StopIteration:
        pass
    except Stopped:
        side.verdict = "stopped"
    side.points.sort(key=lambda point: task.direction * point.x[task.index])
    return side


def _resumed(task: Task, side: Side, start: Float[np.ndarray, " k"]):
    """On from a point that is above the target where the side has its end, or beyond; else nothing changes."""
    peak = yield from _climbed(task, start, ON_THE_WAY, 0.5, MOST_SCORES, side.closest.missing)
    there = _point(task, peak)
    if peak.verdict == "failed" or (task.target**2 - there.r**2) / 2 < HIGHER:
        return
    side.points = [point for point in side.points if point.r < task.target] + [there]
    side.verdict, side.end, side.slope, side.several = "stopped", np.nan, np.nan, True
    if there.score.density > task.best.score.density + HIGHER:
        side.verdict = "better fit"
        return
    slope, unit = _slope(there, task), task.box.scale[task.index]
    yield from _followed(task, side, there, min(ADVANCE / slope, unit) if slope > 0 else unit)


def _followed(task: Task, side: Side, here: Point, step: float):
    looked, changes, rising = False, 0, False
    while True:
        room = task.direction * (task.limit - here.x[task.index])
        if room <= AT_LIMIT * task.box.scale[task.index]:
            side.verdict = _open(task, side)
            return
        if len(side.points) > MOST_POINTS:
            side.verdict = "stopped"
            return
        there, step, edge = yield from _next(task, here, min(step, room))
        if there is None:
            side.verdict = "unsolved"
            return
        if there.r >= task.target:
            # beyond the end it must be where it seems: what an ascent on the way has left may be another branch
            there = (yield from _tightened(task, there)) or there
        was_rising, rising = rising, _slope(there, task) < 0 and there.r > FLAT
        if rising and not was_rising:
            there = yield from _behind(task, there)
        if there.score.density > task.best.score.density + HIGHER:
            side.points.append(there)
            side.verdict = "better fit"
            return
        if there.r >= task.target:
            end, gain = yield from _end(task, side, here, there)
            if abs(end.r - task.target) > 10 * CLOSE or gain > ON_THE_WAY:
                # a point outside that was on a lower branch than those inside: on from the last of these
                changes += 1
                if changes > MOST_CHANGES or not end.r < task.target:
                    side.verdict = "unresolved"
                    return
                side.several, here = True, end
                continue
            higher = _beyond(task, end)
            if higher is None and not looked:
                higher = yield from _higher(task, end)
            if higher is None:
                side.verdict, (side.end, side.slope) = "bounded", _newton(task, end)
                return
            looked = True
            side.several, there = True, higher
            side.points = [point for point in side.points if point.r < task.target]
        side.points.append(there)
        if edge < EDGE * task.box.scale[task.index]:
            side.verdict = "unsolved"
            return
        step, here = _next_step(here, there, step, task), there


def _first_step(task: Task) -> float:
    """That of a quadratic log density, in which r is the distance over the standard error."""
    root, k = task.best.score.root, task.index
    others = np.delete(root, k, axis=1)
    own = root[:, k] - others @ np.linalg.lstsq(others, root[:, k], rcond=1e-10)[0] if others.size else root[:, k]
    information = np.linalg.norm(own)
    unit = task.box.scale[k]
    return min(ADVANCE / information, unit) if information * unit > ADVANCE else unit


def _next_step(here: Point, there: Point, step: float, task: Task) -> float:
    slope = _slope(there, task)
    aimed = ADVANCE / slope if slope > 0 else np.inf
    if there.r + ADVANCE > task.target and slope > 0:
        # a little beyond the end, so that it lies between two points
        aimed = 1.1 * (task.target - there.r) / slope
    return float(np.clip(aimed, 0.1 * step, GROWTH * step))


def _slope(point: Point, task: Task) -> float:
    """dr by the distance from the best: the profile's gradient is that of the log density at the held parameter."""
    return -task.direction * point.score.along(task.index) / point.r if point.r > 0 else 0.0


def _next(task: Task, here: Point, step: float):
    """The next point, the step that led there, and how far beyond it the model could not be solved; no point where it
    can be solved nowhere near."""
    failed, there = np.inf, None
    for _ in range(MOST_HALVINGS):
        start = _predicted(task, here, step)
        peak = yield from _climbed(task, start, ON_THE_WAY, 0.5, MOST_SCORES, here.missing)
        if peak.verdict == "failed":
            failed = step
        else:
            there = _point(task, peak)
            if there.r - here.r <= AGAIN or here.r + AGAIN > task.target:
                break
        step *= 0.5
    else:
        step *= 2.0
    return (None if peak.verdict == "failed" else there), step, failed - step


def _predicted(task: Task, here: Point, step: float) -> np.ndarray:
    move = np.zeros_like(here.x)
    move[task.index] = task.direction * step
    return predicted(here.x, here.score, task.box, move, np.arange(len(move)) == task.index, here.missing)


def predicted(
    x: Float[np.ndarray, " k"],
    score: Score,
    box: Box,
    move: Float[np.ndarray, " k"],
    held: Bool[np.ndarray, " k"],
    missing: Float[np.ndarray, "k k"] | None = None,
) -> Float[np.ndarray, " k"]:
    """Where the tangent leads from x when the `held` coordinates `move`, the others staying within their bounds.

    Args:
        missing: curvature beside that of the score.
    """
    others = np.flatnonzero(~held & (x > box.lower) & (x < box.upper))
    change = np.array(move)
    if len(others):
        unit, target = box.scale[others], score.target - score.root @ move
        scaled = score.root[:, others] * unit
        if missing is None:
            answer = np.linalg.lstsq(scaled, target, rcond=TOLD)[0]
        else:
            values, vectors = np.linalg.eigh(scaled.T @ scaled + missing[np.ix_(others, others)] * np.outer(unit, unit))
            told = values > TOLD * values[-1]
            pull = vectors.T @ (scaled.T @ target - unit * (missing @ move)[others])
            answer = vectors[:, told] @ (pull[told] / values[told])
        # a tangent that leads farther than the held parameter moves is not trusted
        largest = max(1.0, 2.0 * float(np.max(np.abs(move / box.scale))))
        answer = answer * min(1.0, largest / max(np.linalg.norm(answer), 1e-300))
        change[others] = answer * box.scale[others]
    return np.where(held, x + move, np.clip(x + change, box.lower, box.upper))


def _climbed(task: Task, start: np.ndarray, gain: float, radius: float, most: int = MOST, missing=None):
    """The ascent from a point with the held parameter where it is."""
    box = task.box.holding(task.index)
    return (yield from ascend(start, box, gain=gain, radius=radius, most=most, slack=task.slack, missing=missing))


def _point(task: Task, peak: Peak) -> Point:
    return task.best.to(peak.x, peak.score, peak.missing)


def _tightened(task: Task, point: Point):
    """The point once more, climbed as far as at an end; None where that fails."""
    peak = yield from _climbed(task, point.x, AT_THE_END, 0.1, MOST, point.missing)
    return _point(task, peak) if peak.verdict != "failed" else None


def _behind(task: Task, there: Point):
    """A better fit than the best to which the density rises from a point, over which the next step might lead; else the
    point."""
    if there.score.density != there.score.value:
        # what an ascent climbs is not what the profile is of
        return there
    top = _point(task, (yield from ascend(there.x, task.box, gain=ON_THE_WAY, slack=task.slack)))
    return top if top.score.value > task.best.score.value + HIGHER else there


def _end(task: Task, side: Side, inside: Point, outside: Point):
    """The point where r has its target: Newton's method on r, kept between a point inside and one outside; and what an
    ascent is predicted to gain there, which is little if it has converged."""
    inner, outer, now, gain = inside, outside, outside, np.inf
    for _ in range(12):
        if abs(now.r - task.target) <= CLOSE:
            break
        slope = _slope(now, task)
        low, high = (point.x[task.index] for point in (inner, outer))
        at = now.x[task.index] + task.direction * (task.target - now.r) / slope if slope > 0 else np.nan
        share = (at - low) / (high - low)
        if not 0.02 < share < 0.98:
            # false position, with a part of halving where a side is bent
            share = np.clip((task.target - inner.r) / max(outer.r - inner.r, 1e-12), 0.1, 0.9)
        near = inner if share < 0.5 else outer
        start = near.x + ((1 - share) if near is outer else share) * (
            (inner.x - outer.x) if near is outer else (outer.x - inner.x)
        )
        start[task.index] = low + share * (high - low)
        peak = yield from _climbed(task, start, AT_THE_END, 0.5, MOST, near.missing)
        if peak.verdict == "failed":
            break
        now, gain = _point(task, peak), peak.gain
        inner, outer = (now, outer) if now.r < task.target else (inner, now)
    else:
        now = inner
    if now is outside:
        peak = yield from _climbed(task, now.x, AT_THE_END, 0.1, MOST, now.missing)
        if peak.verdict != "failed":
            now, gain = _point(task, peak), peak.gain
    side.points.append(now)
    return now, gain


def _newton(task: Task, end: Point) -> tuple[float, float]:
    """The coordinate where r has its target, and the slope of r there, to first order from a point close by."""
    slope = _slope(end, task)
    shift = (task.target - end.r) / slope if slope > 0 else 0.0
    return float(end.x[task.index] + task.direction * shift), float(slope)


def _beyond(task: Task, end: Point) -> Point | None:
    """The nearest of the other points that is beyond the end and above the target."""
    ahead = [
        other
        for other in task.others
        if task.direction * (other.x[task.index] - end.x[task.index]) > AT_LIMIT * task.box.scale[task.index]
        and other.r < task.target
    ]
    return min(ahead, key=lambda other: abs(other.x[task.index] - end.x[task.index]), default=None)


def _higher(task: Task, end: Point):
    """A higher point with the same held parameter, from one of the other optima; None where there is none."""
    best = None
    for other in task.others:
        if other.r**2 < 2 * HIGHER:
            # as good as the best fit: it is one, or on one ridge with it
            continue
        if other.score.value + predicted_gain(other.score, other.x, task.box) < end.score.value:
            # an optimum is no lower than what is around it
            continue
        start = _predicted(task, other, task.direction * (end.x[task.index] - other.x[task.index]))
        peak = yield from _climbed(task, start, ON_THE_WAY, 1.0, MOST_SCORES)
        if (
            peak.verdict != "failed"
            and peak.score.value > max(end.score.value, best.score.value if best else -np.inf) + HIGHER
        ):
            best = peak
    return None if best is None else _point(task, best)


def _open(task: Task, side: Side) -> str:
    followed = abs(task.limit - task.best.x[task.index]) / task.box.scale[task.index]
    if max(point.r for point in side.points) < FLAT and followed > WIDE:
        return "flat"
    return "open at the bound" if task.bound else "open"
