"""Does the calibrated model fit, and what do prior and data each contribute?

Every row is asked for its probability integral transform: the probability that the model, calibrated without it,
gives to less than what was measured (Dawid 1984, doi:10.2307/2981683; left out by Pareto-smoothed importance sampling,
Vehtari, Gelman & Gabry 2017, doi:10.1007/s11222-016-9696-4). A count, or a censored value, is a random point of the
interval that is possible (Dunn & Smyth 1996, doi:10.1080/10618600.1996.10474708). All of them are uniform where the
model fits; how they are not says what is wrong. What the posterior takes from the prior and from the data follows from
powers of both (Kallioinen, Paananen, Burkner & Vehtari 2024, doi:10.1007/s11222-023-10366-5).
"""

import json
import warnings
from collections.abc import Mapping
from functools import partial

import arviz_stats
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from scipy import special

from ..compiling import LITTLE_EFFORT
from ..likelihoods import Likelihood, rows_by_output
from ..names import DRAWS
from ..space import Theta, distribution_of
from ..study import Study
from .advice import advice
from .individuals import individuals
from .leave_one_out import LEAST_DRAWS, LeftOut, leave_one_out
from .predictive import at_selected, by_entry, free_parameters, selected, step_of
from .uniformity import POINT, band, p_value

LEVELS = (0.5, 0.9)
# Of tests that look at several outputs together.
SIGNIFICANT = 0.05
# Rows of an output that a part of its time has at least, and how many parts there are at most.
LEAST_IN_PART, PARTS = 10, 4
# Units from which on percentiles of a population are drawn.
LEAST_UNITS = 6
PERCENTILES, INTERVAL = (0.1, 0.5, 0.9), (0.05, 0.5, 0.95)


def checks(likelihood: Likelihood, groups: Mapping[str, xr.Dataset], seed: int) -> dict[str, xr.Dataset]:
    """/log_prior, /prior_predictive, /pit, /residuals, /checks, and of populations /units and /visual_check.

    Args:
        groups: what `calibrate` has made: prior, posterior, posterior_predictive, observed_data, sample_stats,
            convergence, and log_likelihood where the likelihood has terms.
        seed: of what is random.
    """
    study, posterior = likelihood.study, groups["posterior"]
    key = jax.random.fold_in(jax.random.key(seed), 3)
    made = {"log_prior": log_prior(study, posterior)}
    made["prior_predictive"] = prior_predictive(likelihood, posterior, jax.random.fold_in(key, 0))
    found = leave_one_out(posterior, groups["log_likelihood"]) if "log_likelihood" in groups else {}
    pit = _pit(likelihood, posterior, found, jax.random.fold_in(key, 1), np.random.default_rng([seed, 1]))
    tables = rows_by_output(study)
    made["pit"] = by_entry(pit, tables, "row").assign_attrs(of="left out" if found else "part of the calibration")
    scores = {name: special.ndtri(np.clip(each, 1e-12, 1 - 1e-12)) for name, each in pit.items()}
    made["residuals"] = by_entry(scores, tables, "row")
    if (units := individuals(study, posterior)) is not None:
        made["units"] = units
        if len(study.units) >= LEAST_UNITS:
            made["visual_check"] = visual_check(likelihood, posterior, jax.random.fold_in(key, 2))
    by_output = _by_output(pit, scores, tables)
    by_parameter = _by_parameter(study, groups, made["log_prior"])
    dataset = xr.merge([by_output, by_parameter]).assign_attrs(_of_terms(found))
    said = advice(study, {**groups, **made, "checks": dataset})
    made["checks"] = dataset.assign_attrs(findings=json.dumps(said.findings), summary=said.summary)
    return made


def log_prior(study: Study, posterior: xr.Dataset) -> xr.Dataset:
    """Log density of the prior of each epistemic parameter at each draw, given those that it names."""
    space = study.model.space
    theta: Theta = {name: jnp.asarray(posterior[name].transpose(*DRAWS).values) for name in space.epistemic}
    for name in space.fixed:
        theta[name] = jnp.asarray(float(np.asarray(space[name].dist)))

    @partial(jax.jit, compiler_options=LITTLE_EFFORT)
    def densities(theta: Theta) -> dict[str, jax.Array]:
        return {name: distribution_of(space, name).logpdf(theta[name], theta) for name in space.epistemic}

    return xr.Dataset(
        {name: (DRAWS, np.asarray(values)) for name, values in densities(theta).items()},
        {name: posterior[name] for name in DRAWS},
    )


def prior_predictive(likelihood: Likelihood, posterior: xr.Dataset, key) -> xr.Dataset:
    """Simulated measurements at as many draws from the prior as there are of the posterior, as one chain."""
    study, sizes = likelihood.study, selected(posterior).sizes
    count = sizes["chain"] * sizes["draw"]
    now, then = jax.random.split(key)
    thetas = with_new_units(study, study.model.space.sample(now, (count,)), count, jax.random.fold_in(now, 1))
    values, _ = at_selected(likelihood, thetas, then)
    draws = xr.Dataset(coords={"chain": [0], "draw": np.arange(count)})
    found = {output: np.asarray(each)[None] for output, each in values.items()}
    failed = int(np.sum(np.any([np.isnan(each[0]).any(axis=-1) for each in found.values()], axis=0)))
    return by_entry(found, rows_by_output(study), "row", draws).assign_attrs(failed=failed)


def with_new_units(study: Study, thetas: Theta, count: int, key) -> Theta:
    """The free parameters at draws with other units in place of those of the data, under their covariates.

    Args:
        thetas: at least the epistemic ones, `(count,)`.

    Returns:
        aleatory ones `(count, units)`.
    """
    space = study.model.space
    free: Theta = {name: jnp.asarray(thetas[name]) for name in space.epistemic}
    shape = (count, len(study.units))
    known: Theta = {name: np.asarray(space[name].dist) for name in space.fixed}
    known |= {name: np.asarray(each)[:, None] for name, each in free.items()} | study.covariates
    return free | space.new_units(key, known, shape)


def visual_check(likelihood: Likelihood, posterior: xr.Dataset, key) -> xr.Dataset:
    """Percentiles of the data over time against those of simulated tables with other units of the same population.

    Returns:
        by `output`, `percentile` and `part` of the time: `observed`, and the quantiles `interval` of `simulated`; by
        `output` and `part` the median `time`; NaN where an output has fewer parts.
    """
    study = likelihood.study
    chosen = selected(posterior)
    count = chosen.sizes["chain"] * chosen.sizes["draw"]
    thetas = with_new_units(study, free_parameters(study, chosen), count, jax.random.fold_in(key, 0))
    values, _ = at_selected(likelihood, thetas, jax.random.fold_in(key, 1))
    rows, tables = likelihood.observations.rows, rows_by_output(study)
    outputs, most = [*rows], 2 * PARTS
    parts = {name: _parts(tables[name]["time"].to_numpy(float), most) for name in outputs}
    count = max(int(each.max()) + 1 for each in parts.values())
    observed = np.full((len(outputs), len(PERCENTILES), count), np.nan)
    simulated = np.full((len(outputs), len(PERCENTILES), len(INTERVAL), count), np.nan)
    time = np.full((len(outputs), count), np.nan)
    for index, name in enumerate(outputs):
        one = rows[name]
        drawn = np.clip(np.asarray(values[name]), one.lower, one.upper)
        drawn = drawn[np.isfinite(drawn).all(axis=1)]
        measured = np.clip(one.value, one.lower, one.upper)
        for part in range(int(parts[name].max()) + 1):
            of = parts[name] == part
            time[index, part] = np.median(tables[name]["time"].to_numpy(float)[of])
            observed[index, :, part] = np.quantile(measured[of], PERCENTILES)
            if len(drawn):
                each = np.quantile(drawn[:, of], PERCENTILES, axis=1)
                simulated[index, :, :, part] = np.quantile(each, INTERVAL, axis=1).T
    return xr.Dataset(
        {
            "observed": (("output", "percentile", "part"), observed),
            "simulated": (("output", "percentile", "interval", "part"), simulated),
            "time": (("output", "part"), time),
        },
        {"output": outputs, "percentile": list(PERCENTILES), "interval": list(INTERVAL), "part": np.arange(count)},
    )


def _pit(
    likelihood: Likelihood, posterior: xr.Dataset, found: Mapping[str, LeftOut], key, rng
) -> dict[str, np.ndarray]:
    """Of each row, `(rows,)` by output: a random point between the probabilities of less and of at most as much."""
    chosen = selected(posterior)
    _, probabilities = at_selected(likelihood, free_parameters(likelihood.study, chosen), key)
    pit = {}
    for output, ends in jax.tree.map(np.asarray, probabilities).items():
        weights = _weights(likelihood, output, found, len(ends)) * np.isfinite(ends).all(axis=-1)
        with np.errstate(invalid="ignore"):
            weights = weights / weights.sum(axis=0)
        low, high = np.moveaxis(np.nansum(weights[..., None] * ends, axis=0), -1, 0)
        pit[output] = np.where(weights.sum(axis=0) > 0, low + rng.uniform(size=len(low)) * (high - low), np.nan)
    return pit


def _weights(likelihood: Likelihood, output: str, found: Mapping[str, LeftOut], count: int) -> np.ndarray:
    """Weights of the draws where each row of an output, or the term that it is in, is left out, `(draws, rows)`."""
    rows = len(likelihood.observations.rows[output].run)
    if not found:
        return np.ones((count, rows))
    if likelihood.term == "row":
        logs, index = found[output].log_weights, np.arange(rows)
    else:
        name, terms = next(iter(likelihood.terms().items()))
        logs, table = found[name].log_weights, rows_by_output(likelihood.study)[output]
        shared = [column for column in terms if column in table]
        places = pd.MultiIndex.from_frame(terms[shared])
        if not shared or not places.is_unique:
            return np.ones((count, rows))
        index = places.get_indexer(pd.MultiIndex.from_frame(table[shared]))
    at = logs[:, :: step_of(logs.shape[0] * logs.shape[1])].reshape(count, -1)
    return special.softmax(at, axis=0)[:, index]


def _by_output(pit: Mapping, scores: Mapping, tables: Mapping[str, pd.DataFrame]) -> xr.Dataset:
    """Whether the rows of each output fit, as a whole and in parts of the time."""
    outputs, alpha = [*pit], SIGNIFICANT / len(pit)
    parts = {name: _parts(tables[name]["time"].to_numpy(float), PARTS) for name in outputs}
    count = max(int(each.max()) + 1 for each in parts.values())
    by_part = np.full((3, len(outputs), count), np.nan)
    for index, name in enumerate(outputs):
        for part in range(int(parts[name].max()) + 1):
            of, time = parts[name] == part, tables[name]["time"].to_numpy(float)
            by_part[:, index, part] = p_value(pit[name][of]), time[of].min(), time[of].max()
    whole = np.array([p_value(pit[name]) for name in outputs])
    inside = np.array([[np.mean(np.abs(2 * pit[name] - 1) <= level) for level in LEVELS] for name in outputs])
    count_of = np.array([np.isfinite(pit[name]).sum() for name in outputs])
    levels = np.array(LEVELS)
    curves = [band(pit[name]) for name in outputs]
    return xr.Dataset(
        {
            **{
                f"pit_{each}": (("output", "point"), np.stack([getattr(curve, each) for curve in curves]))
                for each in ("difference", "lower", "upper")
            },
            "rows": ("output", count_of),
            "p_value": ("output", whole),
            "misfit": (
                "output",
                [misfit(scores[name]) if p < alpha else "" for name, p in zip(outputs, whole, strict=True)],
            ),
            "coverage": (("output", "level"), inside),
            "coverage_standard_error": (
                ("output", "level"),
                np.sqrt(levels * (1 - levels) / np.maximum(count_of, 1)[:, None]),
            ),
            "p_value_by_time": (("output", "part"), by_part[0]),
            "time_from": (("output", "part"), by_part[1]),
            "time_to": (("output", "part"), by_part[2]),
        },
        {"output": outputs, "level": list(LEVELS), "part": np.arange(count), "point": POINT},
    )


def misfit(scores: np.ndarray) -> str:
    """How residuals differ most from a standard normal distribution: above, below, narrow, wide or form.

    "narrow" and "wide" is said of the predictions, "above" and "below" of the data.
    """
    scores = scores[np.isfinite(scores)]
    count = len(scores)
    shift = np.mean(scores) * np.sqrt(count)
    # the fourth moment of what is seen would hide the outliers that are looked for
    spread = (np.mean(scores**2) - 1) * np.sqrt(count / 2)
    if max(abs(shift), abs(spread)) < 2:
        return "form"
    if abs(shift) > abs(spread):
        return "above" if shift > 0 else "below"
    return "narrow" if spread > 0 else "wide"


def _parts(time: np.ndarray, most: int) -> np.ndarray:
    """Which part of the time each row is in: at most so many, of about equal numbers of rows; equal times together."""
    number = int(np.clip(len(time) // LEAST_IN_PART, 1, most))
    edges = np.unique(np.quantile(time, np.arange(1, number) / number, method="lower"))
    _, found = np.unique(np.searchsorted(edges, time, side="left"), return_inverse=True)
    return found


def _by_parameter(study: Study, groups: Mapping[str, xr.Dataset], log_prior: xr.Dataset) -> xr.Dataset:
    """What the data have removed of the variance of the prior, and what powers of prior and likelihood would move.

    A prior that names parameters that are not known either is a part of the model: its powers are left alone.
    """
    posterior, prior, names = groups["posterior"], groups["prior"], [*log_prior.data_vars]
    contraction = [1 - float(posterior[name].var()) / float(prior[name].var()) for name in names]
    total = None
    if "log_likelihood" in groups:
        parts = groups["log_likelihood"].data_vars.values()
        total = sum(each.sum([dim for dim in each.dims if dim not in DRAWS]).values for each in parts)
    space = study.model.space
    assumed = [name for name in names if not set(space[name].names) & set(space.epistemic)]
    powers = {"prior": sum(log_prior[name].values for name in assumed), "likelihood": total}
    moved = {kind: _sensitivity(posterior, names, None if total is None else of) for kind, of in powers.items()}
    return xr.Dataset(
        {
            "contraction": ("parameter", contraction),
            **{f"{kind}_sensitivity": ("parameter", values) for kind, values in moved.items()},
        },
        {"parameter": names},
    )


def _sensitivity(posterior: xr.Dataset, names: list[str], power) -> list[float]:
    """By how much draws of each parameter move with powers of a density, of which these are the logarithms.

    Zero of one that is the same at all draws; NaN where draws are too few, or stand still, or there is no density.
    """
    if power is None or np.size(power) < LEAST_DRAWS or not names:
        return [np.nan] * len(names)
    if np.ptp(power) == 0:
        return [0.0] * len(names)
    tree = {"posterior": posterior[names].drop_attrs(), "log_prior": xr.Dataset({"power": (DRAWS, power)})}
    try:
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = arviz_stats.psense(xr.DataTree.from_dict(tree), group="prior", group_var_names=["power"])
    except ValueError:
        return [np.nan] * len(names)
    return [float(found[name]) for name in names]


def _of_terms(found: Mapping[str, LeftOut]) -> dict:
    """Expected log predictive density of a term left out, and how many of them cannot be left out so."""
    if not found:
        return {}
    terms, pareto = (np.concatenate([getattr(each, key) for each in found.values()]) for key in ("elpd", "pareto_k"))
    limit = max(each.limit for each in found.values())
    return {
        "elpd": float(terms.sum()),
        "elpd_standard_error": float(np.std(terms, ddof=1) * np.sqrt(len(terms))) if len(terms) > 1 else float("nan"),
        "effective_parameters": sum(each.effective_parameters for each in found.values()),
        "terms": len(terms),
        "largest_pareto_k": float(pareto.max()),
        "pareto_k_limit": limit,
        "doubtful": int(np.sum(pareto > limit)),
    }
