"""What data say of latent parameters, as a normal density: the log likelihood to second order around their mode."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..annotations import AnyArray
from ..space import Theta
from .independent import Independent
from .latents import natural, natural_slopes, with_natural, with_units
from .modes import highest, modes_of_units
from .protocol import Likelihood


class Expansion(NamedTuple):
    """The log likelihood of natural coordinates y (`latents.natural`): a constant + pull . y - y . information y / 2.

    Args:
        information: expected, which is never negative; zero where it is not finite.
        pull: information times the place where the data alone would have the parameters, if they tell one.
    """

    information: Float[AnyArray, "units k k"]
    pull: Float[AnyArray, "units k"]


def of_units(
    likelihood: Likelihood, theta: Theta, values: Mapping[str, Float[AnyArray, " rows"]] | None = None
) -> Expansion:
    """What its data say of each unit's parameters, those that units have in common being `theta`.

    It is taken at the mode of each unit where rows are independent, else where its latents are zero. A likelihood
    without Fisher information says nothing.
    """
    space, units = likelihood.study.model.space, likelihood.observations.units
    if "information" not in likelihood.capabilities:
        return _nothing(units, len(space.aleatory))
    return Expansion(*map(np.asarray, _of_units(likelihood, theta, values)))


def of_shared(
    likelihood: Likelihood,
    names: Sequence[str],
    theta: Theta,
    values: Mapping[str, Float[AnyArray, " rows"]] | None = None,
) -> Expansion:
    """What all data say of each of these parameters, the others of them integrated out under their prior at `theta`.

    Args:
        names: of parameters that are affine maps of standard normal latents, in the order of the space.
        theta: value of every other epistemic parameter; those that differ between units have their medians.

    Returns:
        one coordinate in each of `(len(names),)` units.
    """
    if "information" not in likelihood.capabilities:
        return _nothing(len(names), 1)
    return Expansion(*map(np.asarray, _of_shared(likelihood, tuple(names), theta, values)))


def _nothing(units: int, count: int) -> Expansion:
    return Expansion(np.zeros((units, count, count)), np.zeros((units, count)))


@partial(jax.jit, static_argnames="likelihood")
def _of_units(likelihood: Likelihood, theta: Theta, values) -> Expansion:
    space, observations = likelihood.study.model.space, likelihood.observations
    theta, count = observations.of_units(theta), len(space.aleatory)
    if isinstance(likelihood, Independent):
        modes = modes_of_units(likelihood, theta, values)
        return _around(modes.natural, modes.natural_gradient, modes.natural_information)
    y = natural(space, theta, jnp.zeros((observations.units, count)))
    gradient = jax.grad(lambda y: likelihood.log_density(with_natural(space, theta, y), values=values))(y)
    information = likelihood.information(lambda shift: with_natural(space, theta, y + shift), jnp.zeros(count))
    return _around(y, gradient, information)


@partial(jax.jit, static_argnames=("likelihood", "names"))
def _of_shared(likelihood: Likelihood, names: tuple[str, ...], theta: Theta, values) -> Expansion:
    space, count = likelihood.study.model.space, len(names)
    medians = jnp.zeros((likelihood.observations.units, len(space.aleatory)))

    def place(z):
        return with_units(space, likelihood.observations.of_units(with_units(space, theta, z, names)), medians)

    def log_likelihood(z):
        scores = likelihood.scores(place, z[0], values)
        return scores.value[None], scores.gradient[None], (scores.root.T @ scores.root)[None]

    z, (_, gradient, information) = highest(log_likelihood, jnp.zeros((1, count)))
    told = information[0]
    pull = gradient[0] + told @ z[0]

    def alone(index):
        """Information on one latent, and pull, the others being integrated out as standard normal ones."""
        other = jnp.arange(count) != index
        row = jnp.where(other, told[index], 0.0)
        share = jnp.linalg.solve(jnp.eye(count) + told * other[:, None] * other, row)
        return jnp.maximum(told[index, index] - row @ share, 0.0), pull[index] - share @ jnp.where(other, pull, 0.0)

    of_one, pull_of_one = jax.vmap(alone)(jnp.arange(count))
    # each by its own coordinate, around its median
    y, slopes = natural_slopes(space, theta, jnp.zeros((1, count)), names)
    slope = jnp.diagonal(slopes[0])
    return _around(y[0, :, None], (pull_of_one / slope)[:, None], (of_one / slope**2)[:, None, None])


def _around(y, gradient, information) -> Expansion:
    """Of a log likelihood with this gradient and information by natural coordinates at y."""
    pull = gradient + jnp.einsum("ukl,ul->uk", information, y)
    whole = jnp.all(jnp.isfinite(pull), axis=1) & jnp.all(jnp.isfinite(information), axis=(1, 2))
    return Expansion(jnp.where(whole[:, None, None], information, 0.0), jnp.where(whole[:, None], pull, 0.0))
