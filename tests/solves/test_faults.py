"""Solves that once were wrong, mostly without a word, each with the value that is right.

The numbers in the names of the sections are those of the report of these faults. Every model is solved with default
settings unless the setting is what is tested.
"""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import gammaln

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.identifiability import fisher_information

from .problems import DERIVATIVES, complex_step, model, relative_to_largest, rows, slopes, solved, variational

# A default solve asks for 1e-8 in each step; what the steps leave may add up to a hundred times as much.
RTOL = 1e-6
every_way = pytest.mark.parametrize("way", DERIVATIVES)


# --- 1: one method, chosen at the medians, for parameters that are far from them


def relaxation_initial(p, inputs):
    return {"x": 0.0, "z": 0.0}


def relaxation_rhs(t, y, p, inputs):
    return {"x": p["fast"] * (jnp.cos(t) - y["x"]), "z": y["x"] - p["slow"] * y["z"]}


def relaxation(theta, times):
    """x relaxes to a cosine at any speed, and z follows x."""
    fast, slow = theta["fast"], theta["slow"]
    scale = fast / (fast**2 + 1)
    x = scale * (fast * np.cos(times) + np.sin(times) - fast * np.exp(-fast * times))

    def driven(rate):  # the integral of exp(-slow (t - s)) times (fast cos s + sin s)
        c = (fast * rate - 1) / (rate**2 + 1)
        s = (fast + rate) / (rate**2 + 1)
        return c * np.cos(times) + s * np.sin(times) - c * np.exp(-rate * times)

    left = fast * (np.exp(-slow * times) - np.exp(-fast * times)) / (fast - slow)
    return np.stack([x, scale * (driven(slow) - left)], axis=-1)


@pytest.mark.parametrize("fast", [1e-2, 1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("median", [1.0, 1e8])
def test_stiffness_may_be_anywhere_in_the_prior(fast, median):
    """The same model at rates over eleven decades, whatever its median says."""
    theta = {"fast": fast, "slow": 0.3}
    values = {"fast": median, "slow": 0.3}
    times = np.linspace(1.0, 20.0, 20)
    found = solved(model(relaxation_initial, relaxation_rhs, values, "xz"), theta, uq.Design(times))
    exact = relaxation(theta, times)
    assert np.max(np.abs(found - exact) / np.abs(exact).max(axis=0)) < RTOL


@every_way
@pytest.mark.parametrize("fast", [1e-2, 1e6])
def test_derivatives_are_right_on_either_side_of_stiffness(fast, way):
    theta = {"fast": fast, "slow": 0.3}
    times = np.linspace(1.0, 20.0, 20)
    at_medians = model(relaxation_initial, relaxation_rhs, {"fast": 1.0, "slow": 0.3}, "xz")
    found = slopes(at_medians, theta, uq.Design(times), ("fast", "slow"), way)
    exact = complex_step(lambda theta: relaxation(theta, times), theta, ("fast", "slow"))
    assert found.result == 0
    assert relative_to_largest(found.derivatives, exact).max() < 1e-4


def filling_initial(p, inputs):
    return {"x": 0.0}


def filling_rhs(t, y, p, inputs):
    return {"x": p["a"] - p["k"] * y["x"] ** p["n"]}


def filled(theta, times):
    """x' = a - k sqrt(x) from nothing: its closed form gives the time for a state, and is solved for the state."""
    a, k = theta["a"], theta["k"]

    def elapsed(w):  # with sqrt(x) = a / k (1 - exp(-w))
        return 2 * a / k**2 * (w + np.expm1(-w))

    found = [brentq(lambda w, t=t: elapsed(w) - t, 0.0, k**2 * t / a + 2, xtol=1e-15) for t in times]
    return np.square(a / k * np.expm1(-np.array(found)))


@pytest.mark.parametrize("a, k", [(1.0, 0.5), (1e-3, 2.0), (1e4, 1.0)])
def test_a_power_below_one_of_nothing(a, k):
    theta, times = {"a": a, "k": k, "n": 0.5}, np.array([0.01, 0.1, 1.0, 3.0, 10.0])
    found = solved(model(filling_initial, filling_rhs, {"a": 1.0, "k": 1.0, "n": 0.5}, "x"), theta, uq.Design(times))
    np.testing.assert_allclose(found[:, 0], filled(theta, times), rtol=RTOL)


def draining_initial(p, inputs):
    return {"y": p["y0"]}


def draining_rhs(t, y, p, inputs):
    return {"y": -p["k"] * jnp.sqrt(jnp.maximum(y["y"], 0.0))}


def drained(theta, times):
    root = np.sqrt(theta["y0"]) - theta["k"] * times / 2
    return np.where(np.real(root) > 0, root, 0.0)[:, None] ** 2


DRAINED = {"y0": 4.0, "k": 1.0}


def test_a_tank_that_runs_empty_stays_empty():
    """Torricelli: empty at t = 4, where the right-hand side has no slope."""
    times = np.array([0.5, 1.0, 2.0, 3.9, 4.0, 4.1, 5.0, 20.0])
    found = solved(model(draining_initial, draining_rhs, DRAINED, "y"), DRAINED, uq.Design(times))
    np.testing.assert_allclose(found, drained(DRAINED, times), rtol=RTOL, atol=1e-8 * DRAINED["y0"])


@every_way
def test_slopes_before_a_tank_is_empty(way):
    times = np.array([0.5, 1.0, 2.0, 3.0])
    found = slopes(model(draining_initial, draining_rhs, DRAINED, "y"), DRAINED, uq.Design(times), ("y0", "k"), way)
    exact = complex_step(lambda theta: drained(theta, times), DRAINED, ("y0", "k"))
    assert found.result == 0
    assert relative_to_largest(found.derivatives, exact).max() < 1e-5


@every_way
def test_slopes_past_an_empty_tank_are_right_or_refused(way):
    """The root has an infinite slope there, though the solution has none."""
    times = np.array([1.0, 3.0, 5.0, 20.0])
    found = slopes(model(draining_initial, draining_rhs, DRAINED, "y"), DRAINED, uq.Design(times), ("y0", "k"), way)
    exact = complex_step(lambda theta: drained(theta, times), DRAINED, ("y0", "k"))
    assert found.result != 0 or relative_to_largest(found.derivatives, exact).max() < 1e-4


# --- 2: sensitivities that the error control does not see

CASCADE = {
    **{"kon": 1.0, "koff": 0.5, "kint": 0.05, "kras": 2.0, "gap": 1.0, "kraf": 1.5, "draf": 0.8},
    **{"kmek": 2.0, "dmek": 1.0, "kerk": 3.0, "derk": 1.0, "ktx": 0.3, "dtx": 0.15, "kfb": 2.0},
}
CASCADE_STATES = ("R", "Ras", "Raf", "pMEK", "ppMEK", "pERK", "ppERK", "mD", "D")
CASCADE_TIMES = np.array([0, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60])
CASCADE_DOSES = {"low": 0.1, "mid": 0.5, "high": 5.0}


def cascade_initial(p, inputs):
    return dict.fromkeys(CASCADE_STATES, 0.0)


def cascade_rhs(t, y, p, inputs):
    """A receptor, Ras, Raf, MEK and ERK with two phosphorylations each, and an inhibitor made by active ERK."""
    mek, erk = 1 - y["pMEK"] - y["ppMEK"], 1 - y["pERK"] - y["ppERK"]
    mek_on, mek_on_twice = p["kmek"] * y["Raf"] * mek, p["kmek"] * y["Raf"] * y["pMEK"]
    mek_off, mek_off_twice = p["dmek"] * y["pMEK"], p["dmek"] * y["ppMEK"]
    erk_on, erk_on_twice = p["kerk"] * y["ppMEK"] * erk, p["kerk"] * y["ppMEK"] * y["pERK"]
    erk_off, erk_off_twice = p["derk"] * y["pERK"], p["derk"] * y["ppERK"]
    return {
        "R": p["kon"] * inputs["L"] * (1 - y["R"]) - (p["koff"] + p["kint"]) * y["R"],
        "Ras": p["kras"] * y["R"] * (1 - y["Ras"]) / (1 + p["kfb"] * y["D"]) - p["gap"] * y["Ras"],
        "Raf": p["kraf"] * y["Ras"] * (1 - y["Raf"]) - p["draf"] * y["Raf"],
        "pMEK": mek_on - mek_on_twice - mek_off + mek_off_twice,
        "ppMEK": mek_on_twice - mek_off_twice,
        "pERK": erk_on - erk_on_twice - erk_off + erk_off_twice,
        "ppERK": erk_on_twice - erk_off_twice,
        "mD": p["ktx"] * y["ppERK"] - p["dtx"] * y["mD"],
        "D": p["ktx"] * y["mD"] - p["dtx"] * y["D"],
    }


def cascade_observe(y, p):
    return {
        "R": y["R"],
        "ERK": p["offset"] + p["scale"] * y["ppERK"],
        "MEK": p["offset"] + p["scale"] * y["ppMEK"],
    }


CASCADE_THETA = CASCADE | {"scale": 80.0, "offset": 12.0, "sigma": 3.0}
CASCADE_SYSTEM = uq.Ode(cascade_initial, cascade_rhs, rtol=1e-6, atol=1e-8)


def cascade_model() -> uq.Model:
    """As its author wrote it: medians 30 % off, and tolerances that are looser than the default."""
    medians = {name: 1.3 * value for name, value in CASCADE.items()} | {"scale": 100.0, "offset": 13.0, "sigma": 7.0}
    noise = {"ERK": uq.Normal("ERK", "sigma"), "MEK": uq.Normal("MEK", "sigma")}
    names = ("R", "ERK", "MEK")
    return model(
        cascade_initial, cascade_rhs, medians, names, observe=cascade_observe, noise=noise, rtol=1e-6, atol=1e-8
    )


def cascade_reference(dose: float) -> np.ndarray:
    """d (R, ERK, MEK) / d parameters `(times, 3, parameters)`, the parameters in the order of `CASCADE_THETA`."""
    kinetic = tuple(CASCADE)
    states, by = variational(CASCADE_SYSTEM, CASCADE, {"L": dose}, CASCADE_TIMES, kinetic)
    r, mek, erk = (CASCADE_STATES.index(name) for name in ("R", "ppMEK", "ppERK"))
    exact = np.zeros((len(states), 3, len(CASCADE_THETA)))
    exact[:, 0, : len(kinetic)] = by[:, r]
    for row, state in ((1, erk), (2, mek)):
        exact[:, row, : len(kinetic)] = CASCADE_THETA["scale"] * by[:, state]
        exact[:, row, len(kinetic)] = states[:, state]
        exact[:, row, len(kinetic) + 1] = 1.0
    return exact


@every_way
@pytest.mark.parametrize("dose", [*(pytest.param(dose, marks=pytest.mark.slow) for dose in (0.1, 0.5)), 5.0])
def test_the_slopes_of_a_signalling_cascade(dose, way):
    """At the high dose the derivative by `kon` used to be 3e22 and -5e51 at t = 45 and 60."""
    design = uq.Design(CASCADE_TIMES, inputs={"L": dose})
    found = slopes(cascade_model(), CASCADE_THETA, design, tuple(CASCADE_THETA), way)
    exact = cascade_reference(dose)
    assert found.result == 0
    assert relative_to_largest(found.derivatives, exact).max() < 1e-4


@pytest.mark.slow
def test_the_reference_of_the_cascade_agrees_with_differences_of_tight_solves():
    """R and ERK by `kon` at the high dose, by Radau."""

    def solution(kon):
        p = CASCADE | {"kon": kon}
        return solve_ivp(
            lambda t, y: [
                float(v) for v in cascade_rhs(t, dict(zip(CASCADE_STATES, y, strict=True)), p, {"L": 5.0}).values()
            ],
            (0.0, 60.0),
            np.zeros(9),
            "Radau",
            CASCADE_TIMES,
            rtol=1e-11,
            atol=1e-14,
        ).y.T[:, [0, 6]]

    step = 1e-3
    far, near = ((solution(1 + h) - solution(1 - h)) / (2 * h) for h in (2 * step, step))
    differences = (4 * near - far) / 3 * np.array([1.0, 80.0])
    np.testing.assert_allclose(cascade_reference(5.0)[:, :2, 0], differences, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_the_fisher_information_of_the_cascade():
    """Its Fisher rank was 1; right is what the reference sensitivities say, parameter by parameter."""
    rows = [(name, output, time, 0.0) for name in CASCADE_DOSES for output in ("ERK", "MEK") for time in CASCADE_TIMES]
    table = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    experiments = {name: uq.Design(inputs={"L": dose}) for name, dose in CASCADE_DOSES.items()}
    found = fisher_information(uq.Study("cascade", cascade_model(), experiments, table), CASCADE_THETA)
    jacobian = np.concatenate([cascade_reference(dose)[:, 1:].reshape(-1, 17) for dose in CASCADE_DOSES.values()])
    jacobian = jacobian * np.array([*CASCADE_THETA.values()])  # by the logarithms
    sigma = CASCADE_THETA["sigma"]
    matrix = jacobian.T @ jacobian / sigma**2
    matrix[16, 16] = 2 * len(jacobian)  # of the logarithm of the standard deviation
    # koff and kint count as their sum, ktx and kfb as their product; all else is seen
    assert found.attrs["rank"] == 15
    np.testing.assert_allclose(found["matrix"], matrix, rtol=1e-3, atol=1e-4 * matrix.max())
    # the weakest directions of a sloppy model ask for more than the largest entries do
    eigenvalues = np.linalg.eigvalsh(matrix)[::-1]
    np.testing.assert_allclose(found["eigenvalue"][:15], eigenvalues[:15], rtol=0.01)


def receptor_initial(p, inputs):
    return {"R": 0.0}


def receptor_rhs(t, y, p, inputs):
    return {"R": p["kon"] * 5.0 * (1 - y["R"]) - (p["koff"] + p["kint"]) * y["R"]}


@every_way
def test_the_slope_of_one_linear_state_at_a_loose_tolerance(way):
    """dR/dkon at rtol 1e-6 used to be off by 2e-3."""
    theta = {name: CASCADE[name] for name in ("kon", "koff", "kint")}

    def closed(theta):
        rate = 5.0 * theta["kon"] + theta["koff"] + theta["kint"]
        return (-5.0 * theta["kon"] / rate * np.expm1(-rate * CASCADE_TIMES))[:, None]

    linear = model(receptor_initial, receptor_rhs, theta, "R", rtol=1e-6)
    found = slopes(linear, theta, uq.Design(CASCADE_TIMES), tuple(theta), way)
    exact = complex_step(closed, theta, tuple(theta))
    assert found.result == 0
    assert relative_to_largest(found.derivatives, exact).max() < 1e-4
    assert relative_to_largest(found.values, closed(theta)).max() < 1e-4


# --- 3: slopes that are not finite


def hill_initial(p, inputs):
    return {"A": 0.0, "B": 0.0}


def hill_rhs(t, y, p, inputs):
    bound = y["A"] ** p["n"]
    return {
        "A": p["a"] - p["d"] * y["A"],
        "B": p["v"] * bound / (p["K"] ** p["n"] + bound) - p["e"] * y["B"],
    }


HILL = {"a": 1.0, "d": 0.4, "v": 2.0, "K": 0.7, "n": 0.8, "e": 0.3}
HILL_TIMES = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])


def hill(theta):
    """A in closed form, B as an integral; with s = t u^5 the power .8 at the start becomes a polynomial."""
    nodes, weights = np.polynomial.legendre.leggauss(120)
    u, weights = (nodes + 1) / 2, weights / 2
    times = HILL_TIMES[:, None]
    s, ds = times * u**5, times * 5 * u**4

    def a_state(t):
        return -theta["a"] / theta["d"] * np.expm1(-theta["d"] * t)

    bound = a_state(s) ** theta["n"]
    rate = theta["v"] * bound / (theta["K"] ** theta["n"] + bound)
    b_state = np.sum(weights * ds * np.exp(-theta["e"] * (times - s)) * rate, axis=1)
    return np.stack([a_state(HILL_TIMES), b_state], axis=-1)


def test_a_hill_power_below_one_from_nothing():
    found = solved(model(hill_initial, hill_rhs, HILL, "AB"), HILL, uq.Design(HILL_TIMES))
    np.testing.assert_allclose(found, hill(HILL), rtol=RTOL)


def placebo_initial(p, inputs):
    return {"A": inputs["dose"], "B": p["B0"]}


def placebo_rhs(t, y, p, inputs):
    bound = y["A"] ** p["n"]
    return {"A": -p["d"] * y["A"], "B": p["v"] * bound / (p["K"] ** p["n"] + bound) - p["e"] * y["B"]}


PLACEBO = {"B0": 1.5, "d": 0.4, "v": 2.0, "K": 0.7, "n": 0.8, "e": 0.3}


@every_way
def test_slopes_of_a_hill_power_below_one_without_a_dose_are_right_or_refused(way):
    """The arm that gets a placebo: A stays zero, so that B depends on its start and its decay only."""
    design = uq.Design(HILL_TIMES, inputs={"dose": 0.0})
    found = slopes(model(placebo_initial, placebo_rhs, PLACEBO, "AB"), PLACEBO, design, tuple(PLACEBO), way)

    def closed(theta):
        decayed = theta["B0"] * np.exp(-theta["e"] * HILL_TIMES)
        return np.stack([0 * decayed, decayed], axis=-1)

    exact = complex_step(closed, PLACEBO, tuple(PLACEBO))
    if found.result == 0:
        np.testing.assert_allclose(found.derivatives, exact, rtol=RTOL, atol=1e-8)


@every_way
def test_slopes_of_a_hill_power_below_one_are_right_or_refused(way):
    """At the start the right-hand side has an infinite slope: never a zero, never NaN with success."""
    found = slopes(model(hill_initial, hill_rhs, HILL, "AB"), HILL, uq.Design(HILL_TIMES), tuple(HILL), way)
    exact = complex_step(hill, HILL, tuple(HILL))
    assert found.result != 0 or relative_to_largest(found.derivatives, exact).max() < 1e-4


def test_fisher_information_of_a_hill_power_below_one_is_right_or_refused():
    """Its rank used to be 1 and its standard errors infinite."""
    sigma = 0.1
    measured = model(hill_initial, hill_rhs, HILL, "AB", noise={"A": uq.Normal("A", sigma), "B": uq.Normal("B", sigma)})
    rows = [("one", output, time, 0.0) for output in "AB" for time in HILL_TIMES]
    table = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    try:
        found = fisher_information(uq.Study("hill", measured, {"one": uq.Design()}, table), HILL)
    except uq.InputError:
        return
    jacobian = complex_step(hill, HILL, tuple(HILL)).reshape(-1, len(HILL)) * np.array([*HILL.values()])
    exact = jacobian.T @ jacobian / sigma**2
    np.testing.assert_allclose(found["matrix"], exact, rtol=1e-3, atol=1e-4 * exact.max())


def root_observe(y, p):
    return {"root": jnp.sqrt(y["y"])}


@every_way
def test_an_infinite_slope_is_a_result_code(way):
    """The output sqrt(y) of y = 0: its derivative by the start is infinite, whatever the solver does."""
    theta = {"y0": 0.0, "k": 1.0}
    seen = model(lambda p, inputs: {"y": p["y0"]}, lambda t, y, p, inputs: {"y": -p["k"] * y["y"]}, theta, ["root"],
                 observe=root_observe)  # fmt: skip
    assert slopes(seen, theta, uq.Design([1.0]), ("y0",), way).result != 0


def explosion_initial(p, inputs):
    return {"y": 1.0}


def explosion_rhs(t, y, p, inputs):
    return {"y": p["k"] * y["y"] ** 2}


def test_fisher_information_of_a_failed_solve_raises():
    """y = 1 / (1 - k t) has no value at t = 2."""
    measured = model(explosion_initial, explosion_rhs, {"k": 1.0}, "y", noise={"y": uq.Normal("y", 0.1)})
    rows = [("one", "y", time, 1.0) for time in (0.5, 2.0)]
    table = pd.DataFrame(rows, columns=["experiment", "output", "time", "value"])
    with pytest.raises(uq.InputError):
        fisher_information(uq.Study("explosion", measured, {"one": uq.Design()}, table), {"k": 1.0})


# --- 4: times that differ by rounding


def amounts_initial(p, inputs):
    return {"A": 0.0, "B": 0.0}


def amounts_rhs(t, y, p, inputs):
    return {"A": -p["k"] * y["A"], "B": -p["k"] * y["B"]}


def two_schedules(p, inputs):
    return {"A": (inputs["a_times"] + p["lag"], 1.0), "B": (inputs["b_times"] + p["lag"], p["amount"])}


LAGGED = {"k": 0.5, "lag": 0.0, "amount": 2.0}


def superposed(given, amount, k, times, lag=0.0):
    """What is left of doses; times within rounding of a dose see the state before it."""
    gaps = np.asarray(times)[:, None] - np.asarray(given)[None, :] - lag
    return amount * np.sum(np.where(np.real(gaps) > 1e-9, np.exp(-k * gaps), 0.0), axis=1)


def dosed(times, a_times, b_times, theta=LAGGED) -> np.ndarray:
    design = uq.Design(times, inputs={"a_times": a_times, "b_times": b_times})
    return solved(model(amounts_initial, amounts_rhs, LAGGED, "AB", doses=two_schedules), theta, design)


@pytest.mark.parametrize("ulps", [0, 1, -1, 3])
@pytest.mark.parametrize("at", [0.3, 0.1 * 3, 7.0, 1000.1])
def test_doses_that_rounding_sets_apart_are_all_given(at, ulps):
    """Times .3 and .1 * 3 used to lose the second dose, to the same state and to another one."""
    other = at
    for _ in range(abs(ulps)):
        other = np.nextafter(other, np.inf * np.sign(ulps))
    times = np.array([at / 2, at + 0.25, at + 1.0, at + 2.0])
    found = dosed(times, np.array([at, other]), np.array([other]))
    np.testing.assert_allclose(found[:, 0], superposed([at, at], 1.0, 0.5, times), rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(found[:, 1], superposed([at], 2.0, 0.5, times), rtol=RTOL, atol=1e-12)


@pytest.mark.parametrize("ulps", [0, 1, -1, 3])
def test_an_observation_within_rounding_of_a_dose_sees_the_state_before(ulps):
    """One ulp after the dose the whole run used to be NaN."""
    seen = 1.0
    for _ in range(abs(ulps)):
        seen = np.nextafter(seen, np.inf * np.sign(ulps))
    times = np.array([0.5, seen, 2.0])
    found = dosed(times, np.array([0.25, 1.0]), np.array([1.0]))
    np.testing.assert_allclose(found[:, 0], superposed([0.25, 1.0], 1.0, 0.5, times), rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(found[:, 1], superposed([1.0], 2.0, 0.5, times), rtol=RTOL, atol=1e-12)


@pytest.mark.parametrize("interval", [0.1, 0.7, 1 / 3, 12.1])
def test_two_schedules_that_round_differently_lose_nothing(interval):
    """`cumsum(dt)` beside `k * dt` used to lose 28 to 72 % of the drug; troughs are those before the dose."""
    count = 60
    summed, multiplied = np.cumsum(np.full(count, interval)), interval * np.arange(1, count + 1)
    assert np.any(summed != multiplied)
    times = np.concatenate([multiplied[9::10], [interval * (count + 0.5)]])
    theta = {"k": 0.1 / interval, "lag": 0.0, "amount": 2.0}
    found = dosed(times, summed, multiplied, theta)
    np.testing.assert_allclose(found[:, 0], superposed(multiplied, 1.0, theta["k"], times), rtol=RTOL)
    np.testing.assert_allclose(found[:, 1], superposed(multiplied, 2.0, theta["k"], times), rtol=RTOL)


@every_way
def test_slopes_by_the_time_of_doses_that_rounding_sets_apart(way):
    given, times = np.array([0.3, 0.1 * 3]), np.array([1.0, 2.0])
    theta = LAGGED | {"lag": 0.2}
    design = uq.Design(times, inputs={"a_times": given, "b_times": given[:1]})
    found = slopes(
        model(amounts_initial, amounts_rhs, LAGGED, "AB", doses=two_schedules), theta, design, tuple(theta), way
    )

    def closed(theta):
        return np.stack(
            [
                superposed([0.3, 0.3], 1.0, theta["k"], times, theta["lag"]),
                superposed([0.3], theta["amount"], theta["k"], times, theta["lag"]),
            ],
            axis=-1,
        )

    assert found.result == 0
    np.testing.assert_allclose(found.derivatives, complex_step(closed, theta, tuple(theta)), rtol=1e-5, atol=1e-9)


# --- 5: a pulse that begins while everything is at rest


def rest(p, inputs):
    return {"y": 0.0}


def pulse_by_where(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jnp.where((t >= 10) & (t < 12), 1.0, 0.0)}


def pulse_by_product(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + (t >= 10) * (t < 12)}


def pulse_by_logic(t, y, p, inputs):
    outside = jnp.logical_or(t < 10, jnp.logical_not(t < 12))
    return {"y": -p["k"] * y["y"] + jnp.where(outside, 0.0, 1.0)}


def pulse_by_steps(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jnp.heaviside(t - 10.0, 1.0) - jnp.heaviside(t - 12.0, 1.0)}


def pulse_by_distance(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jnp.where(jnp.abs(t - 11.0) <= 1.0, 1.0, 0.0)}


def pulse_by_inputs(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jnp.where((t >= inputs["on"]) & (t < inputs["off"]), 1.0, 0.0)}


def pulse_by_parameters(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + p["rate"] * ((t >= p["on"]) & (t < p["on"] + p["length"]))}


PULSES = (
    *(pulse_by_where, pulse_by_product, pulse_by_logic, pulse_by_steps, pulse_by_distance, pulse_by_inputs),
    pulse_by_parameters,
)
PULSED = {"k": 1.0, "on": 10.0, "length": 2.0, "rate": 1.0}
PULSE_TIMES = np.array([11.0, 12.0, 13.0, 50.0])
# to the digits that are printed in the report
PULSE_VALUES = {1.0: [0.632121, 0.864665, 0.318092, 2.7143e-17], 0.1: [0.951626, 1.812692, 1.640192, 0.0405513]}


def pulsed(theta, times=PULSE_TIMES):
    k, on, length = theta["k"], theta["on"], theta["length"]
    since, after = times - on, times - on - length
    rising = -np.expm1(-k * since)
    falling = -np.expm1(-k * length) * np.exp(-k * after)
    level = np.where(np.real(after) > 0, falling, np.where(np.real(since) > 0, rising, 0.0))
    return (theta["rate"] / k * level)[:, None]


@pytest.mark.parametrize("k", PULSE_VALUES)
@pytest.mark.parametrize("rhs", PULSES, ids=lambda rhs: rhs.__name__)
def test_a_pulse_that_begins_at_rest(rhs, k):
    theta = PULSED | {"k": k}
    design = uq.Design(PULSE_TIMES, inputs={"on": 10.0, "off": 12.0})
    found = solved(model(rest, rhs, PULSED, "y"), theta, design)
    np.testing.assert_allclose(pulsed(theta)[:, 0], PULSE_VALUES[k], rtol=1e-4)
    np.testing.assert_allclose(found, pulsed(theta), rtol=RTOL, atol=1e-10)


@pytest.mark.parametrize("k", PULSE_VALUES)
def test_a_pulse_is_not_skipped_where_only_its_aftermath_is_observed(k):
    theta, times = PULSED | {"k": k}, np.array([50.0])
    found = solved(model(rest, pulse_by_where, PULSED, "y"), theta, uq.Design(times))
    np.testing.assert_allclose(found, pulsed(theta, times), rtol=RTOL, atol=1e-10)


@every_way
def test_slopes_by_the_start_and_length_of_a_pulse(way):
    times = np.array([5.0, 11.0, 11.7, 13.0, 20.0])
    theta = PULSED | {"k": 0.1}
    found = slopes(model(rest, pulse_by_parameters, PULSED, "y"), theta, uq.Design(times), tuple(theta), way)
    exact = complex_step(lambda theta: pulsed(theta, times), theta, tuple(theta))
    assert found.result == 0
    assert relative_to_largest(found.derivatives, exact).max() < 1e-5


def test_a_batch_of_pulses_each_at_its_own_time():
    on = np.array([0.5, 3.0, 10.0, 29.0])
    thetas = {"k": np.full(4, 0.1), "on": on, "length": np.full(4, 0.01), "rate": np.full(4, 100.0)}
    times = np.array([20.0, 30.0])
    run = uq.evaluate_many(model(rest, pulse_by_parameters, PULSED, "y"), thetas, uq.Design(times))
    exact = [pulsed({"k": 0.1, "on": value, "length": 0.01, "rate": 100.0}, times)[:, 0] for value in on]
    assert np.all(np.asarray(run.result) == 0)
    np.testing.assert_allclose(run.outputs["y"], exact, rtol=RTOL, atol=1e-10)


def daily_rhs(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jnp.where(jnp.mod(t, 24.0) < 1.0, 1.0, 0.0)}


@pytest.mark.parametrize("times", [[0.5, 1.0, 12.0, 24.0, 24.5, 100.0, 240.0], [240.0]], ids=["often", "once"])
def test_an_hour_of_every_day(times):
    theta, times = {"k": 0.05}, np.array(times)
    found = solved(model(rest, daily_rhs, theta, "y"), theta, uq.Design(times))
    exact = sum(pulsed({**theta, "on": 24.0 * day, "length": 1.0, "rate": 1.0}, times) for day in range(11))
    np.testing.assert_allclose(found, exact, rtol=RTOL, atol=1e-10)


def bump_rhs(t, y, p, inputs):
    return {"y": -p["k"] * y["y"] + jnp.exp(-(((t - 30.0) / 0.01) ** 2)) / (0.01 * jnp.sqrt(jnp.pi))}


def test_a_longest_step_finds_what_is_narrow_and_smooth():
    """A bump of unit area and 10 ms width, seen at t = 40 only."""
    theta = {"k": 0.1}
    found = solved(model(rest, bump_rhs, theta, "y", max_step=0.01, max_steps=100_000), theta, uq.Design([40.0]))
    exact = np.exp(-0.1 * 10.0 + (0.1 * 0.01) ** 2 / 4)
    np.testing.assert_allclose(found, exact, rtol=RTOL)


def test_no_step_is_longer_than_the_longest():
    theta = {"k": 0.1}
    decaying = model(lambda p, inputs: {"y": 1.0}, lambda t, y, p, inputs: {"y": -p["k"] * y["y"]}, theta, "y",
                     max_step=0.01)  # fmt: skip
    run = uq.evaluate(decaying, theta, uq.Design([1.0]))
    assert int(run.result) == 0
    assert int(run.steps) >= 100
    np.testing.assert_allclose(run.outputs["y"], np.exp(-0.1), rtol=RTOL)


# --- 6: units


def binding_initial(p, inputs):
    return {"A": p["A0"], "B": p["B0"], "C": 0.0}


def binding_rhs(t, y, p, inputs):
    flux = p["kon"] * y["A"] * y["B"] - p["koff"] * y["C"]
    return {"A": -flux, "B": -flux, "C": flux}


def bound(theta, times):
    """A + B <-> C from nothing: the distance from the smaller root of the quadratic decays like a logistic."""
    total, k_d = theta["A0"] + theta["B0"], theta["koff"] / theta["kon"]
    root = np.sqrt((total + k_d) ** 2 - 4 * theta["A0"] * theta["B0"])
    low = 2 * theta["A0"] * theta["B0"] / (total + k_d + root)
    high = (total + k_d + root) / 2
    faded = np.exp(-theta["kon"] * root * times)
    c = low * high * -np.expm1(-theta["kon"] * root * times) / (high - low * faded)
    return np.stack([theta["A0"] - c, theta["B0"] - c, c], axis=-1)


def binding(unit: float) -> dict[str, float]:
    return {"A0": unit, "B0": 0.6 * unit, "kon": 1e-3 / unit, "koff": 2e-4}


BINDING_TIMES = np.array([1.0, 10.0, 100.0, 1e3, 1e4, 1e5])


@pytest.mark.parametrize("unit", [1e6, 1.0, 1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_binding_is_right_in_any_unit(unit):
    """At 1e-9 mol/L it used to be wrong by .5 %, at 1e-12 by 63 %, both with success."""
    theta = binding(unit)
    found = solved(model(binding_initial, binding_rhs, theta, "ABC"), theta, uq.Design(BINDING_TIMES))
    np.testing.assert_allclose(found, bound(theta, BINDING_TIMES), rtol=RTOL)


@every_way
@pytest.mark.parametrize("unit", [1.0, 1e-12])
def test_slopes_of_binding_are_right_in_any_unit(unit, way):
    theta = binding(unit)
    found = slopes(
        model(binding_initial, binding_rhs, theta, "ABC"), theta, uq.Design(BINDING_TIMES), tuple(theta), way
    )
    exact = complex_step(lambda theta: bound(theta, BINDING_TIMES), theta, tuple(theta))
    assert found.result == 0
    assert relative_to_largest(found.derivatives, exact).max() < 1e-4


def predators_initial(p, inputs):
    return {"prey": p["prey0"], "predators": p["predators0"]}


def predators_rhs(t, y, p, inputs):
    met = y["prey"] * y["predators"]
    return {
        "prey": p["a"] * y["prey"] - p["b"] * met,
        "predators": p["c"] * met - p["d"] * y["predators"],
    }


PREDATOR_TIMES = np.linspace(2.0, 40.0, 20)


@pytest.fixture(scope="module")
def predators_by_unit():
    """Lotka-Volterra with both species about one, by DOP853; any other unit multiplies the states."""
    return solve_ivp(
        lambda t, y: [1.1 * y[0] - 0.4 * y[0] * y[1], 0.1 * y[0] * y[1] - 0.4 * y[1]],
        (0.0, 40.0),
        [10.0, 5.0],
        "DOP853",
        PREDATOR_TIMES,
        rtol=1e-13,
        atol=1e-14,
    ).y.T


@pytest.mark.parametrize("unit", [1e6, 1.0, 1e-6, 1e-12])
def test_predators_and_prey_are_right_in_any_unit(unit, predators_by_unit):
    """At 1e-12 the populations used to be wrong 31-fold, with success."""
    theta = {"prey0": 10 * unit, "predators0": 5 * unit, "a": 1.1, "b": 0.4 / unit, "c": 0.1 / unit, "d": 0.4}
    found = solved(
        model(predators_initial, predators_rhs, theta, ("prey", "predators")), theta, uq.Design(PREDATOR_TIMES)
    )
    np.testing.assert_allclose(found, unit * predators_by_unit, rtol=1e-5)


def mixed_initial(p, inputs):
    return {"small": 0.0, "large": p["dose"]}


def mixed_rhs(t, y, p, inputs):
    return {"large": -p["k"] * y["large"], "small": p["yield"] * p["k"] * y["large"] - p["d"] * y["small"]}


MIXED = {"dose": 1e6, "k": 0.3, "yield": 1e-18, "d": 0.1}
MIXED_TIMES = np.array([0.5, 1.0, 5.0, 20.0, 50.0])


def mixed(theta):
    large = theta["dose"] * np.exp(-theta["k"] * MIXED_TIMES)
    rate = theta["yield"] * theta["k"] * theta["dose"] / (theta["d"] - theta["k"])
    return np.stack([rate * (np.exp(-theta["k"] * MIXED_TIMES) - np.exp(-theta["d"] * MIXED_TIMES)), large], axis=-1)


@pytest.mark.parametrize("atol", [None, {"small": 1e-21, "large": 1e-7}, 1e-21], ids=["default", "by state", "number"])
def test_states_of_very_different_sizes(atol):
    found = solved(model(mixed_initial, mixed_rhs, MIXED, ("small", "large"), atol=atol), MIXED, uq.Design(MIXED_TIMES))
    exact, allowed = mixed(MIXED), 0.0 if atol is None else 100 * np.array([1e-21, 1e-7])
    assert np.all(np.abs(found - exact) <= RTOL * np.abs(exact) + allowed)


def test_a_tolerance_by_state_is_a_tolerance_of_that_state():
    """With one that is loose the other one is still right, and the loose one costs fewer steps."""

    def stepped(atol):
        run = uq.evaluate(
            model(relaxation_initial, relaxation_rhs, {"fast": 50.0, "slow": 0.3}, "xz", atol=atol),
            {"fast": 50.0, "slow": 0.3},
            uq.Design([20.0]),
        )
        assert int(run.result) == 0
        return int(run.steps)

    assert stepped({"x": 1e-2, "z": 1e-2}) < stepped({"x": 1e-10, "z": 1e-2}) / 2


# --- 7: rounding leaves the domain of the noise

EPIDEMIC = {"b": 1.05, "g": 0.28}
EPIDEMIC_TIMES = np.arange(5.0, 151.0, 5.0)


def epidemic_initial(p, inputs):
    return {"S": 899.0, "I": 1.0, "R": 0.0}


def epidemic_rhs(t, y, p, inputs):
    infections = p["b"] * y["S"] * y["I"] / 900.0
    return {"S": -infections, "I": infections - p["g"] * y["I"], "R": p["g"] * y["I"]}


def epidemic(theta, times=EPIDEMIC_TIMES):
    """Infected people, from the logarithm of their number, so that small numbers are as exact as large ones."""
    return np.exp(
        solve_ivp(
            lambda t, x: [
                -theta["b"] * np.exp(x[1]) / 900.0,
                theta["b"] * np.exp(x[0]) / 900.0 - theta["g"],
            ],
            (0.0, times[-1]),
            np.log([899.0, 1.0]),
            "DOP853",
            times,
            rtol=1e-12,
            atol=1e-12,
        ).y[1]
    )


def infected(y, p):
    return {"I": y["I"]}


def epidemic_study(noise) -> uq.Study:
    counts = np.random.default_rng(0).poisson(epidemic(EPIDEMIC))
    table = pd.DataFrame({"experiment": "town", "output": "I", "time": EPIDEMIC_TIMES, "value": counts})
    measured = model(epidemic_initial, epidemic_rhs, EPIDEMIC, "I", observe=infected, noise={"I": noise})
    return uq.Study("epidemic", measured, {"town": uq.Design()}, table)


def around_the_truth(truth, count=60, spread=0.2):
    rng = np.random.default_rng(1)
    return [{name: value * np.exp(spread * rng.normal()) for name, value in truth.items()} for _ in range(count)]


def test_counts_of_an_epidemic_that_has_died_out():
    """At 40 of 60 points around the truth the log-density was -inf: I fell to -1e-10."""
    study = epidemic_study(uq.Poisson("I"))
    counts = study.data["value"].to_numpy()
    function, wrong = log_likelihood(study), []
    for theta in around_the_truth(EPIDEMIC):
        mean = epidemic(theta)
        exact = np.sum(counts * np.log(mean) - mean - gammaln(counts + 1))
        found = float(function(theta))
        if not abs(found - exact) <= 1e-5 * abs(exact):
            wrong.append((theta, found, exact))
    assert not wrong


def test_negative_binomial_counts_of_an_epidemic_that_has_died_out():
    study = epidemic_study(uq.NegativeBinomial("I", 5.0))
    counts = study.data["value"].to_numpy()
    function = log_likelihood(study)
    found = [float(function(theta)) for theta in around_the_truth(EPIDEMIC, 20)]
    exact = []
    for theta in around_the_truth(EPIDEMIC, 20):
        mean, size = epidemic(theta), 5.0
        terms = gammaln(counts + size) - gammaln(size) - gammaln(counts + 1)
        exact.append(np.sum(terms + size * np.log(size / (size + mean)) + counts * np.log(mean / (size + mean))))
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def certain_initial(p, inputs):
    return {"p_on": 0.0}


def certain_rhs(t, y, p, inputs):
    return {"p_on": p["k"] * (1 - y["p_on"])}


@pytest.mark.parametrize("k", [0.3, 1.0, 5.0, 100.0, 1e4])
def test_a_probability_that_reaches_one_is_a_probability(k):
    """All of 20 cells are on from some time on; log-densities are finite and those of the closed form."""
    times = np.array([1.0, 2.0, 5.0, 20.0, 100.0, 1000.0])
    table = pd.DataFrame({"experiment": "one", "output": "p_on", "time": times, "value": 20.0})
    measured = model(certain_initial, certain_rhs, {"k": 1.0}, ["p_on"], noise={"p_on": uq.Binomial(20, "p_on")})
    found = float(log_likelihood(uq.Study("cells", measured, {"one": uq.Design()}, table))({"k": k}))
    np.testing.assert_allclose(found, 20 * np.sum(np.log(-np.expm1(-k * times))), rtol=1e-5, atol=1e-6)


WASHED_OUT = {"k": 1.0, "sigma": 0.5}


def washout_initial(p, inputs):
    return {"C": 10.0}


def washout_rhs(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


def washout_study(times) -> uq.Study:
    rng = np.random.default_rng(2)
    values = 10.0 * np.exp(-times + 0.5 * rng.normal(size=len(times)))
    table = pd.DataFrame({"experiment": "one", "output": "C", "time": times, "value": values})
    noise = {"C": uq.LogNormal(median="C", sigma="sigma")}
    measured = model(washout_initial, washout_rhs, WASHED_OUT, "C", noise=noise)
    return uq.Study("washout", measured, {"one": uq.Design()}, table)


def washout_density(study: uq.Study, k: float) -> float:
    """Log-likelihood in closed form, at sigma = .5."""
    times, values = study.data["time"].to_numpy(), study.data["value"].to_numpy()
    scores = (np.log(values) - np.log(10.0) + k * times) / 0.5
    return float(np.sum(-0.5 * scores**2 - np.log(0.5 * values * np.sqrt(2 * np.pi))))


def test_a_lognormal_median_that_decays_away():
    """Ten decades down the value still has digits, as it must where its logarithm is measured."""
    study = washout_study(np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0]))
    function = log_likelihood(study)
    for k in (0.8, 0.9, 1.0, 1.1):
        found, exact = float(function({"k": k, "sigma": 0.5})), washout_density(study, k)
        assert abs(found - exact) < 0.02 * (1 + abs(exact)), k


def test_a_lognormal_median_below_all_tolerances_is_no_impossible_value():
    study = washout_study(np.array([1.0, 2.0, 4.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0, 60.0]))
    function = log_likelihood(study)
    wrong = [k for k in np.linspace(0.5, 3.0, 26) if not np.isfinite(float(function({"k": k, "sigma": 0.5})))]
    assert not wrong


@pytest.mark.slow
def test_the_posterior_under_a_lognormal_median_is_the_exact_one():
    """846 of 1000 draws used to diverge; right is the posterior by quadrature of the closed form."""
    study = washout_study(np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0]))
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.2)), sigma=uq.fixed(0.5))
    exact_model = uq.Model(space, study.model.system, study.model.observe, study.model.units, study.model.noise)
    tree = uq.calibrate(uq.Study("washout", exact_model, study.experiments, study.data), seed=0)
    draws = np.asarray(tree["posterior"]["k"]).ravel()
    k = np.linspace(0.5, 1.6, 4001)
    log_density = np.array([washout_density(study, value) for value in k]) - 0.5 * (np.log(k) / 0.2) ** 2 - np.log(k)
    weights = np.exp(log_density - log_density.max())
    mean = np.average(k, weights=weights)
    deviation = np.sqrt(np.average((k - mean) ** 2, weights=weights))
    assert int(np.asarray(tree["sample_stats"]["diverging"]).sum()) == 0
    assert abs(draws.mean() - mean) < 0.2 * deviation
    assert abs(draws.std() / deviation - 1) < 0.15


# --- 8: the step limit counts the whole solve


def oral_initial(p, inputs):
    return {"gut": 0.0, "plasma": 0.0}


def oral_rhs(t, y, p, inputs):
    absorbed = p["ka"] * y["gut"]
    return {"gut": -absorbed, "plasma": absorbed - p["ke"] * y["plasma"]}


def daily_doses(p, inputs):
    return {"gut": (24.0 * jnp.arange(300.0), 1.0)}


def oral(theta, times):
    since = times[:, None] - 24.0 * np.arange(300.0)
    given = np.where(since > 1e-9, since, np.inf)
    gut = np.exp(-theta["ka"] * given)
    plasma = theta["ka"] / (theta["ka"] - theta["ke"]) * (np.exp(-theta["ke"] * given) - gut)
    return np.stack([gut.sum(axis=1), plasma.sum(axis=1)], axis=-1)


@pytest.mark.parametrize("often", [True, False], ids=["seen daily", "seen at the end"])
def test_three_hundred_daily_doses(often):
    theta = {"ka": 1.5, "ke": 0.08}
    times = 24.0 * np.arange(1.0, 301.0) - 12.0 if often else np.array([7190.0])
    found = solved(model(oral_initial, oral_rhs, theta, ("gut", "plasma"), doses=daily_doses), theta, uq.Design(times))
    np.testing.assert_allclose(found, oral(theta, times), rtol=RTOL, atol=1e-10)


def test_the_step_limit_counts_the_steps_of_a_stretch():
    """40 steps are enough between two doses, and never for three hundred of them."""
    theta = {"ka": 1.5, "ke": 0.08}
    limited = model(oral_initial, oral_rhs, theta, ("gut", "plasma"), doses=daily_doses, rtol=1e-4, max_steps=100,
                    method="explicit")  # fmt: skip
    run = uq.evaluate(limited, theta, uq.Design([7190.0]))
    assert int(run.result) == 0, uq.RESULTS[int(run.result)]
    assert int(run.steps) > 300
    np.testing.assert_allclose(rows(limited, run), oral(theta, np.array([7190.0])), rtol=1e-2, atol=1e-6)


def spring_initial(p, inputs):
    return {"x": 1.0, "v": 0.0}


def spring_rhs(t, y, p, inputs):
    return {"x": y["v"], "v": -(p["w"] ** 2) * y["x"]}


def test_a_solve_that_needs_too_many_steps_says_so():
    """A fast oscillation over a long time is not stiff; the sentence names the limit that was met."""
    run = uq.evaluate(model(spring_initial, spring_rhs, {"w": 1e3}, "xv", max_steps=200), {"w": 1e3}, uq.Design([1e3]))
    sentence = uq.RESULTS[int(run.result)]
    assert int(run.result) != 0
    assert "max_steps" in sentence
    assert np.all(np.isnan(np.asarray(run.outputs["x"])))


# --- bad input


@pytest.mark.parametrize("max_step", [0.0, -1.0, float("nan")])
def test_a_longest_step_that_is_not_positive_is_refused(max_step):
    with pytest.raises(uq.InputError, match="max_step"):
        uq.Ode(rest, pulse_by_where, max_step=max_step)


@pytest.mark.parametrize("atol", [0.0, -1.0, {"y": 0.0}, {"y": float("nan")}])
def test_an_absolute_tolerance_that_is_not_positive_is_refused(atol):
    with pytest.raises(uq.InputError, match="atol"):
        uq.Ode(rest, pulse_by_where, atol=atol)


def test_an_absolute_tolerance_that_names_no_state_is_refused():
    wrong = model(rest, pulse_by_where, PULSED, "y", atol={"y": 1e-9, "plasma": 1e-9})
    with pytest.raises(uq.InputError, match="plasma"):
        uq.evaluate(wrong, PULSED, uq.Design([1.0]))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("what", ["doses", "switches"])
def test_a_dose_whose_time_is_no_number_is_a_result_code(what, order):
    """sqrt(T) is one at T >= 0 only; a solve without that dose would be of another model."""
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.5)), T=uq.epistemic(uq.Normal(0.0, 1.0)))

    def doses(p, inputs):
        return {"x": (jnp.stack([jnp.sqrt(p["T"])]), jnp.array([1.0]))}

    def switches(p, inputs):
        return jnp.stack([jnp.sqrt(p["T"])])

    named = {"doses": doses} if what == "doses" else {"switches": switches}
    system = uq.Ode(lambda p, inputs: {"x": 1.0}, lambda t, y, p, inputs: {"x": -p["k"] * y["x"] ** order}, **named)
    decay = uq.Model(space, system, lambda y, p: {"x": y["x"]}, {"x": ""})
    design = uq.Design([0.25, 1.0])
    found = uq.evaluate(decay, {"k": 1.0, "T": 0.25}, design)
    assert int(found.result) == 0 and np.all(np.isfinite(found.outputs["x"]))
    lost = uq.evaluate(decay, {"k": 1.0, "T": -1.0}, design)
    assert "is not a number" in uq.RESULTS[int(lost.result)]
    assert np.all(np.isnan(lost.outputs["x"]))


def test_a_trajectory_that_a_sign_holds_comes_to_rest_there():
    """x' = -sign(x - 4) from 5.5: down to 4 at t = 1.5, and no further."""
    space = uq.Space(k=uq.epistemic(uq.LogNormal(median=1.0, sigma=0.5)))
    system = uq.Ode(lambda p, inputs: {"x": 5.5}, lambda t, y, p, inputs: {"x": -p["k"] * jnp.sign(y["x"] - 4.0)})
    held = uq.Model(space, system, lambda y, p: {"x": y["x"]}, {"x": ""})
    found = uq.evaluate(held, {"k": 1.0}, uq.Design([0.5, 1.4, 1.6, 3.0]))
    assert int(found.result) == 0
    np.testing.assert_allclose(found.outputs["x"], [5.0, 4.1, 4.0, 4.0], atol=1e-6)
