"""Stationary distributions against closed forms, and their derivatives and bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import beta
from scipy.stats import poisson

from uqbench.master_equation import (
    Ending,
    conditional_error,
    distribution,
    independent_species,
    stationary_distribution,
)

from .networks import BIRTH_DEATH, TELEGRAPH, TOGGLE, birth_death, telegraph, toggle

REDUCED = independent_species(TELEGRAPH, [1, 0, 0])


def beta_poisson(n, k_on=0.5, k_off=1.0, r=20.0):
    """The mean of a Poisson law over its Beta rate, with the singular ends of the density taken away."""
    a, b = k_on, k_off
    # x = u^(1/a) near zero
    low = quad(lambda u: poisson.pmf(n, r * u ** (1 / a)) * (1 - u ** (1 / a)) ** (b - 1) / a, 0, 0.5**a, epsabs=1e-13)
    high = quad(lambda x: poisson.pmf(n, r * x) * x ** (a - 1) * (1 - x) ** (b - 1), 0.5, 1, epsabs=1e-13)
    return (low[0] + high[0]) / beta(a, b)


def messengers(probability):
    return REDUCED.marginal(probability, 2, 100)


def test_the_telegraph_model_is_a_beta_poisson_law():
    found = stationary_distribution(REDUCED.rates(telegraph()), REDUCED.changes, (2, 100))
    law = messengers(found.probability)
    counts = np.arange(100)
    mean = law @ counts
    assert float(mean) == pytest.approx(6.6666666667, abs=1e-8)
    assert float(law @ counts**2 - mean**2) / float(mean) == pytest.approx(6.3333333333, abs=1e-8)
    for n, table in {0: 0.1981663648, 5: 0.0487657592, 20: 0.0120506649}.items():
        assert float(law[n]) == pytest.approx(table, abs=1e-9)
        assert float(law[n]) == pytest.approx(beta_poisson(n), abs=1e-8)
    assert found.residual < 1e-13 and found.flux < 1e-12
    late = distribution(REDUCED.rates(telegraph()), REDUCED.changes, REDUCED.start, [60.0], (2, 100))
    np.testing.assert_allclose(late.probability[0], found.probability, atol=1e-9)


@pytest.mark.slow
def test_slopes_by_the_implicit_function_theorem():
    """The mean is r k_on / (k_on + k_off) / d."""

    def mean(given):
        rates = telegraph(*given)
        found = stationary_distribution(REDUCED.rates(rates), REDUCED.changes, (2, 100))
        return messengers(found.probability) @ jnp.arange(100.0)

    at = jnp.array([0.5, 1.0, 20.0, 1.0])
    exact = [20.0 * 1.0 / 1.5**2, -20.0 * 0.5 / 1.5**2, 1.0 / 3.0, -20.0 / 3.0]
    for derivative in (jax.grad, jax.jacfwd):
        np.testing.assert_allclose(derivative(mean)(at), exact, rtol=1e-7)
    many = jax.jit(jax.vmap(jax.grad(mean)))(jnp.stack([at, at]))
    np.testing.assert_allclose(many, [exact, exact], rtol=1e-7)


def test_a_slow_switch_has_one_distribution():
    found = stationary_distribution(toggle(), TOGGLE, (90, 90))
    assert found.code == 0
    np.testing.assert_allclose(found.probability, found.probability.T, atol=1e-10)


def test_absorbing_states_are_no_unique_distribution():
    found = stationary_distribution(lambda t, y: (jnp.where(y[0] == 5, 0.0, y[0]), 0.0), BIRTH_DEATH, (12,))
    assert found.code == Ending.NOT_UNIQUE and np.all(np.isnan(found.probability))


@pytest.mark.parametrize("size", [12, 20])
def test_the_bound_is_above_the_error_inside_the_box(size):
    rates = birth_death(6.0, 1.0)
    found = stationary_distribution(rates, BIRTH_DEATH, (size,))
    exact = poisson.pmf(np.arange(size), 6.0)
    assert (
        np.abs(found.probability - exact / exact.sum()).sum()
        <= conditional_error(rates, BIRTH_DEATH, (size,), found.probability) + 1e-12
    )
    assert float(found.flux) == pytest.approx(6.0 * exact[-1] / exact.sum(), rel=1e-9)


def test_the_bound_for_two_species():
    """Against the distribution in a larger box, given the smaller."""
    rates, small = toggle(a=8.0, k=3.0), 12
    inside = stationary_distribution(rates, TOGGLE, (small, small))
    large = np.asarray(stationary_distribution(rates, TOGGLE, (40, 40)).probability)[:small, :small]
    error = np.abs(inside.probability - large / large.sum()).sum()
    bound = conditional_error(rates, TOGGLE, (small, small), inside.probability)
    assert 1e-8 < error <= bound < 0.5
