"""The verb `calibrate`: draws from the posterior, whether they can be trusted, and what they predict for the data."""

import json
import os
import time

import arviz as az
import jax
import nutpie
import xarray as xr

from .. import results
from ..errors import InputError
from ..observation import observations
from ..progress import progress
from ..study import Study
from .predictive import band, observed, pointwise, predictive, prior
from .pymc_model import pymc_model

# What a draw must satisfy to be used (Vehtari, Gelman, Simpson, Carpenter & Burkner 2021, doi:10.1214/20-BA1221).
RHAT, ESS = 1.01, 400
KEPT_STATS = ("diverging", "energy", "depth", "n_steps", "step_size", "mean_tree_accept", "maxdepth_reached", "logp")


def calibrate(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    draws: int = 1000,
    tune: int = 600,
    chains: int = 4,
    target_accept: float = 0.8,
    seed: int = 0,
) -> xr.DataTree:
    """Samples the posterior of a study and predicts its data.

    PyMC states the model, the simulator enters as one JAX operation with forward sensitivities, nutpie samples.

    Args:
        study: with data.
        tree: results to add to; None starts new ones.
        draws, tune: per chain, kept and for adaptation.
        chains: independent chains.
        target_accept: acceptance the step size is tuned to; raise it where divergences are reported.
        seed: of sampling and predictions.

    Returns:
        the tree with /prior, /posterior, /posterior_predictive, /log_likelihood, /sample_stats, /observed_data in the
        ArviZ schema, /posterior_band for figures and /convergence: R-hat, ESS and whether they suffice, by parameter.

    Raises:
        InputError: a study without data, or settings out of range.
    """
    tree = results.check_tree(study, tree)
    _check(study, draws, tune, chains, target_accept)
    began = time.monotonic()
    seen = observations(study)
    compiled = nutpie.compile_pymc_model(pymc_model(study, seen), backend="jax", gradient_backend="jax")
    with progress("calibrate: sampling", chains * (draws + tune)) as update:
        trace = nutpie.sample(
            compiled,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=min(chains, os.cpu_count() or 1),
            seed=seed,
            target_accept=target_accept,
            progress_bar=False,
            progress_callback=lambda states: update(
                sum(state.finished_draws for state in states),
                f"{sum(state.divergences for state in states)} divergences",
            ),
        )
    free = list(study.model.space.free)
    posterior = trace["posterior"].to_dataset()[free].assign_attrs(_counts(trace))
    key = jax.random.key(seed)
    groups = {
        "prior": prior(study, jax.random.fold_in(key, 0)),
        "posterior": posterior,
        "sample_stats": _stats(trace),
        "observed_data": observed(study),
        "convergence": convergence(study, posterior),
        "log_likelihood": pointwise(study, seen, posterior),
        "posterior_predictive": predictive(study, seen, posterior, jax.random.fold_in(key, 1)),
        "posterior_band": band(study, seen, posterior, jax.random.fold_in(key, 2)),
    }
    settings = {"draws": draws, "tune": tune, "chains": chains, "target_accept": target_accept}
    return results.attach(
        tree, groups, verb="calibrate", settings=settings, seed=seed, seconds=time.monotonic() - began
    )


def convergence(study: Study, posterior: xr.Dataset) -> xr.Dataset:
    """Rank-normalised R-hat, bulk and tail ESS of each epistemic parameter, and whether they meet RHAT and ESS."""
    names = list(study.model.space.epistemic)
    chosen = posterior[names]
    rows = {
        "rhat": [float(az.rhat(chosen)[name]) for name in names],
        "ess_bulk": [float(az.ess(chosen, method="bulk")[name]) for name in names],
        "ess_tail": [float(az.ess(chosen, method="tail")[name]) for name in names],
    }
    dataset = xr.Dataset({key: ("parameter", values) for key, values in rows.items()}, coords={"parameter": names})
    resolved = (dataset.rhat <= RHAT) & (dataset.ess_bulk >= ESS) & (dataset.ess_tail >= ESS)
    limits = f"R-hat <= {RHAT}, bulk and tail ESS >= {ESS}"
    return dataset.assign(resolved=resolved).assign_attrs(limits=limits)


def _check(study: Study, draws: int, tune: int, chains: int, target_accept: float) -> None:
    findings = [] if study.data is not None else ["the study has no data; calibrate needs a table."]
    if study.model.stochastic:
        findings.append("the model is stochastic, so one run gives no likelihood; calibrate its deterministic form.")
    findings += [
        f"{name} is {value}; it must be at least {least}."
        for name, value, least in (("draws", draws, 4), ("tune", tune, 10), ("chains", chains, 1))
        if value < least
    ]
    if not 0.5 <= target_accept < 1:
        findings.append(f"target_accept is {target_accept}; it must lie in [0.5, 1).")
    if findings:
        raise InputError(f"calibrate {study.name!r}", findings)


def _counts(trace: xr.DataTree) -> dict:
    """How many points were rejected, why, and where in the run: nothing is left out of the report."""
    counts = {}
    for phase, group in (("warmup", "warmup_sample_stats"), ("sampling", "sample_stats")):
        stats = trace[group]
        diverging = stats["diverging"].values
        messages = stats["divergence_message"].values[diverging] if "divergence_message" in stats else []
        failed = sum("logp" in str(message).lower() for message in messages)
        counts[f"divergences_{phase}"] = int(diverging.sum())
        counts[f"failed_solves_{phase}"] = int(failed)
        counts[f"messages_{phase}"] = json.dumps(sorted({str(message) for message in messages}))
    return counts


def _stats(trace: xr.DataTree) -> xr.Dataset:
    stats = trace["sample_stats"].to_dataset()
    return stats[[name for name in KEPT_STATS if name in stats]]
