"""Few compartments with constant rates: solved in closed form, values and slopes, in every state however little is left
in it; whatever else looks like them is left to steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import uqbench as uq

from .problems import complex_step, model, slopes, solved

ORAL = {"ka": 1.7, "CL": 0.04, "V": 0.5, "dose": 4.0}
TIMES = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 5.1, 7.0, 12.0, 24.4])


def oral_start(p, inputs):
    return {"gut": p["dose"], "C": 0.0}


def oral_rates(t, y, p, inputs):
    absorbed = p["ka"] * y["gut"]
    return {"gut": -absorbed, "C": (absorbed - p["CL"] * y["C"]) / p["V"]}


def oral(p):
    """Bateman 1910, `(times, 2)`."""
    k, gut = p["CL"] / p["V"], p["dose"] * np.exp(-p["ka"] * TIMES)
    share = p["ka"] * p["dose"] / p["V"] / (p["ka"] - k)
    return np.stack([gut, share * (np.exp(-k * TIMES) - np.exp(-p["ka"] * TIMES))], axis=-1)


def steps_of(system, theta, times=TIMES) -> int:
    return int(uq.evaluate(system, theta, uq.Design(times)).steps)


def test_absorption_and_elimination_are_known_to_rounding():
    system = model(oral_start, oral_rates, ORAL, ["gut", "C"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(solved(system, ORAL, uq.Design(TIMES)), oral(ORAL), rtol=1e-12)
    assert steps_of(system, ORAL) == len(TIMES) - 1


@pytest.mark.parametrize("way", ["tangents", "forward sensitivities", "forward sensitivities, transposed"])
def test_their_slopes_are_known_to_rounding(way):
    system = model(oral_start, oral_rates, ORAL, ["gut", "C"], rtol=1e-6, atol=1e-8)
    found = slopes(system, ORAL, uq.Design(TIMES), list(ORAL), way)
    expected = complex_step(oral, ORAL, list(ORAL))
    assert found.result == 0
    size = np.abs(expected).max(axis=0) + 1e-300
    np.testing.assert_allclose(found.derivatives / size, expected / size, atol=1e-11)
    # what has decayed, too
    np.testing.assert_allclose(found.derivatives[1:, 0, 0], expected[1:, 0, 0], rtol=1e-11)


# infusion into the first of four, first-order flows between them and out of the last, over ten decades of rates
FLOWS = {"k01": 0.3, "k12": 2.0, "k21": 0.1, "k23": 7e-3, "k32": 1e-4, "k34": 0.5, "out": 3.0, "infused": 2e5}
NAMES = ["a", "b", "c", "d"]


def matrix_of(p):
    """`(5, 5)`: rates of the four, and a last column for the infusion."""
    total = np.zeros((5, 5), np.result_type(*p.values()))
    for source, target, rate in ((0, 1, "k12"), (1, 0, "k21"), (1, 2, "k23"), (2, 1, "k32"), (2, 3, "k34")):
        total[source, source] -= p[rate]
        total[target, source] += p[rate]
    total[0, 0] -= p["k01"]
    total[3, 3] -= p["out"]
    total[0, 4] = p["infused"]
    return total


def chain_rates(t, y, p, inputs):
    flow = {name: p[name] * y[NAMES[int(name[1]) - 1]] for name in ("k12", "k21", "k23", "k32", "k34")}
    return {
        "a": p["infused"] - p["k01"] * y["a"] - flow["k12"] + flow["k21"],
        "b": flow["k12"] - flow["k21"] - flow["k23"] + flow["k32"],
        "c": flow["k23"] - flow["k32"] - flow["k34"],
        "d": flow["k34"] - p["out"] * y["d"],
    }


def chain_start(p, inputs):
    return {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}


def two_doses(p, inputs):
    return {"b": (jnp.stack([p["when"], 9.0]), jnp.stack([5e4, p["second"]]))}


def chain(p):
    """States `(times, 4)` from exponentials of SciPy, with a dose at p["when"] and one at 9 into the second."""
    rates, found = matrix_of(p), []
    for time in TIMES:
        state = np.array([1.0, 0.0, 0.0, 0.0, 1.0], rates.dtype)
        before = 0.0
        for when, amount in ((p["when"], 5e4), (9.0, p["second"])):
            if np.real(when) < time:
                state = expm((when - before) * rates) @ state
                state[1] += amount
                before = when
        found.append((expm((time - before) * rates) @ state)[:4])
    return np.stack(found)


def test_an_infusion_and_doses_at_times_of_their_own():
    theta = {**FLOWS, "when": 3.3, "second": 1e4}
    system = model(chain_start, chain_rates, theta, NAMES, doses=two_doses, rtol=1e-8)
    np.testing.assert_allclose(solved(system, theta, uq.Design(TIMES)), chain(theta), rtol=1e-9)
    assert steps_of(system, theta) == len(TIMES) - 1 + 2
    found = slopes(system, theta, uq.Design(TIMES), list(theta), "forward sensitivities")
    expected = complex_step(chain, theta, list(theta))
    assert found.result == 0
    size = np.abs(expected).max(axis=0) + 1e-300
    np.testing.assert_allclose(found.derivatives / size, expected / size, atol=1e-9)


def test_equal_intervals_and_a_batch_are_solved_alike():
    system = model(oral_start, oral_rates, ORAL, ["gut", "C"], rtol=1e-6)
    grid = np.linspace(0.0, 24.0, 193)
    fine = solved(system, ORAL, uq.Design(grid))
    k, ka = ORAL["CL"] / ORAL["V"], ORAL["ka"]
    expected = ka * ORAL["dose"] / ORAL["V"] / (ka - k) * (np.exp(-k * grid) - np.exp(-ka * grid))
    np.testing.assert_allclose(fine[1:, 1], expected[1:], rtol=1e-11)
    rates = np.linspace(0.5, 2.5, 40)
    many = uq.evaluate_many(system, {**ORAL, "ka": rates}, uq.Design(TIMES)).outputs["C"]
    for place in (0, 17, 39):
        np.testing.assert_allclose(many[place], oral({**ORAL, "ka": rates[place]})[:, 1], rtol=1e-12)


def test_growth_beyond_all_numbers_is_reported():
    system = model(lambda p, inputs: {"x": 1.0}, lambda t, y, p, inputs: {"x": p["k"] * y["x"]}, {"k": 1.0}, "x")
    design = uq.Design([1.0, 40.0])
    assert np.isclose(uq.evaluate(system, {"k": 1.0}, design).outputs["x"][1], np.exp(40.0), rtol=1e-11, atol=0.0)
    assert int(uq.evaluate(system, {"k": 2.0}, design).result) == uq.Result.BLOW_UP


# --- what is left to steps


def spring_rates(t, y, p, inputs):
    return {"x": y["v"], "v": -p["k"] * y["x"]}


def test_states_that_draw_on_each_other_are_left_to_steps():
    system = model(lambda p, inputs: {"x": 1.0, "v": 0.0}, spring_rates, {"k": 4.0}, ["x", "v"], rtol=1e-8)
    found = solved(system, {"k": 4.0}, uq.Design(TIMES))
    np.testing.assert_allclose(found[:, 0], np.cos(2.0 * TIMES), atol=1e-5)
    assert steps_of(system, {"k": 4.0}) > 2 * len(TIMES)


LEFT = {
    "rates that use the time": (lambda t, y, p, inputs: {"x": -p["k"] * y["x"] * (1.0 + 0.1 * jnp.sin(t))}, {}),
    "rates that are not linear": (lambda t, y, p, inputs: {"x": -p["k"] * y["x"] / (1.0 + y["x"])}, {}),
    "a rate with a bend": (lambda t, y, p, inputs: {"x": -p["k"] * jnp.maximum(y["x"], 0.3)}, {}),
    "a state that is held fixed to derivatives": (
        lambda t, y, p, inputs: {"x": -p["k"] * jax.lax.stop_gradient(y["x"]) ** 2},
        {},
    ),
    "such a state that is linear": (lambda t, y, p, inputs: {"x": -p["k"] * jax.lax.stop_gradient(y["x"])}, {}),
    "a longest step": (lambda t, y, p, inputs: {"x": -p["k"] * y["x"]}, {"max_step": 0.1}),
    "a method that was asked for": (lambda t, y, p, inputs: {"x": -p["k"] * y["x"]}, {"method": "explicit"}),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_has_no_such_closed_form_is_left_to_steps(case):
    rates, settings = LEFT[case]
    system = model(lambda p, inputs: {"x": 2.0}, rates, {"k": 1.0}, "x", rtol=1e-8, **settings)
    assert steps_of(system, {"k": 1.0}, [0.0, 3.0]) > 5


def test_a_dose_at_a_time_that_is_no_number_is_left_to_steps():
    theta = {**FLOWS, "when": 3.3, "second": 1e4}
    system = model(chain_start, chain_rates, theta, NAMES, doses=two_doses, rtol=1e-6)
    run = uq.evaluate(system, {**theta, "when": np.nan}, uq.Design(TIMES))
    assert int(run.result) != 0 or int(run.steps) > len(TIMES) + 1


def test_rates_of_which_squares_leave_too_little_are_left_to_steps():
    theta = {**ORAL, "ka": 1e11}
    system = model(oral_start, oral_rates, theta, ["gut", "C"], rtol=1e-6)
    assert steps_of(system, theta) > len(TIMES) - 1
    np.testing.assert_allclose(solved(system, theta, uq.Design(TIMES))[1:, 1], oral(theta)[1:, 1], rtol=1e-5)
