"""Active subspaces: the few directions of the parameters in which an output changes.

In normal scores all parameters are comparable. The eigenvectors of E[g g'] are directions from strongest to weakest;
after a gap in the eigenvalues Y hardly changes, so few combinations do the work of many parameters (Constantine, Dow
and Wang 2014, doi:10.1137/130916138).
"""

import numpy as np
import xarray as xr

from ...errors import InputError
from ...space import Space
from ..runs import bootstrap_counts, setting_findings
from .slopes import arranged_slopes, germ_jacobian


def active_subspace(
    space: Space,
    x,
    gradients,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
    max_failed: float = 0.2,
    seed: int = 0,
) -> xr.Dataset:
    """Directions in the standardised parameters, from those along which the output changes most to least.

    Args:
        space, x, gradients, confidence, max_failed: as in `dgsm`.
        resamples: bootstrap resamples of runs.
        seed: of the bootstrap; 0 is a seed.

    Returns:
        `eigenvalue` `(mode, output...)` of E[g g'] with g = dY/dz in normal scores, falling, with `_standard_error`,
        `_lower`, `_upper`; `eigenvector` `(mode, parameter, output...)`, its largest entry positive; `subspace_error`
        `(mode, output...)`, the bootstrap mean of the distance (sine of the largest angle) between estimated and
        resampled subspace of the first 1, 2, ... modes (0 for all of them); `dimension`, after which the ratio of
        eigenvalues is largest among the gaps that the intervals resolve, 0 if none is; and
        `activity_score` `(parameter, output...)`, the sum over those modes (all, if none is resolved) of eigenvalue
        times squared entry (Constantine and Diaz 2017, doi:10.1016/j.ress.2017.01.013), which over all modes is the
        mean squared slope and by the Poincare inequality bounds the parameter's total part of Var(Y). `n_valid` runs.

    Raises:
        InputError: with every finding, as `dgsm`.

    Example:
        >>> from uqbench import Normal, Space, epistemic
        >>> space = Space(a=epistemic(Normal(0.0, 1.0)), b=epistemic(Normal(0.0, 1.0)))
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> int(active_subspace(space, x, np.cos(x.sum(1))[:, None] * np.ones(2)).dimension)  # sin(a + b)
        1
    """
    findings = setting_findings(confidence, resamples, max_failed)
    values, slopes, _, dims, coords = arranged_slopes(space, x, gradients, None, max_failed, findings)
    if findings:
        raise InputError("active_subspace", findings)
    shape, d, n = slopes.shape[2:], len(space.free), len(values)
    slopes = np.einsum("nij,nio->njo", germ_jacobian(space, values), slopes.reshape(n, d, -1))
    valid = ~np.isnan(slopes).any(axis=1)
    slopes = np.where(valid[:, None], slopes, 0.0)
    counts = np.concatenate([np.ones((1, n)), bootstrap_counts(n, resamples, seed)])
    found: dict[str, list] = {}
    for output in range(slopes.shape[-1]):
        one = _modes(slopes[..., output], valid[:, output], counts, confidence)
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    leading = {"eigenvector": ("mode", "parameter"), "activity_score": ("parameter",), "dimension": (), "n_valid": ()}
    data = {
        name: (
            (*(axes := leading.get(name, ("mode",))), *dims),
            np.stack(value, axis=-1).reshape((d,) * len(axes) + shape),
        )
        for name, value in found.items()
    }
    attrs = {"coordinate": "normal scores", "interval": "bootstrap percentiles over runs", "confidence": confidence}
    attrs |= {"resamples": resamples, "max_failed": max_failed, "seed": seed}
    return xr.Dataset(data, {**coords, "mode": np.arange(1, d + 1), "parameter": list(space.free)}, attrs=attrs)


def _modes(g: np.ndarray, valid: np.ndarray, counts: np.ndarray, confidence: float) -> dict:
    """What `active_subspace` returns for the slopes (n, d) of one output, 0 where a run does not count."""
    d = g.shape[1]
    products = counts @ (g[:, :, None] * g[:, None, :]).reshape(len(g), -1)
    matrices = products.reshape(-1, d, d) / (counts @ valid)[:, None, None]
    eigenvalue, vectors = (part[..., ::-1] for part in np.linalg.eigh(matrices))
    eigenvalue = np.maximum(eigenvalue, 0.0)
    lower, upper = np.quantile(eigenvalue[1:], [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    best = _dimension(eigenvalue[0], lower, upper)
    kept = best or d
    signs = np.sign(vectors[0][np.argmax(np.abs(vectors[0]), axis=0), np.arange(d)])
    return {
        "eigenvalue": eigenvalue[0],
        "eigenvalue_standard_error": eigenvalue[1:].std(axis=0, ddof=1),
        "eigenvalue_lower": lower,
        "eigenvalue_upper": upper,
        "eigenvector": (vectors[0] * signs).T,
        "subspace_error": _subspace_error(vectors),
        "dimension": best,
        "activity_score": vectors[0, :, :kept] ** 2 @ eigenvalue[0, :kept],
        "n_valid": valid.sum(),
    }


def _dimension(eigenvalue, lower, upper) -> int:
    """Modes before the largest ratio of successive eigenvalues among those whose intervals do not overlap."""
    apart = lower[:-1] > upper[1:]
    ratio = eigenvalue[:-1] / np.maximum(eigenvalue[1:], 1e-15 * eigenvalue[0] + 1e-300)
    return int(np.argmax(np.where(apart, ratio, 0.0))) + 1 if apart.any() else 0


def _subspace_error(vectors: np.ndarray) -> np.ndarray:
    """Mean distance (d,) between the first k modes of row 0 and those of every other row, k = 1 to d."""
    d = vectors.shape[-1]
    overlap = np.swapaxes(vectors[1:], 1, 2) @ vectors[0]
    # The sine of the largest angle between two subspaces is the norm of what one has outside the other.
    sines = [np.linalg.norm(overlap[:, k:, :k], ord=2, axis=(1, 2)).mean() for k in range(1, d)]
    return np.array([*sines, 0.0])
