"""The resolved problem: -div(D(x) grad c) + k c = f in a slab of whole periodic cells between two walls."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..annotations import AnyArray, Numbers
from ..homogenisation.coefficients import dimension, is_sound
from .checks import cells_finding, checked_cell, consumption_finding, numbers_finding, source_finding
from .codes import solution_result
from .slabs import along, repeated, solve_slab


class ResolvedProblem(NamedTuple):
    """What `resolved_problem` finds.

    Args:
        concentration: `(cells * nx + 1, ny[, nz])` at the nodes, both walls included; NaN where `result` is not zero.
        iterations: of the conjugate gradients.
        result: 0, or a code of `SENTENCES`.
    """

    concentration: Array
    iterations: Array
    result: Array


def resolved_problem(
    coefficient: AnyArray,
    source: Numbers = 0.0,
    *,
    cells: int,
    consumption: Numbers = 0.0,
    walls: Numbers | Sequence[Numbers] = (0.0, 0.0),
    spacing=None,
    tolerance: float = 1e-10,
    max_iterations: int = 2000,
) -> ResolvedProblem:
    """The concentration in a slab of periodic cells between two walls, with the microstructure resolved.

    Across, the slab is periodic. Traceable, and differentiable by the coefficient, source, consumption and wall values.

    Args:
        coefficient: diffusivity of one cell, `(nx, ny[, nz])` or matrices `(nx, ny[, nz], d, d)`; walls are across the
            first axis.
        source: amount per volume and time at the nodes, a number, `(cells * nx + 1,)` or of the concentration's shape.
        cells: of which the slab is made; epsilon is one over their number.
        consumption: rate k of first order, in unit of diffusivity per square of that of `spacing`.
        walls: concentrations `(2,)` at both walls.
        spacing: edges `(d,)` of a voxel; default equal ones.
        tolerance: of the residual in the norm of the preconditioner, relative to that at the start.
        max_iterations: of the conjugate gradients.

    Returns:
        See `ResolvedProblem`.

    Raises:
        InputError: with everything that is wrong.

    Example:
        >>> layers = jnp.where(jnp.arange(8)[:, None] < 4, 1.0, 10.0) * jnp.ones((8, 2))
        >>> found = resolved_problem(layers, cells=3, walls=(0.0, 1.0))
        >>> (found.concentration[8::8, 0] * 3).round(6).tolist()
        [1.0, 2.0, 3.0]
    """
    findings = [
        cells_finding(cells),
        consumption_finding(consumption),
        numbers_finding("walls", walls, [(2,)], "the concentrations at both walls"),
        source_finding(source, coefficient, cells),
    ]
    array, edges = checked_cell(coefficient, spacing, "resolved problem", findings)
    given = [jnp.asarray(value, float) for value in (source, consumption, walls)]
    return _resolved(array, *given, tolerance, cells, edges, max_iterations)


@partial(jax.jit, static_argnames=("cells", "edges", "max_iterations"))
def _resolved(cell, source, consumption, walls, tolerance, cells, edges, max_iterations) -> ResolvedProblem:
    inner = along(source[1:-1] if source.ndim else source, dimension(cell))
    nodes, solution = solve_slab(repeated(cell, cells), walls, inner, edges, consumption, tolerance, max_iterations)
    finite = jnp.all(jnp.isfinite(source)) & jnp.all(jnp.isfinite(walls)) & (consumption >= 0) & (consumption < jnp.inf)
    result = solution_result(is_sound(cell), finite, solution.converged)
    return ResolvedProblem(jnp.where(result == 0, nodes, jnp.nan), solution.iterations, result)
