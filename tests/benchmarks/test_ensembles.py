"""Multilevel ensembles against plain ones in the same run: processor time at equal standard error, and coverage.

Apparent conductivities of periodic windows; the coarse level is `coarsened` four times along each axis. Coverage is
that of 1000 intervals of estimates that draw from a pool of realisations, whose mean is then the truth; 95 % of 1000
has the standard deviation .7 %.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from uqbench.homogenisation import effective_tensor
from uqbench.random_media import (
    Correlation,
    Level,
    ball_radius,
    coarsened,
    distance_to_balls,
    embed,
    lognormal,
    multilevel_estimate,
    random_places,
    two_phase,
)

pytestmark = pytest.mark.bench


class Medium(NamedTuple):
    """The coefficient of a key, a control of it with its expected value, realisations of the pool, the least gain."""

    coefficient: Callable
    control: Callable
    expected: float
    pool: int
    least_gain: float


def lognormal_medium(family, axes, cells, pool, least_gain, sd=1.0):
    """4 voxels in a correlation length; the geometric mean is lognormal too."""
    embedding = embed((cells,) * axes, (0.25,) * axes, Correlation(family), (1.0,) * axes, periodic=True)
    lengths = jnp.ones(axes)

    def coefficient(key):
        return lognormal(embedding.field(embedding.noise(key), lengths), 1.0, sd)

    variance = float(embedding.spectrum(lengths)[0].ravel()[0]) / cells**axes
    expected = float(np.exp(sd**2 * variance / 2))
    return Medium(coefficient, lambda cell: jnp.exp(jnp.mean(jnp.log(cell))), expected, pool, least_gain)


def boolean_medium(axes, cells, count, contrast, pool, least_gain, fraction=0.4):
    """Disks or spheres at independent places, which overlap: the volume fraction has a binomial mean."""
    extent = (1.0,) * axes
    each = 1 - (1 - fraction) ** (1 / count)
    radius = ball_radius(each, 1, extent)

    def coefficient(key):
        distance = distance_to_balls(random_places(key, count, extent), (cells,) * axes, extent)
        return two_phase((distance < radius).astype(float), contrast, 1.0)

    expected = 1 + (contrast - 1) * fraction
    return Medium(coefficient, jnp.mean, expected, pool, least_gain)


def apparent(cell):
    tensor = effective_tensor(cell, tolerance=1e-6).tensor
    return jnp.trace(tensor) / len(tensor)


MEDIA = {
    "lognormal, Gaussian, 64^2": partial(lognormal_medium, "gaussian", 2, 64, 1200, 20),
    "lognormal, exponential, 64^2": partial(lognormal_medium, "exponential", 2, 64, 1200, 20),
    "disks, contrast 10, 128^2": partial(boolean_medium, 2, 128, 16, 10.0, 1200, 5),
    "lognormal, Gaussian, 32^3": partial(lognormal_medium, "gaussian", 3, 32, 400, 20),
    "spheres, contrast 10, 48^3": partial(boolean_medium, 3, 48, 64, 10.0, 200, 5),
}


def seconds(function, key, realisations):
    """Of the processor for one realisation, and the values of all; compiled beforehand."""
    values = jax.jit(lambda keys: jax.lax.map(function, keys))
    jax.block_until_ready(values(jax.random.split(key, 2)))
    keys = jax.random.split(key, realisations)
    jax.block_until_ready(values(keys[:2]))
    compiled = values.lower(keys).compile()
    start = time.process_time()
    found = jax.block_until_ready(compiled(keys))
    return (time.process_time() - start) / realisations, np.asarray(found)


@pytest.mark.parametrize("name", MEDIA)
def test_multilevel_against_plain(name):
    medium = MEDIA[name]()
    key = jax.random.key(0)
    fine_cost, fine = seconds(lambda key: apparent(medium.coefficient(key)), key, medium.pool)

    def coarse_level(key):
        cell = medium.coefficient(key)
        return jnp.stack([apparent(coarsened(cell, 4)), medium.control(cell)])

    coarse_cost, below = seconds(coarse_level, key, medium.pool)
    pool = [jnp.array(each) for each in (fine, below[:, 0], below[:, 1])]

    def drawn(values):
        return lambda key: values[jax.random.randint(key, (), 0, medium.pool)]

    levels = [Level(drawn(pool[1]), coarse_cost), Level(drawn(pool[0]), fine_cost)]
    control, wanted = drawn(pool[2]), fine.std() / np.sqrt(2000)
    found = [
        multilevel_estimate(
            levels, jax.random.key(seed), error=wanted, controls=control, expected=[float(pool[2].mean())]
        )
        for seed in range(1000)
    ]
    truth, spread = fine.mean(), np.array([each.value for each in found])
    covered = np.mean([each.lower < truth < each.upper for each in found])
    gain = fine.var() * fine_cost / np.mean((spread - truth) ** 2) / np.mean([each.cost for each in found])
    bias = (spread.mean() - truth) / spread.std()
    print(
        f"\n{name}: sd/mean {fine.std() / truth:.3f}, correlation {np.corrcoef(fine, below[:, 0])[0, 1]:.5f}, "
        f"control's mean {(below[:, 1].mean() - medium.expected) / below[:, 1].std() * np.sqrt(medium.pool):+.1f} se, "
        f"seconds {fine_cost:.2g} and {coarse_cost:.2g}; "
        f"gain {gain:.1f} (found {np.median([e.gain for e in found]):.1f}), "
        f"coverage {covered:.3f}, bias {bias:+.2f}, realisations {np.mean([e.realisations for e in found], axis=0)}"
    )
    assert 0.93 < covered < 0.97
    assert gain > medium.least_gain
