"""Elements for corners: bounds that are narrow at any contrast, and the truth between them."""

import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import sparse
from scipy.sparse.linalg import spsolve

from uqbench.homogenisation import Ending, effective_bounds
from uqbench.homogenisation.corner_elements import DOUBLINGS, RADIAL_DEGREE, corner_element, element_stiffness
from uqbench.homogenisation.corner_grid import ROUNDING

from .media import checkerboard, is_below, layers, matrices, obnosov, seeds, square_inclusion, two_phases


@pytest.mark.parametrize("contrast, width", [(10.0, 2e-6), (100.0, 1e-5), (1000.0, 1e-5), (1e6, 5e-4)])
def test_narrow_bounds_of_checkerboards(contrast, width):
    """Dykhne's sqrt(D1 D2). Bilinear elements on 1024 x 1024 voxels leave 0.7 %, 51 % and 285 % up to 1000."""
    bracket, truth = effective_bounds(checkerboard(2, contrast)), np.sqrt(contrast) * np.eye(2)
    assert is_below(bracket.lower, truth, 0.0) and is_below(truth, bracket.upper, 0.0)
    assert np.all(bracket.width < width)
    assert int(bracket.result) == Ending.SUCCESS


@pytest.mark.parametrize("contrast", [0.001, 0.1, 10.0, 100.0, 1000.0])
def test_narrow_bounds_of_square_inclusions(contrast):
    bracket, truth = effective_bounds(square_inclusion(2, contrast)), obnosov(contrast) * np.eye(2)
    assert is_below(bracket.lower, truth, 0.0) and is_below(truth, bracket.upper, 0.0)
    assert np.all(bracket.width < 3e-6)


def test_each_degree_brings_the_bounds_closer():
    low, high = (effective_bounds(checkerboard(2, 1000.0), corner_degree=degree).width[0] for degree in (2, 4))
    assert high < low / 100 and low < 5e-3


@pytest.mark.slow
def test_refinement_brings_the_bounds_closer():
    """Not by a power of the size: the field at a corner is much the same at all scales, and only degrees tell there."""
    cell = two_phases(0, (4, 4), 100.0)
    coarse, fine = (effective_bounds(cell, corner_degree=2, refine=refine) for refine in (1, 3))
    assert is_below(coarse.lower, fine.estimate) and is_below(fine.estimate, coarse.upper)
    assert np.all(fine.width < 0.5 * coarse.width)


@pytest.mark.parametrize("seed, contrast, width", [(0, 10.0, 2e-6), (1, 100.0, 1e-5), (2, 1000.0, 3e-5)])
def test_random_media_with_many_corners(seed, contrast, width):
    """Both kinds of elements hold for the same tensor."""
    cell = two_phases(seed, (16, 16), contrast)
    bracket, bilinear = effective_bounds(cell), effective_bounds(cell, corner_degree=0)
    assert is_below(bilinear.lower, bracket.lower) and is_below(bracket.upper, bilinear.upper)
    assert np.all(bracket.width < width)


def test_four_phases():
    cell = 10.0 ** np.random.default_rng(0).integers(0, 4, size=(16, 16))
    bracket, bilinear = effective_bounds(cell), effective_bounds(cell, corner_degree=0)
    assert is_below(bilinear.lower, bracket.lower) and is_below(bracket.upper, bilinear.upper)
    assert np.all(bracket.width < 1e-4)


def test_tilted_fibres_in_long_voxels():
    """A laminate of matrices, whose field is constant in each layer; the spacing does not change what it conducts."""
    first, second = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[5.0, -1.0], [-1.0, 4.0]])
    cell = np.where((np.arange(4) < 2)[:, None, None, None], first, second) * np.ones((4, 3, 1, 1))
    difference = (first - second)[0]
    exact = (first + second) / 2 - np.outer(difference, difference) / (2 * (first[0, 0] + second[0, 0]))
    bracket = effective_bounds(cell, spacing=(2.0, 1.0))
    assert is_below(bracket.lower, exact, 0.0) and is_below(exact, bracket.upper, 0.0)
    # functions that fade as exp(-t), and what rounding is allowed
    np.testing.assert_allclose(bracket.estimate, exact, rtol=1e-8)
    assert np.all(bracket.width < 1e-8)


def test_long_voxels_are_a_stretched_medium():
    cell = two_phases(3, (6, 6), 10.0)
    stretched = cell[..., None, None] * np.diag([0.25, 1.0])
    expected = effective_bounds(stretched).upper * np.array([[4.0, 2.0], [2.0, 1.0]])
    np.testing.assert_allclose(effective_bounds(cell, spacing=(2.0, 1.0)).upper, expected, rtol=1e-7, atol=1e-8)


def test_traced_media_have_the_same_bounds():
    """Corners that are alike are one kind only where their values are known."""
    cell = two_phases(1, (6, 6), 100.0)
    known, traced = (
        effective_bounds(cell, corner_degree=2),
        jax.jit(lambda c: effective_bounds(c, corner_degree=2))(cell),
    )
    for name in ("lower", "upper"):
        np.testing.assert_allclose(getattr(traced, name), getattr(known, name), rtol=1e-9, atol=1e-10)


@given(seeds)
@settings(max_examples=8)
def test_bounds_hold_before_the_iteration_has_converged(seed):
    cell = two_phases(seed, (8, 8), 1000.0)
    early, late = effective_bounds(cell, max_iterations=2), effective_bounds(cell)
    assert int(early.result) == Ending.ITERATIONS
    assert is_below(early.lower, late.lower) and is_below(late.upper, early.upper)


@pytest.mark.parametrize("contrast", [1e3, 1e6, 1e10])
def test_bounds_hold_where_rounding_ends_the_iteration(contrast):
    """Nothing is good enough for the tolerance zero, and at 1e10 rounding is all that is left."""
    for cell, exact in [
        (checkerboard(2, contrast), np.sqrt(contrast)),
        (square_inclusion(2, contrast), obnosov(contrast)),
    ]:
        bracket, truth = effective_bounds(cell, tolerance=0.0), exact * np.eye(2)
        assert is_below(bracket.lower, truth, 0.0) and is_below(truth, bracket.upper, 0.0)
        assert int(bracket.result) == Ending.SUCCESS


stiffness = jax.jit(element_stiffness)


def test_uniform_fields_of_an_element():
    element = corner_element(1)
    matrix = stiffness(np.broadcast_to(np.eye(2), (2, 2, 2, 2)), element.ring)
    np.testing.assert_allclose(element.slopes.T @ matrix @ element.slopes, np.eye(2), rtol=1e-11, atol=1e-11)


def without_last(matrix, count):
    """The energy where the last values are those of the least one."""
    for n in range(len(matrix) - 1, len(matrix) - 1 - count, -1):
        matrix = matrix[:n, :n] - np.outer(matrix[:n, n], matrix[n, :n]) / matrix[n, n]
    return matrix


def exact_stiffness(coefficients, ring):
    """`element_stiffness` in forty digits, without blocks."""
    first = np.einsum("abxy,abxyij->ij", coefficients.astype(object), ring.astype(object) * mpmath.mpf(1))
    m = (len(first) + 1) // (RADIAL_DEGREE + 1)
    n, total = m - 1, without_last(first, (RADIAL_DEGREE - 1) * m)
    eye = np.eye(3 * n + 2, dtype=int).astype(object)
    outside, inside, step, middle, middle_step = np.split(eye, [n, 2 * n, 2 * n + 1, 3 * n + 1])
    outer = np.concatenate([outside, middle, middle_step])
    inner = np.concatenate([middle, inside, step - middle_step])
    for _ in range(DOUBLINGS):
        total = without_last(outer.T @ total @ outer + inner.T @ total @ inner, n + 1)
    return without_last(np.delete(np.delete(total, range(n, 2 * n), 0), range(n, 2 * n), 1), 1)


@pytest.mark.parametrize("contrast, matrix", [(1.0, np.eye(2)), (1e3, [[1.0, 0.5], [0.5, 30.0]]), (1e6, np.eye(2))])
def test_rounding_of_elements_is_less_than_is_allowed(contrast, matrix):
    coefficients = np.array([[1.0, contrast], [contrast, 1.0]])[..., None, None] * np.array(matrix)
    ring = corner_element(1).ring
    found = np.asarray(stiffness(coefficients, ring))
    with mpmath.workdps(40):
        error = (found.astype(object) - exact_stiffness(coefficients, ring)).astype(float)
    allowed = ROUNDING * np.sqrt(np.linalg.cond(matrix) * contrast) * np.linalg.norm(found)
    assert np.linalg.norm(error, 2) < allowed / 3


def by_finite_volumes(cell):
    """The first entry, from conductances between centres of voxels: the harmonic means of the two."""
    index, matrix = np.arange(cell.size).reshape(cell.shape), 0
    for axis in (1, 0):
        conductance = (2 / (1 / cell + 1 / np.roll(cell, -1, axis))).ravel()
        places = np.concatenate([index.ravel(), np.roll(index, -1, axis).ravel()])
        rises = sparse.csr_array((np.repeat([-1.0, 1.0], cell.size), (np.tile(index.ravel(), 2), places)))
        matrix = matrix + rises.T @ sparse.diags_array(conductance) @ rises
    load = -rises.T @ conductance
    field = np.concatenate([[0.0], spsolve(sparse.csc_array(matrix)[1:, 1:], load[1:])])
    return np.sum(conductance * (1 + rises @ field)) / cell.size


def test_finite_volumes_tend_to_the_bracket():
    """Another scheme, which is a seventh too low on the voxels themselves and half as far off on each finer grid."""
    cell = two_phases(0, (8, 8), 10.0)
    bracket = effective_bounds(cell)
    found = np.array([by_finite_volumes(np.kron(cell, np.ones((n, n)))) for n in (1, 2, 4, 8, 16)])
    errors = 1 - found / float(bracket.lower[0, 0])
    assert errors[0] > 0.1 and np.all(errors > 0)
    assert np.all(errors[1:] < 0.6 * errors[:-1])
    # what is left of a geometric sequence
    last = np.diff(found)[-2:]
    limit = found[-1] + last[1] ** 2 / (last[0] - last[1])
    assert limit == pytest.approx(float(bracket.estimate[0, 0]), rel=2e-3)


def test_layers_leave_what_rounding_is_allowed():
    bracket = effective_bounds(layers(8, 1.0, 10.0))
    lower, upper = bracket.entries
    exact = np.diag([20 / 11, 5.5])
    assert np.all(lower <= exact + 1e-13) and np.all(exact <= upper + 1e-13)
    assert np.all(bracket.width < 3e-9)


def test_bounds_of_matrices_close_in():
    cell = matrices(0, (4, 3))
    wide, narrow = (effective_bounds(cell, corner_degree=degree) for degree in (0, 4))
    assert is_below(wide.lower, narrow.lower) and is_below(narrow.upper, wide.upper)
    assert np.all(narrow.width < 1e-3)
