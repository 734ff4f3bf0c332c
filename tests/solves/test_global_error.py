"""What becomes of the errors of the steps: sensitivities are right, or the result says that they are not resolved."""

import functools

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import uqbench as uq
from uqbench.identifiability import fisher_information

from .problems import DERIVATIVES, model, slopes, variational

every_way = pytest.mark.parametrize("way", DERIVATIVES)
UNRESOLVED, UNDETERMINED = 10, 18


def oscillator_initial(p, inputs):
    return {"x": 2.0, "v": 0.0}


def oscillator_rhs(t, y, p, inputs):
    return {"x": y["v"], "v": p["mu"] * (1 - y["x"] ** 2) * y["v"] - y["x"]}


def oscillator(mu: float) -> uq.Model:
    """Van der Pol: each jump multiplies all small changes by mu^2, and takes them back."""
    return model(oscillator_initial, oscillator_rhs, {"mu": mu}, "xv")


@functools.cache
def oscillator_reference(mu: float, periods: tuple[float, ...]):
    system, times = oscillator(mu).system, mu * np.array(periods)
    return variational(system, {"mu": mu}, {}, times, ("mu",), rtol=1e-11, floor=1e-6, method="Radau")


@every_way
@pytest.mark.parametrize("mu", [*(pytest.param(mu, marks=pytest.mark.slow) for mu in (10.0, 1e3)), 1e4])
def test_slopes_past_the_jump_of_a_relaxation_oscillation(mu, way):
    """At mu = 1e4 they were 2 % off, with success: what a step leaves in the jump outgrows the slope itself."""
    periods = (0.01, 0.5, 0.9, 1.1, 1.5)
    states, exact = oscillator_reference(mu, periods)
    found = slopes(oscillator(mu), {"mu": mu}, uq.Design(mu * np.array(periods)), ("mu",), way)
    assert found.result == 0
    np.testing.assert_allclose(found.values[:, 0], states[:, 0], rtol=1e-5)
    np.testing.assert_allclose(found.derivatives[:, 0], exact[:, 0], rtol=1e-4)


@pytest.mark.slow
def test_the_reference_agrees_with_a_difference_of_tight_solves():
    """One thing that the references share with the code under test is the right-hand side's derivative; the difference
    is of another method, too, of a higher order."""
    mu, periods, step = 10.0, (0.01, 0.5, 0.9, 1.1, 1.5), 1e-4
    times = mu * np.array(periods)
    shifted = [
        variational(oscillator(mu).system, {"mu": mu * (1 + s * step)}, {}, times, ("mu",), floor=1e-6) for s in (1, -1)
    ]
    difference = (shifted[0][0][:, 0] - shifted[1][0][:, 0]) / (2 * step * mu)
    np.testing.assert_allclose(oscillator_reference(mu, periods)[1][:, 0, 0], difference, rtol=1e-4)


LORENZ = {"s": 10.0, "r": 28.0, "b": 8 / 3}
BEYOND = np.linspace(5.0, 60.0, 12)


def lorenz_initial(p, inputs):
    return {"x": 1.0, "y": 1.0, "z": 1.0}


def lorenz_rhs(t, y, p, inputs):
    return {
        "x": p["s"] * (y["y"] - y["x"]),
        "y": y["x"] * (p["r"] - y["z"]) - y["y"],
        "z": y["x"] * y["y"] - p["b"] * y["z"],
    }


def lorenz() -> uq.Model:
    noise = {"x": uq.Normal("x", 0.1)}
    return model(lorenz_initial, lorenz_rhs, LORENZ, "xyz", noise=noise)


@every_way
def test_chaos_is_followed_as_far_as_the_tolerance_reaches(way):
    times = np.linspace(2.0, 14.0, 7)
    states, exact = variational(lorenz().system, LORENZ, {}, times, tuple(LORENZ), rtol=1e-13)
    found = slopes(lorenz(), LORENZ, uq.Design(times), tuple(LORENZ), way)
    assert found.result == 0
    np.testing.assert_allclose(found.values, states, atol=1e-3)
    size = np.abs(exact).max(axis=(0, 1))
    np.testing.assert_allclose(found.derivatives / size, exact / size, atol=1e-3)


@every_way
def test_slopes_beyond_the_horizon_of_chaos_are_refused(way):
    """At t = 60 the last digit of a parameter decides on which wing the state is."""
    found = slopes(lorenz(), LORENZ, uq.Design(BEYOND), tuple(LORENZ), way)
    if way == "reverse":
        # there the values are solved for first, and are not determined themselves
        assert found.result == UNDETERMINED
        assert np.all(np.isnan(found.values[-1]))
    else:
        assert found.result == UNRESOLVED


def test_fisher_information_beyond_the_horizon_says_why():
    data = pd.DataFrame({"experiment": "one", "output": "x", "time": BEYOND, "value": 1.0})
    study = uq.Study("weather", lorenz(), {"one": uq.Design()}, data)
    with pytest.raises(uq.InputError, match="not resolved"):
        fisher_information(study, LORENZ)


# --- times over many decades


def decay_initial(p, inputs):
    return {"A": 1.0, "B": 0.0}


def decay_rhs(t, y, p, inputs):
    return {"A": -p["fast"] * y["A"], "B": p["fast"] * y["A"] - p["slow"] * y["B"]}


def decay_chain(theta, times):
    fast, slow = theta["fast"], theta["slow"]
    first = np.exp(-fast * times)
    return np.stack([first, fast * (np.exp(-slow * times) - first) / (fast - slow)], axis=-1)


@every_way
def test_the_first_of_times_over_thirteen_decades(way):
    """Times within 1e-12 of the span of the start used to show the start: Robertson to 1e11, seen at .01 and .1."""
    theta, times = {"fast": 3.0, "slow": 1e-11}, np.geomspace(1e-2, 1e11, 14)
    exact = decay_chain(theta, times)
    columns = [decay_chain({**theta, name: theta[name] * np.exp(1e-30j)}, times).imag / 1e-30 for name in theta]
    found = slopes(model(decay_initial, decay_rhs, theta, "AB"), theta, uq.Design(times), tuple(theta), way)
    assert found.result == 0
    np.testing.assert_allclose(found.values, exact, rtol=1e-6, atol=1e-18)
    by_logarithm = found.derivatives * np.array(list(theta.values()))
    np.testing.assert_allclose(by_logarithm, np.stack(columns, axis=-1), rtol=1e-5, atol=1e-8)


def dosed_initial(p, inputs):
    return {"C": 0.0 * p["k"]}


def dosed_rhs(t, y, p, inputs):
    return {"C": -p["k"] * y["C"] + jnp.where((t >= 2e-3) & (t < 4e-3), 1e3, 0.0)}


def dosed_doses(p, inputs):
    return {"C": (inputs["given"], jnp.ones(2))}


def test_doses_and_pulses_early_in_a_long_time():
    """Two doses and an infusion within the first hundredth of what ends at 1e10."""
    theta, given, times = {"k": 2.0}, np.array([1e-3, 3e-3]), np.array([5e-4, 1.5e-3, 5e-3, 1.0, 1e10])
    late = model(dosed_initial, dosed_rhs, theta, "C", doses=dosed_doses)
    run = uq.evaluate(late, theta, uq.Design(times, inputs={"given": given}))
    k = theta["k"]

    def bolus(at):
        return np.where(times > at, np.exp(-k * np.clip(times - at, 0, None)), 0.0)

    infusion = (
        1e3 / k * np.where(times > 4e-3, np.exp(-k * np.clip(times - 4e-3, 0, None)) - np.exp(-k * (times - 2e-3)), 0)
    )
    assert int(run.result) == 0
    np.testing.assert_allclose(run.outputs["C"], bolus(1e-3) + bolus(3e-3) + infusion, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("at", [-5.6e-17, 0.0, 5.6e-17])
def test_a_dose_at_the_start_but_for_rounding(at):
    """.3 - .1 * 3 is no time before the start."""
    theta, times = {"k": 2.0}, np.array([0.5, 1.0])
    early = model(dosed_initial, lambda t, y, p, inputs: {"C": -p["k"] * y["C"]}, theta, "C", doses=dosed_doses)
    run = uq.evaluate(early, theta, uq.Design(times, inputs={"given": np.array([at, 0.25])}))
    np.testing.assert_allclose(run.outputs["C"], np.exp(-2 * times) + np.exp(-2 * (times - 0.25)), rtol=1e-6)
