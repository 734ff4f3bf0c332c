"""Coordinates in which a study is fitted: logarithms of what is positive, within the bounds of the priors."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import qmc

from ..annotations import AnyArray, Values
from ..distributions import Distribution, LogNormal, LogUniform, Normal
from ..space import Space, Theta, distribution_of

# Families that are normal or uniform in the logarithm: their densities are taken there.
ON_LOG_SCALE = (LogNormal, LogUniform)
# Without a bound, parameters are sought as far as these quantiles of the prior, and from where one is by this factor
# or, where x is no logarithm, by so many units of steps (six standard deviations of a normal prior).
TAIL, FARTHEST, UNITS = 1e-9, 1e6, 9.0
INSIDE = 1e-12


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The epistemic parameters of a space as a vector x.

    Args:
        space: whose parameters these are.
        names: `(k,)`.
        logarithmic: `(k,)` whether x is the logarithm: of parameters that are positive by their prior, but for those
            between zero and an upper bound.
        lower, upper: `(k,)` bounds of x by the supports of the priors; infinite where there are none.
        scale: `(k,)` the unit of steps: 1 in logarithms, else half the width of the middle half of the prior.
        known: values of the parameters that are not epistemic; the medians of their distributions.
    """

    space: Space
    names: tuple[str, ...]
    logarithmic: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    scale: np.ndarray
    known: Theta

    @classmethod
    def of(cls, space: Space) -> "Coordinates":
        """Those of a space.

        A bound that depends on another parameter is no bound of x: outside of it the prior has no density.
        """
        names, nominal = space.epistemic, space.nominal()
        lower, upper, logarithmic = (
            np.array(each) for each in zip(*(_ends(space, name) for name in names), strict=True)
        )
        with np.errstate(divide="ignore"):
            lower, upper = (np.where(logarithmic, np.log(np.maximum(end, 0.0)), end) for end in (lower, upper))
        # by so much inside that rounding leads no value out of the support, where the prior has no density
        ends = np.stack([lower, upper])
        inside = INSIDE * np.max(np.where(np.isfinite(ends), np.abs(ends), 0.0), axis=0)
        lower, upper = lower + inside, upper - inside
        quartiles = [np.asarray(_quantiles(space, u)[k]) for u in (0.25, 0.75) for k in range(len(names))]
        half = (np.array(quartiles[len(names) :]) - np.array(quartiles[: len(names)])) / 2
        known = {name: value for name, value in nominal.items() if name not in names}
        return cls(space, names, logarithmic, lower, upper, np.where(logarithmic, 1.0, half), known)

    def place(self, x: Float[AnyArray, " k"]) -> Theta:
        """The value of every parameter at x; traceable."""
        natural = jnp.where(self.logarithmic, jnp.exp(jnp.where(self.logarithmic, x, 0.0)), x)
        return {**self.known, **dict(zip(self.names, natural, strict=True))}

    def natural(self, x: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """Values of the parameters at x, in their units."""
        return np.where(self.logarithmic, np.exp(np.where(self.logarithmic, x, 0.0)), x)

    def at(self, theta: Values) -> Float[np.ndarray, " k"]:
        """x at these values, those of a bound inside of it by rounding."""
        value = np.array([float(np.asarray(theta[name])) for name in self.names])
        x = np.where(self.logarithmic, np.log(np.where(self.logarithmic, value, 1.0)), value)
        return np.clip(x, self.lower, self.upper)

    def log_prior(self, x: Float[AnyArray, " k"], per_x: float | Float[Array, ""] = 0.0) -> Float[Array, " k"]:
        """Log prior density of each parameter, per unit of the scale on which its prior is normal or uniform.

        Where the standard deviation of a normal prior is a parameter itself, as of levels, the unit is this: per other
        units the density would grow without bound as all levels become one.

        Args:
            per_x: not 0 for the density per unit of x instead, which draws of x have.
        """
        theta = self.place(x)
        terms = jnp.stack([distribution_of(self.space, name).logpdf(theta[name], theta) for name in self.names])
        on_log = np.array([isinstance(distribution_of(self.space, name), ON_LOG_SCALE) for name in self.names])
        # one in place of those that may be zero, where the slope of a logarithm is none
        values = jnp.where(on_log, jnp.stack([theta[name] for name in self.names]), 1.0)
        scale = jnp.log(values) + jnp.log(jnp.stack(self._spreads(theta)))
        return terms + jnp.where(per_x != 0, jnp.where(self.logarithmic, x, 0.0), scale)

    def _spreads(self, theta: Theta) -> list[Array]:
        """Of normal priors that name others for it the standard deviation, of their logarithm where that is normal."""
        dists = [distribution_of(self.space, name) for name in self.names]
        return [jnp.asarray(dist.canonical(theta)["sigma"] if _has_spread(dist) else 1.0, float) for dist in dists]

    def starts(self, n: int, seed: int) -> Float[np.ndarray, "n k"]:
        """Scrambled Sobol points of the prior."""
        # the generator balances powers of two; its first n points are good starts as well
        cube = qmc.Sobol(len(self.names), rng=seed).random_base2(max(n - 1, 0).bit_length())[:n]
        cube = np.clip(cube, 1e-6, 1 - 1e-6)
        free = np.full((n, len(self.space.free)), 0.5)
        free[:, [self.space.free.index(name) for name in self.names]] = cube
        theta = self.space.from_cube(free)
        value = np.stack([np.asarray(theta[name]) for name in self.names], axis=1)
        x = np.where(self.logarithmic, np.log(np.where(self.logarithmic, value, 1.0)), value)
        return np.clip(x, self.lower, self.upper)

    def range_around(self, x: Float[np.ndarray, " k"]) -> tuple[np.ndarray, np.ndarray]:
        """How far each parameter is followed from x, `(k,)` each: to its bounds, else as far as anyone would go."""
        reach = np.where(self.logarithmic, np.log(FARTHEST), UNITS * self.scale)
        with np.errstate(divide="ignore"):
            below, above = (
                np.where(self.logarithmic, np.log(np.maximum(each, 0.0)), each)
                for each in (np.asarray(_quantiles(self.space, u)) for u in (TAIL, 1 - TAIL))
            )
        # as far again from where one is, which may be far out in the prior; a quantile may round to zero or infinity
        below = np.minimum(np.where(np.isfinite(below), below, x), x - reach)
        above = np.maximum(np.where(np.isfinite(above), above, x), x + reach)
        return np.maximum(below, self.lower), np.minimum(above, self.upper)


def _has_spread(dist: Distribution) -> bool:
    return isinstance(dist, Normal | LogNormal) and isinstance(dist.arguments["sigma"], str)


def _ends(space: Space, name: str) -> tuple[float, float, bool]:
    """Bounds of a parameter by the support of its prior, infinite where this moves; whether it is always positive."""
    dist = distribution_of(space, name)
    every = [tuple(float(end) for end in dist.support(values)) for values in _corners(space, space[name].names)]
    lowest = min(lower for lower, _ in every)
    lower, upper = every[0] if not dist.names else (-np.inf, np.inf)
    return lower, upper, lowest >= 0 and (lower > 0 or np.isinf(upper))


def _corners(space: Space, names: tuple[str, ...]) -> list[Theta]:
    """The nominal values, and where a prior names others these far out in their own priors."""
    if not names:
        return [space.nominal()]
    return [space.from_cube(np.full(len(space.free), u)) for u in (TAIL, 0.5, 1 - TAIL)]


def _quantiles(space: Space, u: float) -> list[float]:
    theta = space.from_cube(np.full(len(space.free), u))
    return [float(theta[name]) for name in space.epistemic]
