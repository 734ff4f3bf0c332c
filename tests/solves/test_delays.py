"""Systems with delays against closed forms and against SciPy on one delay interval after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import uqbench as uq

from . import problems
from .problems import DERIVATIVES, complex_step, relative_to_largest, slopes, solved

every_way = pytest.mark.parametrize("way", DERIVATIVES)
every_method = pytest.mark.parametrize("method", ["explicit", "implicit", "auto"])


def model(initial, rhs, values, outputs, **settings):
    """Outputs are the states, without what delays see."""

    def observe(y, p):
        return {name: y[name] for name in outputs}

    return problems.model(initial, rhs, values, outputs, **{"observe": observe, **settings})


def tau(p, inputs):
    return p["tau"]


# --- y' = -k y(t - tau), y = y0 before the start


def lagging_initial(p, inputs):
    return {"y": p["y0"]}


def lagging_rhs(t, y, p, inputs):
    return {"y": -p["k"] * y["late"]}


LAGGING = {"y0": 1.0, "k": 1.0, "tau": 1.0}
LAGGING_TIMES = np.array([0.0, 0.3, 1.0, 1.7, 2.0, 2.5, 3.0, 3.6, 4.0])


def lagging(theta, times=LAGGING_TIMES):
    """Method of steps: sum over n of (-k (t - (n - 1) tau))^n / n! for as long as t > (n - 1) tau."""
    total = theta["y0"] * np.ones(len(times))
    factorial = 1.0
    for n in range(1, 30):
        factorial = factorial * n
        left = times - (n - 1) * theta["tau"]
        total = total + np.where(np.real(left) > 0, theta["y0"] * (-theta["k"] * left) ** n / factorial, 0.0)
    return total[:, None]


def lag(theta, **settings):
    delays = {"late": uq.Delay("y", settings.pop("delay", tau), settings.pop("history", None))}
    return model(lagging_initial, lagging_rhs, theta, "y", delays=delays, **settings)


@every_method
def test_the_method_of_steps_in_closed_form(method):
    found = solved(lag(LAGGING, method=method), LAGGING, uq.Design(LAGGING_TIMES))
    np.testing.assert_allclose(found, lagging(LAGGING), rtol=1e-7, atol=1e-8)


def test_a_delay_that_is_a_number():
    theta = {"y0": 2.0, "k": 0.7}
    found = solved(lag(theta, delay=0.5), theta, uq.Design(LAGGING_TIMES))
    np.testing.assert_allclose(found, lagging(theta | {"tau": 0.5}), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("delay", [1e-2, 0.37, 2.9, 50.0])
def test_short_and_long_delays(delay):
    """Terms of the closed form for short delays cancel; there the solution is smooth, and a tight solve is a check."""
    theta = LAGGING | {"tau": delay}
    found = solved(lag(LAGGING), theta, uq.Design(LAGGING_TIMES))
    exact = lagging(theta) if delay > 0.1 else solved(lag(LAGGING, rtol=1e-12, atol=1e-14), theta,
                                                      uq.Design(LAGGING_TIMES))  # fmt: skip
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-7)


@every_way
@every_method
def test_slopes_by_delay_rate_and_start(method, way):
    theta = {"y0": 1.3, "k": 0.8, "tau": 0.9}
    found = slopes(lag(theta, method=method), theta, uq.Design(LAGGING_TIMES), tuple(theta), way)
    assert found.result == 0
    exact = complex_step(lagging, theta, tuple(theta))
    assert relative_to_largest(found.derivatives, exact).max() < 1e-5


# --- a history that is no constant


def cosine(t, p, inputs):
    return jnp.cos(p["w"] * t)


def turning_initial(p, inputs):
    return {"y": 1.0}


def turning_rhs(t, y, p, inputs):
    """cos(w t) solves this where tau = pi / (2 w): its derivative is the value a quarter turn later."""
    return {"y": p["w"] * y["late"] * -1.0}


def quarter(p, inputs):
    return jnp.pi / (2 * p["w"])


@every_method
def test_a_history_that_the_solution_continues(method):
    # -w cos(w t - pi / 2) = -w sin(w t)
    theta, times = {"w": 1.3}, np.linspace(0.0, 12.0, 25)
    delays = {"late": uq.Delay("y", quarter, cosine)}
    turning = model(turning_initial, turning_rhs, theta, "y", delays=delays, method=method)
    np.testing.assert_allclose(solved(turning, theta, uq.Design(times))[:, 0], np.cos(1.3 * times), atol=2e-7)


@every_way
@every_method
def test_slopes_by_a_parameter_of_history_and_delay(method, way):
    theta, times = {"w": 1.3}, np.linspace(0.5, 12.0, 9)
    delays = {"late": uq.Delay("y", quarter, cosine)}
    turning = model(turning_initial, turning_rhs, theta, "y", delays=delays, method=method)
    found = slopes(turning, theta, uq.Design(times), ("w",), way)
    exact = -times * np.sin(1.3 * times)
    np.testing.assert_allclose(found.derivatives[:, 0, 0], exact, atol=1e-4 * 12)


# --- references by SciPy on intervals between all times that are not smooth


def stepwise(rhs, initial, delays, history, times, breaks):
    """States `(times, n)`; `rhs(t, y, late)` with the list `late` of states `(n,)` at t - delay."""
    ends = np.unique(np.concatenate([breaks[(breaks > 0) & (breaks < max(times))], [max(times)]]))
    pieces = []

    def state(t):
        if t < 0 or not pieces:
            return np.asarray(history(t))
        for begin, end, dense in reversed(pieces):
            if t >= begin:
                return dense(min(t, end))
        return np.asarray(initial)

    y, at = np.asarray(initial, float), 0.0
    for end in ends:

        def slope(t, y):
            return rhs(t, y, [state(t - delay) for delay in delays])

        done = solve_ivp(slope, (at, end), y, "DOP853", rtol=1e-11, atol=1e-13, dense_output=True,
                         max_step=min(delays))  # fmt: skip
        pieces.append((at, end, done.sol))
        y, at = done.y[:, -1], end
    return np.array([state(t) for t in times])


MACKEY = {"b": 0.2, "g": 0.1, "n": 10.0, "tau": 17.0}


def mackey_initial(p, inputs):
    return {"y": 1.2}


def mackey_rhs(t, y, p, inputs):
    return {"y": p["b"] * y["late"] / (1 + y["late"] ** p["n"]) - p["g"] * y["y"]}


def mackey_reference(theta, times):
    def rhs(t, y, late):
        return theta["b"] * late[0] / (1 + late[0] ** theta["n"]) - theta["g"] * y

    breaks = theta["tau"] * np.arange(1, 40)
    return stepwise(rhs, [1.2], [theta["tau"]], lambda t: [1.2], times, breaks)


@every_method
def test_mackey_and_glass(method):
    times = np.array([10.0, 17.0, 30.0, 60.0, 100.0])
    mackey = model(mackey_initial, mackey_rhs, MACKEY, "y", delays={"late": uq.Delay("y", tau)}, method=method)
    found = solved(mackey, MACKEY, uq.Design(times))
    np.testing.assert_allclose(found, mackey_reference(MACKEY, times), rtol=2e-6)


@every_method
def test_slopes_of_mackey_and_glass(method):
    times = np.array([10.0, 30.0, 60.0])
    mackey = model(mackey_initial, mackey_rhs, MACKEY, "y", delays={"late": uq.Delay("y", tau)}, method=method)
    found = slopes(mackey, MACKEY, uq.Design(times), tuple(MACKEY), "forward sensitivities")

    def differences(name, step):
        up, down = (mackey_reference({**MACKEY, name: MACKEY[name] * (1 + s)}, times) for s in (step, -step))
        return (up - down) / (2 * step * MACKEY[name])

    exact = np.stack([(4 * differences(name, 5e-4) - differences(name, 1e-3)) / 3 for name in MACKEY], axis=-1)
    assert found.result == 0
    assert relative_to_largest(found.derivatives, exact).max() < 1e-4


TWO = {"a": 1.1, "b": 0.6, "c": 0.3, "tau": 0.7, "other": 1.1}
TWO_TIMES = np.array([0.5, 0.7, 1.0, 2.0, 4.0, 7.0])
DOSE = (np.array([0.4, 2.05]), np.array([2.0, 1.0]))


def two_initial(p, inputs):
    return {"x": 1.0, "z": 0.5}


def two_rhs(t, y, p, inputs):
    return {"x": p["a"] * y["z_late"] - p["b"] * y["x"] * y["x_late"], "z": p["c"] * y["x_late"] - y["z"]}


def two_doses(p, inputs):
    return {"x": DOSE}


def other(p, inputs):
    return p["other"]


def risen(t, p, inputs):
    return 0.5 + 0.1 * t


def two_model(method):
    delays = {"x_late": uq.Delay("x", tau), "z_late": uq.Delay("z", other, risen)}
    return model(two_initial, two_rhs, TWO, "xz", delays=delays, doses=two_doses, method=method)


def two_reference(theta, times):
    delays = [theta["tau"], theta["other"]]
    sums = np.array([i * delays[0] + j * delays[1] for i in range(13) for j in range(13)])
    breaks = np.unique(np.concatenate([sums, *(when + sums for when in DOSE[0])]))
    # doses add to what is integrated, so that the pieces begin with the state after them
    pieces, y, at = [], np.array([1.0, 0.5]), 0.0
    doses = dict(zip(*DOSE, strict=True))
    ends = [t for t in breaks if 1e-9 < t < max(times)] + [max(times)]

    def state(t):
        if t < 0:
            return np.array([1.0, 0.5 + 0.1 * t])
        return next(dense(min(t, end)) for begin, end, dense in reversed(pieces) if t >= begin)

    for end in ends:
        if end - at < 1e-9:
            continue

        def slope(t, y, at=at, end=end):
            # the sides of a jump, seen from inside the piece
            inside = min(max(t, at + 1e-12), end - 1e-12)
            x_late, z_late = state(inside - delays[0])[0], state(inside - delays[1])[1]
            return [theta["a"] * z_late - theta["b"] * y[0] * x_late, theta["c"] * x_late - y[1]]

        done = solve_ivp(slope, (at, end), y, "DOP853", rtol=1e-11, atol=1e-13, dense_output=True,
                         max_step=min(delays) / 2)  # fmt: skip
        pieces.append((at, end, done.sol))
        y, at = done.y[:, -1].copy(), end
        y[0] += doses.get(end, 0.0)
    return np.array([state(t) for t in times])


@every_method
def test_two_delays_with_doses_and_a_history(method):
    found = solved(two_model(method), TWO, uq.Design(TWO_TIMES))
    np.testing.assert_allclose(found, two_reference(TWO, TWO_TIMES), rtol=1e-6)


@every_method
def test_slopes_of_two_delays_with_doses_and_a_history(method):
    """The jump of a delayed state moves with the delay."""
    found = slopes(two_model(method), TWO, uq.Design(TWO_TIMES), tuple(TWO), "forward sensitivities")

    def differences(name, step):
        # times of observation keep away from what moves
        up, down = (two_reference({**TWO, name: TWO[name] + s}, TWO_TIMES) for s in (step, -step))
        return (up - down) / (2 * step)

    exact = np.stack([differences(name, 1e-4) for name in TWO], axis=-1)
    keep = TWO_TIMES != 0.7
    assert found.result == 0
    assert relative_to_largest(found.derivatives[keep], exact[keep]).max() < 1e-4


# --- where delayed states may be read, batches, what is refused


def test_delayed_states_in_outputs_and_algebraic_quantities():
    def algebraic(t, y, p, inputs):
        return {"ratio": y["late"] / p["k"]}

    def observe(y, p):
        return {"late": y["late"], "ratio": y["ratio"]}

    watching = model(lagging_initial, lagging_rhs, LAGGING, ("late", "ratio"), observe=observe, algebraic=algebraic,
                     delays={"late": uq.Delay("y", tau)})  # fmt: skip
    found = solved(watching, LAGGING | {"k": 0.5}, uq.Design(LAGGING_TIMES))
    late = lagging(LAGGING | {"k": 0.5}, np.maximum(LAGGING_TIMES - 1.0, 0.0))
    np.testing.assert_allclose(found, np.concatenate([late, 2 * late], axis=1), rtol=1e-7, atol=1e-8)


def test_a_condition_on_a_delayed_state():
    """y' = 1 until the delayed state has passed 1, at t = 1 + tau, then y' = -1."""

    def rhs(t, y, p, inputs):
        return {"y": jnp.where(y["late"] > 1.0, -1.0, 1.0)}

    def nothing(p, inputs):
        return {"y": 0.0}

    turning = model(nothing, rhs, {"tau": 0.5}, "y", delays={"late": uq.Delay("y", tau)})
    found = slopes(turning, {"tau": 0.6}, uq.Design([1.0, 1.4, 2.0, 2.4]), ("tau",), "forward sensitivities")
    np.testing.assert_allclose(found.values[:, 0], [1.0, 1.4, 1.2, 0.8], rtol=1e-7)
    np.testing.assert_allclose(found.derivatives[:, 0, 0], [0.0, 0.0, 2.0, 2.0], atol=1e-6)


def test_batches_equal_single_runs():
    lagged = lag(LAGGING)
    thetas = {"y0": np.linspace(1, 2, 5), "k": np.linspace(0.5, 1.5, 5), "tau": np.linspace(0.3, 2.0, 5)}
    many = uq.evaluate_many(lagged, thetas, uq.Design(LAGGING_TIMES))
    for k in range(5):
        one = uq.evaluate(lagged, {name: row[k] for name, row in thetas.items()}, uq.Design(LAGGING_TIMES))
        np.testing.assert_array_equal(many.outputs["y"][k], one.outputs["y"])


def test_a_start_that_is_a_parameter_with_a_delay():
    def start(p, inputs):
        return p["start"]

    theta = LAGGING | {"start": 0.4}
    started = model(lagging_initial, lagging_rhs, theta, "y", start=start, delays={"late": uq.Delay("y", tau)})
    times = np.array([1.0, 2.0, 3.7])
    found = slopes(started, theta, uq.Design(times), tuple(theta), "forward sensitivities")

    def closed(theta):
        return lagging(theta, times - theta["start"])

    np.testing.assert_allclose(found.values, closed(theta), rtol=1e-7, atol=1e-8)
    assert relative_to_largest(found.derivatives, complex_step(closed, theta, tuple(theta))).max() < 1e-5


@pytest.mark.parametrize("delay", [0.0, -1.0, np.nan, np.inf])
def test_a_delay_that_is_none_is_a_result_code(delay):
    run = uq.evaluate(lag(LAGGING), LAGGING | {"tau": delay}, uq.Design([1.0]))
    assert "delay" in uq.RESULTS[int(run.result)]
    assert np.isnan(run.outputs["y"]).all()


def test_a_delay_longer_than_the_history_is_a_result_code():
    def measured(t, p, inputs):
        return jnp.sqrt(t + 2.0)

    known = lag(LAGGING, history=measured)
    assert int(uq.evaluate(known, LAGGING, uq.Design([1.0])).result) == 0
    run = uq.evaluate(known, LAGGING | {"tau": 2.5}, uq.Design([1.0]))
    assert "longer than the history" in uq.RESULTS[int(run.result)]


@pytest.mark.parametrize("delay", [0.0, -1.0, float("nan"), float("inf"), "long"])
def test_a_number_that_is_no_delay_is_refused(delay):
    with pytest.raises(uq.InputError, match="must be positive"):
        uq.Delay("y", delay)


@pytest.mark.parametrize("settings, expected", [
    ({"delays": {"late": uq.Delay("yy", 1.0)}}, "'yy', which does not exist"),
    ({"delays": {"late": uq.Delay("y", lambda p, inputs: jnp.ones(2))}}, "the delay 'late' has shape"),
    ({"delays": {"late": uq.Delay("y", 1.0, lambda t, p, inputs: jnp.ones(2))}}, "the history of 'late' has shape"),
    ({"delays": {"late": uq.Delay("y", 1.0), "y": uq.Delay("y", 1.0)}}, "'y', which is a state"),
    ({"delays": {"early": uq.Delay("y", 1.0)}}, "reads 'late'"),
])  # fmt: skip
def test_delays_that_do_not_fit_are_refused(settings, expected):
    with pytest.raises(uq.InputError, match=expected):
        uq.evaluate(model(lagging_initial, lagging_rhs, LAGGING, "y", **settings), LAGGING, uq.Design([1.0]))


def test_what_is_not_done_with_delays_is_refused():
    with pytest.raises(uq.InputError, match="delays and events"):
        lag(LAGGING, events=(uq.Event(lambda t, y, p, inputs: y["y"]),))
    with pytest.raises(uq.InputError, match="steady state of a system with delays"):
        uq.evaluate(lag(LAGGING), LAGGING, uq.Design([1.0, np.inf]))

    def value(k):
        return uq.evaluate(lag(LAGGING), LAGGING | {"k": k}, uq.Design([2.0])).outputs["y"][0]

    with pytest.raises(uq.InputError, match="delays are solved by the native engine only"):
        jax.hessian(value)(1.0)
