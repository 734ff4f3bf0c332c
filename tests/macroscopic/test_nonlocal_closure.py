"""The closure against a resolved periodic medium averaged over all its positions, and the local diffusivity in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.homogenisation.media import layers, matrices, square_inclusion, two_phases
from uqbench.homogenisation.elements import EXACT, extended, stiffness
from uqbench.macroscopic import (
    homogenised_profile,
    nonlocal_diffusivity,
    nonlocal_kernel,
    nonlocal_profile,
    resolved_problem,
    wall_law,
)

# Of the periodic line: cells, and voxels of each.
CELLS, VOXELS = 4, 8
CELL = two_phases(7, (VOXELS, 6), 100.0)


def averaged(cell, source, consumption):
    """Resolved with a dense matrix for every position of the medium along the line; the mean of the means across."""
    line = jnp.concatenate([jnp.asarray(cell)] * CELLS)
    first = extended(jnp.moveaxis(line, (-2, -1), (0, 1)) if line.ndim > 2 else line, 2, before=True)
    size = (CELLS * VOXELS, cell.shape[1])
    columns = jax.vmap(lambda unit: stiffness(first, unit.reshape(size), (1.0, 1.0), EXACT).ravel())
    matrix = np.asarray(columns(jnp.eye(size[0] * size[1]))) + consumption * np.eye(size[0] * size[1])
    loads = np.stack([np.repeat(np.roll(source, shift), size[1]) for shift in range(VOXELS)], axis=1)
    # of least norm, which without consumption has no mean
    found = np.linalg.lstsq(matrix, loads, rcond=1e-12)[0].reshape(*size, VOXELS).mean(1)
    return np.mean([np.roll(found[:, shift], -shift) for shift in range(VOXELS)], axis=0)


def pulse(width, consumption, cells=CELLS):
    """A normal density around the tenth node, without its mean where nothing is consumed."""
    nodes = np.arange(cells * VOXELS)
    source = np.exp(-((nodes - 10.0) ** 2) / (2 * width**2)) / width
    return source if consumption else source - source.mean()


def local(kernel, diffusivity):
    return kernel._replace(weights=jnp.zeros(kernel.weights.size).at[0].set(diffusivity))


def size(values):
    return float(np.abs(np.asarray(values)).max())


@pytest.mark.parametrize("consumption", [0.0, 0.01, 0.5])
def test_the_closure_is_the_mean_over_all_positions(consumption):
    """To the tolerance of the solves, on the same grid; the local diffusivity is not."""
    source = pulse(2.0, consumption)
    expected = averaged(CELL, source, consumption)
    kernel = nonlocal_kernel(CELL, cells=CELLS, consumption=consumption)
    assert size(nonlocal_profile(kernel, source) - expected) < 1e-9 * size(expected)
    assert size(nonlocal_profile(local(kernel, wall_law(CELL).diffusivity), source) - expected) > 1e-4 * size(expected)


def test_the_closure_of_matrices_is_the_mean_over_all_positions():
    cell = matrices(4, (VOXELS, 6))
    expected = averaged(cell, pulse(1.0, 0.1), 0.1)
    kernel = nonlocal_kernel(cell, cells=CELLS, consumption=0.1)
    assert size(nonlocal_profile(kernel, pulse(1.0, 0.1)) - expected) < 1e-9 * size(expected)


def test_a_local_diffusivity_is_right_for_wide_sources():
    """Of slow inclusions with consumption; narrow ones are wrong by more than a tenth."""
    cell = square_inclusion(VOXELS, 0.01)
    kernel = nonlocal_kernel(cell, cells=16, consumption=1e-4)
    error = []
    for width in (1.0, 4.0, 16.0):
        source = pulse(width, True, cells=16)
        exact = nonlocal_profile(kernel, source)
        error.append(size(nonlocal_profile(local(kernel, wall_law(cell).diffusivity), source) - exact) / size(exact))
    assert error[0] > error[1] > error[2]
    assert error[0] > 10 * error[2]


def test_a_uniform_medium_is_local():
    found = nonlocal_diffusivity(np.full((8, 4), 3.0), np.linspace(0, np.pi, 5), consumption=0.2)
    np.testing.assert_allclose(found.diffusivity, 3.0, rtol=1e-12)
    kernel = nonlocal_kernel(np.full((8, 4), 3.0), cells=2)
    np.testing.assert_allclose(kernel.weights, np.eye(16)[0] * 3, atol=1e-10)


def test_long_waves_see_the_effective_diffusivity():
    """At zero to rounding, and from there on with the square of the wave number."""
    waves = np.array([0.0, 0.02, 0.04, 0.08])
    found = nonlocal_diffusivity(CELL, waves)
    limit = float(wall_law(CELL).diffusivity)
    assert float(found.diffusivity[0]) == pytest.approx(limit, rel=1e-10)
    gaps = np.abs(np.asarray(found.diffusivity[1:]) - limit)
    np.testing.assert_allclose(np.log2(gaps[1:] / gaps[:-1]), 2.0, atol=0.02)
    assert np.all(np.asarray(found.error) < 1e-12 * limit)


def test_layers_that_consume_nothing_are_local():
    """The flux across them is known from the source alone: the harmonic mean at every wave length."""
    found = nonlocal_diffusivity(layers(8, 1.0, 10.0)[:, :1], np.array([0.1, 0.5, 1.3, 3.0]))
    np.testing.assert_allclose(found.diffusivity, 20 / 11, rtol=1e-9)


def test_waves_have_no_direction():
    there, back = (nonlocal_diffusivity(CELL, sign * np.array([0.3, 0.7])).diffusivity for sign in (1, -1))
    np.testing.assert_allclose(there, back, rtol=1e-10)


def test_kernels_are_even_and_sum_to_the_diffusivity_of_a_uniform_gradient():
    kernel = nonlocal_kernel(CELL, cells=CELLS)
    weights = np.asarray(kernel.weights)
    np.testing.assert_allclose(weights[1:], weights[1:][::-1], atol=1e-12)
    assert weights.sum() == pytest.approx(float(wall_law(CELL).diffusivity), rel=1e-9)


@pytest.mark.slow
def test_derivatives_need_the_correctors_only():
    cell = jnp.asarray(two_phases(5, (6, 6), 5.0))
    change = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)))

    def closure(theta):
        rate, wave = 0.1 * theta[1], 0.7 * theta[2]
        return nonlocal_diffusivity(cell + (theta[0] - 1) * change, wave[None], consumption=rate).diffusivity[0]

    at, h = jnp.ones(3), 1e-4
    slopes = [(closure(at + step) - closure(at - step)) / (2 * h) for step in h * jnp.eye(3)]
    np.testing.assert_allclose(jax.grad(closure)(at), slopes, rtol=1e-5)
    # second derivatives go through the correctors
    second = jax.jacfwd(jax.grad(closure))(at)[0]
    steps = [(jax.grad(closure)(at + step)[0] - jax.grad(closure)(at - step)[0]) / (2 * h) for step in h * jnp.eye(3)]
    np.testing.assert_allclose(second, steps, rtol=1e-4, atol=1e-6)


def test_profiles_have_derivatives():
    source = jnp.asarray(pulse(2.0, True))

    def highest(rate):
        return nonlocal_profile(nonlocal_kernel(CELL, cells=CELLS, consumption=rate), source)[10]

    expected = (highest(0.1 + 1e-5) - highest(0.1 - 1e-5)) / 2e-5
    assert float(jax.grad(highest)(0.1)) == pytest.approx(float(expected), rel=1e-6)


def test_walls_are_not_in_the_closure():
    """A wall is fixed to the medium: the odd continuation of a source misses what `wall_law` adds at first order."""
    cell, cells = layers(VOXELS, 1.0, 10.0), 8
    nodes = cells * VOXELS + 1
    resolved = resolved_problem(cell, 1.0, cells=cells, consumption=1e-3).concentration
    law = wall_law(cell)
    kernel = nonlocal_kernel(cell, cells=2 * cells, consumption=1e-3)
    odd = np.concatenate([[0.0], np.ones(nodes - 2), [0.0], -np.ones(nodes - 2)])
    walled = homogenised_profile(
        law.diffusivity, np.ones(nodes), length=float(nodes - 1), consumption=1e-3, shifts=law.shifts
    ).concentration

    def error(profile):
        """Of means over the cells of the interior."""
        parts = (np.mean(np.asarray(each)[16:48].reshape(4, 8), axis=1) for each in (resolved.mean(1), profile))
        first, second = parts
        return np.linalg.norm(first - second) / np.linalg.norm(first)

    assert error(nonlocal_profile(kernel, odd)) > 5 * error(walled)
