"""A channel over porous tissue: the closed form along a straight channel, and second order in the plane."""

from itertools import pairwise

import jax
import numpy as np
import pytest
from numpy.polynomial import Polynomial

import uqbench as uq
from uqbench.interfaces import Boundary, ChannelOverTissue, Ending, Rectangle

from .differences import relative_errors

# SYSTEMS.md, section D
STRAIGHT = {"permeability": 1e-9, "slip": 0.1, "viscosity": 1e-3}
FALL = Boundary(inlet=-0.4, tissue_inlet=0.4)


def channel(along: int, across: int, tissue: int, unit: str = "m") -> ChannelOverTissue:
    """4 mm long, both 1 mm high."""
    return ChannelOverTissue(
        Rectangle((0.0, 4e-3), (0.0, 1e-3), (along, across), unit),
        Rectangle((0.0, 4e-3), (-1e-3, 0.0), (along, tissue), unit),
    )


@pytest.mark.parametrize("relative_to_pores, slip", [(True, 0.0120886284), (False, 0.05 / (1 + np.sqrt(10)))])
def test_straight_flow_is_beavers_and_josephs_or_saffmans(relative_to_pores, slip):
    """Saffman's slip is h^2 G / (2 mu) / (1 + alpha s), with alpha s = sqrt(10)."""
    found = channel(4, 12, 6).flow(**STRAIGHT, boundary=FALL, relative_to_pores=relative_to_pores)
    np.testing.assert_allclose(found.slip, slip, rtol=1e-8)
    np.testing.assert_allclose(found.pores_u, 1e-4, rtol=1e-10)
    np.testing.assert_allclose(found.normal, 0.0, atol=1e-15)
    assert max(abs(float(each)) for each in (found.normal_residual, found.traction_residual, found.balance)) < 1e-12


def test_what_the_channel_gains_has_the_order_of_the_grid():
    tight, errors = 1e-3**3 * 100.0 / (12 * 1e-3), []
    for rows in (8, 16, 32):
        found = channel(2, rows, 2).flow(**STRAIGHT, boundary=FALL, relative_to_pores=True)
        errors.append(float(np.mean(found.u[0]) * 1e-3 / tight - 1.7253177016))
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2.0, atol=0.01)


class Manufactured:
    """Flow of the stream function A(y) sin(a x)/a over pores with the pressure B(y) cos(a x), by forces and sources.

    The polynomials A, B and that of the fluid's pressure P(y) cos(a x) meet the three conditions at y = 0 exactly.
    """

    length, height, depth = 1.5, 2.0, 1.0
    k, alpha, mu, a = 0.3, 0.4, 0.7, 1.3

    def __init__(self, relative_to_pores: bool):
        self.relative_to_pores = relative_to_pores
        a, resistance, self.mobility = self.a, self.alpha * self.mu / np.sqrt(self.k), self.k / self.mu
        A0, A1, B0 = 0.5, 0.8, 0.9
        slip = A1 / a - relative_to_pores * self.mobility * a * B0
        self.A = Polynomial([A0, A1, (a * resistance / self.mu * slip - a**2 * A0) / 2, 0.3])
        self.B = Polynomial([B0, A0 / self.mobility, 0.7, 0.2])
        self.P = Polynomial([B0 - 2 * self.mu * A1, 2.0, -0.5, 0.1])

    def u(self, x, y):
        return np.outer(np.sin(self.a * x), self.A.deriv()(y)) / self.a

    def v(self, x, y):
        return -np.outer(np.cos(self.a * x), self.A(y))

    def p(self, x, y):
        return np.outer(np.cos(self.a * x), self.P(y))

    def pores(self, x, y):
        return np.outer(np.cos(self.a * x), self.B(y))

    def normal_stress(self, x, y):
        """s_xx = -p + 2 mu u_x."""
        return np.outer(np.cos(self.a * x), 2 * self.mu * self.A.deriv()(y) - self.P(y))

    def force_x(self, x, y):
        """p_x - mu (u_xx + u_yy); the flow has no divergence."""
        inner = -self.a * self.P(y) + self.mu * (self.a * self.A.deriv()(y) - self.A.deriv(3)(y) / self.a)
        return np.outer(np.sin(self.a * x), inner)

    def force_y(self, x, y):
        inner = self.P.deriv()(y) + self.mu * (self.A.deriv(2)(y) - self.a**2 * self.A(y))
        return np.outer(np.cos(self.a * x), inner)

    def source(self, x, y):
        return -self.mobility * np.outer(np.cos(self.a * x), self.B.deriv(2)(y) - self.a**2 * self.B(y))

    def upwards(self, x, y):
        return -self.mobility * np.outer(np.cos(self.a * x), self.B.deriv()(y))

    def errors(self, n: int) -> dict[str, float]:
        """Root mean squares of the errors of a grid, and the residual of traction."""
        nx, ny, nd = n, n + n // 4, n - n // 4
        domain = ChannelOverTissue(
            Rectangle((0.0, self.length), (0.0, self.height), (nx, ny)),
            Rectangle((0.0, self.length), (-self.depth, 0.0), (nx, nd)),
        )
        faces, columns = np.linspace(0, self.length, nx + 1), (np.arange(nx) + 0.5) * self.length / nx
        levels, rows = np.linspace(0, self.height, ny + 1), (np.arange(ny) + 0.5) * self.height / ny
        depths = -(np.arange(nd) + 0.5) * self.depth / nd
        # middles of the volumes, which are halved at the ends and on the interface
        within, above = np.clip(faces, columns[0] / 2, self.length - columns[0] / 2), levels[:-1].copy()
        above[0] = rows[0] / 2
        below, start, end = np.concatenate([[0.0], depths]), np.zeros(1), np.array([self.length])
        boundary = Boundary(
            inlet=self.normal_stress(start, rows)[0], outlet=self.normal_stress(end, rows)[0],
            inlet_v=self.v(start, levels)[0], outlet_v=self.v(end, levels)[0],
            wall_u=self.u(faces, np.array([self.height]))[:, 0], wall_v=self.v(columns, np.array([self.height]))[:, 0],
            tissue_inlet=self.pores(start, below)[0], tissue_outlet=self.pores(end, below)[0],
            base=self.upwards(columns, np.array([-self.depth]))[:, 0],
            force_x=self.force_x(within, rows), force_y=self.force_y(columns, above),
            source=self.source(columns, depths),
        )  # fmt: skip
        found = domain.flow(
            permeability=self.k, slip=self.alpha, viscosity=self.mu, boundary=boundary,
            relative_to_pores=self.relative_to_pores,
        )  # fmt: skip
        assert int(found.result) == 0
        assert abs(float(found.normal_residual)) < 1e-12 and abs(float(found.balance)) < 1e-12
        zero = np.zeros(1)
        exact = {
            "u": self.u(faces, rows), "v": self.v(columns, levels), "p": self.p(columns, rows),
            "pores": self.pores(columns, depths), "slip": self.u(faces, zero)[:, 0],
            "normal": self.v(columns, zero)[:, 0], "at_interface": self.pores(columns, zero)[:, 0],
        }  # fmt: skip
        errors = {name: float(np.sqrt(np.mean((getattr(found, name) - each) ** 2))) for name, each in exact.items()}
        return {**errors, "traction": float(found.traction_residual)}


@pytest.mark.parametrize("relative_to_pores, sizes", [(False, (8, 16, 32)), (True, (8, 16))])
def test_order_is_two_in_the_plane(relative_to_pores, sizes):
    case = Manufactured(relative_to_pores)
    errors = [case.errors(n) for n in sizes]
    orders = {
        name: [float(np.log2(coarse[name] / fine[name])) for coarse, fine in pairwise(errors)] for name in errors[0]
    }
    for name in ("u", "v", "pores", "slip", "normal", "at_interface"):
        np.testing.assert_allclose(orders[name], 2.0, atol=0.15, err_msg=name)
    # pressures in the cells along the sides of the channel are known to first order, so that the mean square of all
    # has the order 3/2
    assert min(orders["p"]) > 1.45
    assert min(orders["traction"]) > 1.5


def test_derivatives():
    domain = channel(4, 6, 4)

    def measured(p):
        boundary = Boundary(inlet=-p["fall"], tissue_inlet=p["fall"], base=-p["drainage"])
        numbers = {"permeability": p["k"], "slip": p["alpha"], "viscosity": p["mu"]}
        found = domain.flow(**numbers, boundary=boundary, relative_to_pores=True)
        return 1e3 * found.slip[1] + 1e5 * found.normal[0] + 1e4 * found.pores_u[2, 1] + found.p[1, 2] + found.u[2, 3]

    at = {"k": 1e-9, "alpha": 0.1, "mu": 1e-3, "fall": 0.4, "drainage": 1e-5}
    assert max(relative_errors(measured, at).values()) < 1e-6


def test_traced_numbers_that_cannot_be_have_a_code():
    domain = channel(2, 3, 2)
    found = jax.jit(lambda k: domain.flow(permeability=k, slip=0.1, viscosity=1e-3, boundary=FALL))(-1e-9)
    assert int(found.result) == Ending.BAD_COEFFICIENT
    assert np.all(np.isnan(found.u))


def test_what_is_known_beforehand_is_refused_with_every_finding():
    with pytest.raises(uq.InputError) as caught:
        channel(2, 3, 2).flow(permeability=-1e-9, slip=0.0, viscosity=np.nan)
    assert [finding.split()[0] for finding in caught.value.findings] == ["permeability", "slip", "viscosity"]
    with pytest.raises(uq.InputError) as caught:
        ChannelOverTissue(Rectangle((0, 1), (0, 1), (2, 2), "mm"), Rectangle((0, 2), (-1, -0.5), (3, 2), "um"))
    gap, beside, unit, cells = caught.value.findings
    assert "gap of 0.5" in gap and "cover" in beside and "one unit" in unit and "3" in cells
