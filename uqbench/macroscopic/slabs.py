"""Elements on a slab: voxels between two walls across the first axis, periodic along the others.

Values are at the nodes `(voxels + 1, *across)`, both walls included. The preconditioner is the exact inverse for a
constant coefficient: a slab between walls of value zero is half of a period of a function that is odd about both, so
that the FFT of its odd continuation diagonalises the operator. There normal and tangential directions have to decouple,
for which the entries of the mean that couple them are left out. The consumption is lumped at the nodes.
"""

import jax.numpy as jnp
from jax import Array

from ..homogenisation.coefficients import matrices_first, mean_matrix, times
from ..homogenisation.elements import (
    EXACT,
    ONE_POINT,
    block,
    extended,
    forces,
    frequencies,
    gradients,
    symbol,
)
from .linear_solve import Solution, linear_solve


def repeated(cell: Array, cells: int) -> Array:
    """A coefficient of one cell for a slab of many."""
    return jnp.concatenate([cell] * cells)


def repeated_nodes(values: Array, cells: int) -> Array:
    """Periodic values at first corners of the voxels of a cell, at all nodes of a slab."""
    return jnp.concatenate([values] * cells + [values[:1]])


def along(profile: Array, d: int) -> Array:
    """A function of depth `(nodes,)` in a shape that broadcasts over the axes across; one of all places as it is."""
    return profile if profile.ndim in (0, d) else profile.reshape(-1, *[1] * (d - 1))


def _with_walls(inner: Array) -> Array:
    return jnp.pad(inner, [(1, 1)] + [(0, 0)] * (inner.ndim - 1))


def solve_slab(
    coefficient: Array, walls: Array, source: Array, edges, consumption: Array, tolerance: Array, max_iterations: int
) -> tuple[Array, Solution]:
    """The nodes of -div(D grad c) + k c = f, and how the solve for c less a line between the walls ended.

    Args:
        coefficient: `(voxels, *across[, d, d])`. walls: concentrations `(2,)`. source: broadcasts to the inner nodes.
    """
    d, parameters = len(edges), (coefficient, consumption)
    line = walls[0] + (walls[1] - walls[0]) * jnp.linspace(0.0, 1.0, coefficient.shape[0] + 1)
    lift = along(line, d) * jnp.ones((line.size, *coefficient.shape[1:d]))
    solution = linear_solve(
        lambda given, inner: _inner_loads(given, _with_walls(inner), edges),
        lambda given: _odd_inverse(given, edges),
        parameters,
        source - _inner_loads(parameters, lift, edges),
        tolerance,
        max_iterations,
    )
    return lift + _with_walls(solution.values), solution


def _inner_loads(parameters: tuple[Array, Array], nodes: Array, edges) -> Array:
    """-div(D grad c) + k c at the nodes between the walls."""
    (coefficient, consumption), across = parameters, len(edges) - 1
    first = extended(matrices_first(coefficient), across, before=True)
    padded = extended(nodes, across, before=True, after=True)
    return forces(first, padded, edges, EXACT) + consumption * nodes[1:-1]


def _odd_inverse(parameters: tuple[Array, Array], edges):
    """The exact inverse for the mean coefficient, without coupling of normal and tangential directions."""
    (coefficient, consumption), d = parameters, len(edges)
    normal = jnp.arange(d) == 0
    mean = jnp.where(normal[:, None] == normal, mean_matrix(coefficient), 0.0)
    voxels, across = coefficient.shape[0], coefficient.shape[1:d]
    shape = (2 * voxels, *across)
    feels = symbol(mean, frequencies(shape), edges, EXACT) + consumption
    inverse = jnp.where(feels > 0, 1 / jnp.where(feels > 0, feels, 1.0), 0.0)
    axes = tuple(range(d))

    def precondition(load: Array) -> Array:
        wall = jnp.zeros_like(load[:1])
        odd = jnp.concatenate([wall, load, wall, -load[::-1]])
        return jnp.fft.irfftn(inverse * jnp.fft.rfftn(odd, axes=axes), s=shape, axes=axes)[1:voxels]

    return precondition


def mean_flux(coefficient: Array, nodes: Array, edges) -> Array:
    """The mean of D grad c along the first axis."""
    ((_, _, gradient),) = gradients(extended(nodes, len(edges) - 1, after=True), edges, ONE_POINT)
    return jnp.mean(times(matrices_first(coefficient), list(gradient))[0])


def energy_density(coefficient: Array, nodes: Array, edges) -> Array:
    """grad c . D grad c in each layer of voxels, mean across: `(voxels,)`."""
    first, d = matrices_first(coefficient), len(edges)
    across = tuple(range(1, d))
    total = jnp.zeros(nodes.shape[0] - 1)
    for power, rest, gradient in gradients(extended(nodes, d - 1, after=True), edges, EXACT):
        flux = times(block(first, rest, d), list(gradient))
        total = total + power * sum(jnp.mean(g * f, axis=across) for g, f in zip(gradient, flux, strict=True))
    return total


def square_density(nodes: Array) -> Array:
    """c^2 in each layer of voxels, mean across, by the rule of the trapezium: `(voxels,)`."""
    layers = jnp.mean(nodes**2, axis=tuple(range(1, nodes.ndim)))
    return (layers[1:] + layers[:-1]) / 2
