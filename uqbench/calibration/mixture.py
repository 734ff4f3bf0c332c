"""Chains that have been in every mode, each as often as the posterior is: what chains of single modes make together.

A chain that seldom leaves a mode says nothing of the share of the posterior that belongs to it. Where the density of
the parameters of interest is known but for a factor, importance sampling tells it: points of Student t densities with
the means and covariances of the draws in each mode, weighted by that density over theirs. A place belongs to the mode
whose t density is the highest there, and of the run in a mode only draws that belong to it are taken, as one may have
left it for a while. Each chain of the mixture has a run of its own in every mode and shares of its own, so that what
chains differ by shows the error of both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.special import gammaln, logsumexp

from .optima import Densities

# Points for each mode and chain, of how many equal ones they have to be worth in all; degrees of freedom of their
# density, and the least eigenvalue of a correlation.
OF_MODE_POINTS, LEAST_WORTH, FREEDOM, LEAST = 256, 50.0, 5.0, 1e-12
# Which mode a draw is of.
OF_MODE = "of_mode"
# Modes up to which each is sampled by itself.
MOST_MODES = 6


def mixed(
    runs: Sequence[xr.DataTree],
    places: Callable[[xr.Dataset], Float[np.ndarray, "n k"]],
    densities: Densities,
    seed: int,
) -> xr.DataTree | None:
    """As many chains as each run has; each draw is one of a run, in their order; `OF_MODE` in /sample_stats names it.

    None where the points are worth too little to tell shares, or a run has no draw in its mode.

    Args:
        runs: one for each mode, with as many chains and draws.
        places: coordinates of draws.
        densities: log density there, but for a constant, of all modes.
        seed: of the points, and of which draws are taken.
    """
    posteriors = [run["posterior"].to_dataset() for run in runs]
    chains, draws = posteriors[0].sizes["chain"], posteriors[0].sizes["draw"]
    number, place = np.zeros((chains, draws), int), np.zeros((chains, draws), int)
    for chain in range(chains):
        rng = np.random.default_rng([seed, chain])
        modes = Modes.of([places(posterior.isel(chain=[chain])) for posterior in posteriors])
        share, worth = modes.shares(densities, rng)
        inside = [np.flatnonzero(modes.nearest(points) == mode) for mode, points in enumerate(modes.points)]
        if not worth >= LEAST_WORTH or not all(map(len, inside)):
            return None
        number[chain] = rng.choice(len(runs), draws, p=share)
        for mode, own in enumerate(inside):
            chosen = number[chain] == mode
            place[chain, chosen] = own[np.arange(draws) * len(own) // draws][chosen]
    groups = {}
    for name in ("posterior", "sample_stats"):
        parts = [run[name].to_dataset().assign_coords(chain=np.arange(chains)) for run in runs]
        groups[name] = _selected(parts, number, place)
    groups["sample_stats"][OF_MODE] = ("chain", "draw"), number
    if all("warmup_sample_stats" in run.children for run in runs):
        parts = [run["warmup_sample_stats"].to_dataset().assign_coords(chain=np.arange(chains)) for run in runs]
        groups["warmup_sample_stats"] = xr.concat([part.drop_vars("draw", errors="ignore") for part in parts], "draw")
    return xr.DataTree.from_dict(groups)


@dataclass(frozen=True)
class Modes:
    """The t densities of modes.

    Args:
        points: draws in each, by which they are made.
        mean, root: of each, the lower root of the covariance.
    """

    points: Sequence[Float[np.ndarray, "n k"]]
    mean: Sequence[Float[np.ndarray, " k"]]
    root: Sequence[Float[np.ndarray, "k k"]]

    @classmethod
    def of(cls, points: Sequence[Float[np.ndarray, "n k"]]) -> "Modes":
        """Those of draws in each mode."""
        return cls(points, [each.mean(axis=0) for each in points], [_root(each) for each in points])

    def log_densities(self, points: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "modes n"]:
        """Of each mode at these points."""
        return np.stack([_log_student(points, *each) for each in zip(self.mean, self.root, strict=True)])

    def nearest(self, points: Float[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
        """The mode that each point belongs to."""
        return np.argmax(self.log_densities(points), axis=0)

    def shares(self, densities: Densities, rng: np.random.Generator) -> tuple[Float[np.ndarray, " modes"], float]:
        """The share of each mode, and of how many equal ones the weighted points are worth; NaN where it is none."""
        drawn = np.concatenate([_student(*each, rng) for each in zip(self.mean, self.root, strict=True)])
        of_each = self.log_densities(drawn)
        heights = np.asarray(densities(drawn), float)
        weights = np.where(np.isnan(heights), -np.inf, heights) - logsumexp(of_each, axis=0)
        if not np.any(np.isfinite(weights)):
            return np.full(len(self.mean), np.nan), 0.0
        shares = np.exp(weights - logsumexp(weights))
        nearest = np.argmax(of_each, axis=0)
        return np.bincount(nearest, shares, minlength=len(self.mean)), float(1 / np.sum(shares**2))


def _root(points: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "k k"]:
    """Lower root of the covariance."""
    size = points.shape[1]
    scale = points.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    correlation = np.cov((points / scale).T).reshape(size, size)
    return scale[:, None] * np.linalg.cholesky(correlation + LEAST * np.eye(size))


def _student(mean, root, rng: np.random.Generator) -> Float[np.ndarray, "n k"]:
    """Points of a multivariate t density with this scale."""
    normal = rng.standard_normal((OF_MODE_POINTS, len(mean)))
    return mean + (normal / np.sqrt(rng.chisquare(FREEDOM, OF_MODE_POINTS) / FREEDOM)[:, None]) @ root.T


def _log_student(points, mean, root) -> Float[np.ndarray, " n"]:
    size = len(mean)
    away = np.sum(np.linalg.solve(root, (points - mean).T) ** 2, axis=0)
    constant = gammaln((FREEDOM + size) / 2) - gammaln(FREEDOM / 2) - size / 2 * np.log(FREEDOM * np.pi)
    return constant - np.sum(np.log(np.diagonal(root))) - (FREEDOM + size) / 2 * np.log1p(away / FREEDOM)


def _selected(parts: Sequence[xr.Dataset], number: np.ndarray, place: np.ndarray) -> xr.Dataset:
    """For each chain and draw that of the part with this number, in this place of the same chain."""
    chains, draws = number.shape
    chain, _ = np.indices((chains, draws))
    index = {"part": number, "chain": chain, "draw": place}
    at = {name: xr.DataArray(each, dims=("chain", "draw")) for name, each in index.items()}
    found = xr.concat(parts, "part").isel(at)
    found = found.drop_vars(["chain", "draw"], errors="ignore").assign_coords(chain=range(chains), draw=range(draws))
    return found.transpose("chain", "draw", ...)
