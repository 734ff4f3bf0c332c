"""First-order Fisher information on a population, whose units differ in their aleatory parameters.

A unit's data are taken as jointly normal around the median unit and linear in what differs (first-order population
information: Mentre, Mallet & Baccar 1997, doi:10.1093/biomet/84.2.429), without what the covariance would say about
locations: that term rewards curvature which the linearisation has just dropped, and standard errors come out too small
(Nyberg et al. 2015, doi:10.1111/bcp.12352; seen here as well: .09 against .22 for log ka of theophylline).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..likelihoods import Likelihood, with_units
from ..space import Space, Theta


def population_information(
    likelihood: Likelihood, place: Callable[[Array], Theta]
) -> Callable[[Float[Array, " k"]], Float[Array, "k k"]]:
    """Information as a function of the coordinates of the epistemic parameters: locations from the mean of each unit's
    data, spreads from their covariance.

    Args:
        likelihood: with the capability "moments". place: from coordinates to values of the epistemic parameters.
    """
    space = likelihood.study.model.space

    def unit(vector, z):
        """Aleatory parameters `(aleatory,)` of a unit whose standardised latents are `z`."""
        values = with_units(space, place(vector), z)
        return jnp.stack([jnp.asarray(values[name]) for name in space.aleatory])

    def moments(vector, unit):
        return likelihood.moments({**place(vector), **dict(zip(space.aleatory, unit, strict=True))})

    @jax.jit
    def information(vector):
        centre = jnp.zeros(len(space.aleatory))
        median, d_median = unit(vector, centre), jax.jacfwd(unit)(vector, centre)
        covariance = moments(vector, median).covariance
        (d_mean, slope), (d_noise, _) = jax.jacfwd(moments, argnums=(0, 1))(vector, median)

        def between(vector):
            """Covariance of a unit's rows because its parameters vary, given how the outputs answer to them."""
            spread = slope @ jax.jacfwd(unit, argnums=1)(vector, centre)
            return jnp.einsum("uri,usi->urs", spread, spread)

        matrix = covariance + between(vector)
        d_matrix = d_noise + jax.jacfwd(between)(vector)
        # A location moves the outputs of the median unit; what it does to the covariance is left out.
        active = jnp.array([name in likelihood.observations.active for name in space.epistemic])
        location = jnp.any(d_median != 0, axis=0) | active
        d_matrix = jnp.moveaxis(jnp.where(location, 0.0, d_matrix), -1, 1)
        d_mean = d_mean + slope @ d_median
        solved = jnp.linalg.solve(matrix[:, None], d_matrix)
        from_mean = jnp.einsum("uri,urj->ij", d_mean, jnp.linalg.solve(matrix, d_mean))
        return from_mean + 0.5 * jnp.einsum("uirs,ujsr->ij", solved, solved)

    return information


def median_unit(space: Space, theta: Theta) -> Theta:
    """`theta` with the aleatory parameters of the median unit."""
    return with_units(space, theta, jnp.zeros(len(space.aleatory)))
