"""Dynamics that magnify the errors of the steps: finer solves confirm the values, or there are none."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import uqbench as uq
from uqbench.errors import Result

from .problems import model, solved


def lorenz(t, y, p, inputs):
    return {
        "x": p["s"] * (y["y"] - y["x"]),
        "y": y["x"] * (28.0 - y["z"]) - y["y"],
        "z": y["x"] * y["y"] - 8.0 / 3.0 * y["z"],
    }


def butterfly(**settings):
    return model(lambda p, inputs: {"x": 1.0, "y": 1.0, "z": 1.0}, lorenz, {"s": 10.0}, ["x", "y", "z"], **settings)


def reference(times):
    return solve_ivp(
        lambda t, y: [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]],
        (0, times[-1]),
        [1.0, 1.0, 1.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        t_eval=times,
    ).y.T


@pytest.mark.parametrize("end", [10.0, 15.0, 20.0, 25.0])
def test_chaos_is_solved_as_far_as_it_can_be(end):
    """Errors grow by e^.9 in a unit of time: 1e-6 is 1 at 15, and the finest tolerance reaches to 25."""
    times = np.linspace(0.0, end, 11)[1:]
    found, exact = solved(butterfly(), {"s": 10.0}, uq.Design(times)), reference(times)
    assert np.max(abs(found - exact) / abs(exact).max(axis=0)) < 5e-3


@pytest.mark.parametrize("end", [40.0, 100.0])
@pytest.mark.parametrize("method", ["auto", "explicit", "implicit"])
def test_beyond_that_there_are_no_values(end, method):
    run = uq.evaluate(butterfly(method=method, max_steps=100_000), {"s": 10.0}, uq.Design([end]))
    assert int(run.result) == Result.UNDETERMINED
    assert np.isnan(np.asarray(run.outputs["x"])).all()


def test_a_batch_confirms_as_its_members_do():
    parameters = np.linspace(2.0, 14.0, 12)
    design = uq.Design([10.0, 30.0])
    many = uq.evaluate_many(butterfly(), {"s": jnp.asarray(parameters)}, design)
    for k, s in enumerate(parameters):
        alone = uq.evaluate(butterfly(), {"s": s}, design)
        assert int(alone.result) == int(many.result[k])
        np.testing.assert_array_equal(np.asarray(alone.outputs["z"]), np.asarray(many.outputs["z"][k]))
    # with a small s everything goes to rest
    assert {Result.SUCCESS, Result.UNDETERMINED} == set(np.asarray(many.result).tolist())


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6])
def test_what_leaves_a_saddle_leaves_it_as_the_start_says(distance):
    """x' = x - exp(-t): the distance to .5 exp(-t) grows by exp(t), and so do the errors of the first steps."""

    def rhs(t, y, p, inputs):
        return {"x": p["k"] * (y["x"] - jnp.exp(-t))}

    saddle = model(lambda p, inputs: {"x": p["x0"]}, rhs, {"x0": 0.5, "k": 1.0}, ["x"])
    times = np.array([1.0, 5.0, 10.0])
    run = uq.evaluate(saddle, {"x0": 0.5 - distance, "k": 1.0}, uq.Design(times))
    exact = -distance * np.exp(times) + 0.5 * np.exp(-times)
    assert int(run.result) == Result.SUCCESS
    assert np.max(abs(np.asarray(run.outputs["x"]) - exact)) < 2e-3 * abs(exact).max()


@pytest.mark.parametrize("mu", [10.0, pytest.param(1e3, marks=pytest.mark.slow), 1e5])
def test_a_relaxation_oscillation_is_confirmed(mu):
    def rhs(t, y, p, inputs):
        return {"x": y["v"], "v": p["mu"] ** 2 * ((1 - y["x"] ** 2) * y["v"] - y["x"])}

    oscillator = model(lambda p, inputs: {"x": 2.0, "v": -0.66}, rhs, {"mu": mu}, ["x", "v"])
    times = np.linspace(0.0, 5.0, 12)[1:]
    found = solved(oscillator, {"mu": mu}, uq.Design(times))[:, 0]
    exact = solve_ivp(
        lambda t, y: [y[1], mu**2 * ((1 - y[0] ** 2) * y[1] - y[0])],
        (0, 5),
        [2.0, -0.66],
        method="Radau",
        rtol=1e-8,
        atol=1e-10,
        jac=lambda t, y: [[0, 1], [mu**2 * (-2 * y[0] * y[1] - 1), mu**2 * (1 - y[0] ** 2)]],
        t_eval=times,
    ).y[0]
    np.testing.assert_allclose(found, exact, atol=2e-3)


def test_an_output_without_a_number_does_not_make_the_values_doubtful():
    """x grows by e^20 and is right; the logarithm of what is negative is no number, and says so by its own code."""

    def rhs(t, y, p, inputs):
        return {"x": p["k"] * y["x"]}

    growing = model(
        lambda p, inputs: {"x": 1.0},
        rhs,
        {"k": 1.0},
        ["x", "log"],
        observe=lambda y, p: {"x": y["x"], "log": jnp.log(1.0 - y["x"])},
    )
    times = np.linspace(0.0, 20.0, 30)[1:]
    run = uq.evaluate(growing, {"k": 1.0}, uq.Design(times))
    assert int(run.result) == Result.OUTPUT_NOT_FINITE
    np.testing.assert_allclose(run.outputs["x"], np.exp(times), rtol=1e-4)


@pytest.mark.parametrize("rtol", [1e-9, 1e-12, 1e-13])
def test_no_tolerance_switches_the_confirmation_off(rtol):
    run = uq.evaluate(butterfly(rtol=rtol, max_steps=100_000), {"s": 10.0}, uq.Design([40.0, 60.0]))
    assert int(run.result) == Result.UNDETERMINED


def test_chaos_that_comes_from_the_past():
    """Mackey and Glass 1977: rates look at one state 17 ago, and only its slope by that tells of growth."""
    delays = {"before": uq.Delay("x", lambda p, inputs: 17.0, None)}

    def rhs(t, y, p, inputs):
        return {"x": p["b"] * y["before"] / (1 + y["before"] ** 10) - 0.1 * y["x"]}

    def solve(rtol):
        mackey = model(
            lambda p, inputs: {"x": 1.2},
            rhs,
            {"b": 0.2},
            ["x"],
            observe=lambda y, p: {"x": y["x"]},
            delays=delays,
            rtol=rtol,
            max_steps=10**6,
        )
        run = uq.evaluate(mackey, {"b": 0.2}, uq.Design([3000.0]))
        return int(run.result), float(run.outputs["x"][0])

    code, value = solve(1e-6)
    if code == Result.SUCCESS:
        assert value == pytest.approx(solve(1e-11)[1], abs=5e-3)
    else:
        assert code == Result.UNDETERMINED


def test_chaos_that_comes_from_impacts():
    """A ball on a table that vibrates: between impacts nothing grows, each impact makes speeds of times."""

    def rhs(t, y, p, inputs):
        return {"h": y["v"], "v": -p["g"]}

    impact = uq.Event(
        lambda t, y, p, inputs: y["h"] - 0.05 * jnp.sin(20.0 * t),
        lambda t, y, p, inputs: {"v": -0.9 * y["v"] + 1.9 * jnp.cos(20.0 * t)},
        "falling",
    )
    ball = model(lambda p, inputs: {"h": 1.0, "v": 0.0}, rhs, {"g": 9.81}, ["h", "v"], events=(impact,))
    assert int(uq.evaluate(ball, {"g": 9.81}, uq.Design([5.0])).result) == Result.SUCCESS
    assert int(uq.evaluate(ball, {"g": 9.81}, uq.Design([40.0])).result) == Result.UNDETERMINED


@pytest.mark.parametrize("end", [30.0, 50.0, 60.0])
def test_what_rounding_leaves_of_a_balance_is_no_sign_of_anything(end):
    def rhs(t, y, p, inputs):
        return {"x": p["k"] * y["x"] * (1.0 - y["x"]), "y": -y["y"]}

    growing = model(
        lambda p, inputs: {"x": 1e-7, "y": 1.0},
        rhs,
        {"k": 1.0},
        ["x", "y", "rate"],
        observe=lambda y, p: {"x": y["x"], "y": y["y"], "rate": y["x"] * (1.0 - y["x"])},
    )
    found = solved(growing, {"k": 1.0}, uq.Design([end]))[0]
    np.testing.assert_allclose(found, [1.0, 0.0, 0.0], atol=1e-4)
