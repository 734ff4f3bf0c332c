"""Optima of a posterior: where ascents end, how much of the posterior belongs to each, and which of them draws miss.

Chains that start in one mode may never hear of another. Optima are looked for from draws of the prior: of many the
density is computed, and ascents begin at the highest and the most isolated of those that are higher than what is near
them, as a narrow optimum shows itself (after Rinnooy Kan & Timmer 1987, doi:10.1007/BF02592071), and at some as they
come. An ascent ends early where no valley parts it from an optimum that is known.

What belongs to an optimum is first the integral of the normal density with its height and curvature (Laplace). Whether
draws have missed it is decided by integrals over the ellipsoid in which that density has a share `INSIDE`: that of the
posterior density itself, by importance sampling, divided by the evidence, and the share of the draws that lie there.
Both are of the same region, whatever the density is outside of it. Of chains the evidence is not known, but a bound:
no density has a larger entropy than a normal one of its covariance, so that log evidence = mean log density + entropy
is at most that with the entropy of normal ones, of which there is one for the draws near each optimum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.spatial import KDTree
from scipy.special import logsumexp
from scipy.stats import chi2

Point = Float[np.ndarray, " coordinates"]
Density = Callable[[Point], float]
# that of many points
Densities = Callable[[Float[np.ndarray, "n coordinates"]], Float[np.ndarray, " n"]]
# the same and its gradient
Slope = Callable[[Point], tuple[float, Point]]

# How many neighbours a draw of the prior is compared with; how many ascents begin at the highest of those that are
# higher than these, how many at the most isolated, and how many at draws as they come.
NEIGHBOURS, HIGHER, ISOLATED, ASCENTS = 8, 12, 12, 12
# Steps of an ascent before it is compared with optima that are known, and in all.
FIRST_STEPS, STEPS = 12, 100
# By how much the log density falls between two optima that are not one, and at how many points on the way it is asked.
VALLEY, BETWEEN = 2.0, 9
# An optimum with less than this share of what the largest has is worth no chain; how many optima are looked at.
NEGLIGIBLE, MOST = 1e-3, 16
# The ellipsoid around an optimum; points of importance sampling in it.
INSIDE, POINTS = 0.95, 128
# An optimum with such a share of the posterior, of which draws have seen less than a part, is missed.
OF_NOTE, SEEN = 0.01, 0.2
# Of so many draws for each coordinate the covariance of a part is known.
LEAST_DRAWS = 10
# By how much the log density falls, at most, between an optimum and where its curvature is measured.
NEARBY = 0.25
# What stands for minus a log density that there is none of.
FAILED = 1e100


@dataclass(frozen=True)
class Optimum:
    """One, and the normal density that has its height and curvature.

    Args:
        point: in the coordinates of the sampler.
        height: log density there.
        root: L, with the covariance L L'.
        log_mass: logarithm of the integral of that density.
    """

    point: Point
    height: float
    root: Float[np.ndarray, "coordinates coordinates"]
    log_mass: float

    def squared_distance(self, points: Float[np.ndarray, "n coordinates"]) -> Float[np.ndarray, " n"]:
        """Of each point, in standard deviations of the normal density."""
        return np.sum(np.linalg.solve(self.root, (points - self.point).T) ** 2, axis=0)

    def present(self, draws: Float[np.ndarray, "n coordinates"]) -> float:
        """The share of the draws that are in its ellipsoid."""
        return float(np.mean(self.squared_distance(draws) <= chi2.ppf(INSIDE, len(self.point))))

    def near(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "count coordinates"]:
        """Draws of the normal density in the ellipsoid."""
        size = len(self.point)
        direction = rng.normal(size=(count, size))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        distance = np.sqrt(chi2.ppf(INSIDE * rng.uniform(size=count), size))
        return self.point + (distance[:, None] * direction) @ self.root.T


@dataclass(frozen=True)
class Missed:
    """An optimum that draws have missed, and the share of the posterior that belongs to it at least."""

    optimum: Optimum
    share: float


def tops(points: Float[np.ndarray, "n coordinates"], heights: Float[np.ndarray, " n"]) -> np.ndarray:
    """Numbers of points that are higher than their neighbours: the highest, then the most isolated.

    How isolated one is says its distance to the highest of its neighbours, divided by the standard deviation of these:
    on a slope it is small, however steep that is, and large where one point alone has met a narrow peak.
    """
    usable = np.flatnonzero(np.all(np.isfinite(points), axis=1) & np.isfinite(heights))
    points, heights = points[usable], heights[usable]
    if len(points) <= NEIGHBOURS:
        return usable[np.argsort(-heights, kind="stable")]
    spread = points.std(axis=0)
    scaled = points / np.where(spread > 0, spread, 1.0)
    # the nearest of all is the point itself
    _, near = KDTree(scaled).query(scaled, NEIGHBOURS + 1)
    around = heights[near[:, 1:]]
    over = heights - around.max(axis=1)
    top = np.flatnonzero(over >= 0)
    highest = top[np.argsort(-heights[top], kind="stable")][:HIGHER]
    alone = over[top] / (around[top].std(axis=1) + np.finfo(float).tiny)
    isolated = [each for each in top[np.argsort(-alone, kind="stable")] if each not in highest]
    return usable[[*highest, *isolated[:ISOLATED]]]


def climbed(slope: Slope, points: Sequence[Point]) -> list[tuple[float, Point]]:
    """Height and place of the optima that are reached from these points, the highest first.

    Those that no valley parts are one.
    """
    ended: list[tuple[float, Point]] = []

    def known(value: float, point: Point) -> bool:
        return any(value <= height and not _apart(slope, point, value, height, other) for height, other in ended)

    for point in points:
        found = _ascent(slope, point, FIRST_STEPS)
        if found is None or known(*found):
            continue
        found = _ascent(slope, found[1], STEPS - FIRST_STEPS) or found
        if not known(*found):
            ended.append(found)
    ended.sort(key=lambda each: -each[0])
    optima: list[tuple[float, Point]] = []
    for value, point in ended:
        if all(_apart(slope, point, value, *other) for other in optima):
            optima.append((value, point))
    return optima


def weighed(slope: Slope, found: Sequence[tuple[float, Point]], spread: Point) -> list[Optimum]:
    """Those of them that are worth a chain, the one to which most of the posterior belongs first.

    Args:
        found: height and place of each, the highest first.
        spread: standard deviation of the prior in each coordinate; no optimum is held for wider.
    """
    widest = float(np.sum(np.log(spread))) + len(spread) / 2 * np.log(2 * np.pi)
    optima: list[Optimum] = []
    for height, point in found[:MOST]:
        most = max((each.log_mass for each in optima), default=-np.inf)
        # as wide as the prior it would not count either
        if height + widest >= most + np.log(NEGLIGIBLE):
            optima.append(_weighed(slope, height, point, spread))
    return of_note(optima)


def of_note(optima: Sequence[Optimum]) -> list[Optimum]:
    """Those that are worth a chain, that to which most belongs first."""
    most = max((each.log_mass for each in optima), default=-np.inf)
    kept = [each for each in optima if each.log_mass >= most + np.log(NEGLIGIBLE)]
    return sorted(kept, key=lambda each: -each.log_mass)


def missed(
    densities: Densities,
    optima: Sequence[Optimum],
    draws: Float[np.ndarray, "n coordinates"],
    log_evidence: float,
    seed: int,
) -> list[Missed]:
    """Optima with a share of `OF_NOTE` or more of which these draws have seen less than `SEEN` of it.

    Args:
        draws: from the posterior, as they claim.
        log_evidence: logarithm of the integral of the density, or of what the draws have seen of it, or a bound above.
        seed: of importance sampling.
    """
    found = []
    for number, each in enumerate(optima):
        within = _log_integral(densities, each, np.random.default_rng([seed, number]))
        share = float(np.exp(-np.logaddexp(0.0, log_evidence - within)))
        if share >= OF_NOTE and each.present(draws) < SEEN * share:
            found.append(Missed(each, share))
    return found


def bound_of_evidence(
    draws: Float[np.ndarray, "n coordinates"], log_density: Float[np.ndarray, " n"], optima: Sequence[Optimum]
) -> float:
    """The most that the logarithm of the integral of a density can be, of which these are draws.

    Draws are divided by the optimum whose normal density is the highest there: the entropy is at most that of the
    shares and of normal densities with the covariance of each part. Parts of too few draws are left out of it.
    """
    size = draws.shape[1]
    heights = [each.height - 0.5 * each.squared_distance(draws) for each in optima]
    part, entropy, kept = np.argmax(heights, axis=0), 0.0, np.zeros(len(draws), bool)
    for number in range(len(optima)):
        of_part = part == number
        if of_part.sum() >= LEAST_DRAWS * size:
            _, log_volume = np.linalg.slogdet(2 * np.pi * np.e * np.cov(draws[of_part].T).reshape(size, size))
            entropy += of_part.sum() * (0.5 * log_volume - np.log(of_part.mean()))
            kept |= of_part
    # with the shares of all draws what is left out is counted in
    return float(np.mean(log_density[kept]) + entropy / kept.sum()) if kept.any() else np.inf


def _ascent(slope: Slope, point: Point, steps: int) -> tuple[float, Point] | None:
    """Height and place of the end; None where there is no density."""
    if not (np.all(np.isfinite(point)) and np.isfinite(slope(point)[0])):
        return None
    found = minimize(_downwards, point, (slope,), "L-BFGS-B", jac=True, options={"maxiter": steps})
    return (float(-found.fun), found.x) if np.isfinite(found.fun) and found.fun < FAILED else None


def _downwards(point: Point, slope: Slope) -> tuple[float, Point]:
    value, gradient = slope(point)
    if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
        return FAILED, np.zeros_like(point)
    return -value, -np.asarray(gradient)


def way(point: Point, other: Point) -> Float[np.ndarray, "n coordinates"]:
    """Points between two, on the straight way."""
    return point + np.linspace(0, 1, BETWEEN + 2)[1:-1, None] * (other - point)


def _apart(slope: Slope, point: Point, value: float, height: float, other: Point) -> bool:
    """Whether the density falls between two points."""
    least = min(value, height) - VALLEY
    return any(not slope(each)[0] >= least for each in way(point, other))


def _weighed(slope: Slope, height: float, point: Point, spread: Point) -> Optimum:
    """With the curvature from differences of the gradient."""
    size = len(point)
    curvature = np.zeros((size, size))
    for k in range(size):
        step = np.zeros(size)
        step[k] = 0.1 * spread[k]
        for _ in range(20):
            (up, rise), (down, fall) = slope(point + step), slope(point - step)
            if np.isfinite(up + down) and height - min(up, down) <= NEARBY:
                curvature[k] = (np.asarray(fall) - np.asarray(rise)) / (2 * step[k])
                break
            step /= 4
    return of_curvature(height, point, 0.5 * (curvature + curvature.T), spread)


def of_curvature(
    height: float, point: Point, curvature: Float[np.ndarray, "coordinates coordinates"], spread: Point
) -> Optimum:
    """The optimum with this curvature, in no direction wider than the prior, whose standard deviations are `spread`."""
    size = len(point)
    scaled = spread[:, None] * curvature * spread
    values, vectors = np.linalg.eigh(np.nan_to_num(scaled))
    values = np.maximum(values, 1.0)
    root = spread[:, None] * vectors / np.sqrt(values)
    log_mass = height + size / 2 * np.log(2 * np.pi) + np.sum(np.log(spread)) - 0.5 * np.sum(np.log(values))
    return Optimum(point, height, root, float(log_mass))


def _log_integral(densities: Densities, optimum: Optimum, rng: np.random.Generator) -> float:
    """Logarithm of the integral of the density over the ellipsoid, from points of the normal density in it."""
    points = optimum.near(POINTS, rng)
    _, log_volume = np.linalg.slogdet(optimum.root)
    proposed = -0.5 * optimum.squared_distance(points) - len(optimum.point) / 2 * np.log(2 * np.pi) - log_volume
    heights = np.array(densities(points), float)
    heights[np.isnan(heights)] = -np.inf
    return float(logsumexp(heights - proposed + np.log(INSIDE)) - np.log(POINTS))
