"""Where chains start: at places with a density, apart from one another, the same for the same seed.

Chains that all start at one point would agree whatever they have not seen, and R-hat would say nothing. Where there is
a best fit a chain starts on the way from one of its optima towards a draw from the prior, no further than the log
density falls by `FALL` for each coordinate: draws of the posterior itself are lower than the optimum by a half for
each, so that starts are spread about twice as wide as the posterior is in its narrowest direction. Else it starts near
the centre of the prior, and where there is no density at draws from the prior.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pymc as pm
from jaxtyping import Float
from pymc.initial_point import make_initial_point_fn

from ..space import Space
from .pymc_model import start_values

# Chains start no nearer to a bound of a prior than these quantiles.
INSIDE = 1e-3
# By how much the log density may fall between an optimum and a start, for each coordinate.
FALL = 2.0
HALVINGS = 20
# Points near the centre of the prior, and draws from it, that are tried before there is said to be no density.
NEAR, DRAWS = 10, 100

Point = Float[np.ndarray, " coordinates"]
Density = Callable[[Point], float]


class NoStart(Exception):
    """There is no density at any of the points that were tried."""


def starting_points(
    model: pm.Model, space: Space, density: Density, optima: Sequence[dict[str, float]], seeds: Sequence[int]
) -> list[Point]:
    """A start for each chain, in the coordinates of the sampler.

    Args:
        model: of the study.
        density: log density in these coordinates.
        optima: parameters of the best fit and of other optima, if they are known; chains are dealt out among them.
        seeds: one for each chain.

    Raises:
        NoStart: where there is no density.
    """
    prior = _points(model, default_strategy="prior")
    if optima:
        centres = [_points(model, overrides=start_values(space, each))(0) for each in optima]
        centres = [centre for centre in centres if np.isfinite(density(centre))]
        if not centres:
            raise NoStart
        return [_dispersed(centres[k % len(centres)], prior(seed), density) for k, seed in enumerate(seeds)]
    near = _points(model, jitter_rvs=set(model.free_RVs))
    return [_first_with_density(_candidates(near, prior, seed), density) for seed in seeds]


def _points(model: pm.Model, *, jitter_rvs=frozenset(), **options) -> Callable[[int], Point]:
    """`function(seed)` -> a point in the sampler's coordinates, in the order of the model's variables."""
    function = make_initial_point_fn(model=model, return_transformed=True, jitter_rvs=set(jitter_rvs), **options)
    names = [model.rvs_to_values[variable].name for variable in model.free_RVs]

    def point(seed: int) -> Point:
        values = function(seed)
        return np.concatenate([np.ravel(values[name]) for name in names]).astype(float)

    return point


def _dispersed(centre: Point, far: Point, density: Density) -> Point:
    """On the way from an optimum to another point, as far as the density allows in halves of the distance."""
    least = density(centre) - FALL * len(centre)
    if not np.all(np.isfinite(far)):
        return centre
    for halving in range(HALVINGS):
        point = centre + 0.5**halving * (far - centre)
        if density(point) >= least:
            return point
    return centre


def _candidates(near, prior, seed: int) -> Iterator[Point]:
    yield from (near(each) for each in _seeds(seed, NEAR))
    yield from (prior(each) for each in _seeds(seed, DRAWS))


def _seeds(seed: int, count: int) -> list[int]:
    return [int(each) for each in np.random.SeedSequence(seed).generate_state(count)]


def _first_with_density(candidates: Iterator[Point], density: Density) -> Point:
    for point in candidates:
        if np.all(np.isfinite(point)) and np.isfinite(density(point)):
            return point
    raise NoStart
