"""Draws from a posterior, attempt by attempt: what each sampler is asked for, and what came of it.

Every chain is a run of its own, with a seed made of that of the calibration and the numbers of the attempt and of the
chain. So chains can be made one after the other, or some of them later, and are the same.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import nutpie
import pymc as pm
import xarray as xr
from pymc.model.transform.optimization import freeze_dims_and_data

from ..errors import InputError
from ..likelihoods import Likelihood, findings_around
from ..progress import progress
from ..study import Study
from .attempts import ADAPTS, Attempt, Settings, first_attempt, next_attempt
from .chain_files import ChainFiles
from .chains import of_chain, one_by_one, side_by_side
from .convergence import convergence
from .pymc_model import pymc_model, start_values
from .starts import DRAWS as PRIOR_DRAWS
from .starts import NoStart, starting_points
from .tempered import tempered_chain


@dataclass(frozen=True)
class Drawn:
    """What came of it.

    Args:
        chains: groups "posterior", "sample_stats" and, where the sampler has a warm-up, "warmup_sample_stats".
        attempts: what was tried, the last being that of the draws; with what came of each in words.
        stopped: whether it was stopped before all draws were made.
    """

    chains: xr.DataTree
    attempts: list[dict]
    stopped: bool


def draw(
    likelihood: Likelihood, settings: Settings, optima: Sequence[dict[str, float]], files: ChainFiles
) -> Drawn | None:
    """Draws by the rule of `attempts`, or as the settings say; None where it was stopped before there were any.

    Args:
        optima: parameters of the best fit and other optima, where they are known: where chains start.
        files: of finished chains.

    Raises:
        InputError: a likelihood without a gradient for a sampler that needs one; no density where chains start.
    """
    study, attempt = likelihood.study, first_attempt(likelihood, settings)
    tried: list[dict] = []
    run_chains = _runner(likelihood, settings, optima)
    while True:
        chains, stopped = run_chains(attempt, len(tried), files)
        if chains is None:
            return None
        found = convergence(study, chains)
        tried.append({**asdict(attempt), "came": _in_words(chains, found)})
        following = (
            None if stopped or not settings.ruled else next_attempt(study, attempt, chains, found, settings.tune, tried)
        )
        if following is None:
            return Drawn(chains, tried, stopped)
        attempt = following


def _in_words(chains: xr.DataTree, found: xr.Dataset) -> str:
    diverged = int(chains["sample_stats"]["diverging"].sum())
    modes = len(np.unique(found["mode"]))
    return (
        f"smallest bulk ESS {float(found['ess_bulk'].min()):.0f}, largest R-hat {float(found['rhat'].max()):.3f}, "
        f"{diverged} divergences" + (f", chains in {modes} modes" if modes > 1 else "")
    )


def _runner(likelihood: Likelihood, settings: Settings, optima):
    """`function(attempt, number, files)` -> the draws of one attempt, and whether it was stopped."""
    model, compiled = None, None

    def run(attempt: Attempt, number: int, files: ChainFiles):
        nonlocal model, compiled
        seeds = [_seed(settings.seed, number, chain) for chain in range(settings.chains)]
        if attempt.sampler == "smc":
            with _progress(attempt, 100 * settings.chains) as update:

                def one(chain: int) -> xr.DataTree:
                    def at(power: float) -> None:
                        update(int(100 * (chain + power)))

                    return tempered_chain(likelihood, settings.draws, seeds[chain], at, attempt.particles)

                return one_by_one(one, settings.chains, number, files)
        if model is None:
            model, compiled = compiled_model(likelihood)
        study, length = likelihood.study, settings.draws + attempt.tune
        if attempt.sampler in ADAPTS:
            points = chain_starts(likelihood, model, compiled, optima, seeds)
            with _progress(attempt, settings.chains * length) as update:
                begin = beginner(compiled, attempt, settings.draws, points, seeds)
                return side_by_side(begin, study, settings.chains, number, files, length, update)
        with _progress(attempt, settings.chains) as update:

            def one(chain: int) -> xr.DataTree:
                update(chain)
                return _by_pymc(model, study, attempt, settings.draws, seeds[chain])

            return one_by_one(one, settings.chains, number, files)

    return run


def compiled_model(likelihood: Likelihood) -> tuple[pm.Model, Any]:
    """The model of PyMC, and the same compiled for nutpie, with its variables in the same order."""
    # freezing changes the order
    model = freeze_dims_and_data(pymc_model(likelihood))
    return model, nutpie.compile_pymc_model(model, backend="jax", gradient_backend="jax", freeze_model=False)


@contextmanager
def _progress(attempt: Attempt, total: int) -> Iterator[Callable]:
    label = "calibrate: tempering" if attempt.sampler == "smc" else "calibrate: sampling"
    with progress(label, total) as update:
        yield update


def _seed(seed: int, attempt: int, chain: int) -> int:
    return int(np.random.SeedSequence([seed, attempt, chain]).generate_state(1)[0])


def chain_starts(
    likelihood: Likelihood, model: pm.Model, compiled, optima, seeds, ascents: int | None = None
) -> list[np.ndarray]:
    """A start for each seed, in the coordinates of the compiled model; see `starts.starting_points`.

    Raises:
        InputError: where there is no density.
    """
    study, logp = likelihood.study, compiled._make_logp_func()

    def slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        return logp(point, **compiled._shared_data)

    try:
        starts = [start_values(model, likelihood, each) for each in optima]
        return starting_points(model, study.model.space, slope, starts, seeds, ascents)
    except NoStart:
        where = "best fit" if optima else "prior medians"
        findings = findings_around(likelihood, optima[0] if optima else {})
        if not optima:
            findings.append(f"nor is there a density at any of {PRIOR_DRAWS} draws from the prior.")
        raise InputError(f"calibrate {study.name!r} at the {where}", findings) from None


def beginner(compiled, attempt: Attempt, draws: int, points, seeds):
    """`function(chain, note)` that begins to sample a chain in the background."""
    own: dict[str, Any] = {"adaptation": attempt.adaptation, "target_accept": attempt.target_accept}
    if attempt.sampler == "mclmc":
        own = {"adaptation": attempt.adaptation, "sampler": "mclmc"}

    def begin(chain: int, note: Callable):
        # each chain has its own start, of a model compiled once
        started = replace(compiled, _make_initial_points=lambda seed: points[chain])
        return nutpie.sample(
            started,
            draws=draws,
            tune=attempt.tune,
            chains=1,
            cores=1,
            seed=seeds[chain],
            progress_bar=False,
            progress_callback=note,
            # else Ctrl-C would return what there is, as if it were complete
            blocking=False,
            **own,
        )

    return begin


def _by_pymc(model: pm.Model, study: Study, attempt: Attempt, draws: int, seed: int) -> xr.DataTree:
    """A chain by PyMC's own sampler or by numpyro's."""
    with model:
        trace = pm.sample(
            draws=draws,
            tune=attempt.tune,
            chains=1,
            cores=1,
            random_seed=seed,
            target_accept=attempt.target_accept,
            nuts_sampler=attempt.sampler,
            progressbar=False,
            # the likelihood is an operation of JAX
            compile_kwargs={"mode": "JAX"},
            compute_convergence_checks=False,
        )
    return of_chain(trace, study, 0)
