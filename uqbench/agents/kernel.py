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
    cells, weights = corners(places, field.shape, extent)
    return jnp.sum(weights * field.ravel()[cells], axis=-1)


def scatter(
    amounts: Float[Array, " agents"], places: Float[Array, "agents axes"], shape: Sequence[int], extent: Sequence[float]
) -> Float[Array, "*grid"]:
    """The amounts of agents in the cells of a grid, whose sum is that of the amounts.

    Example:
        >>> scatter(jnp.array([2.0]), jnp.array([[0.5]]), (2,), (1.0,)).tolist()
        [1.0, 1.0]
    """
    cells, weights = corners(places, shape, extent)
    total = jnp.zeros(prod(shape)).at[cells.ravel()].add((weights * amounts[:, None]).ravel())
    return total.reshape(tuple(shape))


def corners(
    places: Float[Array, "agents axes"], shape: Sequence[int], extent: Sequence[float]
) -> tuple[Int[Array, "agents corners"], Float[Array, "agents corners"]]:
    """Numbers of the cells around each place, rows first, and their weights.

    Raises:
        InputError: places, grid and extent of different numbers of axes, or an extent that is not positive.
    """
    if places.ndim != 2 or not places.shape[1] == len(shape) == len(extent) or not all(size > 0 for size in extent):
        raise InputError(
            "agents",
            [f"places have the shape {places.shape}, the grid {tuple(shape)} and the extent {tuple(extent)}; give "
             "(agents, axes), and for each axis a number of cells and a positive length."],
        )  # fmt: skip
    counts = jnp.asarray(shape)
    across = places / jnp.asarray(extent, float) * counts - 0.5
    within = jnp.clip(across, 0.0, jnp.maximum(counts - 1.0, 0.0))
    first = jnp.clip(jnp.floor(within), 0, jnp.maximum(counts - 2, 0)).astype(int)
    share = within - first
    cells, weights = [], []
    for step in product((0, 1), repeat=len(shape)):
        cell = jnp.minimum(first + jnp.asarray(step), counts - 1)
        cells.append(jnp.ravel_multi_index(tuple(cell.T), tuple(shape), mode="clip"))
        weights.append(jnp.prod(jnp.where(jnp.asarray(step) == 1, share, 1 - share), axis=1))
    return jnp.stack(cells, axis=-1), jnp.stack(weights, axis=-1)


def inside(places: Float[Array, "agents axes"], extent: Sequence[float]) -> Array:
    """Whether each place is in the box."""
    return jnp.all((places >= 0) & (places <= jnp.asarray(extent, float)) & jnp.isfinite(places), axis=-1)


def reflected(places: Float[Array, "agents axes"], extent: Sequence[float]) -> Float[Array, "agents axes"]:
    """Places thrown back at the walls of the box, however far outside they are."""
    size = jnp.asarray(extent, float)
    folded = jnp.mod(jax.lax.stop_gradient(places), 2 * size)
    # piecewise the place itself or its mirror image: the derivative is 1 or -1
    mirrored = folded > size
    offset = jnp.where(mirrored, 2 * size - folded, folded)
    sign = jnp.where(mirrored, -1.0, 1.0)
    return offset + sign * (places - jax.lax.stop_gradient(places))
