"""Chains that have been in every mode, each as often as the posterior is: what chains of single modes make together.

A chain that seldom leaves a mode says nothing of the share of the posterior that belongs to it. Where the density of
the parameters of interest is known but for a factor, importance sampling tells it: points of Student t densities with
the means and covariances of the draws in each mode, weighted by that density over theirs. Each chain of the mixture has
a run of its own in every mode and shares of its own, so that what chains differ by shows the error of both.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.special import gammaln, logsumexp

from .optima import Densities

# Points for each mode and chain, degrees of freedom of their density, and the least variance, of the largest.
POINTS, FREEDOM, LEAST = 256, 5.0, 1e-12
# Which mode a draw is of.
OF_MODE = "of_mode"
# Modes up to which each is sampled by itself.
MOST_MODES = 6


def mixed(
    runs: Sequence[xr.DataTree],
    places: Callable[[xr.Dataset], Float[np.ndarray, "n k"]],
    densities: Densities,
    seed: int,
) -> xr.DataTree:
    """As many chains as each run has; each draw is that of a run in its place, which `OF_MODE` in /sample_stats names.

    Args:
        runs: one for each mode, with as many chains and draws.
        places: coordinates of draws.
        densities: log density there, but for a constant, of all modes.
        seed: of the points, and of which draws are taken.
    """
    posteriors = [run["posterior"].to_dataset() for run in runs]
    chains, draws = posteriors[0].sizes["chain"], posteriors[0].sizes["draw"]
    number = np.zeros((chains, draws), int)
    for chain in range(chains):
        rng = np.random.default_rng([seed, chain])
        points = [places(posterior.isel(chain=[chain])) for posterior in posteriors]
        number[chain] = rng.choice(len(runs), draws, p=shares(points, densities, rng))
    groups = {}
    for name in ("posterior", "sample_stats"):
        parts = [run[name].to_dataset().assign_coords(chain=np.arange(chains)) for run in runs]
        groups[name] = _taken(parts, number)
    groups["sample_stats"][OF_MODE] = ("chain", "draw"), number
    if all("warmup_sample_stats" in run.children for run in runs):
        parts = [run["warmup_sample_stats"].to_dataset().assign_coords(chain=np.arange(chains)) for run in runs]
        groups["warmup_sample_stats"] = xr.concat([part.drop_vars("draw", errors="ignore") for part in parts], "draw")
    return xr.DataTree.from_dict(groups)


def shares(
    points: Sequence[Float[np.ndarray, "n k"]], densities: Densities, rng: np.random.Generator
) -> Float[np.ndarray, " modes"]:
    """The share of each mode, of draws in each; a place belongs to the mode whose t density is the highest there."""
    means = [each.mean(axis=0) for each in points]
    roots = [_root(each) for each in points]
    drawn = np.concatenate([_student(mean, root, rng) for mean, root in zip(means, roots, strict=True)])
    of_each = np.stack([_log_student(drawn, mean, root) for mean, root in zip(means, roots, strict=True)])
    heights = np.asarray(densities(drawn), float)
    weights = np.where(np.isnan(heights), -np.inf, heights) - logsumexp(of_each, axis=0)
    nearest = np.argmax(of_each, axis=0)
    total = logsumexp(weights)
    return np.array([np.exp(logsumexp(weights[nearest == mode]) - total) for mode in range(len(points))])


def _root(points: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "k k"]:
    """Lower root of the covariance."""
    size = points.shape[1]
    scale = points.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    correlation = np.cov((points / scale).T).reshape(size, size)
    return scale[:, None] * np.linalg.cholesky(correlation + LEAST * np.eye(size))


def _student(mean, root, rng: np.random.Generator) -> Float[np.ndarray, "n k"]:
    """Points of a multivariate t density with this scale."""
    normal = rng.standard_normal((POINTS, len(mean)))
    return mean + (normal / np.sqrt(rng.chisquare(FREEDOM, POINTS) / FREEDOM)[:, None]) @ root.T


def _log_student(points, mean, root) -> Float[np.ndarray, " n"]:
    size = len(mean)
    away = np.sum(np.linalg.solve(root, (points - mean).T) ** 2, axis=0)
    constant = gammaln((FREEDOM + size) / 2) - gammaln(FREEDOM / 2) - size / 2 * np.log(FREEDOM * np.pi)
    return constant - np.sum(np.log(np.diagonal(root))) - (FREEDOM + size) / 2 * np.log1p(away / FREEDOM)


def _taken(parts: Sequence[xr.Dataset], number: np.ndarray) -> xr.Dataset:
    """Of each chain and draw that of the part with this number."""
    chains, draws = number.shape
    chain, draw = (xr.DataArray(each, dims=("chain", "draw")) for each in np.indices((chains, draws)))
    found = xr.concat(parts, "part").isel(part=xr.DataArray(number, dims=("chain", "draw")), chain=chain, draw=draw)
    found = found.drop_vars(["chain", "draw"], errors="ignore").assign_coords(chain=range(chains), draw=range(draws))
    return found.transpose("chain", "draw", ...)
