"""What a slab of periodic cells is to its walls: the cell's corrector, the layers at the walls, and their shift.

Away from walls the concentration over a uniform gradient is x + chi, with the corrector chi of the cell. At a wall that
holds the concentration a boundary layer is added: it takes off chi there, and tends exponentially fast to a constant,
which is a length in the unit of the spacing (Allaire & Amar 1999, doi:10.1051/cocv:1999110; Gerard-Varet & Masmoudi
2012, doi:10.1007/s11511-012-0083-5). A macroscopic profile follows x plus this constant, as if the wall lay so much
further outside. Both layers are read from one strip of cells with the concentration zero at one wall and one at the
other.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..annotations import AnyArray
from ..homogenisation import Ending as CellEnding
from ..homogenisation.coefficients import dimension, grid_shape, is_sound
from ..homogenisation.effective import solve_correctors, stationary_energy
from ..homogenisation.elements import EXACT
from .checks import cells_finding, checked_cell
from .codes import Ending, first_failure
from .slabs import along, mean_flux, repeated, repeated_nodes, solve_slab
from .waves import second_corrector

# The error of a shift, relative to the cell's length, from which on the layers count as not decayed.
UNDECAYED = 1e-2


class WallLaw(NamedTuple):
    """What `wall_law` finds; of the first axis, NaN where `result` is not zero.

    Args:
        diffusivity: effective one across the slab, an upper bound for the continuum (conforming elements).
        corrector: `(nx, ny[, nz])` at the first corner of each voxel for a unit gradient, without a mean, in the unit
            of the spacing.
        shifts: `(2,)`, how far outside the walls a macroscopic profile takes its wall values, in the unit of the
            spacing.
        layers: `(2, nodes, ny[, nz])` at the nodes from the wall inwards to the middle of the strip: what the boundary
            layer adds to x + chi + shift.
        error: `(2,)`, of the shifts: the largest value of the layers in the last cell. It knows nothing of the error
            of the grid.
        second: mean square of the corrector of second order, which goes with c'' and the square of that unit.
        length: of a cell along the first axis.
        result: 0, or a code of `SENTENCES`.
    """

    diffusivity: Array
    corrector: Array
    shifts: Array
    layers: Array
    error: Array
    second: Array
    length: Array
    result: Array


def wall_law(
    coefficient: AnyArray,
    *,
    cells: int | None = None,
    spacing=None,
    tolerance: float = 1e-10,
    max_iterations: int = 2000,
) -> WallLaw:
    """How a wall that holds the concentration is seen by a macroscopic profile. Traceable and differentiable.

    The wall cuts the medium at the start of the cell, and where whole cells end: roll the coefficient along its first
    axis for another cut. With `homogenised_profile(..., shifts=law.shifts)` the error of a profile away from the wall
    falls from first to second order in the size of the cells.

    Args:
        coefficient: diffusivity of one cell, `(nx, ny[, nz])` or matrices `(nx, ny[, nz], d, d)`; walls are across the
            first axis.
        cells: in the strip, an even number; default one that is four times as long as the cell is wide, at least 4.
        spacing: edges `(d,)` of a voxel; default equal ones.
        tolerance: of the residuals in the norm of the preconditioner, relative to those at the start.
        max_iterations: of each of the conjugate gradients.

    Returns:
        See `WallLaw`.

    Raises:
        InputError: with everything that is wrong.

    Example:
        >>> layers = jnp.where(jnp.arange(8)[:, None] < 4, 1.0, 10.0) * jnp.ones((8, 1))
        >>> wall_law(layers).shifts.round(6).tolist()  # of a laminate chi at the wall, with the other sign
        [1.636364, -1.636364]
    """
    findings = [] if cells is None else [cells_finding(cells, 2) or _odd_finding(cells)]
    array, edges = checked_cell(coefficient, spacing, "wall law", findings)
    lengths = np.multiply(grid_shape(array), edges)
    return _wall_law(array, tolerance, cells or _default_cells(lengths), edges, max_iterations)


def _odd_finding(cells: int) -> str | None:
    return f"cells is {cells}; give an even number, half of the strip for each wall." if cells % 2 else None


def _default_cells(lengths: np.ndarray) -> int:
    return max(4, 2 * int(np.ceil(2 * lengths[1:].max() / lengths[0])))


@partial(jax.jit, static_argnames=("cells", "edges", "max_iterations"))
def _wall_law(cell, tolerance, cells, edges, max_iterations) -> WallLaw:
    d, count = dimension(cell), cell.shape[0]
    found = solve_correctors(cell, edges, tolerance**2, max_iterations, EXACT, relative=True)
    diffusivity = stationary_energy(cell, found.values, edges, EXACT)[0, 0]
    corrector, length = found.values[0], count * edges[0]
    strip, walls, none = repeated(cell, cells), jnp.array([0.0, 1.0]), jnp.zeros(())
    nodes, solution = solve_slab(strip, walls, none, edges, none, tolerance, max_iterations)
    # the profile of unit mean gradient, whose value at the second wall is the length that the slab seems to have
    seeming = diffusivity / mean_flux(strip, nodes, edges)
    layer = nodes * seeming - along(edges[0] * jnp.arange(cells * count + 1), d) - repeated_nodes(corrector, cells)
    middle = cells // 2 * count
    inwards = jnp.stack([layer[: middle + 1], (layer - seeming + cells * length)[middle:][::-1]])
    over_cell = tuple(range(1, d + 1))
    limits = jnp.mean(inwards[:, -count:], axis=over_cell)
    layers = inwards - limits.reshape(2, *[1] * d)
    error = jnp.max(jnp.abs(layers[:, -count:]), axis=over_cell)
    converged = solution.converged & jnp.all(found.iterations < max_iterations)
    result = first_failure(
        (is_sound(cell), CellEnding.BAD_COEFFICIENT),
        (converged, CellEnding.ITERATIONS),
        (jnp.all(error <= UNDECAYED * length), Ending.BOUNDARY_LAYERS),
    )
    second = jnp.mean(second_corrector(cell, edges, tolerance, max_iterations) ** 2)
    shifts = limits * jnp.array([1.0, -1.0])
    law = WallLaw(diffusivity, corrector, shifts, layers, error, second, jnp.asarray(length), result)
    sound = jax.tree.map(lambda each: jnp.where(result == 0, each, jnp.nan), law)
    return sound._replace(length=law.length, result=result)
