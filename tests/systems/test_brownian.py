"""Paths of Wiener processes: their law at irregular times, and that they are functions of the key."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import kstest

from uqbench.systems.brownian import CELLS, WienerPath

N = 4000
# the ends, a cell's end, within one cell twice, and beyond
TIMES = np.array([2.0, 2.0 + 0.3 / CELLS, 2.0 + 0.45 / CELLS, 2.0 + 1.0 / CELLS, 2.37, 2.9999, 3.0])


def values(shortest, seed=0):
    def of(key):
        path = WienerPath.of(key, 2.0, 3.0, 2, shortest)
        return jax.vmap(path.evaluate)(jnp.asarray(TIMES))

    return np.asarray(jax.jit(jax.vmap(of))(jax.random.split(jax.random.key(seed), N)))


def test_increments_are_normal_and_independent():
    w = values(0.1 / CELLS)
    assert np.all(w[:, 0] == 0.0)
    scaled = np.diff(w, axis=1) / np.sqrt(np.diff(TIMES))[:, None]
    for source in range(2):
        for step in range(scaled.shape[1]):
            assert kstest(scaled[:, step, source], "norm").pvalue > 1e-4
    flat = scaled.reshape(N, -1)
    correlation = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    # five standard errors, of 66 correlations
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(N)


def test_a_path_belongs_to_its_key_whatever_the_steps():
    """Where the leaves are as short for both; else they differ within a leaf, by no more than a bridge can."""
    coarse, fine = values(1.0), values(0.25 / CELLS)
    np.testing.assert_array_equal(coarse, fine)
    finer = values(1e-3 / CELLS)
    assert 0 < np.max(np.abs(coarse - finer)) < 6 * np.sqrt(1 / CELLS / 8 / 4)
    assert np.all(values(1.0, seed=1)[:, -1] != coarse[:, -1])


def test_an_increment_is_the_difference_of_values():
    path = WienerPath.of(jax.random.key(3), 0.0, 5.0, 1, 0.01)
    two = path.evaluate(jnp.asarray(1.1), jnp.asarray(2.3))
    np.testing.assert_allclose(two, path.evaluate(jnp.asarray(2.3)) - path.evaluate(jnp.asarray(1.1)), rtol=1e-12)
