"""The sparsest basis of a linear space that is known with an error, and the small integers that its entries stand for.

A space of dimension d holds a vector that is zero in the places Z exactly if its basis restricted to Z has rank below
d. Supports are tried from the smallest on, and each vector that does not depend on the earlier ones is taken: no basis
has fewer entries (a matroid's greedy basis; Coleman & Pothen 1986, doi:10.1137/0607059). The space falls apart into
blocks of coordinates that have nothing to do with one another, and each is searched by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.linalg import qr

# Supports that are tried in a block; beyond, a basis in echelon form is taken.
LARGEST_SEARCH = 20_000
# An entry is zero, or an integer, if it is up to so many of its own errors.
ERRORS = 4.0
# An entry of a vector of length one that is larger is not taken for zero, whatever its error.
LARGEST_ZERO = 0.05
# Integers are read from numbers whose error is below this, so that few fit by chance; none is larger than LARGEST.
EXACT, LARGEST = 1e-3, 6


@dataclass(frozen=True)
class Vector:
    """A vector `(k,)` of length one and the errors of its entries `(k,)`, of those that were taken for zero as well."""

    entries: np.ndarray
    error: np.ndarray

    def scaled(self, factor: np.ndarray) -> "Vector":
        """In other coordinates, the largest entry 1."""
        entries, error = self.entries * factor, self.error * np.abs(factor)
        largest = entries[np.argmax(np.abs(entries))]
        return Vector(entries / largest, error / abs(largest))


def sparsest_basis(basis: np.ndarray, error: np.ndarray) -> list[Vector]:
    """Vectors with as many zeros as there can be that span the space.

    Args:
        basis: `(d, k)` orthonormal rows. error: `(k,)` by how much entries in each place may be wrong.
    """
    found = []
    for block in _blocks(basis, error):
        for vector in _of_block(span(basis[:, block]), error[block]):
            entries, errors = np.zeros((2, basis.shape[1]))
            entries[block], errors[block] = vector.entries, vector.error
            found.append(_measured(basis, Vector(entries, errors)))
    return found


def supported(basis: np.ndarray, error: np.ndarray, support: np.ndarray) -> Vector | None:
    """The vector of a space whose entries are zero except in the places `support`; None where there is none.

    Args:
        basis, error: as of `sparsest_basis`. support: `(k,)` whether an entry may be other than zero.
    """
    found = _with_support(basis, error, tuple(np.flatnonzero(support)))
    return None if found is None else _measured(basis, found)


def _measured(basis: np.ndarray, vector: Vector) -> Vector:
    """With an error of every entry at least as large as what it is off the space.

    In coordinates of which some count for little even that may be much.
    """
    off = np.abs(basis.T @ (basis @ vector.entries) - vector.entries)
    return Vector(vector.entries, np.maximum(vector.error, off))


def integers(vector: Vector) -> np.ndarray | None:
    """The small integers `(k,)` to which the entries are proportional, if they are within their errors."""
    scaled = vector.scaled(np.ones(len(vector.entries)))
    support = scaled.entries != 0
    for factor in range(1, LARGEST + 1):
        error = factor * scaled.error
        if np.max(error) > EXACT:
            return None
        whole = np.round(factor * scaled.entries)
        if np.all(np.abs(factor * scaled.entries - whole) <= ERRORS * error) and np.all(whole[support] != 0):
            return (whole * np.sign(whole[support][0])).astype(int)
    return None


def _blocks(basis: np.ndarray, error: np.ndarray) -> list[list[int]]:
    """Coordinates that the projection on the space connects; those that it leaves at zero are in none."""
    projection = basis.T @ basis
    length = np.sqrt(np.diag(projection))
    left = {int(k) for k in np.flatnonzero(length > _zero(error))}
    connected = np.abs(projection) > _zero(np.outer(length, error) + np.outer(error, length))
    blocks = []
    while left:
        block, fresh = set(), {min(left)}
        while fresh:
            block |= fresh
            fresh = {k for k in left - block if any(connected[k, j] for j in fresh)}
        left -= block
        blocks.append(sorted(block))
    return blocks


def span(rows: np.ndarray) -> np.ndarray:
    """Orthonormal rows that span the same, of a part of orthonormal rows whose singular values are about 0 or 1."""
    _, values, vectors = np.linalg.svd(rows, full_matrices=False)
    return vectors[values > 0.5]


def _of_block(basis: np.ndarray, error: np.ndarray) -> list[Vector]:
    dimension, count = basis.shape
    chosen: list[Vector] = []
    if dimension in (0, count):
        return [Vector(entries, error * entries) for entries in np.eye(count)[:dimension]]
    for tried, support in enumerate(_supports(count, count - dimension + 1)):
        if tried >= LARGEST_SEARCH:
            return _echelon(basis, error)
        if any(set(np.flatnonzero(vector.entries)) <= set(support) for vector in chosen):
            continue
        vector = _with_support(basis, error, support)
        if vector is not None and _independent([*chosen, vector]):
            chosen.append(vector)
        if len(chosen) == dimension:
            return chosen
    return _echelon(basis, error)


def _supports(count: int, largest: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, largest + 1):
        yield from combinations(range(count), size)


def _with_support(basis: np.ndarray, error: np.ndarray, support: tuple[int, ...]) -> Vector | None:
    """The vector of the space that is zero, within the errors, everywhere else; None where there is none."""
    outside = np.setdiff1d(np.arange(basis.shape[1]), support)
    padded = np.zeros((len(basis), max(len(outside), len(basis))))
    padded[:, : len(outside)] = basis[:, outside]
    weights, values, _ = np.linalg.svd(padded)
    entries = weights[:, -1] @ basis
    if np.any(np.abs(entries[outside]) > _zero(error[outside])):
        return None
    # what the zeros are wrong by moves the other entries, the more the less the zeros fix the vector
    fixed = values[-2] if len(values) > 1 else 1.0
    moved = np.linalg.norm(error[outside]) / fixed if fixed > 0 else np.inf
    inside = np.isin(np.arange(len(entries)), support)
    return Vector(np.where(inside, entries, 0.0), np.where(inside, error + moved, 0.0))


def _independent(vectors: list[Vector]) -> bool:
    values = np.linalg.svd(np.stack([vector.entries for vector in vectors]), compute_uv=False)
    error = max(np.linalg.norm(vector.error) for vector in vectors)
    return bool(values[-1] > _zero(error))


def _zero(error):
    """How large a number with this error may be and still be zero."""
    return np.minimum(ERRORS * error, LARGEST_ZERO)


def _echelon(basis: np.ndarray, error: np.ndarray) -> list[Vector]:
    """A basis of which each vector has a place to itself, by pivoting."""
    dimension = len(basis)
    _, _, pivots = qr(basis, pivoting=True)
    places = pivots[:dimension]
    inverse = np.linalg.inv(basis[:, places])
    rows = inverse @ basis
    rows[:, places] = np.eye(dimension)
    amplified = error + np.linalg.norm(inverse, axis=1)[:, None] * np.linalg.norm(error[places])
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows, amplified = rows / length, (amplified + np.zeros_like(rows)) / length
    keep = np.abs(rows) > _zero(amplified)
    return [Vector(np.where(k, row, 0.0), np.where(k, e, 0.0)) for row, e, k in zip(rows, amplified, keep, strict=True)]
