"""Tanks that run empty in finite time and may be filled again: y' = -k y^n, n < 1, whose slope at zero is infinite."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import uqbench as uq

from .problems import DERIVATIVES, model, slopes, solved

TIMES = np.array([1.0, 1.5, 2.5, 3.5, 4.0, 6.0, 9.0])
DOSE_TIME = 3.0


def level(before, rate, power, passed):
    """What is left after the time `passed`; derivatives of it are zero where nothing is."""
    rest = before ** (1 - power) - (1 - power) * rate * passed
    return np.where(np.real(rest) > 0, rest, 0.0) ** (1 / (1 - power))


def closed_form(theta, power, dose):
    before = level(theta["y0"], theta["k"], power, TIMES)
    filled = level(theta["y0"], theta["k"], power, DOSE_TIME) + dose
    after = level(filled, theta["k"], power, np.maximum(TIMES - DOSE_TIME, 0.0))
    return np.where(TIMES <= DOSE_TIME, before, after)


def tank(power, dose, **settings):
    def rhs(t, y, p, inputs):
        flow = p["k"] * jnp.maximum(y["y"], 0.0) ** power
        return {"y": -flow, "drained": flow}

    def doses(p, inputs):
        return {"y": (jnp.array([DOSE_TIME]), jnp.array([dose]))}

    values = {"y0": 1.0, "k": 1.0}
    return model(
        lambda p, inputs: {"y": p["y0"], "drained": 0.0}, rhs, values, ["y", "drained"], doses=doses, **settings
    )


@pytest.mark.parametrize("power", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("rate", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("dose", [1.0, 4.0])
def test_a_tank_is_filled_again(power, rate, dose):
    theta = {"y0": 1.0, "k": rate}
    found = solved(tank(power, dose), theta, uq.Design(TIMES))[:, 0]
    np.testing.assert_allclose(found, closed_form(theta, power, dose), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("way", DERIVATIVES)
@pytest.mark.parametrize("power", [0.5, 0.7])
def test_slopes_through_the_emptying(way, power):
    theta = {"y0": 1.0, "k": 1.5}
    found = slopes(tank(power, 1.0), theta, uq.Design(TIMES), ("y0", "k"), way)
    assert found.result == 0
    step = 1e-6
    for column, name in enumerate(theta):
        above, below = ({**theta, name: theta[name] + sign * step} for sign in (1, -1))
        exact = (closed_form(above, power, 1.0) - closed_form(below, power, 1.0)) / (2 * step)
        np.testing.assert_allclose(found.derivatives[:, 0, column], exact, rtol=1e-4, atol=1e-5)


def test_the_last_of_a_tank_falls_between_two_times():
    """y = (1 - .9 t)^(1/.9): where it is 1e-18 no time is left that has a number of its own."""

    def rhs(t, y, p, inputs):
        return {"y": -p["k"] * y["y"] ** 0.1}

    steep = model(lambda p, inputs: {"y": p["y0"]}, rhs, {"y0": 1.0, "k": 1.0}, ["y"])
    times = np.array([0.5, 1.0, 1.5])
    found = solved(steep, {"y0": 1.0, "k": 1.0}, uq.Design(times))[:, 0]
    np.testing.assert_allclose(found, np.maximum(1 - 0.9 * times, 0.0) ** (1 / 0.9), rtol=1e-5)


def test_an_epidemic_returns_beside_a_tank_that_runs_empty():
    """The infected fall to 1e-29 and return: that solve has no absolute tolerance at all, and the tank needs none."""

    def rhs(t, y, p, inputs):
        infections = 30 * p["b"] * y["i"] * y["s"]
        return {"i": infections - 15 * p["b"] * y["i"], "s": 0.5 - infections, "y": -jnp.sqrt(y["y"])}

    both = model(lambda p, inputs: {"i": 1e-3, "s": 2.0, "y": 1.0}, rhs, {"b": 10.0}, ["i", "s", "y"])
    times = np.array([1.0, 3.0, 5.0, 10.0])
    found = solved(both, {"b": 10.0}, uq.Design(times))
    exact = solve_ivp(
        lambda t, z: [300 * (z[1] - 0.5), 0.5 - 300 * np.exp(z[0]) * z[1]],
        (0, 10),
        [np.log(1e-3), 2.0],
        method="LSODA",
        rtol=1e-11,
        atol=1e-13,
        t_eval=times,
    ).y
    np.testing.assert_allclose(found[:, 0], np.exp(exact[0]), rtol=1e-3)
    np.testing.assert_allclose(found[:, 1], exact[1], rtol=1e-4)
    np.testing.assert_allclose(found[:, 2], np.maximum(1 - times / 2, 0.0) ** 2, rtol=1e-6, atol=1e-15)
