"""The effective tensor of a periodic cell: -div(D (e + grad chi)) = 0, D_hom e = <D (e + grad chi)>.

The corrector chi of each direction e is solved with elements integrated at one point (see `elements`), by conjugate
gradients preconditioned with the exact inverse for the mean coefficient, so that their number depends on the contrast
of the coefficient and not on the grid. The tensor is the energy of the fields e + grad chi, which is stationary in chi:
its derivative by the coefficient is (e_i + grad chi_i) (e_j + grad chi_j) / voxels, without another solve. Derivatives
of correctors, and second derivatives of the tensor, solve again.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..annotations import AnyArray
from .codes import Ending
from .coefficients import (
    checked,
    dimension,
    inverse,
    is_scalar,
    is_sound,
    least_ratio,
    matrices_first,
    mean_matrix,
    times,
)
from .conjugate_gradients import conjugate_gradients
from .elements import ONE_POINT, block, differences_transposed, extended, gradients, reference_inverse, stiffness
from .implicit import Settled, differentiable


class EffectiveTensor(NamedTuple):
    """What `effective_tensor` finds.

    Args:
        tensor: `(d, d)`, in the unit of the coefficient; NaN where `result` is not zero.
        correctors: `(d, *grid)` at the first corner of each voxel, for unit gradients along each axis, without a mean,
            in the unit of the spacing.
        iterations: `(d,)`, of the conjugate gradients.
        error: `(d,)`, a bound of how far each diagonal entry lies above the minimum over this grid's fields, relative
            to the harmonic mean. It knows nothing of the error of the grid, for which see `effective_bounds`.
        result: 0, or a code of `SENTENCES`.
    """

    tensor: Array
    correctors: Array
    iterations: Array
    error: Array
    result: Array


def effective_tensor(
    coefficient: AnyArray, *, spacing=None, tolerance: float = 1e-10, max_iterations: int = 2000
) -> EffectiveTensor:
    """The effective tensor of a periodic cell of voxels, traceable and differentiable by the coefficient.

    Args:
        coefficient: conductivity or diffusivity in each voxel, `(nx, ny)` or `(nx, ny, nz)`, or symmetric positive
            definite matrices `(nx, ny, 2, 2)` or `(nx, ny, nz, 3, 3)`.
        spacing: edges `(d,)` of a voxel; default equal ones.
        tolerance: of the energy of each direction, relative to the harmonic mean of the coefficient. The fields, and
            with them derivatives, are known to its root.
        max_iterations: of the conjugate gradients, for each direction.

    Returns:
        See `EffectiveTensor`. Where the coefficient is being traced and has bad values, or the iteration does not end,
        `result` says so and the tensor is NaN.

    Raises:
        InputError: with everything that is wrong with the coefficient and the spacing.

    Example:
        >>> layers = jnp.where(jnp.arange(8)[:, None] < 4, 1.0, 10.0) * jnp.ones((8, 8))
        >>> jnp.diag(effective_tensor(layers).tensor).round(6).tolist()
        [1.818182, 5.5]
    """
    array, edges = checked(coefficient, spacing, "effective tensor")
    return _effective_tensor(array, edges, tolerance, max_iterations)


@partial(jax.jit, static_argnames=("edges", "max_iterations"))
def _effective_tensor(coefficient, edges, tolerance, max_iterations) -> EffectiveTensor:
    d = dimension(coefficient)
    # what only decides when to end has no derivative
    value = jax.lax.stop_gradient(coefficient)
    harmonic = jnp.linalg.inv(mean_matrix(inverse(value)))
    voxels = value.size / (1 if is_scalar(value) else d * d)
    scale = voxels * jnp.diag(harmonic) * least_ratio(value, mean_matrix(value))
    correctors, iterations, weights = solve_correctors(coefficient, edges, tolerance * scale, max_iterations)
    error = weights / scale
    unfinished = jnp.where(jnp.all(error <= tolerance), Ending.SUCCESS, Ending.ITERATIONS)
    result = jnp.where(is_sound(value), unfinished, Ending.BAD_COEFFICIENT)
    tensor = jnp.where(result == 0, stationary_energy(coefficient, correctors, edges), jnp.nan)
    return EffectiveTensor(tensor, correctors, iterations, error, result)


class Correctors(NamedTuple):
    """`values` `(d, *grid)`, differentiable by the coefficient; `iterations` and final squared residuals `(d,)`."""

    values: Array
    iterations: Array
    weights: Array


# Squared residual, relative to that of the start, to which the equations of derivatives of correctors are solved.
TANGENT_REDUCTION = 1e-20


def solve_correctors(
    coefficient: Array, edges, limits, max_iterations: int, weight: float = ONE_POINT, *, relative: bool = False
) -> Correctors:
    """`Correctors` of unit gradients along each axis.

    Args:
        limits: `(d,)`, of the squared residual in the norm of the preconditioner, or where `relative` of its ratio to
            that at the start.
    """
    value = jax.lax.stop_gradient(coefficient)
    first, precondition = _extended_first(value), reference_inverse(value, edges, weight)

    def corrector(given):
        direction, limit = given
        load = -uniform_load(first, direction, edges)
        if relative:
            limit = limit * jnp.vdot(load, precondition(load))
        return conjugate_gradients(
            lambda values: stiffness(first, values, edges, weight),
            precondition,
            load,
            limit=limit,
            max_iterations=max_iterations,
        )

    # one after the other: the arrays of one direction stay in a cache for longer
    end = jax.lax.map(corrector, (jnp.eye(len(edges)), jnp.broadcast_to(limits, len(edges))))
    apply, inverse = Settled(_apply, (edges, weight)), Settled(_inverse, (edges, weight))

    def known(given):
        direction, values = given
        load = -uniform_load(_extended_first(coefficient), direction, edges)
        return differentiable(apply, inverse, max_iterations, coefficient, load, TANGENT_REDUCTION, values)

    return Correctors(jax.lax.map(known, (jnp.eye(len(edges)), end.solution)), end.steps, end.weight)


def _apply(edges, weight: float, coefficient: Array, values: Array) -> Array:
    return stiffness(_extended_first(coefficient), values, edges, weight)


def _inverse(edges, weight: float, coefficient: Array):
    return reference_inverse(coefficient, edges, weight)


def _extended_first(coefficient: Array) -> Array:
    return extended(matrices_first(coefficient), dimension(coefficient), before=True)


def uniform_load(first: Array, direction: Array, edges) -> Array:
    """The divergence of the coefficient, matrices first and extended `before`, times a uniform gradient."""
    shape = first.shape[-len(edges) :]
    fluxes = times(first, [component * jnp.ones(shape) for component in direction])
    return differences_transposed({(i,): flux / edges[i] for i, flux in enumerate(fluxes)})


def energies(coefficient: Array, correctors: Array, edges, weight: float) -> Array:
    """`(d, d)`: <(e_i + grad chi_i) D (e_j + grad chi_j)> of the fields of any correctors."""
    first, d = matrices_first(coefficient), len(edges)
    total = jnp.zeros((d, d))
    parts = [gradients(extended(corrector, d, after=True), edges, weight) for corrector in correctors]
    for term, (power, rest, _) in enumerate(parts[0]):
        fields = [list(part[term][2]) for part in parts]
        if len(rest) == d:
            fields = [[g + (1.0 if i == e else 0.0) for i, g in enumerate(field)] for e, field in enumerate(fields)]
        fluxes = [times(block(first, rest, d), field) for field in fields]
        total = total + power * jnp.array(
            [[sum(jnp.vdot(g, f) for g, f in zip(field, flux, strict=True)) for flux in fluxes] for field in fields]
        )
    symmetric = (total + total.T) / 2
    return symmetric / correctors[0].size


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def stationary_energy(coefficient: Array, correctors: Array, edges, weight: float = ONE_POINT) -> Array:
    """The energies of correctors that make them stationary, so that a change of these changes nothing."""
    return energies(coefficient, correctors, edges, weight)


@stationary_energy.defjvp
def _stationary_energy_tangent(edges, weight, primals, tangents):
    coefficient, correctors = primals
    at = stationary_energy(coefficient, correctors, edges, weight)
    return at, energies(tangents[0], correctors, edges, weight)
