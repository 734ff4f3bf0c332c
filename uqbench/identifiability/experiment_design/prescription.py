"""For each parameter that data leave unknown: the cheapest measurements that make it known, tried on simulated data.

A parameter counts as not identifiable in practice where its least standard error is infinite or exceeds the standard
deviation of its prior: the data then say less of it than was known without them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from ...annotations import Values
from ...errors import InputError, nearest
from ...likelihoods import Marginal, likelihood_of, simulate_data, with_units
from ...measurements import placeholders
from ...settings import is_number, seed_findings, whole_number_findings
from ...study import Study
from ..fisher import fisher_information
from ..prior import prior_standard_deviations
from ..profiles import profile_likelihood
from ..sensitivities import Scale
from .candidates import Candidates, candidate_measurements
from .criteria import Criterion
from .exchange import Limits, chosen
from .optimal import UNLIMITED, drops_of
from .population_designs import roots_of
from .sensitivities import AnyRoots, design_scale, determined, planned_study

# A prescription makes the standard error at most this share of the prior's standard deviation.
SHARE = 0.5
# A set is cheaper by at least this share of the cheapest measurement, or not at all.
LESS = 1e-3
NOTHING = "no candidate determines it, nor all of them together: measure other outputs, or under other inputs"


class Check(NamedTuple):
    """What data that hold the prescribed measurements say of a parameter, in its unit."""

    estimate: float
    standard_error: float


def prescribe(
    study: Study,
    theta: Values | None = None,
    candidates: Candidates | None = None,
    *,
    parameters: Sequence[str] | None = None,
    share: float = SHARE,
    number: int = 20,
    scale: str = "log",
    seed: int = 0,
    check: Callable[[Study, Values, str], Check] | None = None,
) -> xr.Dataset:
    """What to measure so that each parameter that is not identifiable becomes so, and whether it then is.

    Of all candidates by themselves the cheapest that does is found; of sets of several the cheapest that greedy steps
    and exchanges find. Each is tried on data simulated at `theta`, of the existing and the added measurements.

    Args:
        study, theta, candidates, scale: see `predicted_drops`.
        parameters: these, identifiable or not; default all that are not.
        share: the standard error to reach, as a share of the standard deviation of the prior, or of the standard error
            now where that is smaller.
        number: most measurements of a prescription.
        seed: of the simulated data.
        check: `check(study, theta, parameter)` -> `Check`, of a study whose data were simulated at `theta`;
            default `scoring_step`.

    Returns:
        by `parameter`: `identifiable` before; `prior_sd`, `standard_error_before`, `standard_error_prescribed`
        (predicted), `estimate` and `standard_error_tested` (from the simulated data), all in its unit, NaN where
        nothing was prescribed; `identifiable_after` by the same rule, with the tested one; `prescribed_cost`,
        `prescription` in words; `prescribed_times` (parameter, candidate); and what `predicted_drops` returns.

    Raises:
        InputError: as `predicted_drops`; unknown parameters and settings out of range.

    Example:
        >>> from studies.dose_escalation import doses, study, truth
        >>> candidates = candidate_measurements(study, times=[1.0, 5.0], inputs={"dose": doses})
        >>> prescribe(study, truth, candidates).prescription.sel(parameter="Km").item()
        'measure C at 5 in dose = 200'
    """
    candidates = candidate_measurements(study) if candidates is None else candidates
    findings = _findings(study, parameters, share, number, seed)
    if findings:
        raise InputError(f"prescription for study {study.name!r}", findings)
    coordinates = design_scale(study, theta, scale)
    roots = roots_of(study, coordinates, candidates)
    before, spread = determined(roots, np.zeros(len(roots.reason))).cramer_rao, _prior_sd(study, coordinates)
    known = before <= spread
    nothing = _Prescription(np.zeros(len(roots.reason), int), "", np.nan, Check(np.nan, np.nan))
    rows = [
        nothing
        if (known[k] if parameters is None else name not in parameters)
        else _prescription(
            study, roots, candidates, k, share * min(spread[k], before[k]), number, seed, check or scoring_step
        )
        for k, name in enumerate(coordinates.names)
    ]
    price = candidates.table["cost"].to_numpy(float)
    return (
        drops_of(roots, candidates, scale)
        .assign(_by_parameter(coordinates, known, spread, rows, price))
        .assign_attrs(share=share, simulation_seed=seed)
    )


def _by_parameter(coordinates: Scale, known, spread, rows: Sequence["_Prescription"], price) -> dict[str, tuple]:
    """The variables that `prescribe` adds; `known` and `spread` of the prior on the scale, `(k,)` each."""
    estimate = np.array([row.check.estimate for row in rows])
    tested = np.array([row.check.standard_error for row in rows])
    # compared where it was estimated: on a logarithmic scale a standard error is one of a ratio
    on_scale = tested / np.where(coordinates.logarithmic, np.abs(estimate), 1.0)
    found = {
        "identifiable": known,
        "prior_sd": spread * coordinates.unit,
        "standard_error_prescribed": np.array([row.predicted for row in rows]) * coordinates.unit,
        "estimate": estimate,
        "standard_error_tested": tested,
        # one that was tested counts by the test, whatever was known of it before
        "identifiable_after": np.where(np.isnan(tested), known, on_scale <= spread),
        "prescribed_cost": np.array([row.times @ price for row in rows]),
        "prescription": np.array([row.words for row in rows], object),
    }
    times = ("parameter", "candidate"), np.stack([row.times for row in rows])
    return {name: ("parameter", values) for name, values in found.items()} | {"prescribed_times": times}


class _Prescription(NamedTuple):
    times: np.ndarray
    words: str
    predicted: float
    check: Check


def _findings(study, parameters, share, number, seed) -> list[str]:
    names = study.model.space.epistemic
    findings = [
        f"unknown epistemic parameter {each!r}; {nearest(each, names)}"
        for each in parameters or ()
        if each not in names
    ]
    if not (is_number(share) and 0 < share <= 1):
        findings.append(f"share is {share!r}; give a number above 0, 1 at most.")
    return [*findings, *whole_number_findings({"number": (number, 1)}), *seed_findings(seed)]


def _prior_sd(study: Study, scale: Scale) -> np.ndarray:
    """Standard deviations of the priors on the scale `(k,)`; inf where there is none, or it is not resolved."""
    found = prior_standard_deviations(study.model.space, scale)
    return np.where(np.isnan(found), np.inf, found)


def _prescription(study, roots: AnyRoots, candidates: Candidates, k: int, wanted, number, seed, check) -> _Prescription:
    nothing = np.zeros(len(roots.reason), int)
    if np.isinf(determined(roots, np.where(roots.usable, 1, 0)).cramer_rao[k]):
        return _Prescription(nothing, NOTHING, np.inf, Check(np.nan, np.nan))
    price = candidates.table["cost"].to_numpy(float)
    times = _cheapest(roots, price, k, wanted, number)
    predicted = float(determined(roots, times).cramer_rao[k])
    if predicted > wanted:
        missing = f"the standard error is {predicted / wanted:.3g} times what is wanted"
        words = f"{times.sum()} measurements do not suffice: {missing}"
        return _Prescription(times, words, predicted, Check(np.nan, np.nan))
    coordinates = roots.coordinates
    simulated = with_measurements(study, candidates, times, coordinates.known, seed)
    words = "measure " + ", ".join(
        candidates.labels[index] + ("" if times[index] == 1 else f" ({times[index]} times)")
        for index in np.flatnonzero(times)
    )
    return _Prescription(times, words, predicted, check(simulated, coordinates.known, coordinates.names[k]))


def _cheapest(roots: AnyRoots, price: np.ndarray, k: int, wanted: float, number: int) -> np.ndarray:
    """How often each candidate is measured, `(candidates,)`, for a standard error of parameter `k` of `wanted`."""

    def suffices(times):
        return times.sum() <= number and determined(roots, times).cramer_rao[k] <= wanted

    criterion = Criterion.of("c", roots, np.eye(len(roots.coordinates.names))[k])
    most = np.where(roots.usable, UNLIMITED, 0)
    times = _grown(criterion, price, np.flatnonzero(most), number, wanted)
    while suffices(times):
        # the best that costs less, as long as it suffices
        below = Limits(price, float(times @ price) - LESS * float(price.min()), most)
        fewer = chosen(criterion, below)[0] if len(below.affordable(0 * times)) else times
        if not suffices(fewer) or fewer @ price >= times @ price:
            break
        times = fewer
    return times


def _grown(criterion: Criterion, price: np.ndarray, members: np.ndarray, number: int, wanted: float) -> np.ndarray:
    """Measurements `(candidates,)` of those `members` that gain most for their price, one after the other.

    At each step one more that is enough may end it, the cheapest such; of all these ends the cheapest is taken. Where
    there is none, all `number` measurements.
    """
    times, best = np.zeros(len(price), int), None
    while times.sum() < number and (best is None or times @ price < best @ price):
        root = criterion.root(times)
        after = criterion.with_each(times, members)
        enough = np.flatnonzero(after <= 2.0 * np.log(wanted))
        if len(enough):
            ended = times.copy()
            ended[members[min(enough, key=lambda each: (price[members[each]], after[each]))]] += 1
            best = ended if best is None or ended @ price < best @ price else best
        times[members[np.argmax((criterion.objective(root) - after) / price[members])]] += 1
    return times if best is None else best


def with_measurements(study: Study, candidates: Candidates, times: np.ndarray, theta: Values, seed: int = 0) -> Study:
    """The study with a table simulated at `theta`: its own measurements, and each candidate's `times` `(candidates,)`.

    Raises:
        InputError: a candidate's experiment that is called like one of the study with other inputs; a solve that fails.
    """
    added = planned_study(study, candidates, times)
    table = placeholders(study.table)
    clash = [
        f"{name!r} is an experiment of the study, with other inputs; give the new one another name."
        for name, design in added.experiments.items()
        if name in study.experiments and not _same_setting(design, study.experiments[name])
    ]
    if clash:
        raise InputError(f"study {study.name!r} with more measurements", clash)
    columns = list(added.table.columns)
    table = table.assign(**{name: np.nan for name in columns if name not in table})[columns]
    experiments = {**added.experiments, **study.experiments}
    names = dict.fromkeys((*study.experiments, *added.experiments))
    whole = Study(
        name=study.name, model=study.model, experiments={name: experiments[name] for name in names},
        data=pd.concat([table, added.table], ignore_index=True), unit=study.unit, likelihood=study.likelihood,
    )  # fmt: skip
    space, key = study.model.space, jax.random.key(seed)
    values = space.nominal() | {name: jnp.asarray(value, float) for name, value in theta.items()}
    if space.aleatory:
        key, now = jax.random.split(key)
        latents = jax.random.normal(now, (len(whole.units), len(space.aleatory)))
        values = with_units(space, {**values, **whole.covariates}, latents)
    data = simulate_data(whole, values, key)
    if data["value"].isna().any():
        raise InputError(f"study {study.name!r} with more measurements", ["a solve fails where data are simulated."])
    return Study(whole.name, whole.model, whole.experiments, data, unit=whole.unit, likelihood=whole.likelihood)


def _same_setting(one, other) -> bool:
    leaves = [jax.tree.leaves((design.inputs, design.start)) for design in (one, other)]
    return len(leaves[0]) == len(leaves[1]) and all(map(np.array_equal, *leaves))


def scoring_step(study: Study, theta: Values, parameter: str) -> Check:
    """Estimate and standard error of one parameter from data simulated at `theta`, by one step of Fisher scoring.

    From `theta`, where a prior with its own standard deviation is centred, so that what remains unknown stays where it
    is; the standard error is that at the estimate. A profile of the likelihood says more, at its price.
    """
    coordinates = design_scale(study, theta, "log")
    likelihood = Marginal.of(study) if study.model.space.aleatory else likelihood_of(study)
    found = jax.jit(lambda x: likelihood.scores(coordinates.place, x))(jnp.asarray(coordinates.start))
    if not np.isfinite(float(found.value)):
        raise InputError(f"study {study.name!r} with more measurements", likelihood.density_findings(coordinates.known))
    root, score = np.asarray(found.root), np.asarray(found.gradient)
    penalised = root.T @ root + np.diag(1.0 / _prior_sd(study, coordinates) ** 2)
    estimate = coordinates.place(coordinates.start + np.linalg.solve(penalised, score))
    there = fisher_information(study, {name: estimate[name] for name in coordinates.names}).sel(parameter=parameter)
    return Check(float(estimate[parameter]), float(there.standard_error))


def profiled(study: Study, theta: Values, parameter: str) -> Check:
    """Estimate and half a profile interval in standard errors, from data simulated at `theta`; inf where it is open."""
    found = profile_likelihood(study, theta, [parameter]).sel(parameter=parameter)
    width = float(found.upper) - float(found.lower)
    error = width / 2 / norm.ppf((1 + found.attrs["level"]) / 2) if np.isfinite(width) else np.inf
    return Check(float(found.value), error)
