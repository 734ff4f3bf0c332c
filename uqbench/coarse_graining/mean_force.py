"""The potential of mean force: the free energy of coarse coordinates, all others integrated out.

    F(x) = -1/beta log int exp(-beta V(x, y)) dy,        F'(x) = E[dV/dx | x]

by quadrature, with a bound of what it errs by, or from samples, with a standard error. Only differences of F have a
meaning.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..annotations import AnyArray
from ..errors import InputError
from .averages import mean_with_error
from .quadrature import Box, log_integral

# Potential energy of the place x (coarse axes,) and the place y (fine axes,).
Potential = Callable[[Array, Array], Array]


class MeanForce(NamedTuple):
    """F and its slope at the points that were asked for; `error` is about how much F errs, in its unit."""

    potential: Float[Array, " points"]
    slope: Float[Array, "points axes"]
    error: Float[Array, " points"]


def potential_of_mean_force(
    potential: Potential, x: Float[AnyArray, "points axes"], rule: Box, beta: float | Array = 1.0, *, tolerance=1e-8
) -> MeanForce:
    """F and its slope by quadrature, differentiable by whatever `potential` closes over.

    Args:
        potential: V(x, y), in units of 1/beta. x: points of the coarse coordinates. rule: where y is integrated.
        beta: inverse temperature. tolerance: largest error of F, in 1/beta.

    Returns:
        potential, slope and error; NaN at points where the error is above the tolerance: take a wider box or more
        nodes.

    Example:
        >>> from uqbench.coarse_graining import box
        >>> rule = box([(-6, 8)])
        >>> found = potential_of_mean_force(lambda x, y: (y[0] - x[0]) ** 2 + x[0] ** 2, jnp.ones((1, 1)), rule)
        >>> round(float(found.slope[0, 0]), 8)
        2.0
    """

    def at(point):
        def energy(x):
            return jax.vmap(lambda y: potential(x, y))(jnp.asarray(rule.places))

        def free(x):
            logarithm, error = log_integral(-beta * energy(x), rule)
            return -logarithm / beta, error

        (value, error), slope = jax.value_and_grad(free, has_aux=True)(point)
        resolved = error <= tolerance
        return MeanForce(jnp.where(resolved, value, jnp.nan), jnp.where(resolved, slope, jnp.nan), error / beta)

    return jax.lax.map(at, jnp.asarray(x, float), batch_size=32)


class SampledMeanForce(NamedTuple):
    """F of bins less that of the reference bin, with standard errors and effective numbers of samples."""

    potential: Float[Array, " bins"]
    error: Float[Array, " bins"]
    effective: Float[Array, " bins"]


def sampled_mean_force(
    x: Float[AnyArray, "chains draws"], edges: Float[AnyArray, " edges"], reference: int, beta: float = 1.0
) -> SampledMeanForce:
    """F of bins from samples: -1/beta log(share of the bin / its width), less that of a reference bin.

    What is estimated is the mean density of a bin, no value at its middle. Errors are those of the difference to the
    reference, from the correlation of the samples within and between chains.

    Args:
        x: a coarse coordinate. edges: of bins, ascending. reference: number of the bin whose F is 0. beta: inverse
            temperature of the samples.

    Returns:
        NaN where a bin or the reference was hardly ever entered (see `averages.mean_with_error`).

    Raises:
        InputError: edges that do not ascend, a reference that is no bin.
    """
    edges = jnp.asarray(edges, float)
    findings = []
    if edges.ndim != 1 or len(edges) < 2 or not bool(jnp.all(jnp.diff(edges) > 0)):
        findings.append("the edges do not ascend; give the ends of bins side by side.")
    elif not 0 <= reference < len(edges) - 1:
        findings.append(f"the reference is {reference}; give the number of a bin, 0 to {len(edges) - 2}.")
    if findings:
        raise InputError("potential of mean force", findings)
    within = ((x >= edges[:-1, None, None]) & (x < edges[1:, None, None])).astype(float)
    share = jnp.mean(within, axis=(1, 2))
    ratios = within / share[:, None, None]
    # to first order log p_i - log p_r has these influences; the error of each share alone says whether it is known
    differences = jax.vmap(mean_with_error)(ratios - ratios[reference])
    alone = jax.vmap(mean_with_error)(within)
    value = -(jnp.log(share / jnp.diff(edges)) - jnp.log(share[reference] / jnp.diff(edges)[reference])) / beta
    known = jnp.isfinite(alone.error) & jnp.isfinite(alone.error[reference]) & (share > 0)
    error = jnp.where(jnp.arange(len(share)) == reference, 0.0, differences.error / beta)
    return SampledMeanForce(jnp.where(known, value, jnp.nan), jnp.where(known, error, jnp.nan), alone.effective)
