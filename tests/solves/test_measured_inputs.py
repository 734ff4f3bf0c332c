"""Solves with measured inputs: jumps, many knots, where they may be read, and derivatives by values and times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq

from .problems import DERIVATIVES, complex_step, model, relative_to_largest, slopes, solved

every_way = pytest.mark.parametrize("way", DERIVATIVES)


def empty(p, inputs):
    return {"area": 0.0}


def measured(t, inputs):
    return uq.interpolate(inputs["times"], inputs["values"])(t)


def area_rhs(t, y, p, inputs):
    return {"area": p["gain"] * measured(t, inputs)}


def area(times, values, to):
    """Integral of the curve from 0, by trapezoids between its knots."""
    inside = times[(times > 0) & (times < to)]
    at = np.repeat(np.unique(np.concatenate([[0.0], inside, [to]])), 2)[1:-1]

    def curve(t, side):
        i = np.searchsorted(times, t, "right" if side else "left")
        if i in (0, len(times)):
            return values[0] if i == 0 else values[-1]
        share = (t - times[i - 1]) / (times[i] - times[i - 1])
        return values[i - 1] + share * (values[i] - values[i - 1])

    pairs = at.reshape(-1, 2)
    return sum((b - a) * (curve(a, True) + curve(b, False)) / 2 for a, b in pairs)


def areas(times, values, at):
    return np.array([[area(np.asarray(times, float), values, t)] for t in at])


STAIRS = np.array([1.0, 1.0, 2.5, 2.5, 2.5, 4.0]), np.array([0.0, 3.0, 3.0, 9.0, -1.0, 2.0])


@pytest.mark.parametrize("at", [[0.5, 1.0, 2.0, 2.5, 3.0, 9.0], [9.0]], ids=["often", "once"])
def test_an_input_that_jumps(at):
    design = uq.Design(at, inputs={"times": STAIRS[0], "values": STAIRS[1]})
    found = solved(model(empty, area_rhs, {"gain": 2.0}, ("area",)), {"gain": 2.0}, design)
    np.testing.assert_allclose(found, 2.0 * areas(*STAIRS, at), rtol=1e-7)


@pytest.mark.parametrize("count", [2, 30, 300])
def test_many_knots_are_all_met(count):
    rng = np.random.default_rng(count)
    times, values = np.sort(rng.uniform(0, 50, count)), rng.lognormal(size=count)
    design = uq.Design([10.0, 50.0], inputs={"times": times, "values": values})
    found = solved(model(empty, area_rhs, {"gain": 1.0}, ("area",)), {"gain": 1.0}, design)
    np.testing.assert_allclose(found, areas(times, values, [10.0, 50.0]), rtol=1e-8)


def test_an_input_in_outputs_and_algebraic_quantities():
    def algebraic(t, y, p, inputs):
        return {"u": measured(t, inputs)}

    def observe(y, p, t, inputs):
        return {"u": y["u"], "twice": 2 * measured(t, inputs)}

    # a time at a jump is left out: an observation there sees what was before the stop
    at = np.array([0.0, 0.7, 1.5, 3.0, 3.7, 8.0])
    times, values = np.array([0.5, 2.0, 3.5]), np.array([1.0, 4.0, -1.0])
    watching = model(empty, area_rhs, {"gain": 1.0}, ("u", "twice"), observe=observe, algebraic=algebraic)
    found = solved(watching, {"gain": 1.0}, uq.Design(at, inputs={"times": times, "values": values}))
    u = np.interp(at, times, values)
    np.testing.assert_allclose(found, np.stack([u, 2 * u], axis=-1), rtol=1e-12)


def test_a_batch_of_inputs_each_measured_at_its_own_times():
    rng = np.random.default_rng(0)
    times, values = np.sort(rng.uniform(0, 5, (6, 4)), axis=1), rng.normal(size=(6, 4))
    designs = [uq.Design([2.0, 6.0], inputs={"times": t, "values": v}) for t, v in zip(times, values, strict=True)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *designs)
    many = uq.evaluate_many(model(empty, area_rhs, {"gain": 1.0}, ("area",)), {"gain": np.ones(6)}, stacked)
    exact = [areas(t, v, [2.0, 6.0])[:, 0] for t, v in zip(times, values, strict=True)]
    np.testing.assert_allclose(many.outputs["area"], exact, rtol=1e-7, atol=1e-9)


def moving_rhs(t, y, p, inputs):
    u = uq.interpolate([p["first"], p["second"], p["second"], 5.0], [0.0, p["high"], p["low"], 1.0])(t)
    return {"area": u}


def moving(theta):
    def trapezoids(to):
        first, second, high, low = (theta[name] for name in ("first", "second", "high", "low"))
        found = 0.0
        for a, b, u, v in ((first, second, 0.0, high), (second, 5.0, low, 1.0)):
            end = to if np.real(to) < np.real(b) else b
            if np.real(end) > np.real(a):
                level = u + (v - u) * (end - a) / (b - a)
                found = found + (end - a) * (u + level) / 2
        return found + max(to - 5.0, 0.0)

    return np.array([[trapezoids(t)] for t in (1.0, 2.0, 4.0, 8.0)])


@every_way
def test_slopes_by_the_times_and_values_of_an_input_that_jumps(way):
    """The jump moves with its time: the derivative by `second` holds the height of the jump."""
    theta = {"first": 0.5, "second": 2.5, "high": 3.0, "low": -1.0}
    found = slopes(model(empty, moving_rhs, theta, ("area",)), theta, uq.Design([1.0, 2.0, 4.0, 8.0]),
                   tuple(theta), way)  # fmt: skip
    assert found.result == 0
    np.testing.assert_allclose(found.values, moving(theta), rtol=1e-7)
    assert relative_to_largest(found.derivatives, complex_step(moving, theta, tuple(theta))).max() < 1e-6


def steady_rhs(t, y, p, inputs):
    return {"area": 1.0}


def from_parameter(p, inputs):
    return {"area": p["gain"]}


def test_slopes_where_rates_and_knots_are_plain_numbers():
    """Nothing of the rate depends on the parameter; this used to end the process."""

    def counted_rhs(t, y, p, inputs):
        return {"area": uq.interpolate([1.0, 2.0], [0.0, 1.0])(t)}

    for rhs in (steady_rhs, counted_rhs):
        found = slopes(model(from_parameter, rhs, {"gain": 2.0}, ("area",)), {"gain": 2.0}, uq.Design([1.0, 3.0]),
                       ("gain",), "tangents")  # fmt: skip
        np.testing.assert_allclose(found.derivatives, 1.0)


def test_inputs_whose_times_decrease_are_refused():
    design = uq.Design([1.0], inputs={"times": [2.0, 1.0], "values": [0.0, 1.0]})
    with pytest.raises(uq.InputError, match="must not decrease"):
        uq.evaluate(model(empty, area_rhs, {"gain": 1.0}, ("area",)), {"gain": 1.0}, design)
