"""Does calibration give back what it is given? Parameters drawn from the prior, data simulated, posteriors sampled.

Over many such repetitions the rank of the true value among posterior draws is uniform, whatever the model, if prior,
simulator, likelihood and sampler fit together (Cook, Gelman & Rubin 2006, doi:10.1198/106186006X136976; Talts et al.
2018). Ranks of the log-likelihood see what those of parameters miss, such as data that are not used (Modrak et al.
2023). Data simulated from *another* model, such as the full one of a reduction, show what the simplification costs.
"""

import os
import time
from functools import partial

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import nutpie
import xarray as xr

from .. import results
from ..defaults import REPETITIONS
from ..errors import InputError
from ..likelihoods import Likelihood, likelihood_of, simulate_data
from ..measurements import values_of
from ..names import DRAWS
from ..progress import progress
from ..space import Theta
from ..study import Study
from .calibrate import check_settings
from .predictive import SAMPLE
from .pymc_model import data_name, parameters, pymc_model
from .sampling import ACCEPT, ADAPTATION
from .uniformity import POINT, band, p_value, replications_needed

SUBJECT = "simulation_based_calibration"
LIKELIHOOD = "log-likelihood"
LEVELS = (0.5, 0.9)
# Draws beyond this R-hat are not taken for draws from the posterior.
CONVERGED = 1.05
# Of the test that all ranks are uniform, shared out between the quantities.
SIGNIFICANT = 0.05
# What enough tables show: a posterior sd that is wrong by this part, in so many cases.
ERROR, POWER = 0.2, 0.8


def simulation_based_calibration(
    study: Study,
    *,
    simulator: Study | None = None,
    repetitions: int = 50,
    draws: int = 400,
    tune: int = 400,
    chains: int = 2,
    ranks: int = 63,
    seed: int = 0,
) -> xr.Dataset:
    """Ranks of true values among posterior draws, over data simulated from the prior.

    Args:
        study: whose calibration is tested; its data serve as a plan of measurements only.
        simulator: a study with the same experiments and measurements whose model makes the data; it must have all
            free parameters of `study`. Default `study` itself.
        repetitions: simulated tables.
        draws, tune, chains: as for `calibrate`, for each table.
        ranks: posterior draws, evenly thinned, among which the truth is ranked.
        seed: of truths, data and chains.

    Returns:
        by `repetition` and `quantity` (the epistemic parameters and the log-likelihood): `rank` (0 to `ranks`),
        `truth`, `mean` and `sd` of the posterior; by `quantity`: `p_value` of a test that ranks are uniform (see
        `uniformity`), the curve of it with its band (`difference`, `lower`, `upper` by `point`), `coverage` (level,
        quantity) of central intervals with `coverage_standard_error` where it is right, `contraction`, the share of
        the prior variance that the data remove. Attributes: `failed`, tables whose simulation failed, and
        `not_converged`, whose chains disagreed (both left out); `uniform`, whether no p-value is below .05 over the
        number of quantities; `needed`, how many tables would show a posterior standard deviation that is wrong by a
        fifth; `meaning`, a sentence; `seconds`.

    Raises:
        InputError: settings out of range; a simulator that lacks parameters or plans other measurements.
    """
    simulator = simulator or study
    _check(study, simulator, repetitions, draws, tune, chains, ranks)
    began = time.monotonic()
    likelihood = likelihood_of(study)
    likelihood.require("gradient", SUBJECT)
    names, observations = study.model.space.epistemic, likelihood.observations
    # data that may be exchanged keep the density compiled for all tables; a plan without data has none to begin with
    blank = {output: np.ones(len(rows.run)) for output, rows in observations.rows.items()}
    compiled = nutpie.compile_pymc_model(
        pymc_model(likelihood, blank), backend="jax", gradient_backend="jax", freeze_model=False
    )
    rows, failed, not_converged = [], 0, 0
    with progress("simulation-based calibration", repetitions) as update:
        for k in range(repetitions):
            key = jax.random.fold_in(jax.random.key(seed), k)
            truth = _truth(simulator, key)
            values = values_of(simulate_data(simulator, truth, jax.random.fold_in(key, 1)))
            update(k + 1)
            if not all(np.all(np.isfinite(column)) for column in values.values()):
                failed += 1
                continue
            posterior = _sample(compiled, study, values, draws, tune, chains, seed + k)
            if not max(map(float, az.rhat(posterior[list(names)]).data_vars.values())) <= CONVERGED:
                not_converged += 1
                continue
            rows.append(_ranked(likelihood, posterior, truth, values, ranks, np.random.default_rng([seed, k])))
    if not rows:
        raise InputError(SUBJECT, ["no repetition gave converged chains; take more draws, or narrower priors."])
    dataset = _dataset(rows, (*names, LIKELIHOOD), ranks, _prior_variance(study, seed), seed)
    return dataset.assign_attrs(failed=failed, not_converged=not_converged, seed=seed, seconds=time.monotonic() - began)


def sbc(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    repetitions: int = REPETITIONS,
    draws: int = 400,
    tune: int = 400,
    chains: int = 2,
    ranks: int = 63,
    seed: int = 0,
) -> xr.DataTree:
    """The verb: `simulation_based_calibration` of a study, added to its results.

    Returns:
        the tree with /simulation_based_calibration.

    Raises:
        InputError: as of `simulation_based_calibration`; a tree of another study.
    """
    tree = results.check_tree(study, tree, verb="sbc")
    settings = {"repetitions": repetitions, "draws": draws, "tune": tune, "chains": chains, "ranks": ranks}
    found = simulation_based_calibration(study, **settings, seed=seed)
    seconds = found.attrs["seconds"]
    return results.attach(
        tree, {"simulation_based_calibration": found}, verb="sbc", settings=settings, seed=seed, seconds=seconds
    )


def _check(study, simulator, repetitions, draws, tune, chains, ranks) -> None:
    findings = check_settings(draws=draws, tune=tune, chains=chains)
    if repetitions < 2:
        findings.append(f"repetitions is {repetitions}; it must be at least 2.")
    if not 1 <= ranks <= draws * chains:
        findings.append(f"ranks is {ranks}; it must lie between 1 and the {draws * chains} draws.")
    own, other = study.model.space, simulator.model.space
    findings += [f"the simulator has no parameter {name!r}." for name in own.free if name not in other.free]
    columns = ["experiment", "output", "time"]
    plans = [each.table[columns].reset_index(drop=True) for each in (study, simulator)]
    if not plans[0].equals(plans[1]):
        findings.append("the simulator plans other measurements; give both studies the same experiments and times.")
    if findings:
        raise InputError(SUBJECT, findings)


def _truth(study: Study, key) -> Theta:
    """One draw from the prior, aleatory parameters `(units,)`."""
    space = study.model.space
    theta = space.sample(key, ()) | study.covariates
    for k, name in enumerate(space.aleatory):
        dist = space[name].dist
        shape = (len(study.units),)
        moved = {other: jnp.broadcast_to(theta[other], shape) for other in space[name].names}
        theta[name] = dist.sample(jax.random.fold_in(key, k), () if space[name].names else shape, moved)
    return theta


@partial(jax.jit, static_argnames="likelihood")
def _log_densities(likelihood: Likelihood, thetas: Theta, values: dict[str, np.ndarray]) -> jax.Array:
    """Log-likelihood of other values in the same places, `(draws,)`."""
    complete = likelihood.study.model.space.complete

    def one(theta):
        return likelihood.log_density(complete(theta), values=values)

    return jax.lax.map(one, thetas, batch_size=64)


def _sample(compiled, study: Study, values, draws, tune, chains, seed) -> xr.Dataset:
    data = {data_name(output): jnp.asarray(column) for output, column in values.items()}
    sampler = nutpie.sample(
        compiled.with_data(**data),
        draws=draws,
        tune=tune,
        chains=chains,
        cores=min(chains, os.cpu_count() or 1),
        seed=seed,
        # as a calibration begins
        adaptation=ADAPTATION,
        target_accept=ACCEPT,
        progress_bar=False,
        # else a signal to stop would end one table, and rank its truth among the few draws that there are
        blocking=False,
    )
    try:
        trace = sampler.wait()
    except BaseException:
        sampler.cancel()
        raise
    return parameters(trace["posterior"], study)


def _ranked(likelihood: Likelihood, posterior, truth, values, ranks, rng) -> dict[str, np.ndarray]:
    """Rank, truth, posterior mean and sd of each quantity, and the ends of its central intervals."""
    space = likelihood.study.model.space
    flat = posterior.stack({SAMPLE: DRAWS}).transpose(SAMPLE, ...)
    picked = np.linspace(0, flat.sizes[SAMPLE] - 1, ranks).astype(int)
    thetas = {name: jnp.asarray(flat[name].values[picked]) for name in space.free}
    truths = {name: jnp.asarray(truth[name])[None] for name in space.free}
    drawn = [flat[name].values for name in space.epistemic]
    true = [float(truth[name]) for name in space.epistemic]
    at_draws, at_truth = (np.asarray(_log_densities(likelihood, part, values)) for part in (thetas, truths))
    thinned = [*(column[picked] for column in drawn), at_draws]
    true.append(float(at_truth[0]))
    drawn.append(at_draws)
    tails = [np.quantile(column, (1 + np.array([-1, 1])[:, None] * np.array(LEVELS)) / 2) for column in drawn]
    return {
        # equal values, as of a parameter that no data move and the sampler repeats, are split at random
        "rank": np.array(
            [np.sum(c < t) + rng.integers(np.sum(c == t) + 1) for c, t in zip(thinned, true, strict=True)]
        ),
        "truth": np.array(true),
        "mean": np.array([column.mean() for column in drawn]),
        "sd": np.array([column.std(ddof=1) for column in drawn]),
        "inside": np.array([(low <= t) & (t <= high) for (low, high), t in zip(tails, true, strict=True)]),
    }


def _prior_variance(study: Study, seed: int) -> np.ndarray:
    theta = study.model.space.sample(jax.random.key(seed), (4096,))
    return np.array([np.var(theta[name]) for name in study.model.space.epistemic] + [np.nan])


def _dataset(rows, quantities, ranks, prior_variance, seed) -> xr.Dataset:
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    count = len(rows)
    # a rank is an interval of probability: a random point of it has the distribution of a continuous value
    within = (stacked["rank"] + np.random.default_rng(seed).uniform(size=stacked["rank"].shape)) / (ranks + 1)
    found = np.array([p_value(each) for each in within.T])
    curves = [band(each) for each in within.T]
    inside = stacked.pop("inside").mean(axis=0).T
    levels = np.array(LEVELS)[:, None]
    dataset = xr.Dataset(
        {
            **{name: (("repetition", "quantity"), values) for name, values in stacked.items()},
            "p_value": ("quantity", found),
            **{
                name: (("quantity", "point"), np.stack([getattr(curve, name) for curve in curves]))
                for name in ("difference", "lower", "upper")
            },
            "coverage": (("level", "quantity"), inside),
            "coverage_standard_error": ("level", np.sqrt(levels * (1 - levels) / count)[:, 0]),
            "contraction": ("quantity", 1 - (stacked["sd"] ** 2).mean(axis=0) / prior_variance),
        },
        coords={"repetition": np.arange(count), "quantity": list(quantities), "level": list(LEVELS), "point": POINT},
    )
    uniform, needed = bool(np.all(found > SIGNIFICANT / len(quantities))), replications_needed(ERROR, POWER)
    return dataset.assign_attrs(ranks=ranks, uniform=uniform, needed=needed, meaning=_meaning(found, quantities, count))


def _meaning(found: np.ndarray, quantities, count: int) -> str:
    """Whether ranks are uniform, and what so many of them can show."""
    needed = replications_needed(ERROR, POWER)
    lost = [name for name, p in zip(quantities, found, strict=True) if p <= SIGNIFICANT / len(quantities)]
    said = f"ranks of {', '.join(lost)} are not uniform" if lost else "all ranks are uniform"
    said += f" (smallest p = {found.min():.2g}) in {count} simulated tables; "
    share = f"a posterior standard deviation that is wrong by {100 * ERROR:.0f} %"
    if count >= needed:
        return f"{said}{share} would be seen in {100 * POWER:.0f} of 100 cases"
    return f"{said}to see {share} in {100 * POWER:.0f} of 100 cases takes {needed}"
