"""What a profile reveals of the other parameters: the function of the held one that each of them follows."""

from collections.abc import Sequence

import numpy as np

from ...optimization.coordinates import Coordinates
from .path import Side

# Others are named if they move by this share of how far the held parameter is followed, in coordinates, and if a
# straight line leaves less than LEFT of how far they move.
MOVED, LEFT = 0.1, 0.05
# An exponent is written as a whole number if it is one to this.
WHOLE = 0.03


def relations(coordinates: Coordinates, name: str, sides: Sequence[Side]) -> str:
    """What the others do while a parameter is followed to both sides, in words; empty if they hardly move.

    Example: "s ~ k^1" where s stays in proportion to k, "g rises with k" where it follows no power.
    """
    k = coordinates.names.index(name)
    points = [point.x for side in sides for point in side.points]
    x = np.array(sorted(points, key=lambda point: point[k]))
    span = x[-1, k] - x[0, k]
    if len(x) < 3 or not span > 0:
        return ""
    found = []
    for j, other in enumerate(coordinates.names):
        moved = np.ptp(x[:, j])
        if j == k or moved < MOVED * span * coordinates.scale[j] / coordinates.scale[k]:
            continue
        slope, start = np.polyfit(x[:, k], x[:, j], 1)
        left = np.max(np.abs(x[:, j] - start - slope * x[:, k]))
        found.append((moved / coordinates.scale[j], _words(coordinates, name, other, slope, left < LEFT * moved)))
    return "; ".join(words for _, words in sorted(found, reverse=True))


def _words(coordinates: Coordinates, name: str, other: str, slope: float, straight: bool) -> str:
    logarithmic = [bool(coordinates.logarithmic[coordinates.names.index(each)]) for each in (name, other)]
    if straight and all(logarithmic):
        exponent = f"{round(slope)}" if abs(slope - round(slope)) < WHOLE and round(slope) else f"{slope:.2g}"
        return f"{other} ~ {name}" + ("" if exponent == "1" else f"^{exponent}")
    if straight and not any(logarithmic):
        return f"{other} = {slope:.3g} {name} + constant"
    return f"{other} {'rises' if slope > 0 else 'falls'} with {name}"
