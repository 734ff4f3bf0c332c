"""Ascent of a log density within bounds, in a trust region, from the expected information and what steps add to it.

The expected (Fisher) information is the curvature of a log density but for terms that vanish with the residuals: where
noise is normal it makes steps those of Gauss and Newton. What is missing is gathered from the gradients along the way,
as in Dennis, Gay & Welsch 1981 (doi:10.1145/355958.355965), by symmetric rank-one updates; of the two models, with it
and without, the one that foretold the last step better makes the next. Steps stay in a ball, and parameters that would
leave their bounds are held there.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from .objective import Score
from .rounds import Stopped

# A step that is predicted to gain no more, in log density, is not made.
GAIN = 1e-6
# Radii in units of `scale`: the first, the largest, and one at which a search has stalled.
FIRST, LARGEST, SMALLEST = 1.0, 4.0, 1e-8
# By how much the values of a log density err, if nothing else is known.
SLACK = 1e-6
# How often the radius is made larger again where little is to be gained within it.
DOUBTS = 8
# Scores that a search may take.
MOST = 300
# An update whose denominator is a smaller part of what it could be is left out (Conn, Gould & Toint 1991).
DEFINITE = 1e-8

Search = Generator[Float[np.ndarray, " k"], Score, "Peak"]

NOWHERE = Score(-np.inf, np.zeros(0), np.zeros(0), np.zeros((0, 0)))


class Peak(NamedTuple):
    """Where an ascent ended.

    Args:
        x: `(k,)`.
        score: there.
        verdict: "converged"; "stalled" where steps that should gain do not, as at the edge of what can be solved;
            "stopped" after `MOST` scores or from outside; "failed" where it could not start.
        gain: that a further step is predicted to bring.
        scores: how many it took.
        missing: curvature that the steps have added to the expected information, `(k, k)`; what the last of them was
            predicted by, None where the information alone foretold it better.
    """

    x: Float[np.ndarray, " k"]
    score: Score
    verdict: str
    gain: float
    scores: int
    missing: Float[np.ndarray, "k k"] | None = None


@dataclass(frozen=True)
class Box:
    """Where an ascent may go: `lower` and `upper` bounds, which coordinates are `free`, and the unit of steps."""

    lower: Float[np.ndarray, " k"]
    upper: Float[np.ndarray, " k"]
    free: Bool[np.ndarray, " k"]
    scale: Float[np.ndarray, " k"]

    def holding(self, index: int) -> "Box":
        """The same with one more coordinate held."""
        free = self.free.copy()
        free[index] = False
        return replace(self, free=free)


def ascend(
    x: Float[np.ndarray, " k"],
    box: Box,
    *,
    gain: float = GAIN,
    radius: float = FIRST,
    most: int = MOST,
    slack: float = SLACK,
    missing: Float[np.ndarray, "k k"] | None = None,
) -> Search:
    """A search for `in_rounds` that climbs from x and returns a `Peak`.

    Args:
        gain: it ends where a step is predicted to gain no more.
        slack: by how much values may err against one another.
        missing: that of an ascent close by.
    """
    scale, augmented = box.scale, missing is not None
    if missing is None:
        missing = np.zeros((len(x), len(x)))

    def ended(verdict: str) -> Peak:
        return Peak(x, score, verdict, predicted, count, missing if augmented else None)

    try:
        score, count, doubts = (yield x), 1, 0
    except Stopped:
        return Peak(x, NOWHERE, "stopped", np.inf, 0)
    if not np.isfinite(score.value):
        return Peak(x, score, "failed", np.inf, count)
    while True:
        step, predicted = _step(x, score, missing if augmented else None, box, radius)
        if count == 1 and augmented and predicted <= gain:
            # a curvature from elsewhere ends no ascent by itself
            step, predicted = _step(x, score, None, box, radius)
        while predicted <= gain:
            if radius >= FIRST:
                return ended("converged")
            # the radius may be short because a model was wrong once: what does it say of longer steps?
            doubts += 1
            radius = FIRST if doubts > DOUBTS else min(10.0 * radius, FIRST)
            step, predicted = _step(x, score, missing if augmented else None, box, radius)
            if doubts > DOUBTS and predicted > gain:
                return ended("stalled")
        if radius < SMALLEST or count >= most:
            return ended("stalled" if radius < SMALLEST else "stopped")
        there = np.clip(x + step, box.lower, box.upper)
        try:
            tried, count = (yield there), count + 1
        except Stopped:
            return ended("stopped")
        length = float(np.linalg.norm((there - x) / scale))
        ratio = -np.inf
        if np.isfinite(tried.value):
            rise = tried.value - score.value
            if abs(rise) < slack and predicted < slack:
                # values err by more than they differ: the gradients at both ends tell, which vanish at one point
                rise = float(0.5 * (score.gradient + tried.gradient) @ (there - x))
            ratio = rise / predicted if predicted > 0 else -np.inf
            augmented = abs(rise - _rise(score, missing, step)) < abs(rise - _rise(score, None, step))
            missing = _updated(missing, score, tried, there - x, scale)
        if ratio < 0.25:
            radius = 0.25 * min(radius, length) if ratio < 0 else 0.5 * min(radius, length)
        elif ratio > 0.75 and length > 0.8 * radius:
            radius = min(2.0 * radius, LARGEST)
        if ratio > 1e-4:
            x, score = there, tried


def predicted_gain(score: Score, x: Float[np.ndarray, " k"], box: Box) -> float:
    """What a step from x is predicted to gain."""
    return _step(x, score, None, box, FIRST)[1]


def _rise(score: Score, missing: np.ndarray | None, step: np.ndarray) -> float:
    """What the quadratic model says of a step."""
    change = score.root @ step
    bent = 0.0 if missing is None else step @ missing @ step
    return float(score.gradient @ step - 0.5 * (change @ change + bent))


def _updated(missing: np.ndarray, score: Score, tried: Score, step: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The missing curvature after a step, which now explains how the gradient changed along it."""
    # in units of the step's own scale, in which lengths mean something
    s = step / scale
    seen = (score.gradient - tried.gradient - tried.root.T @ (tried.root @ step)) * scale
    own = missing * np.outer(scale, scale)
    bent = s @ own @ s
    if bent:
        # what was gathered far away is made no larger than what is seen now
        own = own * min(1.0, abs(s @ seen) / abs(bent))
    rest = seen - own @ s
    along = rest @ s
    if abs(along) > DEFINITE * np.linalg.norm(rest) * np.linalg.norm(s):
        own = own + np.outer(rest, rest) / along
    return own / np.outer(scale, scale)


def _step(x, score: Score, missing: np.ndarray | None, box: Box, radius: float) -> tuple[np.ndarray, float]:
    """The step within the radius and the bounds, and the gain that the model predicts for it."""
    down, up = box.lower - x, box.upper - x
    held = ~box.free | ((down >= 0) & (score.gradient < 0)) | ((up <= 0) & (score.gradient > 0))
    step = np.zeros_like(x)
    for _ in range(len(x)):
        moving = ~held
        room = np.sqrt(max(radius**2 - np.sum((step / box.scale)[held] ** 2), 0.0))
        if not moving.any() or not room:
            break
        unit = box.scale[moving]
        if missing is None and not np.linalg.norm((score.beyond * box.scale)[moving]) * radius > GAIN:
            target = score.target - score.root @ np.where(held, step, 0.0)
            found = within_of_root(score.root[:, moving] * unit, target, room)
        else:
            curvature = score.root.T @ score.root + (0.0 if missing is None else missing)
            gradient = score.gradient - curvature @ np.where(held, step, 0.0)
            found = within(curvature[np.ix_(moving, moving)] * np.outer(unit, unit), gradient[moving] * unit, room)
        step[moving] = unit * found
        beyond = moving & ((step < down) | (step > up))
        if not beyond.any():
            break
        # the bound that is met first is kept to, and the others move anew: all at once would end in a corner
        way = np.full_like(x, np.inf)
        way[beyond] = (np.where(step < down, down, up) / np.where(beyond, step, 1.0))[beyond]
        first = way <= np.min(way)
        step = np.where(first, np.clip(step, down, up), step)
        held = held | first
    step = np.clip(step, down, up)
    steepest = _steepest(score, missing, box, (down, up), radius)
    return max(((each, _rise(score, missing, each)) for each in (step, steepest)), key=lambda pair: pair[1])


def _steepest(score: Score, missing: np.ndarray | None, box: Box, room: tuple[np.ndarray, np.ndarray], radius: float):
    """The best step along the gradient within the radius, up to the first bound: wherever there is something to gain
    to first order, it gains."""
    down, up = room
    uphill = np.where(box.free, score.gradient * box.scale**2, 0.0)
    uphill = np.where((uphill < 0) & (down >= 0) | (uphill > 0) & (up <= 0), 0.0, uphill)
    if not np.any(uphill):
        return uphill
    ends = np.where(uphill < 0, down, up)[uphill != 0] / uphill[uphill != 0]
    most = min(float(np.min(ends)), radius / float(np.linalg.norm(uphill / box.scale)))
    slope = float(score.gradient @ uphill)
    # a quadratic along the way: slope t - bend t^2 / 2
    bend = 2.0 * (slope - _rise(score, missing, uphill))
    return uphill * (min(most, slope / bend) if bend > 0 else most)


def within_of_root(root: np.ndarray, target: np.ndarray, radius: float) -> np.ndarray:
    """s with |s| <= radius that brings `root` s closest to the target, without squaring what it is the root of."""
    left, values, right = np.linalg.svd(root, full_matrices=False)
    told = values > 1e-14 * values[0]
    gradient = values * (left.T @ target)
    return right[told].T @ _in_ball(values[told] ** 2, gradient[told], radius)


def within(curvature: np.ndarray, gradient: np.ndarray, radius: float) -> np.ndarray:
    """s with |s| <= radius that maximises g's - s'Cs/2, C of any sign."""
    values, vectors = np.linalg.eigh(curvature)
    return vectors @ _in_ball(values, vectors.T @ gradient, radius)


def _in_ball(values: np.ndarray, gradient: np.ndarray, radius: float) -> np.ndarray:
    """The same along eigenvectors, by bisection of the logarithm of the multiplier."""
    if not np.any(gradient):
        return np.zeros_like(gradient)
    least = max(0.0, -float(np.min(values)))
    if least == 0 and np.all(values > 0) and np.linalg.norm(gradient / values) <= radius:
        return gradient / values
    # at the upper end the step is shorter than the radius, whatever the curvature
    low, high = np.log(1e-16 * np.linalg.norm(gradient) / radius), np.log(np.linalg.norm(gradient) / radius + 2 * least)
    for _ in range(60):
        middle = 0.5 * (low + high)
        length = np.linalg.norm(gradient / (values + least + np.exp(middle)))
        if 0.95 * radius <= length <= radius:
            break
        low, high = (middle, high) if length > radius else (low, middle)
    return gradient / (values + least + np.exp(middle))
