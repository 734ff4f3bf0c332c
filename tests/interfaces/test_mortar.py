"""Mortar elements: second order whatever the grids, balances that close, and which multipliers fit the traces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.interfaces import Ending, MortarInterface, Multipliers, Rectangle, inf_sup

from .differences import relative_errors


def grids(first: int, second: int, multipliers=Multipliers.FIRST) -> MortarInterface:
    return MortarInterface(
        Rectangle((0.0, 1.0), (0.0, 1.0), (first, first)),
        Rectangle((1.0, 2.0), (0.0, 1.0), (second, second)),
        multipliers,
    )


class Manufactured:
    """c_i = (level_i + sin(1.3 (x - 1)) / D_i) cos(pi y): one flux at x = 1, and there c_1 - K c_2 = flux / P."""

    def __init__(self, D=(1.0, 1.0), K=1.0, P=np.inf):
        self.D, self.K, self.P = D, K, P
        self.levels = K - 1.3 / P, 1.0

    def value(self, side, x, y):
        return (self.levels[side] + np.sin(1.3 * (x - 1)) / self.D[side]) * np.cos(np.pi * y)

    def source(self, side, x, y):
        return 1.69 * np.sin(1.3 * (x - 1)) * np.cos(np.pi * y) + self.D[side] * np.pi**2 * self.value(side, x, y)

    def flux(self, y):
        return -1.3 * np.cos(np.pi * y)

    def solved(self, domain: MortarInterface):
        points = [np.meshgrid(side.points(0), side.points(1), indexing="ij") for side in (domain.first, domain.second)]
        return domain.steady(
            diffusivity=self.D,
            outer=(self.value(0, 0.0, domain.first.points(1)), self.value(1, 2.0, domain.second.points(1))),
            source=tuple(self.source(side, *at) for side, at in enumerate(points)),
            partition=self.K,
            permeability=self.P,
        )

    def error(self, domain: MortarInterface, found) -> float:
        """In L2 over both sides, three Gauss points along each edge of a cell."""
        nodes, weights = np.polynomial.legendre.leggauss(3)
        total = 0.0
        for side, (grid, c) in enumerate(((domain.first, found.first), (domain.second, found.second))):
            (x, y), c = (grid.points(0), grid.points(1)), np.asarray(c)
            for a, wa in zip((nodes + 1) / 2, weights / 2, strict=True):
                for b, wb in zip((nodes + 1) / 2, weights / 2, strict=True):
                    in_x = (1 - a) * c[:-1] + a * c[1:]
                    inside = (1 - b) * in_x[:, :-1] + b * in_x[:, 1:]
                    exact = self.value(side, x[:-1, None] + a * (x[1] - x[0]), y[:-1] + b * (y[1] - y[0]))
                    total += wa * wb * (x[1] - x[0]) * (y[1] - y[0]) * np.sum((inside - exact) ** 2)
        return np.sqrt(total)


# from the coarse to the fine side and back, nearly matching, and matching
RATIOS = {"1:3": ((4, 12), (8, 24)), "2:1": ((8, 4), (16, 8)), "8:9": ((8, 9), (16, 18)), "1:1": ((6, 6), (12, 12))}


@pytest.mark.parametrize("ratio", RATIOS)
def test_order_is_two_on_any_pair_of_grids(ratio):
    cases = [
        Manufactured(), Manufactured(D=(1.0, 100.0)), Manufactured(D=(50.0, 1.0)),
        Manufactured(D=(1.0, 3.0), K=2.5, P=0.7),
    ]  # fmt: skip
    domains = [grids(*pair) for pair in RATIOS[ratio]]
    for case in cases:
        found = [case.solved(domain) for domain in domains]
        errors = [case.error(domain, each) for domain, each in zip(domains, found, strict=True)]
        # the coarsest grid has four cells, so that the order is still a little less than two
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)
        for each in found:
            assert int(each.result) == 0
            assert abs(float(each.mismatch)) < 1e-12
            assert abs(float(each.balance)) < 1e-12


def test_each_side_by_itself_says_what_crosses():
    """A one-dimensional flux through resistances in series, and sources and decay in the balance."""
    domain = grids(5, 7)
    found = domain.steady(diffusivity=(2.0, 0.5), outer=(3.0, 0.4), partition=2.0, permeability=1.5)
    expected = (3.0 - 2.0 * 0.4) / (1 / 2.0 + 1 / 1.5 + 2.0 / 0.5)
    np.testing.assert_allclose([found.crossing, found.inflow, found.outflow], expected, rtol=1e-12)
    np.testing.assert_allclose(found.flux, expected, rtol=1e-11)
    bump = np.outer(np.arange(6), np.cos(np.linspace(0, 3, 6)) ** 2)
    found = domain.steady(diffusivity=(2.0, 0.5), outer=(0.0, 0.4), source=(bump, 0.3), decay=(0.1, 2.0))
    assert abs(float(found.mismatch)) < 1e-12 and abs(float(found.balance)) < 1e-12
    assert float(found.inflow) < 0 < float(found.crossing)


def test_multipliers_of_one_side_are_stable_and_others_are_not():
    sizes = np.array([4, 8, 16])
    nearly = [(np.linspace(0, 1, n + 1), np.linspace(0, 1, n + 2)) for n in sizes]
    coarser = [(np.linspace(0, 1, 2 * n + 1), np.linspace(0, 1, n + 1)) for n in sizes]
    for pairs in (nearly, coarser):
        stable = [inf_sup(kind, *pair) for kind in (Multipliers.FIRST, Multipliers.SECOND) for pair in pairs]
        assert min(stable) > 0.99
    cells = [inf_sup(Multipliers.CELLS_OF_FIRST, *pair) for pair in coarser]
    both = [inf_sup(Multipliers.POINTS_OF_BOTH, *pair) for pair in nearly]
    # with the width of the cells, and with its square
    assert np.polyfit(np.log(sizes), np.log(cells), 1)[0] == pytest.approx(-1.0, abs=0.15)
    assert np.polyfit(np.log(sizes), np.log(both), 1)[0] == pytest.approx(-2.0, abs=0.15)


def test_too_many_multipliers_lock_the_traces_and_their_flux_is_garbage():
    case = Manufactured(D=(1.0, 10.0))
    stable, unstable = Multipliers.SECOND, Multipliers.POINTS_OF_BOTH
    errors, flux = {}, {}
    for kind in (stable, unstable):
        domains = [grids(n, n + 1, kind) for n in (6, 12)]
        found = [case.solved(domain) for domain in domains]
        errors[kind] = [case.error(domain, each) for domain, each in zip(domains, found, strict=True)]
        flux[kind] = [
            np.sqrt(np.mean((each.flux - case.flux(domain.flux_points)) ** 2))
            for domain, each in zip(domains, found, strict=True)
        ]
        # both conserve: the balance says nothing of the stability
        assert all(abs(float(each.balance)) < 1e-11 for each in found)
    # the second side's cells are 13/7 times as small
    assert errors[stable][0] / errors[stable][1] > 3.3
    assert errors[unstable][0] / errors[unstable][1] < 2.0
    assert flux[stable][1] < 0.01 and flux[unstable][1] > 10.0 and flux[unstable][1] > flux[unstable][0]


def test_derivatives():
    domain = grids(5, 4)

    def crossing(p):
        found = domain.steady(
            diffusivity=(p["D1"], p["D2"]),
            outer=(p["left"], 0.4),
            source=(p["q1"] * jnp.linspace(0, 1, 6), p["q2"]),
            decay=(p["k"], 0.3),
            partition=p["K"],
            permeability=p["P"],
        )
        return found.crossing + found.flux[1] ** 2 + found.second[2, 3]

    at = {"D1": 1.3, "D2": 20.0, "left": 0.7, "q1": 2.0, "q2": 0.5, "k": 0.2, "K": 1.7, "P": 0.9}
    assert max(relative_errors(crossing, at).values()) < 1e-6


def test_nothing_given_is_nothing_found():
    found = grids(3, 2).steady(diffusivity=(1.0, 1.0), outer=(0.0, 0.0))
    assert int(found.result) == 0
    assert not np.any(found.first) and float(found.balance) == float(found.mismatch) == float(found.residual) == 0.0


def test_traced_numbers_that_cannot_be_have_a_code():
    found = jax.jit(lambda D: grids(3, 2).steady(diffusivity=(D, 1.0), outer=(1.0, 0.0)))(-1.0)
    assert int(found.result) == Ending.BAD_COEFFICIENT
    assert np.all(np.isnan(found.flux))


def test_what_has_no_solution_in_doubles_has_a_code():
    found = grids(3, 2).steady(diffusivity=(1.0, 1.0), outer=(np.inf, 0.0))
    assert int(found.result) == Ending.SINGULAR
    assert np.all(np.isnan(found.first))


def test_what_is_known_beforehand_is_refused_with_every_finding():
    with pytest.raises(uq.InputError) as caught:
        grids(2, 2).steady(diffusivity=(-1.0, 0.0), outer=(1.0, 0.0), decay=(0.0, -1.0), permeability=0.0)
    assert len(caught.value.findings) == 4
    with pytest.raises(uq.InputError) as caught:
        MortarInterface(Rectangle((0, 1), (0, 1), (2, 2), "mm"), Rectangle((0.5, 2), (0, 2), (2, 2), "um"), "glue")
    overlap, beside, unit, kind = caught.value.findings
    assert "overlap by 0.5" in overlap and "cover" in beside and "one unit" in unit and "'glue'" in kind
    with pytest.raises(uq.InputError) as caught:
        Rectangle((0.0, 0.0), (0.0, np.inf), (0, 2))
    assert len(caught.value.findings) == 3
