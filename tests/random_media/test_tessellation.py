"""Packed cells: walls of lattices in closed form, periodic images, and what cells cover."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uqbench import InputError
from uqbench.homogenisation import at_fraction
from uqbench.random_media import distance_to_walls, random_places


def test_one_place_has_walls_to_its_images():
    found = distance_to_walls(jnp.array([[0.1, 0.7]]), (10, 10), (1.0, 1.0))
    place = (np.arange(10) + 0.5) / 10
    to_wall = [0.5 - np.abs((place - middle + 0.5) % 1 - 0.5) for middle in (0.1, 0.7)]
    np.testing.assert_allclose(found, np.minimum(to_wall[0][:, None], to_wall[1]), atol=1e-12)


def test_hexagons_have_their_inradius():
    extent = (1.0, np.sqrt(3.0))
    found = distance_to_walls(jnp.array([[0.0, 0.0], [0.5, 0.5 * extent[1]]]), (60, 104), extent)
    # half the distance between places; a voxel is 1/60
    assert float(found.max()) == pytest.approx(0.5, abs=1 / 60)
    assert float(found.min()) > 0


def test_brute_force_in_three_dimensions():
    places = random_places(jax.random.key(3), 6, (1.0, 1.0, 1.0))
    found = distance_to_walls(places, (4, 4, 4), (1.0, 1.0, 1.0))
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    images = (np.asarray(places) + shifts).reshape(-1, 3)
    grid = np.stack(np.meshgrid(*[(np.arange(4) + 0.5) / 4] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    square = np.sum((grid[:, None] - images) ** 2, axis=-1)
    for at, row in enumerate(square):
        own = row.argmin()
        others = np.delete(np.arange(len(images)), own)
        gap = (row[others] - row[own]) / (2 * np.linalg.norm(images[others] - images[own], axis=-1))
        assert float(found.ravel()[at]) == pytest.approx(gap.min(), abs=1e-12)


def test_cells_of_a_volume_fraction():
    places = random_places(jax.random.key(1), 9, (3.0, 3.0), fraction=0.3)
    walls = distance_to_walls(places, (72, 72), (3.0, 3.0))
    cells = at_fraction(walls, 0.6, spacing=3 / 72)
    assert float(jnp.mean(cells > 0)) == pytest.approx(0.6, abs=0.02)
    # every wall has moved by the same length
    np.testing.assert_allclose(cells - walls, float((cells - walls)[0, 0]), atol=1e-12)


def test_shapes_that_do_not_match():
    with pytest.raises(InputError, match="axes"):
        distance_to_walls(jnp.zeros((2, 3)), (4, 4), (1.0, 1.0))
