"""What a profile is of: a parameter, or a function of the parameters."""

from collections.abc import Generator, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from ...optimization.coordinates import Coordinates
from ...optimization.objective import Score, Target
from .path import Point, Side, Task

Search = Generator[Float[np.ndarray, " k"], Score, Side]


class Subject(Protocol):
    """How something is followed. Its paths are in coordinates of its own, of which one is held: its position.

    A side is known by its direction, -1 or +1.
    """

    @property
    def name(self) -> str: ...

    @property
    def coordinates(self) -> Coordinates:
        """Of the parameters."""
        ...

    @property
    def best(self) -> Point:
        """The best fit."""
        ...

    def task(self, direction: int, known: Sequence[Point], target: float, slack: float) -> Task:
        """What a side is followed from; `known` are other points."""
        ...

    def asking(self, search: Search) -> Generator[Any, Any, Side]:
        """The search, asking for what the subjects' common evaluation answers."""
        ...

    def points(self, xs: Sequence[Float[np.ndarray, " k"]], scores: Sequence[Score]) -> list[Point]:
        """The points at these parameters, the scores of the data there being known."""
        ...

    def parameters(self, point: Point) -> tuple[Float[np.ndarray, " k"], Score]:
        """Where a point is, and the score of the data there."""
        ...

    def position(self, point: Point) -> float:
        """Of the subject."""
        ...

    def natural(self, position: float) -> float:
        """Its value there, in units."""
        ...

    def end(self, side: Side, direction: int, target: float) -> float:
        """The position where r has its target, not a number where it has not."""
        ...

    def verdict(self, side: Side) -> str:
        """That of a side."""
        ...

    def moved(self, finer: Target, score: Score, side: Side, direction: int, target: float, top: float) -> float:
        """By how much an end moves where the closest point has another score, and the best fit the density `top`."""
        ...
