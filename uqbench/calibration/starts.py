"""Where chains start: at places with a density, apart from one another, the same for the same seed.

Chains that all start at one point would agree whatever they have not seen, and R-hat would say nothing. Optima are
looked for (`optima`, of populations `population`), lest all chains start on one side and never hear of the other: from
those of a best fit, where there is one, and from draws of the prior. Of as many of these as the chains
will have, within `SCREENED`, the density is computed, and of `MORE` where few numbers are computed for it: a rule that
has the same outcome on each machine. A chain starts on the way from an optimum towards a draw from the prior, no
further than the log density falls by `FALL` for each coordinate: draws of the posterior itself are lower than the
optimum by a half for each, so that starts are spread about twice as wide as the posterior is in its narrowest
direction; of a population only what units have in common counts. Where there are no optima a chain starts near the
centre of the prior, and where there is no density there at draws from it. Latents of parameters of unknown width are
drawn, in such a draw, as the data have them (`latents`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pymc as pm
import pytensor
import xarray as xr
from jaxtyping import Float
from pymc.initial_point import make_initial_point_fn
from pytensor.graph.replace import graph_replace
from scipy.stats import qmc

from ..likelihoods import Likelihood, LinearEffects
from ..study import Study
from .optima import ASCENTS, Density, Optimum, Point, Slope, climbed, tops, weighed
from .predictive import log_densities, numbers_computed
from .pymc_model import EFFECTS, start_values

# Chains start no nearer to a bound of a prior than these quantiles.
INSIDE = 1e-3
# By how much the log density may fall between an optimum and a start, for each coordinate.
FALL = 2.0
HALVINGS = 20
# Points near the centre of the prior, and draws from it, that are tried before there is said to be no density.
NEAR, DRAWS = 10, 100
# Draws of the prior of which the log density is computed, one by one where it has no terms, and many at once.
ONE_BY_ONE, SCREENED = 256, (512, 4096)
# How many more they may be, in all, if no more numbers than this are computed for them; and with more coordinates than
# `EASY`, in which neighbours cost more than densities.
MORE, MORE_OF_MANY, EASY, NUMBERS = 2**16, 2**14, 5, 1e8
# By how much the log density of a fit may be lower than that of the best one.
NEGLIGIBLE = 20.0
# Quantiles of the prior beyond this are not drawn.
EDGE = 1e-6


class NoStart(Exception):
    """There is no density at any of the points that were tried."""


def starting_points(
    model: pm.Model, density: Density, optima: Sequence[Point], seeds: Sequence[int], count: int | None = None
) -> list[Point]:
    """A start for each chain, in the coordinates of the sampler.

    Args:
        model: of the study.
        density: log density in these coordinates.
        optima: where they are known; chains are dealt out among them.
        seeds: one for each chain.
        count: for how many coordinates the density may fall; default all.

    Raises:
        NoStart: where there is no density.
    """
    if optima:
        prior = _points(model, default_strategy="prior")
        return [_dispersed(optima[k % len(optima)], prior(seed), density, count) for k, seed in enumerate(seeds)]
    near, prior = _points(model, jitter_rvs=set(model.free_RVs)), _points(model, default_strategy="prior")
    return [_first_with_density(_candidates(near, prior, seed), density) for seed in seeds]


def optima_of(
    likelihood: Likelihood,
    model: pm.Model,
    data: Mapping[str, np.ndarray],
    slope: Slope,
    fits: Sequence[Mapping[str, float]],
    seed: int,
    count: int = SCREENED[1],
) -> tuple[tuple[Optimum, ...], Point]:
    """Optima of the posterior, that with the largest share first, and the standard deviations of the prior.

    There are none where parameters differ between units.

    Args:
        model, data: of the likelihood's study, with what `pymc_model.data_of` gave it.
        slope: log density in the coordinates of the sampler, and its gradient.
        fits: parameters at optima of a fit.
        seed: of draws from the prior.
        count: of these draws, within `SCREENED`; one by one there are `ONE_BY_ONE`.

    Raises:
        NoStart: where there is no density at the fits.
    """
    if likelihood.study.model.space.aleatory:
        return (), np.ones(0)
    place = placing(likelihood, model, data)
    known = [place({name: np.asarray([value]) for name, value in each.items()})[0] for each in fits]
    if fits and not any(np.isfinite(slope(point)[0]) for point in known):
        raise NoStart
    if "terms" in likelihood.capabilities and not LinearEffects.of(likelihood):
        drawn = _screened(likelihood, place, seed, int(np.clip(count, *SCREENED)))
    else:
        prior = _points(model, default_strategy="prior")
        points = np.stack([prior(each) for each in _seeds(seed, ONE_BY_ONE)])
        drawn = [*points[tops(points, np.array([slope(point)[0] for point in points]))], *points[:ASCENTS]]
    spread = np.std([point for point in drawn[-ASCENTS:] if np.all(np.isfinite(point))], axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    return tuple(weighed(slope, climbed(slope, [*known, *drawn]), spread)), spread


def few_optima(model: pm.Model, slope: Slope, seed: int, ascents: int) -> list[Point]:
    """Where ascents from so many draws of the prior end."""
    prior = _points(model, default_strategy="prior")
    return [point for _, point in climbed(slope, [prior(each) for each in _seeds(seed, ascents)])]


def _screened(likelihood: Likelihood, place, seed: int, count: int) -> list[Point]:
    """Of draws from the prior the highest that are higher than their neighbours, then some as they come."""
    space = likelihood.study.model.space
    if numbers := numbers_computed(likelihood):
        most = MORE if len(space.free) <= EASY else MORE_OF_MANY
        count = int(np.clip(NUMBERS / numbers, count, most))
    cube = qmc.Sobol(len(space.free), rng=seed).random_base2((count - 1).bit_length())
    theta = space.from_cube(np.clip(cube, EDGE, 1 - EDGE))
    free = {name: theta[name] for name in space.free}
    highest = tops(cube, log_densities(likelihood, free))
    chosen = np.concatenate([highest, np.arange(ASCENTS)])
    return list(place({name: np.asarray(value)[chosen] for name, value in free.items()}))


def placing(
    likelihood: Likelihood, model: pm.Model, data: Mapping[str, np.ndarray]
) -> Callable[..., Float[np.ndarray, "n coordinates"]]:
    """`function(theta, latents)` -> points in the coordinates of the sampler, of parameters `(n,)` each.

    Of parameters that are integrated out the sampler has latents of its own; `latents` `(n, effects)` are their values,
    and zero, where their density is highest, unless they are given. `data` are those of the model.
    """
    free = list(model.free_RVs)
    inputs = {variable: variable.type() for variable in free}
    outputs = []
    for variable in free:
        transform = model.rvs_to_transforms[variable]
        value = inputs[variable]
        outputs.append(value if transform is None else transform.forward(value, *variable.owner.inputs))
    outputs = graph_replace(outputs, list(inputs.items()), strict=False)
    function = pytensor.function(list(inputs.values()), outputs, mode="FAST_COMPILE", on_unused_input="ignore")

    def place(theta, latents=None) -> Float[np.ndarray, "n coordinates"]:
        points = []
        for k in range(len(next(iter(theta.values())))):
            values = start_values(model, likelihood, {name: float(value[k]) for name, value in theta.items()}, data)
            if any(variable.name == EFFECTS for variable in free):
                (effects,) = (variable for variable in free if variable.name == EFFECTS)
                values[EFFECTS] = np.zeros(effects.type.shape) if latents is None else latents[k]
            found = function(*(values[variable.name] for variable in free))
            points.append(np.concatenate([np.ravel(each) for each in found]).astype(float))
        return np.stack(points)

    return place


def _points(model: pm.Model, *, jitter_rvs=frozenset(), **options) -> Callable[[int], Point]:
    """`function(seed)` -> a point in the sampler's coordinates, in the order of the model's variables."""
    function = make_initial_point_fn(model=model, return_transformed=True, jitter_rvs=set(jitter_rvs), **options)
    names = [model.rvs_to_values[variable].name for variable in model.free_RVs]

    def point(seed: int) -> Point:
        values = function(seed)
        return np.concatenate([np.ravel(values[name]) for name in names]).astype(float)

    return point


def _dispersed(centre: Point, far: Point, density: Density, count: int | None) -> Point:
    """On the way from an optimum to another point, as far as the density allows in halves of the distance."""
    least = density(centre) - FALL * (len(centre) if count is None else count)
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


def best_fits(study: Study, tree: xr.DataTree) -> list[dict[str, float]]:
    """The best fit and other optima in `tree`, the best first, if it has them; of a population, of what units share.

    An optimum whose log density is lower by more than `NEGLIGIBLE` has no share in the posterior that counts. One
    on a bound of its prior is put inside, where a sampler's own coordinate of it is finite.
    """
    space = study.model.space
    if "fit" not in tree.children:
        return []
    fit = tree["fit"].to_dataset()
    lower, upper = (space.from_cube(np.full(len(space.free), u)) for u in (INSIDE, 1 - INSIDE))

    def inside(value) -> dict[str, float]:
        return {name: float(np.clip(value[name], lower[name], upper[name])) for name in space.epistemic}

    found = [inside(fit["value"].to_series())]
    for optimum in range(1, int(fit["optimum"].max()) + 1):
        start = int(np.argmax(fit["optimum"].values == optimum))
        if fit["log_density"].values[start] >= fit.attrs["log_density"] - NEGLIGIBLE:
            found.append(inside(fit["ended"].isel(start=start).to_series()))
    return found
