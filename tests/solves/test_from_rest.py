"""What happens while nothing moves: conditions on time, pulses, kinks and long chains that start from an exact zero."""

from math import erfc, factorial, pi, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from .problems import model, solved

RTOL = 1e-6


def from_nothing(p, inputs):
    return {"x": 0.0}


def light(t, y, p, inputs):
    return {"x": jnp.where(jnp.sin(2 * jnp.pi * t / 24.0 - 1.0) > 0.0, 1.0, 0.0) - p["k"] * y["x"]}


def lit(times, k):
    """Twelve hours of light each day, from the hour 24 / (2 pi) on: the sum over the days."""
    begin = 24.0 / (2 * pi) + 24.0 * np.arange(-1, 6)[:, None]
    start, end = np.maximum(begin, 0.0), np.minimum(begin + 12.0, times)
    each = (np.exp(-k * (times - end)) - np.exp(-k * (times - start))) / k
    return np.where(end > start, each, 0.0).sum(axis=0)


@pytest.mark.parametrize("times", [np.arange(5.0, 101.0, 5.0), [24.0, 48.0, 72.0], [100.0], [30.0, 100.0]])
def test_a_light_that_is_switched_by_a_sine_is_never_missed(times):
    found = solved(model(from_nothing, light, {"k": 1.0}, "x"), {"k": 1.0}, uq.Design(times))
    np.testing.assert_allclose(found[:, 0], lit(np.asarray(times), 1.0), rtol=RTOL)


def gauss(t, y, p, inputs):
    return {"x": 3.0 * jnp.exp(-0.5 * ((t - 437.0) / p["w"]) ** 2) - p["k"] * y["x"]}


@pytest.mark.parametrize("times", [[1000.0], [500.0, 1000.0]])
@pytest.mark.parametrize("width", [50.0, 5.0, 1.0])
def test_a_smooth_pulse_from_rest_is_detected(width, times):
    theta, times = {"k": 0.01, "w": width}, np.array(times)
    found = solved(model(from_nothing, gauss, theta, "x"), theta, uq.Design(times))
    k, since = 0.01, times - 437.0
    past = np.array([erfc((k * width - s / width) / sqrt(2)) for s in since])
    exact = 1.5 * width * sqrt(2 * pi) * np.exp(-k * since + 0.5 * (k * width) ** 2) * past
    np.testing.assert_allclose(found[:, 0], exact, rtol=RTOL)


def chain_rhs(t, y, p, inputs):
    names = list(y)
    return {name: p["k"] * ((y[names[j - 1]] if j else 0.0) - y[name]) for j, name in enumerate(names)}


@pytest.mark.parametrize("length", [5, 8, 20])
def test_a_chain_from_zero_and_its_slope(length):
    """a_n = 10 (k t)^n exp(-k t) / n!, whose first steps have no relative accuracy."""

    def initial(p, inputs):
        return {f"a{j:02d}": 10.0 if j == 0 else 0.0 for j in range(length)}

    n, times = length - 1, np.array([0.1, 1.0, 10.0])
    last = f"a{n:02d}"
    chain = model(initial, chain_rhs, {"k": 1.3}, tuple(f"a{j:02d}" for j in range(length)))

    def end(k):
        run = uq.evaluate(chain, {"k": k}, uq.Design(times))
        return run.outputs[last], run.result

    value, code = end(1.3)
    slope, codes = jax.jacfwd(end, has_aux=True)(jnp.asarray(1.3))
    exact = 10.0 * (1.3 * times) ** n * np.exp(-1.3 * times) / factorial(n)
    assert int(code) == int(codes) == 0
    np.testing.assert_allclose(value, exact, rtol=RTOL)
    np.testing.assert_allclose(slope, exact * (n / 1.3 - times), rtol=1e-5)


def ramp(t, y, p, inputs):
    return {"x": jnp.maximum(t - 5.0, 0.0) ** 2 - p["k"] * y["x"]}


def test_a_ramp_from_zero():
    times = np.array([4.0, 6.0, 10.0])
    since = np.maximum(times - 5.0, 0.0)
    exact = since**2 - 2 * since + 2 - 2 * np.exp(-since)
    found = solved(model(from_nothing, ramp, {"k": 1.0}, "x"), {"k": 1.0}, uq.Design(times))
    np.testing.assert_allclose(found[:, 0], exact, rtol=RTOL, atol=1e-12)


def logistic(t, y, p, inputs):
    return {"x": p["A"] / (1 + jnp.exp(-(t - 437.0) / 0.5)) - 0.1 * y["x"]}


def test_a_logistic_switch_has_slopes_where_its_exponential_is_infinite():
    switched = model(from_nothing, logistic, {"A": 1.0}, "x")

    def end(a):
        return uq.evaluate(switched, {"A": a}, uq.Design([450.0, 500.0])).outputs["x"]

    np.testing.assert_allclose(jax.jacfwd(end)(jnp.asarray(2.0)), end(1.0), rtol=1e-6)


@pytest.mark.parametrize("step", [jnp.floor, jnp.round, jnp.ceil])
def test_jumps_that_are_not_located_have_values_and_no_slopes(step):
    def rhs(t, y, p, inputs):
        return {"x": step(2 * jnp.sin(p["w"] * t)) - y["x"]}

    stepped = model(from_nothing, rhs, {"w": 1.3}, "x")
    assert int(uq.evaluate(stepped, {"w": 1.3}, uq.Design([5.0])).result) == 0
    _, code = jax.jacfwd(
        lambda w: (lambda run: (run.outputs["x"], run.result))(uq.evaluate(stepped, {"w": w}, uq.Design([5.0]))),
        has_aux=True,
    )(jnp.asarray(1.3))
    assert int(code) != 0
