"""The cell problem of a modulated gradient: fields exp(i xi x) u(x) with periodic u, waves along the first axis.

On the grid exp(i xi x) has the differences i xi_h exp(i xi (x + h/2)) with the wave number of the grid
xi_h = 2 sin(xi h / 2) / h. A complex field is a pair of real ones `(2, *grid)`, in which the operator is symmetric.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..annotations import Numbers
from ..homogenisation.coefficients import dimension, matrices_first, mean_matrix, times
from ..homogenisation.elements import EXACT, differences_transposed, extended, forces, symbol
from .linear_solve import Solution, linear_solve
from .slabs import along

# Below this, relative to the largest, what the operator multiplies a wave with is the rounding of zero: without
# consumption a uniform field, which a wave has beside it whose length the cell's is a multiple of.
UNFELT = 1e-26


def grid_wave_number(wave_number: Array, edge: Numbers) -> Array:
    """What differences over an edge see of a wave number."""
    return 2 * jnp.sin(wave_number * edge / 2) / edge


def _pair(values: Array) -> Array:
    return jnp.stack([values.real, values.imag])


def _free_of_mean(pair: Array) -> Array:
    return pair - jnp.mean(pair, axis=tuple(range(1, pair.ndim)), keepdims=True)


class Modulated(NamedTuple):
    """What decides a cell problem: coefficient `(*grid[, d, d])`, consumption and wave number."""

    coefficient: Array
    consumption: Array
    wave_number: Array


def _phases(given: Modulated, edge: float) -> tuple[Array, Array]:
    """exp(i xi x) at nodes from one before the cell to one behind it, and in the middles of the voxels between."""
    places = edge * jnp.arange(-1, given.coefficient.shape[0] + 1)
    d = dimension(given.coefficient)
    middles = places[:-1] + edge / 2
    return along(jnp.exp(1j * given.wave_number * places), d), along(jnp.exp(1j * given.wave_number * middles), d)


def _first(given: Modulated) -> Array:
    return extended(matrices_first(given.coefficient), dimension(given.coefficient), before=True)


def _operator(given: Modulated, pair: Array, edges) -> Array:
    """-(grad + i xi) . D (grad + i xi) + k on pairs without a mean."""
    phases, _ = _phases(given, edges[0])
    nodes = phases * extended(pair[0] + 1j * pair[1], len(edges), before=True, after=True)
    loads = jnp.conj(phases[1:-1]) * forces(_first(given), nodes, edges, EXACT)
    return _free_of_mean(_pair(loads) + given.consumption * pair)


def _load(given: Modulated, edges) -> Array:
    """Of the unit gradient exp(i xi x)."""
    phases, middles = _phases(given, edges[0])
    first = _first(given)
    shape = first.shape[-len(edges) :]
    gradient = [middles * jnp.ones(shape)] + [jnp.zeros(shape, complex)] * (len(edges) - 1)
    fluxes = times(first, gradient)
    loads = differences_transposed({(i,): flux / edges[i] for i, flux in enumerate(fluxes)})
    return -_free_of_mean(_pair(jnp.conj(phases[1:-1]) * loads))


def _inverse(given: Modulated, edges):
    """The exact inverse of the operator for the mean coefficient."""
    d, shape = len(edges), given.coefficient.shape[: len(edges)]
    turns = list(jnp.meshgrid(*(2 * jnp.pi * jnp.arange(n) / n for n in shape), indexing="ij", sparse=True))
    turns[0] = turns[0] + given.wave_number * edges[0]
    steps = [jnp.exp(1j * turn) - 1 for turn in turns]
    feels = symbol(mean_matrix(given.coefficient), steps, edges, EXACT) + given.consumption
    felt = feels > UNFELT * jnp.max(feels)
    inverse = jnp.where(felt, 1 / jnp.where(felt, feels, 1.0), 0.0).at[(0,) * d].set(0.0)
    axes = tuple(range(d))

    def precondition(pair: Array) -> Array:
        return _pair(jnp.fft.ifftn(jnp.fft.fftn(pair[0] + 1j * pair[1], axes=axes) * inverse, axes=axes))

    return precondition


def modulated_corrector(given: Modulated, edges, tolerance: Array, max_iterations: int) -> Solution:
    """The corrector of the unit gradient exp(i xi x), as a pair `(2, *grid)`."""
    return linear_solve(
        partial(_operator, edges=edges),
        partial(_inverse, edges=edges),
        given,
        _load(given, edges),
        tolerance,
        max_iterations,
    )


def modulated_energy(given: Modulated, corrector: Array, edges) -> Array:
    """<(E + grad chi)* D (E + grad chi)> + k <|chi|^2> with E = exp(i xi x) along the first axis, for any corrector."""
    excess = jnp.vdot(corrector, _operator(given, corrector, edges)) - 2 * jnp.vdot(_load(given, edges), corrector)
    return mean_matrix(given.coefficient)[0, 0] + excess / corrector[0].size


def second_corrector(coefficient: Array, edges, tolerance: Array, max_iterations: int) -> Array:
    """The part of a concentration that goes with c'' of a macroscopic one, `(*grid)`, without a mean.

    exp(i xi x) (1 + i xi chi) has chi + i xi chi_2 in place of chi to the next order in xi.
    """

    def imaginary(wave_number):
        given = Modulated(coefficient, jnp.zeros(()), wave_number)
        return modulated_corrector(given, edges, tolerance, max_iterations).values[1]

    return jax.jvp(imaginary, (jnp.zeros(()),), (jnp.ones(()),))[1]
