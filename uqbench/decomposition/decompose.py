"""The verb `decompose`: where the spread of a study's predictions comes from.

What varies in a prediction for a new unit is what we do not know (epistemic: the prior, or after calibration the
posterior), what differs between units or is random in the model (aleatory), and the measurement. The law of total
variance splits them over random draws; Sobol indices say which input matters. Posterior draws depend on one another,
so they enter the Sobol indices as one input, `epistemic`, beside the new unit's own parameters. What each of them does
within that one input is a Shapley effect, which asks for no independence, from the runs that are there already. Sobol
indices of a random model are of what is expected in a unit; where its noise has sources by name, those of a single run
have them among their inputs.
"""

import json
import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from .. import results
from ..coupling.study_balance import with_balance
from ..errors import InputError
from ..likelihoods import noise_values_of_runs
from ..model import over_time
from ..progress import progress
from ..settings import is_number, seed_findings, whole_number_findings
from ..space import Theta
from ..study import Study
from ..time_scales.study_separation import with_separation
from .predictions import PosteriorInputs, PriorInputs, evaluated, final_outputs, posterior_draws, values_of
from .runs import Unusable, replicate_moments, unusable_outputs
from .shapley import least_runs, shapley_effects
from .sobol import sobol_indices, sobol_plan
from .sources import source_indices
from .total_variance import optimal_replicates, total_variance

PILOT = (64, 8)
TIMES = 49
MAX_REPLICATES = 64
PILOT_MAY_FAIL = 0.5  # share of draws; whether too many fail is for the runs after the pilot to say
# More draws make the search for neighbours slow and the effects little sharper.
MOST_FOR_SHAPLEY, MOST_PARAMETERS = 1000, 20


def decompose(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    n: int = 512,
    runs: int = 8192,
    second_order: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
) -> xr.DataTree:
    """Splits the variance of every quantity, and of every measured output over time, into its sources.

    Args:
        study: with quantities; without any, the outputs at the end of the first experiment take their place.
        tree: results to add to. With /posterior in it the epistemic part is what the data have left unknown, otherwise
            the prior.
        n: base samples of the Sobol indices, rounded up to a power of 2.
        runs: of the model for the law of total variance, shared between draws and replicates by a pilot.
        second_order: Sobol indices of pairs too, and all indices sharper, for nearly twice the runs.
        confidence: level of the intervals.
        seed: of all draws.

    Returns:
        the tree with /variance (by `quantity`: epistemic, aleatory, total, with standard errors and intervals),
        /variance_over_time (by output and time, with the measurement's part), /sobol (by `parameter` and
        `quantity`: S1, ST, S2), except where the posterior would be the only input, and after calibration /shapley (by
        epistemic `parameter` and `quantity`: Shapley effects on what is expected given the parameters). Where a
        reaction network is simulated exactly also /sources, see `source_indices`: Sobol indices of a single run by
        parameters, new unit, and the noise of each reaction.

    Raises:
        InputError: settings out of range; no quantity whose runs succeed and vary. Where some do, the others are NaN
            with a `reason`; so are outputs whose noise has no variance, named in `not_over_time` of /variance.
    """
    tree = with_balance(study, with_separation(study, results.check_tree(study, tree, verb="decompose")))
    findings = check_settings(n=n, runs=runs, confidence=confidence, seed=seed)
    if findings:
        raise InputError(f"decompose {study.name!r}", findings)
    began = time.monotonic()
    draws = posterior_draws(study, tree)
    quantities = study.quantities or final_outputs(study)
    key = jax.random.key(seed)
    noisy = bool(study.model.dynamics.noise_sources())
    with progress("decompose", 3 + noisy) as update:
        variance, shapley = _quantity_variance(
            study, quantities, draws, runs, confidence, seed, jax.random.fold_in(key, 0)
        )
        update(1, "variance of the quantities")
        over_time, left_out = _variance_over_time(
            study, quantities, draws, runs, confidence, seed, jax.random.fold_in(key, 1)
        )
        variance.attrs["not_over_time"] = json.dumps(left_out)
        update(2, "variance over time")
        # The posterior alone would be one input, with all the variance.
        wanted = bool(study.model.space.free) and (draws is None or bool(study.model.space.aleatory))
        last = jax.random.fold_in(key, 2)
        sobol = wanted and _sobol(study, quantities, draws, n, second_order, confidence, seed, last)
        update(3, "Sobol indices")
        settings = {"n": n, "second_order": second_order, "confidence": confidence}
        sources = source_indices(study, tree, **settings, seed=seed) if noisy else None
        if noisy:
            update(4, "sources of noise")
    groups = {"variance": variance}
    groups |= {"sobol": sobol} if wanted else {}
    groups |= {"variance_over_time": over_time} if over_time is not None else {}
    groups |= {"shapley": shapley} if shapley is not None else {}
    groups |= {"sources": sources} if sources is not None else {}
    digest = study.quantities_digest
    groups = {name: dataset.assign_attrs(quantities_digest=digest) for name, dataset in groups.items()}
    settings |= {"runs": runs}
    return results.attach(
        tree, groups, verb="decompose", settings=settings, seed=seed, seconds=time.monotonic() - began
    )


def check_settings(*, n: int, runs: int, confidence: float = 0.95, seed: int = 0) -> list[str]:
    """What is wrong with the settings of `decompose`."""
    findings = whole_number_findings({"n": (n, 16), "runs": (runs, 256)}) + seed_findings(seed)
    if not is_number(confidence) or not 0 < confidence < 1:
        findings.append(f"confidence is {confidence!r}; give a number between 0 and 1.")
    return findings


def _new_units(study: Study, draws, count: int, replicates: int, key) -> Theta:
    """Parameters of `replicates` new units for each of `count` random epistemic draws, `(count * replicates,)`."""
    space = study.model.space
    outer, inner = jax.random.split(key)
    if draws is None:
        theta = space.sample(outer, (count,))
    else:
        total = len(next(iter(draws.values())))
        picked = np.asarray(jax.random.choice(outer, total, (count,), replace=count > total))
        theta = {name: values[picked] for name, values in draws.items()}
        theta |= {name: np.full(count, float(space[name].dist)) for name in space.fixed}
    theta = {name: np.repeat(value, replicates) for name, value in theta.items() if name not in space.aleatory}
    theta |= space.new_units(inner, theta, (count * replicates,))
    return {name: jnp.asarray(theta[name]) for name in space.names}


def _quantity_variance(study, quantities, draws, runs, confidence, seed, key):
    """/variance and, from the same runs, /shapley (None before calibration)."""
    random = bool(study.model.space.aleatory) or study.model.stochastic
    pilot_key, main_key, run_key = jax.random.split(key, 3)
    replicates = 2
    if random:
        pilot = values_of(study, quantities, _new_units(study, draws, *PILOT, pilot_key), run_key)
        replicates = _replicates(pilot.values.reshape(*PILOT, -1), confidence, seed)
    count = max(runs // replicates, 32)
    theta = _new_units(study, draws, count, replicates, main_key)
    y = values_of(study, quantities, theta, run_key)
    values = xr.DataArray(
        y.values.reshape(count, replicates, -1),
        dims=("sample", "replicate", "quantity"),
        coords={"quantity": y["quantity"]},
    )
    dataset = total_variance(values, confidence=confidence, seed=seed)
    flat = values.values.reshape(count * replicates, -1)
    quantile = np.nanquantile(flat, (0.05, 0.5, 0.95), axis=0)
    drawn = {name: np.asarray(theta[name])[::replicates] for name in study.model.space.epistemic}
    shapley = None if draws is None else _shapley(drawn, values, random, confidence, seed)
    reason = "" if shapley is not None or draws is None else f"left out for {len(drawn)} parameters and {count} draws"
    variance = (
        dataset.assign(
            mean=("quantity", np.nanmean(flat, axis=0)),
            interval=(("bound", "quantity"), quantile),
            event=("quantity", np.array(y.attrs["events"])),
            unit=("quantity", [q.unit for q in quantities.values()]),
            doc=("quantity", [q.doc for q in quantities.values()]),
        )
        .assign_coords(bound=[0.05, 0.5, 0.95])
        .assign_attrs(
            {
                **dataset.attrs,
                "epistemic_from": "posterior" if draws else "prior",
                "draws": count,
                "replicates": replicates,
                "failed_runs": json.dumps(y.attrs["failed"]),
                "shapley": reason,
            }
        )
    )
    return variance, shapley


def _shapley(
    drawn: Mapping[str, np.ndarray], values: xr.DataArray, random: bool, confidence, seed
) -> xr.Dataset | None:
    """Shapley effects of posterior draws on the mean over new units.

    None for a single parameter or very many, for few draws, and where nothing varies.
    """
    kept = slice(MOST_FOR_SHAPLEY)
    distinct = len(np.unique(np.stack([value[kept] for value in drawn.values()], axis=-1), axis=0))
    if not 2 <= len(drawn) <= MOST_PARAMETERS or distinct < least_runs(len(drawn)):
        return None
    mean, within, count = replicate_moments(values.values[kept], 1)
    mean = np.where(count >= 2, mean, np.nan)
    varies = np.nanstd(mean, axis=0) > 1e-12 * np.nanmax(np.abs(mean), axis=0)
    parts = []
    for name, column, noise, varying in zip(
        values["quantity"].values, mean.T, (within / np.maximum(count, 1)).T, varies, strict=True
    ):
        if varying:
            table = {parameter: value[kept] for parameter, value in drawn.items()}
            found = shapley_effects(
                table, column, noise_variance=noise if random else 0.0, confidence=confidence, seed=seed
            )
            parts.append(found.expand_dims(quantity=[name]))
    return xr.concat(parts, "quantity", combine_attrs="override") if parts else None


def _replicates(values: np.ndarray, confidence: float, seed: int) -> int:
    """The best number of replicates by a pilot (draw, replicate, quantity), median over quantities.

    An unresolved epistemic part counts at its upper end; a quantity that does not vary in the pilot does not count.
    """
    lost = (~np.isnan(values)).sum(axis=1) < 2
    usable = unusable_outputs(np.where(lost[:, None], np.nan, values), lost, PILOT_MAY_FAIL) == Unusable.NO
    pairs = []
    if usable.any():
        parts = total_variance(values[..., usable], max_failed=PILOT_MAY_FAIL, confidence=confidence, seed=seed)
        epistemic = np.where(parts.epistemic > 0, parts.epistemic, parts.epistemic_upper)
        pairs = [(e, a) for e, a in zip(epistemic, parts.aleatory.values, strict=True) if e > 0 and a >= 0]
    best = [optimal_replicates(float(e), float(a)) for e, a in pairs] or [MAX_REPLICATES]
    return int(np.clip(np.median(best), 2, MAX_REPLICATES))


def _variance_over_time(study, quantities, draws, runs, confidence, seed, key):
    """/variance_over_time (None without any), and why outputs are left out of it.

    Parts of the variance of one measurement in a new unit, at `TIMES` instants of the first quantity's design.
    """
    measured = [name for name in study.model.outputs if name in study.model.noise]
    if not measured:
        return None, {}
    design = next(iter(quantities.values())).design
    finite = np.flatnonzero(np.isfinite(design.times))
    if len(np.unique(design.times[finite])) < 2:
        return None, {}
    new_key, run_key = jax.random.split(key)
    replicates = 8 if study.model.space.aleatory or study.model.stochastic else 2
    count = max(runs // 2 // replicates, 32)
    theta = _new_units(study, draws, count, replicates, new_key)
    outputs = over_time(study.model, evaluated(study, theta, design, run_key).outputs, design)
    picked = finite[np.unique(np.linspace(0, finite.size - 1, TIMES).astype(int))]
    # Inside their domains: else draws whose outputs fall below zero by rounding drop out, those of the smallest values.
    known_of = noise_values_of_runs(study.model, theta, design, outputs)
    parts, left_out = [], {}
    for name in measured:
        noise = study.model.noise[name]
        if noise.of_draws:
            left_out[name] = (
                f"its noise, {noise!r}, disturbs draws from a distribution, whose spread is no measurement's"
            )
            continue
        if name not in known_of:
            left_out[name] = f"its noise, {noise!r}, names a column of the table, known of the rows of the data only"
            continue
        known = {of: each[:, picked] if each.shape[1] > 1 else each for of, each in known_of[name].items()}
        shape = (count, replicates, len(picked))
        ran = np.isfinite(np.asarray(outputs[name][:, picked])).reshape(shape)
        y, noise_variance = (
            np.broadcast_to(np.asarray(moment), (count * replicates, len(picked))).reshape(shape)
            for moment in (noise.mean(known), noise.variance(known))
        )
        without = ran & ~(np.isfinite(noise_variance) & np.isfinite(y))
        if without.any():
            share = 100 * without.sum() / ran.sum()
            left_out[name] = f"its noise, {noise!r}, has no finite variance in {share:.3g} % of the runs"
            continue
        y = np.where(ran, y, np.nan)
        # At the start every run may be the same: nothing to split there.
        varies = np.nanstd(y, axis=(0, 1)) > 1e-9 * max(np.nanmax(np.abs(y)), 1e-300)
        if not varies.any():
            left_out[name] = "every run gives the same values"
            continue
        split = total_variance(
            y[..., varies], measurement_variance=noise_variance[..., varies], confidence=confidence, seed=seed
        )
        (time_dim,) = split.epistemic.dims
        split = split.drop_vars(time_dim, errors="ignore").rename({time_dim: "time"})
        parts.append(split.assign_coords(time=np.asarray(design.times)[picked][varies]).expand_dims(output=[name]))
    if not parts:
        return None, left_out
    dataset = xr.concat(parts, dim="output", join="outer", fill_value={"reason": ""}) if len(parts) > 1 else parts[0]
    return dataset.assign_attrs({**dataset.attrs, "epistemic_from": "posterior" if draws else "prior"}), left_out


def _sobol(study, quantities, draws, n, second_order, confidence, seed, key) -> xr.Dataset:
    space = study.model.space
    grouped = draws is not None and bool(space.aleatory)
    inputs = PosteriorInputs(space, draws) if grouped else PriorInputs.of(study, quantities)
    replicates = 8 if study.model.stochastic else 1
    plan = sobol_plan(inputs, n, second_order=second_order, replicates=replicates, seed=seed)
    theta = {name: jnp.asarray(plan.thetas[name]) for name in space.names}
    y = values_of(study, quantities, theta, key)
    dataset = sobol_indices(plan, y, confidence=confidence, seed=seed)
    meaning = (
        "the posterior as one input, and the parameters of a new unit"
        if grouped
        else "independent draws from the prior; aleatory parameters by their conditional quantiles"
    )
    return dataset.assign_attrs({**dataset.attrs, "inputs": meaning, "failed_runs": json.dumps(y.attrs["failed"])})
