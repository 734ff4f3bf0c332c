"""Where chains start: at places with a density, apart from one another, the same for the same seed.

Chains that all start at one point would agree whatever they have not seen, and R-hat would say nothing. Where there is
a best fit a chain starts on the way from one of its optima towards a draw from the prior, no further than the log
density falls by `FALL` for each coordinate: draws of the posterior itself are lower than the optimum by a half for
each, so that starts are spread about twice as wide as the posterior is in its narrowest direction. Without a best fit,
and where no parameter differs between units, optima are looked for from draws of the prior, lest all chains start on
one side and never hear of the other: from some as they come, and from those of many more that are higher than what is
near them, as a narrow optimum shows itself (after Rinnooy Kan & Timmer 1987, doi:10.1007/BF02592071). Else a chain
starts near the centre of the prior, and where there is no density at draws from it.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Float
from pymc.initial_point import make_initial_point_fn
from scipy.optimize import minimize
from scipy.spatial import KDTree

from ..space import Space
from ..study import Study

# Chains start no nearer to a bound of a prior than these quantiles.
INSIDE = 1e-3
# By how much the log density may fall between an optimum and a start, for each coordinate.
FALL = 2.0
HALVINGS = 20
# Points near the centre of the prior, and draws from it, that are tried before there is said to be no density.
NEAR, DRAWS = 10, 100

# Draws of the prior of which the log density is asked; how many neighbours one is compared with, and how many ascents
# begin at those that are higher than their neighbours.
SCREENED, NEIGHBOURS, HIGHER = 128, 8, 8
# Ascents from draws of the prior as they come, and the steps of each; how far below the highest an optimum is not worth
# a chain; by how much the density falls between two that are not one.
ASCENTS, STEPS = 16, 100
NEGLIGIBLE, VALLEY, BETWEEN = 20.0, 2.0, 9

Point = Float[np.ndarray, " coordinates"]
Density = Callable[[Point], float]
# the same and its gradient
Slope = Callable[[Point], tuple[float, Point]]


class NoStart(Exception):
    """There is no density at any of the points that were tried."""


def starting_points(
    model: pm.Model,
    space: Space,
    slope: Slope,
    optima: Sequence[dict[str, np.ndarray]],
    seeds: Sequence[int],
    ascents: int | None = None,
) -> list[Point]:
    """A start for each chain, in the coordinates of the sampler.

    Args:
        model: of the study.
        slope: log density in these coordinates, and its gradient.
        optima: values of the model's variables at the best fit and at other optima, if they are known, see
            `start_values`; chains are dealt out among them.
        seeds: one for each chain.
        ascents: from so many draws of the prior optima are looked for where none are known; None: those of
            `ascent_starts`.

    Raises:
        NoStart: where there is no density.
    """

    def density(point: Point) -> float:
        return slope(point)[0]

    prior, centres = _points(model, default_strategy="prior"), []
    if optima:
        centres = [_points(model, overrides=each)(0) for each in optima]
        centres = [centre for centre in centres if np.isfinite(density(centre))]
        if not centres:
            raise NoStart
    elif not space.aleatory:
        draws = [prior(each) for each in _seeds(seeds[0], SCREENED if ascents is None else ascents)]
        centres = climbed(slope, ascent_starts(density, draws) if ascents is None else draws)
    if centres:
        return [_dispersed(centres[k % len(centres)], prior(seed), density) for k, seed in enumerate(seeds)]
    near = _points(model, jitter_rvs=set(model.free_RVs))
    return [_first_with_density(_candidates(near, prior, seed), density) for seed in seeds]


def ascent_starts(density: Density, draws: Sequence[Point]) -> list[Point]:
    """The first `ASCENTS` of these draws from the prior, and of the others those that are higher than their neighbours.

    Of the latter as many as `HIGHER`, the highest first.
    """
    others = np.array([point for point in draws[ASCENTS:] if np.all(np.isfinite(point))])
    if len(others) <= NEIGHBOURS:
        return list(draws)
    heights = np.array([density(point) for point in others])
    heights[np.isnan(heights)] = -np.inf
    spread = others.std(axis=0)
    scaled = others / np.where(spread > 0, spread, 1.0)
    # the nearest of all is the point itself
    _, near = KDTree(scaled).query(scaled, NEIGHBOURS + 1)
    tops = np.flatnonzero(np.isfinite(heights) & (heights >= heights[near].max(axis=1)))
    return [*draws[:ASCENTS], *others[tops[np.argsort(-heights[tops])][:HIGHER]]]


def climbed(slope: Slope, points: Sequence[Point]) -> list[Point]:
    """Optima that are reached from these points, the highest first; those that no valley parts are one."""
    ended = []
    for point in points:
        if np.all(np.isfinite(point)) and np.isfinite(slope(point)[0]):
            found = minimize(_downwards, point, (slope,), "L-BFGS-B", jac=True, options={"maxiter": STEPS})
            ended += [(float(-found.fun), found.x)] if np.isfinite(found.fun) and found.fun < FAILED else []
    ended.sort(key=lambda each: -each[0])
    optima: list[tuple[float, Point]] = []
    for value, point in ended:
        if value >= ended[0][0] - NEGLIGIBLE and all(_apart(slope, point, value, *other) for other in optima):
            optima.append((value, point))
    return [point for _, point in optima]


# What stands for minus a log density that there is none of.
FAILED = 1e100


def _downwards(point: Point, slope: Slope) -> tuple[float, Point]:
    value, gradient = slope(point)
    if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
        return FAILED, np.zeros_like(point)
    return -value, -np.asarray(gradient)


def _apart(slope: Slope, point: Point, value: float, height: float, other: Point) -> bool:
    """Whether the density falls between two points, on the straight way."""
    shares = np.linspace(0, 1, BETWEEN + 2)[1:-1]
    lowest = min(np.nan_to_num(slope(point + share * (other - point))[0], nan=-np.inf) for share in shares)
    return bool(lowest < min(value, height) - VALLEY)


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


def best_fits(study: Study, tree: xr.DataTree) -> list[dict[str, float]]:
    """The best fit and other optima in `tree`, the best first, if there are such of all that is sampled; empty if not.

    An optimum whose log density is lower by more than `NEGLIGIBLE` has no share in the posterior that counts. One
    on a bound of its prior is put inside, where a sampler's own coordinate of it is finite.
    """
    space = study.model.space
    if "fit" not in tree.children or space.aleatory:
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
