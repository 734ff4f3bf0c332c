"""Disks, spheres and fibres: volume fractions, distances across faces, gradients by the fraction; windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.random_media import (
    ball_radius,
    distance_to_balls,
    distance_to_fibres,
    grown,
    random_directions,
    random_places,
    variogram,
    window_means,
)


def brute_distance(places, directions, length, shape):
    """In the unit cell, over all images, along each fibre in small steps."""
    axes = len(shape)
    cells = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij"), -1)
    least = np.full(shape, np.inf)
    for place, direction in zip(places, directions, strict=True):
        for along in np.linspace(-length / 2, length / 2, 401 if length else 1):
            for image in np.stack(np.meshgrid(*[(-2, -1, 0, 1, 2)] * axes), -1).reshape(-1, axes):
                least = np.minimum(least, np.linalg.norm(cells - place - along * direction - image, axis=-1))
    return least


@pytest.mark.parametrize("length", [0.0, 0.9])
def test_distances_go_across_faces(length):
    places = random_places(jax.random.key(2), 3, (1.0, 1.0))
    directions = random_directions(jax.random.key(3), 3, 2)
    shape = (7, 6)
    found = distance_to_fibres(places, directions, length, shape, (1.0, 1.0))
    expected = brute_distance(np.asarray(places), np.asarray(directions), length, shape)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    if length == 0.0:
        np.testing.assert_allclose(distance_to_balls(places, shape, (1.0, 1.0)), found, rtol=1e-12)


@pytest.mark.parametrize("count, extent, fraction", [(12, (2.0, 1.0), 0.4), (6, (1.0, 1.0, 1.0), 0.2)])
def test_balls_by_random_sequential_addition_are_apart(count, extent, fraction):
    places = np.asarray(random_places(jax.random.key(1), count, extent, fraction=fraction))
    away = places[:, None] - places[None]
    away -= np.array(extent) * np.round(away / np.array(extent))
    distances = np.linalg.norm(away, axis=-1)[~np.eye(count, dtype=bool)]
    assert distances.min() >= 2 * float(ball_radius(fraction, count, extent))


@pytest.mark.parametrize("axes, cells", [(2, 128), (3, 32)])
def test_fraction_and_radius_of_balls_that_do_not_overlap(axes, cells):
    count, fraction, extent = 6, 0.25, (1.0,) * axes
    places = random_places(jax.random.key(4), count, extent, fraction=fraction)
    inside, radius = grown(distance_to_balls(places, (cells,) * axes, extent), fraction, 1 / cells)
    assert float(jnp.mean(inside)) == pytest.approx(fraction, abs=1e-12)
    # the closed form, to the square of a cell over the radius
    assert float(radius) == pytest.approx(float(ball_radius(fraction, count, extent)), rel=5e-3)


def test_overlapping_places_fill_as_a_boolean_model():
    """The fraction 1 - exp(-number density * area) of independent disks, in the mean over places."""
    radius, count, cells = 0.08, 20, 64
    keys = jax.random.split(jax.random.key(0), 96)

    def filled(key):
        places = random_places(key, count, (1.0, 1.0))
        return jnp.mean(distance_to_balls(places, (cells, cells), (1.0, 1.0)) < radius)

    found = np.asarray(jax.lax.map(filled, keys))
    expected = 1 - (1 - np.pi * radius**2) ** count
    assert abs(found.mean() - expected) < 4 * found.std(ddof=1) / np.sqrt(len(found))


@pytest.mark.parametrize("length", [0.0, 0.6])
def test_derivative_by_the_fraction(length):
    places = random_places(jax.random.key(5), 5, (1.0, 1.0))
    distance = distance_to_fibres(places, random_directions(jax.random.key(6), 5, 2), length, (96, 96), (1.0, 1.0))

    def functional(fraction):
        inside, radius = grown(distance, fraction, 1 / 96)
        return jnp.mean(1 / (1 + 9 * inside)) + radius

    difference = (functional(0.3 + 1e-6) - functional(0.3 - 1e-6)) / 2e-6
    assert float(jax.jit(jax.grad(functional))(0.3)) == pytest.approx(float(difference), rel=1e-6)


def test_what_is_wrong_with_inclusions():
    with pytest.raises(uq.InputError) as raised:
        random_places(jax.random.key(0), 0, (1.0, -1.0), fraction=1.5)
    assert len(raised.value.findings) == 3
    with pytest.raises(uq.InputError, match=r"only \d+ of 30 inclusions found room"):
        random_places(jax.random.key(0), 30, (1.0, 1.0), fraction=0.7, attempts=2000)
    places = random_places(jax.random.key(0), 40, (1.0, 1.0))
    with pytest.raises(uq.InputError, match="too coarse"):
        grown(distance_to_balls(places, (16, 16), (1.0, 1.0)), 0.05, 1 / 16)
    with pytest.raises(uq.InputError, match="between 0 and 1"):
        grown(distance_to_balls(places, (16, 16), (1.0, 1.0)), 1.0, 1 / 16)
    with pytest.raises(uq.InputError, match=r"fibres are 1\.5 long"):
        distance_to_fibres(places, places, 1.5, (4, 4), (1.0, 1.0))
    with pytest.raises(uq.InputError, match="one number for each axis"):
        distance_to_balls(places, (4, 4, 4), (1.0, 1.0, 1.0))


def test_places_that_are_not_found_while_traced_are_no_numbers():
    def places(count):
        return jax.jit(lambda key: random_places(key, count, (1.0, 1.0), fraction=0.7, attempts=500))(jax.random.key(0))

    assert bool(jnp.all(jnp.isnan(places(30))))
    with pytest.raises(uq.InputError, match=r"the volume fraction is 1\.5"):
        ball_radius(1.5, 3, (1.0, 1.0))


def test_windows_and_lags_stay_within_the_sample():
    field = jnp.arange(24.0).reshape(4, 6)
    np.testing.assert_allclose(window_means(field, (2, 4)), [[4.5], [16.5]])
    with pytest.raises(uq.InputError, match="a size for each"):
        window_means(field, 2)
    with pytest.raises(uq.InputError, match="the axis is 2"):
        variogram(field, 2, [1])
    with pytest.raises(uq.InputError) as raised:
        window_means(field, (5, 7))
    assert len(raised.value.findings) == 2
    assert all("window is larger than the sample" in each for each in raised.value.findings)
    with pytest.raises(uq.InputError, match="the lag 6 is outside"):
        variogram(field, 1, [1, 6])


@pytest.mark.slow
def test_second_derivatives_of_the_radius():
    distance = distance_to_balls(random_places(jax.random.key(0), 3, (1.0, 1.0)), (32, 32), (1.0, 1.0))
    slope = jax.grad(lambda fraction: grown(distance, fraction, 1 / 32)[1])
    difference = (slope(0.3 + 1e-6) - slope(0.3 - 1e-6)) / 2e-6
    assert float(jax.grad(slope)(0.3)) == pytest.approx(float(difference), rel=1e-4)
