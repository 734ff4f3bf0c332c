"""Flow in a channel over a porous tissue: Stokes above, Darcy below, and what passes between.

In the channel 0 < y < h, with the stress s = -p + mu (grad u + grad u^T), div s = -f and div u = 0. In the tissue
-d < y < 0, v = -(k/mu) grad p and div v = q. On the interface y = 0 the normal velocity is one for both, the normal
stress of the fluid is minus the pressure in the pores, and the shear stress is alpha mu / sqrt(k) times the slip: the
velocity of the fluid itself (Saffman 1971, doi:10.1002/sapm197150293), or relative to that in the pores (Beavers &
Joseph 1967, doi:10.1017/S0022112067001375). They differ by a term of the order of the permeability.

Given are the normal stress and the transverse velocity at both ends of the channel, the velocity of its wall, the
pressure at both ends of the tissue, and what flows through its base.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..annotations import Numbers
from ..errors import InputError
from .block_levels import solve, times
from .checks import check_signs, relative
from .codes import Ending
from .grids import Rectangle, touching_findings
from .staggered import Staggered, halved_ends, staggered


class Boundary(NamedTuple):
    """What is given around and inside both domains; numbers, or arrays along the side, which runs with x or y.

    Args:
        inlet, outlet: normal stress of the fluid at the ends of the channel, minus a pressure, `(ny,)`.
        inlet_v, outlet_v: transverse velocity there, `(ny + 1,)`. wall_u, wall_v: of the wall, `(nx + 1,)`, `(nx,)`.
        tissue_inlet, tissue_outlet: pressure at the ends of the tissue, `(nd + 1,)`, on the interface first, then at
            the middles of the rows below. base: velocity upwards through the base, `(nx,)`.
        force_x, force_y: on the fluid by volume, means over the volumes around u, `(nx + 1, ny)`, and v, `(nx, ny)`
            without the wall; these are halved at the ends of the channel and on the interface.
        source: of fluid in the tissue by volume and time, `(nx, nd)`.
    """

    inlet: Numbers = 0.0
    outlet: Numbers = 0.0
    inlet_v: Numbers = 0.0
    outlet_v: Numbers = 0.0
    wall_u: Numbers = 0.0
    wall_v: Numbers = 0.0
    tissue_inlet: Numbers = 0.0
    tissue_outlet: Numbers = 0.0
    base: Numbers = 0.0
    force_x: Numbers = 0.0
    force_y: Numbers = 0.0
    source: Numbers = 0.0


class ChannelFlow(NamedTuple):
    """What `stokes_darcy` finds; NaN where `result` is not zero. Arrays run along x, then upwards.

    Args:
        u: `(nx + 1, ny)`, along the channel, in the middle of rows. v: `(nx, ny + 1)`, upwards, on the interface first.
        p: `(nx, ny)`. slip: `(nx + 1,)`, of the fluid on the interface. normal: `(nx,)`, of both sides there.
        pores: `(nx, nd)`, pressure in the tissue, the row below the interface first. at_interface: `(nx,)`, on it.
        pores_u: `(nx + 1, nd)`, velocity in the tissue along x.
        normal_residual: of the normal velocities of both sides on the interface, relative to the largest velocity.
        traction_residual: of the normal stress that the fluid's values in the two rows above extrapolate to, and the
            pressure in the pores, relative to the largest pressure. An error of the grid, which falls with its square.
        balance: what flows into the channel and the tissue and is made there, less what flows out, relative to the sum
            of their sizes.
        residual: of the equations. result: 0, or a code of `SENTENCES`.
    """

    u: Array
    v: Array
    p: Array
    slip: Array
    normal: Array
    pores: Array
    at_interface: Array
    pores_u: Array
    normal_residual: Array
    traction_residual: Array
    balance: Array
    residual: Array
    result: Array


@dataclass(frozen=True)
class ChannelOverTissue:
    """A channel over a porous tissue, on grids of their own across and one along.

    Args:
        channel, tissue: the second lies below the first, side by side along x, with as many cells there.

    Raises:
        InputError: with all that is wrong with how they lie.

    Example:
        >>> vessel = ChannelOverTissue(
        ...     Rectangle((0.0, 4e-3), (0.0, 1e-3), (8, 16), "m"), Rectangle((0.0, 4e-3), (-1e-3, 0.0), (8, 8), "m")
        ... )
        >>> ends = Boundary(inlet=-0.4, tissue_inlet=0.4)
        >>> flow = vessel.flow(permeability=1e-9, slip=0.1, viscosity=1e-3, boundary=ends, relative_to_pores=True)
        >>> f"{flow.slip[4]:.4f} m/s, {flow.pores_u[4, -1]:.2e} m/s"
        '0.0121 m/s, 1.00e-04 m/s'
    """

    channel: Rectangle
    tissue: Rectangle

    def __post_init__(self):
        findings = touching_findings(self.tissue, self.channel, axis=1)
        if self.channel.cells[0] != self.tissue.cells[0]:
            findings.append(
                f"the channel has {self.channel.cells[0]} cells along the interface and the tissue "
                f"{self.tissue.cells[0]}; give as many, since the velocity through a face is one for both."
            )
        if findings:
            raise InputError("channel over tissue", findings)

    def flow(
        self,
        *,
        permeability: Numbers,
        slip: Numbers,
        viscosity: Numbers,
        boundary: Boundary | None = None,
        relative_to_pores: bool = False,
    ) -> ChannelFlow:
        """The flow, traceable, with exact derivatives by the three numbers and all that is in `boundary`.

        Args:
            permeability: of the tissue, a length squared. slip: alpha. viscosity: pressure times time.
            relative_to_pores: the condition of Beavers and Joseph instead of Saffman's.

        Raises:
            InputError: numbers that are known before the run and are not positive.
        """
        given = {"permeability": permeability, "slip": slip, "viscosity": viscosity}
        check_signs("channel over tissue", positive=given, nonnegative={})
        numbers = jnp.asarray(permeability, float), jnp.asarray(slip, float), jnp.asarray(viscosity, float)
        return _flow(self, *numbers, Boundary() if boundary is None else boundary, relative_to_pores)

    @property
    def height(self) -> float:
        return self.channel.y[1] - self.channel.y[0]

    def grid(self) -> Staggered:
        (nx, ny), (_, nd) = self.channel.cells, self.tissue.cells
        length, depth = self.channel.x[1] - self.channel.x[0], self.tissue.y[1] - self.tissue.y[0]
        return staggered((nx, ny, nd), length / self.height, depth / self.height)


@partial(jax.jit, static_argnames=("domain", "relative_to_pores"))
def _flow(domain: ChannelOverTissue, permeability, alpha, viscosity, boundary: Boundary, relative_to_pores: bool):
    grid, h = domain.grid(), domain.height
    at, unit, (hx, _, hd) = grid.places, viscosity / h, grid.spacing
    nx, nd = at.pores.shape
    slip, scaled = alpha * h / jnp.sqrt(permeability), permeability / h**2
    coefficients = jnp.stack([jnp.ones(()), slip, scaled, slip * scaled * relative_to_pores])
    positive = (permeability > 0) & (alpha > 0) & (viscosity > 0)
    positive &= jnp.isfinite(permeability * alpha * viscosity)
    # what is solved has to be regular also where the numbers are not sound
    coefficients = jnp.where(positive, coefficients, 1.0)
    given = _given(grid, boundary, unit)
    outside = sum(c * times(term, given) for c, term in zip(coefficients, grid.outside, strict=True))
    found = solve(grid.levels, coefficients, _loads(grid, boundary, unit, h) - outside)
    values = jnp.zeros(at.total).at[grid.free].set(found.values).at[grid.given].set(given)
    result = jnp.where(positive, jnp.where(found.sound, Ending.SUCCESS, Ending.SINGULAR), Ending.BAD_COEFFICIENT)
    added = hx * jnp.sum(jnp.broadcast_to(boundary.base, nx)) - hx * jnp.sum(jnp.broadcast_to(boundary.wall_v, nx))
    added += hx * hd * h * jnp.sum(jnp.broadcast_to(boundary.source, (nx, nd)))
    return _read(grid, values, scaled, unit, added, found.residual, result)


def _given(grid: Staggered, boundary: Boundary, unit: Array) -> Array:
    """Values of what is given, pressures in the unit of velocities."""
    at = grid.places
    values = jnp.zeros(at.total).at[at.wall].set(boundary.wall_u).at[at.v[:, -1]].set(boundary.wall_v)
    values = values.at[at.v_left].set(boundary.inlet_v).at[at.v_right].set(boundary.outlet_v)
    values = values.at[at.pores_left].set(boundary.tissue_inlet / unit)
    return values.at[at.pores_right].set(boundary.tissue_outlet / unit)[grid.given]


def _loads(grid: Staggered, boundary: Boundary, unit: Array, h: float) -> Array:
    at, (hx, hy, hd) = grid.places, grid.spacing
    nx, ny = at.p.shape
    wx, wy = halved_ends(nx, hx)[:, None], halved_ends(ny, hy)[:-1]
    loads = jnp.zeros(at.total).at[at.u].set(boundary.force_x * h / unit * wx * hy)
    loads = loads.at[at.v[:, :-1]].set(boundary.force_y * h / unit * hx * wy)
    loads = loads.at[at.u[0]].add(-hy * boundary.inlet / unit).at[at.u[-1]].add(hy * boundary.outlet / unit)
    loads = loads.at[at.pores].set(-hx * hd * h * jnp.asarray(boundary.source))
    return loads.at[at.pores[:, -1]].add(-hx * jnp.asarray(boundary.base))[grid.free]


def _read(grid: Staggered, values: Array, scaled, unit, added, residual, result) -> ChannelFlow:
    """Fields and checks, pressures back in their own unit; `added` is the inflow by base, wall and sources."""
    at, (hx, hy, hd) = grid.places, grid.spacing
    u, v, p, pores, on = (values[each] for each in (at.u, at.v, at.p, at.pores, at.at_interface))
    along = jnp.concatenate([values[at.pores_left[None, 1:]], pores, values[at.pores_right[None, 1:]]])
    pores_u = -scaled * jnp.diff(along, axis=0) / halved_ends(at.p.shape[0], hx)[:, None]
    below = -scaled * (on - pores[:, 0]) / (hd / 2)
    stress = -p[:, :2] + 2 * jnp.diff(v[:, :3], axis=1) / hy
    fastest, largest = jnp.max(jnp.abs(u)) + jnp.max(jnp.abs(v)), jnp.max(jnp.abs(p)) + jnp.max(jnp.abs(on))
    into, out = hy * jnp.sum(u[0]) + hd * jnp.sum(pores_u[0]), hy * jnp.sum(u[-1]) + hd * jnp.sum(pores_u[-1])
    normal_residual = relative(jnp.max(jnp.abs(v[:, 0] - below)), fastest)
    traction_residual = relative(jnp.max(jnp.abs((3 * stress[:, 0] - stress[:, 1]) / 2 + on)), largest)
    balance = relative(into - out + added, jnp.abs(into) + jnp.abs(out) + jnp.abs(added))
    fields = u, v, unit * p, values[at.slip], v[:, 0], unit * pores, unit * on, pores_u
    read = [jnp.where(result == 0, each, jnp.nan) for each in (*fields, normal_residual, traction_residual, balance)]
    return ChannelFlow._make([*read, residual, result])
