"""Which measurements to add: optimal designs, and what each measurement alone would do for every parameter."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ...annotations import Values
from ...errors import InputError, nearest
from ...settings import is_number, whole_number_findings
from ...study import Study
from ..sensitivities import Scale
from .candidates import Candidates, candidate_measurements
from .criteria import CRITERIA, Criterion
from .exchange import Limits, chosen
from .population_designs import roots_of
from .sensitivities import AnyRoots, design_scale, determined, told_by

# A design is resolved if it is shown to be this good, compared with the best.
EFFICIENT = 0.9
UNLIMITED = 10**6


def predicted_drops(
    study: Study,
    theta: Values | None = None,
    candidates: Candidates | None = None,
    *,
    scale: str = "log",
    existing: bool = True,
) -> xr.Dataset:
    """What one more measurement, of each candidate, would do to the standard error of every parameter.

    All sensitivities come from one batch of solves, and one of finer solves to tell what is error.

    Args:
        study: its data, or the measurements that it plans, are what there is. theta: where to evaluate, see
            `fisher_information`. candidates: default `candidate_measurements(study)`. scale: "log" or "natural".
        existing: False begins from no measurements.

    Returns:
        `standard_error_before` (parameter) and `standard_error_after` (candidate, parameter) in the unit of the
        parameter, inf where it is not determined; `ratio` of the two, 0 where the candidate determines what was not
        determined, 1 where neither does, NaN for a candidate that fails; `rank_after`, `reason` why it fails ("" where
        it does not), `experiment`, `output`, `time`, `cost` (candidate), and where units differ `unit`; attributes
        `rank_before`, `scale`.

    Raises:
        InputError: unknown names, parameters that differ between units without a column of units, existing
            measurements whose solves fail, no candidate whose solve does not.

    Example:
        >>> from studies.two_scale_cascade import late
        >>> drops = predicted_drops(late, candidates=candidate_measurements(late, times=[0.2, 10.0]))
        >>> bool(drops.ratio.sel(parameter="kf")[0] < 0.01)
        True
    """
    candidates = candidate_measurements(study) if candidates is None else candidates
    coordinates = design_scale(study, theta, scale)
    return drops_of(roots_of(study, coordinates, candidates, existing=existing), candidates, scale)


def drops_of(roots: AnyRoots, candidates: Candidates, scale: str) -> xr.Dataset:
    """`predicted_drops` from roots that are there."""
    coordinates, count = roots.coordinates, len(candidates.table)
    before = determined(roots, np.zeros(count))
    after = np.full((count, len(coordinates.names)), np.nan)
    rank = np.full(count, -1)
    usable = np.flatnonzero(roots.usable)
    for index, (fine, coarse) in zip(usable, roots.stacked_singly(usable), strict=True):
        found = told_by(fine, coarse, coordinates.size)
        after[index], rank[index] = found.cramer_rao, found.rank
    finite = np.isfinite(before.cramer_rao)
    ratio = np.where(finite, after / np.where(finite, before.cramer_rao, 1.0), np.where(np.isinf(after), 1.0, 0.0))
    return xr.Dataset(
        {
            "standard_error_before": ("parameter", before.cramer_rao * coordinates.unit),
            "standard_error_after": (("candidate", "parameter"), after * coordinates.unit),
            "ratio": (("candidate", "parameter"), np.where(np.isnan(after), np.nan, ratio)),
            "rank_after": ("candidate", rank),
            **_of_candidates(candidates, roots),
        },
        coords={"candidate": np.arange(count), "parameter": list(coordinates.names)},
        attrs={"rank_before": before.rank, "scale": scale},
    )


def _of_candidates(candidates: Candidates, roots: AnyRoots) -> dict[str, tuple]:
    table = candidates.table
    return {
        "reason": ("candidate", roots.reason.astype(object)),
        **{name: ("candidate", table[name].to_numpy()) for name in ("time", "cost")},
        **{name: ("candidate", table[name].to_numpy(object)) for name in ("experiment", "output")},
        **({} if candidates.unit is None else {"unit": ("candidate", table[candidates.unit].to_numpy(object))}),
    }


def optimal_design(
    study: Study,
    theta: Values | None = None,
    candidates: Candidates | None = None,
    *,
    criterion: str = "D",
    number: int | None = None,
    budget: float | None = None,
    target: str | Mapping[str, float] | None = None,
    replicates: int | None = None,
    scale: str = "log",
    existing: bool = True,
) -> xr.Dataset:
    """The measurements to add that make the parameters best known, locally at `theta`.

    Greedy, then by exchange of single measurements, from two starts; a bound says how far the best of all designs can
    be from it. Directions of the parameters that no candidate determines are left out of the criterion, and named.

    Args:
        study, theta, candidates, scale, existing: see `predicted_drops`.
        criterion: "D" (volume of the confidence ellipsoid), "A" (sum of variances), "E" (the largest variance along any
            direction) or "c" (variance of the `target`), of the parameters on the scale.
        number: how many measurements, whatever they cost; or else budget: what they may cost together.
        target: of c: a parameter, or the coefficients of a combination of parameters on the scale.
        replicates: how often a candidate may be measured; None: any number of times.

    Returns:
        `times_measured` (candidate); `standard_error_before`, `standard_error_after` (parameter) in its unit;
        `experiment`, `output`, `time`, `cost`, `reason` (candidate); attributes `criterion`, `criterion_before`,
        `criterion_after` (log det of the information, or a variance; infinite where less is determined than could be),
        `efficiency` (at least this good, as a factor of the variance, compared with the best of all designs; 0 where
        units differ, whose measurements do not add up, and no bound is known),
        `resolved` (whether that is .9 or more), `rank_before`, `rank_after`, `rank_possible`, `undetermined` (the
        parameters that are not determined afterwards), `total_cost`, `scale`.

    Raises:
        InputError: as `predicted_drops`; a budget for no measurement; a target that cannot be determined.

    Example:
        >>> from studies.two_scale_cascade import late
        >>> found = optimal_design(late, number=2)
        >>> bool((found.time[found.times_measured > 0] < 2.0).all())
        True
    """
    candidates = candidate_measurements(study) if candidates is None else candidates
    findings = _setting_findings(study, criterion, number, budget, target, replicates)
    price = candidates.table["cost"].to_numpy(float) if number is None else np.ones(len(candidates.table))
    limit = float((budget if number is None else number) or 0.0)
    if not findings and limit < price.min():
        findings.append(f"budget is {budget}; the cheapest measurement costs {price.min():g}.")
    if findings:
        raise InputError(f"optimal design for study {study.name!r}", findings)
    coordinates = design_scale(study, theta, scale)
    roots = roots_of(study, coordinates, candidates, existing=existing)
    measure = Criterion.of(criterion, roots, coefficients(coordinates, target))
    most = np.where(roots.usable, UNLIMITED if replicates is None else replicates, 0)
    times, bound = chosen(measure, Limits(price, limit, most))
    return _design_dataset(roots, candidates, measure, times, bound, scale)


def coefficients(coordinates: Scale, target: str | Mapping[str, float] | None) -> np.ndarray | None:
    """Coefficients `(k,)` of a target."""
    if target is None:
        return None
    weights = {target: 1.0} if isinstance(target, str) else target
    return np.array([float(weights.get(name, 0.0)) for name in coordinates.names])


def _setting_findings(study, criterion, number, budget, target, replicates) -> list[str]:
    findings = [] if criterion in CRITERIA else [f"criterion is {criterion!r}; known are {', '.join(CRITERIA)}."]
    if (number is None) == (budget is None):
        findings.append("give `number`, how many measurements, or `budget`, what they may cost; one of the two.")
    findings += whole_number_findings({} if number is None else {"number": (number, 1)})
    findings += whole_number_findings({} if replicates is None else {"replicates": (replicates, 1)})
    if budget is not None and not (is_number(budget) and budget > 0 and np.isfinite(budget)):
        findings.append(f"budget is {budget!r}; give a number above 0.")
    if (criterion == "c") != (target is not None):
        findings.append("the criterion c, and no other, needs a `target`.")
    names = study.model.space.epistemic
    weights = {target: 1.0} if isinstance(target, str) else target or {}
    findings += [
        f"unknown epistemic parameter {name!r} in the target; {nearest(name, names)}"
        for name in weights
        if name not in names
    ]
    if target is not None and not any(weights.values()):
        findings.append("the target has no coefficient other than 0.")
    return findings


def _design_dataset(
    roots: AnyRoots, candidates: Candidates, measure: Criterion, times: np.ndarray, bound: float, scale: str
) -> xr.Dataset:
    coordinates = roots.coordinates
    before, after = determined(roots, np.zeros(len(times))), determined(roots, times)
    root = measure.root(times)
    value = measure.value(root)
    # by the same rule as all verdicts: what cannot be told from error is not determined
    complete = np.isfinite(value) and (measure.kind == "c" or after.rank == measure.rank)
    efficiency = float(np.exp(min(0.0, bound - measure.loss(root)))) if complete else 0.0
    lost = [name for name, error in zip(coordinates.names, after.cramer_rao, strict=True) if np.isinf(error)]
    return xr.Dataset(
        {
            "times_measured": ("candidate", times),
            "standard_error_before": ("parameter", before.cramer_rao * coordinates.unit),
            "standard_error_after": ("parameter", after.cramer_rao * coordinates.unit),
            **_of_candidates(candidates, roots),
        },
        coords={"candidate": np.arange(len(times)), "parameter": list(coordinates.names)},
        attrs={
            "criterion": measure.kind,
            "criterion_before": measure.value(measure.root(np.zeros(len(times)))),
            "criterion_after": value,
            "efficiency": efficiency,
            "resolved": efficiency >= EFFICIENT,
            "rank_before": before.rank,
            "rank_after": after.rank,
            "rank_possible": measure.rank,
            "undetermined": lost,
            "total_cost": float(times @ candidates.table["cost"].to_numpy(float)),
            "scale": scale,
        },
    )
