"""Diffusion in two rectangles side by side, on grids that need not match, joined by Lagrange multipliers.

On each side -div(D grad c) + k c = q. On the interface the flux from the first side into the second is one function,
the multiplier m, and in the mean over each function that m is made of c_1 - K c_2 = m / P: K is the partition
coefficient, P the permeability. In bilinear elements this is the saddle point

    D_1 (grad c_1, grad v) + k_1 (c_1, v) + (m, v) = (q_1, v)
    D_2 (grad c_2, grad w) + k_2 (c_2, w) - (m, w) = (q_2, w)
    (n, c_1 - K c_2) - (n, m) / P = 0,

so that what leaves one side enters the other whatever the grids (Ben Belgacem 1999, Numer. Math. 84, 173; `traces` says
which multipliers are stable). Concentrations are given where the rectangles end along x, no flux passes along y.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from jax import Array

from ..annotations import Numbers
from ..errors import InputError
from .block_levels import Levels, levels_of, solve, times
from .checks import check_signs, relative
from .codes import Ending
from .grids import Rectangle, touching_findings
from .traces import Multipliers, Pairings


class MortarSolution(NamedTuple):
    """What `MortarInterface.steady` finds; NaN where `result` is not zero.

    Args:
        first, second: concentrations `(nx + 1, ny + 1)` at the points of both grids.
        flux: `(multipliers,)`, from the first to the second side, at `MortarInterface.flux_points`.
        crossing: the flux integrated over the interface.
        inflow, outflow: integrated over the outer sides, into the first and out of the second.
        mismatch: what leaves the first side less what enters the second, as each side's own equations have it,
            relative to the size of the flux.
        balance: inflow - outflow + sources - decay, relative to the sum of what flows, and is produced, at all points.
        residual: of the equations. result: 0, or a code of `SENTENCES`.
    """

    first: Array
    second: Array
    flux: Array
    crossing: Array
    inflow: Array
    outflow: Array
    mismatch: Array
    balance: Array
    residual: Array
    result: Array


@dataclass(frozen=True)
class MortarInterface:
    """Two rectangles, the second where the first ends along x.

    Args:
        first, second: with grids of their own. multipliers: what the flux is made of; other than those of one side
            serve to show what goes wrong.

    Raises:
        InputError: with all that is wrong with how they lie.

    Example:
        >>> joined = MortarInterface(Rectangle((0, 1), (0, 1), (4, 5)), Rectangle((1, 2), (0, 1), (6, 7)))
        >>> found = joined.steady(diffusivity=(1.0, 3.0), outer=(4.0, 0.0))
        >>> f"{found.crossing:.6f}"
        '3.000000'
    """

    first: Rectangle
    second: Rectangle
    multipliers: Multipliers = Multipliers.FIRST

    def __post_init__(self):
        findings = touching_findings(self.first, self.second, axis=0)
        if self.multipliers not in [*Multipliers]:
            findings.append(
                f"multipliers {self.multipliers!r}; known are {', '.join(map(repr, map(str, Multipliers)))}."
            )
        if findings:
            raise InputError("mortar interface", findings)
        object.__setattr__(self, "multipliers", Multipliers(self.multipliers))

    @property
    def flux_points(self) -> np.ndarray:
        """Where along y the values of the flux belong."""
        return _discretised(self).pairings.points

    def steady(
        self,
        *,
        diffusivity: tuple[Numbers, Numbers],
        outer: tuple[Numbers, Numbers],
        source: tuple[Numbers, Numbers] = (0.0, 0.0),
        decay: tuple[Numbers, Numbers] = (0.0, 0.0),
        partition: Numbers = 1.0,
        permeability: Numbers = jnp.inf,
    ) -> MortarSolution:
        """The steady state, traceable, with exact derivatives by all that is given; pairs are of both sides.

        Args:
            diffusivity: D. outer: concentration at the outer ends along x, a number or `(ny + 1,)`.
            source: q by volume and time, a number or values at the points `(nx + 1, ny + 1)`. decay: k.
            partition: K = c_1 / c_2 in equilibrium. permeability: P; infinite where nothing resists.

        Raises:
            InputError: numbers that are known before the run and have a sign that they cannot have.
        """
        positive = {"diffusivity": diffusivity, "partition": partition, "permeability": permeability}
        check_signs("mortar interface", positive=positive, nonnegative={"decay": decay})
        scalars = jnp.stack([jnp.asarray(each, float) for each in (*diffusivity, *decay, partition, permeability)])
        return _steady(self, scalars, outer, source)


class _Discretised(NamedTuple):
    """`terms`: matrices over all points and multipliers, with those of `_coefficients`. free, given: numbers of the
    points; `levels` the equations of the first."""

    terms: tuple[sparse.csr_array, ...]
    free: np.ndarray
    given: np.ndarray
    levels: Levels
    pairings: Pairings


def _line(points: np.ndarray) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Stiffness and mass of linear elements."""
    n, lengths = len(points), np.diff(points)
    left, right = sparse.eye_array(n - 1, n), sparse.eye_array(n - 1, n, k=1)
    slope, mean = right - left, right + left
    stiffness = slope.T @ sparse.diags_array(1 / lengths) @ slope
    # the mean square of a linear function: that of its middle and a twelfth of that of its difference
    mass = mean.T @ sparse.diags_array(lengths / 4) @ mean + slope.T @ sparse.diags_array(lengths / 12) @ slope
    return stiffness, mass


def _side(rectangle: Rectangle) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Stiffness and mass of bilinear elements, points along y following one another."""
    (along, mass_x), (across, mass_y) = (_line(rectangle.points(axis)) for axis in (0, 1))
    return sparse.kron(along, mass_y) + sparse.kron(mass_x, across), sparse.kron(mass_x, mass_y)


@lru_cache(maxsize=32)
def _discretised(domain: MortarInterface) -> _Discretised:
    sides = domain.first, domain.second
    columns, rows = [side.cells[0] + 1 for side in sides], [side.cells[1] + 1 for side in sides]
    pairings = Pairings(domain.multipliers, sides[0].points(1), sides[1].points(1))
    n1, n2, m = columns[0] * rows[0], columns[1] * rows[1], len(pairings.points)
    (stiffness1, mass1), (stiffness2, mass2) = map(_side, sides)
    first = sparse.coo_array((m, n1 - rows[0])), sparse.coo_array(pairings.first)
    second = sparse.coo_array(pairings.second), sparse.coo_array((m, n2 - rows[1]))
    B1, B2 = sparse.hstack(first), sparse.hstack(second)

    def blocks(first=None, second=None, below1=None, below2=None, right1=None, right2=None, own=None):
        empty = [sparse.coo_array((n, n)) for n in (n1, n2, m)]
        grid = [[first, None, right1], [None, second, right2], [below1, below2, own]]
        for i in range(3):
            grid[i][i] = empty[i] if grid[i][i] is None else grid[i][i]
        return sparse.csr_array(sparse.block_array(grid))

    terms = (
        blocks(first=stiffness1), blocks(second=stiffness2), blocks(first=mass1), blocks(second=mass2),
        blocks(below1=B1, right1=B1.T, right2=-B2.T), blocks(below2=-B2), blocks(own=-sparse.coo_array(pairings.own)),
    )  # fmt: skip
    # columns of the first side, multipliers with the first column of the second side, its others
    level = np.concatenate(
        [
            np.repeat(np.arange(columns[0]), rows[0]),
            np.repeat(columns[0] + np.arange(columns[1]), rows[1]),
            np.full(m, columns[0]),
        ]
    )
    outer = (level == 0) | (level == level.max())
    free, given = np.flatnonzero(~outer), np.flatnonzero(outer)
    levels = levels_of([term[free][:, free] for term in terms], level[free] - 1)
    return _Discretised(terms, free, given, levels, pairings)


@partial(jax.jit, static_argnames="domain")
def _steady(domain: MortarInterface, scalars: Array, outer, source) -> MortarSolution:
    grid = _discretised(domain)
    shapes = [(side.cells[0] + 1, side.cells[1] + 1) for side in (domain.first, domain.second)]
    ends = int(np.prod(shapes[0])), int(np.prod(shapes[0]) + np.prod(shapes[1]))
    diffusivity, decay, partition, permeability = scalars[:2], scalars[2:4], scalars[4], scalars[5]
    positive = jnp.all(diffusivity > 0) & jnp.all(decay >= 0) & (partition > 0) & (permeability > 0)
    positive &= jnp.all(jnp.isfinite(scalars[:5]))
    coefficients = jnp.stack([*diffusivity, *decay, jnp.ones(()), partition, 1 / permeability])
    # what is solved has to be regular also where the numbers are not sound
    coefficients = jnp.where(positive, coefficients, 1.0)

    total = grid.terms[0].shape[0]
    sides = [jnp.broadcast_to(jnp.asarray(each, float), shape) for each, shape in zip(source, shapes, strict=True)]
    sources = jnp.concatenate([*(each.ravel() for each in sides), jnp.zeros(total - ends[1])])
    loads = times(grid.terms[2], sources) + times(grid.terms[3], sources)
    known = jnp.zeros(total).at[: shapes[0][1]].set(outer[0]).at[ends[1] - shapes[1][1] : ends[1]].set(outer[1])
    found = solve(grid.levels, coefficients, (loads - _applied(grid, coefficients, known))[grid.free])
    values = known.at[grid.free].set(found.values)

    result = jnp.where(positive, jnp.where(found.sound, Ending.SUCCESS, Ending.SINGULAR), Ending.BAD_COEFFICIENT)
    budget = _budget(grid, coefficients, values, loads, shapes, ends)
    fields = values[: ends[0]].reshape(shapes[0]), values[ends[0] : ends[1]].reshape(shapes[1]), values[ends[1] :]
    read = [jnp.where(result == 0, each, jnp.nan) for each in (*fields, *budget)]
    return MortarSolution._make([*read, found.residual, result])


def _applied(grid: _Discretised, coefficients: Array, values: Array) -> Array:
    return jnp.stack([c * times(term, values) for c, term in zip(coefficients, grid.terms, strict=True)]).sum(axis=0)


def _budget(grid: _Discretised, coefficients: Array, values: Array, loads: Array, shapes, ends) -> tuple[Array, ...]:
    """Crossing, inflow, outflow, mismatch and balance, from what the equations of each side lack at its rims."""
    flux = values[ends[1] :]
    # without the multipliers: at points of the interface what leaves the first side, and enters the second
    own = loads - _applied(grid, coefficients.at[4:].set(0.0), values)
    at_first = slice(ends[0] - shapes[0][1], ends[0])
    at_second = slice(ends[0], ends[0] + shapes[1][1])
    leaving, entering = jnp.sum(own[at_first]), -jnp.sum(own[at_second])
    size = grid.pairings.lengths @ jnp.abs(flux)
    inflow, outflow = -jnp.sum(own[: shapes[0][1]]), jnp.sum(own[ends[1] - shapes[1][1] : ends[1]])
    produced = jnp.sum(loads)
    decayed = sum(jnp.sum(coefficients[i] * times(grid.terms[i], values)) for i in (2, 3))
    balance = relative(inflow - outflow + produced - decayed, jnp.sum(jnp.abs(own)) + jnp.sum(jnp.abs(loads)))
    return grid.pairings.lengths @ flux, inflow, outflow, relative(leaving - entering, size), balance
