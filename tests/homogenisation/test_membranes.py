"""Cells with membranes: against multipole series, in layers, smoothly with where the membrane is, and what is wrong."""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uqbench import InputError
from uqbench.homogenisation import Ending, at_fraction, effective_tensor, membrane_tensor
from uqbench.random_media import distance_to_balls


def lattice_sum(order):
    """Of 1/z^order over the square lattice without the origin, by rows of cotangents; pi for the second."""
    if order == 2:
        return np.pi
    reach = 60
    points = np.arange(-reach, reach + 1)[:, None] + 1j * np.arange(-reach, reach + 1)
    points[reach, reach] = 1.0
    return float(np.real(np.sum(points**-order))) - 1.0


def square_array(fraction, inside, outside, permeability, terms=8):
    """Disks with membranes in a square array, by multipoles (Perrins, McKenzie & McPhedran 1979,
    doi:10.1098/rspa.1979.0160): to the l-th of them a membrane makes the disk conduct D / (1 + l D/(P R))."""
    radius, orders = np.sqrt(fraction / np.pi), np.arange(1, 2 * terms, 2)
    conducts = inside / (1 + orders * inside / (permeability * radius))
    matrix = np.diag((outside + conducts) / (outside - conducts) * radius ** (-2.0 * orders))
    for i, row in enumerate(orders):
        for j, column in enumerate(orders):
            matrix[i, j] += comb(row + column - 1, row) * lattice_sum(row + column)
    dipole = np.linalg.solve(matrix, np.eye(terms)[0])[0]
    return outside * (1 - 2 * np.pi * dipole)


def disks(voxels, middle=(0.52, 0.51)):
    return distance_to_balls(jnp.array([middle]), (voxels, voxels), (1.0, 1.0))


def test_the_series_has_the_limit_of_dilute_disks():
    radius = np.sqrt(0.01 / np.pi)
    conducts = 2.0 / (1 + 2.0 / (3.0 * radius))
    polarisability = (conducts - 1) / (conducts + 1)
    dilute = (1 + 0.01 * polarisability) / (1 - 0.01 * polarisability)
    assert square_array(0.01, 2.0, 1.0, 3.0) == pytest.approx(dilute, rel=1e-6)


@pytest.mark.parametrize(("inside", "permeability"), [(0.5, 1.0), (10.0, 1.0), (0.5, 100.0), (0.5, 0.01)])
def test_disks_in_a_square_array_and_the_order_of_the_grid(inside, permeability):
    errors = []
    for voxels in (24, 48):
        expected = square_array(0.35, inside, 1.0, permeability)
        distance = at_fraction(-disks(voxels), 0.35, spacing=1 / voxels)
        found = membrane_tensor(distance, inside, 1.0, permeability, spacing=1 / voxels)
        assert int(found.result) == 0
        np.testing.assert_allclose(np.diag(found.tensor), float(found.tensor[0, 0]), rtol=1e-2)
        errors.append(abs(float(found.tensor[0, 0]) / expected - 1))
    # well conducting disks behind a thin membrane carry most of the flux through the step
    assert errors[1] < (4e-3 if inside < 1 else 1e-2)
    assert errors[1] < 0.5 * errors[0]


def test_the_slope_is_that_of_the_continuum_and_not_of_the_grid():
    def tensor(fraction):
        distance = at_fraction(-disks(32), fraction, spacing=1 / 32)
        return membrane_tensor(distance, 0.5, 1.0, 1.0, spacing=1 / 32).tensor[0, 0]

    slope = jax.jit(jax.grad(tensor))
    for fraction in (0.3, 0.31, 0.32, 0.345):
        step = 1e-4
        expected = (square_array(fraction + step, 0.5, 1.0, 1.0) - square_array(fraction - step, 0.5, 1.0, 1.0)) / (
            2 * step
        )
        assert float(slope(fraction)) == pytest.approx(expected, rel=0.05)


def test_derivatives_against_finite_differences():
    @jax.jit
    def tensor(x):
        distance = at_fraction(-disks(24), x[0], spacing=1 / 24)
        return membrane_tensor(distance, x[1], x[2], x[3], spacing=1 / 24, tolerance=1e-22).tensor[0, 0]

    point, step = jnp.array([0.35, 0.5, 1.0, 2.0]), 1e-6
    gradient = jax.jit(jax.grad(tensor))
    differences = [float(tensor(point + step * e) - tensor(point - step * e)) / (2 * step) for e in jnp.eye(4)]
    np.testing.assert_allclose(gradient(point), differences, rtol=1e-5)
    second = jax.jit(jax.jacfwd(gradient))(point)
    differences = [(gradient(point + step * e) - gradient(point - step * e)) / (2 * step) for e in jnp.eye(4)]
    np.testing.assert_allclose(second, np.array(differences), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("permeability", [0.1, 1.0, 20.0])
def test_layers_add_the_resistance_of_two_membranes(permeability):
    errors = []
    for voxels in (16, 32, 64):
        place = (jnp.arange(voxels) + 0.37) / voxels
        distance = (0.3 - jnp.abs(place - 0.5))[:, None] * jnp.ones((1, 4))
        found = membrane_tensor(distance, 2.0, 1.0, permeability, spacing=1 / voxels)
        series = 1 / (0.6 / 2.0 + 0.4 / 1.0 + 2 / permeability)
        errors.append(abs(float(found.tensor[0, 0]) / series - 1))
        assert float(found.tensor[1, 1]) == pytest.approx(0.6 * 2.0 + 0.4 * 1.0, rel=1e-9)
    assert errors[-1] < 1e-2
    assert errors[-1] < 0.5 * errors[0]


def test_spheres_lie_between_impermeable_ones_and_ones_without_a_membrane():
    voxels = 16
    distance = at_fraction(
        -distance_to_balls(jnp.array([[0.5, 0.5, 0.5]]), (voxels,) * 3, (1.0,) * 3), 0.2, spacing=1 / voxels
    )
    found = [
        float(membrane_tensor(distance, 2.0, 1.0, P, spacing=1 / voxels).tensor[0, 0]) for P in (0.0, 0.3, 3.0, 30.0)
    ]
    assert found == sorted(found)
    # Maxwell for spheres that do not conduct, and for ones of 2 behind no membrane
    assert found[0] == pytest.approx((1 - 0.2) / (1 + 0.2 / 2), rel=0.03)
    assert found[-1] < (1 + 2 * 0.2 * 0.25) / (1 - 0.2 * 0.25)


def test_close_membranes_have_a_code():
    distance = at_fraction(-disks(16), 0.7, spacing=1 / 16)
    found = membrane_tensor(distance, 1.0, 1.0, 1.0, spacing=1 / 16)
    assert int(found.result) == Ending.MEMBRANES_CLOSE
    assert np.isnan(found.tensor).all()
    assert int(membrane_tensor(at_fraction(-disks(96), 0.7, spacing=1 / 96), 1.0, 1.0, 1.0, spacing=1 / 96).result) == 0


def test_inclusions_that_overlap_may_meet_and_converge():
    places = jnp.array([[0.35, 0.5], [0.6, 0.55]])
    found = []
    for voxels in (24, 48, 96):
        distance = 0.2 - distance_to_balls(places, (voxels, voxels), (1.0, 1.0))
        assert int(membrane_tensor(distance, 5.0, 1.0, 2.0, spacing=1 / voxels).result) in (0, Ending.MEMBRANES_CLOSE)
        found.append(float(membrane_tensor(distance, 5.0, 1.0, 2.0, spacing=1 / voxels, apart=False).tensor[0, 0]))
    assert abs(found[2] - found[1]) < 0.6 * abs(found[1] - found[0])
    assert found[2] == pytest.approx(found[1], rel=0.01)


def test_what_is_traced_and_wrong_has_a_code():
    found = jax.jit(lambda D: membrane_tensor(0.3 - disks(16), D, 1.0, 1.0, spacing=1 / 16))(-1.0)
    assert int(found.result) == Ending.BAD_COEFFICIENT
    few = membrane_tensor(0.3 - disks(16), 1.0, 1.0, 1.0, spacing=1 / 16, max_iterations=2)
    assert int(few.result) == Ending.ITERATIONS


def test_without_a_membrane_in_the_cell_it_is_the_tensor_of_one_phase():
    found = membrane_tensor(jnp.full((8, 8), -9.0), 1.0, 3.0, 1.0)
    np.testing.assert_allclose(found.tensor, 3.0 * np.eye(2), rtol=1e-12)
    np.testing.assert_allclose(found.tensor, effective_tensor(jnp.full((8, 8), 3.0)).tensor, rtol=1e-12)


def test_every_finding_at_once():
    distance = np.zeros((4, 4))
    distance[0, 0] = np.nan
    with pytest.raises(InputError) as caught:
        membrane_tensor(distance, -1.0, 0.0, -2.0, spacing=(1.0, 2.0, 3.0))
    assert len(caught.value.findings) == 5
    with pytest.raises(InputError, match="shape"):
        membrane_tensor(np.zeros(3), 1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="fraction"):
        at_fraction(distance, 1.5)
