"""What is refused, with every finding; and what is said of phases that do not conduct."""

import numpy as np
import pytest

import uqbench as uq
from uqbench.homogenisation import (
    effective_bounds,
    effective_tensor,
    hashin_shtrikman,
    percolates,
    trace_bounds,
    voigt_reuss,
)


def findings(cell, **settings):
    with pytest.raises(uq.InputError) as caught:
        effective_tensor(cell, **settings)
    return caught.value.findings


def test_all_findings_at_once():
    cell = np.ones((4, 4))
    cell[0, 0], cell[1, 1], cell[2, 2] = np.nan, -3.0, 0.0
    found = findings(cell, spacing=(1.0, -1.0))
    assert len(found) == 4
    assert "1 of 16 voxels are not finite" in found[0]
    assert "1 of 16 voxels are negative, down to -3" in found[1]
    assert "1 of 16 voxels do not conduct" in found[2]
    assert "spacing is (1.0, -1.0)" in found[3]


def test_matrices_have_to_be_symmetric_and_positive():
    cell = np.broadcast_to(np.eye(2), (4, 4, 2, 2)).copy()
    cell[0, 0, 0, 1] = 0.5
    cell[1, 1] = np.array([[1.0, 2.0], [2.0, 1.0]])
    cell[2, 2, 0, 0] = np.inf
    found = findings(cell)
    assert "not finite" in found[0] and "not symmetric" in found[1]
    assert "not positive definite; the lowest eigenvalue is -1" in found[2]


@pytest.mark.parametrize("shape", [(4,), (4, 4, 3, 3), (4, 4, 4, 2, 2), (2, 2, 2, 2, 2, 2), (0, 4)])
def test_shapes_that_are_no_cell(shape):
    assert str(shape) in findings(np.ones(shape))[0]


def test_text_is_no_coefficient():
    assert "no array of real numbers" in findings([["a", "b"], ["c", "d"]])[0]


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 1.0, 1.0), (1.0, np.nan), (0.0, 1.0), "um"])
def test_spacings_that_are_no_edges(spacing):
    assert "give 2 positive lengths" in findings(np.ones((4, 4)), spacing=spacing)[0]


@pytest.mark.parametrize("refine", [0, -1, 1.5])
def test_refinements_are_whole(refine):
    with pytest.raises(uq.InputError, match="whole number"):
        effective_bounds(np.ones((4, 4)), refine=refine)


def test_degrees_of_corners_are_whole_and_of_the_plane():
    with pytest.raises(uq.InputError) as caught:
        effective_bounds(np.ones((4, 4)), refine=0, corner_degree=-1)
    assert len(caught.value.findings) == 2
    with pytest.raises(uq.InputError, match="of the plane"):
        effective_bounds(np.ones((4, 4, 4)), corner_degree=4)


def test_trace_bounds_need_two_phases():
    with pytest.raises(uq.InputError, match="one phase"):
        trace_bounds(2.0, 2.0, 0.5, 2)


def test_bounds_of_phases_are_refused_with_every_finding():
    with pytest.raises(uq.InputError) as caught:
        hashin_shtrikman(-1.0, 2.0, 1.5, 4)
    assert len(caught.value.findings) == 3


def test_means_of_bad_coefficients_are_refused():
    with pytest.raises(uq.InputError, match="negative"):
        voigt_reuss(-np.ones((4, 4)))


def test_it_is_said_what_an_insulating_phase_means():
    stripes = np.ones((6, 6))
    stripes[2] = 0.0
    assert "connected from cell to cell along y but not along x" in findings(stripes)[0]
    island = np.zeros((6, 6))
    island[2:4, 2:4] = 1.0
    assert "the effective tensor is zero" in findings(island)[0]
    hole = np.ones((6, 6, 6))
    hole[2, 2, 2] = 0.0
    assert "along x, y, z. " in findings(hole)[0]
    assert "Nothing conducts" in findings(np.zeros((4, 4)))[0]


def test_what_percolates():
    assert percolates(np.eye(5, dtype=bool)) == (False, False)
    stairs = np.eye(5, dtype=bool) | np.roll(np.eye(5, dtype=bool), 1, 0)
    assert percolates(stairs) == (True, True)
    assert percolates(np.ones((1, 4), bool)) == (True, True)
    # a ring inside the cell does not lead out of it
    ring = np.zeros((6, 6), bool)
    ring[1:5, 1:5] = True
    ring[2:4, 2:4] = False
    assert percolates(ring) == (False, False)
    assert percolates(np.roll(ring, 3, 0)) == (False, False)


def test_a_stripe_that_winds_six_times_percolates():
    cell = np.zeros((12, 12), bool)
    for step in range(72):
        # six cells along x for one along y
        cell[step % 12, (step // 6) % 12] = True
        cell[(step + 1) % 12, (step // 6) % 12] = True
    assert percolates(cell) == (True, True)


def test_an_almost_insulating_phase_tends_to_an_insulating_one():
    """Straight channels of half the area: half the coefficient along them, nothing across."""
    channel = np.where(np.arange(8)[:, None] < 4, 1.0, 1e-6) * np.ones((8, 8))
    np.testing.assert_allclose(effective_tensor(channel).tensor, np.diag([0.0, 0.5]), atol=3e-6)
