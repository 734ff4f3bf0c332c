"""States that all but vanish and come back by themselves: epidemics, colonies, predators and prey."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import uqbench as uq

from .problems import DERIVATIVES, model, rows, slopes, solved

every_way = pytest.mark.parametrize("way", DERIVATIVES)


def epidemic_initial(p, inputs):
    return {"S": 1 - 1e-6, "I": 1e-6}


def epidemic_rhs(t, y, p, inputs):
    infected = p["R0"] * p["g"] * y["S"] * y["I"]
    return {"S": p["mu"] * (1 - y["S"]) - infected, "I": infected - (p["g"] + p["mu"]) * y["I"]}


def epidemic(theta) -> uq.Model:
    return model(epidemic_initial, epidemic_rhs, theta, "SI")


def epidemic_reference(theta, times) -> np.ndarray:
    """The same in the logarithm of I, which knows no trough too deep."""
    mu, r0, g = theta["mu"], theta["R0"], theta["g"]

    def slope(t, z):
        s, i = z[0], np.exp(z[1])
        return [mu * (1 - s) - r0 * g * s * i, r0 * g * s - g - mu]

    with np.errstate(over="ignore", invalid="ignore"):  # in steps that it refuses
        found = solve_ivp(slope, (0, times[-1]), [1 - 1e-6, np.log(1e-6)], "DOP853", times, rtol=1e-12, atol=1e-14)
    return np.stack([found.y[0], np.exp(found.y[1])], axis=-1)


# measles, chickenpox, mumps, in years; troughs between 1e-21 and 1e-60
DISEASES = [
    {"mu": 1 / 70, "R0": 17.0, "g": 365 / 13},
    {"mu": 1 / 50, "R0": 15.0, "g": 365 / 14},
    {"mu": 1 / 70, "R0": 10.0, "g": 365 / 10},
    {"mu": 0.02, "R0": 3.0, "g": 26.0},
]


@pytest.mark.parametrize("theta", DISEASES)
def test_an_epidemic_that_returns(theta):
    """I at forty years was 0, S off by several times its size, with success."""
    times = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 40.0])
    exact = epidemic_reference(theta, times)
    found = solved(epidemic(theta), theta, uq.Design(times))
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-9)


@every_way
def test_slopes_of_an_epidemic_that_returns(way):
    theta, times, step = DISEASES[0], np.array([2.0, 12.0, 40.0]), 1e-5
    found = slopes(epidemic(theta), theta, uq.Design(times), ("mu", "R0"), way)
    assert found.result == 0
    for k, name in enumerate(("mu", "R0")):
        up, down = (epidemic_reference({**theta, name: theta[name] * (1 + s * step)}, times) for s in (1, -1))
        difference = (up - down) / (2 * step * theta[name])
        size = np.abs(difference).max(axis=0)
        np.testing.assert_allclose(found.derivatives[:, :, k] / size, difference / size, atol=1e-3)


def test_the_steady_state_of_an_epidemic_is_the_endemic_one():
    theta = DISEASES[0]
    run = uq.evaluate(epidemic(theta), theta, uq.Design([np.inf]))
    rest = (theta["g"] + theta["mu"]) / (theta["R0"] * theta["g"])
    assert int(run.result) == 0
    np.testing.assert_allclose(run.outputs["S"], rest, rtol=1e-6)
    np.testing.assert_allclose(run.outputs["I"], theta["mu"] * (1 - rest) / (theta["g"] + theta["mu"]), rtol=1e-2)


def colony_initial(p, inputs):
    return {"N": 1e6, "C": p["C0"]}


def colony_rhs(t, y, p, inputs):
    return {"N": (p["g"] - p["k"] * y["C"]) * y["N"], "C": -p["ke"] * y["C"]}


@pytest.mark.parametrize("dose", [10.0, 15.0, 20.0, 25.0, 40.0, 100.0])
def test_a_colony_that_recovers_from_a_drug(dose):
    """Closed form; a dose of 25 gave 1e13 times too many, one of 40 none."""
    theta, times = {"g": 1.0, "k": 1.0, "ke": 0.2, "C0": dose}, np.array([2.0, 20.0, 60.0, 100.0])
    log = np.log(1e6) + times - dose / 0.2 * (1 - np.exp(-0.2 * times))
    found = solved(model(colony_initial, colony_rhs, theta, "NC"), theta, uq.Design(times))
    np.testing.assert_allclose(np.log(found[:, 0]), log, rtol=1e-6, atol=1e-6)


def prey_rhs(t, y, p, inputs):
    return {"x": y["x"] * (1 - y["y"]), "y": y["y"] * (y["x"] - p["d"])}


@pytest.mark.parametrize("start", [40.0, 60.0, 80.0])
def test_predators_and_prey_that_all_but_die_out(start):
    times = np.array([5.0, 20.0, 50.0, 90.0])
    exact = solve_ivp(
        lambda t, z: [1 - np.exp(z[1]), np.exp(z[0]) - 1.0],
        (0, times[-1]),
        [np.log(start), 0.0],
        "DOP853",
        times,
        rtol=1e-12,
        atol=1e-12,
    ).y.T
    chased = model(lambda p, inputs: {"x": start, "y": 1.0}, prey_rhs, {"d": 1.0}, "xy")
    found = solved(chased, {"d": 1.0}, uq.Design(times))
    np.testing.assert_allclose(np.log(found), exact, atol=1e-4)


def test_what_decays_for_good_is_not_followed_for_ever():
    """A linear decay past all floors costs no more than it did: nothing there could come back."""
    decay = model(
        lambda p, inputs: {"A": 1.0, "B": 0.0},
        lambda t, y, p, inputs: {"A": -p["k"] * y["A"], "B": p["k"] * y["A"] - 0.1 * y["B"]},
        {"k": 1e3},
        "AB",
    )
    run = uq.evaluate(decay, {"k": 1e3}, uq.Design(np.array([1.0, 10.0, 100.0])))
    assert int(run.result) == 0 and int(run.steps) < 1500
    np.testing.assert_allclose(
        rows(decay, run)[:, 1], 1e3 / (1e3 - 0.1) * np.exp(-0.1 * np.array([1, 10, 100])), rtol=1e-6
    )


# --- gradients at rest


def dosed_initial(p, inputs):
    return {"A": p["dose"], "R": 1.0}


def dosed_rhs(t, y, p, inputs):
    return {"A": -p["ka"] * y["A"], "R": y["A"] - p["k"] * y["R"]}


@every_way
def test_the_slope_by_a_dose_of_zero(way):
    """By the adjoint it was 1e34, with success: nothing of the state that the dose would move is ever seen."""
    theta, times = {"dose": 0.0, "ka": 5.0, "k": 0.01}, np.array([1.0, 2.0, 5.0, 10.0, 20.0, 40.0])
    found = slopes(model(dosed_initial, dosed_rhs, theta, "AR"), theta, uq.Design(times), ("dose", "k"), way)
    ka, k = theta["ka"], theta["k"]
    response = (np.exp(-k * times) - np.exp(-ka * times)) / (ka - k)
    assert found.result == 0
    np.testing.assert_allclose(found.derivatives[:, 1, 0], response, rtol=1e-5)
    np.testing.assert_allclose(found.derivatives[:, 0, 0], np.exp(-ka * times), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(found.derivatives[:, 1, 1], -times * np.exp(-k * times), rtol=1e-5)


def given_doses(p, inputs):
    return {"A": (inputs["at"], p["amount"] * jax.numpy.ones(2))}


@every_way
def test_the_slope_by_an_amount_of_zero(way):
    theta, times, at = {"amount": 0.0, "ka": 5.0, "k": 0.01}, np.array([1.0, 5.0, 20.0]), np.array([0.5, 3.0])
    dosed = model(lambda p, inputs: {"A": 0.0, "R": 1.0}, dosed_rhs, theta, "AR", doses=given_doses)
    found = slopes(dosed, theta, uq.Design(times, inputs={"at": at}), ("amount",), way)
    passed = np.clip(times[:, None] - at, 0, None)
    response = (np.exp(-0.01 * passed) - np.exp(-5 * passed)).sum(axis=1) / 4.99
    assert found.result == 0
    np.testing.assert_allclose(found.derivatives[:, 1, 0], response, rtol=1e-5)


@every_way
@pytest.mark.parametrize("distance", [0.0, 1e-10, 1e-9, 1e-8, 1e-6])
def test_the_slope_at_a_steady_state_observed_early(distance, way):
    """One step leads over all of it, and only what lies within that step was asked about."""
    theta, times = {"x0": 4.0 * (1 + distance), "a": 2.0}, np.array([2.0, 5.0, 10.0, 20.0, 40.0])
    still = model(lambda p, inputs: {"x": p["x0"]}, lambda t, y, p, inputs: {"x": p["a"] - 0.5 * y["x"]}, theta, "x")
    found = slopes(still, theta, uq.Design(times), ("x0", "a"), way)
    assert found.result == 0
    np.testing.assert_allclose(found.derivatives[:, 0, 0], np.exp(-times / 2), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.derivatives[:, 0, 1], 2 * (1 - np.exp(-times / 2)), rtol=1e-4)


@every_way
@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e-12, 1e-15])
def test_a_parameter_of_zero_has_no_unit(unit, way):
    """At 1e-10 mol/L a leak of zero had code 10."""
    theta, times = {"g": unit, "leak": 0.0, "k": 0.5, "e": 0.2}, np.array([0.5, 2.0, 5.0, 20.0])

    def rhs(t, y, p, inputs):
        return {"x": p["g"] + p["leak"] - p["k"] * y["x"], "y": p["k"] * y["x"] - p["e"] * y["y"]}

    fed = model(lambda p, inputs: {"x": 0.0, "y": 0.0}, rhs, theta, "xy")
    found = slopes(fed, theta, uq.Design(times), ("g", "leak"), way)
    exact = (1 - np.exp(-0.5 * times)) / 0.5
    assert found.result == 0
    np.testing.assert_allclose(found.derivatives[:, 0], np.stack([exact, exact], axis=-1), rtol=1e-5)


def at_time(t, y, p, inputs):
    return t - p["te"]


def halved(t, y, p, inputs):
    return {"A": y["A"] * 0.5}


def one_dose(p, inputs):
    return {"A": (inputs["at"], jax.numpy.ones(1))}


@pytest.mark.parametrize("event, dose", [(0.3, 0.1 + 0.2), (0.7, 7 * 0.1), (3.0, sum([0.1] * 30)), (0.3, 0.3)])
def test_an_event_followed_by_a_dose_within_rounding(event, dose):
    """Had a code for events without end; one of the two comes first."""
    k = {"k": 1.0, "te": event}
    dosed = model(
        lambda p, inputs: {"A": 1.0},
        lambda t, y, p, inputs: {"A": -p["k"] * y["A"]},
        k,
        "A",
        doses=one_dose,
        events=(uq.Event(at_time, halved, "rising"),),
    )
    times = np.array([0.05, event + 0.5])
    found = solved(dosed, k, uq.Design(times, inputs={"at": np.array([dose])}))[-1, 0]
    halved_first = 0.5 * np.exp(-event - 0.5) + np.exp(-0.5)
    dosed_first = 0.5 * (np.exp(-event) + 1) * np.exp(-0.5)
    assert min(abs(found - halved_first), abs(found - dosed_first)) < 1e-6


def test_seconds_since_1970():
    """Milliseconds apart are no rounding there: the first three rows showed the start."""
    start, passed = 1.7e9, np.array([0.0, 1e-4, 1e-3, 5e-3, 1e-2, 3e-2])
    decay = model(lambda p, inputs: {"A": 1.0}, lambda t, y, p, inputs: {"A": -p["k"] * y["A"]}, {"k": 100.0}, "A")
    times = start + passed
    found = solved(decay, {"k": 100.0}, uq.Design(times, start=start))[:, 0]
    # a number of that size has steps of 2.4e-7 s, which are 2.4e-5 of the state's time
    np.testing.assert_allclose(found, np.exp(-100.0 * (times - start)), rtol=1e-3)


def test_members_of_a_batch_return_as_they_do_alone():
    """Some of them are solved a second time, without a floor; the others are not."""
    theta = {"g": 1.0, "k": 1.0, "ke": 0.2, "C0": 20.0}
    colony, times = model(colony_initial, colony_rhs, theta, "NC"), np.array([2.0, 20.0, 60.0, 100.0])
    doses = np.linspace(1.0, 60.0, 24)
    together = uq.evaluate_many(colony, {**theta, "C0": doses}, uq.Design(times))
    log = np.log(1e6) + times - doses[:, None] / 0.2 * (1 - np.exp(-0.2 * times))
    alone = np.array(
        [rows(colony, uq.evaluate(colony, {**theta, "C0": dose}, uq.Design(times)))[:, 0] for dose in doses]
    )
    sound = np.asarray(together.result) == 0
    # the smallest doses let the colony grow beyond all scales
    assert sound[8:].all()
    np.testing.assert_array_equal(np.asarray(together.outputs["N"]), alone)
    np.testing.assert_allclose(np.log(alone[sound]), log[sound], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("mu", "b", "end"), [(0.0004384, 6.724, 755.0), (0.0025, 3.26, 280.0)])
@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_an_infection_returns_though_little_happens_meanwhile(mu, b, end, rtol):
    """Susceptibles are born while the infected are at 1e-49: few and long steps, in which nobody looked for them."""

    def rhs(t, y, p, inputs):
        infections = p["b"] * y["s"] * y["i"]
        return {"s": p["mu"] * (1 - y["s"]) - infections, "i": infections - y["i"]}

    births = model(lambda p, inputs: {"s": 1.0, "i": 1e-3}, rhs, {"mu": mu, "b": b}, ["s", "i"], rtol=rtol)
    found = solved(births, {"mu": mu, "b": b}, uq.Design([end]))[0]
    exact = solve_ivp(
        lambda t, z: [mu * (1 - z[0]) - b * z[0] * np.exp(z[1]), b * z[0] - 1],
        (0, end),
        [1.0, np.log(1e-3)],
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
    ).y[:, -1]
    np.testing.assert_allclose(found, [exact[0], np.exp(exact[1])], rtol=3e3 * rtol)


@pytest.mark.parametrize("exponent", [40.0, 45.0, 50.0])
def test_an_event_multiplies_what_has_nearly_vanished(exponent):
    """A jump that makes much of little makes much of its error, too."""

    def rhs(t, y, p, inputs):
        return {"y": -p["k"] * y["y"], "clock": 1.0 + 0.0 * y["clock"]}

    event = uq.Event(
        lambda t, y, p, inputs: y["clock"] - 50.0,
        lambda t, y, p, inputs: {"y": y["y"] * np.exp(exponent)},
        "rising",
    )
    raised = model(lambda p, inputs: {"y": 1.0, "clock": 0.0}, rhs, {"k": 1.0}, ["y", "clock"], events=(event,))
    found = solved(raised, {"k": 1.0}, uq.Design([51.0]))[0, 0]
    assert found == pytest.approx(np.exp(exponent - 51.0), rel=1e-5)


def test_what_feeds_another_while_both_decay_does_not_come_back():
    """x feeds y, which decays more slowly and hardly feeds x: for a while they grow together, once at zero, never."""

    def rhs(t, y, p, inputs):
        return {
            "x": -50.0 * y["x"] + 0.007 * y["y"] + 2000.0 * y["z"],
            "y": 47.0 * y["x"] - 25.0 * y["y"],
            "z": 0.1 * y["x"] - 2300.0 * y["z"],
            "fed": 25.0 * p["a"] * y["y"],
        }

    start = {"x": 1.0, "y": 0.0, "z": 0.0, "fed": 0.0}
    decaying = model(lambda p, inputs: start, rhs, {"a": 1.0}, [*start])
    run = uq.evaluate(decaying, {"a": 1.0}, uq.Design([0.1, 1.0, 10.0, 100.0, 1000.0]))
    assert run.result == 0
    matrix = np.array([[-50, 0.007, 2000.0, 0], [47, -25, 0, 0], [0.1, 0, -2300, 0], [0, 25, 0, 0]])
    np.testing.assert_allclose(run.outputs["fed"][0], expm(0.1 * matrix)[3, 0], rtol=1e-6)
    np.testing.assert_allclose(run.outputs["fed"][-1], -np.linalg.solve(matrix[:3, :3].T, [0, 25, 0])[0], rtol=1e-6)
    assert run.steps < 2000
