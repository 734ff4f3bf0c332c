"""Coordinates in which a study is fitted: logarithms of what is positive, within the bounds of the priors."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import qmc

from ..annotations import AnyArray, Values
from ..distributions import LogNormal, LogUniform
from ..space import Space, Theta

# Families that are normal or uniform in the logarithm: their densities are taken there.
ON_LOG_SCALE = (LogNormal, LogUniform)
# Without a bound, parameters are sought as far as these quantiles of the prior, and by this factor from where one is.
TAIL, FARTHEST = 1e-9, 1e6
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
        support = np.array(
            [
                (-np.inf, np.inf) if _moves(space, name) else [float(end) for end in space[name].dist.support(nominal)]
                for name in names
            ]
        ).reshape(len(names), 2)
        lowest = np.array([float(space[name].dist.support(nominal)[0]) for name in names])
        logarithmic = (lowest >= 0) & ((support[:, 0] > 0) | np.isinf(support[:, 1]))
        with np.errstate(divide="ignore", invalid="ignore"):
            lower, upper = np.where(logarithmic, np.log(np.maximum(support.T, 0.0)), support.T)
        # by so much inside that rounding leads no value out of the support, where the prior has no density
        ends = np.abs([lower, upper])
        inside = INSIDE * np.max(ends, axis=0, initial=0.0, where=np.isfinite(ends))
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

    def log_prior(self, x: Float[Array, " k"]) -> Float[Array, " k"]:
        """Log prior density of each parameter, per unit of the scale on which its prior is normal or uniform."""
        theta = self.place(x)
        terms = [self.space[name].dist.logpdf(theta[name], theta) for name in self.names]
        on_log = np.array([isinstance(self.space[name].dist, ON_LOG_SCALE) for name in self.names])
        return jnp.stack(terms) + jnp.where(on_log, jnp.log(jnp.stack([theta[name] for name in self.names])), 0.0)

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
        far = [np.asarray(_quantiles(self.space, u)) for u in (TAIL, 1 - TAIL)]
        with np.errstate(divide="ignore"):
            below, above = (np.where(self.logarithmic, np.log(np.maximum(each, 0.0)), each) for each in far)
        below = np.minimum(below, np.where(self.logarithmic, x - np.log(FARTHEST), below))
        above = np.maximum(above, np.where(self.logarithmic, x + np.log(FARTHEST), above))
        floor, ceiling = x - np.log(FARTHEST), x + np.log(FARTHEST)
        below, above = np.where(np.isfinite(below), below, floor), np.where(np.isfinite(above), above, ceiling)
        return np.maximum(below, self.lower), np.minimum(above, self.upper)


def _moves(space: Space, name: str) -> bool:
    """Whether the support of a prior may depend on other parameters."""
    return bool(space[name].names)


def _quantiles(space: Space, u: float) -> list[float]:
    theta = space.from_cube(np.full(len(space.free), u))
    return [float(theta[name]) for name in space.epistemic]
