"""Measured inputs as kernels: values, derivatives and switch times against JAX and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.kernels import Sources, build

from .harness import Case, Model, assert_rates_agree, call

TIMES = np.array([-1.0, 0.5, 0.5, 2.0, 5.0])
VALUES = np.array([1.0, 3.0, -2.0, 0.5, 4.0])
WITHIN = [-2.0, -1.0, 0.2, 0.4999, 0.5, 1.0, 2.0, 4.0, 5.0, 6.0]


def exact(t, times=TIMES, values=VALUES):
    """From the right at a jump, by the definition."""
    if t < times[0]:
        return values[0]
    i = np.flatnonzero(times <= t)[-1]
    if i == len(times) - 1:
        return values[-1]
    return values[i] + (t - times[i]) / (times[i + 1] - times[i]) * (values[i + 1] - values[i])


def measured(t, y, q):
    return {"y": q["a"] * uq.interpolate(q["times"], q["values"])(t) * y["y"]}


def made_of_parameters(t, y, q):
    times, values = [q["a"], 2 * q["a"], 9.0], [q["b"], 1.0, q["b"] ** 2]
    return {"y": uq.interpolate(times, values)(3 * t) - y["y"]}


SHAPES = {"a": (), "times": (5,), "values": (5,)}
Q = {"a": 1.3, "times": TIMES, "values": VALUES}


@pytest.mark.parametrize("t", WITHIN)
def test_a_curve_is_piecewise_linear_and_right_continuous(t):
    kernels = build(Sources(measured, ("y",), SHAPES))
    x = np.concatenate([[t, 0.7, 1.3], TIMES, VALUES, np.zeros(2)])
    np.testing.assert_allclose(call(kernels, "rate", x, 1), 1.3 * exact(t) * 0.7, rtol=1e-14)
    np.testing.assert_allclose(uq.interpolate(TIMES, VALUES)(t), exact(t), rtol=1e-14)


@pytest.mark.parametrize("t", [-2.0, -0.3, 1.7, 4.0, 9.0])
@pytest.mark.parametrize("rate, shapes, q", [
    (measured, SHAPES, Q), (made_of_parameters, {"a": (), "b": ()}, {"a": 1.1, "b": 0.7}),
], ids=["inputs", "expressions"])  # fmt: skip
def test_all_derivatives_of_a_curve(rate, shapes, q, t):
    """By its values, by its times and by time, the second ones too."""
    assert_rates_agree(Case(Model(Sources(rate, ("y",), shapes)), q, {"y": 0.7}, t))


@pytest.mark.parametrize("k", [1, 2, 3, 64, 65, 300])
def test_any_number_of_knots(k):
    rng = np.random.default_rng(k)
    times, values = np.sort(rng.uniform(0, 10, k)), rng.normal(size=k)
    kernels = build(Sources(lambda t, y, q: {"y": uq.interpolate(times, values)(t)}, ("y",), {}))
    for t in rng.uniform(-1, 11, 20):
        found = call(kernels, "rate", np.array([t, 0.0]), 1)
        np.testing.assert_allclose(found, np.interp(t, times, values), rtol=1e-12)
        np.testing.assert_allclose(uq.interpolate(times, values)(t), np.interp(t, times, values), rtol=1e-12)
    assert kernels.switches == (k if k > 1 else 0)
    assert max(kernels.operations.values()) <= 2 * k + 2


def test_every_knot_is_a_switch_time_without_a_sentence():
    kernels = build(Sources(measured, ("y",), SHAPES))
    x = np.concatenate([[0.0, 0.7, 1.3], TIMES, VALUES, np.zeros(2)])
    pairs = call(kernels, "switch_times", x, 2 * kernels.switches).reshape(-1, 2)
    np.testing.assert_allclose(np.sort(pairs[:, 0]), TIMES)
    assert not pairs[:, 1].any() and kernels.jumps == ()


def test_knots_of_a_curve_that_is_repeated_every_day():
    def daily(t, y, q):
        return {"y": uq.interpolate(jnp.array([1.0, 3.0]), jnp.array([0.0, q["a"]]))(jnp.mod(t, 24.0))}

    kernels = build(Sources(daily, ("y",), {"a": ()}))
    pairs = call(kernels, "switch_times", np.array([0.0, 0.0, 2.0]), 2 * kernels.switches).reshape(-1, 2)
    assert {(1.0, 24.0), (3.0, 24.0)} <= {(offset % 24.0, period) for offset, period in pairs.tolist()}


def test_a_function_of_the_same_name_is_read_as_it_is_written():
    @jax.jit
    def piecewise_linear(t, times, values):
        return t + jnp.sum(times) + jnp.sum(values)

    def rate(t, y, q):
        return {"y": piecewise_linear(t, q["times"], q["values"])}

    kernels = build(Sources(rate, ("y",), {"times": (5,), "values": (5,)}))
    x = np.concatenate([[2.0, 0.0], TIMES, VALUES])
    np.testing.assert_allclose(call(kernels, "rate", x, 1), 2.0 + TIMES.sum() + VALUES.sum())


@pytest.mark.parametrize("times, values, expected", [
    ([0.0, 2.0, 1.0], [0.0, 1.0, 2.0], ["times must not decrease"]),
    ([0.0, 1.0], [0.0, 1.0, 2.0], ["2 times and 3 values"]),
    ([], [], ["times have shape", "values have shape"]),
    (1.0, 2.0, ["times have shape", "values have shape"]),
    ([0.0, np.nan, 2.0], [np.inf, 1.0, 2.0], [r"times\[1\] is nan", r"values\[0\] is inf"]),
    (["x"], [1.0], ["no row of numbers"]),
])  # fmt: skip
def test_a_table_that_is_no_curve_is_refused(times, values, expected):
    with pytest.raises(uq.InputError) as error:
        uq.interpolate(times, values)
    for text in expected:
        assert error.match(text)


def test_lengths_are_compared_inside_a_trace():
    with pytest.raises(uq.InputError, match="2 times and 3 values"):
        jax.eval_shape(uq.interpolate, jnp.zeros(2), jnp.zeros(3))
