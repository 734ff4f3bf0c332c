"""Sobol indices by pick-freeze: how much of an output's variance each input explains, alone (S1) or at all (ST).

Draw two independent samples A and B of all inputs, and copies of A in which one input i is taken from B (and, for
second order, copies of B in which it is taken from A). Two runs that share only input i agree through that input
alone, so their covariance is the variance that i explains by itself; two runs that share everything but i differ
through i alone, so half their mean squared difference is all the variance in which i takes part.

Every estimator here is a ratio of two sums over base samples (one row of A with its partners). That makes the bootstrap
one matrix product: resampled counts times per-row products gives all indices of all outputs in all resamples at once.

Which estimator is used was decided by measurement: root mean squared error relative to the usual default (Saltelli 2010
for S1, Jansen 1999 for ST, one common variance) on the same runs, scrambled Sobol points, 256 and 1024 base samples;
Ishigami, Sobol's g in 3, 8 and 20 dimensions, borehole, OTL circuit and wing weight.

- All four blocks (`second_order=True`): the symmetric product estimator of Azzini, Mara and Rosati (2021,
  doi:10.1016/j.envsoft.2021.105167); relative error 0.22 to 0.67 for S1, 0.37 to 0.97 for ST, and 0.10 to 0.41 for S2,
  where the four blocks of a pair are used in the same way. At 4096 base samples it is 0.18 to 0.75 for S1 and 0.69 to
  1.04 for ST, but 3.5 for the ST of the borehole: points so many know the plain variance nearly exactly.
- Three blocks: S1 from the product of Saltelli et al. (2010, doi:10.1016/j.cpc.2009.09.018), which is good for small
  indices, and the correlation of Janon et al. (2014, doi:10.1051/ps/2013040), good for large ones; ST from the squared
  difference of Jansen (1999, doi:10.1016/S0010-4655(98)00154-4) over the variance of A and B or of its own two blocks.
  The two are mixed for each input and output with the weight in [0, 1] of least estimated variance: 0.67 to 1.06 for
  S1, 0.72 to 1.04 for ST.

At an equal number of runs four blocks with n/2 base samples are therefore usually better than three with n.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import xarray as xr
from scipy.stats import qmc

from ..errors import InputError, nearest
from .runs import (
    MEMORY,
    MINIMUM_BASE_SAMPLES,
    arranged_runs,
    bootstrap_counts,
    conditional_mean,
    conditional_variance,
    setting_findings,
    value_findings,
)

MOMENTS = {"mean": conditional_mean, "variance": conditional_variance}
LEAST_FOR_VARIANCE = 4


class CubeSpace(Protocol):
    """What a plan needs of a parameter space: the free names and the map from the unit cube to values."""

    free: tuple[str, ...]

    def from_cube(self, u: np.ndarray) -> Mapping[str, np.ndarray]: ...


@dataclass(frozen=True, eq=False)
class SobolPlan:
    """The runs that Sobol indices need, and how they are arranged.

    `inputs` and `cube` hold the blocks one below the other, each of `n` rows: A, B, then A with the columns of one
    group from B for every group, then (second order) B with the columns of one group from A. The groups are single
    parameters unless asked otherwise.

    Args:
        names: the free parameters, in the order of the columns.
        groups: label -> parameters that are varied together.
        n: base samples (a power of 2); `n_requested` is what was asked for.
        second_order: whether the fourth kind of block is there.
        replicates: runs of a stochastic model at every row.
        seed: of the scrambling.
        cube: `(evaluations, d)` independent coordinates in (0, 1).
        values: every parameter, fixed ones included, `(evaluations,)`.
    """

    names: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    n: int
    n_requested: int
    second_order: bool
    replicates: int
    seed: int
    cube: np.ndarray
    values: dict[str, np.ndarray]

    @property
    def inputs(self) -> np.ndarray:
        """Parameter values `(evaluations, d)`, one column per name."""
        return np.stack([self.values[name] for name in self.names], axis=-1)

    @property
    def thetas(self) -> dict[str, np.ndarray]:
        """All parameters `(evaluations * replicates,)` for `evaluate_many`; the replicates of a row follow each
        other."""
        return {name: np.repeat(value, self.replicates) for name, value in self.values.items()}

    @property
    def evaluations(self) -> int:
        """Rows of `inputs`; the number of runs is this times `replicates`."""
        return len(self.cube)

    @property
    def blocks(self) -> tuple[str, ...]:
        """What each run of `n` rows is: "A", "B", "A, x from B", ..."""
        partners = [f"A, {label} from B" for label in self.groups]
        partners += [f"B, {label} from A" for label in self.groups if self.second_order]
        return ("A", "B", *partners)


def sobol_plan(
    space: CubeSpace,
    n: int,
    *,
    second_order: bool = False,
    replicates: int = 1,
    groups: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> SobolPlan:
    """The input values at which a model must be run for its Sobol indices.

    The base samples are scrambled Sobol points of 2 d dimensions. They keep their balance only in powers of two, so
    `n` is rounded up to the next one (`plan.n`; `plan.n_requested` is what was asked for). There are `n (g + 2)`
    rows for g groups, `n (2 g + 2)` with second order.

    A parameter whose distribution names other parameters is mapped from its own coordinate of the cube by its quantile
    *given* those others (Rosenblatt). Its index is therefore that of the independent coordinate: of what it adds once
    the named ones are known, not of its marginal spread.

    Args:
        space: a `Space`, or anything with `free` (or `names`) and `from_cube`.
        n: base samples.
        second_order: adds the blocks for pairs; S1 and ST become much sharper too.
        replicates: runs per row, for a stochastic model.
        groups: label -> names of parameters varied together; every free parameter in exactly one. Default: each alone.
        seed: of the scrambling; 0 is a seed.

    Returns:
        a `SobolPlan`.

    Raises:
        InputError: with every finding.

    Example:
        >>> from uqbench import Space, Uniform, epistemic
        >>> space = Space(a=epistemic(Uniform(0.0, 1.0)), b=epistemic(Uniform(0.0, 1.0)))
        >>> sobol_plan(space, 60).inputs.shape
        (256, 2)
    """
    free = getattr(space, "free", None)
    names = tuple(space.names if free is None else free)
    findings = []
    if int(n) != n or n < MINIMUM_BASE_SAMPLES:
        findings.append(f"n is {n}; give a whole number of base samples, at least {MINIMUM_BASE_SAMPLES}.")
    if int(replicates) != replicates or replicates < 1:
        findings.append(f"replicates is {replicates}; give a whole number, at least 1.")
    if not names:
        findings.append("the space has no free parameter, so there is nothing to vary.")
    groups = {name: (name,) for name in names} if groups is None else {k: members_of(v) for k, v in groups.items()}
    findings += group_findings(groups, names)
    if findings:
        raise InputError("sobol_plan", findings)
    rounded = 1 << (int(n) - 1).bit_length()
    d = len(names)
    # The points are multiples of 2^-30 and may be 0; the centre of the cell keeps every quantile finite.
    points = qmc.Sobol(2 * d, scramble=True, bits=30, rng=np.random.default_rng(seed)).random(rounded) + 2.0**-31
    # The two columns of an input stand beside each other: an index lives on that pair, and Sobol points are the better
    # balanced the closer and lower their dimensions are.
    a, b = points[:, 0::2], points[:, 1::2]
    cube = [a, b]
    for base, donor in ((a, b), (b, a))[: 1 + second_order]:
        for members in groups.values():
            block, columns = base.copy(), [names.index(name) for name in members]
            block[:, columns] = donor[:, columns]
            cube.append(block)
    cube = np.concatenate(cube)
    values = {name: np.asarray(value, dtype=float) for name, value in space.from_cube(cube).items()}
    infinite = [name for name in names if not np.isfinite(values[name]).all()]
    if infinite:
        raise InputError(
            "sobol_plan", [f"{name!r} has values that are not finite; bound its prior." for name in infinite]
        )
    return SobolPlan(names, groups, rounded, int(n), bool(second_order), int(replicates), seed, cube, values)


def members_of(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def group_findings(groups: Mapping[str, tuple[str, ...]], names: tuple[str, ...]) -> list[str]:
    findings = [f"group {label!r} is empty; remove it or name its parameters." for label, m in groups.items() if not m]
    for label, members in groups.items():
        findings += [f"group {label!r} has {m!r}: {nearest(m, names)}" for m in members if m not in names]
    for name in names:
        holders = [label for label, members in groups.items() for member in members if member == name]
        if not holders:
            findings.append(f"parameter {name!r} is in no group; put it into one, or fix it in the space.")
        if len(holders) > 1:
            findings.append(f"parameter {name!r} is in groups {', '.join(map(repr, holders))}; keep it in one.")
    return findings


def sobol_indices(
    plan: SobolPlan,
    y: np.ndarray | xr.DataArray,
    *,
    of: str = "mean",
    over: str | Sequence[str] = (),
    influential: float = 0.05,
    confidence: float = 0.95,
    resamples: int = 1000,
    max_failed: float = 0.2,
    seed: int = 0,
) -> xr.Dataset:
    """First-order, total and (if planned) second-order Sobol indices of every output, with bootstrap intervals.

    Failed runs (NaN) remove their base sample, in which all blocks belong together, for that output; a row with
    replicates lives as long as two of them do. With replicates the indices are those of the conditional mean
    E[y | inputs]: the replicate variance is subtracted wherever a run is multiplied with itself, so an input without
    influence has ST = 0 within its error however noisy the model is. With one run per row this is impossible, and the
    noise of a stochastic model counts as an interaction of every input.

    Args:
        plan: from `sobol_plan`.
        y: `(evaluations[, replicates][, output...])`, or with the replicates of a row one after the other
            `(evaluations * replicates[, output...])`. Dimensions and coordinates of a DataArray are kept.
        of: "mean", or "variance" for the indices of Var(y | inputs), the noise of a stochastic model; that takes four
            replicates per row.
        over: output dimensions of which one index is made, each output weighted by its variance (generalised indices,
            Gamboa, Janon, Klein and Lagnoux 2014, doi:10.1214/14-EJS895), e.g. "time".
        influential: an input counts as influential if its total index exceeds this; what an interval on both sides of
            it leaves open is not `resolved`.
        confidence: level of the intervals.
        resamples: bootstrap resamples of base samples.
        max_failed: fraction of base samples that may be lost before it is an error.
        seed: of the bootstrap; 0 is a seed.

    Returns:
        `S1`, `ST` `(parameter, output...)` and `S2` `(parameter, other_parameter, output...)`, NaN on the diagonal,
        each with `_lower` and `_upper`; `n_valid` `(output...)`, the base samples used. Parameters are the labels of
        the groups. `resolved` `(parameter, output...)`: whether the interval of ST lies on one side of `influential`;
        `n_needed`: about how many base samples would do, since intervals shrink like 1/sqrt(n). Intervals are bootstrap
        percentiles over base samples, as if the points were random. Measured coverage of 95 % intervals: on Sobol
        points they are mostly too wide (97 to 100 %), at worst 90 % for one small total index (Borehole, n = 256); on
        random points 90 to 98 %, with three blocks down to 84 to 87 % for indices near 0. An interval from -inf to inf
        says that the variance itself is not resolved from the noise.

    Raises:
        InputError: with every finding: shapes, infinite values, too many failed runs, constant outputs.

    Example:
        >>> from uqbench import Space, Uniform, epistemic
        >>> plan = sobol_plan(Space(a=epistemic(Uniform(0.0, 1.0)), b=epistemic(Uniform(0.0, 1.0))), 256)
        >>> sobol_indices(plan, plan.inputs @ [2.0, 1.0]).S1.values.round(2)
        array([0.8, 0.2])
    """
    findings = setting_findings(confidence, resamples, max_failed)
    runs, dims, coords = arranged_runs(plan, y, findings)
    over = (over,) if isinstance(over, str) else tuple(over)
    findings += _target_findings(of, over, influential, plan.replicates, dims)
    if findings:
        raise InputError("sobol_indices", findings)
    runs, dims, coords = _targets(runs, over, dims, coords)
    shape = runs.shape[3:-1]
    runs = runs.reshape(*runs.shape[:3], -1, runs.shape[-1])
    mean, noise, valid = MOMENTS[of](runs)
    valid = valid.all(axis=-1)
    used = np.where(valid[:, None, :, None], runs, np.nan)
    findings = value_findings(np.moveaxis(used, -1, 0), ~valid, max_failed, shape, dims, "base samples")
    if findings:
        raise InputError("sobol_indices", findings)
    # Units are removed: indices have none, and products of large means would cancel badly.
    keep = np.where(valid[..., None], mean, np.nan)
    centre, scale = np.nanmean(keep, axis=(0, 1)), np.sqrt(np.nanvar(keep, axis=(0, 1)).sum(axis=-1))[:, None]
    if not scale.all():
        raise InputError("sobol_indices", ["every run gives the same value, so there is no variance to split."])
    mean = np.where(valid[..., None], (mean - centre) / scale, 0.0)
    noise = np.where(valid[..., None], noise / scale**2, 0.0)
    counts = np.concatenate([np.ones((1, plan.n)), bootstrap_counts(plan.n, resamples, seed)])

    labels = list(plan.groups)
    step = max(1, MEMORY // (8 * plan.n * len(labels) * mean.shape[-1]))
    parts = [
        _indices(mean[:, :, k : k + step], noise[:, :, k : k + step], valid[:, k : k + step], counts, len(labels))
        for k in range(0, mean.shape[2], step)
    ]
    data = {}
    for kind, leading in {"S1": ("parameter",), "ST": ("parameter",), "S2": ("parameter", "other_parameter")}.items():
        if kind in parts[0]:
            resampled = np.concatenate([part[kind] for part in parts], axis=-1)
            for suffix, value in _interval(resampled, confidence).items():
                value = _square(value, len(labels)) if kind == "S2" else value
                data[kind + suffix] = ((*leading, *dims), value.reshape(*value.shape[:-1], *shape))
    data["n_valid"] = (dims, valid.sum(axis=0).reshape(shape))
    data |= _resolution({key: data[f"ST{key}"] for key in ("", "_lower", "_upper")}, influential, plan.n)
    coords = {**coords, "parameter": labels} | ({"other_parameter": labels} if "S2" in parts[0] else {})
    attributes = _attributes(plan, of, confidence, resamples, max_failed, seed)
    return xr.Dataset(data, coords, attributes | {"over": list(over), "influential": influential})


def _target_findings(of: str, over: tuple[str, ...], influential: float, replicates: int, dims) -> list[str]:
    findings = []
    if of not in MOMENTS:
        findings.append(f"of={of!r}; known are {', '.join(map(repr, MOMENTS))}.")
    elif of == "variance" and replicates < LEAST_FOR_VARIANCE:
        findings.append(
            f"of='variance' needs {LEAST_FOR_VARIANCE} replicates per row, to know the error of each variance; the "
            f"plan has {replicates}. Plan with replicates={LEAST_FOR_VARIANCE} or more."
        )
    findings += [f"over={name!r} is no dimension of the outputs; they have {', '.join(dims) or 'none'}."
                 for name in over if name not in dims]  # fmt: skip
    if not 0 < influential < 1:
        findings.append(f"influential is {influential}; give a share of the variance between 0 and 1.")
    return findings


def _targets(runs: np.ndarray, over: tuple[str, ...], dims: tuple[str, ...], coords: dict):
    """The outputs `over` which one index is made on one last axis; what is left of dimensions and coordinates."""
    leading = runs.ndim - len(dims)
    moved = [leading + dims.index(name) for name in over]
    runs = np.moveaxis(runs, moved, range(-len(moved), 0))
    runs = runs.reshape(*runs.shape[: runs.ndim - len(moved)], -1)
    kept = tuple(name for name in dims if name not in over)
    return runs, kept, {name: c for name, c in coords.items() if set(c.dims) <= set(kept)}


def _resolution(total: dict, influential: float, n: int) -> dict:
    """Whether ST is known to lie above or below `influential`, and how many base samples would tell."""
    dims, estimate = total[""]
    lower, upper = total["_lower"][1], total["_upper"][1]
    with np.errstate(divide="ignore", invalid="ignore"):
        resolved = (lower > influential) | (upper < influential)
        factor = ((upper - lower) / 2 / np.abs(estimate - influential)) ** 2
    needed = np.where(resolved, float(n), n * np.where(np.isnan(factor), np.inf, np.maximum(factor, 2.0)))
    return {"resolved": (dims, resolved), "n_needed": (dims, needed)}


def _indices(mean, noise, valid, counts, groups: int) -> dict[str, np.ndarray]:
    """All indices (1 + resamples, groups or pairs, outputs); row 0 is the estimate.

    `mean` and `noise` are (blocks, n, outputs, members); the members of an output have one index together.
    """
    valid = valid[..., None]
    a, b = mean[0][:, None], mean[1][:, None]
    ab, ba = (np.moveaxis(mean[2 : 2 + groups], 0, 1), np.moveaxis(mean[2 + groups :], 0, 1))
    na, nb = noise[0][:, None], noise[1][:, None]
    nab, nba = (np.moveaxis(noise[2 : 2 + groups], 0, 1), np.moveaxis(noise[2 + groups :], 0, 1))
    if not ba.shape[1]:
        return _three_blocks((a, b, ab), (na, nb, nab), valid[:, None], counts)
    own = nab + nba
    variance = _sums(counts, (a - b) ** 2 + (ba - ab) ** 2 - (na + nb + own))
    first = _ratio(2 * _sums(counts, (ba - b) * (a - ab)), variance)
    total = _ratio(_sums(counts, (a - ab) ** 2 + (b - ba) ** 2 - (na + nb + own)), variance)
    pair = _pairs(ab, ba, own, first, counts)
    return {"S1": first, "ST": total, "S2": pair}


def _three_blocks(means, noises, valid, counts) -> dict[str, np.ndarray]:
    """S1 and ST without the fourth kind of block: two estimators each, mixed for least variance."""
    (a, b, ab), (na, nb, nab) = means, noises

    def pooled(x, nx):
        """Centred pair (x, ab) and the variance of the two together, per row."""
        centre = np.where(valid, (x + ab) / 2, 0.0).sum(axis=0) / valid.sum(axis=0)
        u, v = np.where(valid, x - centre, 0.0), np.where(valid, ab - centre, 0.0)
        return u, v, (u**2 + v**2 - nx - nab) / 2

    apart = np.broadcast_to(((a - b) ** 2 - na - nb) / 2, ab.shape)
    u, v, pooled_b = pooled(b, nb)
    pooled_a = pooled(a, na)[2]
    change = ((a - ab) ** 2 - na - nab) / 2
    first = _mixed(counts, (b * (ab - a), apart), (u * v, pooled_b))
    return {"S1": first, "ST": _mixed(counts, (change, apart), (change, pooled_a))}


def _mixed(counts, *estimators) -> np.ndarray:
    """Two ratio estimators of one index, weighted for least variance by their influence functions."""
    estimators = [(top.sum(axis=-1), bottom.sum(axis=-1)) for top, bottom in estimators]
    ratios = [_ratio(_weighted(counts, top), _weighted(counts, bottom)) for top, bottom in estimators]
    one, two = (
        (top - ratio[0] * bottom) / np.where(bottom.mean(axis=0) > 0, bottom.mean(axis=0), np.nan)
        for ratio, (top, bottom) in zip(ratios, estimators, strict=True)
    )
    gap = np.mean((one - two) ** 2, axis=0)
    weight = np.mean((two - one) * two, axis=0) / np.where(gap > 0, gap, 1.0)
    weight = np.clip(np.nan_to_num(weight), 0.0, 1.0)
    return weight * ratios[0] + (1 - weight) * ratios[1]


def _pairs(ab, ba, own, first, counts) -> np.ndarray:
    """Second-order indices (1 + resamples, pairs i < j, outputs) by the symmetric product estimator.

    (A with i from B) and (B with j from A) share exactly the inputs i and j. So the two blocks of i and the two of j
    are to the pair what A, B and their mixtures are to one input.
    """
    n, groups, outputs, members = ab.shape
    half = _sums(counts, (ab - ba) ** 2 - own)
    step = max(1, MEMORY // (4 * n * groups * outputs * members))
    found = [np.empty((len(counts), 0, outputs))]
    for start in range(0, groups - 1, step):
        left = range(start, min(start + step, groups - 1))
        rows = [(ba[:, i + 1 :] - ba[:, i, None]) * (ab[:, i, None] - ab[:, i + 1 :]) for i in left]
        i, j = np.array([(i, j) for i in left for j in range(i + 1, groups)]).T
        closed = _ratio(2 * _sums(counts, np.concatenate(rows, axis=1)), half[:, i] + half[:, j])
        found.append(closed - first[:, i] - first[:, j])
    return np.concatenate(found, axis=1)


def _square(pairs: np.ndarray, groups: int) -> np.ndarray:
    """Values of pairs (pairs, outputs) as a symmetric table (groups, groups, outputs), NaN on the diagonal."""
    table = np.full((groups, groups, pairs.shape[-1]), np.nan)
    i, j = np.triu_indices(groups, 1)
    table[i, j] = table[j, i] = pairs
    return table


def _sums(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sums (resample, group, output) of rows (n, group, output, member) over members and resampled samples."""
    return _weighted(counts, rows[..., 0] if rows.shape[-1] == 1 else rows.sum(axis=-1))


def _weighted(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return (counts @ rows.reshape(len(rows), -1)).reshape(len(counts), *rows.shape[1:])


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """NaN where the variance is not positive: after subtracting noise nothing is left to divide by."""
    return top / np.where(bottom > 0, bottom, np.nan)


def _interval(resampled: np.ndarray, confidence: float) -> dict[str, np.ndarray]:
    """Estimate and percentiles; resamples without a variance may lie anywhere, so they count at both ends."""
    tail = (1 - confidence) / 2
    estimate, unknown = resampled[0], np.isnan(resampled[1:])
    lower = np.quantile(np.where(unknown, -np.inf, resampled[1:]), tail, axis=0, method="lower")
    upper = np.quantile(np.where(unknown, np.inf, resampled[1:]), 1 - tail, axis=0, method="higher")
    undefined = unknown.all(axis=0) & np.isnan(estimate)
    return {"": estimate, "_lower": np.where(undefined, np.nan, lower), "_upper": np.where(undefined, np.nan, upper)}


def _attributes(plan: SobolPlan, of: str, confidence: float, resamples: int, max_failed: float, seed: int) -> dict:
    single = "one run per row: if the model is stochastic its noise cannot be separated and counts in every ST."
    many = f"{plan.replicates} replicates per row: indices of the conditional {of}, its own error subtracted."
    return {
        "of": of,
        "estimator": "symmetric product, four blocks (Azzini, Mara and Rosati 2021)"
        if plan.second_order
        else "S1: Saltelli 2010 with Janon 2014; ST: Jansen 1999; mixed for least variance",
        "inputs": "independent coordinates of the unit cube; a parameter that names others counts given those others",
        "noise": single if plan.replicates == 1 else many,
        "interval": "bootstrap percentiles over base samples; usually too wide on Sobol points",
        "confidence": confidence,
        "resamples": resamples,
        "max_failed": max_failed,
        "seed": seed,
        "plan_seed": plan.seed,
        "n": plan.n,
        "n_requested": plan.n_requested,
        "replicates": plan.replicates,
        "evaluations": plan.evaluations * plan.replicates,
    }
