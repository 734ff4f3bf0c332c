"""Multilevel estimates: coverage and cost on windows in two dimensions, allocation, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.homogenisation import effective_tensor, voigt_reuss
from uqbench.random_media import (
    Correlation,
    Level,
    apparent_values,
    ball_radius,
    coarsened,
    distance_to_balls,
    embed,
    lognormal,
    multilevel_estimate,
    random_places,
    two_phase,
)

CELLS, FACTOR, REALISATIONS = 32, 4, 400


def apparent(cell):
    return jnp.trace(effective_tensor(cell, tolerance=1e-6).tensor) / 2


def lognormal_cell(key):
    embedding = embed((CELLS, CELLS), (0.25, 0.25), Correlation("gaussian"), (1.0, 1.0), periodic=True)
    return lognormal(embedding.field(embedding.noise(key), jnp.ones(2)), 1.0, 0.8)


def disks(key, contrast=10.0):
    """Six disks that may overlap."""
    distance = distance_to_balls(random_places(key, 6, (1.0, 1.0)), (CELLS, CELLS), (1.0, 1.0))
    return two_phase((distance < ball_radius(0.4, 6, (1.0, 1.0))).astype(float), contrast, 1.0)


CONTROLS = {lognormal_cell: lambda cell: jnp.exp(jnp.mean(jnp.log(cell))), disks: jnp.mean}


@pytest.fixture(
    scope="module", params=[lognormal_cell, pytest.param(disks, marks=pytest.mark.slow)], ids=["lognormal", "disks"]
)
def pool(request):
    """Apparent values of realisations on the grid and on a coarse one, and a control."""
    medium = request.param

    def row(key):
        cell = medium(key)
        return jnp.stack([apparent(coarsened(cell, FACTOR)), apparent(cell), CONTROLS[medium](cell)])

    return apparent_values(row, jax.random.key(0), REALISATIONS)


def drawn(values):
    """A level that draws from a pool of realisations, whose mean is its mean."""
    return lambda key: values[jax.random.randint(key, (), 0, REALISATIONS)]


def test_intervals_cover_and_cost_less(pool):
    coarse, fine, control = (drawn(each) for each in pool.T)
    truth, expected = float(pool[:, 1].mean()), [float(pool[:, 2].mean())]
    wanted = float(pool[:, 1].std()) / np.sqrt(600)
    levels = [Level(coarse, 0.1), Level(fine, 1.0)]
    found = [
        multilevel_estimate(levels, jax.random.key(seed), error=wanted, controls=control, expected=expected)
        for seed in range(300)
    ]
    # of 300 intervals; three standard deviations are .038
    assert abs(np.mean([each.lower < truth < each.upper for each in found]) - 0.95) < 0.038
    errors = np.array([each.value for each in found]) - truth
    assert np.sqrt(np.mean(errors**2)) < 1.1 * wanted
    # what plain realisations would cost, by the spread of the estimates and as each estimate says
    gain = float(pool[:, 1].var()) / np.mean(errors**2) / np.mean([each.cost for each in found])
    assert gain > 4
    assert np.median([each.gain for each in found]) == pytest.approx(gain, rel=0.25)


def normals(key):
    return jax.random.normal(key, (3,))


# Three levels whose differences have the standard deviations 1, .1 and .01.
LEVELS = [
    Level(lambda key: 2.0 + normals(key)[0], 1.0),
    Level(lambda key: 2.5 + normals(key) @ jnp.array([1.0, 0.1, 0.0]), 30.0),
    Level(lambda key: 3.0 + normals(key) @ jnp.array([1.0, 0.1, 0.01]), 1000.0),
]


def test_numbers_are_those_of_the_least_cost():
    """Giles (2015), eq. 1.4: sqrt(variance/cost), but for whole batches and the pilot of the last level."""
    found = multilevel_estimate(LEVELS, jax.random.key(1), error=0.01, pilot=16, batch_size=8)
    assert 0.009 < found.error <= 0.01
    assert abs(found.value - 3.0) < 4 * found.error
    first, second, last = found.realisations
    assert last == 16
    assert first / second == pytest.approx(np.sqrt(1.0 / 0.01 * 31.0), rel=0.3)
    assert found.cost == pytest.approx(first + 31 * second + 1030 * last)
    # a realisation of the last level has the variance 1.0101
    assert found.plain_cost == pytest.approx(1.0101 * 1000 / found.error**2, rel=0.2)
    assert found.gain == pytest.approx(found.plain_cost / found.cost)
    assert found.value == pytest.approx(sum(term.value for term in found.terms))


def test_one_level_is_a_plain_ensemble_and_the_same_key_the_same_estimate():
    found = multilevel_estimate(LEVELS[:1], jax.random.key(2), error=0.05)
    assert found.gain == pytest.approx(1.0, rel=0.01)
    assert found == multilevel_estimate(LEVELS[:1], jax.random.key(2), error=0.05)
    assert found.value != multilevel_estimate(LEVELS[:1], jax.random.key(3), error=0.05).value


@pytest.mark.slow
def test_a_budget_is_kept_and_the_error_says_so():
    found = multilevel_estimate(LEVELS, jax.random.key(1), error=1e-3, budget=60_000.0, batch_size=1)
    assert found.cost < 1.02 * 60_000 and found.error > 1e-3


def test_levels_without_a_difference_have_no_error_of_it():
    same = [Level(LEVELS[0].apparent, 1.0), Level(LEVELS[0].apparent, 100.0)]
    found = multilevel_estimate(same, jax.random.key(4), error=0.05, pilot=8, batch_size=8)
    assert found.terms[1].error == 0.0 and found.realisations[1] == 8
    assert 0 < found.error <= 0.05


def test_what_is_wrong_with_levels():
    key = jax.random.key(0)
    with pytest.raises(uq.InputError) as raised:
        multilevel_estimate(LEVELS[::-1], key, error=-1.0, expected=[0.0], pilot=2, batch_size=0, budget=0.0, level=1.0)
    assert len(raised.value.findings) == 7
    for levels, finding in (
        ([], "no levels"),
        ([normals], "give Level"),
        ([Level(normals, 1.0)], r"returns the shapes \(3,\)"),
        ([Level(LEVELS[0].apparent, -1.0)], "costs"),
    ):
        with pytest.raises(uq.InputError, match=finding):
            multilevel_estimate(levels, key, error=1.0)
    broken = [LEVELS[0], Level(lambda key: jnp.where(normals(key)[0] > 0, jnp.nan, 1.0), 2.0)]
    with pytest.raises(uq.InputError, match=r"\d+ of 32 realisations of level 1 are not finite"):
        multilevel_estimate(broken, key, error=1.0)
    with pytest.raises(uq.InputError, match="1 expected values are given for 2 controls"):
        multilevel_estimate(LEVELS, key, error=1.0, controls=lambda key: normals(key)[:2], expected=[0.0])


@pytest.mark.parametrize("shape, axes", [((8, 12), 2), ((4, 8, 4), 3)])
def test_coarse_cells_have_the_means_of_their_voxels_along_and_across(shape, axes):
    cell = jnp.exp(jax.random.normal(jax.random.key(0), shape))
    coarse = coarsened(cell, 4)
    assert coarse.shape == (*(edge // 4 for edge in shape), axes, axes)
    blocks = cell[(slice(4),) * axes]
    eigenvalues = np.linalg.eigvalsh(coarse[(0,) * axes])
    np.testing.assert_allclose(eigenvalues[0], 1 / jnp.mean(1 / blocks), rtol=1e-10)
    np.testing.assert_allclose(eigenvalues[1:], jnp.mean(blocks), rtol=1e-10)


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0)])
def test_laminates_stay_exact_on_a_coarse_grid(direction):
    """Layers whose faces cut coarse cells."""
    place = np.tensordot(np.array(direction), np.indices((24, 24)), axes=1)
    layers = jnp.array(np.where((place % 12) < 5, 1.0, 50.0))
    fine, coarse = (effective_tensor(each).tensor for each in (layers, coarsened(layers, 4)))
    np.testing.assert_allclose(coarse, fine, rtol=1e-8, atol=1e-8)
    lower, upper = voigt_reuss(layers)
    np.testing.assert_allclose(np.sort(np.diag(coarse)), [lower[0, 0], upper[0, 0]], rtol=1e-8)


def test_what_is_wrong_with_a_coarse_grid():
    with pytest.raises(uq.InputError, match="do not divide"):
        coarsened(jnp.ones((8, 6)), 4)
    with pytest.raises(uq.InputError, match="4 of 16 voxels are not positive"):
        coarsened(1.0 - jnp.eye(4), 2)
    with pytest.raises(uq.InputError) as raised:
        coarsened(jnp.ones(8), 0)
    assert len(raised.value.findings) == 2
