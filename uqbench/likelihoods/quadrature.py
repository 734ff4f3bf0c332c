"""Nodes of an integral over several standard normal latents, moved to where its integrand is."""

from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float
from scipy.special import roots_genlaguerre

# Nodes for each latent, by how many latents there are: around the mode, and for the density. How many more there are of
# both in a finer integral.
NODES, DENSITY_NODES, MORE = {1: 9, 2: 5, 3: 3, 4: 3}, {1: 11, 2: 9, 3: 5, 4: 5}, 2
# Beyond, spheres and rotations of the points on them: around the mode; for the density; of a finer integral.
SPHERES, DENSITY_SPHERES, FINER_SPHERES = (2, 2), (3, 4), (3, 6)
# Variances of the latents given the data, in units of those by the curvature, are at least this.
NARROWEST = 0.25


# Where the nodes of each unit are, and a factor of their covariance.
Placement = tuple[Float[Array, "units aleatory"], Float[Array, "units aleatory aleatory"]]


class Nodes(NamedTuple):
    """Where the latents of each unit are taken, and how much each counts.

    Args:
        z: the latents. log_weight: of the integral over them, their prior in it.
        centre, factor: z = centre + factor u, with u the nodes of the standard normal distribution.
        u: those.
    """

    z: Float[Array, "nodes units aleatory"]
    log_weight: Float[Array, "nodes units"]
    centre: Float[Array, "units aleatory"]
    factor: Float[Array, "units aleatory aleatory"]
    u: Float[Array, "nodes aleatory"]

    @classmethod
    def at(cls, centre: Array, factor: Array, points: np.ndarray, weights: np.ndarray) -> "Nodes":
        """Nodes of the standard normal distribution, and the logarithms of their weights, moved and scaled."""
        u = jnp.asarray(points)
        z = centre + jnp.einsum("uij,nj->nui", factor, u)
        volume = jnp.linalg.slogdet(factor)[1]
        squares = 0.5 * jnp.sum(u**2, axis=-1)[:, None] - 0.5 * jnp.sum(z**2, axis=-1)
        return cls(z, jnp.asarray(weights)[:, None] + volume + squares, centre, factor, u)

    def around(self, terms: Float[Array, "nodes units"]) -> Placement:
        """Mean `(units, aleatory)` of the latents given the data, and a factor of their covariance along its axes.

        Args:
            terms: logarithms of the terms of the integral.
        """
        share = jax.lax.stop_gradient(shares(terms))
        mean = jnp.einsum("nu,ni->ui", share, self.u)
        apart = self.u[:, None] - mean
        sizes, axes = jnp.linalg.eigh(jnp.einsum("nu,nui,nuj->uij", share, apart, apart))
        # where one node has nearly all the weight there would be no width
        spread = self.factor @ (axes * jnp.sqrt(jnp.maximum(sizes, NARROWEST))[:, None])
        left, widths, _ = jnp.linalg.svd(spread)
        return self.centre + jnp.einsum("uij,uj->ui", self.factor, mean), left * widths[:, None]


def shares(terms: Float[Array, "nodes units"]) -> Float[Array, "nodes units"]:
    """Of each term of an integral, given as a logarithm; those of the weights alike where all of them are zero."""
    total = logsumexp(terms, axis=0)
    return jnp.where(jnp.isfinite(total), jnp.exp(terms - jnp.where(jnp.isfinite(total), total, 0.0)), 0.0)


def grid(
    dimensions: int, finer: bool = False, density: bool = False
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
    """Nodes for the standard normal distribution in `dimensions`, and logarithms of their weights.

    Whatever the dimensions, mean and covariance are exact.

    Args:
        density: those of the density, otherwise those around the mode.
    """
    if dimensions not in NODES:
        return spheres(dimensions, *(FINER_SPHERES if finer else DENSITY_SPHERES if density else SPHERES))
    nodes = (DENSITY_NODES if density else NODES)[dimensions] + (MORE if finer else 0)
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    every = np.array(list(product(range(nodes), repeat=dimensions)))
    return points[every], np.sum(np.log(weights / weights.sum())[every], axis=1)


def spheres(dimensions: int, radii: int, rotations: int) -> tuple[np.ndarray, np.ndarray]:
    """The same from both ends of orthogonal axes, in several rotations, on spheres of a Gauss rule for the radius."""
    half_squares, weights = roots_genlaguerre(radii, dimensions / 2 - 1)
    rng = np.random.default_rng(0)
    axes = [np.eye(dimensions)]
    axes += [np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0] for _ in range(rotations - 1)]
    directions = np.concatenate([sign * each for each in axes for sign in (1.0, -1.0)])
    points = np.sqrt(2 * half_squares)[:, None, None] * directions
    share = np.repeat(np.log(weights / weights.sum() / len(directions)), len(directions))
    return points.reshape(-1, dimensions), share
