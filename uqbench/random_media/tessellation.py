"""Packed cells: the Voronoi tessellation of random places, as a distance to its walls.

Each place has what is nearer to it than to any other. Walls that are grown by half the width of a gap on either side
leave polygonal or polyhedral cells in a connected network of channels, as in epithelia and tumours (Okabe et al. 2000,
doi:10.1002/9780470317013).
"""

from collections.abc import Sequence
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .inclusions import checked_shapes


def distance_to_walls(
    places: Float[Array, "count axes"], shape: Sequence[int], extent: Sequence[float]
) -> Float[Array, "*grid"]:
    """Distance of the middle of each voxel to the nearest wall between two places of a periodic cell.

    Args:
        places: centres of the cells. shape: voxels along each axis. extent: of the periodic cell, in the unit of
            places.

    Raises:
        InputError: shapes that do not match.

    Example:
        >>> distance_to_walls(jnp.array([[0.25], [0.75]]), (4,), (1.0,)).tolist()
        [0.125, 0.125, 0.125, 0.125]
    """
    checked_shapes(places, places, shape, extent)
    sizes = jnp.asarray(extent, float)
    middles = [(np.arange(cells) + 0.5) / cells * size for cells, size in zip(shape, extent, strict=True)]
    grid = jnp.stack(jnp.meshgrid(*middles, indexing="ij"), axis=-1)
    shifts = jnp.asarray(list(product((-1.0, 0.0, 1.0), repeat=len(shape)))) * sizes
    # a place and its images in the cells around: a small cell has walls between a place and itself
    images = jnp.reshape(places % sizes + shifts[:, None], (-1, len(shape)))

    def nearer(best, image):
        square = jnp.sum((grid - image) ** 2, axis=-1)
        closer = square < best[0]
        return (jnp.where(closer, square, best[0]), jnp.where(closer[..., None], image, best[1])), None

    far = jnp.full(tuple(shape), jnp.inf)
    (square, own), _ = jax.lax.scan(nearer, (far, jnp.zeros_like(grid)), images)

    def wall(least, image):
        between = jnp.sum((image - own) ** 2, axis=-1)
        # along the line from one place to the other, from the middle between them
        away = (jnp.sum((grid - image) ** 2, axis=-1) - square) / (2 * jnp.sqrt(jnp.where(between > 0, between, 1.0)))
        return jnp.where(between > 0, jnp.minimum(least, away), least), None

    return jax.lax.scan(wall, far, images)[0]
