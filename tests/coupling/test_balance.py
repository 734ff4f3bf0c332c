"""What one part loses the other gains; what nobody has declared is found, in runs and in noisy measurements."""

import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models.secretion import model as secretion
from uqbench.coupling import Splitting, Strong, Weak, spurious_flux

from . import cell_and_tissue
from .cell_and_tissue import PARTITION, space

RESIDUALS = ("residual_drug", "residual_cell_drug", "residual_tissue_drug")


@pytest.mark.parametrize(
    "schedule, windows",
    [
        (Weak(0.1), 10_000),
        pytest.param(Strong(0.1, concurrent=True), 1000, marks=pytest.mark.slow),
        (Splitting(0.1, order=1), 1000),
    ],
)
def test_balances_hold_to_rounding(schedule, windows):
    # the cell takes ten steps in each window, the tissue two
    design = uq.Design([1.0, 10.0, 0.1 * windows])
    run = uq.evaluate(cell_and_tissue.model(schedule), space.nominal(), design)
    assert int(run.result) == 0 and int(run.steps) >= windows
    for name in RESIDUALS:
        assert np.all(np.abs(run.outputs[name]) <= 1e-12 * run.outputs["content_drug"])
    assert float(run.outputs["crossed_uptake"][-1]) > 1.0
    # at rest the flux vanishes where concentrations differ by the partition coefficient
    if windows == 10_000:
        at_rest = PARTITION * float(run.outputs["A"][-1])
        assert np.asarray(run.outputs["u"][-1]) == pytest.approx(np.full(5, at_rest), rel=1e-9)


def test_what_is_not_declared_is_the_residual():
    theta = space.nominal() | {"leak": 0.01}
    run = uq.evaluate(cell_and_tissue.model(Weak(0.1)), theta, uq.Design([2.0]))
    lost = -0.01 * 2.0 * float(theta["V"])
    assert float(run.outputs["residual_cell_drug"][0]) == pytest.approx(lost, rel=1e-9)
    assert float(run.outputs["residual_drug"][0]) == pytest.approx(lost, rel=1e-9)
    assert abs(float(run.outputs["residual_tissue_drug"][0])) < 1e-13


def vesicles(p, inputs):
    return {"vesicle": jnp.zeros(())}


def production(t, y, p, inputs):
    return {"vesicle": p["q"]}


def produced(t, y, p, inputs):
    return {"signal": p["q"]}


def in_vesicles(y, p):
    return {"signal": y["vesicle"]}


def empty(p, inputs):
    return {"C": jnp.zeros(())}


def clearance(t, y, p, inputs):
    return {"C": -p["k"] * y["C"]}


def cleared(t, y, p, inputs):
    return {"signal": -p["k"] * y["C"] / p["s"]}


def in_tissue(y, p):
    return {"signal": y["C"] / p["s"]}


def release(t, y, p, inputs):
    return 5.0 * y["vesicle"]


def secreting(schedule) -> uq.Model:
    """The model `secretion` with cells that fill and release vesicles, into a tissue of the volume 1/s."""
    units = {"signal": "nmol"}
    parts = {
        "cells": uq.Part(vesicles, production, content=in_vesicles, units=units, sources=produced),
        "tissue": uq.Part(empty, clearance, content=in_tissue, units=units, sources=cleared),
    }
    exchanges = {"secretion": uq.Exchange("signal", "nmol/h", "cells.vesicle", "tissue.C", release)}
    outputs = {"C": "nM", "residual_signal": "nmol"}
    return uq.Model(secretion.space, uq.Coupled(parts, exchanges, schedule, "h"), units=outputs, time_unit="h")


@pytest.mark.slow
def test_secretion_reaches_its_steady_state_with_the_total_variance():
    space, design = secretion.space, uq.Design([60.0])
    rng = np.random.default_rng(0)
    # draws of both kinds of uncertainty; the law of total variance has a closed form
    s = rng.lognormal(0.0, 0.3, 400)
    q = rng.normal(10.0, 2.0, 400)
    run = uq.evaluate_many(secreting(Strong(0.5)), {"s": s, "q": q}, design)
    assert np.all(run.result == 0)
    values = np.asarray(run.outputs["C"][:, 0])
    assert values == pytest.approx(s * q / 0.5, rel=1e-8)
    assert np.all(np.abs(run.outputs["residual_signal"]) < 1e-11)
    mean, square = np.exp(0.045), np.exp(0.18)
    total = 4 * (square * 104 - mean**2 * 100)
    spread = np.std([np.var(rng.choice(values, 400)) for _ in range(500)])
    assert abs(np.var(values, ddof=1) - total) < 4 * spread
    assert space["k"].dist == 0.5


TIMES, DECAY = np.linspace(0.0, 20.0, 81), 0.1
CONTENT_SD, RATE_SD = 0.05, 0.017


def inflow(t):
    return 1 + 0.5 * np.sin(t)


def contents(bias: float) -> np.ndarray:
    """M' = (1 + bias) inflow - DECAY M from M = 2, in closed form."""
    a, b = DECAY, 1.0
    forced = 0.5 * (a * np.sin(TIMES) - b * np.cos(TIMES)) / (a**2 + b**2) + 1 / a
    started = -0.5 * b / (a**2 + b**2) + 1 / a
    return (1 + bias) * forced + (2.0 - (1 + bias) * started) * np.exp(-a * TIMES)


def measured(bias: float, count: int = 1000, seed: int = 0):
    rng, content = np.random.default_rng(seed), contents(bias)
    rates = inflow(TIMES) - DECAY * content + RATE_SD * rng.normal(size=(count, len(TIMES)))
    found = content + CONTENT_SD * rng.normal(size=(count, len(TIMES)))
    suspected = np.broadcast_to(inflow(TIMES), found.shape)
    return spurious_flux(TIMES, found, rates, content_sd=CONTENT_SD, rate_sd=RATE_SD, suspected=suspected)


def test_a_bias_of_one_percent_is_detected_with_few_false_alarms():
    none, biased = measured(0.0), measured(0.01)
    power = float(np.mean(biased.detected))
    assert power >= 0.95
    assert float(np.mean(none.detected)) == pytest.approx(0.01, abs=3 * np.sqrt(0.01 * 0.99 / 1000))
    expected = float(biased.power(0.01)[0])
    assert power == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / 1000) + 0.005)
    # the interval covers, and the estimate is without bias but for that of the trapezoidal rule
    assert np.mean((biased.lower < 0.01) & (biased.upper > 0.01)) > 0.97
    assert float(np.mean(biased.estimate)) == pytest.approx(0.01, abs=5e-4)


def test_a_rate_is_estimated_where_no_flux_is_suspected():
    content = 2.0 + 0.03 * TIMES
    found = spurious_flux(TIMES, content, np.zeros_like(TIMES), content_sd=0.01, rate_sd=0.0)
    assert float(found.estimate) == pytest.approx(0.03, rel=1e-9)
    assert bool(found.detected) and float(found.lower) < 0.03 < float(found.upper)


def test_the_detector_names_everything_that_is_wrong():
    with pytest.raises(uq.InputError) as error:
        spurious_flux([0.0, 2.0, 1.0], np.ones(3), np.ones(3), content_sd=0.0, rate_sd=-1.0, level=2.0)
    assert len(error.value.findings) == 4
