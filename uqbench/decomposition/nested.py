"""The law of total variance for sources inside one another: parameters, units, intrinsic noise, measurement.

Each draw of the outermost source (parameters, say) has several draws of the next one (subjects), each of these several
of the next (runs of a stochastic model), and so on. The variance of one prediction is the sum of what each source adds
once those outside it are given,

    Var(Y) = Var(E[Y | a]) + E[Var(E[Y | a, b] | a)] + ... + E[Var(Y | a, b, ...)],

and each term is estimated without bias from the variance of means at its level less what the levels inside it leave in
these means (nested analysis of variance with random effects, Searle, Casella and McCulloch 1992,
doi:10.1002/9780470316856, chapter 3).
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..errors import InputError
from .runs import MINIMUM_BASE_SAMPLES, in_place, output_labels, sentences, setting_findings, usable_or_error
from .total_variance import noise_findings, split_of_rows

SUBJECT = "nested_variance"


def nested_variance(
    y: np.ndarray | xr.DataArray, sources: Sequence[str], *, measurement_variance: np.ndarray | float | None = None,
    confidence: float = 0.95, resamples: int = 1000, max_failed: float = 0.2, seed: int = 0
) -> xr.Dataset:  # fmt: skip
    """Splits the variance of an output into what each of several nested sources adds.

    The draws of every source must be independent given those outside it. A failed run (NaN) is left out; a unit with
    fewer than two runs left is left out as well, and a draw of the outermost source with fewer than two units is
    dropped and counted.

    Args:
        y: runs, one axis for each source, outermost first, then outputs `(n, m, ..., r[, output...])`. Dimensions and
            coordinates of outputs of a DataArray are kept.
        sources: their names, outermost first, e.g. ("parameters", "subjects", "intrinsic").
        measurement_variance: variance of the measurement noise around each run, where it is known exactly; one more
            source, "measurement". Broadcast to `y`.
        confidence: level of the intervals.
        resamples: bootstrap resamples of the draws of the outermost source.
        max_failed: fraction of these draws that may be lost before it is an error.
        seed: of the bootstrap; 0 is a seed.

    Returns:
        by `source`: `variance` in squared units of `y` and `share`, which sums to 1, each with `_standard_error`,
        `_lower` and `_upper`; `total` with the same; `n_valid`, the draws used. Intervals as in `total_variance`. An
        output that does not vary, with infinite values or too many failed runs is NaN, and `reason` says why.

    Raises:
        InputError: with every finding: names and axes that do not fit, fewer than 2 draws of a source or 8 of the
            outermost, bad variances, no output that can be split.

    Example:
        >>> import numpy as np
        >>> draw = np.random.default_rng(0).normal
        >>> y = draw(size=(2000, 1, 1)) + draw(size=(2000, 3, 1)) + draw(size=(2000, 3, 2))
        >>> nested_variance(y, ["parameters", "subjects", "intrinsic"], resamples=100).variance.round().values
        array([1., 1., 1.])
    """
    findings = setting_findings(confidence, resamples, max_failed)
    values, noise = _checked(y, tuple(sources), measurement_variance, findings)
    if findings:
        raise InputError(SUBJECT, findings)
    levels = len(sources)
    dims, coords = output_labels(y, tuple(range(levels)))
    shape = values.shape[levels:]
    flat, noise = (None if x is None else x.reshape(*x.shape[:levels], -1) for x in (values, noise))
    rows, valid, scale, shifts = _rows(flat, noise)
    used = np.where(valid.reshape(len(valid), *[1] * (levels - 1), -1), flat, np.nan)
    what = "draws (each with two units of two runs at least)"
    reasons, usable = usable_or_error(SUBJECT, used, ~valid, max_failed, shape, dims, what)
    table = split_of_rows(
        rows[..., usable], valid[:, usable], scale[usable], confidence, resamples, seed, shifts[:, usable]
    )
    table = in_place(table, usable)
    names = [*sources, *(["measurement"] if noise is not None else [])]
    data = {}
    for j, suffix in enumerate(("", "_standard_error", "_lower", "_upper")):
        parts, total, shares = table[: len(names), j], table[len(names), j], table[len(names) + 1 :, j]
        data[f"variance{suffix}"] = (("source", *dims), parts.reshape(-1, *shape))
        data[f"share{suffix}"] = (("source", *dims), shares.reshape(-1, *shape))
        data[f"total{suffix}"] = (dims, total.reshape(shape))
    data["n_valid"] = (dims, valid.sum(axis=0).reshape(shape))
    data["reason"] = (dims, sentences(reasons).reshape(shape))
    attributes = {
        "estimator": "nested analysis of variance, unbiased",
        "interval": "studentised bootstrap over draws of the outermost source, as in total_variance",
        "confidence": confidence,
        "resamples": resamples,
        "max_failed": max_failed,
        "seed": seed,
    }
    return xr.Dataset(data, {**coords, "source": names}, attributes)


def _checked(y, sources: tuple[str, ...], measurement_variance, findings: list[str]):
    """Runs and noise variances as floats; what is wrong goes to `findings`."""
    values = np.asarray(y)
    if len(sources) < 2 or len(set(sources)) < len(sources) or "measurement" in sources:
        findings.append(
            f"sources are {', '.join(map(repr, sources)) or 'none'}; give at least two different names, outermost "
            "first; the measurement comes with `measurement_variance`."
        )
    if values.dtype.kind not in "fiub":
        findings.append(f"y holds {values.dtype}; give real numbers, NaN for a failed run.")
        return values, None
    if values.ndim < len(sources):
        findings.append(
            f"y has shape {values.shape}; give one axis for each of the {len(sources)} sources, then outputs."
        )
        return values, None
    for name, count in zip(sources, values.shape, strict=False):
        least = MINIMUM_BASE_SAMPLES if name == sources[0] else 2
        if count < least:
            findings.append(
                f"{name!r} has {count} draw{'s' * (count != 1)}; its variance needs at least {least}. Add draws, or "
                "leave the source out."
            )
    noise = None if measurement_variance is None else noise_findings(y, values, measurement_variance, findings)
    return values.astype(float), noise


def _rows(runs: np.ndarray, noise: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Features of each outermost draw (n, feature, output), which draws count, the unit of each output, and by how much
    the estimate of a part can fall below zero.

    Features: the mean, its square less the variance of the mean, the part of each source inside, and the noise.
    """
    levels = runs.ndim - 1
    finite = np.isfinite(runs)
    axes = tuple(range(levels))
    centre = np.where(finite, runs, 0.0).sum(axis=axes) / np.maximum(finite.sum(axis=axes), 1)
    mean, error, ok = np.where(finite, runs - centre, np.where(np.isnan(runs), 0.0, np.inf)), 0.0, ~np.isnan(runs)
    parts: list[np.ndarray] = []
    below: list[np.ndarray] = []
    for axis in range(levels - 1, 0, -1):
        count = ok.sum(axis=axis)
        safe = np.maximum(count, 2)
        with np.errstate(invalid="ignore"):  # infinite runs are reported by the caller
            middle = np.where(ok, mean, 0.0).sum(axis=axis) / np.maximum(count, 1)
            squares = np.where(ok, mean - np.expand_dims(middle, axis), 0.0) ** 2
            spread = squares.sum(axis=axis) / (safe - 1)
            parts = [np.where(ok, part, 0.0).sum(axis=axis) / np.maximum(count, 1) for part in parts]
            inside = np.where(ok, error, 0.0).sum(axis=axis) / np.maximum(count, 1)
        parts.insert(0, spread - inside)
        below = [np.where(ok.any(axis=axis), inside, 0.0).reshape(-1, runs.shape[-1]).mean(axis=0), *below]
        mean, error, ok = middle, spread / safe, count >= 2
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt(np.where(ok, mean**2 + sum(parts), 0.0).sum(axis=0) / ok.sum(axis=0))
        rows = [mean / scale, (mean**2 - error) / scale**2, *(part / scale**2 for part in parts)]
        if noise is not None:
            weight = ~np.isnan(runs)
            inner = tuple(range(1, levels))
            total = np.where(weight, noise, 0.0).sum(axis=inner) / np.maximum(weight.sum(axis=inner), 1)
            rows.append(total / scale**2)
        zero = np.zeros_like(scale)
        shifts = np.stack([zero, *(each / scale**2 for each in below), *([zero] if noise is not None else [])])
    return np.where(ok[:, None], np.stack(rows, axis=1), 0.0), ok, scale, shifts
