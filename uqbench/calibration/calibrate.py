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
from ..coupling.study_balance import with_balance
from ..defaults import CHAINS, DRAWS, TUNE
from ..errors import InputError, Interrupted
from ..likelihoods import Likelihood, likelihood_of
from ..progress import progress
from ..settings import is_number, seed_findings, whole_number_findings
from ..study import Study
from ..time_scales.study_separation import separation_of_study, warn, with_separation
from .predictive import band, observed, pointwise, predictive, prior
from .pymc_model import parameters, pymc_model, variable_name

# What a draw must satisfy to be used (Vehtari, Gelman, Simpson, Carpenter & Burkner 2021, doi:10.1214/20-BA1221).
RHAT, ESS = 1.01, 400
# What sampling and its diagnostics need.
# Chains start no nearer to a bound of a prior than these quantiles.
INSIDE = 1e-3
LEAST = {"draws": 4, "tune": 10, "chains": 1}
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

    PyMC states the priors and the hierarchy, the likelihood enters as one JAX operation, nutpie samples. Chains start
    at the best fit where the tree has one (/fit) and no parameter differs between units; else near the prior medians,
    from where chains may not find a far and narrow posterior.

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
        model /separation once more, at posterior draws; where `identify` has been run, /practical with what the
        posterior adds to it.

    Raises:
        InputError: a study without data, settings out of range, a likelihood without a gradient, no density where
            chains start.
        Interrupted: where it is stopped (Ctrl-C); its `tree` has the whole draws that there are, marked as partial.
    """
    tree = with_balance(study, with_separation(study, results.check_tree(study, tree, verb="calibrate")))
    findings = [] if study.data is not None else ["the study has no data; calibrate needs a table."]
    findings += check_settings(draws=draws, tune=tune, chains=chains, target_accept=target_accept, seed=seed)
    if findings:
        raise InputError(f"calibrate {study.name!r}", findings)
    began = time.monotonic()
    likelihood = likelihood_of(study)
    likelihood.require("gradient", f"calibrate {study.name!r}")
    start = _best_fit(study, tree)
    _check_start(likelihood, start)
    compiled = _compiled(likelihood, start)
    settings = {"draws": draws, "tune": tune, "chains": chains, "target_accept": target_accept}

    def attached(groups: dict[str, xr.Dataset], partial: str = "") -> xr.DataTree:
        seconds = time.monotonic() - began
        if "practical" in tree.children and not partial:
            # of a few draws it would take the place of one that is whole
            known = {name: child.to_dataset() for name, child in tree.children.items()} | groups
            groups = groups | {"practical": results.practical(known)}
        return results.attach(
            tree, groups, verb="calibrate", settings=settings, seed=seed, seconds=seconds, partial=partial
        )

    trace, stopped = _sample(compiled, seed=seed, **settings)
    if trace is None:
        raise Interrupted(tree)
    try:
        if stopped:
            raise KeyboardInterrupt
        groups = _of_draws(study, trace, seed)
        tree = attached(groups | _predictions(likelihood, groups["posterior"], seed))
        return with_balance(study, tree, again=True)
    except KeyboardInterrupt:
        # without predictions, which compile for seconds: that is not what was asked for
        groups = _of_draws(study, trace, seed)
        sizes = groups["posterior"].sizes
        there = f"{sizes['draw']} of {draws} draws in {sizes['chain']} of {chains} chains"
        raise Interrupted(attached(groups, f"stopped with {there}, before predictions")) from None


def _sample(compiled, *, draws: int, tune: int, chains: int, target_accept: float, seed: int):
    """The trace, and whether sampling was stopped; a trace of the whole draws, or None where there are too few."""
    with progress("calibrate: sampling", chains * (draws + tune)) as update:
        sampler = nutpie.sample(
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
            # else Ctrl-C would return what there is, as if it were complete
            blocking=False,
        )
        try:
            return sampler.wait(), False
        except KeyboardInterrupt:
            return whole_draws(sampler.abort()), True
        except BaseException:
            sampler.cancel()
            raise


def whole_draws(trace: xr.DataTree) -> xr.DataTree | None:
    """The chains and draws of a sampler that was stopped, without the places that it has not reached.

    Chains have come differently far. Kept are the n furthest, as far as the shortest of them, with the n for which most
    draws stay: chains that have hardly begun do not shorten the others.

    Returns:
        a trace in which nothing is missing; None where no chain has `LEAST["draws"]` draws.
    """
    if "sample_stats" not in trace.children:
        return None
    # a draw that has not been made has no energy
    reached = trace["sample_stats"]["energy"].notnull().sum("draw").values
    order = np.argsort(-reached, kind="stable")
    kept = int(np.argmax(reached[order] * np.arange(1, len(order) + 1))) + 1
    draws = int(reached[order[kept - 1]])
    if draws < LEAST["draws"]:
        return None
    chains = np.sort(order[:kept])
    cut = {"posterior": slice(draws), "sample_stats": slice(draws), "warmup_sample_stats": slice(None)}
    return xr.DataTree.from_dict(
        {name: trace[name].to_dataset().isel(chain=chains, draw=chosen) for name, chosen in cut.items()}
    )


def _of_draws(study: Study, trace: xr.DataTree, seed: int) -> dict[str, xr.Dataset]:
    """The draws, what the sampler says of them, and what they are to be compared with."""
    posterior = parameters(trace["posterior"], study).assign_attrs(_counts(trace))
    return {
        "prior": prior(study, jax.random.fold_in(jax.random.key(seed), 0)),
        "posterior": posterior,
        "sample_stats": _stats(trace),
        "observed_data": observed(study),
        "convergence": convergence(study, posterior),
    }


def _predictions(likelihood: Likelihood, posterior: xr.Dataset, seed: int) -> dict[str, xr.Dataset]:
    """What the draws say of the data and, of a reduced model, of its time scales."""
    study, key = likelihood.study, jax.random.key(seed)
    groups = {
        "posterior_predictive": predictive(likelihood, posterior, jax.random.fold_in(key, 1)),
        "posterior_band": band(likelihood, posterior, jax.random.fold_in(key, 2)),
    }
    if "terms" in likelihood.capabilities:
        groups["log_likelihood"] = pointwise(likelihood, posterior)
    if "quasi_steady" in study.model.dynamics.capabilities:
        known = {name: posterior[name].values.ravel() for name in study.model.space.epistemic}
        groups["separation"] = separation_of_study(study, known, seed=seed)
        warn(study, groups["separation"])
    return groups


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


def check_settings(*, draws: int, tune: int, chains: int, target_accept: float = 0.8, seed: int = 0) -> list[str]:
    """What is wrong with the settings of `calibrate`."""
    given = {"draws": draws, "tune": tune, "chains": chains}
    findings = whole_number_findings({name: (value, LEAST[name]) for name, value in given.items()})
    findings += seed_findings(seed)
    if not is_number(target_accept) or not 0.5 <= target_accept < 1:
        findings.append(f"target_accept is {target_accept!r}; it must lie in [0.5, 1).")
    return findings


def _best_fit(study: Study, tree: xr.DataTree) -> dict[str, float]:
    """Where chains start, by parameter: the best fit, if there is one of all that is sampled; empty if not.

    One on a bound of its prior is put inside, where a sampler's own coordinate of it is finite.
    """
    space = study.model.space
    if "fit" not in tree.children or space.aleatory:
        return {}
    value = tree["fit"]["value"].to_series()
    lower, upper = (
        space.from_cube(np.full(len(space.free), INSIDE)),
        space.from_cube(np.full(len(space.free), 1 - INSIDE)),
    )
    return {name: float(np.clip(value[name], lower[name], upper[name])) for name in space.epistemic}


def _compiled(likelihood: Likelihood, start: dict[str, float]):
    """What nutpie samples, all chains from `start` if it is given."""
    model = pymc_model(likelihood)
    where = {}
    if start:
        points = {variable_name(name): np.asarray(value) for name, value in start.items()}
        where = {"initial_points": points, "jitter_rvs": set()}
    return nutpie.compile_pymc_model(model, backend="jax", gradient_backend="jax", **where)


def _check_start(likelihood: Likelihood, start: dict[str, float]) -> None:
    """Raises InputError where the data have no density where chains start: none could begin near it."""
    study, space = likelihood.study, likelihood.study.model.space
    theta = space.nominal() | {name: jnp.asarray(value) for name, value in start.items()}
    theta |= {name: jnp.full(len(study.units), theta[name]) for name in space.aleatory}
    if findings := likelihood.density_findings(theta):
        raise InputError(f"calibrate {study.name!r} at the {'best fit' if start else 'prior medians'}", findings)


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
