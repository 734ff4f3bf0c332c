"""Schedules against the closed forms of two linear parts that drive one another, and against one another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models.coupling_schedules import model_of, pair, schedules, space
from uqbench.coupling import (
    Aitken,
    Anderson,
    Monolithic,
    QuasiNewton,
    Relaxation,
    Splitting,
    Strong,
    WaveformRelaxation,
    stability,
)

from .contacts import stiff_pair

STEP, TURN = 0.1, 20.0
# implicit Euler of the whole: 1 / abs(1 + h - i h 20)
MONOLITHIC = 1 / np.hypot(1 + STEP, STEP * TURN)


# one object for each schedule, for which it is compiled
shared = functools.cache(model_of)


def ends(schedule, integrator=None, time=1.0, **theta):
    run = uq.evaluate(shared(schedule, integrator), space.nominal() | theta, uq.Design([time]))
    assert int(run.result) == 0
    return np.array([run.outputs["x"][0], run.outputs["y"][0]]), int(run.steps)


def exact(time=1.0):
    return np.exp(-time) * np.array([np.cos(TURN * time), np.sin(TURN * time)])


def test_factors_of_the_pair_are_the_closed_forms():
    found = stability(model_of(schedules["plain"]), uq.Design([1.0]), schedules=schedules).predictions
    assert found["plain"].rate == pytest.approx(3.3057851, abs=5e-8)
    assert found["staggered"].growth == pytest.approx(0.9090909, abs=5e-8)
    assert found["monolithic"].growth == pytest.approx(MONOLITHIC, rel=1e-10)
    assert found["staggered"].exact_growth == pytest.approx(0.9048374, abs=5e-8)
    assert found["plain"].relaxation == pytest.approx(1 / (1 + 3.3057851), abs=1e-8)
    # Jacobi: both eigenvalues of one window have the modulus of the square root of the Gauss-Seidel factor
    assert found["concurrent"].growth == pytest.approx(np.abs(1 / 1.1 + 1j * 2 / 1.1), rel=1e-9)


def test_one_window_of_each_schedule():
    x, y = ends(schedules["staggered"], time=STEP)[0]
    assert (x, y) == pytest.approx((1 / 1.1, 2 / 1.1**2), rel=1e-12)
    with pytest.warns(uq.CouplingWarning, match=r"2\.033 in each window, the equations by 0\.9048"):
        assert ends(schedules["concurrent"], time=STEP)[0] == pytest.approx((1 / 1.1, 2 / 1.1), rel=1e-12)
    assert np.hypot(*ends(schedules["monolithic"], time=STEP)[0]) == pytest.approx(MONOLITHIC, rel=1e-12)


@pytest.mark.parametrize(
    "acceleration",
    [
        *(pytest.param(each, marks=pytest.mark.slow) for each in (Aitken(), Anderson())),
        QuasiNewton(),
        Relaxation(1 / (1 + 3.3057851)),
    ],
)
def test_strong_coupling_converges_where_plain_iterations_do_not(acceleration):
    found, _ = ends(Strong(STEP, acceleration))
    assert found == pytest.approx(ends(Monolithic(STEP))[0], rel=1e-9, abs=1e-13)
    # a Gauss-Seidel factor of 10, of which a relaxation for another one makes nothing
    turn = np.sqrt(10) * 1.1 / STEP
    if not isinstance(acceleration, Relaxation):
        strongly = {"c": -turn, "d": turn}
        found, _ = ends(Strong(STEP, acceleration), **strongly)
        assert found == pytest.approx(ends(Monolithic(STEP), **strongly)[0], rel=1e-9, abs=1e-13)


def test_plain_iterations_have_a_code():
    with pytest.warns(uq.CouplingWarning, match=r"3\.306"):
        run = uq.evaluate(model_of(schedules["plain"]), space.nominal(), uq.Design([1.0]))
    system = pair(schedules["plain"])
    assert np.isnan(run.outputs["x"][0])
    assert "did not converge" in system.sentence(run.result)


@pytest.mark.parametrize(
    "schedule, integrator, order",
    [
        (lambda step: Splitting(step, order=1), "rk4", 1),
        (lambda step: Splitting(step, order=2), "heun", 2),
        pytest.param(lambda step: Strong(step, Aitken(), concurrent=True), "trapezoidal", 2, marks=pytest.mark.slow),
        pytest.param(lambda step: WaveformRelaxation(4 * step, Anderson(), nodes=4), "heun", 2, marks=pytest.mark.slow),
        (lambda step: Monolithic(step, "rk4"), "rk4", 4),
        (lambda step: Monolithic(step, "sdirk2"), "rk4", 2),
    ],
)
def test_orders_of_convergence(schedule, integrator, order):
    errors = [np.linalg.norm(ends(schedule(step), integrator, 0.2)[0] - exact(0.2)) for step in (0.0025, 0.00125)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.slow
def test_quasi_newton_takes_at_most_half_the_solves_of_aitken():
    design, runs = uq.Design([2.0]), {}
    for how in (Aitken(first=0.1), QuasiNewton()):
        run = uq.evaluate(stiff_pair(Strong(1.0, how, max_iterations=500)), {"k": 1.0}, design)
        assert int(run.result) == 0
        runs[type(how)] = run
    together = uq.evaluate(stiff_pair(Monolithic(1.0)), {"k": 1.0}, design)
    assert runs[QuasiNewton].outputs["thin"] == pytest.approx(np.asarray(together.outputs["thin"]), rel=1e-8)
    assert 2 * int(runs[QuasiNewton].steps) <= int(runs[Aitken].steps)


@pytest.mark.slow
def test_gradients_are_those_of_differences():
    model, design = stiff_pair(Strong(0.5)), uq.Design([1.0])

    def mean(k, mode="value"):
        return jnp.mean(uq.evaluate(model, {"k": k}, design, mode=mode).outputs["thin"])

    # Richardson: the error of these differences is of the fourth order in the step
    near, far = ([float(mean(jnp.asarray(1.0 + n * 1e-3))) for n in (size, -size)] for size in (1, 2))
    difference = (8 * (near[0] - near[1]) - (far[0] - far[1])) / (12 * 1e-3)
    assert float(jax.grad(lambda k: mean(k, "reverse"))(jnp.asarray(1.0))) == pytest.approx(difference, rel=1e-6)
    assert float(jax.jacfwd(mean)(jnp.asarray(1.0))) == pytest.approx(difference, rel=1e-6)


@functools.cache
def goodwin(schedule, tolerance=0.05) -> uq.Model:
    """An oscillator of a gene and its proteins, each a part."""
    parts = {"gene": uq.Part(no_messenger, transcription, "r"), "proteins": uq.Part(no_protein, translation, "m")}
    system = uq.Coupled(parts, {}, schedule, tolerance=tolerance)
    return uq.Model(uq.Space(a=uq.fixed(1.0)), system, units={"m": "", "r": ""})


def no_messenger(p, inputs):
    return {"m": 0.1}


def transcription(t, y, p, inputs):
    return {"m": p["a"] / (1 + y["r"] ** 10) - 0.1 * y["m"]}


def no_protein(p, inputs):
    return {"x": 0.1, "r": 0.1}


def translation(t, y, p, inputs):
    return {"x": 0.5 * y["m"] - 0.1 * y["x"], "r": 0.1 * y["x"] - 0.1 * y["r"]}


def test_a_run_in_windows_too_long_is_not_taken_for_one():
    """Steps of 1 in an oscillation of 60 leave more than half of it wrong, and nothing else would tell."""
    design = uq.Design([150.0, 200.0])
    run = uq.evaluate(goodwin(Strong(1.0)), {}, design)
    assert "half their length" in goodwin(Strong(1.0)).dynamics.sentence(int(run.result))
    assert np.all(np.isnan(run.outputs["r"]))
    assert int(uq.evaluate(goodwin(Strong(1.0)), {}, design, mode="reverse").result) == int(run.result)
    rough, fine = (uq.evaluate(goodwin(Strong(step), None), {}, design).outputs["r"] for step in (1.0, 0.01))
    assert np.max(np.abs(rough - fine)) > 0.1 * np.max(fine)
    resolved = uq.evaluate(goodwin(Strong(0.02)), {}, design)
    assert int(resolved.result) == 0
    assert np.max(np.abs(resolved.outputs["r"] - fine)) < 0.1 * np.max(fine)
