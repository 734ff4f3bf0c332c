"""A closure where scales do not separate: an effective diffusivity that depends on the wave number.

In a periodic medium whose position is random (or a random medium, of which the cell is a large sample) a source
exp(i xi x) leaves the mean concentration exp(i xi x) / (xi^2 D(xi) + k), exactly (Willis 2011,
doi:10.1098/rspa.2010.0620). D(xi) is the least energy of the gradient exp(i xi x) with correctors chi without a mean,

    D(xi) = min <(E + grad chi)* D (E + grad chi)> + k <|chi|^2>,    E = exp(i xi x) e,

so that its derivative by the coefficient follows from the correctors without another solve. Where k = 0 it tends to
the effective diffusivity D_hom with order xi^2. With consumption it depends on this too: slow inclusions are not in
equilibrium with what surrounds them. Where a period of the cell is a multiple of the wave length, a periodic medium
that is sampled at the same places in every cell has a value of its own. What is exact without walls is wrong near them
by the size of a cell, since a wall does not move with the medium: see `wall_law`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..annotations import AnyArray, Numbers
from ..errors import InputError
from ..homogenisation.coefficients import is_sound, least_ratio, mean_matrix
from .checks import (
    cells_finding,
    checked_cell,
    consumption_finding,
    numbers_finding,
    wave_numbers_finding,
)
from .codes import solution_result
from .waves import Modulated, grid_wave_number, modulated_corrector, modulated_energy


class NonlocalDiffusivity(NamedTuple):
    """What `nonlocal_diffusivity` finds, `(wave_numbers,)` each.

    Args:
        diffusivity: D(xi), in the unit of the coefficient; NaN where `result` is not zero.
        error: a bound of how far it lies above the minimum over this grid's fields. It knows nothing of the error of
            the grid.
        iterations: of the conjugate gradients.
        result: 0, or a code of `SENTENCES`.
    """

    diffusivity: Array
    error: Array
    iterations: Array
    result: Array


def nonlocal_diffusivity(
    coefficient: AnyArray,
    wave_numbers: Numbers,
    *,
    consumption: Numbers = 0.0,
    spacing=None,
    tolerance: float = 1e-8,
    max_iterations: int = 2000,
) -> NonlocalDiffusivity:
    """The diffusivity D(xi) of mean concentrations that vary as exp(i xi x) along the first axis.

    Traceable, and differentiable by the coefficient, consumption and wave numbers.

    Args:
        coefficient: diffusivity of one cell, `(nx, ny[, nz])` or matrices `(nx, ny[, nz], d, d)`.
        wave_numbers: `(n,)`, 2 pi over a wave length, in units of one over the spacing; up to pi over the edge of a
            voxel. At zero it is the effective diffusivity.
        consumption: rate of first order.
        spacing: edges `(d,)` of a voxel; default equal ones.
        tolerance: of the residuals in the norm of the preconditioner, relative to those at the start; that of D(xi) is
            about its square.
        max_iterations: of the conjugate gradients, for each wave number.

    Returns:
        See `NonlocalDiffusivity`; D is with respect to the wave number of the grid, 2 sin(xi h / 2) / h, so that it is
        exact for a uniform medium.

    Raises:
        InputError: with everything that is wrong.

    Example:
        >>> layers = jnp.where(jnp.arange(8)[:, None] < 4, 1.0, 10.0) * jnp.ones((8, 1))
        >>> waves = jnp.array([0.0, 0.4])
        >>> [round(float(each), 4) for each in nonlocal_diffusivity(layers, waves, consumption=0.1).diffusivity]
        [1.9151, 2.0021]
    """
    edge = _edge(spacing)
    findings = [wave_numbers_finding(wave_numbers, edge), consumption_finding(consumption)]
    array, edges = checked_cell(coefficient, spacing, "nonlocal diffusivity", findings)
    given = [jnp.asarray(each, float) for each in (wave_numbers, consumption)]
    return _nonlocal_diffusivity(array, *given, tolerance, edges, max_iterations)


def _edge(spacing) -> float | None:
    """Of a voxel along the first axis, where the spacing says it; what is wrong with it others say."""
    if spacing is None:
        return 1.0
    try:
        return float(np.ravel(np.asarray(spacing, float))[0])
    except (TypeError, ValueError, IndexError):
        return None


@partial(jax.jit, static_argnames=("edges", "max_iterations"))
def _nonlocal_diffusivity(coefficient, wave_numbers, consumption, tolerance, edges, max_iterations):
    value = jax.lax.stop_gradient(coefficient)
    least, voxels = least_ratio(value, mean_matrix(value)), np.prod(coefficient.shape[: len(edges)])
    sound = is_sound(value)

    def closure(wave_number):
        given = Modulated(coefficient, consumption, wave_number)
        found = modulated_corrector(given, edges, tolerance, max_iterations)
        energy = _stationary(given, found.values, edges)
        finite = jnp.isfinite(wave_number) & (consumption >= 0) & (consumption < jnp.inf)
        result = solution_result(sound, finite, found.converged)
        error = found.residual / (least * voxels)
        return NonlocalDiffusivity(jnp.where(result == 0, energy, jnp.nan), error, found.iterations, result)

    return jax.lax.map(closure, wave_numbers)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _stationary(given: Modulated, corrector: Array, edges) -> Array:
    """The energy of a corrector that makes it stationary, so that a change of this changes nothing."""
    return modulated_energy(given, corrector, edges)


@_stationary.defjvp
def _stationary_tangent(edges, primals, tangents):
    given, corrector = primals
    _, tangent = jax.jvp(lambda each: modulated_energy(each, corrector, edges), (given,), (tangents[0],))
    return _stationary(given, corrector, edges), tangent


class NonlocalKernel(NamedTuple):
    """What `nonlocal_kernel` finds: the closure on a periodic line of nodes.

    Args:
        weights: `(n,)`, by distance 0, 1, 2, ... steps, periodic and even: the mean flux is minus the sum of weights
            times gradients. Their sum is the diffusivity of a uniform gradient. NaN where `result` is not zero.
        consumption: rate of first order, for which the weights are.
        step: between nodes.
        result: 0, or a code of `SENTENCES`.
    """

    weights: Array
    consumption: Array
    step: Array
    result: Array


def nonlocal_kernel(
    coefficient: AnyArray,
    *,
    cells: int,
    consumption: Numbers = 0.0,
    spacing=None,
    tolerance: float = 1e-8,
    max_iterations: int = 2000,
) -> NonlocalKernel:
    """D(xi) in space, on a periodic line of whole cells along the first axis. Traceable and differentiable.

    Args:
        coefficient: diffusivity of one cell, as in `nonlocal_diffusivity`.
        cells: of the line, `cells * nx` nodes.
        consumption: rate of first order.
        spacing: edges `(d,)` of a voxel; default equal ones.
        tolerance, max_iterations: of the conjugate gradients, for each of `cells * nx / 2` wave numbers.

    Returns:
        See `NonlocalKernel`.

    Raises:
        InputError: with everything that is wrong.
    """
    findings = [cells_finding(cells), consumption_finding(consumption)]
    array, edges = checked_cell(coefficient, spacing, "nonlocal kernel", findings)
    nodes, rate = cells * array.shape[0], jnp.asarray(consumption, float)
    found = _nonlocal_diffusivity(array, _waves(nodes, edges[0]), rate, tolerance, edges, max_iterations)
    result = jnp.max(found.result)
    weights = jnp.where(result == 0, jnp.fft.irfft(found.diffusivity, nodes), jnp.nan)
    return NonlocalKernel(weights, rate, jnp.asarray(edges[0]), result)


def _waves(nodes: int, step: Numbers) -> Array:
    return 2 * jnp.pi * jnp.arange(nodes // 2 + 1) / (nodes * step)


def nonlocal_profile(kernel: NonlocalKernel, source: Numbers) -> Array:
    """The mean concentration around a source, over all positions of the microstructure. Traceable and differentiable.

    That of a local diffusivity D is this with `kernel._replace(weights=jnp.zeros(n).at[0].set(D))`.

    Args:
        kernel: from `nonlocal_kernel`.
        source: amount per volume and time `(n,)` at the nodes of the kernel's line, the same for all places across:
            planes as wide as a vessel or an injection. Without consumption its mean has to be zero, as what enters
            stays.

    Returns:
        `(n,)`, without consumption that without a mean; NaN where the source is traced and has a mean that stays, or
        the kernel has failed.

    Raises:
        InputError: if the source is not of the kernel's nodes, not finite, or has a mean that stays.
    """
    shape = jnp.shape(kernel.weights)
    finding = numbers_finding("source", source, [shape], "values at the nodes of the kernel")
    if finding:
        raise InputError("nonlocal profile", [finding])
    values = jnp.asarray(source, float)
    stays = _stays(kernel, values)
    if not isinstance(stays, jax.core.Tracer) and stays:
        finding = "without consumption what enters stays; give a source whose mean is zero, or a consumption."
        raise InputError("nonlocal profile", [finding])
    return _mean_profile(kernel, values)


def _stays(kernel: NonlocalKernel, source: Array) -> Array:
    """Whether a source has a mean, beyond rounding, that nothing takes away."""
    return (kernel.consumption == 0) & (jnp.abs(jnp.mean(source)) > 1e-12 * jnp.max(jnp.abs(source)))


@jax.jit
def _mean_profile(kernel: NonlocalKernel, source: Array) -> Array:
    nodes = source.size
    squares = grid_wave_number(_waves(nodes, kernel.step), kernel.step) ** 2
    resistance = squares * jnp.fft.rfft(kernel.weights).real + kernel.consumption
    response = jnp.where(resistance == 0, 0.0, 1 / jnp.where(resistance == 0, 1.0, resistance))
    mean = jnp.fft.irfft(response * jnp.fft.rfft(source), nodes)
    return jnp.where(_stays(kernel, source), jnp.nan, mean)
