"""How wrong a homogenised profile is, measured against the resolved problem with smaller and smaller cells."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..annotations import AnyArray, Numbers
from ..homogenisation.coefficients import dimension
from .checks import cells_finding, checked_cell, consumption_finding, numbers_finding
from .corrected import corrected_field, scaled
from .homogenised import homogenised_profile
from .resolved import resolved_problem
from .slabs import along, energy_density, repeated, square_density
from .wall_law import wall_law

# The part of the slab at each wall that the interior leaves out.
MARGIN = 0.25


class EpsilonErrors(NamedTuple):
    """What `errors_in_epsilon` finds: `(len(cells),)` each, relative to the same norm of the resolved concentration.

    Args:
        epsilon: length of a cell relative to the slab.
        profile: of c_0 in the mean square: order one.
        corrector: of c_0 + chi c_0' in the energy: order one half.
        interior: the same without a quarter of the slab at each wall: order one.
        layers: in the energy, with shifted walls and boundary layers: order one.
        mean: of the means over cells of c_0 in the interior: order one.
        shifted_mean: the same with shifted walls: order two.
        result: 0, or a code of `SENTENCES`, for each.
    """

    epsilon: Array
    profile: Array
    corrector: Array
    interior: Array
    layers: Array
    mean: Array
    shifted_mean: Array
    result: Array


def errors_in_epsilon(
    coefficient: AnyArray,
    source: Callable[[Array], Array],
    *,
    cells: Sequence[int] = (4, 8, 16, 32),
    consumption: Numbers = 0.0,
    walls: Numbers | Sequence[Numbers] = (0.0, 0.0),
    spacing=None,
    tolerance: float = 1e-10,
    max_iterations: int = 2000,
) -> EpsilonErrors:
    """Errors of the homogenised problem and its corrections in a slab of length one with more and more cells.

    Both problems are on the same grid, with the same elements, so that scales are compared and not grids. The orders
    are those of Allaire & Amar (1999, doi:10.1051/cocv:1999110), that of shifted means follows from the same expansion.

    Args:
        coefficient: diffusivity of one cell, as in `resolved_problem`.
        source: of the depth from 0 to 1, `(nodes,)` to `(nodes,)`.
        cells: numbers of cells of the slabs, multiples of 4.
        consumption: rate of first order, relative to the diffusivity and a slab of length one.
        walls: concentrations `(2,)` at both walls.
        spacing: edges `(d,)` of a voxel, up to a factor; default equal ones.
        tolerance, max_iterations: of the conjugate gradients.

    Returns:
        See `EpsilonErrors`. Slopes are those of `np.polyfit(np.log(epsilon), np.log(error), 1)`.

    Raises:
        InputError: with everything that is wrong.
    """
    findings = [*map(_quarters_finding, cells), consumption_finding(consumption)]
    findings.append(numbers_finding("walls", walls, [(2,)], "the concentrations at both walls"))
    array, edges = checked_cell(coefficient, spacing, "errors in epsilon", findings)
    law = wall_law(array, spacing=edges, tolerance=tolerance, max_iterations=max_iterations)
    rate, held = jnp.asarray(consumption, float), jnp.asarray(walls, float)
    loads = [source(jnp.linspace(0.0, 1.0, number * array.shape[0] + 1)) for number in cells]
    rows = [
        _errors(array, law, load, rate, held, tolerance, number, edges, max_iterations)
        for number, load in zip(cells, loads, strict=True)
    ]
    return EpsilonErrors(1 / jnp.asarray(cells, float), *map(jnp.stack, zip(*rows, strict=True)))


def _quarters_finding(cells) -> str | None:
    finding = cells_finding(cells, 4)
    if finding is None and cells % 4:
        return f"cells is {cells}; give a multiple of 4, whose interior without a quarter at each wall is whole cells."
    return finding


@partial(jax.jit, static_argnames=("cells", "edges", "max_iterations"))
def _errors(cell, law, load, consumption, walls, tolerance, cells, edges, max_iterations) -> tuple[Array, ...]:
    """One row of `EpsilonErrors` without epsilon."""
    count, d = cell.shape[0], dimension(cell)
    size = 1 / (cells * count * edges[0])
    small, spacing = scaled(law, size), tuple(size * edge for edge in edges)
    resolved = resolved_problem(
        cell,
        load,
        cells=cells,
        consumption=consumption,
        walls=walls,
        spacing=spacing,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    macroscopic = partial(homogenised_profile, law.diffusivity, load, length=1.0, consumption=consumption, walls=walls)
    plain, shifted = macroscopic(), macroscopic(shifts=small.shifts)
    slab, c = repeated(cell, cells), resolved.concentration
    inside = slice(int(MARGIN * cells) * count, int((1 - MARGIN) * cells) * count)

    def energy(field, part=slice(None)):
        densities = [energy_density(slab, each, spacing)[part] for each in (c - field, c)]
        return jnp.sqrt(jnp.sum(densities[0]) / jnp.sum(densities[1]))

    def means(nodes):
        across = jnp.mean(nodes, axis=tuple(range(1, nodes.ndim)))
        return jnp.mean(((across[1:] + across[:-1]) / 2)[inside].reshape(-1, count), axis=1)

    def of_means(profile):
        return jnp.linalg.norm(means(c) - means(profile)) / jnp.linalg.norm(means(c))

    corrected = corrected_field(plain, small).corrector
    difference = c - along(plain.concentration, d)
    return (
        jnp.sqrt(jnp.sum(square_density(difference)) / jnp.sum(square_density(c))),
        energy(corrected),
        energy(corrected, inside),
        energy(corrected_field(shifted, small).layers),
        of_means(plain.concentration),
        of_means(shifted.concentration),
        jnp.where(law.result == 0, resolved.result, law.result),
    )
