"""The order in which a sparse matrix is eliminated, found once for each model on the host."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Elimination:
    """Lists of positions for `sparse.factorize` and its solves, of factors L D U with triangles of unit diagonal.

    The row of factors has first D, then L, then U, the triangles in the order in which substitutions read them: each
    entry takes a multiple of its `source` off its `row`, once the source is final.

    Args:
        places: (row, column) -> position in the row of factors.
        order: `(n,)` pivots.
        lower_starts: `(n + 1,)` where the entries of L of each pivot begin.
        lower_rows, lower_sources: of the entries of L, pivot by pivot.
        upper_rows, upper_sources: of the entries of U, from the last pivot to the first.
        update_starts: `(n + 1,)` where the updates of each pivot begin.
        updates, update_lower, update_upper: positions that a pivot changes, and of the two factors of the change.
    """

    places: dict[tuple[int, int], int]
    order: np.ndarray
    lower_starts: np.ndarray
    lower_rows: np.ndarray
    lower_sources: np.ndarray
    upper_rows: np.ndarray
    upper_sources: np.ndarray
    update_starts: np.ndarray
    updates: np.ndarray
    update_lower: np.ndarray
    update_upper: np.ndarray

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
    left = set(range(n))
    order: list[int] = []
    upper: list[list[int]] = []
    lower: list[list[int]] = []
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
    lower_entries = [(i, pivot) for pivot, below in zip(order, lower, strict=True) for i in below]
    above: list[list[int]] = [[] for _ in range(n)]
    for pivot, right in zip(order, upper, strict=True):
        for j in right:
            above[j].append(pivot)
    upper_entries = [(k, pivot) for pivot in reversed(order) for k in above[pivot]]
    diagonal = [(k, k) for k in range(n)]
    places = {entry: place for place, entry in enumerate(diagonal + lower_entries + upper_entries)}
    updates = [
        [(places[i, j], places[i, pivot], places[pivot, j]) for i in below for j in right]
        for pivot, right, below in zip(order, upper, lower, strict=True)
    ]

    def starts(lists):
        return np.cumsum([0, *map(len, lists)], dtype=np.int64)

    def columns(entries, width):
        return [np.ascontiguousarray(column) for column in np.array(entries, dtype=np.int64).reshape(-1, width).T]

    return Elimination(
        places,
        np.array(order, dtype=np.int64),
        starts(lower),
        *columns(lower_entries, 2),
        *columns(upper_entries, 2),
        starts(updates),
        *columns([update for each in updates for update in each], 3),
    )
