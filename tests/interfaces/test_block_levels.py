"""Sparse systems in levels: against dense solutions, with both kinds of derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sparse

from uqbench.interfaces.block_levels import levels_of, solve


def example(seed: int, sizes=(3, 5, 2, 4)):
    """Two random matrices over levels of different sizes, unknowns in no order, and a right side."""
    rng = np.random.default_rng(seed)
    level = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    near = abs(level[:, None] - level) <= 1
    terms = [np.where(near, rng.standard_normal(near.shape), 0.0) for _ in range(2)]
    return terms, level, rng.standard_normal(len(level))


@pytest.mark.parametrize("seed", range(2))
def test_solution_and_derivatives_are_those_of_dense_matrices(seed):
    terms, level, right = example(seed)
    system = levels_of([sparse.coo_array(term) for term in terms], level)

    def ours(c, b):
        return solve(system, c, b).values

    def dense(c, b):
        return jnp.linalg.solve(c[0] * terms[0] + c[1] * terms[1], b)

    c, b = jnp.array([1.0, 0.4]), jnp.asarray(right)
    np.testing.assert_allclose(ours(c, b), dense(c, b), rtol=1e-9)
    assert bool(solve(system, c, b).sound)
    for transform in (jax.jacfwd, jax.jacrev):
        for found, expected in zip(transform(ours, (0, 1))(c, b), transform(dense, (0, 1))(c, b), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8 * np.abs(expected).max())


def test_zero_pivots_of_a_saddle_point_are_no_obstacle_within_a_level():
    """[[0, 1], [1, 0]] has no pivot on its diagonal."""
    system = levels_of([sparse.coo_array(np.array([[0.0, 1.0], [1.0, 0.0]]))], np.array([0, 0]))
    np.testing.assert_allclose(solve(system, jnp.ones(1), jnp.array([2.0, 3.0])).values, [3.0, 2.0])


def test_a_singular_matrix_is_not_sound():
    laplacian = sparse.diags_array([1.0, 2.0, 2.0, 1.0]) - sparse.diags_array([1.0] * 3, offsets=1, shape=(4, 4))
    laplacian = laplacian - sparse.diags_array([1.0] * 3, offsets=-1, shape=(4, 4))
    system = levels_of([laplacian], np.arange(4) // 2)
    assert not bool(solve(system, jnp.ones(1), jnp.ones(4)).sound)
