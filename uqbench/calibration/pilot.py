"""A short run of chains that tells at which parameters the log likelihood of latents is expanded.

The coordinates of `calibration.latents` are the better the nearer these are to the posterior. Prior medians may be far
from it: with an sd of the noise that is several times too small or too large there, draws are worth a third as much
(theophylline, indomethacin). Where an optimum is known (`population`) there is no need of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ..likelihoods import Likelihood
from .attempts import ACCEPT, ADAPTATION, Attempt
from .chain_files import ChainFiles
from .chains import beginner, side_by_side
from .prepared import Prepared
from .pymc_model import of_expansions
from .starts import starting_points

# Draws of each chain for adaptation and after it, chains, and doublings of a trajectory: a twentieth of what comes.
TUNE, DRAWS, CHAINS, DEPTH = 150, 50, 2, 7


def piloted(
    likelihood: Likelihood,
    ready: Prepared,
    seed: Sequence[int],
    chains: int = CHAINS,
    values: Mapping[str, np.ndarray] | None = None,
) -> Prepared:
    """The same, expanded at the medians of a short run; as it was where there are no such latents.

    Args:
        seed: numbers; chains of other runs may have the same.
        values: those that `ready` has for the measured ones.

    Raises:
        NoStart: where there is no density at which to start.
    """
    if not of_expansions(likelihood):
        return ready
    seeds = [int(each) for each in np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(chains)]
    optima = [each.point for each in ready.optima]
    points = starting_points(ready.model, lambda point: ready.slope(point)[0], optima, seeds)
    attempt = Attempt("nutpie", ADAPTATION, ACCEPT, TUNE, "")
    begin = beginner(ready.compiled, attempt, DRAWS, points, seeds, maxdepth=DEPTH)
    drawn, stopped = side_by_side(begin, likelihood.study, chains, 0, ChainFiles(None, {}), TUNE + DRAWS, _ignored)
    # without draws it was stopped
    if stopped or drawn is None:
        raise KeyboardInterrupt
    return ready.expanded_at(likelihood, medians(likelihood, drawn["posterior"].to_dataset()), values)


def medians(likelihood: Likelihood, posterior: xr.Dataset) -> dict[str, float]:
    """Of the draws of each epistemic parameter."""
    return {name: float(np.median(posterior[name])) for name in likelihood.study.model.space.epistemic}


def _ignored(finished: int, said: str) -> None:
    """There is nothing to say of so short a run."""
