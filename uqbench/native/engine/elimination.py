"""The order in which a sparse matrix is eliminated, found once for each model on the host."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Elimination:
    """Lists of positions for `sparse.factorize` and its solves.

    Args:
        places: (row, column) -> position in the row of factors; the diagonal comes first.
        order: `(n,)` pivots.
        lower_starts, upper_starts: `(n + 1,)` where the lists of each pivot begin.
        lower_rows, lower_places: rows below each pivot, and their positions.
        upper_columns, upper_places: columns right of each pivot, and their positions.
        updates: positions that each pivot changes, row by row.
    """

    places: dict[tuple[int, int], int]
    order: np.ndarray
    lower_starts: np.ndarray
    lower_rows: np.ndarray
    lower_places: np.ndarray
    upper_starts: np.ndarray
    upper_columns: np.ndarray
    upper_places: np.ndarray
    updates: np.ndarray

    @property
    def size(self) -> int:
        """How many entries the factors have."""
        return len(self.places)


def eliminate(n: int, entries: Iterable[tuple[int, int]]) -> Elimination:
    """Diagonal pivots of least fill, one after the other (Markowitz 1957, doi:10.1287/mnsc.3.3.255).

    Of those that are alike the one whose neighbours have been left alone the longest comes first: pivots that do not
    wait for each other stand side by side, and a processor works at several at once.

    Args:
        n: size of the matrix.
        entries: (row, column) of what is not zero.
    """
    rows: list[set[int]] = [set() for _ in range(n)]
    columns: list[set[int]] = [set() for _ in range(n)]
    for i, j in entries:
        if i != j:
            rows[i].add(j)
            columns[j].add(i)
    left, order, upper, lower = set(range(n)), [], [], []
    touched = [0] * n
    while left:
        pivot = min(left, key=lambda k: (len(rows[k]) * len(columns[k]), touched[k], k))
        right, below = sorted(rows[pivot]), sorted(columns[pivot])
        order.append(pivot)
        upper.append(right)
        lower.append(below)
        left.remove(pivot)
        for k in {*right, *below}:
            touched[k] = len(order)
        for j in right:
            columns[j].discard(pivot)
        for i in below:
            rows[i].discard(pivot)
            rows[i].update(j for j in right if j != i)
        for j in right:
            columns[j].update(i for i in below if i != j)
    places = {(k, k): k for k in range(n)}
    for pivot, right, below in zip(order, upper, lower, strict=True):
        for entry in [(pivot, j) for j in right] + [(i, pivot) for i in below]:
            places.setdefault(entry, len(places))
    lists = {"lower": ([0], [], []), "upper": ([0], [], [])}
    updates = []
    for pivot, right, below in zip(order, upper, lower, strict=True):
        for name, others, where in (
            ("lower", below, [(i, pivot) for i in below]),
            ("upper", right, [(pivot, j) for j in right]),
        ):
            starts, indices, positions = lists[name]
            indices += others
            positions += [places[entry] for entry in where]
            starts.append(len(indices))
        updates += [places[i, j] for i in below for j in right]

    def array(values):
        return np.array(values, dtype=np.int64)

    return Elimination(places, array(order), *map(array, lists["lower"] + lists["upper"]), array(updates))
