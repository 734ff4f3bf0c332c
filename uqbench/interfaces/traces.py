"""Functions on an interface between two grids: traces of both sides, multipliers, and whether these fit the traces.

Multipliers carry what flows through. Those that are the traces of one side, continuous and linear between its points,
are stable however fine the other side is (Ben Belgacem 1999, Numer. Math. 84, 173). One constant for each cell of
a side, or functions of the points of both sides, are not: fluxes that alternate from cell to cell are nearly unseen by
the first, unless the other side is finer, and the second force both traces to be one function that is straight wherever
their points differ.
"""

from enum import StrEnum

import numpy as np
from scipy.linalg import eigh


class Multipliers(StrEnum):
    """Functions that the flux through an interface is made of."""

    FIRST = "first"
    SECOND = "second"
    CELLS_OF_FIRST = "cells of first"
    POINTS_OF_BOTH = "points of both"


def hats(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values `(at, points)` of the functions that are linear between points, and one at one of them."""
    return np.stack([np.interp(at, points, unit) for unit in np.eye(len(points))], axis=1)


def multiplier_points(kind: Multipliers, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where the values of the multipliers belong, rising; middles of cells for constants."""
    if kind is Multipliers.CELLS_OF_FIRST:
        return (first[1:] + first[:-1]) / 2
    if kind is Multipliers.POINTS_OF_BOTH:
        return union(first, second)
    return first if kind is Multipliers.FIRST else second


def union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The points of both, those closer than rounding once."""
    points = np.sort(np.concatenate([first, second]))
    return points[np.concatenate([[True], np.diff(points) > 1e-12 * (points[-1] - points[0])])]


class Pairings:
    """Integrals over the interface, exact: two Gauss points in each interval between points of either side.

    Args:
        kind: of the multipliers. first, second: points of both sides.
    """

    def __init__(self, kind: Multipliers, first: np.ndarray, second: np.ndarray):
        ends = union(first, second)
        middles, halves = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / 2
        at = (middles[:, None] + halves[:, None] * np.array([-1, 1]) / np.sqrt(3)).ravel()
        weights = np.repeat(halves, 2)
        self.points = multiplier_points(kind, first, second)
        if kind is Multipliers.CELLS_OF_FIRST:
            own = ((at[:, None] > first[:-1]) & (at[:, None] < first[1:])).astype(float)
        else:
            own = hats(self.points, at)
        traces = hats(first, at), hats(second, at)
        # (multipliers, points of a side), (multipliers, multipliers), (points, points)
        self.first, self.second = ((own.T * weights) @ trace for trace in traces)
        self.own = (own.T * weights) @ own
        self.masses = tuple((trace.T * weights) @ trace for trace in traces)
        self.lengths = own.T @ weights


def inf_sup(kind: Multipliers, first: np.ndarray, second: np.ndarray) -> float:
    """The least, over multipliers m, of the greatest (m, v - w) / (|m| |(v, w)|) over traces v, w of both sides, in L2.

    Where this does not fall as grids are refined the multipliers are stable.

    Args:
        first, second: points of both sides, `(n,)`, rising from one end of the interface to the other.

    Example:
        >>> fine, coarse = np.linspace(0, 1, 25), np.linspace(0, 1, 9)
        >>> [round(inf_sup(kind, fine, coarse), 2) for kind in (Multipliers.FIRST, Multipliers.CELLS_OF_FIRST)]
        [1.0, 0.11]
    """
    pairings = Pairings(kind, first, second)
    sides = zip((pairings.first, pairings.second), pairings.masses, strict=True)
    reached = sum(coupling @ np.linalg.solve(mass, coupling.T) for coupling, mass in sides)
    return float(np.sqrt(max(eigh(reached, pairings.own, eigvals_only=True)[0], 0.0)))
