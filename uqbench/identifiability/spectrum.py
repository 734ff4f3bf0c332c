"""What sensitivities determine: singular values and directions, and which of them are beyond the error of the solves.

Parameters whose effects differ by orders of magnitude are each compared with themselves: the columns of J are scaled to
length one. A direction v whose |J v| is small may owe it to the error of the solve alone. Whether it does is seen in a
finer solve: what is left of |J v| there is the same if it is real, and smaller by the ratio of the tolerances if it is
error. (A bound from the tolerance would not do: sensitivities that dynamics magnify are wrong by more, and errors that
all columns have in common hide nothing.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .sensitivities import FINER

# What rounding leaves of a derivative that vanishes, against the terms that it is summed from; and of a direction in
# which derivatives cancel, against these.
ROUNDING, CANCELLED = 16 * np.finfo(float).eps, 1e-10
# Directions with a smaller share of the information are looked at with a finer solve.
DOUBTFUL = 1e-3
# Two solves agree on the information along a direction if they do up to this factor in the sensitivity.
AGREE = 2.0


@dataclass(frozen=True)
class Spectrum:
    """Singular value decomposition of J with its columns scaled to length one.

    Args:
        root: J, `(rows, k)`, of the finer solve where there was one.
        effect: `(k,)` lengths of the columns. felt: `(k,)` whether a column is more than rounding.
        singular: `(k,)` falling. vectors: `(k, k)` by rows. kept: `(k,)` which of them are determined.
        loose: what |J v| is at most in the solve that was doubted, along a direction that is not determined.
        error: the same in `root`.
    """

    root: np.ndarray
    effect: np.ndarray
    felt: np.ndarray
    singular: np.ndarray
    vectors: np.ndarray
    kept: np.ndarray
    loose: float
    error: float

    @property
    def rank(self) -> int:
        return int(self.kept.sum())

    @property
    def inverse(self) -> np.ndarray:
        """`(k,)` reciprocals of the effects; 0 of parameters without one."""
        return np.where(self.felt, 1.0 / np.where(self.felt, self.effect, 1.0), 0.0)

    @property
    def variance(self) -> np.ndarray:
        """`(k,)` of each scaled parameter, from the directions that are determined."""
        return (self.vectors[self.kept] ** 2).T @ (1.0 / self.singular[self.kept] ** 2)

    @property
    def lost(self) -> np.ndarray:
        """`(k,)` which parameters are not determined.

        Null vectors have errors too. With the singular values s_j and vectors v_j of the determined directions, and
        J v = e where it should vanish, entry i of v is wrong by up to |e| (sum_j v_ij^2 / s_j^2)^1/2, to first order. A
        parameter with no larger share in the null space is not lost with it.
        """
        share = np.sum(self.vectors[~self.kept] ** 2, axis=0)
        return (share > self.loose**2 * self.variance) | ~self.felt

    @property
    def entry_error(self) -> np.ndarray:
        """`(k,)` by how much an entry of a null vector of the scaled J may be wrong, see `lost`."""
        return np.maximum(self.error * np.sqrt(self.variance), CANCELLED)


def spectrum_of(root: np.ndarray, finer: Callable[[], np.ndarray | None], size: np.ndarray) -> Spectrum:
    """The directions that sensitivities J determine, which come from solves and have their errors.

    Args:
        root: J, `(rows, k)`.
        finer: the same from a finer solve, asked for where it matters; None where there is none, so that what is
            beyond rounding is real, or it failed.
        size: `(k,)` of the parameters on the scale of J, by which a sensitivity of rounding alone is told.
    """
    coarse, effect = root, np.linalg.norm(root, axis=0)
    felt = effect * size > ROUNDING * np.max(effect * size, initial=0.0)
    felt = np.where(size > 0, felt, effect > 0)
    inverse = np.where(felt, 1.0 / np.where(felt, effect, 1.0), 0.0)
    singular, vectors = singular_values(root * inverse)
    sharper = 1.0
    if singular[-1] < DOUBTFUL * singular[0] and (found := finer()) is not None:
        root, sharper = found, FINER
        singular, vectors = singular_values(root * inverse)
    along = np.linalg.norm((coarse * inverse) @ vectors.T, axis=0)
    kept = (singular > CANCELLED * singular[0]) & (along < AGREE * singular)
    least, loose = CANCELLED * singular[0], np.max(along[~kept], initial=0.0)
    error = max(sharper * loose, np.max(singular[~kept], initial=0.0), least)
    return Spectrum(root, effect, felt, singular, vectors, kept, max(loose, least), error)


@dataclass(frozen=True)
class Decomposed:
    """What a Fisher information determines.

    Args:
        matrix: `(k, k)`, the information.
        eigenvalue: `(k,)`, falling; 0 in the directions that are not determined. direction: `(k, k)`, by rows.
        cramer_rao: `(k,)` least standard errors, inf where a parameter is not determined.
        rank: how many directions are determined.
        spectrum: where it comes from.
    """

    matrix: np.ndarray
    eigenvalue: np.ndarray
    direction: np.ndarray
    cramer_rao: np.ndarray
    rank: int
    spectrum: Spectrum


def decomposed(root: np.ndarray, finer: Callable[[], np.ndarray | None], size: np.ndarray) -> Decomposed:
    """Information, spectrum and standard errors; arguments as of `spectrum_of`."""
    found = spectrum_of(root, finer, size)
    kept, rank = found.kept, found.rank
    values, direction = singular_values(
        found.singular[kept, None] * found.vectors[kept] * np.where(found.felt, found.effect, 0.0)
    )
    eigenvalue = np.where(np.arange(len(values)) < rank, values**2, 0.0)
    cramer_rao = np.where(found.lost, np.inf, np.sqrt(found.variance) * found.inverse)
    return Decomposed(found.root.T @ found.root, eigenvalue, direction, cramer_rao, rank, found)


def singular_values(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values `(k,)` and right singular vectors `(k, k)`, by rows, also of fewer rows than k."""
    count = matrix.shape[1]
    _, values, vectors = np.linalg.svd(np.vstack([matrix, np.zeros((count, count))]), full_matrices=False)
    return values, vectors
