"""Standardised latents: what differs between units as standard normal numbers."""

from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from ..space import Space, Theta


def with_units(space: Space, theta: Theta, z: Float[Array, "... aleatory"]) -> Theta:
    """Values of all parameters, the aleatory ones `(...,)` being those of units whose standardised latents are z."""
    values = dict(theta)
    for index, name in enumerate(space.aleatory):
        values[name] = space[name].dist.ppf(ndtr(z[..., index]), values)
    return values
