"""The cell problem of a modulated gradient: fields exp(i xi x) u(x) with periodic u, waves along the first axis.

On the grid exp(i xi x) has the differences i xi_h exp(i xi (x + h/2)) with the wave number of the grid
xi_h = 2 sin(xi h / 2) / h. A complex field is a pair of real ones `(2, *grid)`, in which the operator is symmetric.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..homogenisation.coefficients import dimension, matrices_first, mean_matrix, times
from ..homogenisation.elements import EXACT, differences_transposed, extended, forces, symbol
from .linear_solve import Solution, linear_solve
from .slabs import along

# Below this, relative to the largest, what the operator multiplies a wave with is the rounding of zero: without
# consumption a uniform field, which a wave has beside it whose length the cell's is a multiple of.
UNFELT = 1e-26


def grid_wave_number(wave_number: Array, edge: float) -> Array:
    """What differences over an edge see of a wave number."""
    return 2 * jnp.sin(wave_number * edge / 2) / edge


def _pair(values: Array) -> Array:
    return jnp.stack([values.real, values.imag])


def _free_of_mean(pair: Array) -> Array:
    return pair - jnp.mean(pair, axis=tuple(range(1, pair.ndim)), keepdims=True)


def modulated_problem(coefficient: Array, edges, consumption: Array, wave_number: Array):
    """The symmetric operator -(grad + i xi) . D (grad + i xi) + k on pairs without a mean, and the load of the unit
    gradient exp(i xi x)."""
    d, count = dimension(coefficient), coefficient.shape[0]
    first = extended(matrices_first(coefficient), d, before=True)
    # nodes from one before the cell to one behind it, and the middles of the voxels between them
    places = edges[0] * jnp.arange(-1, count + 1)
    phases = along(jnp.exp(1j * wave_number * places), d)
    middles = along(jnp.exp(1j * wave_number * (places[:-1] + edges[0] / 2)), d)

    def back(loads: Array) -> Array:
        return _free_of_mean(_pair(jnp.conj(phases[1:-1]) * loads))

    def operator(pair: Array) -> Array:
        nodes = phases * extended(pair[0] + 1j * pair[1], d, before=True, after=True)
        return back(forces(first, nodes, edges, EXACT)) + consumption * _free_of_mean(pair)

    shape = first.shape[-d:]
    gradient = [middles * jnp.ones(shape)] + [jnp.zeros(shape, complex)] * (d - 1)
    fluxes = times(first, gradient)
    return operator, -back(differences_transposed({(i,): flux / edges[i] for i, flux in enumerate(fluxes)}))


def modulated_inverse(coefficient: Array, edges, consumption: Array, wave_number: Array):
    """The exact inverse of the operator for the mean coefficient."""
    d, shape = dimension(coefficient), coefficient.shape[: len(edges)]
    turns = [
        jnp.reshape(2 * np.pi * np.arange(n) / n, [-1 if a == i else 1 for a in range(d)]) for i, n in enumerate(shape)
    ]
    turns[0] = turns[0] + wave_number * edges[0]
    steps = [jnp.exp(1j * turn) - 1 for turn in turns]
    feels = symbol(mean_matrix(coefficient), steps, edges, EXACT) + consumption
    inverse = jnp.where(feels > UNFELT * jnp.max(feels), 1 / feels, 0.0).at[(0,) * d].set(0.0)
    axes = tuple(range(d))

    def precondition(pair: Array) -> Array:
        return _pair(jnp.fft.ifftn(jnp.fft.fftn(pair[0] + 1j * pair[1], axes=axes) * inverse, axes=axes))

    return precondition


def modulated_corrector(
    coefficient: Array, edges, consumption: Array, wave_number: Array, tolerance: Array, max_iterations: int
) -> Solution:
    """The corrector of the unit gradient exp(i xi x), as a pair `(2, *grid)`."""
    operator, load = modulated_problem(coefficient, edges, consumption, wave_number)
    fixed = jax.lax.stop_gradient((coefficient, consumption, wave_number))
    precondition = modulated_inverse(fixed[0], edges, *fixed[1:])
    return linear_solve(operator, precondition, load, tolerance, max_iterations)


def modulated_energy(coefficient: Array, consumption: Array, wave_number: Array, corrector: Array, edges) -> Array:
    """<(E + grad chi)* D (E + grad chi)> + k <|chi|^2> with E = exp(i xi x) along the first axis, for any corrector."""
    operator, load = modulated_problem(coefficient, edges, consumption, wave_number)
    excess = jnp.vdot(corrector, operator(corrector)) - 2 * jnp.vdot(load, corrector)
    return mean_matrix(coefficient)[0, 0] + excess / corrector[0].size


def second_corrector(coefficient: Array, edges, tolerance: Array, max_iterations: int) -> Array:
    """The part of a concentration that goes with c'' of a macroscopic one, `(*grid)`, without a mean.

    exp(i xi x) (1 + i xi chi) has chi + i xi chi_2 in place of chi to the next order in xi.
    """

    def imaginary(wave_number):
        return modulated_corrector(coefficient, edges, jnp.zeros(()), wave_number, tolerance, max_iterations).values[1]

    return jax.jvp(imaginary, (jnp.zeros(()),), (jnp.ones(()),))[1]
