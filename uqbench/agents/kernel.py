"""The one kernel by which agents see a field and act on it: linear in between the middles of cells.

`gather` reads a field at places, `scatter` adds amounts to it, with the same weights, so that each is the transpose of
the other: what an agent takes from where it looks is what the field there loses. Weights of a place are not negative
and sum to one, also at walls, where the outermost half of a cell has the value of its middle.
"""

from collections.abc import Sequence
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..errors import InputError


def gather(field: Float[Array, "*grid"], places: Float[Array, "agents axes"], extent: Sequence[float]) -> Array:
    """The field at each place, `(agents,)`.

    Args:
        field: values in the cells of a grid over a box. places: from 0 to the extent. extent: of the box.

    Example:
        >>> gather(jnp.array([1.0, 3.0]), jnp.array([[0.5], [0.1]]), (1.0,)).tolist()
        [2.0, 1.0]
    """
    values = field.ravel()
    return sum((weight * values[cell] for cell, weight in corners(places, field.shape, extent)), jnp.zeros(()))


def scatter(
    amounts: Float[Array, " agents"], places: Float[Array, "agents axes"], shape: Sequence[int], extent: Sequence[float]
) -> Float[Array, "*grid"]:
    """The amounts of agents in the cells of a grid, whose sum is that of the amounts.

    Example:
        >>> scatter(jnp.array([2.0]), jnp.array([[0.5]]), (2,), (1.0,)).tolist()
        [1.0, 1.0]
    """
    total = jnp.zeros(prod(shape))
    for cell, weight in corners(places, shape, extent):
        total = total.at[cell].add(weight * amounts)
    return total.reshape(tuple(shape))


def corners(
    places: Float[Array, "agents axes"], shape: Sequence[int], extent: Sequence[float]
) -> list[tuple[Int[Array, " agents"], Float[Array, " agents"]]]:
    """Of each corner around a place the number of its cell, rows first, and its weight.

    Corners are apart, not one array, so that nothing of the size of all of them has to be stored.

    Raises:
        InputError: places, grid and extent of different numbers of axes, or an extent that is not positive.
    """
    if places.ndim != 2 or not places.shape[1] == len(shape) == len(extent) or not all(size > 0 for size in extent):
        raise InputError(
            "agents",
            [f"places have the shape {places.shape}, the grid {tuple(shape)} and the extent {tuple(extent)}; give "
             "(agents, axes), and for each axis a number of cells and a positive length."],
        )  # fmt: skip
    axes = [_ends(places[:, axis], count, size) for axis, (count, size) in enumerate(zip(shape, extent, strict=True))]
    found = []
    for ends in product(*axes):
        cell, weight = ends[0]
        for count, (beside, share) in zip(shape[1:], ends[1:], strict=True):
            cell, weight = cell * count + beside, weight * share
        found.append((cell, weight))
    return found


def _ends(along: Float[Array, " agents"], count: int, size):
    """Both cells around each place along one axis, and their weights."""
    within = jnp.clip(along / size * count - 0.5, 0.0, count - 1.0)
    first = jnp.minimum(within.astype(jnp.int32), max(count - 2, 0))
    share = within - first
    return (first, 1 - share), (jnp.minimum(first + 1, count - 1), share)


def inside(places: Float[Array, "agents axes"], extent: Sequence[float]) -> Array:
    """Whether each place is in the box."""
    return jnp.all((places >= 0) & (places <= jnp.asarray(extent, float)) & jnp.isfinite(places), axis=-1)


def reflected(places: Float[Array, "agents axes"], extent: Sequence[float]) -> Float[Array, "agents axes"]:
    """Places thrown back at the walls of the box, however far outside they are."""
    size = jnp.asarray(extent, float)
    still = jax.lax.stop_gradient(places)
    # a remainder takes ten times as long
    folded = jnp.clip(still - 2 * size * jnp.floor(still / (2 * size)), 0.0, 2 * size)
    # piecewise the place itself or its mirror image: the derivative is 1 or -1
    mirrored = folded > size
    offset = jnp.where(mirrored, 2 * size - folded, folded)
    sign = jnp.where(mirrored, -1.0, 1.0)
    return offset + sign * (places - jax.lax.stop_gradient(places))
