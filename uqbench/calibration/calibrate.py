"""The verb `calibrate`: draws from the posterior, whether they can be trusted, and what they predict for the data."""

import os
import time

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import nutpie
import xarray as xr

from .. import results
from ..defaults import CHAINS, DRAWS, TUNE
from ..errors import InputError
from ..likelihoods import Likelihood, likelihood_of
from ..progress import progress
from ..study import Study
from ..time_scales.study_separation import separation_of_study, warn, with_separation
from .predictive import band, observed, pointwise, predictive, prior
from .pymc_model import pymc_model

# What a draw must satisfy to be used (Vehtari, Gelman, Simpson, Carpenter & Burkner 2021, doi:10.1214/20-BA1221).
RHAT, ESS = 1.01, 400
KEPT_STATS = ("diverging", "energy", "depth", "n_steps", "step_size", "mean_tree_accept", "maxdepth_reached", "logp")


def calibrate(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    draws: int = DRAWS,
    tune: int = TUNE,
    chains: int = CHAINS,
    target_accept: float = 0.8,
    seed: int = 0,
) -> xr.DataTree:
    """Samples the posterior of a study and predicts its data.

    PyMC states the priors and the hierarchy, the likelihood enters as one JAX operation, nutpie samples.

    Args:
        study: with data.
        tree: results to add to; None starts new ones.
        draws, tune: per chain, kept and for adaptation.
        chains: independent chains.
        target_accept: acceptance the step size is tuned to; raise it where divergences are reported.
        seed: of sampling and predictions.

    Returns:
        the tree with /prior, /posterior, /posterior_predictive, /log_likelihood, /sample_stats, /observed_data in the
        ArviZ schema (/log_likelihood where the likelihood has terms; its attribute `term` says what one is),
        /posterior_band for figures and /convergence: R-hat, ESS and whether they suffice, by parameter; of a reduced
        model /separation once more, at posterior draws.

    Raises:
        InputError: a study without data, settings out of range, a likelihood without a gradient, no density at the
            prior medians.
    """
    tree = with_separation(study, results.check_tree(study, tree))
    findings = [] if study.data is not None else ["the study has no data; calibrate needs a table."]
    findings += check_settings(draws=draws, tune=tune, chains=chains, target_accept=target_accept)
    if findings:
        raise InputError(f"calibrate {study.name!r}", findings)
    began = time.monotonic()
    likelihood = likelihood_of(study)
    likelihood.require("gradient", f"calibrate {study.name!r}")
    _check_start(likelihood)
    compiled = nutpie.compile_pymc_model(pymc_model(likelihood), backend="jax", gradient_backend="jax")
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
        "posterior_predictive": predictive(likelihood, posterior, jax.random.fold_in(key, 1)),
        "posterior_band": band(likelihood, posterior, jax.random.fold_in(key, 2)),
    }
    if "terms" in likelihood.capabilities:
        groups["log_likelihood"] = pointwise(likelihood, posterior)
    if "quasi_steady" in study.model.dynamics.capabilities:
        known = {name: posterior[name].values.ravel() for name in study.model.space.epistemic}
        groups["separation"] = separation_of_study(study, known, seed=seed)
        warn(study, groups["separation"])
    settings = {"draws": draws, "tune": tune, "chains": chains, "target_accept": target_accept}
    return results.attach(
        tree, groups, verb="calibrate", settings=settings, seed=seed, seconds=time.monotonic() - began
    )


def convergence(study: Study, posterior: xr.Dataset) -> xr.Dataset:
    """Rank-normalised R-hat, bulk and tail ESS of each epistemic parameter, and whether they meet RHAT and ESS."""
    names = list(study.model.space.epistemic)
    chosen = posterior[names]
    found = {
        "rhat": az.rhat(chosen),
        "ess_bulk": az.ess(chosen, method="bulk"),
        "ess_tail": az.ess(chosen, method="tail"),
    }
    rows = {key: [float(values[name]) for name in names] for key, values in found.items()}
    dataset = xr.Dataset({key: ("parameter", values) for key, values in rows.items()}, coords={"parameter": names})
    resolved = (dataset.rhat <= RHAT) & (dataset.ess_bulk >= ESS) & (dataset.ess_tail >= ESS)
    return dataset.assign(resolved=resolved).assign_attrs(largest_rhat=RHAT, least_ess=ESS)


def check_settings(*, draws: int, tune: int, chains: int, target_accept: float = 0.8) -> list[str]:
    """What is wrong with the settings of `calibrate`."""
    least = {"draws": (draws, 4), "tune": (tune, 10), "chains": (chains, 1)}
    findings = [f"{name} is {value}; it must be at least {low}." for name, (value, low) in least.items() if value < low]
    if not 0.5 <= target_accept < 1:
        findings.append(f"target_accept is {target_accept}; it must lie in [0.5, 1).")
    return findings


def _check_start(likelihood: Likelihood) -> None:
    """Raises InputError where the data have no density at the prior medians: no chain could start near them."""
    study, space = likelihood.study, likelihood.study.model.space
    theta = space.nominal()
    theta |= {name: jnp.full(len(study.units), theta[name]) for name in space.aleatory}
    if findings := likelihood.density_findings(theta):
        raise InputError(f"calibrate {study.name!r} at the prior medians", findings)


def _counts(trace: xr.DataTree) -> dict:
    """How many points were rejected, why, and where in the run: nothing is left out of the report."""
    counts = {}
    for phase, group in (("warmup", "warmup_sample_stats"), ("sampling", "sample_stats")):
        stats = trace[group]
        diverging = stats["diverging"].values
        error = stats["divergence_energy_error"].values[diverging]
        # Where the density is not finite (a failed solve, or noise without density at that output) nutpie has no
        # energy to compare.
        known = error[np.isfinite(error)]
        counts[f"divergences_{phase}"] = int(diverging.sum())
        counts[f"failed_solves_{phase}"] = int(diverging.sum()) - known.size
        counts[f"energy_errors_{phase}"] = [float(known.min()), float(known.max())] if known.size else []
    return counts


def _stats(trace: xr.DataTree) -> xr.Dataset:
    stats = trace["sample_stats"].to_dataset()
    return stats[[name for name in KEPT_STATS if name in stats]]
