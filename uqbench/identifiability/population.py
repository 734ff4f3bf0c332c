"""First-order Fisher information on a population, whose units differ in their aleatory parameters.

A unit's data are taken as jointly normal around the median unit and linear in what differs (first-order population
information: Mentre, Mallet & Baccar 1997, doi:10.1093/biomet/84.2.429), without what the covariance would say about
locations: that term rewards curvature which the linearisation has just dropped, and standard errors come out too small
(Nyberg et al. 2015, doi:10.1111/bcp.12352; seen here as well: .09 against .22 for log ka of theophylline).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..likelihoods import Likelihood, with_units
from ..space import Space, Theta


class PopulationRows(NamedTuple):
    """Data of units to first order around the median unit, rows padded; what any of them tell follows.

    Args:
        slopes: of the mean of each row by the coordinates.
        spread: change of each row with the standardised latents. d_spread: how that answers to the coordinates.
        noise: covariance of the rows given the latents, 1 where there is none. d_noise: likewise.
    """

    slopes: Float[AnyArray, "units most k"]
    spread: Float[AnyArray, "units most aleatory"]
    d_spread: Float[AnyArray, "units most aleatory k"]
    noise: Float[AnyArray, "units most most"]
    d_noise: Float[AnyArray, "units most most k"]


def population_information(
    likelihood: Likelihood, place: Callable[[Array], Theta]
) -> Callable[[Float[Array, " k"]], Float[Array, "k k"]]:
    """Information as a function of the coordinates of the epistemic parameters: locations from the mean of each unit's
    data, spreads from their covariance.

    Args:
        likelihood: with the capability "moments". place: from coordinates to values of the epistemic parameters.
    """
    rows = population_rows(likelihood, place)
    return jax.jit(lambda vector: information_by_unit(rows(vector)).sum(axis=0))


def population_rows(
    likelihood: Likelihood, place: Callable[[Array], Theta]
) -> Callable[[Float[Array, " k"]], PopulationRows]:
    """The rows of a study as a function of the coordinates; arguments as of `population_information`."""
    space = likelihood.study.model.space

    observations = likelihood.observations

    def units(vector, z):
        """Aleatory parameters `(units, aleatory)` of units whose standardised latents are `z`."""
        values = with_units(space, observations.of_units(place(vector)), z)
        return jnp.stack([jnp.broadcast_to(values[name], observations.units) for name in space.aleatory], axis=-1)

    @jax.jit
    def rows(vector):
        centre = jnp.zeros(len(space.aleatory))
        median, d_median = units(vector, centre), jax.jacfwd(units)(vector, centre)

        def moments(vector, shift):
            # one shift for all units: the rows of each answer to its own parameters alone
            return likelihood.moments({**place(vector), **dict(zip(space.aleatory, (median + shift).T, strict=True))})

        noise = moments(vector, centre).covariance
        (d_mean, slope), (d_noise, _) = jax.jacfwd(moments, argnums=(0, 1))(vector, centre)

        def spread(vector):
            """How the rows answer to a unit's latents, given how the outputs answer to its parameters."""
            return slope @ jax.jacfwd(units, argnums=1)(vector, centre)

        # A location moves the outputs of the median unit; what it does to the covariance is left out.
        active = jnp.array([name in likelihood.observations.active for name in space.epistemic])
        location = jnp.any(d_median != 0, axis=(0, 1)) | active
        kept = jnp.where(location, 0.0, 1.0)
        return PopulationRows(
            d_mean + slope @ d_median, spread(vector), jax.jacfwd(spread)(vector) * kept, noise, d_noise * kept
        )

    return rows


def information_by_unit(rows: PopulationRows) -> Float[Array, "units k k"]:
    """What the data of each unit tell."""
    matrix = rows.noise + jnp.einsum("uri,usi->urs", rows.spread, rows.spread)
    half = jnp.einsum("urik,usi->ursk", rows.d_spread, rows.spread)
    d_matrix = jnp.moveaxis(rows.d_noise + half + jnp.swapaxes(half, 1, 2), -1, 1)
    solved = jnp.linalg.solve(matrix[:, None], d_matrix)
    from_mean = jnp.einsum("uri,urj->uij", rows.slopes, jnp.linalg.solve(matrix, rows.slopes))
    return from_mean + 0.5 * jnp.einsum("uirs,ujsr->uij", solved, solved)


def median_unit(space: Space, theta: Theta) -> Theta:
    """`theta` with the aleatory parameters of the median unit."""
    return with_units(space, theta, jnp.zeros(len(space.aleatory)))
