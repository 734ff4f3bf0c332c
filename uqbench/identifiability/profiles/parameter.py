"""A parameter that is profiled: one of the coordinates is held."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...optimization.ascent import Peak, predicted_gain
from ...optimization.best_fit import everywhere
from ...optimization.coordinates import Coordinates
from ...optimization.objective import Score, Target
from .crosscheck import others_for
from .path import Point, Side, Task
from .subject import Search


@dataclass(frozen=True, eq=False)
class Parameter:
    """A `Subject` whose coordinates are those of the parameters.

    Args:
        name: of it.
        coordinates: of the parameters.
        best: the best fit.
    """

    name: str
    coordinates: Coordinates
    best: Point

    @classmethod
    def of(cls, name: str, coordinates: Coordinates, best: Peak) -> "Parameter":
        return cls(name, coordinates, Point(best.x, best.score, 0.0, best.missing))

    @property
    def index(self) -> int:
        return self.coordinates.names.index(self.name)

    def task(self, direction: int, known: Sequence[Point], target: float, slack: float) -> Task:
        k, coordinates = self.index, self.coordinates
        limit = coordinates.range_around(self.best.x)[direction > 0][k]
        bound = (coordinates.upper if direction > 0 else coordinates.lower)[k]
        others = others_for(known, k, direction, target)
        return Task(self.best, k, direction, limit, limit == bound, target, everywhere(coordinates), others, slack)

    def asking(self, search: Search) -> Search:
        return search

    def points(self, xs: Sequence[Float[np.ndarray, " k"]], scores: Sequence[Score]) -> list[Point]:
        return [self.best.to(x, score) for x, score in zip(xs, scores, strict=True)]

    def parameters(self, point: Point) -> tuple[Float[np.ndarray, " k"], Score]:
        return point.x, point.score

    def position(self, point: Point) -> float:
        return float(point.x[self.index])

    def natural(self, position: float) -> float:
        return float(np.exp(position)) if self.coordinates.logarithmic[self.index] else float(position)

    def end(self, side: Side, direction: int, target: float) -> float:
        return side.end

    def verdict(self, side: Side) -> str:
        return "several optima" if side.verdict == "bounded" and side.several else side.verdict

    def moved(self, finer: Target, score: Score, side: Side, direction: int, target: float, top: float) -> float:
        """A step in the other parameters adds what it is predicted to, and the slope of r says how far the end is."""
        if not side.slope > 0:
            return np.inf
        point = side.closest
        value = score.value + predicted_gain(score, point.x, everywhere(self.coordinates).holding(side.index))
        r = np.sqrt(max(2 * (top - value), 0.0))
        return float(abs(self.position(point) + direction * (target - r) / side.slope - side.end))
