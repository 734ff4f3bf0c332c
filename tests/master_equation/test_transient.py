"""Distributions over time against closed forms, other solvers, and what they certify of themselves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import expm_multiply
from scipy.stats import poisson

from uqbench.errors import InputError
from uqbench.master_equation import Ending, distribution, method_for
from uqbench.master_equation.box import box_of, rates_of_states
from uqbench.master_equation.stationary import sparse_generator

from .networks import BIRTH_DEATH, TOGGLE, autoregulation, birth_death, random_network, toggle

COUNTS = np.arange(60)


@pytest.mark.parametrize("method", ["uniformisation", "dense"])
def test_birth_and_death_is_a_poisson_law(method):
    times = [0.0, 0.5, 1.0, 1.0, 3.0]
    found = distribution(birth_death(10.0, 1.0), BIRTH_DEATH, [0], times, (60,), method=method)
    for time, row, leaked, error in zip(times, found.probability, found.leaked, found.error, strict=True):
        exact = poisson.pmf(COUNTS, 10.0 * (1.0 - np.exp(-time)))
        assert np.abs(row - exact).sum() < 1e-8
        assert abs(np.sum(row) + leaked - 1.0) <= error + 1e-15
    assert found.code == 0 and found.products > 0


def test_a_start_may_be_a_distribution():
    start = poisson.pmf(COUNTS, 4.0)
    found = distribution(birth_death(10.0, 2.0), BIRTH_DEATH, start, [0.7], (60,))
    mean = 5.0 + (4.0 - 5.0) * np.exp(-1.4)
    np.testing.assert_allclose(found.probability[0], poisson.pmf(COUNTS, mean), atol=1e-10)


def test_the_toggle_switch():
    """The mean of the table was computed in the smaller box, and what a larger one adds is within what has leaked."""
    small, large = (mean_of_toggle(size) for size in (100, 110))
    assert small[0] == pytest.approx(41.9541612621, abs=3e-9)
    assert large[1] < 1e-10
    assert 0.0 < large[0] - small[0] < 110 * small[1]


def mean_of_toggle(size):
    found = jax.jit(lambda: distribution(toggle(), TOGGLE, [50, 5], [10.0], (size, size)))()
    return float(jnp.sum(found.probability[0].sum(axis=1) * jnp.arange(size))), float(found.leaked[0])


@settings(max_examples=3)
@given(seed=st.integers(0, 10**6), size=st.integers(6, 14))
def test_what_has_leaked_is_the_whole_error(seed, size):
    """Against a much larger box: no probability is too large, and the sum of what is missing is what is stated."""
    rates, changes = random_network(seed)
    times, larger = [0.5, 2.0], 40
    found = distribution(rates, changes, [2, 1], times, (size, size))
    box = box_of(changes, (larger, larger))
    values = np.asarray(box.grouped(rates_of_states(rates, 0.0, box.counts(), len(changes))))
    matrix = sparse_generator(box, values)
    start = np.zeros(box.states)
    start[2 * larger + 1] = 1.0
    for time, row, leaked, error in zip(times, found.probability, found.leaked, found.error, strict=True):
        exact = expm_multiply(matrix * time, start).reshape(larger, larger)
        missing = exact[:size, :size] - row
        outside = exact.sum() - exact[:size, :size].sum()
        assert missing.min() > -1e-12
        assert np.abs(missing).sum() + outside <= leaked + error + 1e-11


def mean_count(theta, method="uniformisation", above=None):
    found = distribution(autoregulation(*theta), BIRTH_DEATH, [0], [5.0], (80,), method=method)
    values = jnp.arange(80.0) if above is None else 1.0 * (jnp.arange(80) > above)
    return found.probability[0] @ values


@pytest.mark.parametrize("method", ["uniformisation", "dense"])
@pytest.mark.parametrize("derivative", [pytest.param(jax.grad, marks=pytest.mark.slow), jax.jacfwd])
def test_slopes_of_negative_autoregulation(method, derivative):
    theta = jnp.array([40.0, 1.0])
    np.testing.assert_allclose(derivative(mean_count)(theta, method), [0.334645, -13.317769], rtol=2e-6)
    assert derivative(partial(mean_count, above=25))(theta, method)[0] == pytest.approx(0.0132012, rel=1e-5)


@pytest.mark.slow
def test_slopes_are_differences_of_values_also_by_start_and_times():
    def score(given):
        k, start, times = given
        found = distribution(lambda t, y: (k, 0.5 * y[0], 0.1 * k * y[0]), [[1], [-1], [-2]], start, times, (30,))
        # not inside after the second death of one
        return jnp.sum(found.probability * jnp.sin(jnp.arange(30.0)))

    start = jnp.asarray(poisson.pmf(np.arange(30), 3.0))
    at = (jnp.asarray(2.0), start, jnp.array([0.3, 1.0]))
    reverse, forward = jax.grad(score)(at), jax.jacfwd(score)(at)
    for back, ahead in zip(jax.tree.leaves(reverse), jax.tree.leaves(forward), strict=True):
        np.testing.assert_allclose(back, ahead, rtol=1e-9, atol=1e-11)
    direction = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size, dtype=float)).reshape(x.shape), at)
    step = 1e-5
    ends = [score(jax.tree.map(lambda x, d, h=h: x + h * d, at, direction)) for h in (step, -step)]
    slope = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(reverse), jax.tree.leaves(direction), strict=True))
    assert float(slope) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-7)


@pytest.mark.slow
def test_batches_are_their_members():
    thetas = jnp.array([[40.0, 1.0], [10.0, 0.5]])
    for function in (mean_count, jax.grad(mean_count), jax.jacfwd(mean_count)):
        together = jax.jit(jax.vmap(function))(thetas)
        for theta, each in zip(thetas, together, strict=True):
            np.testing.assert_allclose(each, function(theta), rtol=1e-10)


@pytest.mark.slow
def test_many_stretches_and_entries_are_taken_back():
    """So many products that reverse mode has several entries, each with many stretches."""

    def mean(k, max_products):
        rates = birth_death(k * 40.0, 40.0)
        found = distribution(rates, BIRTH_DEATH, [0], [0.01, 2.0], (50,), max_products=max_products)
        return found.probability @ jnp.arange(50.0), found

    for max_products in (2**13, 2**16):
        slopes = jax.jacrev(lambda k, limit=max_products: mean(k, limit)[0])(2.0)
        np.testing.assert_allclose(slopes, 1.0 - np.exp(-40.0 * np.array([0.01, 2.0])), rtol=1e-8)
    assert mean(2.0, 2**13)[1].products > 4000


def test_a_second_derivative_is_refused():
    with pytest.raises(NotImplementedError, match="second derivative"):
        jax.hessian(mean_count)(jnp.array([40.0, 1.0]))


def test_limits_and_impossible_rates_have_codes():
    def code(rates, start=(0,), **settings):
        found = distribution(rates, BIRTH_DEATH, start, [1.0], (20,), **settings)
        assert (found.code != 0) == bool(np.all(np.isnan(found.probability)))
        return Ending(int(found.code))

    assert code(birth_death(1.0, 1e6)) == Ending.PRODUCTS
    assert code(birth_death(1.0, 1e6), method="dense") == Ending.SUCCESS
    assert code(birth_death(1.0, 1.0), start=(25,)) == Ending.OUTSIDE
    assert code(lambda t, y: (3.0 - y[0], y[0])) == Ending.SUCCESS  # counts above 3 are not reached
    assert code(lambda t, y: (2.5 - y[0], y[0])) == Ending.BAD_RATE
    assert code(lambda t, y: (jnp.log(2.5 - y[0]), y[0])) == Ending.BAD_RATE


def test_findings_are_told_at_once():
    with pytest.raises(InputError) as told:
        distribution(birth_death(1.0, 1.0), [[1.5], [-1.0]], [[0, 0]], 1.0, (20,), method="best")
    assert len(told.value.findings) == 4


@pytest.mark.slow
def test_the_cheaper_method_follows_from_the_cost():
    assert method_for(birth_death(10.0, 1.0), BIRTH_DEATH, [1.0], (60,)) == "uniformisation"
    assert method_for(birth_death(1e4, 1e6), BIRTH_DEATH, [1.0], (10,)) == "dense"
