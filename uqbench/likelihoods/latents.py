"""Parameters from standardised latents, one for each that differs between units, and their natural coordinates."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Float

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


def natural(
    space: Space, theta: Theta, z: Float[AnyArray, "... names"], names: Sequence[str] | None = None
) -> Float[AnyArray, "... names"]:
    """Coordinates in which data speak of the parameters whose latents are `z`, however wide their distribution is.

    They are the value where it is normal, its logarithm where that is, and else the latent itself.
    """
    values, columns = with_units(space, theta, z, names), []
    for index, name in enumerate(space.aleatory if names is None else names):
        dist = distribution_of(space, name)
        column = values[name] if isinstance(dist, Normal | LogNormal) else z[..., index]
        columns.append(jnp.broadcast_to(jnp.log(column) if isinstance(dist, LogNormal) else column, z.shape[:-1]))
    return jnp.stack(columns, axis=-1)
