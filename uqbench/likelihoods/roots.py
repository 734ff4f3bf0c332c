"""Roots J of a Fisher information J'J: sensitivities in units of what one measurement tells.

The singular values of a root have all the digits that sensitivities have; the eigenvalues of the information, their
squares, have half of them.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# of the entries of a matrix, sums of a few products
ROUNDING = 16 * np.finfo(float).eps


def whitened(
    slopes: Float[Array, "rows arguments k"], weights: Float[Array, "rows arguments arguments"]
) -> Float[Array, "rows arguments k"]:
    """J of each row with a root of I on its left, whose J'J is J' I J."""
    values, vectors = small_eigh(weights)
    root = jnp.sqrt(jnp.clip(values, 0.0))[..., None] * jnp.swapaxes(vectors, -1, -2)
    return root @ slopes


def small_eigh(matrix: Float[Array, "*batch n n"]) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n n"]]:
    """Eigenvalues, in no order, and vectors of symmetric matrices; of up to two rows, of which there may be thousands,
    by one rotation (Jacobi 1846, doi:10.1515/crll.1846.30.51), without a call of LAPACK for each."""
    size = matrix.shape[-1]
    if size == 1:
        return matrix[..., 0], jnp.ones_like(matrix)
    if size > 2:
        return jnp.linalg.eigh(matrix)
    first, second, across = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 0, 1]
    coupled = across != 0
    half = (second - first) / jnp.where(coupled, 2.0 * across, 1.0)
    tangent = jnp.where(half < 0, -1.0, 1.0) / (jnp.abs(half) + jnp.sqrt(1.0 + half**2))
    tangent = jnp.where(coupled, tangent, 0.0)
    cosine = 1.0 / jnp.sqrt(1.0 + tangent**2)
    sine = tangent * cosine
    vectors = jnp.stack([jnp.stack([cosine, sine], axis=-1), jnp.stack([-sine, cosine], axis=-1)], axis=-2)
    return jnp.stack([first - tangent * across, second + tangent * across], axis=-1), vectors


def root_of(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """J with J'J a positive semidefinite matrix, whose columns may differ by orders of magnitude.

    What is below the rounding of the matrix is zero.
    """
    size, _, values, vectors = _scaled(matrix)
    least = ROUNDING * len(matrix) * jnp.max(values)
    return jnp.sqrt(jnp.where(values > least, values, 0.0))[:, None] * vectors.T * size


def told_directions(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    """The projection on the directions in which an information, with columns that may differ by orders of magnitude, is
    more than rounding; what is to be projected stands on its left."""
    size, inverse, values, vectors = _scaled(matrix)
    told = vectors * jnp.where(values > ROUNDING * len(matrix) * jnp.max(values), 1.0, 0.0)
    return inverse[:, None] * (told @ vectors.T) * size


def _scaled(matrix: Float[Array, "k k"]) -> tuple[Array, Array, Array, Array]:
    """Roots of the diagonal and their reciprocals, 0 where there are none; then eigenvalues and vectors of the matrix
    with ones on its diagonal."""
    size = jnp.sqrt(jnp.clip(jnp.diag(matrix), 0.0))
    inverse = jnp.where(size > 0, 1.0 / jnp.where(size > 0, size, 1.0), 0.0)
    return size, inverse, *jnp.linalg.eigh(inverse[:, None] * (matrix + matrix.T) / 2 * inverse)


def root_of_difference(whole: Float[Array, "k k"], lost: Float[Array, "k k"], least: float) -> Float[Array, "k k"]:
    """J with J'J what is left of a whole information without what is lost, in every direction at least a share of it.

    With expected information in the place of second derivatives a difference may come out negative where hardly
    anything is left, which would say that nothing is known.

    Args:
        least: that share.
    """
    size = jnp.sqrt(jnp.clip(jnp.diag(whole), 0.0))
    inverse = jnp.where(size > 0, 1.0 / jnp.where(size > 0, size, 1.0), 0.0)
    values, vectors = jnp.linalg.eigh(inverse[:, None] * whole * inverse)
    told = values > ROUNDING * len(whole) * jnp.max(values)
    half = jnp.sqrt(jnp.where(told, values, 0.0))
    back = vectors * jnp.where(told, 1.0 / jnp.where(told, half, 1.0), 0.0)
    left = jnp.diag(jnp.where(told, 1.0, 0.0)) - back.T @ (inverse[:, None] * lost * inverse) @ back
    shares, directions = jnp.linalg.eigh(left)
    return jnp.sqrt(jnp.clip(shares, least))[:, None] * directions.T @ (half[:, None] * vectors.T) * size
