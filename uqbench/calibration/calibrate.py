"""The verb `calibrate`: draws from the posterior, whether they can be trusted, and what they predict for the data."""

import json
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from .. import results
from ..coupling.study_balance import with_balance
from ..defaults import CHAINS, DRAWS, TUNE
from ..errors import InputError, Interrupted, ModesWarning
from ..likelihoods import Likelihood, likelihood_of
from ..study import Study
from ..time_scales.study_separation import separation_of_study, warn, with_separation
from .attempts import Settings
from .chain_files import ChainFiles, made_from
from .chains import KEPT_STATS
from .checks import checks
from .mixture import OF_MODE
from .predictive import band, observed, pointwise, predictive, prior
from .sampling import Drawn, draw
from .starts import best_fits
from .tempered import OF_TEMPERING, evidence


def calibrate(
    study: Study,
    tree: xr.DataTree | None = None,
    *,
    draws: int = DRAWS,
    tune: int = TUNE,
    chains: int = CHAINS,
    target_accept: float | None = None,
    adaptation: str | None = None,
    sampler: str | None = None,
    seed: int = 0,
    resume: str | Path | None = None,
) -> xr.DataTree:
    """Samples the posterior of a study and predicts its data.

    PyMC states the priors and the hierarchy, the likelihood enters as one JAX operation, nutpie samples; without a
    gradient, and between modes that chains do not leave, sequential Monte Carlo does (`calibration.tempered`). How
    sampling adapts follows a rule, which `calibration.attempts` states, where none is given; what was tried and why is
    in the attributes of /sample_stats. Chains start around optima, those of the best fit where the tree has it (/fit)
    and such as are found from draws of the prior; of a population, optima of what its units have in common
    (`calibration.population`).

    Args:
        study: with data.
        tree: results to add to; None starts new ones.
        draws, tune: per chain, kept and for adaptation.
        chains: independent chains.
        target_accept: acceptance the step size is tuned to; raise it where divergences are reported. None: by the rule.
        adaptation: of the mass matrix: "diag", "draw_diag", "low_rank" or "flow". None: by the rule.
        sampler: "nutpie", "mclmc", "pymc", "numpyro" or "smc"; None: by the rule. "smc" needs no gradient and estimates
            the evidence.
        seed: of sampling and predictions.
        resume: a folder for finished chains, each written at once; those that are there already are taken from it, so
            that a calibration that was stopped goes on, with the result that it would have had. It is not removed.

    Returns:
        the tree with /prior, /posterior, /posterior_predictive, /log_likelihood, /sample_stats, /observed_data in the
        ArviZ schema (/log_likelihood where the likelihood has terms; its attribute `term` says what one is),
        /posterior_band for figures and /convergence: R-hat, ESS and whether they suffice, by parameter, and the mode
        that each chain stays in; /checks with whether the model fits, what to try where it does not, and what it rests
        on (/pit, /residuals, /log_prior, /prior_predictive; of units /units and /visual_check); of a reduced model
        /separation once more, at posterior draws; where `identify` has been run, /practical with what the posterior
        adds to it.

    Raises:
        InputError: a study without data or epistemic parameters, settings out of range, a sampler that is not installed
            or needs a gradient that is missing, no density where chains start, chains in `resume` of another
            calibration.
        Interrupted: where it is stopped (Ctrl-C); its `tree` has the whole draws that there are, marked as partial.

    Warns:
        ModesWarning: where chains have stayed in different modes, or draws have missed one that is known.
    """
    tree = with_balance(study, with_separation(study, results.check_tree(study, tree, verb="calibrate")))
    settings = Settings(draws, tune, chains, seed, target_accept, adaptation, sampler)
    findings = [] if study.data is not None else ["the study has no data; calibrate needs a table."]
    findings += settings.findings()
    if findings:
        raise InputError(f"calibrate {study.name!r}", findings)
    began = time.monotonic()
    likelihood = likelihood_of(study)
    asked = {name: value for name, value in asdict(settings).items() if name != "seed"}
    optima = best_fits(study, tree)
    files = ChainFiles(None if resume is None else Path(resume), made_from(study, asked | {"seed": seed, "at": optima}))
    files.check()

    def attached(groups: dict[str, xr.Dataset], partial: str = "") -> xr.DataTree:
        seconds = time.monotonic() - began
        if "practical" in tree.children and not partial:
            # of a few draws it would take the place of one that is whole
            known = {name: child.to_dataset() for name, child in tree.children.items()} | groups
            groups = groups | {"practical": results.practical(known)}
        return results.attach(
            tree, groups, verb="calibrate", settings=asked, seed=seed, seconds=seconds, partial=partial
        )

    drawn = draw(likelihood, settings, optima, files)
    if drawn is None:
        raise Interrupted(tree)
    try:
        if drawn.stopped:
            raise KeyboardInterrupt
        groups = _of_draws(study, drawn, seed)
        _warn_of_modes(study, groups["convergence"])
        groups |= _predictions(likelihood, groups["posterior"], seed)
        tree = attached(groups | checks(likelihood, groups, seed))
        return with_balance(study, tree, again=True)
    except KeyboardInterrupt:
        # without predictions, which compile for seconds: that is not what was asked for
        groups = _of_draws(study, drawn, seed)
        sizes = groups["posterior"].sizes
        there = f"{sizes['draw']} of {draws} draws in {sizes['chain']} of {chains} chains"
        raise Interrupted(attached(groups, f"stopped with {there}, before predictions")) from None


def _of_draws(study: Study, drawn: Drawn, seed: int) -> dict[str, xr.Dataset]:
    """The draws, what the sampler says of them, and what they are to be compared with."""
    posterior = drawn.chains["posterior"].to_dataset().assign_attrs(_counts(drawn.chains))
    return {
        "prior": prior(study, jax.random.fold_in(jax.random.key(seed), 0)),
        "posterior": posterior,
        "sample_stats": _stats(drawn),
        "observed_data": observed(study),
        "convergence": drawn.convergence,
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


def check_settings(
    *,
    draws: int,
    tune: int,
    chains: int,
    target_accept: float | None = None,
    adaptation: str | None = None,
    sampler: str | None = None,
    seed: int = 0,
) -> list[str]:
    """What is wrong with the settings of `calibrate`."""
    return Settings(draws, tune, chains, seed, target_accept, adaptation, sampler).findings()


def _warn_of_modes(study: Study, found: xr.Dataset) -> None:
    if missed := found.attrs.get("missed_modes"):
        warnings.warn(f"calibrate {study.name!r}: {missed} Nothing is resolved.", ModesWarning, stacklevel=3)
    places = [found["chain"].values[found["mode"].values == mode] for mode in np.unique(found["mode"])]
    if len(places) > 1:
        said = " and ".join(f"chains {', '.join(map(str, place))}" for place in places)
        warnings.warn(
            f"calibrate {study.name!r}: {said} stay in different modes. Each has seen a part of the posterior, and "
            "how much belongs to each part is not known from them. Take `sampler='smc'`, or a prior that excludes what "
            "is known not to be.",
            ModesWarning,
            stacklevel=3,
        )


def _counts(chains: xr.DataTree) -> dict:
    """How many points were rejected, why, and where in the run: nothing is left out of the report."""
    counts = {}
    for phase, group in (("warmup", "warmup_sample_stats"), ("sampling", "sample_stats")):
        if group not in chains.children:
            continue
        stats = chains[group]
        diverging = stats["diverging"].values.astype(bool)
        counts[f"divergences_{phase}"] = int(diverging.sum())
        if "divergence_energy_error" not in stats:
            continue
        error = stats["divergence_energy_error"].values[diverging]
        # Where the density is not finite (a failed solve, or noise without density at that output) nutpie has no
        # energy to compare.
        known = error[np.isfinite(error)]
        counts[f"failed_solves_{phase}"] = int(diverging.sum()) - known.size
        counts[f"energy_errors_{phase}"] = [float(known.min()), float(known.max())] if known.size else []
    return counts


def _stats(drawn: Drawn) -> xr.Dataset:
    """What the sampler says of each draw, how it was chosen, and what had been tried before."""
    stats = drawn.chains["sample_stats"].to_dataset()
    (kept_attempt,) = (each for each in drawn.attempts if each["kept"])
    said = {name: kept_attempt[name] for name in ("sampler", "adaptation", "target_accept", "why")}
    said |= {"attempts": json.dumps(drawn.attempts)}
    kept = stats[[name for name in (*KEPT_STATS, *OF_TEMPERING, OF_MODE) if name in stats]]
    if "log_evidence" in stats:
        said["log_evidence"], said["log_evidence_error"] = evidence(stats)
    return kept.assign_attrs(said)
