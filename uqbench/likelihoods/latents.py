"""Parameters from standardised latents, one for each that differs between units, and their natural coordinates."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..distributions import LogNormal, Normal
from ..space import Space, Theta, distribution_of


def with_units(
    space: Space, theta: Theta, z: Float[AnyArray, "... names"], names: Sequence[str] | None = None
) -> Theta:
    """`theta` with parameters whose standardised latents are `z`, columns in their order.

    Args:
        names: of these parameters; default those that differ between units.
    """
    values = dict(theta)
    for index, name in enumerate(space.aleatory if names is None else names):
        dist, latent = distribution_of(space, name), z[..., index]
        if isinstance(dist, Normal | LogNormal):
            # not by a probability, which rounds to one where a latent is large
            arguments = dist.canonical(values)
            value = arguments["mu"] + arguments["sigma"] * latent
            values[name] = value if isinstance(dist, Normal) else jnp.exp(value)
        else:
            values[name] = dist.ppf(ndtr(latent), values)
    return values


def with_natural(space: Space, theta: Theta, y: Float[AnyArray, "... aleatory"]) -> Theta:
    """`theta` with the parameters that differ between units, whose `natural` coordinates are `y`."""
    values = dict(theta)
    for index, name in enumerate(space.aleatory):
        dist, column = distribution_of(space, name), y[..., index]
        if isinstance(dist, Normal | LogNormal):
            values[name] = jnp.exp(column) if isinstance(dist, LogNormal) else column
        else:
            values[name] = dist.ppf(ndtr(column), values)
    return values


def natural(
    space: Space, theta: Theta, z: Float[AnyArray, "... names"], names: Sequence[str] | None = None
) -> Float[AnyArray, "... names"]:
    """Coordinates in which data speak of the parameters whose latents are `z`, however wide their distribution is.

    They are the value where it is normal, its logarithm where that is, and else the latent itself.
    """
    values, columns = dict(theta), []
    names = space.aleatory if names is None else names
    named = {other for name in names for other in space[name].names}
    for index, name in enumerate(names):
        dist, column = distribution_of(space, name), z[..., index]
        if name in named:
            # quantiles that nobody asks for are left out: those of a gamma family have one derivative by its shape only
            values = with_units(space, values, column[..., None], (name,))
        if isinstance(dist, Normal | LogNormal):
            arguments = dist.canonical(values)
            column = arguments["mu"] + arguments["sigma"] * column
        columns.append(jnp.broadcast_to(column, z.shape[:-1]))
    return jnp.stack(columns, axis=-1)


def natural_slopes(
    space: Space, theta: Theta, z: Float[Array, "units k"], names: Sequence[str] | None = None
) -> tuple[Float[AnyArray, "units k"], Float[Array, "units k k"]]:
    """Natural coordinates of latents, and their derivatives by these."""
    directions = jnp.eye(z.shape[-1])
    place = partial(natural, space, theta, names=names)
    slopes = [jax.jvp(place, (z,), (jnp.broadcast_to(direction, z.shape),))[1] for direction in directions]
    return place(z), jnp.stack(slopes, axis=-1)
