"""Runs of a model as a table: what every estimator asks of them before it forms its own sums.

A run belongs to a sample (a row of the design, or a draw of the parameters), and to one of its replicates where the
model is stochastic; what is left of the axes are outputs. A failed run is NaN. It takes its sample with it where the
sample's runs only make sense together, so every estimate says how many samples it stands on, and losing too many of
them is an error: what remains would speak of another distribution of inputs.

Samples are what the bootstrap draws again. All estimators here are made of sums over samples, so it is enough to know
how often each sample was drawn; a table of such counts times the terms of a sum gives the sum in all resamples.

The `..._findings` return sentences rather than raise, so that everything that is wrong is said at once.
"""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from ..errors import InputError

if TYPE_CHECKING:
    from .sobol.plan import SobolPlan

MEMORY = 2**24  # floats in the largest array of per-row products; more outputs are taken in turns
MINIMUM_BASE_SAMPLES = 8
# A rank correlation of samples is an accident below either.
DEPENDENT, STANDARD_ERRORS = 0.15, 6.0


class Unusable(Enum):
    """Why the runs of an output have no variance to analyse; the value is the sentence for the user."""

    NO = ""
    INFINITE = "some of its runs are infinite, so the variance does not exist"
    FAILED = "too many of its runs failed"
    CONSTANT = "every run gives the same value, so there is no variance to split"


def unusable_outputs(values: np.ndarray, lost: np.ndarray, max_failed: float) -> np.ndarray:
    """An `Unusable` for each output.

    Args:
        values: (..., outputs), NaN where not used.
        lost: (n, outputs) which samples failed.
        max_failed: share of them that is allowed.
    """
    axes = tuple(range(values.ndim - 1))
    finite = np.where(np.isfinite(values), values, np.nan)
    empty = np.isnan(finite).all(axis=axes)
    some = np.where(empty, 0.0, finite)
    largest = np.nanmax(some, axis=axes)
    constant = ~empty & (largest - np.nanmin(some, axis=axes) <= 1e-13 * np.abs(largest))
    few = (lost.mean(axis=0) > max_failed) | (len(lost) - lost.sum(axis=0) < MINIMUM_BASE_SAMPLES)
    found = np.full(values.shape[-1], Unusable.NO)
    found[constant] = Unusable.CONSTANT
    found[few] = Unusable.FAILED
    found[np.isinf(values).any(axis=axes)] = Unusable.INFINITE
    return found


def sentences(reasons: np.ndarray) -> np.ndarray:
    """The sentences of an array of `Unusable`."""
    return np.array([reason.value for reason in reasons.ravel()], dtype=str).reshape(reasons.shape)


def usable_or_error(
    subject: str, values: np.ndarray, lost: np.ndarray, max_failed: float, shape, dims, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """An `Unusable` for each output, and which have none: each output stands by itself.

    Args:
        subject: of the error. values, lost, max_failed: see `unusable_outputs`. shape, dims: of the outputs. what: is
            lost where runs fail.

    Raises:
        InputError: with every finding, where no output is left.
    """
    reasons = unusable_outputs(values, lost, max_failed)
    usable = reasons == Unusable.NO
    if not usable.any():
        raise InputError(subject, value_findings(values, lost, max_failed, shape, dims, what))
    return reasons, usable


def in_place(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Results (..., usable outputs) at the places of their outputs (..., outputs); NaN at the others, where those are
    numbers, else False or no text."""
    if usable.all():
        return values
    empty = {"b": False, "O": "", "U": ""}.get(values.dtype.kind, np.nan)
    kind = values.dtype if values.dtype.kind in "bOU" else float
    placed = np.full((*values.shape[:-1], usable.size), empty, dtype=kind)
    placed[..., usable] = values
    return placed


def arranged_runs(plan: "SobolPlan", y, findings: list[str]) -> tuple[np.ndarray, tuple[str, ...], dict]:
    """`y` as (blocks, n, replicates, output...) with the names and coordinates of its outputs; shapes are judged
    here."""
    values = np.asarray(y)
    rows, replicates = plan.evaluations, plan.replicates
    if values.dtype.kind not in "fiub":
        findings.append(f"y holds {values.dtype}; give real numbers, NaN for a failed run.")
        return values, (), {}
    flat = values.shape[:1] == (rows * replicates,)
    if not flat and values.shape[:2] != (rows, replicates):
        wanted = f"({rows}" + (f", {replicates}" if replicates > 1 else "") + "[, output...])"
        flat_too = f" or ({rows * replicates}[, output...])" if replicates > 1 else ""
        findings.append(
            f"y has shape {values.shape}; this plan needs {wanted}{flat_too}: {plan.n} base samples in "
            f"{rows // plan.n} blocks{f', {replicates} replicates' if replicates > 1 else ''}."
        )
        return values, (), {}
    leading = 1 if flat else 2
    dims, coords = output_labels(y, tuple(range(leading)))
    shaped = values.astype(float).reshape(rows // plan.n, plan.n, replicates, *values.shape[leading:])
    return shaped, dims, coords


def output_labels(y, used: tuple[int, ...]) -> tuple[tuple[str, ...], dict]:
    """Names and coordinates of the axes of `y` that are outputs, i.e. not in `used`."""
    rest = [axis for axis in range(np.ndim(y)) if axis not in used]
    if isinstance(y, xr.DataArray):
        dims = tuple(str(y.dims[axis]) for axis in rest)
        return dims, {name: c for name, c in y.coords.items() if set(c.dims) <= set(dims)}
    return (("output",) if len(rest) == 1 else tuple(f"output_{i}" for i in range(len(rest)))), {}


def conditional_mean(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replicate means, the variance of each such mean (0 for single runs), and which base samples are complete."""
    if runs.shape[2] == 1:
        mean = runs[:, :, 0]
        return mean, np.zeros_like(mean), ~np.isnan(mean).any(axis=0)
    mean, variance, count = replicate_moments(runs, 2)
    return mean, variance / np.maximum(count, 1), (count >= 2).all(axis=0)


def conditional_variance(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replicate variances k2, the variance of each such variance, and which base samples are complete.

    The variance of k2 is estimated without bias by (2 r k2^2 + (r - 1) k4) / (r (r + 1)) with the fourth k-statistic k4
    (Kendall and Stuart, The Advanced Theory of Statistics I, 1977, section 12.16), from four replicates on.
    """
    mean, variance, count = replicate_moments(runs, 2)
    fourth = np.where(np.isnan(runs), 0.0, (runs - np.expand_dims(mean, 2)) ** 4).sum(axis=2)
    r = np.maximum(count, 4)
    sums = variance * (r - 1)
    k4 = (r * (r + 1) * fourth - 3 * (r - 1) * sums**2) / ((r - 1) * (r - 2) * (r - 3))
    return variance, (2 * r * variance**2 + (r - 1) * k4) / (r * (r + 1)), (count >= 4).all(axis=0)


def replicate_moments(runs: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, unbiased variance and number of the runs along `axis` that are not NaN (0 where too few)."""
    ok = ~np.isnan(runs)
    count = ok.sum(axis=axis)
    with np.errstate(invalid="ignore"):  # infinite runs are reported by the caller
        mean = np.where(ok, runs, 0.0).sum(axis=axis) / np.maximum(count, 1)
        squares = np.where(ok, runs - np.expand_dims(mean, axis), 0.0) ** 2
    return mean, squares.sum(axis=axis) / np.maximum(count - 1, 1), count


def setting_findings(confidence: float, resamples: int | None, max_failed: float) -> list[str]:
    """What is wrong with the settings of an estimator with intervals; no bootstrap has `resamples` None."""
    findings = []
    if not 0 < confidence < 1:
        findings.append(f"confidence is {confidence}; give a number between 0 and 1, e.g. 0.95.")
    elif resamples is not None and (int(resamples) != resamples or resamples * (1 - confidence) < 2):
        least = int(np.ceil(2 / (1 - confidence)))
        findings.append(f"resamples is {resamples}; an interval at {confidence} needs a whole number >= {least}.")
    if not 0 <= max_failed < 1:
        findings.append(f"max_failed is {max_failed}; give a fraction from 0 up to, but not including, 1.")
    return findings


def members_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """The members of a group, which may be a single name."""
    return (names,) if isinstance(names, str) else tuple(names)


def value_findings(values, lost, max_failed, shape, dims, what: str) -> list[str]:
    """What forbids an analysis of `values` (..., outputs), NaN where not used; `lost` (n, outputs) samples failed."""
    findings, n = [], len(lost)

    def name(flags) -> str:
        if not shape:
            return "the output"
        where = [dict(zip(dims, map(int, np.unravel_index(k, shape)), strict=True)) for k in np.flatnonzero(flags)]
        return f"output{'s' if len(where) > 1 else ''} {', '.join(map(str, where[:5]))}{' ...' * (len(where) > 5)}"

    reasons = unusable_outputs(values, lost, max_failed)
    infinite, bad, constant = (reasons == each for each in (Unusable.INFINITE, Unusable.FAILED, Unusable.CONSTANT))
    if infinite.any():
        findings.append(
            f"{name(infinite)}: {np.isinf(values).sum()} infinite values; the variance does not exist. "
            "Bound the inputs, or set failed runs to NaN."
        )
    if bad.any():
        findings.append(
            f"{name(bad)}: up to {lost.sum(axis=0)[bad].max()} of {n} {what} have failed runs; allowed is a share of "
            f"{max_failed} with {MINIMUM_BASE_SAMPLES} left. Find out why they fail, restrict the inputs, or raise "
            "`max_failed` knowing that the result then speaks of the runs that succeed."
        )
    if constant.any():
        findings.append(
            f"{name(constant)}: every run gives the same value, so there is no variance to split. Leave it out."
        )
    return findings


def dependence_findings(coordinates: np.ndarray, names) -> list[str]:
    """Why indices of independent inputs do not exist for samples (n, d) such as posterior draws, if they do not.

    The coordinates are those in which the inputs of the space would be independent.
    """
    if len(coordinates) < 3 or coordinates.shape[1] < 2:
        return []
    ranks = rankdata(coordinates, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant column depends on nothing
        correlation = np.nan_to_num(np.corrcoef(ranks, rowvar=False))
    i, j = np.triu_indices(len(correlation), 1)
    strength = np.abs(correlation[i, j])
    wrong = np.flatnonzero((strength > DEPENDENT) & (strength > STANDARD_ERRORS / np.sqrt(len(ranks) - 1)))
    pairs = [f"{names[i[k]]!r} and {names[j[k]]!r} ({correlation[i[k], j[k]]:.2f})" for k in wrong[:3]]
    if not pairs:
        return []
    return [
        f"the samples of {', '.join(pairs)}{' and others' * (len(wrong) > 3)} depend on each other (rank correlation), "
        "as posterior draws do; indices of independent inputs say nothing of them. Use shapley_effects, which asks for "
        "no independence, or draw x from the space."
    ]


def bootstrap_counts(n: int, resamples: int, seed: int | Sequence[int]) -> np.ndarray:
    """How often each of `n` samples is drawn in each resample: `(resamples, n)`, rows summing to `n`."""
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    drawn += n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(float)
