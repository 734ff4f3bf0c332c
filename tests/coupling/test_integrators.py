"""Steps of one length: their orders, what is exact, and what every one of them conserves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uqbench.coupling.integrators import INTEGRATORS, integrate

ORDERS = {
    "explicit_euler": 1,
    "heun": 2,
    "rk4": 4,
    "implicit_euler": 1,
    "trapezoidal": 2,
    "sdirk2": 2,
    "exponential": 2,
    "chebyshev": 2,
}


def pendulum(t, y, k):
    return jnp.stack([y[1], -k * jnp.sin(y[0])])


@pytest.mark.parametrize("name", INTEGRATORS)
def test_orders(name):
    def end(count):
        y, solved = integrate(name, pendulum, 0.0, jnp.array([1.0, 0.5]), 1.0, count, 2.0)
        assert bool(solved)
        return np.asarray(y)

    truth = np.asarray(integrate("rk4", pendulum, 0.0, jnp.array([1.0, 0.5]), 1.0, 1000, 2.0)[0])
    errors = [np.linalg.norm(end(count) - truth) for count in (20, 40)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[name], abs=0.25)


def test_the_exponential_is_exact_for_linear_rates():
    matrix = jnp.array([[-1.0, -20.0], [20.0, -1.0]])
    y, _ = integrate("exponential", lambda t, y, m: m @ y, 0.0, jnp.array([1.0, 0.0]), 0.1, 1, matrix)
    assert np.asarray(y) == pytest.approx(np.exp(-0.1) * np.array([np.cos(2.0), np.sin(2.0)]), rel=1e-12)


def exchanged(t, y, k):
    flux = k * (y[0] ** 2 - y[1])
    return jnp.stack([-flux / 3.0, flux / 2.0])


def one_step(name):
    return jax.jit(lambda k, h: integrate(name, exchanged, 0.0, jnp.array([2.0, 1.0]), h, 2, k)[0])


STEPS = {name: one_step(name) for name in INTEGRATORS}


@given(st.sampled_from(INTEGRATORS), st.floats(0.01, 1.0), st.floats(0.001, 0.1))
def test_constant_sums_are_kept_by_every_step(name, k, h):
    y = np.asarray(STEPS[name](k, h))
    assert 3 * y[0] + 2 * y[1] == pytest.approx(8.0, rel=1e-14)


def test_a_stage_without_a_root_is_not_solved():
    # y = 1 + h (1 + y^2) has no solution for h = 1
    _, solved = integrate("implicit_euler", lambda t, y, k: k * (1 + y**2), 0.0, jnp.ones(1), 1.0, 1, 1.0)
    assert not bool(solved)
