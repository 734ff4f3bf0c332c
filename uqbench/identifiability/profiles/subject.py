"""How a quantity is followed from the best fit, where its sides end, and with which verdict."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float

from ...optimization.ascent import Box, Peak
from ...optimization.coordinates import Coordinates
from ...optimization.objective import Score
from .path import FLAT, WIDE, Point, Side, predicted
from .steering import LEAST, SHARE, SteeredScore, Steering, Value, score_at, steered

# Where phi stays so many delta behind what it is steered to and no bound is met, the quantity has an extreme.
BEHIND = 10.0
# What a parameter at the end of its range would still add, per unit of steps, in log density.
PUSHED = 1e-3
# c is followed as many times as far as phi could change at most if it were linear in the parameters.
FARTHER = 2.0


class Subject(NamedTuple):
    """A quantity to be followed.

    Args:
        name: of it.
        coordinates: of the parameters.
        steering: how.
        box: of x, as far as parameters are followed, and of c.
        best: the best fit `(k + 1,)`, where c is phi of the quantity.
        reach: how far c is followed.
    """

    name: str
    coordinates: Coordinates
    steering: Steering
    box: Box
    best: Point
    reach: float

    @classmethod
    def of(cls, name: str, coordinates: Coordinates, best: Peak, found: Sequence[Value]) -> "Subject":
        """That of a quantity whose values are `found` at the best fit and then elsewhere.

        Where all of them have one sign, steps are taken in the logarithm of their size.
        """
        lower, upper = coordinates.range_around(best.x)
        values = np.array([each.value for each in found if np.isfinite(each.value)])
        sign = int(np.sign(values[0])) if np.all(values * np.sign(values[0]) > 0) else 0
        gradient = found[0].gradient * Steering(sign, 1.0).slope(found[0].value)
        moved = gradient * coordinates.scale
        unit = 1.0 if sign else float(np.linalg.norm(moved))
        error = standard_error(best.score.root * coordinates.scale, moved)
        steering = Steering(sign, min(LEAST * unit, SHARE * error))
        box = Box(
            np.append(lower, -np.inf),
            np.append(upper, np.inf),
            np.ones(len(lower) + 1, bool),
            np.append(coordinates.scale, unit),
        )
        x = np.append(best.x, steering.phi(found[0].value))
        start = Point(x, cast(Score, steered(best.score, found[0], x, steering, box)), 0.0)
        reach = FARTHER * float(np.abs(gradient) @ np.maximum(upper - best.x, best.x - lower))
        return cls(name, coordinates, steering, box, start, reach)

    def known(self, x: Float[np.ndarray, " k"], score: Score, found: Value) -> Point:
        """Another point that is known, c being phi there."""
        there = np.append(x, self.steering.phi(found.value))
        return self.best.to(there, cast(Score, steered(score, found, there, self.steering, self.box)))

    def end(self, side: Side, direction: int, target: float) -> tuple[Point, float, float]:
        """The point closest to where r has its target; phi there, to first order, and the slope of r."""
        point = side.closest
        slope = -direction * score_at(point).rise / point.r
        return point, score_at(point).phi + direction * (target - point.r) / slope, slope

    def verdict(self, side: Side) -> str:
        """That of a side; c may have gone on where the quantity could not."""
        last = side.points[-1]
        if side.verdict == "bounded":
            # by how far parameters are followed, not by the data
            if self._at_the_end(last):
                return "open"
            return "several optima" if side.several else "bounded"
        if side.verdict not in ("open", "flat"):
            return side.verdict
        moved = abs(score_at(last).phi - score_at(self.best).phi)
        if max(point.r for point in side.points) < FLAT and moved > WIDE * self.box.scale[-1]:
            return "flat"
        x = last.x[:-1]
        if np.any((x <= self.coordinates.lower) | (x >= self.coordinates.upper)):
            return "open at the bound"
        behind = abs(score_at(last).phi - last.x[-1]) / self.steering.delta
        return "open" if behind < BEHIND or self._at_the_end(last) else "extreme"

    def _at_the_end(self, point: Point) -> bool:
        """Whether a parameter is as far as it is followed, though its prior goes on and the quantity would follow."""
        x, box = point.x[:-1], self.box
        push = point.score.gradient[:-1] * self.coordinates.scale
        below = (x <= box.lower[:-1]) & (box.lower[:-1] > self.coordinates.lower) & (push < -PUSHED)
        above = (x >= box.upper[:-1]) & (box.upper[:-1] < self.coordinates.upper) & (push > PUSHED)
        return bool(np.any(below | above))

    def moved(self, again: SteeredScore, side: Side, direction: int, target: float, top: float) -> float:
        """By how much an end moves in phi, where at its point another score was found, and `top` at the best fit.

        A step of the parameters adds what it is predicted to, and the slope of r says how far the end is from there.
        """
        point, end, slope = self.end(side, direction, target)
        if not np.isfinite(again.value):
            return np.inf
        held = np.arange(len(point.x)) == side.index
        step = (predicted(point.x, cast(Score, again), self.box, np.zeros_like(point.x), held) - point.x)[:-1]
        row = again.root[-1, :-1] * self.steering.delta
        # what the step adds to L alone
        gradient = again.gradient[:-1] + row * again.rise
        change = again.root[:-1, :-1] @ step
        density = again.density + gradient @ step - 0.5 * change @ change
        r = np.sqrt(max(2.0 * (top - density), 0.0))
        return float(abs(again.phi + row @ step + direction * (target - r) / slope - end))


def standard_error(root: Float[np.ndarray, "k k"], gradient: Float[np.ndarray, " k"]) -> float:
    """That of a linear function of the parameters, by a root of their information; infinite where this says nothing
    of it."""
    _, values, right = np.linalg.svd(root)
    parts = right @ gradient
    known = values > 1e-12 * values[0]
    if np.any(np.abs(parts[~known]) > 1e-8 * np.linalg.norm(gradient)):
        return np.inf
    return float(np.linalg.norm(parts[known] / values[known]))
