"""Scales, offsets and other parameters of which normal measurements are linear: integrated out, and put back.

Where y = a + B b + e, with independent normal errors e, and b is normal by its prior, b given the data and all other
parameters is normal as well, and so are the data without b (Lindley & Smith 1972,
doi:10.1111/j.2517-6161.1972.tb00885.x): a and B follow from one solve, whatever b is. In relative data, y = scale * C +
e, a product of the scale with a rate is often all that is known; the ridge along which it is constant is no straight
line, and is gone once the scale is integrated out. The likelihood with scales at their best is that of Loos, Krause &
Hasenauer (2018, doi:10.1093/bioinformatics/bty514) and Schmiester et al. (2020, doi:10.1093/bioinformatics/btz581).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..annotations import AnyArray
from ..distributions import Normal
from ..model import Model
from ..space import Theta, distribution_of
from .independent import Independent, Solved
from .noise_groups import NoiseGroup
from .protocol import Likelihood


class Whitened(NamedTuple):
    """A linear regression with errors of sd 1, on coefficients that are standard normal by their prior.

    Args:
        slopes: W. residual: u, of data around what they are at the mean of the prior.
        log_scale: the sum of the logarithms of the sds of the errors.
    """

    slopes: Float[Array, "rows effects"]
    residual: Float[Array, " rows"]
    log_scale: Float[Array, ""]

    @property
    def precision(self) -> Float[Array, "effects effects"]:
        """Of the coefficients, given the data."""
        return jnp.eye(self.slopes.shape[1]) + self.slopes.T @ self.slopes

    def solved(self) -> tuple[Float[Array, " effects"], Float[Array, "effects effects"]]:
        """Mean of the coefficients given the data, and the Cholesky factor of their precision."""
        lower = jnp.linalg.cholesky(self.precision)
        return jax.scipy.linalg.cho_solve((lower, True), self.slopes.T @ self.residual), lower

    def log_density(self) -> Float[Array, ""]:
        """Of the data, the coefficients integrated out."""
        mean, lower = self.solved()
        # not as a difference of squares, which are large where the prior is wide
        squares = jnp.sum((self.residual - self.slopes @ mean) ** 2) + jnp.sum(mean**2)
        logarithms = jnp.sum(jnp.log(jnp.diag(lower))) + self.log_scale
        return -0.5 * squares - logarithms - 0.5 * len(self.residual) * np.log(2 * np.pi)


@dataclass(frozen=True, eq=False)
class LinearEffects:
    """A likelihood with some of its parameters integrated out; made by `LinearEffects.of(likelihood)`.

    Args:
        conditional: given all parameters.
        names: of those that are integrated out.
    """

    conditional: Independent
    names: tuple[str, ...]

    @classmethod
    def of(cls, likelihood: Likelihood) -> "LinearEffects | None":
        """Of all parameters that can be integrated out together; None where none can.

        Such one is epistemic with a normal prior, which no other prior names; it is named by noise alone, normal
        noise of outputs without limits, in its mean alone, and this is linear in it and in the others together.
        """
        # one of another kind that is made of this may have another density
        if type(likelihood) is not Independent:
            return None
        chosen: list[str] = []
        for name in likelihood.study.model.space.epistemic:
            if _possible(likelihood, name) and _linear(likelihood.observations.model, [*chosen, name]):
                chosen.append(name)
        return cls(likelihood, tuple(chosen)) if chosen else None

    def log_density(
        self, theta: Theta, values: Mapping[str, Float[AnyArray, " rows"]] | None = None
    ) -> Float[Array, ""]:
        """Of all data given the other parameters; -inf with a zero gradient where a solve fails.

        Args:
            theta: value of every other parameter. values: as of `Likelihood.log_density`.
        """
        regression, others, ok = self._regression(theta, values)
        return jnp.where(ok, regression.log_density() + others, -jnp.inf)

    def placed(
        self,
        theta: Theta,
        latents: Float[Array, " effects"],
        values: Mapping[str, Float[AnyArray, " rows"]] | None = None,
    ) -> Theta:
        """Their values: draws given the data and the other parameters, where `latents` are standard normal."""
        mean, lower = self._regression(theta, values)[0].solved()
        standard = mean + jax.scipy.linalg.solve_triangular(lower.T, latents, lower=False)
        location, scale = self._prior(theta)
        return dict(zip(self.names, location + scale * standard, strict=True))

    def _prior(self, theta: Theta) -> tuple[Float[Array, " effects"], Float[Array, " effects"]]:
        space = self.conditional.study.model.space
        arguments = [distribution_of(space, name).canonical(theta) for name in self.names]
        location, scale = (jnp.stack([jnp.asarray(each[name]) for each in arguments]) for name in ("mu", "sigma"))
        return location, scale

    def _regression(self, theta: Theta, values) -> tuple[Whitened, Float[Array, ""], Array]:
        """The regression, the log density of rows without any of the effects, and whether all solves succeeded."""
        likelihood, (location, scale) = self.conditional, self._prior(theta)

        def at(effects: Float[Array, " effects"]) -> Theta:
            return {**theta, **dict(zip(self.names, effects, strict=True))}

        solved, others = likelihood.solved(at(location)), jnp.zeros(())
        found = likelihood.referred(at(location), solved)
        slopes = jax.jacfwd(lambda effects: self._means(at(effects), solved))(location)
        parts: list[tuple[Array, Array, Array]] = []
        terms = likelihood.terms_of(found, values)
        for group, (known, fine), term in zip(likelihood.groups, found, terms, strict=True):
            own = self._rows(group)
            others = others + jnp.sum(jnp.where(fine, term, 0.0)[~own])
            if not own.any():
                continue
            arguments, slope, fine = group.noise.resolve(known), slopes[len(parts)], fine[own]
            sd = jnp.broadcast_to(arguments["sigma"], own.shape)[own]
            residual = (likelihood.values_of(group, values) - arguments["mu"])[own] / sd
            # of a solve that failed nothing is left that is not a number
            slope = jnp.where(fine[:, None], slope * scale / sd[:, None], 0.0)
            parts.append((slope, jnp.where(fine, residual, 0.0), jnp.where(fine, jnp.log(sd), 0.0)))
        slope, residual, logarithm = (jnp.concatenate(each) for each in zip(*parts, strict=True))
        return Whitened(slope, residual, jnp.sum(logarithm)), others, jnp.all(solved.ok)

    def _means(self, theta: Theta, solved: Solved) -> list[Float[Array, " rows"]]:
        """Means of the rows with effects, of each group that has some."""
        found = self.conditional.referred(theta, solved)
        return [
            jnp.broadcast_to(group.noise.resolve(known)["mu"], fine.shape)[self._rows(group)]
            for group, (known, fine) in zip(self.conditional.groups, found, strict=True)
            if self._rows(group).any()
        ]

    def _rows(self, group: NoiseGroup) -> Bool[np.ndarray, " rows"]:
        """Which rows of a group have effects."""
        model, found = self.conditional.observations.model, np.zeros(len(group.run), bool)
        for output, rows in group.rows.items():
            found[rows] = bool(set(self.names) & set(model.noise_names(output)))
        return found


def _possible(likelihood: Independent, name: str) -> bool:
    """Whether a parameter may be integrated out if means are linear in it."""
    space, observations = likelihood.study.model.space, likelihood.observations
    model = observations.model
    outputs = [output for output in observations.rows if name in model.noise_names(output)]
    return (
        type(distribution_of(space, name)) is Normal
        and bool(outputs)
        and name not in observations.active
        and not any(name in parameter.names for parameter in space.values())
        and all(type(model.noise[output]) is Normal for output in outputs)
        and not any(observations.rows[output].limited for output in outputs)
    )


def _linear(model: Model, names: Collection[str]) -> bool:
    """Whether of all noise that names some of these the mean is linear in them together, and the sd free of them."""

    def degree(argument: float | str) -> float:
        formula = model.noise_expressions.get(argument) if isinstance(argument, str) else None
        return int(argument in names) if formula is None else formula.degree(names)

    of = [noise.arguments for output, noise in model.noise.items() if set(names) & set(model.noise_names(output))]
    return all(degree(each["mu"]) <= 1 and degree(each["sigma"]) == 0 for each in of)
