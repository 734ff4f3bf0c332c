"""Rectangles with grids of equal cells, and whether two of them touch."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..units import unit_finding

# Gap between two sides that counts as none, relative to the longer of both.
SAME_PLACE = 1e-12


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of nx times ny equal cells.

    Args:
        x, y: from and to. cells: nx, ny. unit: of lengths.

    Raises:
        InputError: with everything that is wrong: sides without length, no cells, a unit that does not parse.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    cells: tuple[int, int]
    unit: str = ""

    def __post_init__(self):
        findings = [
            finding
            for name, side, count in zip("xy", (self.x, self.y), self.cells, strict=True)
            for finding in side_findings(name, side, count)
        ]
        findings += list(filter(None, [unit_finding(self.unit)]))
        if findings:
            raise InputError("rectangle", findings)

    def points(self, axis: int) -> np.ndarray:
        """Ends of the cells along an axis, `(cells + 1,)`."""
        return np.linspace(*(self.x, self.y)[axis], self.cells[axis] + 1)


def side_findings(name: str, side: tuple[float, float], count: int) -> list[str]:
    """What is wrong with an interval and its cells."""
    findings = []
    if not (np.all(np.isfinite(side)) and side[0] < side[1]):
        findings.append(f"{name} goes from {side[0]:g} to {side[1]:g}; give finite numbers, the smaller one first.")
    if not (isinstance(count, int | np.integer) and count >= 1):
        findings.append(f"{count!r} cells along {name}; give a whole number from 1 on.")
    return findings


def gap_findings(first: tuple[float, float], second: tuple[float, float]) -> list[str]:
    """Whether the second interval starts where the first ends, to rounding."""
    near = SAME_PLACE * max(first[1] - first[0], second[1] - second[0])
    if abs(second[0] - first[1]) <= near:
        return []
    if abs(first[0] - second[1]) <= near:
        return [f"the second side ends at {second[1]:g} where the first starts; give them in the other order."]
    gap = max(first[0], second[0]) - min(first[1], second[1])
    how = "do not touch: there is a gap of" if gap > 0 else "overlap by"
    return [f"the two sides {how} {abs(gap):g}; the second has to start at {first[1]:g} where the first ends."]


def unit_findings(first: str, second: str) -> list[str]:
    """Whether lengths of both sides are in one unit."""
    if first == second:
        return []
    return [f"lengths of the two sides are in {first!r} and in {second!r}; give both in one unit."]


def touching_findings(first: Rectangle, second: Rectangle, axis: int) -> list[str]:
    """What keeps the end of one rectangle along an axis from being the start of another."""
    sides = [(each.x, each.y) for each in (first, second)]
    (own, along), (other, beside) = [(side[axis], side[1 - axis]) for side in sides]
    findings = gap_findings(own, other)
    if not np.allclose(along, beside, rtol=0, atol=SAME_PLACE * (along[1] - along[0])):
        findings.append(
            f"along the interface one side goes from {along[0]:g} to {along[1]:g} and the other from {beside[0]:g} to "
            f"{beside[1]:g}; they have to cover each other."
        )
    return findings + unit_findings(first.unit, second.unit)
