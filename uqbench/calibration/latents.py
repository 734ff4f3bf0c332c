"""Coordinates of parameters with a distribution of unknown width, in which data and distribution are one normal.

The width w of a distribution and what is drawn from it, x = m + w u with u standard normal, form a funnel: with little
data on x the sampler moves easily by u, with much data by x itself, and where w may be zero by neither, as what the
data add to the distribution depends on w. The coordinate z taken here is how far u is from its mean given m, w and the
data, in its standard deviations given these, where the data enter as the normal density that an `Expansion` is: were
they normal, z would be independent of m and w, and standard normal (Papaspiliopoulos, Roberts & Skold 2007,
doi:10.1214/088342307000000014, for a weight between the two that is constant; Osmundsen, Kleppe & Liesenfeld 2021,
doi:10.1080/10618600.2021.1923519). Whatever the expansion is, the density that is sampled is the same.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..likelihoods import Expansion, natural_slopes, with_units
from ..space import Space, Theta


def placed(
    space: Space,
    theta: Theta,
    z: Float[Array, "units k"],
    expansion: Expansion,
    names: Sequence[str],
) -> tuple[Theta, Float[Array, ""]]:
    """The parameters at coordinates z, and the log density of their latents, as one of z, over the standard normal.

    Args:
        theta: what the distributions of `names` refer to, and none of these.
    """
    mean, lower = _given_data(space, theta, expansion, names)
    u = mean + jax.scipy.linalg.solve_triangular(jnp.swapaxes(lower, 1, 2), z[..., None], lower=False)[..., 0]
    values = with_units(space, theta, u, names)
    narrowed = jnp.sum(jnp.log(jnp.diagonal(lower, axis1=1, axis2=2)))
    return {name: values[name] for name in names}, 0.5 * jnp.sum(z**2 - u**2) - narrowed


def moved(
    space: Space, theta: Theta, before: Expansion, after: Expansion, names: Sequence[str]
) -> Float[Array, "units k"]:
    """Where the coordinates of the expansion `after` have what is zero in those of `before`."""
    u, _ = _given_data(space, theta, before, names)
    mean, lower = _given_data(space, theta, after, names)
    return jnp.einsum("uji,uj->ui", lower, u - mean)


def _given_data(
    space: Space, theta: Theta, expansion: Expansion, names: Sequence[str]
) -> tuple[Float[Array, "units k"], Float[Array, "units k k"]]:
    """Mean of the latents of each unit given the data, and the lower root of their precision."""
    origin, slopes = natural_slopes(space, theta, jnp.zeros_like(expansion.pull), names)
    weighted = jnp.einsum("ukl,ulj->ukj", expansion.information, slopes)
    precision = jnp.eye(len(names)) + jnp.einsum("uki,ukj->uij", slopes, weighted)
    pull = jnp.einsum("uki,uk->ui", slopes, expansion.pull) - jnp.einsum("uki,uk->ui", weighted, origin)
    lower = jnp.linalg.cholesky(precision)
    return jax.scipy.linalg.cho_solve((lower, True), pull[..., None])[..., 0], lower


def coordinate(
    y: float, mu: float, sigma: float, information: Float[np.ndarray, "1 1"], pull: Float[np.ndarray, " 1"]
) -> float:
    """z of one parameter whose natural coordinate is y, normal with this mean and sd."""
    precision = 1.0 + sigma**2 * float(information[0, 0])
    mean = sigma * (float(pull[0]) - float(information[0, 0]) * mu) / precision
    return np.sqrt(precision) * ((y - mu) / sigma - mean)
