"""Optima of the posterior of a population: of what its units have in common, their own parameters integrated out.

With the parameters of every unit among the coordinates a posterior has no optimum of use: where the spread between
units goes to zero its density grows without bound, or all else is far away. Integrated out (`Marginal`) they leave a
density of few coordinates, of which there are optima as of any other (`optima`). Ascents begin at a best fit, where
there is one, else at points of the prior, and are those of a fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from jaxtyping import Float

from ..annotations import AnyArray
from ..likelihoods import Independent, Likelihood
from ..optimization.ascent import ascend
from ..optimization.best_fit import everywhere
from ..optimization.objective import TOGETHER, Objective, objective_of
from ..optimization.rounds import in_rounds
from .convergence import modes
from .optima import LEAST_DRAWS, VALLEY, Missed, Optimum, bound_of_evidence, missed, of_curvature, of_note, way
from .pymc_model import INFORMATION, PULL, of_expansions, of_unknown_width

# Scores that an ascent may take, as one along a ridge would, and what may be left to gain at its end; draws of which
# the density is computed; the share of the ascents that are made beside those from known optima.
MOST, LEFT, DRAWS, BESIDE = 60, 0.5, 200, 1 / 3
# Two ascents have the same end if their log densities and their places, in standard deviations, differ by less.
SAME = 0.05
# Points of the prior that tell how wide it is; between its quartiles a normal density has so many standard deviations.
OF_PRIOR, QUARTILES = 256, 1.35


@dataclass(frozen=True)
class Population:
    """The posterior of what units have in common.

    Args:
        objective: its log density, per unit of the coordinates.
        optima: that with the largest share first; points are in the coordinates of the objective.
    """

    objective: Objective
    optima: tuple[Optimum, ...]

    @classmethod
    def of(
        cls,
        likelihood: Likelihood,
        fits: Sequence[Mapping[str, float]],
        seed: int,
        ascents: int,
        values: Mapping[str, Float[AnyArray, " rows"]] | None = None,
    ) -> "Population | None":
        """That of a study; None where nothing differs between units, what does cannot be integrated out, or no ascent
        has found a density.

        So it is where epistemic parameters have a distribution of unknown width, which has no optimum.

        Args:
            fits: parameters at optima that are known.
            seed: of the points of the prior.
            ascents: from how many of these, and from `BESIDE` of them where optima are known.
            values: output -> values in the places of the measured ones.

        Raises:
            KeyboardInterrupt: where it is stopped.
        """
        study = likelihood.study
        space = study.model.space
        if not isinstance(likelihood, Independent) or of_expansions(likelihood) != (INFORMATION, PULL):
            return None
        if of_unknown_width(space):
            return None
        objective = objective_of(study, prior=True, per_x=True, values=values)
        known = [objective.coordinates.at(each) for each in fits]
        drawn = objective.coordinates.starts(int(BESIDE * ascents) if known else ascents, seed)
        begun = [*known, *drawn]
        found = cls(objective, ())._climbed(begun)
        return found if found.optima else None

    def values_at(self, optimum: Optimum) -> dict[str, float]:
        """Epistemic parameters at an optimum."""
        coordinates = self.objective.coordinates
        return dict(zip(coordinates.names, map(float, coordinates.natural(optimum.point)), strict=True))

    def with_modes(self, posterior: xr.Dataset) -> "Population":
        """The same with the optima of modes that chains stay in."""
        posterior = posterior[list(self.objective.coordinates.names)]
        number = modes(posterior)
        if not number.any():
            return self
        groups = [posterior.isel(chain=np.flatnonzero(number == each)) for each in np.unique(number)]
        medians = [np.median(self.places(group), axis=0) for group in groups]
        return self._climbed([*(each.point for each in self.optima), *medians])

    def alone(self) -> list["Population"]:
        """One with each optimum."""
        return [replace(self, optima=(each,)) for each in self.optima]

    def missed(self, posterior: xr.Dataset, seed: int) -> list[Missed]:
        """Optima that these draws have missed; there is no saying where one alone is known."""
        if len(self.optima) < 2:
            return []
        points = self.places(posterior)
        count = min(max(DRAWS, 2 * LEAST_DRAWS * points.shape[1]), len(points))
        some = points[np.linspace(0, len(points) - 1, count).astype(int)]
        evidence = bound_of_evidence(some, self.densities(some), self.optima)
        return missed(self.densities, self.optima, points, evidence, seed)

    def _climbed(self, begun: Sequence[np.ndarray]) -> "Population":
        """With the optima that are reached from these points."""
        objective = self.objective
        box, spread = everywhere(objective.coordinates), _spread(objective)
        searches = [ascend(x, box, slack=objective.slack, most=MOST) for x in begun]
        peaks, interrupted = in_rounds(searches, objective, TOGETHER)
        if interrupted:
            raise KeyboardInterrupt
        ended = [peak for peak in peaks if peak is not None and np.isfinite(peak.score.value)]
        ended.sort(key=lambda peak: -peak.score.value)
        # one that was stopped on its way up is none, but better than nothing
        ended = [peak for peak in ended if peak.gain < LEFT] or ended[:1]
        optima: list[Optimum] = []
        for peak in ended:
            found = of_curvature(float(peak.score.value), peak.x, peak.score.root.T @ peak.score.root, spread)
            if not any(self._same_mode(found, other) for other in optima):
                optima.append(found)
        return replace(self, optima=tuple(of_note(optima)))

    def _same_mode(self, optimum: Optimum, other: Optimum) -> bool:
        """Whether no valley parts an optimum from a higher one."""
        if other.height - optimum.height < SAME and float(other.squared_distance(optimum.point[None])[0]) < SAME**2:
            return True
        between = self.densities(way(optimum.point, other.point))
        return bool(np.all(between >= optimum.height - VALLEY))

    def densities(self, points: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Log density at points, per unit of the coordinates."""
        return np.array([score.value for score in self.objective(points)])

    def places(self, posterior: xr.Dataset) -> Float[np.ndarray, "n k"]:
        """Coordinates of draws."""
        coordinates = self.objective.coordinates
        columns = np.stack([posterior[name].values.ravel() for name in coordinates.names], axis=1)
        return np.stack([coordinates.at(dict(zip(coordinates.names, row, strict=True))) for row in columns])


def _spread(objective: Objective) -> Float[np.ndarray, " k"]:
    """Standard deviations of the prior in the coordinates, from its quartiles."""
    coordinates = objective.coordinates
    drawn = coordinates.starts(OF_PRIOR, 0)
    lower, upper = np.quantile(drawn, [0.25, 0.75], axis=0)
    return (upper - lower) / QUARTILES
