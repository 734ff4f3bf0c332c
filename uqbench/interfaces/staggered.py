"""Stokes flow on a staggered grid above Darcy flow, joined at the interface: the matrices, once for each grid.

Lengths are in heights of the channel, and pressures p h/mu are velocities, so that three numbers are left: the slip
alpha h / sqrt(k), the permeability k / h^2 and their product. Velocities sit on the faces of the cells, pressures in
their middles (Harlow & Welch 1965, doi:10.1063/1.1761178); on the interface itself are the slip velocity, the normal
velocity, which is one unknown for both sides, and the pressure in the pores. What is stationary is

    1/2 int (2 e_xx^2 + 2 e_yy^2 + (u_y + v_x)^2) + slip/2 int u^2 - int p div(u, v) - int p_pores v
        - permeability/2 int |grad p_pores|^2,

the second and fourth integral over the interface. Varied by v on the interface it gives the balance of normal
stresses, by p_pores there the continuity of the normal velocity, by u Saffman's slip condition. That of Beavers and
Joseph has the velocity in the pores besides, a term that is no variation of anything.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse

from .block_levels import Levels, levels_of


class Places(NamedTuple):
    """Numbers of the unknowns and of what is given, as arrays along x and y; rows of the tissue go down.

    Args:
        u: `(nx + 1, ny)`. v: `(nx, ny + 1)`, from the interface to the wall, where it is given. p: `(nx, ny)`.
        slip: `(nx + 1,)`. pores: `(nx, nd)`, pressure in the tissue. at_interface: `(nx,)`, that on the interface.
        wall: `(nx + 1,)`, given u at the wall. v_left, v_right: `(ny + 1,)`, given at the ends of the channel.
        pores_left, pores_right: `(nd + 1,)`, given at the ends of the tissue, on the interface first.
    """

    u: np.ndarray
    v: np.ndarray
    p: np.ndarray
    slip: np.ndarray
    pores: np.ndarray
    at_interface: np.ndarray
    wall: np.ndarray
    v_left: np.ndarray
    v_right: np.ndarray
    pores_left: np.ndarray
    pores_right: np.ndarray

    @property
    def total(self) -> int:
        return 1 + max(int(each.max()) for each in self)


class Staggered(NamedTuple):
    """A grid made ready: `places`, masks of what is given, and the equations of the others.

    Args:
        free, given: numbers of the unknowns and of what is given. levels: the equations of the first.
        outside: matrices of the same terms, `(free, given)`. spacing: hx, hy in the channel, hd in the tissue.
    """

    places: Places
    free: np.ndarray
    given: np.ndarray
    levels: Levels
    outside: tuple[sparse.csr_array, ...]
    spacing: tuple[float, float, float]


def _places(nx: int, ny: int, nd: int) -> Places:
    shapes = {
        "u": (nx + 1, ny), "v": (nx, ny + 1), "p": (nx, ny), "slip": (nx + 1,), "pores": (nx, nd),
        "at_interface": (nx,), "wall": (nx + 1,), "v_left": (ny + 1,), "v_right": (ny + 1,),
        "pores_left": (nd + 1,), "pores_right": (nd + 1,),
    }  # fmt: skip
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    return Places(**{name: part.reshape(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)})


def _functional(count: int, *parts) -> sparse.csr_array:
    """Rows that each sum entries `weights` of the unknowns `numbers`, from pairs of both."""
    rows = np.concatenate([np.arange(numbers.size) for numbers, _ in parts])
    columns = np.concatenate([numbers.ravel() for numbers, _ in parts])
    weights = np.concatenate([np.broadcast_to(weight, numbers.shape).ravel() for numbers, weight in parts])
    return sparse.csr_array((weights, (rows, columns)), shape=(parts[0][0].size, count))


def _squares(functional: sparse.csr_array, weights) -> sparse.csr_array:
    return functional.T @ sparse.diags_array(np.ravel(weights)) @ functional


def halved_ends(n: int, h: float) -> np.ndarray:
    """Lengths `(n + 1,)` around the points between n cells of length h, half as long at both ends."""
    return np.concatenate([[h / 2], np.full(n - 1, h), [h / 2]])


def _channel(at: Places, hx: float, hy: float) -> sparse.csr_array:
    """Viscous stresses and pressure in the channel."""
    (nx, ny), n = at.p.shape, at.total
    wx, wy = halved_ends(nx, hx), halved_ends(ny, hy)
    e_xx = _functional(n, (at.u[1:], 1 / hx), (at.u[:-1], -1 / hx))
    e_yy = _functional(n, (at.v[:, 1:], 1 / hy), (at.v[:, :-1], -1 / hy))
    # from the slip on the interface to the wall, and from end to end
    u = np.concatenate([at.slip[:, None], at.u, at.wall[:, None]], axis=1)
    v = np.concatenate([at.v_left[None], at.v, at.v_right[None]])
    shear = _functional(
        n, (u[:, 1:], 1 / wy), (u[:, :-1], -1 / wy), (v[1:], 1 / wx[:, None]), (v[:-1], -1 / wx[:, None])
    )
    pressure = hx * hy * _functional(n, (at.p, 1.0)).T @ (e_xx + e_yy)
    viscous = 2 * hx * hy * (e_xx.T @ e_xx + e_yy.T @ e_yy) + _squares(shear, wx[:, None] * wy)
    return viscous - pressure - pressure.T


def _tissue(at: Places, hx: float, hd: float) -> sparse.csr_array:
    """Minus the energy of the pressure in the pores."""
    (nx, nd), n = at.pores.shape, at.total
    wx = halved_ends(nx, hx)[:, None]
    along = np.concatenate([at.pores_left[None, 1:], at.pores, at.pores_right[None, 1:]])
    down = np.concatenate([at.at_interface[:, None], at.pores], axis=1)
    wy = np.concatenate([[hd / 2], np.full(nd - 1, hd)])
    p_x = _functional(n, (along[1:], 1 / wx), (along[:-1], -1 / wx))
    p_y = _functional(n, (down[:, :-1], 1 / wy), (down[:, 1:], -1 / wy))
    return -_squares(p_x, np.broadcast_to(wx * hd, along[1:].shape)) - _squares(
        p_y, np.broadcast_to(wy * hx, down[:, 1:].shape)
    )


@lru_cache(maxsize=32)
def staggered(cells: tuple[int, int, int], length: float, depth: float) -> Staggered:
    """The grid of nx cells along and ny, nd across channel and tissue, and the matrices of its four terms.

    Args:
        length, depth: of both, and of the tissue, in heights of the channel.
    """
    nx, ny, nd = cells
    hx, hy, hd = length / nx, 1 / ny, depth / nd
    at = _places(nx, ny, nd)
    n, wx = at.total, halved_ends(nx, hx)
    exchange = hx * _functional(n, (at.at_interface, 1.0)).T @ _functional(n, (at.v[:, 0], 1.0))
    slip = _functional(n, (at.slip, 1.0))
    ends = np.concatenate([at.pores_left[:1], at.at_interface, at.pores_right[:1]])
    in_pores = _functional(n, (ends[1:], -1 / wx), (ends[:-1], 1 / wx))
    terms = (
        _channel(at, hx, hy) - exchange - exchange.T,
        _squares(slip, wx),
        _tissue(at, hx, hd),
        # the velocity in the pores, which Beavers and Joseph subtract from that of the slip
        -slip.T @ sparse.diags_array(wx) @ in_pores,
    )
    level = _levels(at)
    free, given = np.flatnonzero(level >= 0), np.flatnonzero(level < 0)
    rows = [sparse.csr_array(term)[free] for term in terms]
    inside = levels_of([row[:, free] for row in rows], level[free])
    return Staggered(at, free, given, inside, tuple(row[:, given] for row in rows), (hx, hy, hd))


def _levels(at: Places) -> np.ndarray:
    """Rows from the wall down; three rows of the tissue are about as many unknowns as one of the channel."""
    (_, ny), (_, nd), level = at.p.shape, at.pores.shape, np.full(at.total, -1)
    rows = np.arange(ny)[::-1]
    level[at.u], level[at.p], level[at.v[:, :-1]] = rows, rows, rows
    level[at.slip], level[at.at_interface] = ny, ny
    level[at.pores] = ny + (np.arange(nd) + 2) // 3
    return level
