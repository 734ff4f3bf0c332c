"""A quantity that is profiled: how it is followed from the best fit, where its sides end, and with which verdict."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from ...optimization.ascent import Box, Peak
from ...optimization.coordinates import Coordinates
from ...optimization.objective import Score, Target
from .crosscheck import others_for
from .path import FLAT, WIDE, Point, Side, Task, predicted
from .steering import LEAST, SHARE, Predicted, Steering, Value, score_at, searched, steered
from .subject import Search

# Where phi stays so many delta behind what it is steered to and no bound is met, the quantity has an extreme.
BEHIND = 10.0
# What a parameter at the end of its range would still add, per unit of steps, in log density.
PUSHED = 1e-3
# c is followed as many times as far as phi could change at most if it were linear in the parameters.
FARTHER = 2.0


@dataclass(frozen=True, eq=False)
class Steered:
    """A quantity that is profiled: a `Subject` whose coordinates are those of the parameters and c.

    Args:
        name: of it.
        number: by which the evaluation knows it.
        coordinates: of the parameters.
        quantity: as a function of them.
        steering: how it is steered.
        box: of x, as far as parameters are followed, and of c.
        best: the best fit `(k + 1,)`, where c is phi of the quantity.
        reach: how far c is followed.
        values: of the quantity that are known, by the bytes of x.
    """

    name: str
    number: int
    coordinates: Coordinates
    quantity: Predicted
    steering: Steering
    box: Box
    best: Point
    reach: float
    values: dict[bytes, Value] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, number: int, coordinates: Coordinates, quantity: Predicted, best: Peak, found: Sequence[Value]
    ) -> "Steered":
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
        missing = None if best.missing is None else np.pad(best.missing, (0, 1))
        start = Point(x, cast(Score, steered(best.score, found[0], x, steering, box)), 0.0, missing)
        reach = FARTHER * float(np.abs(gradient) @ np.maximum(upper - best.x, best.x - lower))
        return cls(name, number, coordinates, quantity, steering, box, start, reach)

    @property
    def index(self) -> int:
        """Of c."""
        return len(self.best.x) - 1

    def task(self, direction: int, known: Sequence[Point], target: float, slack: float) -> Task:
        limit = float(self.best.x[-1] + direction * self.reach)
        others = others_for(known, self.index, direction, target)
        return Task(self.best, self.index, direction, limit, False, target, self.box, others, slack)

    def asking(self, search: Search) -> Generator[Any, Any, Side]:
        return searched(search, self.number, self.steering, self.box)

    def points(self, xs: Sequence[Float[np.ndarray, " k"]], scores: Sequence[Score]) -> list[Point]:
        """With c being phi there."""
        unknown = [x for x in xs if x.tobytes() not in self.values]
        if unknown:
            new = self.quantity(np.stack(unknown))
            self.values.update({x.tobytes(): value for x, value in zip(unknown, new, strict=True)})
        return [self._point(x, score, self.values[x.tobytes()]) for x, score in zip(xs, scores, strict=True)]

    def _point(self, x: Float[np.ndarray, " k"], score: Score, found: Value) -> Point:
        there = np.append(x, self.steering.phi(found.value))
        return self.best.to(there, cast(Score, steered(score, found, there, self.steering, self.box)))

    def parameters(self, point: Point) -> tuple[Float[np.ndarray, " k"], Score]:
        return point.x[:-1], score_at(point).score

    def position(self, point: Point) -> float:
        return score_at(point).phi

    def natural(self, position: float) -> float:
        return self.steering.natural(position)

    def end(self, side: Side, direction: int, target: float) -> float:
        """To first order from the point closest to it."""
        point = side.closest
        return score_at(point).phi + direction * (target - point.r) / self._slope(point, direction)

    def _slope(self, point: Point, direction: int) -> float:
        """Of r by phi."""
        return -direction * score_at(point).rise / point.r

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

    def moved(self, finer: Target, score: Score, side: Side, direction: int, target: float, top: float) -> float:
        """A step of the parameters adds what it is predicted to, and the slope of r says how far the end is."""
        point, end = side.closest, self.end(side, direction, target)
        x, _ = self.parameters(point)
        found = replace(self.quantity, target=finer)(x[None])[0]
        again = steered(score, found, point.x, self.steering, self.box)
        if not np.isfinite(again.value):
            return np.inf
        held = np.arange(len(point.x)) == side.index
        step = (predicted(point.x, cast(Score, again), self.box, np.zeros_like(point.x), held) - point.x)[:-1]
        row = again.root[-1, :-1] * self.steering.delta
        # what the step adds to L alone
        change = score.root @ step
        density = score.value + score.gradient @ step - 0.5 * change @ change
        r = np.sqrt(max(2.0 * (top - density), 0.0))
        return float(abs(again.phi + row @ step + direction * (target - r) / self._slope(point, direction) - end))


def standard_error(root: Float[np.ndarray, "k k"], gradient: Float[np.ndarray, " k"]) -> float:
    """That of a linear function of the parameters, by a root of their information; infinite where this says nothing
    of it."""
    _, values, right = np.linalg.svd(root)
    parts = right @ gradient
    known = values > 1e-12 * values[0]
    if np.any(np.abs(parts[~known]) > 1e-8 * np.linalg.norm(gradient)):
        return np.inf
    return float(np.linalg.norm(parts[known] / values[known]))
