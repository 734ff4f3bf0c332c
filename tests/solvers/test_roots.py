"""Roots and equilibria against closed forms, with derivatives in both modes and members that fail alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import uqbench  # noqa: F401  (double precision)
from uqbench.solvers.roots import newton, relax, solve


def circle(x, a):
    """x0^2 = a, x0 x1 = 1."""
    return jnp.stack([x[0] ** 2 - a, x[0] * x[1] - 1.0])


def double_well(x, a):
    return a + x - x**3


def reciprocal_root(a):
    return newton(circle, jnp.array([1.0, 1.0]), a).value[1]


def test_newton_finds_the_root_and_its_derivatives():
    """1 / sqrt(a): the first three derivatives at a = 2."""
    assert float(reciprocal_root(2.0)) == pytest.approx(2**-0.5, rel=1e-14)
    first, second = jax.grad(reciprocal_root), jax.hessian(reciprocal_root)
    assert float(first(2.0)) == pytest.approx(-0.5 * 2**-1.5, rel=1e-13)
    assert float(jax.jacfwd(reciprocal_root)(2.0)) == pytest.approx(-0.5 * 2**-1.5, rel=1e-13)
    assert float(second(2.0)) == pytest.approx(0.75 * 2**-2.5, rel=1e-13)
    assert float(jax.jacfwd(second)(2.0)) == pytest.approx(-1.875 * 2**-3.5, rel=1e-12)


def test_a_member_without_root_fails_alone():
    found = jax.vmap(lambda a: newton(circle, jnp.array([1.0, 1.0]), a))(jnp.array([4.0, -1.0, 9.0]))
    assert found.converged.tolist() == [True, False, True]
    np.testing.assert_allclose(found.value[::2, 0], [2.0, 3.0], rtol=1e-13)
    assert np.all(np.isnan(found.value[1]))
    slopes = jax.vmap(jax.grad(reciprocal_root))(jnp.array([4.0, -1.0]))
    assert float(slopes[0]) == pytest.approx(-0.5 * 4**-1.5)


@pytest.mark.parametrize("guess, root", [(0.3, 1.0), (-0.01, -1.0), (3.0, 1.0), (-40.0, -1.0)])
def test_relaxation_ends_in_the_basin_of_its_start(guess, root):
    found = relax(double_well, jnp.array([guess]), 0.0)
    assert bool(found.converged) and float(found.value[0]) == pytest.approx(root, abs=1e-13)


def test_relaxation_stays_where_it_is_at_rest():
    at = relax(double_well, jnp.array([0.9]), 0.2).value
    again = relax(double_well, at, 0.2)
    assert bool(again.converged) and float(again.value[0]) == pytest.approx(float(at[0]), rel=1e-14)


def test_relaxation_without_equilibrium_says_so():
    found = relax(lambda x, a: a + x**2, jnp.array([0.0]), 1.0)
    assert not bool(found.converged) and np.isnan(found.value[0])


def test_rates_of_any_unit_and_stiffness_are_solved():
    """A chain with rates from 1e-9 to 1e13: twenty-two decades from the fastest to the slowest."""
    rates = jnp.array([1e-9, 1.0, 1e13])

    def chain(x, scale):
        inflow = jnp.concatenate([scale * jnp.ones(1), rates[:2] * x[:2]])
        return inflow - rates * x

    found = relax(chain, jnp.zeros(3), 2.0)
    np.testing.assert_allclose(found.value, 2.0 / rates, rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_small_systems_are_solved(seed):
    rng = np.random.default_rng(seed)
    matrix, vector = rng.standard_normal((5, 5)), rng.standard_normal(5)
    exact = np.linalg.solve(matrix, vector)
    np.testing.assert_allclose(solve(jnp.asarray(matrix), jnp.asarray(vector)), exact, rtol=1e-8)


def test_members_of_a_large_batch_end():
    """Coupled cubics in a batch as wide as a vector register.

    The condition of the halving loop, computed twice with other rounding, once had it never end.
    """

    def cubic(x, a):
        return x**3 + 0.3 * jnp.roll(x, 1) - a * jnp.arange(1.0, 5.0)

    def root(a):
        return newton(cubic, jnp.ones(4), a)

    given = jnp.linspace(1.0, 3.0, 16)
    found = jax.vmap(root)(given)
    assert np.all(found.converged)
    np.testing.assert_allclose(jax.vmap(cubic)(found.value, given), 0.0, atol=1e-13)
    np.testing.assert_allclose(found.value[3], root(given[3]).value, rtol=1e-13)
