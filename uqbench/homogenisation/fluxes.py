"""Fluxes that are free of divergence, for the lower bound: the lowest order Raviart-Thomas elements on voxels.

A flux has one value on each face, the component across it, and is linear in between along that component's axis. Its
divergence in each voxel is the difference of values on opposite faces, which an orthogonal projection by FFT makes zero
exactly. By Thomson's principle the inverse effective tensor is the least energy <q D^-1 q> of such fluxes with a given
mean, so that any of them gives an upper bound of the inverse.
"""

import jax
import jax.numpy as jnp
from jax import Array

from .coefficients import matrices_first, mean_matrix, times
from .conjugate_gradients import Iteration, conjugate_gradients
from .elements import EXACT, frequencies

# Fluxes `(d, *grid)` are given on the faces at the first corner of each voxel.


def _means_and_differences(flux: Array) -> tuple[list[Array], list[Array]]:
    after = [jnp.roll(component, -1, axis) for axis, component in enumerate(flux)]
    pairs = list(zip(flux, after, strict=True))
    return [(a + b) / 2 for a, b in pairs], [b - a for a, b in pairs]


def _diagonal(resistivity: Array, i: int, d: int) -> Array:
    return resistivity if resistivity.ndim == d else resistivity[i, i]


def mass(resistivity: Array, flux: Array) -> Array:
    """The quadratic form of the energy applied to a flux; the resistivity has its matrices first."""
    d = flux.shape[0]
    means, differences = _means_and_differences(flux)
    fields = times(resistivity, means)
    result = []
    for i in range(d):
        slope = EXACT * _diagonal(resistivity, i, d) * differences[i]
        result.append(fields[i] / 2 - slope + jnp.roll(fields[i] / 2 + slope, 1, i))
    return jnp.stack(result)


def solenoidal_inverse(resistivity: Array, edges: tuple[float, ...]):
    """The inverse of `mass` for the diagonal of the mean resistivity, among fluxes without divergence and mean."""
    shape = resistivity.shape[: len(edges)]
    mean, steps, axes = jnp.diag(mean_matrix(resistivity)), frequencies(shape), tuple(range(1, len(edges) + 1))
    # |mean|^2 + |difference|^2 / 12 of the two faces of a voxel
    weights = [mean[i] * (jnp.abs(step + 2) ** 2 / 4 + EXACT * jnp.abs(step) ** 2) for i, step in enumerate(steps)]
    slopes = [step / edge for step, edge in zip(steps, edges, strict=True)]
    total = sum(jnp.abs(slope) ** 2 / weight for slope, weight in zip(slopes, weights, strict=True))
    moving = total > 0

    def precondition(load: Array) -> Array:
        scaled = [component / weight for component, weight in zip(jnp.fft.rfftn(load, axes=axes), weights, strict=True)]
        pressure = sum(slope * part for slope, part in zip(slopes, scaled, strict=True)) / jnp.where(moving, total, 1.0)
        free = [
            jnp.where(moving, part - jnp.conj(slope) / weight * pressure, 0.0)
            for part, slope, weight in zip(scaled, slopes, weights, strict=True)
        ]
        return jnp.fft.irfftn(jnp.stack(free), s=shape, axes=axes)

    return precondition


def solenoidal(flux: Array, edges: tuple[float, ...]) -> Array:
    """The orthogonal projection of a flux `(d, *grid)` to those without divergence and mean."""
    d, shape, axes = len(edges), flux.shape[1:], tuple(range(1, flux.ndim))
    slopes = [step / edge for step, edge in zip(frequencies(shape), edges, strict=True)]
    total = sum(jnp.abs(slope) ** 2 for slope in slopes)
    parts, moving = jnp.fft.rfftn(flux, axes=axes), total > 0
    pressure = sum(slopes[i] * parts[i] for i in range(d)) / jnp.where(moving, total, 1.0)
    free = [jnp.where(moving, parts[i] - jnp.conj(slopes[i]) * pressure, 0.0) for i in range(d)]
    return jnp.fft.irfftn(jnp.stack(free), s=shape, axes=axes)


# Loads below this, relative to those of uniform fluxes and squared, are rounding: nothing is left to be minimised.
NEGLIGIBLE = 1e-14


def solve_fluxes(resistivity: Array, edges, reduction: float, max_iterations: int) -> Iteration:
    """Fluxes `(d, d, *grid)` with unit means along each axis, as the mean plus what `solution` holds.

    Args:
        resistivity: inverse of the coefficient, `(*grid[, d, d])`. reduction: of the squared residual.
    """
    first, precondition, d = matrices_first(resistivity), solenoidal_inverse(resistivity, edges), len(edges)
    shape = resistivity.shape[:d]

    def flux(direction):
        mean = uniform(direction, shape)
        load = -mass(first, mean)
        limit = jnp.maximum(reduction * jnp.vdot(load, precondition(load)), NEGLIGIBLE * -jnp.vdot(load, mean))
        end = conjugate_gradients(
            lambda change: mass(first, change), precondition, load, limit=limit, max_iterations=max_iterations
        )
        # A search direction that is rounding alone has a divergence as large as itself. The bound rests on there being
        # none, and not on how it was found.
        return end._replace(solution=solenoidal(end.solution, edges))

    return jax.vmap(flux)(jnp.eye(d))


def uniform(direction: Array, shape: tuple[int, ...]) -> Array:
    """A vector in every voxel, `(d, *grid)`."""
    return direction.reshape((-1, *[1] * len(shape))) * jnp.ones(shape)


def flux_energies(resistivity: Array, changes: Array) -> Array:
    """`(d, d)`: <q_i D^-1 q_j> of fluxes with unit means plus `changes`."""
    first, d, shape = matrices_first(resistivity), changes.shape[0], changes.shape[2:]
    fluxes = jax.vmap(uniform, (0, None))(jnp.eye(d), shape) + changes
    loads = jax.vmap(lambda flux: mass(first, flux))(fluxes)
    return jnp.tensordot(fluxes.reshape(d, -1), loads.reshape(d, -1), (1, 1)) / changes[0, 0].size
