"""Whether a sample has a representative elementary volume (REV): a range of window sizes within which the property of a
window is that of the medium, up to a tolerance (Bear 1972; Hill 1963, doi:10.1016/0022-5096(63)90036-X)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from scipy import stats

from ..errors import InputError
from ..homogenisation import effective_tensor
from ..homogenisation.coefficients import value_findings as coefficient_findings
from ..units import unit_finding
from .images import read_sample

# Fewer windows than this side by side say little of how windows differ.
FEWEST = 8
# Side of the confidence limit of a standard deviation.
CONFIDENCE = 0.95
# A variance that decays with an exponent smaller than this part of d has correlations of long range.
SHORT_RANGE = 0.6


@dataclass(frozen=True)
class RevAnalysis:
    """What `rev_analysis` finds, by size of window.

    Args:
        property: what was asked for. unit: of lengths.
        window: `(sizes,)`, edges. count: `(sizes,)`, windows side by side. mean: `(sizes,)`, over them.
        relative_sd: `(sizes,)`, between windows, relative to the mean. upper: `(sizes,)`, its upper 95 % limit for
            normal windows; infinite where there are too few.
        deviation: `(sizes,)`, of the mean from that of the largest window that is resolved, relative.
        within: `(sizes,)`, whether `upper` and the deviation are below the tolerance.
        interval: of windows within tolerance, or None where there is no REV.
        trend: relative change across the sample along each axis. trend_p: its p-values.
        decay: exponent of the variance with the window; that of short-range media is d. NaN where not resolved.
        findings: sentences: what speaks against a REV and what to do instead.
        tolerance: relative. boundary_layer: its thickness, or None.
    """

    property: str
    unit: str
    window: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    relative_sd: np.ndarray
    upper: np.ndarray
    deviation: np.ndarray
    within: np.ndarray
    interval: tuple[float, float] | None
    trend: np.ndarray
    trend_p: np.ndarray
    decay: float
    findings: tuple[str, ...]
    tolerance: float
    boundary_layer: float | None

    def __str__(self) -> str:
        if self.interval is None:
            verdict = f"no REV of the {self.property}"
        else:
            low, high = (f"{edge:.4g}" for edge in self.interval)
            sizes = low if low == high else f"{low} to {high}"
            verdict = f"REV of the {self.property}: windows of {sizes} {self.unit}"
        return "\n".join([verdict, *(f"  - {finding}" for finding in self.findings)])


def rev_analysis(
    sample,
    *,
    voxel_size: float | None = None,
    unit: str | None = None,
    property: str = "porosity",
    tolerance: float = 0.05,
    windows: Sequence[int] | None = None,
    boundary_layer: float | None = None,
) -> RevAnalysis:
    """The property of windows of a sample by their size, and the interval of sizes that represent it, or none.

    Args:
        sample: array `(nx, ny)` or `(nx, ny, nz)`, or a .npy or .tif file. voxel_size: edge of a voxel, in `unit`.
        property: "porosity", the fraction of voxels that are not zero, of a sample of two values with zero for the
            solid; "mean", of any field; "effective coefficient", of a positive coefficient in each voxel: a third (or
            half) of the trace of the tensor of each window, continued periodically.
        tolerance: relative, for the spread between windows and for the deviation of their mean.
        windows: edges in voxels; default powers of two from 2 on.
        boundary_layer: thickness, such as sqrt(D/k), in `unit`, over which a field changes at a boundary.

    Raises:
        InputError: with everything that is wrong.

    Example:
        >>> checks = np.indices((64, 64)).sum(axis=0) % 2
        >>> print(rev_analysis(checks, voxel_size=2.0, unit="um"))
        REV of the porosity: windows of 4 to 32 um
    """
    array, sizes = _checked(sample, voxel_size, unit, property, tolerance, windows, boundary_layer)
    # they would have been among the findings
    assert voxel_size is not None and unit is not None
    of_window = PROPERTIES[property]
    blocks = [_blocks(array, size) for size in sizes]
    values = [of_window(each) for each in blocks]
    count = np.array([each.size for each in values])
    mean = np.array([each.mean() for each in values])
    scale = np.where(mean == 0, np.nan, np.abs(mean))
    sd = np.array([each.std(ddof=1) if each.size > 1 else np.nan for each in values]) / scale
    limit = np.sqrt((count - 1) / stats.chi2.ppf(1 - CONFIDENCE, np.maximum(count - 1, 1)))
    resolved = count >= FEWEST
    upper = np.where(resolved, sd * limit, np.inf)
    deviation = np.abs(mean / mean[resolved][-1] - 1) if resolved.any() else np.full(mean.shape, np.nan)
    within = (upper <= tolerance) & (deviation <= tolerance)
    length = sizes * voxel_size
    interval = _interval(length, within, resolved)
    trend, trend_p = _trend(values[0], [n // sizes[0] for n in array.shape], scale[0])
    decay = _decay(length, sd, resolved)
    unsolved = tuple(
        f"{bad} of {each.size} windows of {size} voxels have no effective coefficient: the iteration did not end."
        for size, each in zip(sizes, values, strict=True)
        if (bad := int(np.sum(np.isnan(each))))
    )
    findings = unsolved + _findings(
        array.ndim, interval, resolved, trend, trend_p, decay, tolerance, boundary_layer, unit
    )
    return RevAnalysis(
        *(property, unit, length, count, mean, sd, upper, deviation, within, interval, trend, trend_p, decay, findings),
        *(tolerance, boundary_layer),
    )


def _share(blocks: np.ndarray) -> np.ndarray:
    return np.mean(blocks != 0, axis=tuple(range(1, blocks.ndim)))


def _mean(blocks: np.ndarray) -> np.ndarray:
    return np.mean(blocks, axis=tuple(range(1, blocks.ndim)), dtype=float)


def _effective(blocks: np.ndarray) -> np.ndarray:
    # one after the other, so that memory is that of one window
    found = jax.lax.map(effective_tensor, np.asarray(blocks, float))
    return np.trace(np.asarray(found.tensor), axis1=1, axis2=2) / (blocks.ndim - 1)


PROPERTIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "porosity": _share,
    "mean": _mean,
    "effective coefficient": _effective,
}


def _blocks(array: np.ndarray, size: int) -> np.ndarray:
    """`(windows, size, size[, size])`: windows side by side, what is left over at the ends is not used."""
    d, counts = array.ndim, [n // size for n in array.shape]
    cut = array[tuple(slice(count * size) for count in counts)]
    split = cut.reshape([part for count in counts for part in (count, size)])
    return split.transpose([*range(0, 2 * d, 2), *range(1, 2 * d, 2)]).reshape(-1, *[size] * d)


def _interval(length, within, resolved) -> tuple[float, float] | None:
    """The longest run of resolved sizes within tolerance that has no resolved size outside in between."""
    best, start = None, None
    for i in range(len(length)):
        if not (resolved[i] and within[i]):
            start = None
            continue
        start = i if start is None else start
        if best is None or i - start > best[1] - best[0]:
            best = (start, i)
    return None if best is None else (float(length[best[0]]), float(length[best[1]]))


def _trend(values: np.ndarray, counts: list[int], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Relative change across the sample along each axis, and p-values, from means over layers across it."""
    grid, slopes, chances = values.reshape(counts), [], []
    for axis, count in enumerate(counts):
        layers = grid.mean(axis=tuple(a for a in range(grid.ndim) if a != axis))
        # eight thick layers at most, since neighbours that are correlated do not count as many
        coarse = np.array([part.mean() for part in np.array_split(layers, min(8, count))])
        if coarse.size < 4 or np.ptp(coarse) == 0:
            slopes.append(0.0)
            chances.append(1.0)
            continue
        line = stats.linregress(np.linspace(0, 1, coarse.size), coarse)
        slopes.append(line.slope / scale)
        chances.append(line.pvalue)
    return np.array(slopes), np.array(chances)


def _decay(length, sd, resolved) -> float:
    use = resolved & (sd > 0)
    # of the larger half, where windows are beyond the correlation length if any are
    place = np.flatnonzero(use)[-3:]
    if place.size < 3:
        return float("nan")
    return float(-2 * np.polyfit(np.log(length[place]), np.log(sd[place]), 1)[0])


def _findings(d, interval, resolved, trend, trend_p, decay, tolerance, boundary_layer, unit) -> tuple[str, ...]:
    findings = []
    if not resolved.any():
        findings.append(f"no size has {FEWEST} windows side by side: the sample is too small to tell.")
    elif interval is None:
        findings.append("no size of window is within tolerance: use a larger sample, or resolve the microstructure.")
    for name, change, chance in zip("xyz", trend, trend_p, strict=False):
        if chance < 0.01 and abs(change) > tolerance:
            findings.append(
                f"the property changes by {100 * change:.0f} % across the sample along {name}: let it vary with place "
                "at the macroscopic scale, or resolve it."
            )
    if decay < SHORT_RANGE * d:
        findings.append(
            f"the variance between windows falls with the power {decay:.2f} of their size and not with {d}: "
            "correlations reach as far as the windows (long range, or a trend). A nonlocal model or a larger sample "
            "is needed."
        )
    if boundary_layer is not None and interval is not None and boundary_layer < 5 * interval[0]:
        findings.append(
            f"the boundary layer of {boundary_layer:.4g} {unit} is less than 5 times the smallest window: effective "
            "properties do not hold in it. Resolve the microstructure there."
        )
    return tuple(findings)


def _checked(sample, voxel_size, unit, property, tolerance, windows, boundary_layer) -> tuple[np.ndarray, np.ndarray]:
    array, problem = read_sample(sample)
    findings = [problem] if problem else []
    if voxel_size is None:
        findings.append("the sample has no voxel size; give voxel_size=, the edge of a voxel, and its unit=.")
    elif not _is_positive(voxel_size):
        findings.append(f"voxel_size is {voxel_size!r}; give a positive length, the same along all axes.")
    if unit is None:
        findings.append("the voxel size has no unit; give unit=, such as 'um'.")
    elif trouble := unit_finding(unit):
        findings.append(trouble)
    if property not in PROPERTIES:
        findings.append(f"the property is {property!r}; known are {', '.join(PROPERTIES)}.")
    if not (_is_positive(tolerance) and tolerance < 1):
        findings.append(f"tolerance is {tolerance!r}; give a number between 0 and 1.")
    if boundary_layer is not None and not _is_positive(boundary_layer):
        findings.append(f"boundary_layer is {boundary_layer!r}; give a positive length, in the unit of the voxels.")
    if array is None:
        raise InputError("REV analysis", findings)
    findings += _value_findings(array, property)
    shortest = min(array.shape)
    default = [2**power for power in range(1, 30) if 2**power <= shortest]
    sizes = np.unique(np.asarray(default if windows is None else windows))
    if sizes.size == 0 or sizes.dtype.kind not in "iu" or sizes[0] < 1:
        findings.append(
            f"windows are {windows!r}; give edges in whole voxels, of a sample of at least 2 along each axis."
        )
    elif sizes[-1] > shortest:
        colours = " (Are these colours? Give one of them.)" if array.ndim == 3 and array.shape[-1] in (3, 4) else ""
        findings.append(
            f"a window of {sizes[-1]} voxels is larger than the sample, {shortest} along its shortest axis.{colours}"
        )
    if findings:
        raise InputError("REV analysis", findings)
    return array, sizes


def _value_findings(array: np.ndarray, property: str) -> list[str]:
    """Values of which there is no such property, or none that a relative tolerance fits."""
    if property == "effective coefficient":
        return coefficient_findings(array)
    if bad := int(np.sum(~np.isfinite(array))):
        return [f"{bad} of {array.size} voxels are not finite (NaN or infinite)."]
    if property == "porosity" and np.unique(array).size > 2:
        return ["the sample has more than two values; segment it, or ask for the property 'mean'."]
    if property == "porosity" and not array.any():
        return ["all voxels are zero, which is solid: there are no pores. Give another number to what is a pore."]
    if property == "mean" and np.abs(array.mean(dtype=float)) <= 1e-12 * np.abs(array).max():
        return ["the mean of the sample is zero, and no spread is small beside it. Give the field without its offset."]
    return []


def _is_positive(value) -> bool:
    """Whether it is one positive finite number."""
    return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf" and 0 < value < np.inf
