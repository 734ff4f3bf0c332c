"""Conditional means from nearest neighbours in given runs, on two halves that share nothing.

Distances are taken in ranks or normal scores, whichever predict better, so units and monotone changes of an input do
not matter. Each column is stretched until runs are best predicted by their neighbours, which keeps inputs that do not
matter from filling the space.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import norm, rankdata

JITTER = 1e-7  # of a column's spread: equal values are put into random order
QUERIES = 500  # runs by which columns are stretched


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Distinct runs in units of the output's spread: scores (n, d), y (n, outputs), weights summing to 1, own noise."""

    z: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    noise: np.ndarray | None

    def rows(self, kept: np.ndarray) -> "Neighbourhoods":
        """The runs `kept` alone, their outputs centred again."""
        weight = self.weight[kept] / self.weight[kept].sum()
        y = self.y[kept] - weight @ self.y[kept]
        return Neighbourhoods(self.z[kept], y, weight, None if self.noise is None else self.noise[kept])


def closed_variance(z: np.ndarray, y: np.ndarray, neighbours: int) -> tuple[np.ndarray, float]:
    """Terms (n, output) whose mean is the variance of the conditional mean of y given the columns z; and how far the
    neighbours are."""
    columns = z.shape[1]
    sizes = [neighbours + columns] if columns > 2 else [columns + neighbours // 2, columns + neighbours]
    sizes += [columns + 3 * neighbours] if columns <= 2 else []
    most = (len(z) - 1) // 2
    sizes = sorted({min(size, most) for size in sizes})
    order = _neighbours(z, z, 2 * sizes[-1])
    best = (np.inf, 0, y, y)
    for size in sizes:
        halves = [_predicted(z, y, order[:, half : 2 * size : 2]) for half in (0, 1)]
        error = np.mean((y - (halves[0] + halves[1]) / 2) ** 2)
        best = min(best, (error, size, *halves), key=lambda each: each[0])
    _, size, a, b = best
    radius = np.sqrt(np.mean((z[order[:, 2 * size - 1]] - z) ** 2) * columns)
    return y * (a + b) - a * b, radius


def _neighbours(z: np.ndarray, at: np.ndarray, count: int) -> np.ndarray:
    """Indices (rows of `at`, count) of the nearest other rows of z; `at` are rows of z themselves."""
    return cKDTree(z).query(at, count + 1)[1][:, 1:]


def _predicted(z: np.ndarray, y: np.ndarray, index: np.ndarray, rows=slice(None)) -> np.ndarray:
    """Local linear prediction (rows, output) of each of `rows` from the rows `index` (rows, k), by ridge regression."""
    away = z[index] - z[rows, None]
    design = np.concatenate([np.ones((*index.shape, 1)), away], axis=2)
    normal = np.swapaxes(design, 1, 2) @ design
    slopes = np.arange(1, z.shape[1] + 1)
    # A little ridge, in units of the neighbourhood: twice the same column must not be singular.
    normal[:, slopes, slopes] += ((1e-4 * index.shape[1] + 0.05) * np.mean(away**2, axis=(1, 2)) + 1e-300)[:, None]
    unit = np.zeros((*normal.shape[:2], 1))
    unit[:, 0] = 1.0
    share = (design @ np.linalg.solve(normal, unit))[..., 0]
    return np.einsum("nk,nko->no", share, y[index])


def neighbourhoods(x, y, noise, neighbours: int, rng) -> Neighbourhoods:
    """Distinct runs, outputs in units of their spread, columns as stretched scores."""
    x, back, count = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    back, weight = back.ravel(), count / count.sum()

    def averaged(values):
        sums = np.zeros((len(count), values.shape[1]))
        np.add.at(sums, back, values)
        return sums / count[:, None]

    y = averaged(y)
    y = y - weight @ y
    scale = np.sqrt(weight @ y**2)
    y = y / scale
    noise = None if noise is None else averaged(noise) / scale**2
    ranks = (np.stack([rankdata(column) for column in x.T], axis=1) - 0.5) / len(x)
    jitter = JITTER * rng.standard_normal(x.shape)
    rows = rng.permutation(len(x))[:QUERIES]
    tried = []
    for scores in (ranks * np.sqrt(12.0), norm.ppf(ranks)):
        z = scores + jitter
        z = z * _stretch(z, y, rows)
        tried.append((-np.sum(closed_variance(z, y, neighbours)[0]), z))
    return Neighbourhoods(min(tried, key=lambda each: each[0])[1], y, weight, noise)


def _stretch(z: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Factors of the columns with which the neighbours of `rows` predict them best, by search along one at a time."""

    def error(factors):
        index = _neighbours(z * factors, z[rows] * factors, 2 * (z.shape[1] + 4))
        return np.mean((y[rows] - _predicted(z * factors, y, index, rows)) ** 2)

    factors, step = np.ones(z.shape[1]), 4.0
    if len(factors) == 1:
        return factors
    best = error(factors)
    for _ in range(3):
        for column in range(len(factors)):
            for ratio in (step, 1 / step):
                while True:
                    moved = factors.copy()
                    moved[column] *= ratio
                    moved = np.maximum(moved, moved.max() / 300)
                    found = error(moved)
                    if found >= best:
                        break
                    factors, best = moved, found
        step **= 0.6
    # What does not matter beside an input it goes with stands for it where that one is unknown.
    alike = np.abs(np.corrcoef(z, rowvar=False))
    alike = np.where(alike > 4 / np.sqrt(len(z)), alike, 0.0)
    factors = np.maximum(factors, (alike * factors).max(axis=1))
    return factors / factors.max()
