"""The coefficient of a cell: a positive number or a symmetric positive definite matrix in each voxel.

A field of numbers is `(nx, ny)` or `(nx, ny, nz)`, one of matrices `(nx, ny, 2, 2)` or `(nx, ny, nz, 3, 3)`, so that
the number of axes says which it is. Inside the room matrices come first, `(d, d, nx, ny[, nz])`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..annotations import AnyArray
from ..errors import InputError
from .percolation import percolation_finding

# A matrix is symmetric if its halves agree to this, relative to its largest entry: what products in doubles leave.
ASYMMETRY = 1e-12


def dimension(coefficient: AnyArray) -> int:
    """2 or 3: the number of axes of the grid."""
    return {2: 2, 3: 3, 4: 2, 5: 3}[coefficient.ndim]


def grid_shape(coefficient: AnyArray) -> tuple[int, ...]:
    """Voxels along each axis."""
    return coefficient.shape[: dimension(coefficient)]


def is_scalar(coefficient: AnyArray) -> bool:
    """Whether it is one number in each voxel."""
    return coefficient.ndim == dimension(coefficient)


def matrices_first(coefficient: Array) -> Array:
    """`(d, d, *grid)` of a field of matrices; a field of numbers as it is."""
    return coefficient if is_scalar(coefficient) else jnp.moveaxis(coefficient, (-2, -1), (0, 1))


def times(coefficient: Array, vectors: list[Array]) -> list[Array]:
    """The coefficient, matrices first, applied to some components of a vector field (all of them, or a diagonal)."""
    if coefficient.ndim == vectors[0].ndim:
        return [coefficient * vector for vector in vectors]
    row = range(len(vectors))
    return [jnp.sum(jnp.stack([coefficient[i, j] * vectors[j] for j in row]), axis=0) for i in row]


def mean_matrix(coefficient: Array) -> Array:
    """The arithmetic mean `(d, d)`."""
    axes = tuple(range(dimension(coefficient)))
    mean = jnp.mean(coefficient, axis=axes)
    return mean * jnp.eye(len(axes)) if is_scalar(coefficient) else mean


def inverse(coefficient: Array) -> Array:
    """In each voxel, in the layout given."""
    return 1 / coefficient if is_scalar(coefficient) else jnp.linalg.inv(coefficient)


def least_ratio(coefficient: Array, reference: Array) -> Array:
    """The largest number c with c * reference <= coefficient in every voxel, in the sense of quadratic forms."""
    if is_scalar(coefficient):
        return jnp.min(coefficient) / jnp.max(jnp.linalg.eigvalsh(reference))
    root = jnp.linalg.inv(jnp.linalg.cholesky(reference))
    return jnp.min(jnp.linalg.eigvalsh(root @ coefficient @ root.T))


def is_sound(coefficient: Array) -> Array:
    """Whether every voxel is finite, symmetric and positive definite, traceable."""
    finite = jnp.all(jnp.isfinite(coefficient))
    if is_scalar(coefficient):
        return finite & jnp.all(coefficient > 0)
    filled = jnp.where(jnp.isfinite(coefficient), coefficient, 0.0)
    skew = jnp.abs(filled - jnp.swapaxes(filled, -1, -2))
    symmetric = jnp.all(skew <= ASYMMETRY * jnp.max(jnp.abs(filled), axis=(-2, -1), keepdims=True))
    return finite & symmetric & jnp.all(jnp.linalg.eigvalsh(filled)[..., 0] > 0)


def checked(coefficient, spacing, subject: str) -> tuple[Array, tuple[float, ...]]:
    """The coefficient as an array of doubles, and the edges of a voxel; equal ones where none are given.

    Values that are being traced are not looked at: a result code speaks of them.

    Raises:
        InputError: with every finding.
    """
    findings: list[str] = []
    try:
        if np.iscomplexobj(coefficient):
            raise TypeError
        array = jnp.asarray(coefficient, float)
    except (TypeError, ValueError):
        raise InputError(subject, ["the coefficient is no array of real numbers."]) from None
    shape_finding = _shape_finding(array.shape)
    if shape_finding:
        raise InputError(subject, [shape_finding])
    if not isinstance(array, jax.core.Tracer):
        findings += value_findings(np.asarray(array))
    d = dimension(array)
    try:
        edges = (1.0,) * d if spacing is None else tuple(np.ravel(np.asarray(spacing, float)).tolist())
    except (TypeError, ValueError):
        edges = ()
    if len(edges) != d or not all(np.isfinite(edge) and edge > 0 for edge in edges):
        findings.append(f"spacing is {spacing!r}; give {d} positive lengths, the edges of a voxel along each axis.")
    if findings:
        raise InputError(subject, findings)
    return array, edges


def _shape_finding(shape: tuple[int, ...]) -> str | None:
    wanted = "give (nx, ny) or (nx, ny, nz) for numbers, (nx, ny, 2, 2) or (nx, ny, nz, 3, 3) for matrices"
    if len(shape) not in (2, 3, 4, 5):
        return f"the coefficient has the shape {shape}; {wanted}."
    if len(shape) > 3 and shape[-2:] != ((2, 2) if len(shape) == 4 else (3, 3)):
        size = len(shape) - 2
        return f"the coefficient has the shape {shape}, whose last axes are no {size}x{size} matrix; {wanted}."
    if 0 in shape:
        return f"the coefficient has the shape {shape}, which has no voxel; {wanted}."
    return None


def value_findings(coefficient: np.ndarray) -> list[str]:
    """What is wrong with the values of a coefficient of a sound shape."""
    findings, total = [], int(np.prod(grid_shape(coefficient)))
    axes = () if is_scalar(coefficient) else (-2, -1)
    finite = np.all(np.isfinite(coefficient), axis=axes)
    if not finite.all():
        findings.append(f"{np.sum(~finite)} of {total} voxels are not finite (NaN or infinite).")
    if is_scalar(coefficient):
        negative = finite & (coefficient < 0)
        if negative.any():
            findings.append(
                f"{np.sum(negative)} of {total} voxels are negative, down to {coefficient[negative].min():g}."
            )
        empty = coefficient == 0
        if empty.any():
            findings.append(percolation_finding(~empty, int(empty.sum())))
        return findings
    filled = np.where(finite[..., None, None], coefficient, np.eye(coefficient.shape[-1]))
    size = np.max(np.abs(filled), axis=(-2, -1))
    skew = np.max(np.abs(filled - np.swapaxes(filled, -1, -2)), axis=(-2, -1)) > ASYMMETRY * size
    if skew.any():
        findings.append(
            f"the matrices of {np.sum(skew)} of {total} voxels are not symmetric; conduction has no such part."
        )
    lowest = np.linalg.eigvalsh((filled + np.swapaxes(filled, -1, -2)) / 2)[..., 0]
    empty = np.all(filled == 0, axis=(-2, -1))
    if (bad := ~empty & (lowest <= 0)).any():
        findings.append(
            f"the matrices of {np.sum(bad)} of {total} voxels are not positive definite; the lowest eigenvalue is "
            f"{lowest[bad].min():g}."
        )
    if empty.any():
        findings.append(percolation_finding(~empty, int(empty.sum())))
    return findings
