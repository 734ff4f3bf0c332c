"""A study made ready for gradients: its model compiled, and the optima of its posterior."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Float
from pymc.model.transform.optimization import freeze_dims_and_data

from ..likelihoods import Likelihood, LinearEffects
from .convergence import modes
from .gradients import compiled_model
from .optima import ASCENTS, Missed, Optimum, Point, bound_of_evidence, climbed, missed, weighed
from .population import Population
from .pymc_model import data_of, of_expansions, pymc_model, variable_name
from .reference import Reference, reference_of, standard_normal
from .starts import optima_of, placing, starting_points
from .tempered import evidence

# Points of an optimum that stand for it where tempering begins, and the share of draws near one from which on these do.
POINTS, PRESENT = 200, 0.01


@dataclass(frozen=True)
class Prepared:
    """The model of PyMC, and the same compiled for nutpie, with its variables in the same order.

    Args:
        data: what `data_of` gave the model.
        optima: of the posterior, that with the largest share first; none where they have not been looked for.
        spread: standard deviation of the prior in each coordinate, where they have.
        population: of a population optima are those of what its units have in common, and are here.
    """

    model: pm.Model
    compiled: Any
    data: Mapping[str, np.ndarray] = field(default_factory=dict)
    optima: tuple[Optimum, ...] = ()
    spread: Point | None = None
    population: Population | None = None

    def starts(self, likelihood: Likelihood, seeds: Sequence[int]) -> list[Point]:
        """A start for each seed, around the optima, see `starts.starting_points`.

        Raises:
            NoStart: where there is no density.
        """
        points, count = [each.point for each in self.optima], None
        if self.population is not None:
            theta = [self.population.values_at(each) for each in self.population.optima]
            points, count = self._places(likelihood, theta), len(theta[0])
        return starting_points(self.model, lambda point: self.slope(point)[0], points, seeds, count)

    def slope(self, point: Point) -> tuple[float, Point]:
        """Log density in the coordinates of the sampler, and its gradient."""
        return self.compiled._make_logp_func()(point, **self.compiled._shared_data)

    def expanded_at(
        self, likelihood: Likelihood, at: Mapping[str, float], values: Mapping[str, np.ndarray] | None = None
    ) -> "Prepared":
        """The same with the log likelihood of these values expanded at other parameters.

        The density of parameters is the same, their coordinates are others, and so optima are climbed to once more.
        What PyMC itself compiles of the model has the expansion as it was.
        """
        data = data_of(likelihood, values, at)
        changed = {name: data[name] for name in of_expansions(likelihood)}
        compiled = self.compiled.with_data(**{name: jnp.asarray(each) for name, each in changed.items()})
        found = replace(self, compiled=compiled, data={**self.data, **changed})
        if self.spread is None or not self.optima:
            return found
        points = found._places(likelihood, [self.values_at(likelihood, each) for each in self.optima])
        return replace(found, optima=tuple(weighed(found.slope, climbed(found.slope, points), self.spread)))

    def with_modes(self, likelihood: Likelihood, chains: xr.DataTree, seed: int) -> "Prepared":
        """The same with the optima of modes that chains stay in, from the highest draw in each."""
        posterior = chains["posterior"].to_dataset()
        if self.population is not None:
            return replace(self, population=self.population.with_modes(posterior))
        if self.spread is None:
            return self
        number = modes(posterior)
        if not number.any():
            return self
        heights = chains["sample_stats"].to_dataset()["logp"].values
        draws = self._draws(likelihood, chains, seed).reshape(*heights.shape, -1)
        highest = []
        for each in np.unique(number):
            of_mode = np.flatnonzero(number == each)
            chain, draw = np.unravel_index(np.argmax(heights[of_mode]), heights[of_mode].shape)
            highest.append(draws[of_mode[chain], draw])
        found = climbed(self.slope, [*(each.point for each in self.optima), *highest])
        return replace(self, optima=tuple(weighed(self.slope, found, self.spread)))

    def in_each_mode(self, likelihood: Likelihood) -> list["Prepared"]:
        """Of a population, one for each of its optima, expanded there."""
        assert self.population is not None
        each = [(alone, alone.values_at(alone.optima[0])) for alone in self.population.alone()]
        return [replace(self.expanded_at(likelihood, at), population=alone) for alone, at in each]

    def missed(self, likelihood: Likelihood, chains: xr.DataTree, seed: int) -> list[Missed]:
        """Optima that the draws have missed; there is no saying where one alone is known.

        Args:
            chains: by tempering, or with `logp` in the coordinates of this model.
        """
        if self.population is not None:
            return self.population.missed(chains["posterior"].to_dataset(), seed)
        stats = chains["sample_stats"].to_dataset()
        if len(self.optima) < 2 or "logp" not in stats:
            return []
        draws = self._draws(likelihood, chains, seed)
        if "log_evidence" in stats:
            log_evidence = evidence(stats)[0]
        else:
            log_evidence = bound_of_evidence(draws, stats["logp"].values.ravel(), self.optima)

        def densities(points):
            return np.array([self.slope(point)[0] for point in points])

        return missed(densities, self.optima, draws, log_evidence, seed)

    def reference(self, likelihood: Likelihood, chains: xr.DataTree | None, seed: int) -> Reference | None:
        """Where tempering begins: at modes of chains, if there are some, and at optima near which these hardly were.

        None, which is the prior, without chains where there are not several optima.
        """
        names = likelihood.study.model.space.epistemic
        if likelihood.study.model.space.aleatory or (chains is None and len(self.optima) < 2):
            return None
        known: list[dict[str, np.ndarray]] = []
        draws = np.zeros((0, len(self.optima[0].point))) if self.optima else np.zeros((0, 0))
        if chains is not None:
            posterior = chains["posterior"].to_dataset()
            number = modes(posterior)
            groups = [posterior.isel(chain=np.flatnonzero(number == each)) for each in np.unique(number)]
            known += [{name: group[name].values.ravel() for name in names} for group in groups]
            draws = self._draws(likelihood, chains, seed) if len(self.optima) > 1 else draws
        if len(self.optima) > 1:
            known += [
                self._parameters(each.near(POINTS, np.random.default_rng([seed, place])), names)
                for place, each in enumerate(self.optima)
                if not len(draws) or each.present(draws) < PRESENT
            ]
        return reference_of([standard_normal(likelihood, theta) for theta in known])

    def values_at(self, likelihood: Likelihood, optimum: Optimum) -> dict[str, float]:
        """Epistemic parameters at an optimum."""
        if self.population is not None:
            return self.population.values_at(optimum)
        found = self._parameters(optimum.point[None], likelihood.study.model.space.epistemic)
        return {name: float(value[0]) for name, value in found.items()}

    def _places(self, likelihood: Likelihood, theta: Sequence[Mapping[str, float]]) -> list[Point]:
        """Where epistemic parameters have these values."""
        place = placing(likelihood, self.model, self.data)
        return [place({name: np.asarray([value]) for name, value in each.items()})[0] for each in theta]

    def _draws(self, likelihood: Likelihood, chains: xr.DataTree, seed: int) -> Float[np.ndarray, "n coordinates"]:
        """In the coordinates of the sampler; latents of what is integrated out are as they are by their prior."""
        posterior, effects = chains["posterior"].to_dataset(), LinearEffects.of(likelihood)
        theta = {name: posterior[name].values.ravel() for name in likelihood.study.model.space.epistemic}
        size = (posterior.sizes["chain"] * posterior.sizes["draw"], len(effects.names) if effects else 0)
        return placing(likelihood, self.model, self.data)(theta, np.random.default_rng(seed).normal(size=size))

    def _parameters(self, points: Float[np.ndarray, "n coordinates"], names: Sequence[str]) -> dict[str, np.ndarray]:
        expand = self.compiled._make_expand_func(0, 0, 0)
        found = [expand(point, **self.compiled._shared_data) for point in points]
        return {name: np.array([float(each[variable_name(name)]) for each in found]) for name in names}


def prepared(likelihood: Likelihood, fits: Sequence[dict[str, float]], seed: int, count: int, search: bool) -> Prepared:
    """The model compiled, and where `search` says so its optima.

    Args:
        fits: parameters at optima that are known.
        count: of draws from the prior of which the density is computed.

    Raises:
        NoStart: where there is no density at the fits.
    """
    population = Population.of(likelihood, fits, seed, ASCENTS) if search else None
    known = [population.values_at(each) for each in population.optima] if population else fits
    data = data_of(likelihood, at=known[0] if known else None)
    free = pymc_model(likelihood, data)
    # freezing changes the order
    model = freeze_dims_and_data(free, data=[name for name in data if name not in of_expansions(likelihood)])
    compiled = compiled_model(model)
    found = Prepared(model, compiled, data, population=population)
    if not search or population:
        return found
    optima, spread = optima_of(likelihood, model, data, found.slope, fits, seed, count)
    return replace(found, optima=optima, spread=spread if len(spread) else None)
