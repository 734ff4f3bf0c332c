"""Whether the part of a periodic cell that conducts reaches from one cell to the next, along each axis."""

import numpy as np
from scipy import ndimage


def percolates(conducting: np.ndarray) -> tuple[bool, ...]:
    """Whether a path through faces of conducting voxels leads to its own image in another cell, along each axis.

    Parts that are connected inside the cell are joined across its faces, each with its displacement in whole cells from
    the part that it hangs on; where two parts meet again at another displacement, that path winds round the cell.

    Args:
        conducting: true or false in each voxel, periodic.
    """
    labels, count = ndimage.label(conducting)
    root, shift = list(range(count + 1)), np.zeros((count + 1, conducting.ndim), int)

    def found(part: int) -> tuple[int, np.ndarray]:
        displacement = np.zeros(conducting.ndim, int)
        while root[part] != part:
            displacement, part = displacement + shift[part], root[part]
        return part, displacement

    reached = np.zeros(conducting.ndim, bool)
    for axis in range(conducting.ndim):
        pairs = np.stack([np.take(labels, -1, axis).ravel(), np.take(labels, 0, axis).ravel()])
        for last, first in np.unique(pairs[:, np.all(pairs > 0, axis=0)], axis=1).T:
            (a, from_a), (b, from_b) = found(last), found(first)
            # `first` of the next cell touches `last` of this one
            step = from_a - from_b
            step[axis] -= 1
            if a == b:
                reached |= step != 0
            else:
                root[b], shift[b] = a, step
    return tuple(bool(each) for each in reached)


def percolation_finding(conducting: np.ndarray, insulating: int) -> str:
    """The sentence about a cell of which `insulating` voxels do not conduct at all."""
    sentence = f"{insulating} of {conducting.size} voxels do not conduct (the coefficient is zero). "
    if not conducting.any():
        return sentence + "Nothing conducts, and the effective tensor is zero."
    through = [name for name, found in zip("xyz", percolates(conducting), strict=False) if found]
    blocked = [name for name in "xyz"[: conducting.ndim] if name not in through]
    if not through:
        sentence += "What conducts is not connected from cell to cell: the effective tensor is zero. "
    else:
        sentence += f"What conducts is connected from cell to cell along {', '.join(through)}"
        sentence += f" but not along {', '.join(blocked)}, where nothing gets through. " if blocked else ". "
    return sentence + (
        "Give these voxels a small positive coefficient, such as 1e-6 of the others: the effective tensor then "
        "tends to that of a medium with insulating inclusions, whose flux is averaged over the whole cell."
    )
