"""Bounds that hold for the continuum, whatever the grid: where the effective tensor is known and where a finer grid
tells. Elements for corners, which the plane has by default, have tests of their own beside these."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from uqbench.homogenisation import (
    Ending,
    effective_bounds,
    effective_tensor,
    voigt_reuss,
)
from uqbench.homogenisation.fluxes import solve_fluxes

from .media import (
    checkerboard,
    contrasts,
    fractions,
    is_below,
    layers,
    matrices,
    obnosov,
    seeds,
    shapes,
    square_inclusion,
    two_phases,
)


@pytest.mark.parametrize("contrast", [10.0, 100.0, 1000.0])
@pytest.mark.parametrize("n", [8, 64])
def test_checkerboards_of_any_contrast_are_inside(contrast, n):
    """Dykhne's sqrt(D1 D2), from which the discrete tensor of the same grid is up to several times away."""
    bracket = effective_bounds(checkerboard(n, contrast), corner_degree=0)
    truth = np.sqrt(contrast) * np.eye(2)
    assert is_below(bracket.lower, truth, 0.0) and is_below(truth, bracket.upper, 0.0)
    np.testing.assert_allclose(bracket.estimate, truth, rtol=1e-7, atol=1e-7 * np.sqrt(contrast))
    assert int(bracket.result) == Ending.SUCCESS


def test_the_residual_alone_does_not_tell():
    found = effective_tensor(checkerboard(64, 1000.0))
    assert np.all(found.error < 1e-9)
    assert float(found.tensor[0, 0]) > 2 * np.sqrt(1000.0)
    assert np.all(effective_bounds(checkerboard(64, 1000.0), corner_degree=0).width > 1.0)


@pytest.mark.parametrize("contrast", [0.1, 10.0, 100.0])
def test_square_inclusions_are_inside(contrast):
    bracket = effective_bounds(square_inclusion(32, contrast), corner_degree=0)
    truth = obnosov(contrast) * np.eye(2)
    assert is_below(bracket.lower, truth, 0.0) and is_below(truth, bracket.upper, 0.0)
    np.testing.assert_allclose(bracket.estimate, truth, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (5, 8), (1, 6, 1)])
def test_random_layers_leave_no_width(shape):
    """No flux can do better than a uniform one across layers; what the iteration sees there is rounding."""
    axis = int(np.argmax(shape))
    layer = np.exp(np.random.default_rng(0).normal(size=shape[axis]))
    cell = np.broadcast_to(layer.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)
    exact = np.full(len(shape), layer.mean())
    exact[axis] = 1 / np.mean(1 / layer)
    bracket = effective_bounds(cell, corner_degree=0)
    for bound in (bracket.lower, bracket.upper, bracket.estimate):
        np.testing.assert_allclose(bound, np.diag(exact), rtol=1e-11, atol=1e-11)
    assert is_below(bracket.lower, np.diag(exact), 0.0) and is_below(np.diag(exact), bracket.upper, 0.0)


@pytest.mark.slow
def test_fluxes_have_no_divergence_and_their_mean():
    cell = jnp.asarray(two_phases(4, (7, 6), 1e6))
    for changes in solve_fluxes(1 / cell, (1.0, 2.0), 1e-12, 500).solution:
        across, along = (np.roll(changes[axis], -1, axis) - changes[axis] for axis in (0, 1))
        assert np.max(np.abs(across / 1.0 + along / 2.0)) < 1e-12 * np.max(np.abs(changes))
        np.testing.assert_allclose(np.mean(changes, axis=(1, 2)), 0.0, atol=1e-12)


def test_layers_leave_no_width():
    bracket = effective_bounds(layers(8, 1.0, 10.0), corner_degree=0)
    np.testing.assert_allclose(bracket.width, 0.0, atol=1e-10)
    lower, upper = bracket.entries
    exact = np.diag([20 / 11, 5.5])
    assert np.all(lower <= exact + 1e-13) and np.all(exact <= upper + 1e-13)


@pytest.mark.parametrize("seed", range(10))
def test_random_media_are_inside(seed):
    """100 such media, printed with their widths, are in the benchmark."""
    cell = two_phases(seed, (16, 16), [10.0, 100.0][seed % 2])
    bracket, finer = (effective_bounds(cell, refine=refine, corner_degree=0) for refine in (1, 4))
    assert is_below(bracket.lower, finer.lower) and is_below(finer.upper, bracket.upper)
    assert is_below(bracket.lower, finer.estimate) and is_below(finer.estimate, bracket.upper)
    assert np.all(finer.width < 0.7 * bracket.width)


@pytest.mark.slow
def test_bounds_in_space_close_in():
    cell = two_phases(0, (4, 4, 4), 10.0)
    coarse, fine = effective_bounds(cell), effective_bounds(cell, refine=3)
    assert (
        is_below(coarse.lower, fine.lower) and is_below(fine.lower, fine.upper) and is_below(fine.upper, coarse.upper)
    )
    assert np.all(fine.width < 0.7 * coarse.width)


def test_bounds_of_layers_in_space():
    cell = np.broadcast_to(layers(6, 1.0, 10.0).T[None], (4, 6, 6))
    bracket = effective_bounds(cell)
    for bound in (bracket.lower, bracket.upper):
        np.testing.assert_allclose(bound, np.diag([5.5, 5.5, 20 / 11]), rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@given(seeds, shapes, contrasts, fractions)
@settings(max_examples=20)
def test_bounds_are_nested_in_voigt_and_reuss(seed, shape, contrast, fraction):
    cell = two_phases(seed, shape, contrast, fraction)
    lower, upper = voigt_reuss(cell)
    bracket = effective_bounds(cell)
    assert is_below(lower, bracket.lower)
    assert is_below(bracket.lower, bracket.estimate) and is_below(bracket.estimate, bracket.upper)
    assert is_below(bracket.upper, upper)


@pytest.mark.parametrize("shape", [(7, 6), pytest.param((3, 4, 4), marks=pytest.mark.slow)])
def test_bounds_of_matrices_are_nested(shape):
    cell = matrices(0, shape)
    lower, upper = voigt_reuss(cell)
    bracket = effective_bounds(cell)
    assert is_below(lower, bracket.lower) and is_below(bracket.lower, bracket.upper) and is_below(bracket.upper, upper)


@given(seeds, contrasts, fractions)
@settings(max_examples=15)
def test_duality_in_the_plane(seed, contrast, fraction):
    """D_hom(D) = R^T D_hom(1/D)^-1 R with a quarter turn R; upper bounds of one are lower ones of the other."""
    cell = two_phases(seed, (8, 8), contrast, fraction)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    bracket, dual = (effective_bounds(each, corner_degree=0) for each in (cell, 1 / cell))
    np.testing.assert_allclose(turn.T @ np.linalg.inv(dual.upper) @ turn, bracket.lower, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(turn.T @ np.linalg.inv(dual.estimate) @ turn, bracket.estimate, rtol=1e-6, atol=1e-8)


@given(seeds)
@settings(max_examples=10)
def test_bounds_hold_before_the_iteration_has_converged(seed):
    cell = two_phases(seed, (8, 8), 100.0)
    early, late = (effective_bounds(cell, corner_degree=0, max_iterations=count) for count in (2, 2000))
    assert int(early.result) == Ending.ITERATIONS
    assert is_below(early.lower, late.lower) and is_below(late.upper, early.upper)


def test_entries_hold_what_quadratic_forms_say():
    lower, upper = effective_bounds(matrices(1, (7, 6)), corner_degree=0).entries
    inside = effective_bounds(matrices(1, (7, 6)))
    assert np.all(lower <= inside.estimate) and np.all(inside.estimate <= upper)


@pytest.mark.parametrize("degree", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_bad_coefficients_that_are_traced_have_a_code(degree):
    bracket = jax.jit(partial(effective_bounds, corner_degree=degree))(np.full((4, 4), -1.0))
    assert int(bracket.result) == Ending.BAD_COEFFICIENT
    assert np.all(np.isnan(bracket.lower)) and np.all(np.isnan(bracket.upper))
