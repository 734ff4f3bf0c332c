"""Rates that vary with time: closed forms, the order of the rule, its error control, and jumps."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

from uqbench.master_equation import Ending, distribution
from uqbench.master_equation.box import box_of, rates_of_states
from uqbench.master_equation.chain import Chain, solve
from uqbench.master_equation.time_varying import ORDER, even_steps, sum_of
from uqbench.master_equation.transient import time_dependent

from .networks import BIRTH_DEATH

SIZE = 50


def driven(k):
    return lambda t, y: (k * (1.0 + jnp.sin(2.0 * t)), y[0])


def driven_mean(k, t):
    return k * ((1.0 - np.exp(-t)) + (np.sin(2 * t) - 2 * np.cos(2 * t) + 2 * np.exp(-t)) / 5.0)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-9])
def test_a_driven_birth_is_a_poisson_law(tolerance):
    found = distribution(driven(10.0), BIRTH_DEATH, [0], [0.4, 2.0], (SIZE,), step_tolerance=tolerance)
    assert found.code == 0
    for time, row, leaked, error in zip([0.4, 2.0], found.probability, found.leaked, found.error, strict=True):
        exact = poisson.pmf(np.arange(SIZE), driven_mean(10.0, time))
        assert np.abs(row - exact).sum() <= error + leaked + 1e-11
        assert error <= 1.1 * tolerance


@pytest.mark.slow
def test_slopes_are_those_of_the_closed_form():
    def mean(k):
        return distribution(driven(k), BIRTH_DEATH, [0], [0.4, 2.0], (SIZE,)).probability @ jnp.arange(float(SIZE))

    for derivative in (jax.jacrev, jax.jacfwd):
        np.testing.assert_allclose(derivative(mean)(10.0), driven_mean(1.0, np.array([0.4, 2.0])), rtol=1e-6)


def test_the_order_of_the_rule():
    """Rates whose matrices at two times do not commute; the error falls with the fourth power of the step."""
    rates = driven(10.0)
    box = replace(box_of(BIRTH_DEATH, (SIZE,)), moving=(0, 1))

    def at_nodes(nodes, consts):
        return jax.vmap(lambda t: box.grouped(rates_of_states(rates, t, box.counts(), 2)))(nodes)

    def solution(count):
        chain = Chain(box, at_nodes, 1, sum_of(1e-9, 64))
        given = jnp.zeros(box.inside.shape), []
        return solve(chain, given, jnp.zeros(SIZE).at[0].set(1.0), even_steps(0.0, 2.0, count))[0][0]

    exact = poisson.pmf(np.arange(SIZE), driven_mean(10.0, 2.0))
    errors = [float(np.abs(solution(count) - exact).sum()) for count in (4, 8, 16)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - ORDER) < 0.4), orders


@pytest.mark.parametrize("breaks", [(), (1.0, 5.0)])
def test_a_pulse(breaks):
    """Jumps of a rate that nobody names cost steps; named, they cost none."""

    def rates(t, y):
        return jnp.where(t < 1.0, 2.0, 12.0), y[0]

    found = distribution(rates, BIRTH_DEATH, [0], [1.5], (SIZE,), breaks=breaks)
    mean = 2.0 * (np.exp(-0.5) - np.exp(-1.5)) + 12.0 * (1.0 - np.exp(-0.5))
    assert found.code == 0
    np.testing.assert_allclose(found.probability[0], poisson.pmf(np.arange(SIZE), mean), atol=1e-8)
    named = distribution(rates, BIRTH_DEATH, [0], [1.5], (SIZE,), breaks=(1.0,))
    assert (named.products < found.products) == (breaks == ())


def test_too_many_steps_have_a_code():
    fast = distribution(lambda t, y: (1.0 + jnp.sin(1e5 * t), y[0]), BIRTH_DEATH, [0], [1.0], (SIZE,), max_steps=20)
    assert fast.code == Ending.STEPS and np.all(np.isnan(fast.probability))


def test_what_depends_on_time_is_found_by_tracing():
    found = time_dependent(lambda t: (jnp.sin(t) * jnp.ones(3), *jax.jit(lambda t, y: (y, t + y))(t, jnp.ones(3))))
    assert found == [True, False, True]
