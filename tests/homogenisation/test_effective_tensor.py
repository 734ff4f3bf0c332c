"""The effective tensor: closed forms, orders of convergence, what every tensor fulfils, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from uqbench.homogenisation import Ending, effective_tensor, voigt_reuss

from .media import (
    checkerboard,
    contrasts,
    fractions,
    layers,
    matrices,
    obnosov,
    seeds,
    shapes,
    square_inclusion,
    two_phases,
)


def lies_between(lower, matrix, upper, slack=1e-9):
    """lower <= matrix <= upper as quadratic forms, to rounding and the tolerance of the solves."""
    size = slack * np.linalg.norm(upper)
    return (
        np.linalg.eigvalsh(np.asarray(matrix) - lower).min() > -size
        and np.linalg.eigvalsh(np.asarray(upper) - matrix).min() > -size
    )


def test_layers_conduct_in_series_and_in_parallel():
    found = effective_tensor(layers(16, 1.0, 10.0))
    np.testing.assert_allclose(found.tensor, np.diag([20 / 11, 5.5]), rtol=1e-10, atol=1e-12)
    assert int(found.result) == Ending.SUCCESS


def test_layers_in_space_conduct_in_series_and_in_parallel():
    cell = np.broadcast_to(layers(6, 1.0, 10.0)[:, :, None], (6, 6, 5))
    np.testing.assert_allclose(effective_tensor(cell).tensor, np.diag([20 / 11, 5.5, 5.5]), rtol=1e-10, atol=1e-12)


def test_layers_of_tilted_fibres():
    """Of a laminate of matrices the field is constant in each layer, and its jump is along the normal."""
    first, second = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[5.0, -1.0], [-1.0, 4.0]])
    cell = np.where((np.arange(8) < 4)[:, None, None, None], first, second) * np.ones((8, 8, 1, 1))
    difference = (first - second)[0]
    expected = (first + second) / 2 - np.outer(difference, difference) / (2 * (first[0, 0] + second[0, 0]))
    np.testing.assert_allclose(effective_tensor(cell).tensor, expected, rtol=1e-9)


@pytest.mark.parametrize("contrast", [0.1, 10.0, 100.0])
def test_square_inclusions_at_128(contrast):
    tensor = effective_tensor(square_inclusion(128, contrast)).tensor
    np.testing.assert_allclose(tensor, obnosov(contrast) * np.eye(2), rtol=1e-6, atol=1e-9)


def test_square_inclusions_converge_faster_than_second_order():
    """Grids of 16, 32 and 64 are far from rounding; the singular corner itself would give order 1.4."""
    error = [abs(float(effective_tensor(square_inclusion(n, 10.0)).tensor[0, 0]) - obnosov(10.0)) for n in (16, 32, 64)]
    assert np.all(np.log2(np.divide(error[:-1], error[1:])) > 2.5)


def test_smooth_media_converge_with_second_order():
    """1 + sin(x + 2 y) / 2 is a laminate with its normal along (1, 2): harmonic mean sqrt(3)/2, arithmetic one 1."""

    def error(n):
        x = 2 * np.pi * (np.arange(n) + 0.5) / n
        tensor = effective_tensor(1 + np.sin(x[:, None] + 2 * x) / 2).tensor
        return abs(float(tensor[0, 0]) - (np.sqrt(0.75) + 4) / 5)

    errors = [error(n) for n in (16, 32, 64)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.1)


def test_the_number_of_iterations_does_not_grow_with_the_grid():
    few, many = (effective_tensor(checkerboard(n, 10.0)).iterations for n in (16, 128))
    assert np.all(many <= few + 6)


@given(seeds, shapes, contrasts, fractions)
@settings(max_examples=25)
def test_between_voigt_and_reuss(seed, shape, contrast, fraction):
    cell = two_phases(seed, shape, contrast, fraction)
    lower, upper = voigt_reuss(cell)
    assert lies_between(lower, effective_tensor(cell).tensor, upper)


@given(seeds)
@settings(max_examples=10)
def test_matrices_lie_between_voigt_and_reuss(seed):
    cell = matrices(seed, (6, 6))
    lower, upper = voigt_reuss(cell)
    assert lies_between(lower, effective_tensor(cell).tensor, upper)


@given(seeds, shapes, contrasts)
@settings(max_examples=15)
def test_a_multiple_of_the_identity_is_a_number(seed, shape, contrast):
    cell = two_phases(seed, shape, contrast)
    as_matrices = cell[..., None, None] * np.eye(len(shape))
    np.testing.assert_allclose(
        effective_tensor(as_matrices).tensor, effective_tensor(cell).tensor, rtol=1e-8, atol=1e-10
    )


def test_long_voxels_are_a_stretched_medium():
    """With edges (2, 1) a medium is that of unit edges whose coefficient is divided by 4 along x, and then times 4."""
    cell = two_phases(3, (8, 8), 10.0)
    stretched = cell[..., None, None] * np.diag([0.25, 1.0])
    expected = effective_tensor(stretched).tensor * np.array([[4.0, 2.0], [2.0, 1.0]])
    found = effective_tensor(cell, spacing=(2.0, 1.0)).tensor
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


# derivatives ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [two_phases(0, (8, 8), 10.0), two_phases(1, (4, 4, 4), 10.0), matrices(2, (6, 6))])
def test_derivatives_by_each_voxel(cell):
    direction = np.random.default_rng(5).normal(size=cell.shape) * 0.1
    if cell.ndim == 4:
        direction = direction + np.swapaxes(direction, -1, -2)

    def entry(step):
        tensor = effective_tensor(cell + step * direction, tolerance=1e-14).tensor
        return tensor[0, 1] + tensor[1, 1]

    h = 1e-3
    # the fourth-order formula
    differences = (8 * (entry(h) - entry(-h)) - (entry(2 * h) - entry(-2 * h))) / (12 * h)
    np.testing.assert_allclose(jax.grad(entry)(0.0), differences, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(jax.jvp(entry, (0.0,), (1.0,))[1], differences, rtol=1e-6, atol=1e-8)


def test_the_derivative_is_the_squared_field():
    cell = square_inclusion(8, 10.0)
    slope = jax.grad(lambda cell: effective_tensor(cell).tensor[0, 0])(cell)
    assert np.all(np.asarray(slope) >= 0)
    # Euler's theorem for a function of degree one
    np.testing.assert_allclose(np.sum(slope * cell), effective_tensor(cell).tensor[0, 0], rtol=1e-9)


def by_contrast(contrast, n=16):
    return effective_tensor(jnp.where(square_inclusion(n, 2.0) > 1, contrast, 1.0), tolerance=1e-13).tensor[0, 0]


def test_slope_of_the_square_inclusion():
    """dD/dk of Obnosov's formula at k = 10 is .0153272."""
    assert float(jax.grad(lambda k: by_contrast(k, 128))(10.0)) == pytest.approx(0.0153272, rel=1e-5)


def test_the_gradient_needs_no_solve_of_its_own():
    def loops(function):
        return jax.jit(function).lower(10.0).compile().as_text().count(" while(")

    assert loops(jax.grad(by_contrast)) == loops(by_contrast) > 0


@pytest.mark.slow
def test_second_derivatives():
    h = 1e-3
    slope = jax.grad(by_contrast)
    differences = (slope(10.0 + h) - slope(10.0 - h)) / (2 * h)
    for second in (jax.grad(slope), jax.jacfwd(jax.jacfwd(by_contrast))):
        assert float(second(10.0)) == pytest.approx(float(differences), rel=1e-5)


def test_derivatives_of_correctors():
    def total(contrast):
        cell = jnp.where(square_inclusion(8, 2.0) > 1, contrast, 1.0)
        return jnp.sum(effective_tensor(cell, tolerance=1e-14).correctors ** 2)

    h = 1e-3
    differences = (total(3.0 + h) - total(3.0 - h)) / (2 * h)
    assert float(jax.grad(total)(3.0)) == pytest.approx(float(differences), rel=1e-5)


def test_a_batch_is_each_of_its_members():
    cells = np.stack([two_phases(seed, (8, 8), 20.0) for seed in range(3)])
    together = jax.vmap(effective_tensor)(cells)
    for cell, tensor in zip(cells, together.tensor, strict=True):
        np.testing.assert_allclose(tensor, effective_tensor(cell).tensor, rtol=1e-9, atol=1e-10)


# codes ----------------------------------------------------------------------------------------------------------------


def test_too_few_iterations_have_a_code():
    found = effective_tensor(two_phases(0, (8, 8), 100.0), max_iterations=2)
    assert int(found.result) == Ending.ITERATIONS
    assert np.all(np.isnan(found.tensor))


@pytest.mark.parametrize("value", [-1.0, 0.0, np.nan, np.inf])
def test_traced_coefficients_that_are_bad_have_a_code(value):
    found = jax.jit(lambda value: effective_tensor(jnp.ones((4, 4)).at[1, 2].set(value)))(value)
    assert int(found.result) == Ending.BAD_COEFFICIENT
    assert np.all(np.isnan(found.tensor))
