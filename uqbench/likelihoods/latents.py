"""Parameters of units from standard normal latents, one for each that differs between units."""

import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Float

from ..annotations import AnyArray
from ..distributions import LogNormal, Normal
from ..space import Space, Theta, distribution_of


def with_units(space: Space, theta: Theta, z: Float[AnyArray, "... aleatory"]) -> Theta:
    """`theta` with the aleatory parameters of units whose standardised latents are `z`, columns in their order."""
    values = dict(theta)
    for index, name in enumerate(space.aleatory):
        dist, latent = distribution_of(space, name), z[..., index]
        if isinstance(dist, Normal | LogNormal):
            # not by a probability, which rounds to one where a latent is large
            arguments = dist.canonical(values)
            value = arguments["mu"] + arguments["sigma"] * latent
            values[name] = value if isinstance(dist, Normal) else jnp.exp(value)
        else:
            values[name] = dist.ppf(ndtr(latent), values)
    return values
