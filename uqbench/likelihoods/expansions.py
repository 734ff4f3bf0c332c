"""What data say of latent parameters, as a normal density: the log likelihood to second order around their mode."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..space import Space, Theta
from .independent import Independent
from .latents import natural, with_units
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
    z = jnp.zeros((observations.units, count))
    if isinstance(likelihood, Independent):
        z, (_, gradient, curvature) = modes_of_units(likelihood, theta, values)
        gradient, information = gradient + z, curvature - jnp.eye(count)
    else:
        gradient = jax.grad(lambda z: likelihood.log_density(with_units(space, theta, z), values=values))(z)
        information = likelihood.information(lambda shift: with_units(space, theta, shift), z[0])
    return _natural(*natural_slopes(space, theta, z), gradient, information)


@partial(jax.jit, static_argnames=("likelihood", "names"))
def _of_shared(likelihood: Likelihood, names: tuple[str, ...], theta: Theta, values) -> Expansion:
    space, count = likelihood.study.model.space, len(names)
    medians = jnp.zeros((likelihood.observations.units, len(space.aleatory)))

    def place(z):
        return with_units(space, likelihood.observations.of_units(with_units(space, theta, z, names)), medians)

    def joint(z):
        scores = likelihood.scores(place, z[0], values)
        density, gradient = scores.value - 0.5 * jnp.sum(z**2), scores.gradient - z[0]
        return density[None], gradient[None], (scores.root.T @ scores.root + jnp.eye(count))[None]

    z, (_, gradient, curvature) = highest(joint, jnp.zeros((1, count)))
    covariance = jnp.linalg.inv(curvature[0])
    mean, precision = z[0] + covariance @ gradient[0], 1.0 / jnp.diagonal(covariance)
    # what would make such a normal density of a latent that is standard normal before; expanded around its median
    y, slopes = natural_slopes(space, theta, jnp.zeros((1, count)), names)
    own = y[0, :, None], jnp.diagonal(slopes[0])[:, None, None]
    return _natural(*own, (precision * mean)[:, None], (precision - 1.0)[:, None, None])


def natural_slopes(
    space: Space, theta: Theta, z: Float[Array, "units k"], names: Sequence[str] | None = None
) -> tuple[Float[AnyArray, "units k"], Float[Array, "units k k"]]:
    """Natural coordinates of latents, and their derivatives by these."""
    directions = jnp.eye(z.shape[-1])
    place = partial(natural, space, theta, names=names)
    slopes = [jax.jvp(place, (z,), (jnp.broadcast_to(direction, z.shape),))[1] for direction in directions]
    return place(z), jnp.stack(slopes, axis=-1)


def _natural(y, slopes, gradient, information) -> Expansion:
    """By natural coordinates, of a log likelihood with this gradient and information by latents at y."""
    inverse = jnp.linalg.inv(slopes)
    information = jnp.einsum("uki,ukl,ulj->uij", inverse, information, inverse)
    pull = jnp.einsum("uki,uk->ui", inverse, gradient) + jnp.einsum("ukl,ul->uk", information, y)
    whole = jnp.all(jnp.isfinite(pull), axis=1) & jnp.all(jnp.isfinite(information), axis=(1, 2))
    return Expansion(jnp.where(whole[:, None, None], information, 0.0), jnp.where(whole[:, None], pull, 0.0))
