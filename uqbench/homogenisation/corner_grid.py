"""A periodic plane of corner elements, and the least energy of its fields with unit mean gradients.

Voxels are squares of edge one here: a coefficient of other edges h is scaled to D_ab h_x h_y / (h_a h_b), which leaves
its determinant as it is. Values are `(nx, ny, 4 p - 1)`, those that belong to the element at the last corner of each
voxel.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .conjugate_gradients import conjugate_gradients
from .corner_elements import CornerElement, corner_element, element_stiffness
from .elements import frequencies

# Elements whose matrices are found at a time: few enough that what is between them stays small.
BATCH = 16
# What joining rings may change in the matrix of an element by rounding, relative to its norm and to the root of the
# contrast between its voxels. Against forty digits it is at most an eighth of this, at contrasts up to 3e7.
ROUNDING = 5e-13
# Squared residuals below this, relative to those at the start, are rounding: nothing is left to be minimised.
NEGLIGIBLE = 1e-24


class Corners(NamedTuple):
    """The corners of a cell.

    Args:
        kinds: `(kinds, 2, 2, 2, 2)`, matrices of the four voxels that meet. share: `(kinds,)`, of a kind among all.
        labels: `(nx, ny)`, which kind is at the last corner of each voxel.
    """

    kinds: Array
    share: Array
    labels: Array


def corners_of(coefficient: Array) -> Corners:
    """Of matrices `(nx, ny, 2, 2)`. Equal corners are one kind unless the coefficient is being traced."""
    pair = jnp.stack([coefficient, jnp.roll(coefficient, -1, 0)], axis=2)
    kinds, shape = jnp.stack([pair, jnp.roll(pair, -1, 1)], axis=3).reshape(-1, 2, 2, 2, 2), coefficient.shape[:2]
    labels = jnp.arange(len(kinds))
    if not isinstance(kinds, jax.core.Tracer):
        different, found = np.unique(np.asarray(kinds), axis=0, return_inverse=True)
        # whole batches, for few shapes to compile
        kinds = jnp.asarray(np.pad(different, [(0, -len(different) % BATCH), *[(0, 0)] * 4], "edge"))
        labels = jnp.asarray(found.ravel())
    share = jnp.bincount(labels, length=len(kinds)) / labels.size
    return Corners(kinds, share, labels.reshape(shape))


class Elements(NamedTuple):
    """The elements of a medium, on differences from their first value.

    Args:
        matrices: `(kinds, m - 1, m - 1)`. rounding: `(kinds,)`, by how much their eigenvalues may be off.
        reference: `(m - 1, m - 1)`, for the mean coefficient.
    """

    matrices: Array
    rounding: Array
    reference: Array


@partial(jax.jit, static_argnames="degree")
def prepared(kinds: Array, share: Array, degree: int) -> Elements:
    """`Elements` of several media, with another first axis, from their kinds of corners `(media, kinds, 2, 2, 2, 2)`.

    They do not depend on where the corners are, so that media of a few phases are prepared in no time.
    """
    ring = jnp.asarray(corner_element(degree).ring)

    def prepare(kinds):
        # each voxel is the first one of a corner
        mean, count = jnp.tensordot(share, kinds[:, 0, 0], 1), len(kinds)
        batches = jnp.concatenate([kinds, jnp.broadcast_to(mean, (BATCH - count % BATCH, 2, 2, 2, 2))])
        batches = batches.reshape(-1, BATCH, 2, 2, 2, 2)
        found = jax.lax.map(jax.vmap(lambda kind: element_stiffness(kind, ring)), batches)
        found = found.reshape(-1, *found.shape[2:])
        values = jnp.linalg.eigvalsh(kinds).reshape(count, -1)
        contrast = jnp.max(values, axis=1) / jnp.min(values, axis=1)
        rounding = ROUNDING * jnp.sqrt(contrast) * jnp.linalg.norm(found[:count], axis=(1, 2))
        return Elements(found[:count], rounding, found[count])

    return jax.lax.map(prepare, kinds)


@partial(jax.jit, static_argnames=("degree", "max_iterations"))
def least_energies(elements: Elements, labels: Array, degree: int, tolerance, max_iterations: int):
    """Upper bounds `(media, 2, 2)` of effective tensors, and the iterations `(media, 2)` of each direction.

    Args:
        tolerance: of the squared residuals, relative to those at the start.
    """
    element = corner_element(degree)

    def medium(elements):
        matrices = elements.matrices[labels]
        precondition = _reference_inverse(element, elements.reference, labels.shape)

        def load(differences):
            return _assembled(element, jnp.einsum("xyij,xyj->xyi", matrices, differences))

        def solve(slope):
            right = -load(jnp.broadcast_to(slope, matrices.shape[:-1]))
            end = conjugate_gradients(
                lambda values: load(_differences(element, values)),
                precondition,
                right,
                limit=jnp.maximum(tolerance, NEGLIGIBLE) * jnp.vdot(right, precondition(right)),
                max_iterations=max_iterations,
            )
            return slope + _differences(element, end.solution), end.steps

        fields, steps = jax.vmap(solve)(jnp.asarray(element.slopes.T))
        return _energies(matrices, elements.rounding[labels], fields), steps

    return jax.lax.map(medium, elements)


def _energies(matrices: Array, rounding: Array, fields: Array) -> Array:
    """`(2, 2)`: those of differences `(2, nx, ny, m - 1)` on the outlines, and what they may lack by rounding."""
    energies = jnp.einsum("axyi,xyij,bxyj->ab", fields, matrices, fields)
    lacking = jnp.sum(rounding * jnp.sum(fields**2, axis=(0, -1)))
    return ((energies + energies.T) / 2 + lacking * jnp.eye(2)) / rounding.size


def _differences(element: CornerElement, values: Array) -> Array:
    """`(nx, ny, m - 1)`: values on the outline of each element less the first one, from those `(nx, ny, 4 p - 1)`."""
    shifted = [jnp.roll(values, (-i, -j), (0, 1)) @ element.assembly[i, j] for i, j in np.ndindex(2, 2)]
    return sum(shifted[1:], shifted[0])


def _assembled(element: CornerElement, load: Array) -> Array:
    """The transpose of `_differences`."""
    shifted = [jnp.roll(load @ element.assembly[i, j].T, (i, j), (0, 1)) for i, j in np.ndindex(2, 2)]
    return sum(shifted[1:], shifted[0])


def _reference_inverse(element: CornerElement, matrix: Array, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    """The inverse of the energy of a cell whose elements all have that matrix, on loads without a mean."""
    owned, m = element.assembly.shape[2:]
    # on a wave, what follows along an axis is what there is times a phase
    phases = [jnp.concatenate([jnp.ones((1, *step.shape)), step[None] + 1]) for step in frequencies(shape)]
    differences = jnp.einsum("axo,byo,abki->xyik", *(p.reshape(2, -1, 1) for p in phases), element.assembly)
    symbol = jnp.einsum("xyia,ij,xyjb->xyab", jnp.conj(differences), matrix, differences)
    # a constant has no energy, and no load
    constant = jnp.full((owned, owned), jnp.trace(matrix) / (m * owned))
    inverse = jnp.linalg.inv(symbol.at[0, 0].add(constant)).at[0, 0].add(-1 / (constant * owned**2))

    def precondition(load: Array) -> Array:
        waves = jnp.fft.rfft2(load, axes=(0, 1))
        return jnp.fft.irfft2(jnp.einsum("xyab,xyb->xya", inverse, waves), s=shape, axes=(0, 1))

    return precondition
