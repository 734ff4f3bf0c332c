"""How much of a voxel is on one side of an interface, and how much interface is in it, as smooth functions of where
the interface is.

A step across the interface is averaged over the voxel, which gives the volume that a plane cuts off it, and once more
along the normal over the length of an edge. Averages over a voxel make the sums over a grid exact for planes in any
direction, wherever they lie between grid points: a step of a width of its own has sums that ripple as a plane moves
across the grid, and slopes that ripple much more.
"""

from collections.abc import Sequence
from itertools import product
from math import factorial, prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ..annotations import AnyArray
from ..errors import InputError

# Normals have components of at least this, so that slopes change gently where an interface turns along an axis.
LEAST_COMPONENT = 0.05
# Shares this near to 0 or 1 are these: what is left of them is rounding of the sums.
NEGLIGIBLE = 1e-9
# Halvings of the range of distances to one at which as many voxels are inside as wanted, which is within a voxel of the
# volume fraction wanted, and Newton's steps from there to it.
BISECTIONS, NEWTON_STEPS = 20, 8
# How far from it the volume fraction may be.
FOUND = 1e-9


def normals(distance: Array, edges: Sequence[float]) -> Array:
    """Unit vectors `(d, *grid)` along which a periodic distance rises; zero where it does not."""
    rises = [(jnp.roll(distance, -1, axis) - jnp.roll(distance, 1, axis)) / edge for axis, edge in enumerate(edges)]
    return unit(jnp.stack(rises))


def unit(vectors: Array) -> Array:
    """Vectors `(d, *grid)` by their length; zero stays zero."""
    square = jnp.sum(vectors**2, axis=0)
    return vectors / jnp.sqrt(jnp.where(square > 0, square, 1.0))


def _widths(normal: Array, edges: Sequence[float]) -> list[Array]:
    """Of the averages along the normal: each edge as the normal sees it, and the longest one once more."""
    size = jnp.maximum(jnp.abs(normal), LEAST_COMPONENT)
    return [*(size[axis] * edge for axis, edge in enumerate(edges)), jnp.full(normal.shape[1:], max(edges))]


def _averaged(distance: Array, widths: list[Array], order: int) -> Array:
    """The derivative of some order of a unit step, averaged over each of the widths: a sum of truncated powers."""
    power = len(widths) - order
    total = jnp.zeros_like(distance)
    for signs in product((1, -1), repeat=len(widths)):
        end = distance + sum(sign * width for sign, width in zip(signs, widths, strict=True)) / 2
        total = total + prod(signs) * jnp.maximum(end, 0.0) ** power
    return total / factorial(power) / prod(widths)


def reach(normal: Array, edges: Sequence[float]) -> Array:
    """How far from the interface the step begins and ends."""
    return sum(_widths(normal, edges), jnp.zeros(())) / 2


def share(distance: Array, normal: Array, edges: Sequence[float]) -> Array:
    """The share of a voxel on the side where the distance is positive; `normal` `(d, *grid)`."""
    widths, half = _widths(normal, edges), reach(normal, edges)
    part = _averaged(jnp.clip(distance, -half, half), widths, 0)
    return jnp.where(part < NEGLIGIBLE, 0.0, jnp.where(part > 1 - NEGLIGIBLE, 1.0, part))


def density(distance: Array, normal: Array, edges: Sequence[float]) -> Array:
    """Area of the interface per volume, the slope of `share`."""
    widths, half = _widths(normal, edges), reach(normal, edges)
    part = _averaged(jnp.clip(distance, -half, half), widths, 1)
    return jnp.where(part * max(edges) > NEGLIGIBLE, part, 0.0)


def at_fraction(
    distance: Float[AnyArray, "*grid"], fraction: float | Array, *, spacing: float | Sequence[float] = 1.0
) -> Array:
    """The distance to other membranes: moved along their normals until the inside has the volume fraction given.

    Args:
        distance: signed, positive inside, to membranes of any volume fraction, in the unit of the spacing.
        fraction: of the volume that is inside, between 0 and 1. spacing: edges of a voxel, or one for all.

    Returns:
        the distance plus a length; differentiable by the fraction and the distance. NaN where a traced fraction is not
        between 0 and 1.

    Raises:
        InputError: a fraction outside of 0 to 1.

    Example:
        >>> layers = jnp.abs(jnp.arange(64) - 31.5)[:, None] / 64 * jnp.ones((64, 4))
        >>> round(float(at_fraction(-layers, 0.5, spacing=1 / 64)[32, 0]), 6)
        0.242188
    """
    if not isinstance(fraction, jax.core.Tracer) and not 0 < float(fraction) < 1:
        raise InputError("cells", [f"the volume fraction is {fraction!r}; give a number between 0 and 1."])
    array, fraction = jnp.asarray(distance, float), jnp.asarray(fraction, float)
    edges = tuple(np.broadcast_to(np.asarray(spacing, float), array.ndim).tolist())
    normal = normals(array, edges)

    def excess(level):
        return jnp.mean(share(array + level, normal, edges)) - fraction

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        more = jnp.mean(array + middle > 0) < fraction
        return jnp.where(more, middle, low), jnp.where(more, high, middle)

    def solve(excess, start):
        def improved(_, level):
            return level - excess(level) / jnp.mean(density(array + level, normal, edges))

        return jax.lax.fori_loop(0, NEWTON_STEPS, improved, start)

    low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (-jnp.max(array), -jnp.min(array)))
    level = jax.lax.custom_root(excess, (low + high) / 2, solve, lambda slope, right: right / slope(1.0))
    found = (fraction > 0) & (fraction < 1) & (jnp.abs(excess(level)) < FOUND)
    return array + jnp.where(found, level, jnp.nan)
